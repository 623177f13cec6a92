//! Processes and commands: the tree, its idle intervals, its end.

use std::collections::{BTreeMap, HashSet};

use model::event::{Body, CommandUpdate, Idle};
use model::id::{CommandId, Pid, TreeId};
use model::record::{AgentWait, Command, Container, CpuQuota, Gap, Go, Local, Process, Service};
use model::time::{Monotonic, Ns, SinceStart};
use observer_common::{EXEC_ROOT, EXIT_ROOT, Exec, Exit, Fork, Header, Interval};

use super::numbers::ByNumber;
use super::preexisting::PreexistingProcess;
use super::{Clock, Out, Owner};

/// Idle intervals gathered before they are reported; at thousands a second this is a line or two.
const INTERVALS_MAX: usize = 512;
/// Arguments kept of a process.
const ARGUMENTS_MAX: usize = 64;

/// What was found out about a process from outside.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Working folder
    pub cwd: Option<String>,
    /// Control group
    pub cgroup: Option<String>,
    /// The container that it is in
    pub container: Option<Container>,
    /// The binary and its settings, when it is a go command
    pub go: Option<Go>,
}

/// Reads of a terminal that are kept of a process.
const TERMINAL_MAX: usize = 64;
/// Waits for its agent that are kept of a process.
const AGENT_WAITS_MAX: usize = 16;
/// An agent with the keys at hand answers sooner: it signs within a millisecond or two.
const AGENT_NS: Ns = 20_000_000;

struct Running {
    record: Command,
    root: TreeId,
    idle: Vec<(SinceStart, SinceStart)>,
    ended: bool,
    /// When a thread of it was last seen to run
    alive_ns: SinceStart,
    /// How long it slept in all, as of the latest record that says so
    slept_ns: Ns,
    /// A gap of which it is not known yet how much it slept in it
    gap: Option<Gap>,
}

/// Everything about processes.
pub(super) struct Processes {
    clock: Clock,
    /// Command of a tree
    roots: ByNumber<TreeId, CommandId>,
    commands: BTreeMap<CommandId, Running>,
    processes: ByNumber<Pid, Process>,
    /// Those of `processes` whose beginning was not seen: nor was what CPU time they took before
    preexisting: HashSet<Pid>,
    next: CommandId,
}

