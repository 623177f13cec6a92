//! The command under `goobserve run`, and what goobserve took for it. In goes a project and a
//! command line, out come the report and the times, CPU and memory of goobserve's processes.
//!
//! goobserve is two processes: the agent, which we start, and the worker, its child. A third
//! detaches after the agent's end. [`adopt`] makes that one our child, so that the next run
//! does not begin before everything is detached.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid as Process, PidfdFlags, pidfd_open};
use serde::Serialize;
use serde_json::Value;

use super::process::{arguments, children, children_cpu_ns, cpu_ns, peak_memory, program};
use super::programs::Programs;
use crate::clock::{ClockPair, monotonic_ns};
use crate::go_env::GoRun;
use crate::goobserve::binary;
use crate::lab::Lab;

/// How often it is looked for the command's exec.
const SAMPLE_PROCESS_EVERY: Duration = Duration::from_millis(1);
/// How often goobserve's processes are looked at between the command's end and theirs; the
/// worker's last reading is at most so old.
const SAMPLE_EVERY: Duration = Duration::from_micros(200);
/// Whoever takes longer hangs, seconds.
const LIMIT_S: i64 = 180;

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sampling {
    /// Times only: nothing of ours runs while the command does, or after it
    Times,
    /// CPU and memory, too, which takes CPU itself
    Costs,
}

/// CPU of one process, nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cpu {
    /// From the command's exec to its end
    pub during_ns: u64,
    /// In its whole life
    pub all_ns: u64,
}

/// What goobserve took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Costs {
    /// The half with privileges
    pub agent: Cpu,
    /// The half without
    pub worker: Cpu,
    /// CPU of what goes on after the agent's end
    pub detach_cpu_ns: u64,
    /// Peak resident memory, bytes
    pub agent_memory: u64,
    /// Likewise
    pub worker_memory: u64,
    /// Time in BPF programs, on whichever process's account; 0 without statistics
    pub bpf: Cpu,
    /// Nanoseconds and runs of each program
    pub programs: BTreeMap<String, (u64, u64)>,
    /// CPU of goobserve's processes and the command's by getrusage, another way to the same sum
    pub rusage_cpu_ns: u64,
}

/// An observed run.
#[derive(Clone, Debug, Serialize)]
pub struct Watched {
    /// The command's wall time by the report: exec to exit
    pub reported_ns: u64,
    /// From its exec (by the report) until it could be waited for (by us)
    pub command_ns: u64,
    /// From before goobserve's fork until goobserve could be waited for
    pub whole_ns: u64,
    /// From before goobserve's fork to the command's exec
    pub start_ns: u64,
    /// From goobserve's end until its last process had gone
    pub detach_ns: u64,
    /// With [`Sampling::Costs`] only
    pub costs: Option<Costs>,
    /// The JSON report
    #[serde(skip)]
    pub report: Value,
    /// Both clocks, read just before
    #[serde(skip)]
    pub clocks: ClockPair,
}

