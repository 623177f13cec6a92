//! Decoded events in, spans out: sockets to processes, names to queries, requests to
//! connections, everything to its command. Pure; the same records give the same events.

mod connections;
#[cfg(test)]
mod gap_tests;
mod local_resolvers;
mod locks;
mod names;
mod numbers;
pub mod preexisting;
#[cfg(test)]
mod preexisting_tests;
mod processes;
mod queries;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::net::Ipv4Addr;

use connections::Connections;
use local_resolvers::LocalResolvers;
pub use locks::LockFacts;
use locks::Locks;
use model::event::{Body, Event};
use model::id::{CommandId, Pid, Tid, TreeId};
use model::record::{CpuQuota, Loss, Resolver, Service};
use model::time::{Monotonic, SinceStart};
use observer_common::{
    EXIT_ROOT, Exec, Header, LOCAL_RESOLVERS, PAYLOAD_AGENT, PAYLOAD_RECEIVED, PREEXISTING_TREES,
    is_containers_resolver,
};
use preexisting::{LocalResolver, PreexistingLock, PreexistingProcess, PreexistingSockets};
pub use processes::Facts;
use processes::Processes;
use queries::Queries;
use requests::Requests;

use crate::decode::wire::{Body as Wire, Record};

/// Whose event it is.
#[derive(Clone, Copy, Debug)]
struct Owner<'a> {
    command: CommandId,
    pid: Pid,
    comm: &'a str,
}

/// Where events go, with the time they get.
struct Out<'a> {
    events: &'a mut Vec<Event>,
    at_ns: SinceStart,
}

impl Out<'_> {
    fn push(&mut self, body: Body) {
        self.events.push(Event { at_ns: self.at_ns, body });
    }
}

/// `CLOCK_MONOTONIC` to nanoseconds from the start of the observation.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start_ns: Monotonic,
}

impl Clock {
    const fn since_start(self, at: Monotonic) -> SinceStart {
        at.since(self.start_ns)
    }
}

/// From records to events.
pub struct Correlator {
    clock: Clock,
    processes: Processes,
    spans: Spans,
    local_resolvers: LocalResolvers,
    /// Trees that ran already and whose sockets have been reported
    sockets_reported: HashSet<TreeId>,
    /// Time of the latest record: what is added from outside is reported as of then
    latest_ns: SinceStart,
    /// When records were lost, until the records behind are reached
    gaps: VecDeque<(SinceStart, SinceStart)>,
}

/// What processes do, apart from them: their names are read meanwhile.
struct Spans {
    connections: Connections,
    queries: Queries,
    requests: Requests,
    locks: Locks,
    undecoded: u64,
}

impl Spans {
    fn of_process(&mut self, owner: Owner<'_>, header: &Header, body: &Wire<'_>, out: &mut Out<'_>) {
        match body {
            Wire::SockState(state) => {
                let name = || {
                    let (family, port) = (state.family, state.remote_port);
                    self.queries.names.of(owner.command, family, &state.remote.bytes(), port)
                };
                self.connections.state(owner, state, name, out);
                self.requests.socket_changed(owner, state, out);
            }
            Wire::SockMark(mark) => self.connections.mark(mark, out),
            Wire::TcpInfo(info) => self.connections.info(info, out),
            Wire::Dns(payload, bytes) => {
                self.undecoded += self.queries.payload(owner, header.flags, payload, bytes, out);
            }
            Wire::Hello(payload, bytes) => self.connections.hello(header.flags, payload, bytes, out),
            Wire::Handshake(handshake) => {
                let ended = header.flags & observer_common::HANDSHAKE_END != 0;
                if header.flags & observer_common::HANDSHAKE_ALERT != 0 {
                    return self.connections.alert(handshake, out);
                }
                if !ended {
                    self.requests.handshake(owner, handshake, out);
                }
                self.connections.handshake(handshake, ended, out);
            }
            Wire::Frame(frame, slice) => {
                self.requests.frame(owner, header, frame, slice, &mut self.connections, out);
            }
            Wire::Http1(call, head) => {
                self.requests.http1(owner, header, call, head, &mut self.connections, out);
            }
            Wire::Lock(lock) => self.locks.lock(owner, header, lock, out),
            Wire::Fork(_) | Wire::Exec(..) | Wire::Exit(_) | Wire::Interval(_) | Wire::Began(..) => {}
        }
    }
}

/// Whether a record shows that a thread of its tree ran; others come from the network.
const fn of_thread(body: &Wire<'_>) -> bool {
    !matches!(body, Wire::SockState(_) | Wire::SockMark(_) | Wire::TcpInfo(_))
}

