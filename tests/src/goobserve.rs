//! Drives the program under test inside a lab. In goes a command line, out come its exit status,
//! what it printed and its JSON report.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::clock::ClockPair;
use crate::go_env::GoRun;
use crate::lab::Lab;
use crate::paths;

/// The binary: `GOOBSERVE_BIN`, else the release build's, else the dev build's.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("GOOBSERVE_BIN") {
        return Ok(path.into());
    }
    let builds = ["release", "debug"].map(|profile| paths::target().join(profile).join("goobserve"));
    match builds.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.canonicalize()?),
        None => bail!("goobserve is not built: run `cargo xtask build`, or set GOOBSERVE_BIN"),
    }
}

/// What came of a `goobserve run`.
#[derive(Debug)]
pub struct Observed {
    /// Exit status, stdout and stderr
    pub output: Output,
    /// The JSON report
    pub report: Value,
    /// Both clocks, read just before
    pub clocks: ClockPair,
    /// Both, when it had ended
    pub ended: ClockPair,
}

impl Observed {
    /// Entries of one of the report's lists; none when there is no such list.
    pub fn list(&self, name: &str) -> &[Value] {
        self.report.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The observation's start on `CLOCK_MONOTONIC`, nanoseconds. The report has it on
    /// `CLOCK_REALTIME`, so it is off by what [`ClockPair::to_monotonic`] says: microseconds,
    /// unless the clock was set meanwhile.
    pub fn started_ns(&self) -> Option<i128> {
        let started = self.report.get("started_unix_ns")?.as_u64()?;
        Some(self.clocks.to_monotonic(started))
    }

    /// What it printed on stderr.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

impl Lab {
    /// `goobserve` with these arguments, in the project and environment of `run`.
    pub fn goobserve(&self, run: &GoRun, args: &[&str]) -> Result<Output> {
        self.output(run.goobserve()?.args(args))
    }

    /// `goobserve run --json FILE -- command`, in the project and environment of `run`, and the
    /// report it wrote. Fails when there is none, whatever the exit status.
    pub fn observe(&self, run: &GoRun, command: &[&str]) -> Result<Observed> {
        let file = run.dir().join("report.json");
        let clocks = ClockPair::sample();
        let output =
            self.output(run.goobserve()?.arg("run").arg("--json").arg(&file).arg("--").args(command))?;
        let ended = ClockPair::sample();
        let json = std::fs::read(&file).with_context(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!("read goobserve's report; it ended with {} and said: {stderr}", output.status)
        })?;
        let report = serde_json::from_slice(&json).context("parse goobserve's report")?;
        Ok(Observed { output, report, clocks, ended })
    }
}

impl GoRun {
    /// `goobserve`, without arguments yet, in this project and environment.
    pub fn goobserve(&self) -> Result<Command> {
        Ok(self.command(binary()?))
    }
}