impl Processes {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            roots: ByNumber::default(),
            commands: BTreeMap::new(),
            processes: ByNumber::default(),
            preexisting: HashSet::new(),
            next: CommandId::FIRST,
        }
    }

    /// Whose event it is; `None` for a tree that has not begun or is forgotten.
    pub(super) fn owner(&self, header: &Header) -> Option<Owner<'_>> {
        self.owner_of(TreeId(header.root), Pid(header.pid))
    }

    pub(super) fn command_of(&self, pid: Pid) -> Option<CommandId> {
        let of = |running: &&Running| running.record.pid == pid;
        self.commands.values().rfind(of).map(|running| running.record.id)
    }

    pub(super) fn command_with(&self, pid: Pid) -> Option<CommandId> {
        self.command_of(pid).or_else(|| self.processes.get(&pid).map(|process| process.command))
    }

    pub(super) fn quota(&mut self, command: CommandId, quota: CpuQuota, out: &mut Out<'_>) {
        if let Some(running) = self.commands.get_mut(&command) {
            running.record.cpu_quota = Some(quota);
            running.report(out);
        }
    }

    pub(super) fn service(&mut self, command: CommandId, service: Service, out: &mut Out<'_>) {
        if let Some(running) = self.commands.get_mut(&command) {
            running.record.service = Some(Box::new(service));
            running.report(out);
        }
    }

    pub(super) fn running(&self) -> bool {
        self.commands.values().any(|running| !running.ended)
    }

    /// Trees of running commands, and the commands.
    pub(super) fn running_trees(&self) -> Vec<(TreeId, CommandId)> {
        let running = self.commands.values().filter(|running| !running.ended);
        running.map(|running| (running.root, running.record.id)).collect()
    }

    pub(super) fn tree_of(&self, command: CommandId) -> Option<TreeId> {
        self.commands.get(&command).map(|running| running.root)
    }

    /// Whose a process is, by its tree and its number.
    pub(super) fn owner_of(&self, root: TreeId, pid: Pid) -> Option<Owner<'_>> {
        let command = *self.roots.get(&root)?;
        let comm = self.processes.get(&pid).map_or("", |process| &process.comm);
        Some(Owner { command, pid, comm })
    }

    pub(super) fn pids(&self, command: CommandId) -> Vec<Pid> {
        let alive = |process: &&Process| process.command == command && process.end_ns.is_none();
        self.processes.values().filter(alive).map(|process| process.pid).collect()
    }

    pub(super) fn fork(&mut self, header: &Header, fork: &Fork, out: &mut Out<'_>) {
        let Some(owner) = self.owner(header) else { return };
        let args = self.processes.get(&Pid(header.pid)).map(|parent| parent.args.clone()).unwrap_or_default();
        let process = Process {
            command: owner.command,
            pid: Pid(fork.child),
            ppid: Pid(header.pid),
            comm: owner.comm.to_owned(),
            args,
            start_ns: out.at_ns,
            ..Process::default()
        };
        out.push(Body::Process(process.clone()));
        self.processes.insert(Pid(fork.child), process);
    }

    pub(super) fn exec(&mut self, header: &Header, exec: &Exec, args: &[u8], out: &mut Out<'_>) {
        let args = arguments(args, exec.args_len as usize);
        let comm = text(exec.comm.split(|byte| *byte == 0).next().unwrap_or_default());
        if header.flags & EXEC_ROOT != 0 {
            self.begin(header, exec, &args, out);
        }
        let Some(&command) = self.roots.get(&TreeId(header.root)) else { return };
        // One of another command had that number, and its end was lost.
        if self.processes.get(&Pid(header.pid)).is_some_and(|process| process.command != command) {
            self.processes.remove(&Pid(header.pid));
        }
        let process = self.processes.entry(Pid(header.pid)).or_insert_with(|| Process {
            command,
            pid: Pid(header.pid),
            ppid: Pid(exec.ppid),
            start_ns: out.at_ns,
            ..Process::default()
        });
        process.comm = comm;
        process.args = args;
        out.push(Body::Process(process.clone()));
    }

    fn begin(&mut self, header: &Header, exec: &Exec, args: &[String], out: &mut Out<'_>) {
        let record = Command {
            pid: Pid(header.pid),
            argv: args.to_vec(),
            uid: Some(exec.uid),
            start_ns: out.at_ns,
            ..Command::default()
        };
        self.add(TreeId(header.root), record, out);
    }

    fn add(&mut self, root: TreeId, record: Command, out: &mut Out<'_>) {
        let id = self.next.give();
        let record = Command { id, ..record };
        out.push(Body::Command(CommandUpdate {
            command: record.clone(),
            idle: Vec::new(),
            gaps: Vec::new(),
        }));
        self.roots.insert(root, id);
        self.processes.remove(&record.pid); // a former process of that number
        self.preexisting.remove(&record.pid);
        let (idle, alive_ns) = (Vec::new(), record.start_ns);
        let running = Running { record, root, idle, ended: false, alive_ns, slept_ns: 0, gap: None };
        self.commands.insert(id, running);
    }

    /// A thread of that tree ran at `at`.
    pub(super) fn alive(&mut self, root: TreeId, at: SinceStart) {
        if let Some(running) = self.roots.get(&root).and_then(|id| self.commands.get_mut(id)) {
            running.alive_ns = running.alive_ns.max(at);
        }
    }

    /// Records between `from` and `to` were lost: what a command did since it was last seen to run is
    /// not known.
    pub(super) fn gap(&mut self, (from, to): (SinceStart, SinceStart), out: &mut Out<'_>) {
        for running in self.commands.values_mut().filter(|running| !running.ended) {
            let start_ns = running.gap.map_or(running.alive_ns.min(from), |gap| gap.start_ns);
            running.gap = Some(Gap { start_ns, end_ns: to, idle_ns: None });
            running.emit_gap(out);
        }
    }

    /// The topmost process of the command has ended, as the agent knows: its record was lost.
    pub(super) fn ended(&mut self, pid: Pid, status: (Option<i32>, Option<i32>), out: &mut Out<'_>) {
        let of = |running: &&mut Running| running.record.pid == pid && !running.ended;
        let Some(running) = self.commands.values_mut().rfind(of) else { return };
        (running.record.exit_code, running.record.signal) = status;
        let code = status.0.or_else(|| status.1.map(|signal| 128 + signal));
        let root = running.root;
        self.over(root, pid, code, out);
    }

    /// A tree is gone, nobody knows how its topmost process ended.
    pub(super) fn ended_unseen(&mut self, root: TreeId, out: &mut Out<'_>) {
        let running = self.roots.get(&root).and_then(|id| self.commands.get(id));
        if let Some(pid) = running.map(|running| running.record.pid) {
            self.over(root, pid, None, out);
        }
    }

    /// A process that ran already.
    pub(super) fn preexisting(&mut self, found: &PreexistingProcess, out: &mut Out<'_>) {
        let args = arguments(&found.args.0, found.args.1);
        if found.topmost {
            let record = Command {
                pid: found.pid,
                argv: args.clone(),
                uid: found.uid,
                start_ns: out.at_ns,
                age_ns: found.age_ns,
                ..Command::default()
            };
            self.add(found.root, record, out);
        }
        let Some(&command) = self.roots.get(&found.root) else { return };
        let process = Process {
            command,
            pid: found.pid,
            ppid: found.ppid,
            comm: found.comm.clone(),
            args,
            start_ns: out.at_ns,
            ..Process::default()
        };
        out.push(Body::Process(process.clone()));
        self.processes.insert(found.pid, process);
        self.preexisting.insert(found.pid);
    }

    /// A process that was found has ended, nobody knows how.
    pub(super) fn gone(&mut self, root: TreeId, pid: Pid, out: &mut Out<'_>) {
        self.over(root, pid, None, out);
    }

    /// The record of a process's end was lost: it was in the gap, if there was one.
    fn over(&mut self, root: TreeId, pid: Pid, code: Option<i32>, out: &mut Out<'_>) {
        let Some(&command) = self.roots.get(&root) else { return };
        self.preexisting.remove(&pid);
        let gap = self.commands.get(&command).and_then(|running| running.gap);
        let end = gap.map_or(out.at_ns, |gap| gap.end_ns);
        if self.processes.get(&pid).is_some_and(|process| process.command == command)
            && let Some(mut process) = self.processes.remove(&pid)
        {
            process.end_ns = Some(end.max(process.start_ns));
            process.exit_code = code;
            out.push(Body::Process(process));
        }
        if let Some(running) = self.commands.get_mut(&command)
            && running.record.pid == pid
            && !running.ended
        {
            running.record.wall_ns = Some(end.saturating_sub(running.record.start_ns));
            running.ended = true;
            running.report(out);
        }
    }

    pub(super) fn exit(&mut self, header: &Header, exit: &Exit, out: &mut Out<'_>) {
        let (code, signal) = ((exit.code >> 8 & 0xff) as i32, (exit.code & 0x7f) as i32);
        let command = self.roots.get(&TreeId(header.root));
        let gone = self.processes.remove(&Pid(header.pid));
        if let Some(mut process) = gone.filter(|process| Some(&process.command) == command) {
            process.end_ns = Some(out.at_ns);
            process.exit_code = Some(if signal == 0 { code } else { 128 + signal });
            process.cpu_ns = (!self.preexisting.remove(&Pid(header.pid))).then_some(exit.cpu_ns);
            out.push(Body::Process(process));
        }
        if header.flags & EXIT_ROOT == 0 {
            return;
        }
        let Some(running) = self.roots.get(&TreeId(header.root)).and_then(|id| self.commands.get_mut(id))
        else {
            return;
        };
        let record = &mut running.record;
        record.wall_ns = Some(out.at_ns.saturating_sub(record.start_ns));
        (record.exit_code, record.signal) =
            if signal == 0 { (Some(code), None) } else { (None, Some(signal)) };
        let times = exit.times;
        running.slept(times.idle_ns, 0, out);
        let record = &mut running.record;
        record.local =
            Some(Local { cpu_ns: times.cpu_ns, runqueue_ns: times.runqueue_ns, disk_ns: times.disk_ns });
        running.ended = true;
        running.report(out);
    }

    pub(super) fn interval(&mut self, header: &Header, interval: &Interval, out: &mut Out<'_>) {
        let Some(running) = self.roots.get(&TreeId(header.root)).and_then(|id| self.commands.get_mut(id))
        else {
            return;
        };
        if running.ended {
            return; // a child that outlives its command
        }
        let (start, end) = (
            self.clock.since_start(Monotonic(interval.start_ns)),
            self.clock.since_start(Monotonic(interval.end_ns)),
        );
        let start = start.max(running.record.start_ns);
        if end > start {
            running.idle.push((start, end));
        }
        let times = interval.times;
        running.slept(times.idle_ns, interval.end_ns.saturating_sub(interval.start_ns), out);
        running.record.local =
            Some(Local { cpu_ns: times.cpu_ns, runqueue_ns: times.runqueue_ns, disk_ns: times.disk_ns });
    }

    /// It was seen to read a terminal while its command slept since then.
    pub(super) fn reads_terminal(&mut self, pid: Pid, since: SinceStart, out: &mut Out<'_>) {
        let Some(process) = self.processes.get_mut(&pid).filter(|process| process.end_ns.is_none()) else {
            return;
        };
        if process.terminal_ns.len() < TERMINAL_MAX && process.terminal_ns.last() != Some(&since) {
            process.terminal_ns.push(since);
            out.push(Body::Process(process.clone()));
        }
    }

    /// ssh asked its agent, or was answered. What was answered at once was no wait, and is not kept.
    pub(super) fn agent(&mut self, pid: Pid, at: SinceStart, answered: bool, out: &mut Out<'_>) {
        let Some(process) = self.processes.get_mut(&pid).filter(|process| process.end_ns.is_none()) else {
            return;
        };
        let waits = &mut process.agent_waits;
        let has_room = waits.len() < AGENT_WAITS_MAX;
        match waits.last_mut().filter(|wait| wait.end_ns.is_none()) {
            Some(open) if answered && at.saturating_sub(open.start_ns) < AGENT_NS => drop(waits.pop()),
            Some(open) if answered => open.end_ns = Some(at),
            None if !answered && has_room => {
                waits.push(AgentWait { start_ns: at, end_ns: None });
            }
            _ => return,
        }
        out.push(Body::Process(process.clone()));
    }

    pub(super) fn facts(&mut self, pid: Pid, facts: &Facts, out: &mut Out<'_>) {
        let Some(running) = self.command_of(pid).and_then(|id| self.commands.get_mut(&id)) else {
            // A go command below CMD (a script, make): the first one says what is set.
            let Some(go) = &facts.go else { return };
            let command = self.processes.get(&pid).map(|process| process.command);
            let Some(running) = command.and_then(|id| self.commands.get_mut(&id)) else { return };
            if !running.record.go.has_settings() {
                running.record.go = go.clone();
                running.report(out);
            }
            return;
        };
        let record = &mut running.record;
        record.cwd = facts.cwd.clone().or(record.cwd.take());
        record.cgroup = facts.cgroup.clone().or(record.cgroup.take());
        record.container = facts.container.clone().map(Box::new).or(record.container.take());
        // What was known of the same program stays, when its environment cannot be read any more.
        if let Some(go) = facts.go.as_ref().filter(|go| go.has_settings() || go.binary != record.go.binary) {
            record.go = go.clone();
        }
        running.report(out);
    }

    pub(super) fn flush(&mut self, out: &mut Out<'_>) {
        self.commands.values_mut().for_each(|running| running.emit_idle(out));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.roots.is_empty()
            && self.commands.is_empty()
            && self.processes.is_empty()
            && self.preexisting.is_empty()
    }

    pub(super) fn forget(&mut self, command: CommandId) {
        if let Some(running) = self.commands.remove(&command)
            && self.roots.get(&running.root) == Some(&command)
        {
            self.roots.remove(&running.root);
        }
        let preexisting = &mut self.preexisting;
        self.processes.retain(|pid, process| {
            let kept = process.command != command;
            if !kept {
                preexisting.remove(pid);
            }
            kept
        });
    }
}

