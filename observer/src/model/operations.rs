//! A command's records in, what was in flight out: which span is which phase's operation.

use std::collections::HashMap;

use super::event::LockWait;
use super::phases::{Input, Operation, Split, split};
use super::record::{Connection, ConnectionOutcome, Ns, Phase, Request, RequestOutcome};
use super::state::{CommandState, Question};

/// The record an operation is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Subject<'a> {
    /// A question to a name server
    Dns(&'a Question),
    /// A TCP handshake
    Connect(&'a Connection),
    /// A TLS handshake
    Tls(&'a Connection),
    /// A connection of a process that is no go command, all its life
    Helper(&'a Connection),
    /// A request
    Request(&'a Request),
    /// A wait for a file lock
    Lock(&'a LockWait),
}

impl Subject<'_> {
    /// The process whose operation it is.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Dns(question) => question.record.pid,
            Self::Connect(connection) | Self::Tls(connection) | Self::Helper(connection) => connection.pid,
            Self::Request(request) => request.pid,
            Self::Lock(wait) => wait.pid,
        }
    }
}

/// An operation, the record it comes from, and whether it goes on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Flight<'a> {
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
    pub fn wall(&self, now: Ns) -> (Ns, Ns) {
        let start = self.record.as_ref().map_or(0, |record| record.start_ns);
        let wall = self.record.as_ref().and_then(|record| record.wall_ns);
        (start, wall.map_or(now.max(start), |wall| start.saturating_add(wall)))
    }

    /// Where its wall time went up to `now`. `asleep_since`: since when every thread sleeps, for
    /// a live view that can read the spell that has not ended yet; `None` for a report.
    pub fn split(&self, now: Ns, asleep_since: Option<Ns>) -> Split {
        self.split_flights(&self.flights(self.wall(now).1), now, asleep_since)
    }

    /// The same from what [`CommandState::flights`] gave for the end of [`CommandState::wall`].
    pub fn split_flights(&self, flights: &[Flight<'_>], now: Ns, asleep_since: Option<Ns>) -> Split {
        let wall = self.wall(now);
        let operations: Vec<Operation<'_>> = flights.iter().map(|flight| flight.operation).collect();
        let open = asleep_since.filter(|since| *since < wall.1).map(|since| (since, wall.1));
        let longer: Vec<(Ns, Ns)>;
        let idle = match open {
            Some(open) => {
                longer = self.idle.iter().copied().chain([open]).collect();
                &longer
            }
            None => &self.idle,
        };
        let local = self.record.as_ref().and_then(|record| record.local);
        split(&Input { wall, idle, local, operations: &operations })
    }

    /// Everything that was in flight; what is still open is taken to end at `until`.
    pub fn flights<'a>(&'a self, until: Ns) -> Vec<Flight<'a>> {
        let mut flights = Vec::new();
        let mut add = |subject: Subject<'a>, phase, host, span: (Ns, Option<Ns>), error, bytes| {
            // What a process had in flight when it ended is not waited for any longer.
            let end = span.1.or_else(|| self.process_end(subject.pid(), span.0));
            let end_ns = end.unwrap_or(until).max(span.0);
            let operation = Operation { phase, host, start_ns: span.0, end_ns, error, bytes };
            flights.push(Flight { operation, subject, open: end.is_none() });
        };
        // What a stub asks on its behalf happens inside the command's own question.
        for question in self.dns.values().filter(|question| question.record.on_behalf_of.is_none()) {
            let dns = &question.record;
            let end = dns.end_ns.or(question.given_up_ns);
            let phase = if self.helper(dns.pid, &dns.comm) { Phase::Vcs } else { Phase::Dns };
            let error = dns.timed_out || dns.rcode.as_deref().is_some_and(|rcode| rcode != "NOERROR");
            add(Subject::Dns(question), phase, known(&dns.server), (dns.start_ns, end), error, None);
        }
        for connection in self.connections.values() {
            let host = host_of(connection);
            let failed = matches!(
                connection.outcome,
                ConnectionOutcome::Refused | ConnectionOutcome::TimedOut | ConnectionOutcome::Reset
            );
            if self.helper(connection.pid, &connection.comm) {
                let span = (connection.start_ns, connection.end_ns);
                let bytes = connection.bytes_received;
                add(Subject::Helper(connection), Phase::Vcs, host, span, failed, bytes);
                continue;
            }
            if let Some(end) = connect_end(connection) {
                let error =
                    matches!(connection.outcome, ConnectionOutcome::Refused | ConnectionOutcome::TimedOut);
                add(
                    Subject::Connect(connection),
                    Phase::Connect,
                    host,
                    (connection.start_ns, end),
                    error,
                    None,
                );
            }
            if let Some(start) = connection.tls_start_ns {
                let end = connection.tls_ns.map(|tls| start.saturating_add(tls)).or(connection.end_ns);
                let unfinished = connection.tls_ns.is_none() && connection.end_ns.is_some();
                let error = connection.tls_failed || unfinished;
                add(Subject::Tls(connection), Phase::Tls, host, (start, end), error, None);
            }
        }
        // In order of their starts, so that the latest process of a pid counts.
        let comms: HashMap<u32, &str> =
            self.processes.values().map(|process| (process.pid, process.comm.as_str())).collect();
        for request in self.requests.values() {
            let helper = comms.get(&request.pid).is_some_and(|comm| self.helper(request.pid, comm));
            let phase = if helper { Phase::Vcs } else { request.class.phase() };
            let host = request.authority.as_deref().and_then(known);
            let error = matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset);
            let span = (request.start_ns, request.end_ns);
            add(Subject::Request(request), phase, host, span, error, Some(request.bytes.unwrap_or(0)));
        }
        for wait in self.locks.values() {
            add(Subject::Lock(wait), Phase::Lock, None, (wait.start_ns, wait.end_ns), false, None);
        }
        flights
    }

    /// When the process with that pid, as it was at `at`, ended.
    fn process_end(&self, pid: u32, at: Ns) -> Option<Ns> {
        let of = self.processes.values().filter(|process| process.pid == pid && process.start_ns <= at);
        of.max_by_key(|process| process.start_ns)?.end_ns
    }

    /// A process of the command that is no go command: git, ssh, a credential helper. CMD itself
    /// never is one: what it does is what is observed.
    pub fn helper(&self, pid: u32, comm: &str) -> bool {
        let top = self.record.as_ref().map_or(0, |record| record.pid);
        pid != top && !comm.is_empty() && !is_go(comm)
    }
}

/// The name asked for, or else the address.
pub fn host_of(connection: &Connection) -> Option<&str> {
    connection.server_name.as_deref().and_then(known).or_else(|| known(&connection.remote))
}

fn known(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// When the TCP handshake ended (`Some(None)`: not yet); `None` when there was none to see.
fn connect_end(connection: &Connection) -> Option<Option<Ns>> {
    match connection.connect_ns {
        Some(connect) => Some(Some(connection.start_ns.saturating_add(connect))),
        None if connection.joined_late || connection.tls_start_ns.is_some() || connection.requests > 0 => {
            None
        }
        None => Some(connection.end_ns),
    }
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