impl Watched {
    /// Entries of one of the report's lists; none when there is no such list.
    pub fn list(&self, name: &str) -> &[Value] {
        self.report.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The first command's entry.
    pub fn command(&self) -> &Value {
        &self.report["commands"][0]
    }

    /// The observation's start on `CLOCK_MONOTONIC`, nanoseconds.
    pub fn started_ns(&self) -> Result<i128> {
        started_ns(&self.report, self.clocks)
    }

    /// Events that the report says are missing; `None` when it does not say.
    pub fn lost(&self) -> Option<u64> {
        ["kernel_events_lost", "events_undecoded", "connections_joined_late"]
            .iter()
            .map(|name| self.report["loss"][name].as_u64())
            .sum()
    }
}

/// Makes processes that lose their parent ours, for as long as this process lives.
pub fn adopt() -> Result<()> {
    set_child_subreaper(true).context("become the reaper of orphans")
}

/// Runs `goobserve run --report none -- command`, waits until all its processes have gone, and
/// fails unless the command succeeded. Call [`adopt`] once before.
pub fn watch(lab: &Lab, run: &GoRun, command: &[&str], sampling: Sampling) -> Result<Watched> {
    watch_by(&binary()?, &[], lab, run, command, sampling)
}

/// As [`watch`], by that program, with further options of `run`.
pub fn watch_by(
    goobserve: &Path,
    options: &[&OsStr],
    lab: &Lab,
    run: &GoRun,
    command: &[&str],
    sampling: Sampling,
) -> Result<Watched> {
    let strangers = own_children();
    let (json, errors) = (run.dir().join("report.json"), run.dir().join("goobserve.err"));
    let mut goobserve = run.command(goobserve);
    goobserve.args(["run", "--report", "none", "--json"]).arg(&json).args(options).arg("--").args(command);
    goobserve.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    goobserve.stderr(fs::File::create(&errors).context("make a file for goobserve's errors")?);

    let rusage = children_cpu_ns()?;
    let clocks = ClockPair::sample();
    let (spawned, agent) = lab.net.inside(|| (monotonic_ns(), goobserve.spawn()))?;
    let agent = agent.context("start goobserve")?;
    let followed = follow(agent, sampling);
    let said = || fs::read_to_string(&errors).unwrap_or_default();
    let mut followed = followed.with_context(|| format!("goobserve said: {}", said()))?;
    let detach_cpu_ns = reap_orphans(&strangers)?;
    let detach_ns = monotonic_ns() - followed.ended_ns;
    ensure!(followed.succeeded, "goobserve run -- {command:?} failed: {}", said());

    let json = fs::read(&json).with_context(|| format!("read goobserve's report; it said: {}", said()))?;
    let report: Value = serde_json::from_slice(&json).context("parse goobserve's report")?;
    let entry = &report["commands"][0];
    let int = |name: &str| entry[name].as_u64().with_context(|| format!("no {name} in the report"));
    let exec = u64::try_from(started_ns(&report, clocks)? + i128::from(int("start_ns")?))?;
    if let Some(costs) = &mut followed.costs {
        costs.detach_cpu_ns = detach_cpu_ns;
        costs.rusage_cpu_ns = children_cpu_ns()? - rusage;
    }
    Ok(Watched {
        reported_ns: int("wall_ns")?,
        command_ns: followed.command_ended_ns.saturating_sub(exec),
        whole_ns: followed.ended_ns - spawned,
        start_ns: exec.saturating_sub(spawned),
        detach_ns,
        costs: followed.costs,
        report,
        clocks,
    })
}

fn started_ns(report: &Value, clocks: ClockPair) -> Result<i128> {
    let started = report["started_unix_ns"].as_u64().context("no started_unix_ns in the report")?;
    Ok(clocks.to_monotonic(started))
}

struct Followed {
    succeeded: bool,
    command_ended_ns: u64,
    ended_ns: u64,
    costs: Option<Costs>,
}

/// From goobserve's start to its end, which is waited for.
fn follow(mut agent: Child, sampling: Sampling) -> Result<Followed> {
    let pid = agent.id();
    let followed = follow_to_the_end(pid, sampling);
    if followed.is_err() {
        // It may have ended this instant; then there is nobody to kill.
        let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
    let status = agent.wait().context("wait for goobserve")?;
    let (command_ended_ns, ended_ns, costs) = followed?;
    Ok(Followed { succeeded: status.success(), command_ended_ns, ended_ns, costs })
}

/// Leaves the agent as a zombie.
fn follow_to_the_end(agent: u32, sampling: Sampling) -> Result<(u64, u64, Option<Costs>)> {
    let Some((command, worker)) = find(agent)? else {
        bail!("goobserve ended before its command began");
    };
    let command_ends = open(command)?;
    if sampling == Sampling::Costs {
        wait_exec(agent, command);
    }
    let mut meter = (sampling == Sampling::Costs).then(|| Meter::new(agent, worker)).transpose()?;
    if let Some(command) = command_ends {
        wait_end(&command)?;
    }
    let command_ended_ns = monotonic_ns();
    if let Some(meter) = &mut meter {
        meter.command_ended();
        while cpu_ns(worker).is_some() || !is_zombie(agent)? {
            meter.sample();
            sleep(SAMPLE_EVERY);
        }
    }
    waitid(Id::Pid(Pid::from_raw(agent.cast_signed())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
        .context("wait for goobserve")?;
    Ok((command_ended_ns, monotonic_ns(), meter.map(Meter::end)))
}

/// Waits for the command and the worker. The command, which is held before its exec, is the child
/// that is not the worker. `None` when goobserve has ended.
fn find(agent: u32) -> Result<Option<(u32, u32)>> {
    while !is_zombie(agent)? {
        let children = children(agent);
        let worker = children.iter().copied().find(|child| arguments(*child).contains("\0__worker"));
        if let Some(worker) = worker
            && let Some(command) = children.into_iter().find(|child| *child != worker)
        {
            return Ok(Some((command, worker)));
        }
        sleep(SAMPLE_PROCESS_EVERY);
    }
    Ok(None)
}

/// Waits until the held command is another program than its parent.
fn wait_exec(agent: u32, command: u32) {
    while program(command).is_some_and(|program| Some(program) == self::program(agent)) {
        sleep(SAMPLE_PROCESS_EVERY);
    }
}

fn is_zombie(child: u32) -> Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    let status =
        waitid(Id::Pid(Pid::from_raw(child.cast_signed())), flags).context("sampling at goobserve")?;
    Ok(status != nix::sys::wait::WaitStatus::StillAlive)
}

/// A descriptor that becomes readable at the process's end; `None` when it has gone.
fn open(pid: u32) -> Result<Option<OwnedFd>> {
    let process = Process::from_raw(pid.cast_signed()).context("a process has a number")?;
    match pidfd_open(process, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error).context("open the command"),
    }
}

fn wait_end(process: &OwnedFd) -> Result<()> {
    let limit = Timespec { tv_sec: LIMIT_S, tv_nsec: 0 };
    let mut ends = [PollFd::new(process, PollFlags::IN)];
    ensure!(poll(&mut ends, Some(&limit)).context("wait for the command")? > 0, "hung for {LIMIT_S} s");
    Ok(())
}

/// Children of any thread of this process.
fn own_children() -> BTreeSet<u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Waits for children that are none of `strangers`; returns their CPU.
fn reap_orphans(strangers: &BTreeSet<u32>) -> Result<u64> {
    let mut cpu = 0;
    while let Some(&orphan) = own_children().difference(strangers).next() {
        let pid = Pid::from_raw(orphan.cast_signed());
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(_) => cpu += cpu_ns(orphan).unwrap_or(0),
            Err(Errno::ECHILD | Errno::EINTR) => continue,
            Err(error) => return Err(error).context("wait for goobserve's last process"),
        }
        waitpid(pid, None).context("wait for goobserve's last process")?;
    }
    Ok(cpu)
}

/// Reads what the two processes took.
struct Meter {
    agent: u32,
    worker: u32,
    programs: Programs,
    begin: [u64; 3],
    costs: Costs,
}

impl Meter {
    fn new(agent: u32, worker: u32) -> Result<Self> {
        let programs = Programs::of(agent)?;
        ensure!(!programs.is_empty(), "goobserve holds no BPF program");
        let mut meter = Self { agent, worker, programs, begin: [0; 3], costs: Costs::default() };
        meter.begin = meter.now();
        Ok(meter)
    }

