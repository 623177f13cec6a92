//! Starts of go binaries that nobody has seen before. In go a lab and copies of a go binary, each a
//! file of its own, out come what exec took, and how what goobserve reported of each start differs from
//! the server's log of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::monotonic_ns;
use crate::dns::DnsFaults;
use crate::go_env::{GoOptions, GoRun};
use crate::lab::{Lab, PROXY_HOST};
use crate::paths;
use crate::proxy::Faults;
use crate::proxy::RequestRecord;
use crate::toolchains::{OWN, Toolchain};
use crate::watching::{Reported, Watching};

/// What each start downloads: the smallest of the sample's modules.
const MODULES: [&str; 2] = ["github.com/tidwall/match@v1.1.1", "github.com/google/uuid@v1.6.0"];

/// Where a download's standard error goes, in its run's folder.
const SAID: &str = "said.txt";

/// A copy of the machine's go binary in a folder of its own.
#[derive(Debug)]
pub struct Fresh {
    dir: TempDir,
    goroot: PathBuf,
}

impl Fresh {
    /// Makes one.
    pub fn new() -> Result<Self> {
        Self::of(&Toolchain::get(OWN)?.root)
    }

    /// A copy of the binary of that toolchain.
    pub fn of(goroot: &Path) -> Result<Self> {
        let fresh = Self { dir: paths::temp("goobserve-fresh-")?, goroot: goroot.to_path_buf() };
        fresh.copy_to(&fresh.binary())?;
        Ok(fresh)
    }

    /// Its path.
    pub fn binary(&self) -> PathBuf {
        self.dir.path().join("go")
    }

    /// A place in its folder, on the same file system.
    pub fn neighbour(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the binary there too; into the same file when there is one.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        paths::copy_program(&self.goroot.join("bin/go"), path)
    }

    /// A download by the binary at `path`, known at the server by `number`.
    pub fn download(&self, lab: &Lab, path: &Path, number: usize) -> Result<Start> {
        self.download_with(lab, path, number, Vec::new())
    }

    /// As [`Self::download`], with more variables.
    pub fn download_with(
        &self,
        lab: &Lab,
        path: &Path,
        number: usize,
        env: Vec<(String, String)>,
    ) -> Result<Start> {
        let prefix = format!("/start{number}~/");
        let mut env = env;
        env.push(("GOPROXY".into(), format!("https://{PROXY_HOST}{}", prefix.trim_end_matches('/'))));
        env.push(("GOROOT".into(), self.goroot.to_string_lossy().into_owned()));
        let run = lab.go_run(&GoOptions { env, ..GoOptions::default() })?;
        let mut command = run.command(path);
        // Outside of a module: nothing but what is named is downloaded.
        command.args(["mod", "download"]).args(MODULES).current_dir(run.file("home"));
        let said = File::create(run.file(SAID)).context("make a file for what go says")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        Ok(Start { run, command, prefix, child: None, pid: 0, exec_ns: 0 })
    }

    /// `go version` by this binary: the time until its exec was over, and until its end,
    /// nanoseconds.
    pub fn version(&self, lab: &Lab) -> Result<(u64, u64)> {
        let run = lab.go_run(&GoOptions::default())?;
        let mut command = run.command(self.binary());
        command.arg("version").env("GOROOT", &self.goroot).stdin(Stdio::null()).stdout(Stdio::null());
        let begun = monotonic_ns();
        let mut child = command.spawn().context("start go version")?;
        let exec = monotonic_ns() - begun;
        let status = child.wait().context("wait for go version")?;
        ensure!(status.success(), "go version ended with {status}");
        Ok((exec, monotonic_ns() - begun))
    }
}

/// A download that begins, or has begun.
#[derive(Debug)]
pub struct Start {
    /// Its project and caches
    pub run: GoRun,
    command: Command,
    prefix: String,
    child: Option<Child>,
    /// Its process, when it has begun
    pub pid: u32,
    /// How long its exec took, with the fork, nanoseconds
    pub exec_ns: u64,
}

