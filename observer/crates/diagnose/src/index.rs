//! A command's records by what detectors ask for, so that none of them walks over all records once for
//! each of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use model::id::{ConnectionId, Pid, RequestId};
use model::operations::{InFlight, Subject};
use model::record::Request;
use model::state::{CommandState, Moment};
use model::time::SinceStart;

/// Records by number.
#[derive(Default)]
pub(crate) struct Index<'a> {
    /// Requests by connection
    requests: HashMap<ConnectionId, Vec<&'a Request>>,
    /// What happened at connections
    moments: HashMap<ConnectionId, Vec<&'a (SinceStart, Moment)>>,
    /// Where a request's operation is among those in flight
    in_flight: HashMap<RequestId, usize>,
    /// By process, names that it looked up with success, and when they were answered, in order
    names: HashMap<Pid, Vec<(SinceStart, &'a str)>>,
}

impl<'a> Index<'a> {
    /// Of a command and what it had in flight.
    pub(crate) fn new(command: &'a CommandState, in_flight: &[InFlight<'a>]) -> Self {
        let mut index = Self::default();
        for request in command.requests.values() {
            if let Some(connection) = request.connection {
                index.requests.entry(connection).or_default().push(request);
            }
        }
        for moment in &command.moments {
            let connection = match &moment.1 {
                Moment::Retransmission(mark) => mark.connection,
                Moment::Reset(mark) => mark.connection,
                Moment::Window(mark) => mark.connection,
            };
            index.moments.entry(connection).or_default().push(moment);
        }
        for (at, op) in in_flight.iter().enumerate() {
            if let Subject::Request(request) = op.subject {
                index.in_flight.insert(request.id, at);
            }
        }
        for query in command.dns.values().filter(|query| query.record.on_behalf_of.is_none()) {
            let dns = &query.record;
            let found =
                dns.rcode.as_deref() == Some("NOERROR") && dns.answers.is_some_and(|answers| answers > 0);
            if let Some(end) = dns.end_ns.or(query.given_up_ns).filter(|_| found) {
                index.names.entry(dns.pid).or_default().push((end, &dns.name));
            }
        }
        index.names.values_mut().for_each(|names| names.sort_by_key(|(end, _)| *end));
        index
    }

    /// Requests of a connection.
    pub(crate) fn requests(&self, connection: ConnectionId) -> &[&'a Request] {
        self.requests.get(&connection).map_or(&[], Vec::as_slice)
    }

    /// What happened at a connection.
    pub(crate) fn moments(&self, connection: ConnectionId) -> &[&'a (SinceStart, Moment)] {
        self.moments.get(&connection).map_or(&[], Vec::as_slice)
    }

    /// Where a request's operation is among those in flight.
    pub(crate) fn op(&self, request: RequestId) -> Option<usize> {
        self.in_flight.get(&request).copied()
    }

    /// The name that a process looked up last by `at`.
    pub(crate) fn name(&self, pid: Pid, at: SinceStart) -> Option<&'a str> {
        let names = self.names.get(&pid)?;
        let after = names.partition_point(|(end, _)| *end <= at);
        Some(names[after.checked_sub(1)?].1)
    }
}

/// Numbers of records, to ask whether one is among them.
pub(crate) fn ids<T: Eq + Hash>(of: impl IntoIterator<Item = T>) -> HashSet<T> {
    of.into_iter().collect()
}

/// Names with which one of `names` ends after a dot: those that something was put behind.
pub(crate) fn is_suffixed(name: &str, names: &BTreeSet<String>) -> bool {
    let dots = name.match_indices('.').map(|(at, _)| at).filter(|at| at + 1 < name.len());
    dots.into_iter().any(|at| names.contains(&name[..at]))
}