impl Correlator {
    /// `start_ns`: the start of the observation, `CLOCK_MONOTONIC`. `resolver`: what
    /// resolv.conf says of how often and how long names are asked for.
    pub fn new(start_ns: Monotonic, resolver: &Resolver) -> Self {
        let clock = Clock { start_ns };
        Self {
            clock,
            processes: Processes::new(clock),
            spans: Spans {
                connections: Connections::new(),
                queries: Queries::new(resolver),
                requests: Requests::new(clock),
                locks: Locks::new(),
                undecoded: 0,
            },
            local_resolvers: LocalResolvers::default(),
            sockets_reported: HashSet::new(),
            latest_ns: SinceStart::ZERO,
            gaps: VecDeque::new(),
        }
    }

    /// Takes the next record, in order of time, and appends what it reports.
    pub fn record(&mut self, record: &Record<'_>, events: &mut Vec<Event>) {
        let header = &record.header;
        let at_ns = self.clock.since_start(Monotonic(header.at_ns));
        self.close_gaps(at_ns, events);
        let mut out = Out { events, at_ns };
        self.latest_ns = self.latest_ns.max(at_ns);
        if self.gaps.front().is_none_or(|gap| at_ns <= gap.0) && of_thread(&record.body) {
            self.processes.alive(TreeId(header.root), at_ns);
        }
        match &record.body {
            Wire::Dns(..) if header.flags & PAYLOAD_AGENT != 0 => {
                let answered = header.flags & PAYLOAD_RECEIVED != 0;
                self.processes.agent(Pid(header.pid), at_ns, answered, &mut out);
            }
            body if header.root == LOCAL_RESOLVERS => self.of_local_resolver(header, body, &mut out),
            Wire::Fork(fork) => self.processes.fork(header, fork, &mut out),
            Wire::Exec(exec, args) => {
                self.containers_resolver(header, exec);
                self.processes.exec(header, exec, args, &mut out);
            }
            Wire::Exit(exit) => {
                if let Some(owner) = self.processes.owner(header) {
                    self.spans.queries.process_ended(owner.pid);
                    self.spans.requests.process_ended(owner.pid);
                    if header.flags & EXIT_ROOT != 0 {
                        self.spans.connections.settle(Some(owner.command), &mut out);
                    }
                }
                self.processes.exit(header, exit, &mut out);
            }
            Wire::Interval(interval) => self.processes.interval(header, interval, &mut out),
            body => {
                // Of a tree that was forgotten, or whose beginning was lost (and counted): nobody's.
                let Some(owner) = self.processes.owner(header) else { return };
                if matches!(body, Wire::Dns(..)) && self.local_resolvers.is(owner) {
                    // A container's, that the command started.
                    return self.of_local_resolver(header, body, &mut out);
                }
                self.spans.of_process(owner, header, body, &mut out);
            }
        }
    }

    /// Of what a stub resolver does only its queries matter, and its children that ask them.
    fn of_local_resolver(&mut self, header: &Header, body: &Wire<'_>, out: &mut Out<'_>) {
        match body {
            Wire::Fork(fork) => self.local_resolvers.fork(Pid(header.pid), Pid(fork.child)),
            Wire::Exec(exec, _) => self.containers_resolver(header, exec),
            Wire::Dns(payload, bytes) => {
                self.spans.undecoded +=
                    self.spans.queries.of_local_resolver(&self.local_resolvers, header, payload, bytes, out);
            }
            _ => {}
        }
    }

    /// A program begins that answers the queries of containers, if it is one: whose is not known, so a query is
    /// theirs when they ask for the same at the same time.
    fn containers_resolver(&mut self, header: &Header, exec: &Exec) {
        if is_containers_resolver(&exec.comm) {
            let comm = exec.comm.split(|byte| *byte == 0).next().unwrap_or_default();
            let comm = String::from_utf8_lossy(comm).into_owned();
            let addresses = vec![Ipv4Addr::UNSPECIFIED.into()];
            self.local_resolver(LocalResolver { pid: Pid(header.pid), comm, addresses });
        }
    }

    /// The agent follows a stub resolver.
    pub fn local_resolver(&mut self, local_resolver: LocalResolver) {
        self.local_resolvers.add(local_resolver);
    }

    /// The agent follows a process that ran already.
    pub fn preexisting(&mut self, process: &PreexistingProcess, events: &mut Vec<Event>) {
        let mut out = self.outside(process.at_ns, events);
        self.processes.preexisting(process, &mut out);
    }