    /// Agent, worker, BPF
    fn now(&self) -> [u64; 3] {
        let bpf = self.programs.run_times().values().map(|(ns, _)| ns).sum();
        [cpu_ns(self.agent).unwrap_or(0), cpu_ns(self.worker).unwrap_or(0), bpf]
    }

    fn command_ended(&mut self) {
        let now = self.now();
        let [agent, worker, bpf] = std::array::from_fn(|i| now[i].saturating_sub(self.begin[i]));
        self.costs.agent.during_ns = agent;
        self.costs.worker.during_ns = worker;
        self.costs.bpf.during_ns = bpf;
        self.sample();
    }

    /// Everything here only grows, so the last reading before the end counts.
    fn sample(&mut self) {
        let costs = &mut self.costs;
        let keep = |kept: &mut u64, now: Option<u64>| *kept = (*kept).max(now.unwrap_or(0));
        keep(&mut costs.agent.all_ns, cpu_ns(self.agent));
        keep(&mut costs.worker.all_ns, cpu_ns(self.worker));
        keep(&mut costs.agent_memory, peak_memory(self.agent));
        keep(&mut costs.worker_memory, peak_memory(self.worker));
    }

    fn end(mut self) -> Costs {
        self.sample();
        self.costs.programs = self.programs.run_times().into_iter().collect();
        self.costs.bpf.all_ns = self.costs.programs.values().map(|(ns, _)| ns).sum();
        self.costs
    }
}
