//! Processes and commands: the tree, its idle spells, its end.

use std::collections::{BTreeMap, HashMap, HashSet};

use observer_common::{EXEC_ROOT, EXIT_ROOT, Exec, Exit, Fork, Header, Spell};

use super::found::FoundProcess;
use super::{Clock, Out, Owner};
use crate::model::event::{Body, CommandUpdate};
use crate::model::record::{Command, Go, Local, Ns, Process};

/// Idle spells gathered before they are told; at thousands a second this is a line or two.
const SPELLS_MAX: usize = 512;
/// Arguments kept of a process.
const ARGUMENTS_MAX: usize = 64;

/// What was found out about a process from outside.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Working folder
    pub cwd: Option<String>,
    /// Control group
    pub cgroup: Option<String>,
    /// The binary and its settings, when it is a go command
    pub go: Option<Go>,
}

struct Running {
    record: Command,
    root: u32,
    idle: Vec<(Ns, Ns)>,
    ended: bool,
}

/// Everything about processes.
pub(super) struct Processes {
    clock: Clock,
    /// Command of a tree
    roots: HashMap<u32, u32>,
    commands: BTreeMap<u32, Running>,
    processes: HashMap<u32, Process>,
    /// Those of `processes` whose beginning was not seen: nor was what CPU time they took before
    found: HashSet<u32>,
    next: u32,
}