impl Running {
    /// It has slept for `in_all`, of which the latest interval took `latest`: what nobody has heard of
    /// lies in the gap before it.
    fn slept(&mut self, in_all: Ns, latest: Ns, out: &mut Out<'_>) {
        let before = in_all.saturating_sub(latest);
        let unseen = before.saturating_sub(std::mem::replace(&mut self.slept_ns, in_all));
        if let Some(gap) = &mut self.gap {
            gap.idle_ns = Some(unseen);
            self.emit_gap(out);
            self.gap = None;
        }
    }

    fn emit_gap(&mut self, out: &mut Out<'_>) {
        // Idle intervals that are known come first: the gap is what is left.
        self.emit_idle(out);
        self.emit_part(Vec::new(), self.gap.into_iter().collect(), out);
    }

    /// Reports the command as it is known now.
    fn report(&mut self, out: &mut Out<'_>) {
        self.emit_idle(out);
        let (command, idle, gaps) = (self.record.clone(), Vec::new(), Vec::new());
        out.push(Body::Command(CommandUpdate { command, idle, gaps }));
    }

    /// Shows how it slept since the last time.
    fn emit_idle(&mut self, out: &mut Out<'_>) {
        let mut idle = std::mem::take(&mut self.idle).into_iter().peekable();
        while idle.peek().is_some() {
            self.emit_part(idle.by_ref().take(INTERVALS_MAX).collect(), Vec::new(), out);
        }
    }

    fn emit_part(&self, idle: Vec<(SinceStart, SinceStart)>, gaps: Vec<Gap>, out: &mut Out<'_>) {
        let (command, local) = (self.record.id, self.record.local);
        out.push(Body::Idle(Idle { command, idle, gaps, local }));
    }
}

/// An argument block: strings that end with NUL. One that was cut is left out: of a part nobody can
/// say what it is a part of.
fn arguments(block: &[u8], len: usize) -> Vec<String> {
    let whole = block.strip_suffix(&[0]).unwrap_or(block);
    if whole.is_empty() {
        return Vec::new();
    }
    let mut args: Vec<String> = whole.split(|byte| *byte == 0).take(ARGUMENTS_MAX).map(text).collect();
    if block.len() < len {
        if block.last() != Some(&0) && args.len() < ARGUMENTS_MAX {
            args.pop();
        }
        args.push("…".to_owned());
    }
    args
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
