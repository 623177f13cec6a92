//! A command's records in, what was in flight out: which span is which phase's operation.

use std::borrow::Cow;
use std::collections::HashMap;

use super::backoff;
use super::event::{DnsWait, LockWait};
use super::phases::{Input, Operation, Split, split};
use super::preexisting;
use super::record::{Connection, ConnectionOutcome, Gap, Phase, Request, RequestOutcome};
use super::roles::{Roles, Waited};
use super::state::{CommandState, Query};
use super::tunnel::TunnelOutcome;
use crate::id::Pid;
use crate::time::SinceStart;

/// The record an operation is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Subject<'a> {
    /// A query to a name server
    Dns(&'a Query),
    /// A TCP handshake
    Connect(&'a Connection),
    /// A TLS handshake
    Tls(&'a Connection),
    /// A forward proxy, from connected to it until the tunnel stands or is refused
    Tunnel(&'a Connection),
    /// A connection of a child, all its life
    Helper(&'a Connection),
    /// A connection that was there before it could be seen, from when it was found
    Preexisting(&'a Connection),
    /// A query to a name server that was not seen
    DnsWait(&'a DnsWait),
    /// A request
    Request(&'a Request),
    /// A pause of go's own behind a request that was refused
    Backoff(&'a Request),
    /// A wait for a file lock
    Lock(&'a LockWait),
    /// A child that is waited for while nothing else is in flight
    Child(Waited<'a>),
}

/// What the threads of a command that runs do at the moment it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Threads {
    /// Nobody can say: it is looked at in a recording, or from its end
    #[default]
    Unknown,
    /// One is at work
    Awake,
    /// All sleep, since then
    AsleepSince(SinceStart),
}

impl From<Option<&Option<SinceStart>>> for Threads {
    fn from(asleep: Option<&Option<SinceStart>>) -> Self {
        match asleep {
            None => Self::Unknown,
            Some(None) => Self::Awake,
            Some(Some(since)) => Self::AsleepSince(*since),
        }
    }
}

/// What a command has done since the last sign of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// It sleeps since then
    Sleeps(SinceStart),
    /// Since then nobody knows
    Unknown(SinceStart),
}

impl Subject<'_> {
    /// The process whose operation it is.
    pub fn pid(&self) -> Pid {
        match self {
            Self::Dns(query) => query.record.pid,
            Self::Connect(connection)
            | Self::Tls(connection)
            | Self::Tunnel(connection)
            | Self::Helper(connection)
            | Self::Preexisting(connection) => connection.pid,
            Self::DnsWait(wait) => wait.pid,
            Self::Request(request) | Self::Backoff(request) => request.pid,
            Self::Lock(wait) => wait.pid,
            Self::Child(child) => child.process.pid,
        }
    }
}

impl InFlight<'_> {
    /// It is a child that is waited for, and no operation of the network's.
    pub const fn is_child(&self) -> bool {
        matches!(self.subject, Subject::Child(_))
    }
}

/// An operation, the record it comes from, and whether it goes on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct InFlight<'a> {
    /// As the rule wants it
    pub operation: Operation<'a>,
    /// Where it comes from
    pub subject: Subject<'a>,
    /// Not ended at the end of what is looked at
    pub open: bool,
}

/// `go`, `go1.26.8`, `gotip`: a go command by the kernel's name of it. Its children git, ssh
/// and so on are not.
pub fn is_go(comm: &str) -> bool {
    comm.strip_prefix("go").is_some_and(|rest| {
        rest.is_empty() || rest == "tip" || rest.starts_with(|first: char| first.is_ascii_digit())
    })
}

impl CommandState {
    /// Begin and end of the command; one that still runs, or whose end was not seen, is looked
    /// at up to `now`.
    pub fn wall(&self, now: SinceStart) -> (SinceStart, SinceStart) {
        let start = self.record.as_ref().map_or(SinceStart::ZERO, |record| record.start_ns);
        let wall = self.record.as_ref().and_then(|record| record.wall_ns);
        (start, wall.map_or(now.max(start), |wall| start.saturating_add(wall)))
    }

    /// Where its wall time went up to `now`.
    pub fn split(&self, now: SinceStart, threads: Threads) -> Split {
        self.split_in_flight(&self.in_flight(self.wall(now).1), now, threads)
    }

    /// The same from what [`CommandState::in_flight`] gave for the end of [`CommandState::wall`].
    pub fn split_in_flight(&self, in_flight: &[InFlight<'_>], now: SinceStart, threads: Threads) -> Split {
        let wall = self.wall(now);
        let (children, operations): (Vec<&InFlight<'_>>, Vec<_>) =
            in_flight.iter().partition(|op| op.is_child());
        let children: Vec<Operation<'_>> = children.into_iter().map(|op| op.operation).collect();
        let operations: Vec<Operation<'_>> = operations.into_iter().map(|op| op.operation).collect();
        let (mut idle, mut gaps) = (Cow::Borrowed(&self.idle), Cow::Borrowed(&self.gaps));
        match self.tail(in_flight, wall, threads) {
            Some(Tail::Sleeps(since)) => idle.to_mut().push((since, wall.1)),
            Some(Tail::Unknown(start_ns)) => {
                gaps.to_mut().push(Gap { start_ns, end_ns: wall.1, idle_ns: None });
            }
            None => {}
        }
        let local = self.record.as_ref().and_then(|record| record.local);
        split(&Input { wall, idle: &idle, local, operations: &operations, children: &children, gaps: &gaps })
    }

    /// What a command that runs has done since the last sign of it. Sleep is reported when it is over.
    pub fn tail(
        &self,
        in_flight: &[InFlight<'_>],
        wall: (SinceStart, SinceStart),
        threads: Threads,
    ) -> Option<Tail> {
        if self.record.as_ref().is_none_or(|record| record.wall_ns.is_some()) {
            return None;
        }
        let idle = self.idle.last().map_or(wall.0, |idle| idle.1);
        let gap = self.gaps.last().map_or(wall.0, |gap| gap.end_ns);
        let life = in_flight.iter().fold(idle.max(gap), |latest, op| {
            let end = if op.open { SinceStart::ZERO } else { op.operation.end_ns };
            latest.max(op.operation.start_ns).max(end)
        });
        let tail = match threads {
            Threads::Awake => return None,
            Threads::AsleepSince(since) => Tail::Sleeps(since.max(idle)),
            // With something open and no sign of life it sleeps; a child may be at work.
            Threads::Unknown if in_flight.iter().any(|op| op.open && !op.is_child()) => Tail::Sleeps(life),
            Threads::Unknown => Tail::Unknown(life),
        };
        let (Tail::Sleeps(since) | Tail::Unknown(since)) = tail;
        (since < wall.1).then_some(tail)
    }

    /// Everything that was in flight; what is still open is taken to end at `until`.
    pub fn in_flight<'a>(&'a self, until: SinceStart) -> Vec<InFlight<'a>> {
        let mut in_flight = Vec::new();
        let lives = self.lives();
        let roles = self.roles();
        let asking = roles.asking();
        // What a child does is the child's, whatever it is.
        let of = |pid: Pid, comm: &str, at: SinceStart| roles.role(pid, comm, at).phase();
        let mut add =
            |subject: Subject<'a>, phase, host, span: (SinceStart, Option<SinceStart>), error, bytes| {
                // What a process had in flight when it ended is not waited for any longer; nor, for all that
                // is known, is what may have ended in a gap.
                let end = span.1.or_else(|| end_of(&lives, subject.pid(), span.0));
                let lost = self.end_lost(subject, span.0, end);
                let end = lost.map(|gap| gap.start_ns).or(end);
                let end_ns = end.unwrap_or(until).max(span.0);
                let operation = Operation { phase, host, start_ns: span.0, end_ns, error, bytes };
                in_flight.push(InFlight { operation, subject, open: end.is_none() });
            };
        // What a local resolver asks on its behalf happens inside the command's own query.
        for query in self.dns.values().filter(|query| query.record.on_behalf_of.is_none()) {
            let dns = &query.record;
            let end = dns.end_ns.or(query.given_up_ns);
            // Whom a fetcher waits for is the name server, as with go itself.
            let role = of(dns.pid, &dns.comm, dns.start_ns);
            let phase = role.filter(|phase| *phase != Phase::Vcs).unwrap_or(Phase::Dns);
            let failed = dns.rcode.as_deref().is_some_and(|rcode| rcode != "NOERROR");
            let error = dns.timed_out || dns.refused || dns.unusable.is_some() || failed;
            add(Subject::Dns(query), phase, known(&dns.server), (dns.start_ns, end), error, None);
        }
        for wait in self.dns_waits.values() {
            let role = of(wait.pid, &wait.comm, wait.start_ns);
            let phase = role.filter(|phase| *phase != Phase::Vcs).unwrap_or(Phase::Dns);
            let span = (wait.start_ns, wait.end_ns);
            add(Subject::DnsWait(wait), phase, known(&wait.server), span, false, None);
        }
        for connection in self.connections.values() {
            let host = connection.host();
            let failed = matches!(
                connection.outcome,
                ConnectionOutcome::Refused
                    | ConnectionOutcome::TimedOut
                    | ConnectionOutcome::Unreachable
                    | ConnectionOutcome::Reset
            );
            let helper = of(connection.pid, &connection.comm, connection.start_ns);
            if let Some(tunnel) = &connection.tunnel {
                let start = connected(connection).map_or(tunnel.start_ns, |at| at.min(tunnel.start_ns));
                let span = (start, tunnel.end_ns.or(connection.end_ns));
                let error = tunnel.outcome != TunnelOutcome::Established && span.1.is_some();
                add(Subject::Tunnel(connection), Phase::Tunnel, connection.remote_host(), span, error, None);
            }
            if let Some(phase) = helper {
                // Until a tunnel stands its time is the forward proxy's.
                let start = match &connection.tunnel {
                    Some(tunnel) => tunnel.end_ns.filter(|_| tunnel.outcome == TunnelOutcome::Established),
                    None => Some(connection.start_ns),
                };
                if connection.tunnel.is_some()
                    && let Some(end) = connect_end(connection)
                {
                    let (span, whom) = ((connection.start_ns, end), connection.remote_host());
                    add(Subject::Connect(connection), Phase::Connect, whom, span, false, None);
                }
                let Some(start) = start else { continue };
                // Where nobody answered, a fetcher waited for that as go itself does.
                let in_vain = failed && connection.outcome != ConnectionOutcome::Reset;
                if in_vain && connection.tunnel.is_none() && phase == Phase::Vcs {
                    let span = (connection.start_ns, connect_end(connection).flatten().or(connection.end_ns));
                    add(Subject::Connect(connection), Phase::Connect, host, span, true, None);
                    continue;
                }
                // While ssh asks somebody whether to trust the host, that host waits.
                let trust = connection.ssh.and_then(|ssh| ssh.asks(connection.end_ns));
                if let Some(span) = trust {
                    add(Subject::Helper(connection), Phase::Auth, None, span, false, None);
                }
                // While git waits for a helper for credentials, its connection waits with it.
                let mut at = start;
                let mut waits = false;
                for (from, to) in asking.get(&connection.pid).into_iter().flatten().chain(&trust) {
                    if connection.end_ns.is_some_and(|end| *from >= end) || to.is_some_and(|to| to <= at) {
                        continue;
                    }
                    if *from > at {
                        add(Subject::Helper(connection), phase, host, (at, Some(*from)), false, None);
                    }
                    let Some(to) = to else {
                        waits = true;
                        break;
                    };
                    at = at.max(*to);
                }
                if waits || connection.end_ns.is_some_and(|end| end <= at && at > start) {
                    continue;
                }
                let span = (at, connection.end_ns);
                let bytes = connection.bytes_received;
                add(Subject::Helper(connection), phase, host, span, failed, bytes);
                continue;
            }
            if let Some(phase) = preexisting::phase(connection, self.record.as_ref().map(|record| &record.go))
            {
                let span = (connection.start_ns, connection.end_ns);
                add(Subject::Preexisting(connection), phase, host, span, failed, connection.bytes_received);
                continue;
            }
            if let Some(end) = connect_end(connection) {
                let error = matches!(
                    connection.outcome,
                    ConnectionOutcome::Refused | ConnectionOutcome::TimedOut | ConnectionOutcome::Unreachable
                );
                // A forward proxy is connected to, whoever lies behind it.
                let whom = if connection.tunnel.is_some() { connection.remote_host() } else { host };
                let span = (connection.start_ns, end);
                add(Subject::Connect(connection), Phase::Connect, whom, span, error, None);
            }
            if let Some(start) = connection.tls_start_ns {
                let end = connection.tls_ns.map(|tls| start.saturating_add(tls)).or(connection.end_ns);
                let unfinished = connection.tls_ns.is_none() && connection.end_ns.is_some();
                let error = connection.tls_failed || unfinished;
                add(Subject::Tls(connection), Phase::Tls, host, (start, end), error, None);
            }
        }
        for request in self.requests.values() {
            let phase = of(request.pid, "", request.start_ns).unwrap_or(request.class.phase());
            let host = request.authority.as_deref().and_then(known);
            let error = matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset);
            let span = (request.start_ns, request.end_ns);
            add(Subject::Request(request), phase, host, span, error, Some(request.bytes.unwrap_or(0)));
        }
        for (request, from, to) in backoff::pauses(self, until) {
            let host = request.authority.as_deref().and_then(known);
            add(Subject::Backoff(request), Phase::Backoff, host, (from, to), false, None);
        }
        for wait in self.locks.values() {
            add(Subject::Lock(wait), Phase::Lock, None, (wait.start_ns, wait.end_ns), false, None);
        }
        self.children(&roles, until, &mut in_flight);
        in_flight
    }

    /// What each of its processes is to go.
    pub fn roles(&self) -> Roles<'_> {
        Roles::new(self)
    }

    /// Children that are waited for when nothing else is in flight.
    fn children<'a>(&'a self, roles: &Roles<'a>, until: SinceStart, in_flight: &mut Vec<InFlight<'a>>) {
        let begun = in_flight.iter().map(|op| (op.operation.start_ns, op.subject.pid()));
        let ended = in_flight.iter().filter(|op| !op.open);
        let ended = ended.map(|op| (op.operation.end_ns, op.subject.pid()));
        let started = self.processes.values().map(|process| (process.start_ns, process.pid));
        let mut active: Vec<(SinceStart, Pid)> = begun.chain(ended).chain(started).collect();
        active.sort_unstable();
        let over = self.record.as_ref().and_then(|record| record.wall_ns).map(|_| self.wall(until).1);
        for child in roles.waited_for(&active, until, over) {
            let process = child.process;
            let gap = || self.gap_behind(child.start_ns).map(|gap| gap.start_ns.max(child.start_ns));
            let end = child.end_ns.or_else(gap);
            let operation = Operation {
                phase: child.phase,
                host: None,
                start_ns: child.start_ns,
                end_ns: end.unwrap_or(until).max(child.start_ns),
                error: process.exit_code.is_some_and(|code| code != 0),
                bytes: None,
            };
            in_flight.push(InFlight { operation, subject: Subject::Child(child), open: end.is_none() });
        }
    }

    /// The first gap behind `start` in which something that began then may have ended.
    pub fn gap_behind(&self, start: SinceStart) -> Option<&Gap> {
        self.gaps.get(self.gaps.partition_point(|gap| gap.end_ns <= start))
    }

    /// The gap that may hold the end of an operation; `end`: the end that was not seen but follows from
    /// something else.
    fn end_lost(&self, subject: Subject<'_>, start: SinceStart, end: Option<SinceStart>) -> Option<&Gap> {
        let gap = self.gap_behind(start).filter(|gap| end.is_none_or(|end| gap.start_ns < end))?;
        let seen = match subject {
            Subject::Dns(query) => query.record.end_ns.is_some(),
            Subject::DnsWait(wait) => wait.end_ns.is_some(),
            Subject::Connect(connection) => connection.connect_ns.is_some(),
            Subject::Tls(connection) => connection.tls_ns.is_some(),
            Subject::Tunnel(connection) => {
                connection.tunnel.as_ref().is_some_and(|tunnel| tunnel.end_ns.is_some())
            }
            Subject::Helper(connection) | Subject::Preexisting(connection) => {
                connection.outcome != ConnectionOutcome::Unknown
            }
            Subject::Request(request) => {
                request.outcome != RequestOutcome::Unknown || request.end_ns.is_some()
            }
            // Both its ends are other records'.
            Subject::Backoff(_) => true,
            Subject::Lock(wait) => wait.end_ns.is_some(),
            Subject::Child(child) => child.end_ns.is_some(),
        };
        (!seen).then_some(gap)
    }

    /// By pid, when processes with that number began and ended, in order.
    fn lives(&self) -> HashMap<Pid, Vec<(SinceStart, Option<SinceStart>)>> {
        let mut lives: HashMap<Pid, Vec<_>> = HashMap::new();
        for process in self.processes.values() {
            lives.entry(process.pid).or_default().push((process.start_ns, process.end_ns));
        }
        lives
    }
}

/// When the process with that pid, as it was at `at`, ended.
fn end_of(
    lives: &HashMap<Pid, Vec<(SinceStart, Option<SinceStart>)>>,
    pid: Pid,
    at: SinceStart,
) -> Option<SinceStart> {
    let lives = lives.get(&pid)?;
    let after = lives.partition_point(|(start, _)| *start <= at);
    lives[after.checked_sub(1)?].1
}

/// When the TCP handshake was over; `None` when that was not seen.
fn connected(connection: &Connection) -> Option<SinceStart> {
    connection.connect_ns.map(|connect| connection.start_ns.saturating_add(connect))
}

fn known(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// When the TCP handshake ended (`Some(None)`: not yet); `None` when there was none to see.
fn connect_end(connection: &Connection) -> Option<Option<SinceStart>> {
    match connection.connect_ns {
        Some(connect) => Some(Some(connection.start_ns.saturating_add(connect))),
        // It was found while it was being connected: Go shakes hands as soon as that is done.
        None if connection.preexisting.is_some() && connection.tls_start_ns.is_some() => {
            Some(connection.tls_start_ns)
        }
        None if connection.joined_late || connection.tls_start_ns.is_some() || connection.requests > 0 => {
            None
        }
        None => Some(connection.end_ns),
    }
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
