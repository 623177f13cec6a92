//! `goobserve watch --output jsonl` for as long as many commands take, printing into a file. In
//! goes a lab, out come what was reported of each command and the memory of goobserve's processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::go_env::{GoOptions, GoRun};
use crate::lab::Lab;
use crate::procs::{holder_below, status, worker_below};
use crate::wait;

/// A running `goobserve watch`. Dropped before its end, it is killed.
#[derive(Debug)]
pub struct Watching {
    run: GoRun,
    agent: Child,
    worker: u32,
    ended: bool,
}

/// Memory of one process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// Resident, of no file and not shared: what a leak would be in
    pub anonymous: u64,
    /// Resident in all; a page of the ring counts when it was first read
    pub resident: u64,
}

impl Memory {
    /// That of a process of goobserve's.
    pub fn of(pid: u32) -> Result<Self> {
        let field = |name| -> Option<u64> { Some(status(pid, name)?.first()?.parse::<u64>().ok()? * 1024) };
        let (anonymous, resident) = field("RssAnon").zip(field("VmRSS")).context("goobserve has gone")?;
        Ok(Self { anonymous, resident })
    }
}

/// What was reported, the latest line of each thing.
#[derive(Debug, Default)]
pub struct Reported {
    /// Commands by their number
    pub commands: BTreeMap<u64, Value>,
    /// Requests by their number
    pub requests: BTreeMap<u64, Value>,
    /// Connections by their number
    pub connections: BTreeMap<u64, Value>,
    /// The latest `loss` line
    pub loss: Value,
    /// How many lines there are
    pub lines: u64,
}

impl Watching {
    /// Starts it and waits until it watches.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, &[])
    }

    /// As [`Self::start`], with more arguments.
    pub fn start_with(lab: &Lab, args: &[&str]) -> Result<Self> {
        let run = lab.go_run(&GoOptions::default())?;
        let file = |name| File::create(run.file(name)).with_context(|| format!("create {name}"));
        let mut command = run.goobserve()?;
        command.args(["watch", "--output", "jsonl"]).args(args).process_group(0);
        command.stdin(Stdio::null()).stdout(file("reported.jsonl")?).stderr(file("errors")?);
        let agent = command.spawn().context("start goobserve")?;
        let mut watching = Self { run, agent, worker: 0, ended: false };
        let begun = wait::within(wait::LIMIT, || {
            let over = watching.agent.try_wait().is_ok_and(|status| status.is_some());
            (over || watching.errors().contains("watching every go")).then_some(!over)
        });
        ensure!(begun == Some(true), "goobserve does not watch; it said: {}", watching.errors());
        watching.worker = worker_below(watching.agent.id()).context("goobserve has no worker")?;
        Ok(watching)
    }

    /// The file it prints into.
    pub fn output(&self) -> PathBuf {
        self.run.file("reported.jsonl")
    }

    /// What it has reported so far.
    pub fn reported(&self) -> Result<Reported> {
        reported(&self.output())
    }

    /// What it printed on stderr.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.run.file("errors")).unwrap_or_default()
    }

    /// Agent and worker.
    pub fn pids(&self) -> [u32; 2] {
        [self.agent.id(), self.worker]
    }

    /// With `--hold-exec`, the process that holds programs.
    pub fn holder(&self) -> Option<u32> {
        holder_below(self.agent.id())
    }

    /// Memory of agent and worker.
    pub fn memory(&self) -> Result<[Memory; 2]> {
        let [agent, worker] = self.pids();
        Ok([Memory::of(agent)?, Memory::of(worker)?])
    }

    /// Waits until it has reported that so many commands of these users are over, half a minute at
    /// most; of how many it has.
    pub fn has_reported(&self, commands: usize, users: &[u32]) -> Result<usize> {
        let mut over = 0;
        wait::within(wait::LIMIT, || {
            let reported = reported(&self.output()).ok()?;
            over = reported.of(users).filter(|command| !command["wall_ns"].is_null()).count();
            (over >= commands).then_some(())
        });
        Ok(over)
    }

    /// Waits until it has reported that the commands of these processes are over, half a minute at most;
    /// whether it has.
    pub fn has_reported_of(&self, pids: &[u32]) -> Result<bool> {
        let over = wait::within(wait::LIMIT, || {
            let reported = reported(&self.output()).ok()?;
            let over =
                |pid: &u32| reported.commands.values().any(|c| c["pid"] == *pid && !c["wall_ns"].is_null());
            pids.iter().all(over).then_some(())
        });
        Ok(over.is_some())
    }

    /// Stops the worker, as if it were not scheduled.
    pub fn stop_worker(&self) -> Result<()> {
        kill(Pid::from_raw(self.worker.cast_signed()), Signal::SIGSTOP).context("stop the worker")
    }

    /// Lets it go on.
    pub fn continue_worker(&self) -> Result<()> {
        kill(Pid::from_raw(self.worker.cast_signed()), Signal::SIGCONT).context("continue the worker")
    }

    /// Sends the agent a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.agent.id().cast_signed()), signal).context("send goobserve a signal")
    }

    /// Whether the agent ends within that time, and how.
    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let agent = &mut self.agent;
        let status = wait::within(limit, || agent.try_wait().ok().flatten());
        self.ended = status.is_some();
        status
    }

    /// Ends it in order; what it reported.
    pub fn end(mut self) -> Result<Reported> {
        self.signal(Signal::SIGTERM)?;
        let status = self.ends_within(wait::LIMIT).context("goobserve does not end")?;
        ensure!(status.success(), "goobserve ended with {status}: {}", self.errors());
        reported(&self.output())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if !self.ended {
            // The group's number is the child's, which is not reaped yet, so it is nobody else's.
            let _ = self.continue_worker();
            let _ = killpg(Pid::from_raw(self.agent.id().cast_signed()), Signal::SIGKILL);
            let _ = self.agent.wait();
        }
    }
}

