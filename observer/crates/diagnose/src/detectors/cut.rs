//! Responses that ended before they were whole, because a connection or a stream was ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::evidence::Evidence;
use model::human::{bytes, count};
use model::id::ConnectionId;
use model::record::{Connection, ConnectionOutcome, Request, RequestOutcome, Side};
use model::stall::StallKind;
use model::time::SinceStart;

use crate::case::{Case, hull};
use crate::fallback::is_well;
use crate::finding::Finding;
use crate::requests::{is_cut, through};
use crate::ways;

/// What the gateway does about it.
const RESUMES: &str = "asks for what is missing, and go gets it whole";

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let completed = Completed::new(case);
    let mut hosts: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    // What go asked for again before anything of it came is a dropped connection's.
    let lost = |request: &Request| {
        ended_by(case, request).is_some()
            && (request.first_byte_ns.is_some() || !completed.came_later(request))
    };
    for request in case.requests().filter(|request| is_cut(request) || lost(request)) {
        hosts.entry(request.authority.as_deref().unwrap_or("an unknown host")).or_default().push(request);
    }
    found.extend(hosts.into_iter().map(|(host, requests)| cut(case, &completed, host, &requests)));
}

/// The connection with whose end it ended, where the peer, or what stands between, ended it.
fn ended_by<'a>(case: &Case<'a>, request: &Request) -> Option<&'a Connection> {
    let connection = case.command.connections.get(&request.connection?)?;
    let broken = matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset)
        && request.status.is_none_or(|status| status < 400)
        && request.reset_code.is_none();
    let together = connection.end_ns.is_some_and(|end| request.end_ns.is_some_and(|ended| ended >= end));
    // Recordings of earlier versions do not say who closed it: we answered data behind its end.
    let peer = match connection.closed_by {
        Some(side) => side == Side::Peer,
        None => connection.outcome == ConnectionOutcome::Reset || connection.resets > 0,
    };
    let said = connection.alert.is_some() || connection.answered_in.is_some();
    (broken && together && peer && !said).then_some(connection)
}

/// What to do where a forward proxy may have ended it.
const ASK_FORWARD: &str = "if it happens again: ask the forward proxy's owner, or name that host in NO_PROXY if this machine can reach it";

/// What to do where plain HTTP was ended before a byte came back.
const EXPECTS_TLS: &str = "see whether that port expects TLS: then GOPROXY needs https:// there; else look at the server that ends it";

fn cut(case: &Case<'_>, completed: &Completed<'_>, host: &str, requests: &[&Request]) -> Finding {
    let mut connections: BTreeMap<ConnectionId, (&Connection, u64)> = BTreeMap::new();
    for request in requests {
        if let Some(connection) = ended_by(case, request) {
            connections.entry(connection.id).or_insert((connection, 0)).1 += 1;
        }
    }
    let streams: Vec<&Request> = requests.iter().copied().filter(|request| is_cut(request)).collect();
    let mut evidence: Vec<Evidence> = connections
        .values()
        .take(4)
        .map(|(connection, open)| Evidence::ConnectionCut {
            connection: connection.id,
            remote: connection.remote.clone(),
            reset: is_reset(connection),
            received_bytes: connection.bytes_received,
            open: *open,
        })
        .collect();
    evidence.extend(requests.iter().take(4).map(|request| Evidence::ResponseCut {
        request: request.id,
        host: request.authority.clone(),
        path: request.path.clone(),
        class: request.class,
        module: request.module.clone(),
        version: request.version.clone(),
        body_bytes: request.bytes,
        code: request.reset_code.clone(),
    }));
    let what: Vec<String> =
        [of_connections(&connections), of_streams(&streams)].into_iter().flatten().collect();
    // What a forward proxy ends looks as if the host behind it had.
    let unheard = |connection: &Connection| {
        connection.tls_start_ns.is_none() && connection.bytes_received == Some(0) && !connection.joined_late
    };
    let in_vain = streams.is_empty() && connections.values().all(|(connection, _)| unheard(connection));
    let (whose, advice) = match through(case, requests) {
        None if in_vain => (host.to_owned(), Some(EXPECTS_TLS)),
        Some(forward) => (format!("{host}, or {forward} in between,"), Some(ASK_FORWARD)),
        None => (host.to_owned(), None),
    };
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_requests(requests.iter().copied(), None),
        summary: format!("{whose} {}: the network, not your code", what.join(" and ")),
        advice,
        evidence,
        remedies: ways::gateway(case, host, RESUMES).into_iter().collect(),
        fatal: requests.iter().any(|request| !completed.came_later(request)),
        ..Finding::of(
            StallKind::TransferCut,
            requests[0].class.phase(),
            hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    }
}

const fn is_reset(connection: &Connection) -> bool {
    matches!(connection.outcome, ConnectionOutcome::Reset)
}

fn of_connections(connections: &BTreeMap<ConnectionId, (&Connection, u64)>) -> Option<String> {
    let all: Vec<&Connection> = connections.values().map(|(connection, _)| *connection).collect();
    let first = all.first()?;
    let how = if all.iter().all(|connection| is_reset(connection)) { "reset" } else { "closed" };
    let many =
        if all.len() == 1 { "the connection".to_owned() } else { count(all.len() as u64, "connection") };
    let open: u64 = connections.values().map(|(_, open)| open).sum();
    let after = after(all.iter().filter_map(|connection| connection.bytes_received), all.len() > 1);
    let goaway = if first.alpn.as_deref() == Some("h2") && all.iter().all(|c| c.goaway.is_none()) {
        " without GOAWAY"
    } else {
        ""
    };
    Some(format!("{how} {many}{after}{goaway}, with {} open", count(open, "request")))
}

fn of_streams(streams: &[&Request]) -> Option<String> {
    let first = streams.first()?;
    let code = first.reset_code.as_deref().map_or_else(String::new, |code| format!(" ({code})"));
    let after = after(streams.iter().filter_map(|request| request.bytes), streams.len() > 1);
    Some(format!("cut off {}{after}{code}", count(streams.len() as u64, "response")))
}

/// After how many bytes.
fn after(sizes: impl Iterator<Item = u64>, many: bool) -> String {
    let each = if many { " each" } else { "" };
    let sizes: BTreeSet<String> = sizes.map(bytes).collect();
    let mut sizes = sizes.into_iter();
    match (sizes.next(), sizes.next()) {
        (Some(one), None) => format!(" after {one}{each}"),
        _ => String::new(),
    }
}

/// When what was asked for last came whole, by host and path.
struct Completed<'a>(HashMap<Asked<'a>, SinceStart>);

/// Host and path.
type Asked<'a> = (Option<&'a str>, Option<&'a str>);

fn asked(request: &Request) -> Asked<'_> {
    (request.authority.as_deref(), request.path.as_deref())
}

impl<'a> Completed<'a> {
    fn new(case: &Case<'a>) -> Self {
        let mut last: HashMap<Asked<'a>, SinceStart> = HashMap::new();
        for request in case.requests().filter(|request| is_well(request)) {
            let last = last.entry(asked(request)).or_default();
            *last = request.start_ns.max(*last);
        }
        Self(last)
    }

    /// The same came completed, when it was asked for again.
    fn came_later(&self, cut: &Request) -> bool {
        self.0.get(&asked(cut)).is_some_and(|last| *last >= cut.start_ns)
    }
}
