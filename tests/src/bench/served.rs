//! A gateway that serves beside a bench. In: the lab, and the module that it plans for. Out: the GOPROXY that leads
//! to it, and what it cost.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::process;
use crate::go_env::{GoOptions, GoRun};
use crate::lab::Lab;

/// `goobserve serve gateway`; dropped, it is killed.
#[derive(Debug)]
pub struct Served {
    child: Child,
    /// What it printed
    pub goproxy: String,
    _run: GoRun,
}

impl Served {
    /// With an empty cache, for the module that `project` has, in front of the proxies of `upstream` (by default the
    /// lab's).
    pub fn start(lab: &Lab, project: &GoRun, upstream: Option<&str>) -> Result<Self> {
        let run = lab.go_run(&GoOptions::default())?;
        let cache = run.file("gateway");
        Self::start_in(lab, project, upstream, run, &cache)
    }

    /// With its cache in that folder.
    pub fn start_at(lab: &Lab, project: &GoRun, cache: &Path) -> Result<Self> {
        Self::start_in(lab, project, None, lab.go_run(&GoOptions::default())?, cache)
    }

    fn start_in(
        lab: &Lab,
        project: &GoRun,
        upstream: Option<&str>,
        run: GoRun,
        cache: &Path,
    ) -> Result<Self> {
        let mut command = run.goobserve()?;
        command.args(["-q", "serve", "gateway", "--listen", "127.0.0.1:0", "--cache"]).arg(cache);
        command.arg("--module-dir").arg(project.project()).env("GOMODCACHE", project.modcache());
        command.args(upstream.map(|list| format!("--upstream={list}")));
        let mut child = lab.spawn(command.stdout(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let goproxy = line.trim().strip_prefix("GOPROXY=").context("no GOPROXY")?.to_owned();
        Ok(Self { child, goproxy, _run: run })
    }

    /// CPU time so far, and the most memory, bytes.
    pub fn cost(&self) -> Result<(Duration, u64)> {
        let cpu = process::cpu_ns(self.child.id()).context("its CPU time is not known")?;
        let memory = process::peak_memory(self.child.id()).context("its memory is not known")?;
        Ok((Duration::from_nanos(cpu), memory))
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}