impl Reported {
    /// Commands of these users.
    pub fn of(&self, users: &[u32]) -> impl Iterator<Item = &Value> {
        let is_theirs =
            |command: &&Value| command["uid"].as_u64().is_some_and(|uid| users.contains(&(uid as u32)));
        self.commands.values().filter(is_theirs)
    }

    /// Records that were lost or not understood; `None` when it does not say. Connections joined late
    /// are not among them: a go command of somebody else's may have been there first.
    pub fn lost_records(&self) -> Option<u64> {
        ["kernel_events_lost", "events_undecoded"].iter().map(|name| self.loss[name].as_u64()).sum()
    }
}

/// Enters what is new of a request; the rest is as it was.
pub fn update(request: &mut Value, new: &Value) {
    if let (Value::Object(request), Value::Object(new)) = (request, new) {
        request.extend(new.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
}

/// All lines of the file that have their end, the latest of each thing.
fn reported(path: &Path) -> Result<Reported> {
    let mut reported = Reported::default();
    let mut reader = BufReader::new(File::open(path).context("open what goobserve reported")?);
    let mut line = String::new();
    while reader.read_line(&mut line).context("read what goobserve reported")? > 0 && line.ends_with('\n') {
        reported.lines += 1;
        let value: Value = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
        let id = |name: &str| value[name].as_u64().with_context(|| format!("no {name}: {line}"));
        match value["type"].as_str() {
            Some("command") => drop(reported.commands.insert(id("command")?, value)),
            Some("request") => drop(reported.requests.insert(id("id")?, value)),
            Some("request_update") => {
                reported.requests.get_mut(&id("id")?).into_iter().for_each(|request| update(request, &value));
            }
            Some("connection") => drop(reported.connections.insert(id("id")?, value)),
            Some("loss") => reported.loss = value,
            _ => {}
        }
        line.clear();
    }
    Ok(reported)
}