    /// The sockets of a tree that ran already.
    pub fn preexisting_sockets(&mut self, reported: &PreexistingSockets, events: &mut Vec<Event>) {
        let mut out = self.outside(reported.at_ns, events);
        let first = self.sockets_reported.insert(reported.root);
        let owner = |pid| self.processes.owner_of(reported.root, pid);
        let new = self.spans.connections.preexisting(reported, first, owner, &mut out);
        self.spans.queries.preexisting(reported, first, owner, &mut out);
        self.spans.requests.preexisting(if first { new + u64::from(reported.unreported) } else { 0 });
    }

    /// Threads of a tree that ran already wait for locks.
    pub fn preexisting_lock(
        &mut self,
        root: TreeId,
        at_ns: Monotonic,
        lock: &PreexistingLock,
        events: &mut Vec<Event>,
    ) {
        let mut out = self.outside(at_ns, events);
        if let Some(owner) = self.processes.owner_of(root, lock.pid) {
            self.spans.locks.preexisting(owner, lock.tid, &mut out);
        }
    }

    /// A process that ran already has ended without a trace.
    pub fn preexisting_gone(&mut self, root: TreeId, pid: Pid, events: &mut Vec<Event>) {
        let mut out = Out { events, at_ns: self.latest_ns };
        self.spans.queries.process_ended(pid);
        self.spans.requests.process_ended(pid);
        self.processes.gone(root, pid, &mut out);
    }

    /// Trees that ran already and have sockets of which only the kernel can be asked.
    pub fn preexisting_trees(&self) -> Vec<TreeId> {
        let running = self.running_trees().into_iter().map(|(tree, _)| tree);
        let found = running.filter(|tree| *tree >= TreeId(PREEXISTING_TREES));
        found
            .filter(|tree| {
                self.spans.connections.any_preexisting(*tree) || self.spans.queries.any_preexisting(*tree)
            })
            .collect()
    }

    /// The number of a command's tree, when it ran already.
    pub fn preexisting_tree(&self, command: CommandId) -> Option<TreeId> {
        self.processes.tree_of(command).filter(|tree| *tree >= TreeId(PREEXISTING_TREES))
    }