impl Start {
    /// Has it enter the control group whose `cgroup.procs` this is before go's exec, as who starts
    /// containers does.
    pub fn enter_group(&mut self, procs: &Path) {
        let mut command = self.run.command("/bin/sh");
        command.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]).arg(procs);
        command.arg(self.command.get_program()).args(self.command.get_args());
        command.current_dir(self.run.file("home"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.command = command;
    }

    /// Begins it; in the lab unless `inside` says where else.
    pub fn begin(&mut self, inside: impl FnOnce(&mut Command) -> Result<Child>) -> Result<()> {
        let begun = monotonic_ns();
        let child = inside(&mut self.command)?;
        self.exec_ns = monotonic_ns() - begun;
        self.pid = child.id();
        self.child = Some(child);
        Ok(())
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.child.as_mut().context("it has not begun")?.wait().context("wait for a download")
    }

    /// Begins it in the lab and waits for its end.
    pub fn run(&mut self, lab: &Lab) -> Result<()> {
        self.begin(|command| lab.spawn(command))?;
        let status = self.end()?;
        let said = || fs::read_to_string(self.run.file(SAID)).unwrap_or_default();
        ensure!(status.success(), "the download of {} ended with {status}: {}", self.prefix, said());
        Ok(())
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill(); // it is our own child, and reaped here
            let _ = child.wait();
        }
    }
}

/// Everything in the lab is so far away, as far as servers can make it so: they answer that much later
/// (name server, `ServerHello`, heads). Connects over loopback take no time, so that this way is
/// shorter than a real one.
pub fn far_away(lab: &Lab, rtt: Duration) {
    lab.dns.set_faults(DnsFaults { delay: rtt, ..DnsFaults::default() });
    lab.proxy.set_faults(Faults { tls_delay: rtt, request_delay: rtt, ..Faults::default() });
}

/// Ends goobserve when it has reported of all of these; what it reported of each that differs from the
/// server's log of it.
pub fn differences(lab: &Lab, watching: Watching, starts: &[Start]) -> Result<(Vec<String>, Reported)> {
    let pids: Vec<u32> = starts.iter().map(|start| start.pid).collect();
    watching.has_reported_of(&pids)?;
    let reported = watching.end()?;
    ensure!(lab.proxy.log().settled(Duration::from_secs(10)), "connections stayed open");
    let requests = lab.proxy.log().take().1;
    Ok((starts.iter().filter_map(|start| difference(start, &reported, &requests)).collect(), reported))
}

fn difference(start: &Start, reported: &Reported, requests: &[RequestRecord]) -> Option<String> {
    let command = match reported
        .commands
        .values()
        .filter(|command| command["pid"] == start.pid)
        .collect::<Vec<_>>()[..]
    {
        [command] => command,
        ref commands => return Some(format!("{}: {} commands were reported", start.prefix, commands.len())),
    };
    let mut logged: Vec<_> = requests
        .iter()
        .filter(|request| request.path.starts_with(&start.prefix))
        .map(|request| (request.path.clone(), Some(u64::from(request.status)), Some(request.bytes)))
        .collect();
    let mut seen: Vec<_> = reported
        .requests
        .values()
        .filter(|request| request["command"] == command["command"])
        .map(|r| (r["path"].as_str().unwrap_or("null").to_owned(), r["status"].as_u64(), r["bytes"].as_u64()))
        .collect();
    logged.sort();
    seen.sort();
    if logged.is_empty() {
        return Some(format!("{}: no request reached the server", start.prefix));
    }
    (logged != seen).then(|| {
        let paths: Vec<&str> = seen.iter().map(|(path, ..)| &**path).collect();
        format!("{}: the server has {} requests, reported were {paths:?}", start.prefix, logged.len())
    })
}

/// A command of that process.
pub fn command_of(reported: &Reported, pid: u32) -> Option<&Value> {
    reported.commands.values().find(|command| command["pid"] == pid)
}
