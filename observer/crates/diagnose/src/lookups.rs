//! Queries of a command: whether a name got an address, an answer was cut short, a server refused. Made
//! once of all queries, so that none of them is compared with all others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::evidence::Evidence;
use model::id::Pid;
use model::record::{ConnectionOutcome, Dns, Transport};
use model::time::SinceStart;

use crate::case::Case;
use crate::thresholds as at;

/// A query as evidence.
pub(crate) fn seen(case: &Case<'_>, dns: &Dns, end: Option<SinceStart>) -> Evidence {
    Evidence::Query {
        query: dns.id,
        name: dns.name.clone(),
        qtype: dns.qtype.clone(),
        attempt: dns.attempt,
        server: dns.server.clone(),
        rcode: dns.rcode.clone(),
        ended: end.is_some(),
        took_ns: end.unwrap_or(case.wall.1).saturating_sub(dns.start_ns),
    }
}

/// What became of a server's queries.
#[derive(Default)]
struct Server {
    /// It answered one of them
    answered: bool,
    /// Somebody waited for one of them
    waited: bool,
    /// One was given up at once
    at_once: bool,
}

/// All lookups.
pub(crate) struct Lookups<'a> {
    /// Names that got an address
    resolved: BTreeSet<String>,
    /// The recording says which answers were cut short
    says_truncated: bool,
    /// By process and address, when it connected
    connected: HashMap<(Pid, &'a str), Vec<SinceStart>>,
    /// Connections that were refused, by address
    refused: HashMap<&'a str, u64>,
    servers: BTreeMap<&'a str, Server>,
    ended: bool,
}

impl<'a> Lookups<'a> {
    /// Of a command.
    pub(crate) fn new(case: &Case<'a>) -> Self {
        let mut all = Self {
            resolved: BTreeSet::new(),
            says_truncated: false,
            connected: HashMap::new(),
            refused: HashMap::new(),
            servers: BTreeMap::new(),
            ended: case.record.wall_ns.is_some(),
        };
        for (dns, end) in case.queries() {
            if dns.rcode.as_deref() == Some("NOERROR") && dns.answers.is_some_and(|answers| answers > 0) {
                all.resolved.insert(dns.name.to_ascii_lowercase());
            }
            all.says_truncated |= dns.truncated;
            let server = all.servers.entry(dns.server.as_str()).or_default();
            let at_once = is_at_once(dns, end);
            server.answered |= dns.rcode.is_some();
            server.waited |= dns.timed_out && !at_once;
            server.at_once |= at_once;
        }
        for connection in case.connections() {
            let remote = connection.remote.as_str();
            all.connected.entry((connection.pid, remote)).or_default().push(connection.start_ns);
            if connection.outcome == ConnectionOutcome::Refused {
                *all.refused.entry(remote).or_default() += 1;
            }
        }
        all
    }

    /// Some server gave an address for that name, or for it with a suffix of the search list.
    pub(crate) fn resolves(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let with = format!("{name}.");
        self.resolved.contains(&name)
            || self.resolved.range(with.clone()..).next().is_some_and(|next| next.starts_with(&with))
    }

    /// Its answer was cut short. Recordings of earlier versions do not say so: there it is an empty one,
    /// at which the same server was connected to, at once.
    pub(crate) fn is_truncated(&self, dns: &Dns) -> bool {
        if self.says_truncated {
            return dns.truncated;
        }
        let (Transport::Udp, Some(end), Some(0)) = (dns.transport, dns.end_ns, dns.answers) else {
            return false;
        };
        let soon = |start: &SinceStart| start.checked_sub(end).is_some_and(|after| after < at::AT_ONCE_NS);
        let connected = self.connected.get(&(dns.pid, dns.server.as_str()));
        dns.rcode.as_deref() == Some("NOERROR") && connected.is_some_and(|starts| starts.iter().any(soon))
    }

    /// Connections to that name server that it refused.
    pub(crate) fn refused_connections(&self, server: &str) -> u64 {
        self.refused.get(server).copied().unwrap_or(0)
    }

    /// Its server refused it. Where that was not seen: given up at once, as were all of that server's,
    /// for a resolver waits for an answer that may come.
    pub(crate) fn is_refused(&self, dns: &Dns, end: Option<SinceStart>) -> bool {
        let server = self.servers.get(dns.server.as_str());
        let never = server.is_some_and(|server| !server.answered && !server.waited && server.at_once);
        let given_up = is_at_once(dns, end) || !dns.timed_out;
        dns.refused || (self.ended && never && given_up && dns.transport == Transport::Udp)
    }
}

/// Given up without having been waited for.
fn is_at_once(dns: &Dns, end: Option<SinceStart>) -> bool {
    dns.rcode.is_none()
        && dns.timed_out
        && end.is_some_and(|end| end.saturating_sub(dns.start_ns) < at::AT_ONCE_NS)
}
