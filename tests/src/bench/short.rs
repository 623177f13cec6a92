//! Short go commands: `go version`, `go env` and `go list -m` in turns, some at a time. In goes
//! their number, out come their wall times.

use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use crate::clock::monotonic_ns;
use crate::go_env::{GoOptions, GoRun};
use crate::lab::Lab;

/// Whose they are: nobody else's, not even another process's that runs the same.
pub fn user() -> u32 {
    1_000_099 + 100 * std::process::id()
}

/// Most of them are the shortest there is.
const COMMANDS: [&[&str]; 4] = [&["version"], &["env", "GOMODCACHE"], &["version"], &["list", "-m"]];

/// Where they run.
#[derive(Debug)]
pub struct Short {
    run: GoRun,
}

impl Short {
    /// Makes a project that belongs to [`user`].
    pub fn new(lab: &Lab) -> Result<Self> {
        let run = lab.go_run(&GoOptions::default())?;
        run.give_to(user())?;
        Ok(Self { run })
    }

    /// Runs so many, `at_once` at a time; wall times from before the fork until it could be
    /// waited for, nanoseconds.
    pub fn run(&self, count: usize, at_once: usize) -> Result<Vec<f64>> {
        let part = |first: usize| {
            (first..count).step_by(at_once).map(|number| self.one(number)).collect::<Result<Vec<_>>>()
        };
        let parts: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..at_once).map(|first| scope.spawn(move || part(first))).collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        let mut walls = Vec::with_capacity(count);
        for part in parts {
            walls.extend(part.map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(walls)
    }

    fn one(&self, number: usize) -> Result<f64> {
        // Not by std's uid(), which makes it fork a process of our size.
        let mut command = self.run.command("setpriv");
        let user = user();
        let ids = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()];
        command.args(ids).arg("go").args(COMMANDS[number % COMMANDS.len()]);
        let begun = monotonic_ns();
        let status = spawn(&mut command)?.wait().context("wait for a go command")?;
        let wall = monotonic_ns() - begun;
        ensure!(status.success(), "{command:?} ended with {status}");
        Ok(wall as f64)
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("start a go command")
}
