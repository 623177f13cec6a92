//! A command's records by what detectors ask for, so that none of them walks over all records once for
//! each of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use model::id::{ConnectionId, Pid, RequestId};
use model::operations::{InFlight, Subject};
use model::record::{Connection, Request};
use model::state::{CommandState, Moment};
use model::time::{Ns, SinceStart};

use crate::handshakes::answered;

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
    /// What it takes to get behind forward proxies
    ways: HashMap<Way<'a>, Took>,
}

/// A forward proxy, and whom a connection leads to behind it.
type Way<'a> = (&'a str, Option<&'a str>);

/// The least that anything took.
#[derive(Default)]
struct Took {
    /// A tunnel, from the request for it to the answer
    tunnel: Option<Ns>,
    /// A hello inside, until it was answered
    hello: Option<Ns>,
}

fn way(connection: &Connection) -> Option<Way<'_>> {
    let tunnel = connection.tunnel.as_ref()?;
    Some((&connection.remote, tunnel.target.as_deref().or(connection.server_name.as_deref())))
}

/// The lesser of what is known.
fn least(one: Option<Ns>, other: Option<Ns>) -> Option<Ns> {
    one.into_iter().chain(other).min()
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
        for connection in command.connections.values() {
            if let (Some(way), Some(tunnel)) = (way(connection), &connection.tunnel) {
                let took = tunnel.end_ns.map(|end| end.saturating_sub(tunnel.start_ns));
                let known = index.ways.entry(way).or_default();
                known.tunnel = least(known.tunnel, took);
                // Where that was not seen, the whole handshake.
                known.hello = least(known.hello, answered(connection).or(connection.tls_ns));
            }
        }
        index.names.values_mut().for_each(|names| names.sort_by_key(|(end, _)| *end));
        index
    }

    /// A round trip to whom a connection shakes hands with over TLS. In a tunnel the kernel knows the one to the
    /// forward proxy alone, which has shaken hands over TCP behind it to open the tunnel.
    pub(crate) fn tcp_round_trip(&self, connection: &Connection) -> Option<Ns> {
        let behind = way(connection).and_then(|way| self.ways.get(&way)?.tunnel);
        connection.rtt_ns.max(behind)
    }

    /// A round trip to whom a connection's requests are for: in a tunnel only hellos go all the way.
    pub(crate) fn round_trip(&self, connection: &Connection) -> Option<Ns> {
        let all_the_way = way(connection).and_then(|way| self.ways.get(&way)?.hello);
        connection.rtt_ns.max(all_the_way)
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