    /// What the agent reports, as of when it saw it.
    fn outside<'a>(&mut self, at_ns: Monotonic, events: &'a mut Vec<Event>) -> Out<'a> {
        self.latest_ns = self.latest_ns.max(self.clock.since_start(at_ns));
        Out { events, at_ns: self.latest_ns }
    }

    /// What was found out about a process from outside (`/proc`, its binary).
    pub fn facts(&mut self, pid: Pid, facts: &Facts, events: &mut Vec<Event>) {
        let mut out = Out { events, at_ns: self.latest_ns };
        self.processes.facts(pid, facts, &mut out);
    }

    /// A process of a command that sleeps since then was seen to read a terminal.
    pub fn reads_terminal(&mut self, pid: Pid, since: SinceStart, events: &mut Vec<Event>) {
        let mut out = Out { events, at_ns: self.latest_ns };
        self.processes.reads_terminal(pid, since, &mut out);
    }

    /// Names the file whose lock a thread waits for, and who holds it.
    pub fn lock_facts(&mut self, tid: Tid, facts: LockFacts, events: &mut Vec<Event>) {
        let mut out = Out { events, at_ns: self.latest_ns };
        self.spans.locks.facts(tid, facts, &mut out);
    }

    /// Shows what has been gathered since the last time, and what time alone brings: idle intervals
    /// of running commands, queries that were given up. `now`: every record until then was taken.
    pub fn flush(&mut self, now: SinceStart, events: &mut Vec<Event>) {
        self.close_gaps(now, events);
        let mut out = Out { events, at_ns: self.latest_ns.max(now) };
        self.spans.queries.expire(now, &mut out);
        out.at_ns = self.latest_ns;
        self.processes.flush(&mut out);
    }

    /// The observation ends: shows what was gathered without being worth an event.
    pub fn settle(&mut self, now: SinceStart, events: &mut Vec<Event>) {
        self.flush(now, events);
        self.spans.connections.settle(None, &mut Out { events, at_ns: self.latest_ns });
    }

    /// Records between `from` and `to` (`CLOCK_MONOTONIC`) were lost without a trace. What depends on
    /// every byte before is not known from here on.
    pub fn gap(&mut self, from: Monotonic, to: Monotonic) {
        self.spans.requests.gap();
        self.gaps.push_back((self.clock.since_start(from), self.clock.since_start(to)));
    }

    /// Draws the conclusions from gaps that are over by `now`.
    fn close_gaps(&mut self, now: SinceStart, events: &mut Vec<Event>) {
        while let Some(gap) = self.gaps.pop_front_if(|gap| gap.1 < now) {
            let mut out = Out { events, at_ns: self.latest_ns };
            self.spans.queries.gap(gap.1);
            self.spans.requests.behind_gap();
            self.spans.connections.behind_gap(&mut out);
            self.processes.gap(gap, &mut out);
        }
    }

    /// The topmost process of a tree has ended without a trace.
    pub fn ended_unseen(&mut self, root: TreeId, events: &mut Vec<Event>) {
        let mut out = Out { events, at_ns: self.latest_ns };
        self.spans.connections.settle(None, &mut out);
        self.processes.ended_unseen(root, &mut out);
    }

    /// What the agent waited for has ended with that exit code or signal; says so unless it is known.
    pub fn ended(&mut self, pid: Pid, status: (Option<i32>, Option<i32>), events: &mut Vec<Event>) {
        self.close_gaps(SinceStart::MAX, events);
        let mut out = Out { events, at_ns: self.latest_ns };
        self.processes.ended(pid, status, &mut out);
    }

    /// Another record could not be read.
    pub fn undecoded(&mut self) {
        self.spans.undecoded += 1;
    }

    /// Processes that run already are not followed.
    pub fn overlooked(&mut self, processes: u32) {
        self.spans.undecoded += u64::from(processes);
    }

    /// What was not seen; `kernel_events_lost` is counted by the kernel side.
    pub fn loss(&self, kernel_events_lost: u64) -> Loss {
        Loss {
            kernel_events_lost,
            events_undecoded: self.spans.undecoded + self.spans.requests.frames_lost(),
            connections_joined_late: self.spans.requests.joined_late(),
            // The worker's to say.
            ..Loss::default()
        }
    }

    /// The latest command whose topmost process had that pid.
    pub fn command_of(&self, pid: Pid) -> Option<CommandId> {
        self.processes.command_of(pid)
    }

    /// The command that a process with that pid belongs to.
    pub fn command_with(&self, pid: Pid) -> Option<CommandId> {
        self.processes.command_with(pid)
    }

    /// How a control group's limit of CPU time held a command up.
    pub fn quota(&mut self, command: CommandId, quota: CpuQuota, events: &mut Vec<Event>) {
        let mut out = Out { events, at_ns: self.latest_ns };
        self.processes.quota(command, quota, &mut out);
    }

    /// A process of a command has a service run its containers; false when it is nobody's yet.
    pub fn service(&mut self, pid: Pid, service: &Service, events: &mut Vec<Event>) -> bool {
        let Some(command) = self.processes.command_with(pid) else { return false };
        let mut out = Out { events, at_ns: self.latest_ns };
        self.processes.service(command, service.clone(), &mut out);
        true
    }

    /// Whether a record's tree is a command's that is not forgotten, or a stub resolver's.
    pub fn follows(&self, header: &Header) -> bool {
        header.root == LOCAL_RESOLVERS || self.processes.owner(header).is_some()
    }

    /// Whether a command runs.
    pub fn running(&self) -> bool {
        self.processes.running()
    }

    /// Commands of which no end came, with the number of their tree: `(tree, command)`.
    pub fn running_trees(&self) -> Vec<(TreeId, CommandId)> {
        self.processes.running_trees()
    }

    /// Pids of a command's processes that have not ended.
    pub fn pids(&self, command: CommandId) -> Vec<Pid> {
        self.processes.pids(command)
    }

    /// Nothing is remembered.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.processes.is_empty()
            && self.spans.connections.is_empty()
            && self.spans.queries.is_empty()
            && self.spans.requests.is_empty()
            && self.spans.locks.is_empty()
            && self.sockets_reported.is_empty()
    }

    /// Forgets all that belongs to an ended command.
    pub fn forget(&mut self, command: CommandId) {
        // What is known by process goes with those that outlive the command, too.
        for pid in self.processes.pids(command) {
            self.spans.queries.process_ended(pid);
        }
        if let Some(tree) = self.processes.tree_of(command) {
            self.sockets_reported.remove(&tree);
        }
        self.processes.forget(command);
        self.spans.connections.forget(command);
        self.spans.queries.forget(command);
        self.spans.requests.forget(command);
        self.spans.locks.forget(command);
    }
}