impl Processes {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            roots: HashMap::new(),
            commands: BTreeMap::new(),
            processes: HashMap::new(),
            found: HashSet::new(),
            next: 1,
        }
    }

    /// Whose event it is; `None` for a tree that has not begun or is forgotten.
    pub(super) fn owner(&self, header: &Header) -> Option<Owner> {
        self.owner_of(header.root, header.pid)
    }

    pub(super) fn command_of(&self, pid: u32) -> Option<u32> {
        let of = |running: &&Running| running.record.pid == pid;
        self.commands.values().rfind(of).map(|running| running.record.id)
    }

    pub(super) fn running(&self) -> bool {
        self.commands.values().any(|running| !running.ended)
    }

    /// Trees of running commands, and the commands.
    pub(super) fn running_trees(&self) -> Vec<(u32, u32)> {
        let running = self.commands.values().filter(|running| !running.ended);
        running.map(|running| (running.root, running.record.id)).collect()
    }

    pub(super) fn tree_of(&self, command: u32) -> Option<u32> {
        self.commands.get(&command).map(|running| running.root)
    }

    /// Whose a process is, by its tree and its number.
    pub(super) fn owner_of(&self, root: u32, pid: u32) -> Option<Owner> {
        let command = *self.roots.get(&root)?;
        let comm = self.processes.get(&pid).map(|process| process.comm.clone()).unwrap_or_default();
        Some(Owner { command, pid, comm })
    }

    pub(super) fn pids(&self, command: u32) -> Vec<u32> {
        let alive = |process: &&Process| process.command == command && process.end_ns.is_none();
        self.processes.values().filter(alive).map(|process| process.pid).collect()
    }

    pub(super) fn fork(&mut self, header: &Header, fork: &Fork, out: &mut Out<'_>) {
        let Some(owner) = self.owner(header) else { return };
        let args = self.processes.get(&header.pid).map(|parent| parent.args.clone()).unwrap_or_default();
        let process = Process {
            command: owner.command,
            pid: fork.child,
            ppid: header.pid,
            comm: owner.comm,
            args,
            start_ns: out.at_ns,
            ..Process::default()
        };
        out.push(Body::Process(process.clone()));
        self.processes.insert(fork.child, process);
    }

    pub(super) fn exec(&mut self, header: &Header, exec: &Exec, args: &[u8], out: &mut Out<'_>) {
        let args = arguments(args, exec.args_len as usize);
        let comm = text(exec.comm.split(|byte| *byte == 0).next().unwrap_or_default());
        if header.flags & EXEC_ROOT != 0 {
            self.begin(header, exec, &args, out);
        }
        let Some(&command) = self.roots.get(&header.root) else { return };
        // One of another command had that number, and its end was lost.
        if self.processes.get(&header.pid).is_some_and(|process| process.command != command) {
            self.processes.remove(&header.pid);
        }
        let process = self.processes.entry(header.pid).or_insert_with(|| Process {
            command,
            pid: header.pid,
            ppid: exec.ppid,
            start_ns: out.at_ns,
            ..Process::default()
        });
        process.comm = comm;
        process.args = args;
        out.push(Body::Process(process.clone()));
    }

    fn begin(&mut self, header: &Header, exec: &Exec, args: &[String], out: &mut Out<'_>) {
        let record = Command {
            pid: header.pid,
            argv: args.to_vec(),
            uid: Some(exec.uid),
            start_ns: out.at_ns,
            ..Command::default()
        };
        self.add(header.root, record, out);
    }

    fn add(&mut self, root: u32, record: Command, out: &mut Out<'_>) {
        let id = self.next;
        self.next += 1;
        let record = Command { id, ..record };
        out.push(Body::Command(CommandUpdate { command: record.clone(), idle: Vec::new() }));
        self.roots.insert(root, id);
        self.processes.remove(&record.pid); // a former process of that number
        self.found.remove(&record.pid);
        self.commands.insert(id, Running { record, root, idle: Vec::new(), ended: false });
    }

    /// A process that ran already.
    pub(super) fn found(&mut self, found: &FoundProcess, out: &mut Out<'_>) {
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
        self.found.insert(found.pid);
    }

    /// A process that was found has ended, nobody knows how.
    pub(super) fn gone(&mut self, root: u32, pid: u32, out: &mut Out<'_>) {
        let Some(&command) = self.roots.get(&root) else { return };
        self.found.remove(&pid);
        if self.processes.get(&pid).is_some_and(|process| process.command == command)
            && let Some(mut process) = self.processes.remove(&pid)
        {
            process.end_ns = Some(out.at_ns);
            out.push(Body::Process(process));
        }
        if let Some(running) = self.commands.get_mut(&command)
            && running.record.pid == pid
            && !running.ended
        {
            running.record.wall_ns = Some(out.at_ns.saturating_sub(running.record.start_ns));
            running.ended = true;
            running.tell(out);
        }
    }

    pub(super) fn exit(&mut self, header: &Header, exit: &Exit, out: &mut Out<'_>) {
        let (code, signal) = ((exit.code >> 8 & 0xff) as i32, (exit.code & 0x7f) as i32);
        let command = self.roots.get(&header.root);
        let gone = self.processes.remove(&header.pid);
        if let Some(mut process) = gone.filter(|process| Some(&process.command) == command) {
            process.end_ns = Some(out.at_ns);
            process.exit_code = Some(if signal == 0 { code } else { 128 + signal });
            process.cpu_ns = (!self.found.remove(&header.pid)).then_some(exit.cpu_ns);
            out.push(Body::Process(process));
        }
        if header.flags & EXIT_ROOT == 0 {
            return;
        }
        let Some(running) = self.roots.get(&header.root).and_then(|id| self.commands.get_mut(id)) else {
            return;
        };
        let record = &mut running.record;
        record.wall_ns = Some(out.at_ns.saturating_sub(record.start_ns));
        (record.exit_code, record.signal) =
            if signal == 0 { (Some(code), None) } else { (None, Some(signal)) };
        let times = exit.times;
        record.local =
            Some(Local { cpu_ns: times.cpu_ns, runqueue_ns: times.runqueue_ns, disk_ns: times.disk_ns });
        running.ended = true;
        running.tell(out);
    }

    pub(super) fn spell(&mut self, header: &Header, spell: &Spell) {
        let Some(running) = self.roots.get(&header.root).and_then(|id| self.commands.get_mut(id)) else {
            return;
        };
        if running.ended {
            return; // a child that outlives its command
        }
        let (start, end) = (self.clock.ns(spell.start_ns), self.clock.ns(spell.end_ns));
        let start = start.max(running.record.start_ns);
        if end > start {
            running.idle.push((start, end));
        }
        let times = spell.times;
        running.record.local =
            Some(Local { cpu_ns: times.cpu_ns, runqueue_ns: times.runqueue_ns, disk_ns: times.disk_ns });
    }

    pub(super) fn facts(&mut self, pid: u32, facts: &Facts, out: &mut Out<'_>) {
        let Some(running) = self.command_of(pid).and_then(|id| self.commands.get_mut(&id)) else {
            // A go command below CMD (a script, make): the first one says what is set.
            let Some(go) = &facts.go else { return };
            let command = self.processes.get(&pid).map(|process| process.command);
            let Some(running) = command.and_then(|id| self.commands.get_mut(&id)) else { return };
            if running.record.go.version.is_none() {
                running.record.go = go.clone();
                running.tell(out);
            }
            return;
        };
        let record = &mut running.record;
        record.cwd = facts.cwd.clone().or(record.cwd.take());
        record.cgroup = facts.cgroup.clone().or(record.cgroup.take());
        if let Some(go) = &facts.go {
            record.go = go.clone();
        }
        running.tell(out);
    }

    pub(super) fn flush(&mut self, out: &mut Out<'_>) {
        for running in self.commands.values_mut().filter(|running| !running.idle.is_empty()) {
            running.tell(out);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.roots.is_empty()
            && self.commands.is_empty()
            && self.processes.is_empty()
            && self.found.is_empty()
    }

    pub(super) fn forget(&mut self, command: u32) {
        if let Some(running) = self.commands.remove(&command)
            && self.roots.get(&running.root) == Some(&command)
        {
            self.roots.remove(&running.root);
        }
        let found = &mut self.found;
        self.processes.retain(|pid, process| {
            let kept = process.command != command;
            if !kept {
                found.remove(pid);
            }
            kept
        });
    }
}

impl Running {
    fn tell(&mut self, out: &mut Out<'_>) {
        let mut idle = std::mem::take(&mut self.idle).into_iter().peekable();
        loop {
            let part: Vec<_> = idle.by_ref().take(SPELLS_MAX).collect();
            out.push(Body::Command(CommandUpdate { command: self.record.clone(), idle: part }));
            if idle.peek().is_none() {
                return;
            }
        }
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
