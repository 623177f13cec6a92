//! Requests that were made once more: after a pause of go's own, on a new connection, or again and again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::evidence::Evidence;
use model::human::{count, duration};
use model::id::{ConnectionId, RequestId};
use model::operations::Subject;
use model::record::{Connection, Phase, Request, RequestOutcome};
use model::stall::StallKind;
use model::time::{Ns, SinceStart};

use crate::case::{Case, Span, hull, whole};
use crate::finding::Finding;
use crate::requests::{phase_of, seen};
use crate::thresholds as at;
use crate::ways;

/// What the gateway does instead of go's pauses.
const PAUSES: &str = "asks once more after 3 s at most, where go pauses up to 32 s";

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    paused(case, found);
    dropped(case, found);
    repeated(case, found);
}

/// go waits by itself, longer each time, before it asks once more what a server refused to begin with.
fn paused(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut hosts: BTreeMap<&str, Vec<(&Request, Span)>> = BTreeMap::new();
    for op in &case.in_flight {
        if let Subject::Backoff(request) = op.subject {
            let host = request.authority.as_deref().unwrap_or("an unknown host");
            hosts.entry(host).or_default().push((request, whole(op)));
        }
    }
    for (host, pauses) in hosts {
        let span = hull(pauses.iter().map(|(_, span)| *span)).unwrap_or(case.wall);
        let longest = pauses.iter().map(|(_, span)| span.1 - span.0).max().unwrap_or_default();
        let code = pauses.iter().find_map(|(request, _)| request.reset_code.as_deref());
        let why = code.map_or_else(|| "ended".to_owned(), |code| format!("refused ({code})"));
        let mut evidence = Vec::new();
        for (request, (from, to)) in pauses.iter().take(6) {
            evidence.push(Evidence::RequestPaused {
                request: request.id,
                host: host.to_owned(),
                code: request.reset_code.clone(),
                paused_ns: *to - *from,
            });
        }
        evidence.extend(pauses.iter().take(2).map(|(request, _)| seen(request)));
        found.push(Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost(|op| match op.subject {
                Subject::Backoff(request)
                    if request.authority.as_deref().unwrap_or("an unknown host") == host =>
                {
                    Some(whole(op))
                }
                _ => None,
            }),
            summary: format!(
                "{host} {why} {}: go paused before it asked once more, up to {}",
                count(pauses.len() as u64, "stream"),
                duration(longest)
            ),
            evidence,
            remedies: ways::gateway(case, host, PAUSES).into_iter().chain(ways::around(case, host)).collect(),
            fatal: true,
            ..Finding::of(StallKind::RetryBackoff, Phase::Backoff, span)
        });
    }
}

/// A request that ended without an answer, together with its connection.
fn is_cut(request: &Request, connection: &Connection) -> bool {
    request.first_byte_ns.is_none()
        && request.status.is_none()
        && request.reset_code.is_none()
        && matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset)
        && request.end_ns.zip(connection.end_ns).is_some_and(|(request, connection)| {
            request + at::TOGETHER_NS >= connection && connection + at::TOGETHER_NS >= request
        })
}

/// HTTP/2 connections that ended without a word while requests were in flight, which go made once more.
fn dropped(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut answered: HashMap<(&str, &str), SinceStart> = HashMap::new();
    for request in case.requests().filter(|request| request.outcome == RequestOutcome::Ok) {
        let last = answered.entry(key(request)).or_default();
        *last = request.start_ns.max(*last);
    }
    let mut hosts: BTreeMap<String, Vec<(&Connection, Vec<&Request>)>> = BTreeMap::new();
    for connection in case.connections() {
        if connection.alpn.as_deref() != Some("h2") || connection.goaway.is_some() {
            continue;
        }
        let requests = case.index.requests(connection.id);
        let cut: Vec<&Request> =
            requests.iter().copied().filter(|request| is_cut(request, connection)).collect();
        let retried =
            |request: &&Request| answered.get(&key(request)).is_some_and(|at| *at > request.start_ns);
        // What was never answered is another finding's: it may have ended the command.
        if !cut.is_empty() && cut.iter().all(retried) {
            hosts.entry(case.host(connection)).or_default().push((connection, cut));
        }
    }
    for (host, connections) in hosts {
        let cut: Vec<&Request> = connections.iter().flat_map(|(_, cut)| cut).copied().collect();
        let next = |connection: &Connection| {
            let ended = connection.end_ns?;
            let others = case.connections().filter(|other| {
                other.pid == connection.pid && other.start_ns >= ended && case.host(other) == host
            });
            others.min_by_key(|other| other.start_ns).map(|other| other.id)
        };
        let new: BTreeSet<ConnectionId> = connections.iter().filter_map(|(one, _)| next(one)).collect();
        let of_new = |connection: &Connection| new.contains(&connection.id);
        let evidence = connections.iter().take(4).map(|(connection, cut)| Evidence::ConnectionDropped {
            connection: connection.id,
            remote: connection.remote.clone(),
            requests: connection.requests,
            cut: cut.len() as u64,
            lasted_ns: connection.end_ns.unwrap_or(case.wall.1) - connection.start_ns,
        });
        let mut evidence: Vec<Evidence> = evidence.collect();
        evidence.extend(cut.iter().take(4).map(|request| seen(request)));
        found.push(Finding {
            cost_ns: case.cost_of_requests(cut.iter().copied(), None)
                + case.cost_of_handshakes(false, of_new)
                + case.cost_of_handshakes(true, of_new),
            summary: format!(
                "{host} dropped {} without a GOAWAY: {} had to be retried on a new one",
                count(connections.len() as u64, "connection"),
                count(cut.len() as u64, "request")
            ),
            evidence,
            remedies: ways::repeat_or_around(case, &host),
            explains: cut.iter().map(|request| request.id).collect(),
            host: Some(host),
            ..Finding::of(
                StallKind::ConnectionDropped,
                phase_of(&cut),
                hull(cut.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
            )
        });
    }
}

fn key(request: &Request) -> (&str, &str) {
    (request.authority.as_deref().unwrap_or_default(), request.path.as_deref().unwrap_or_default())
}

/// One request, made again and again without an answer.
fn repeated(case: &Case<'_>, found: &mut Vec<Finding>) {
    let failed = |request: &&Request| {
        request.status.is_none() && matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset)
    };
    let mut asked: BTreeMap<(&str, &str), Vec<&Request>> = BTreeMap::new();
    for request in case.requests().filter(failed).filter(|request| request.path.is_some()) {
        asked.entry(key(request)).or_default().push(request);
    }
    for ((host, path), requests) in asked {
        if requests.len() < at::REPEATED {
            continue;
        }
        let (first, last) = (requests[0], requests[requests.len() - 1]);
        let span = (first.start_ns, last.end_ns.unwrap_or(case.wall.1));
        let ids: BTreeSet<RequestId> = requests.iter().map(|request| request.id).collect();
        let on: BTreeSet<ConnectionId> = requests.iter().filter_map(|request| request.connection).collect();
        let new = |connection: &Connection| on.contains(&connection.id);
        let whom = if host.is_empty() { "an unknown host" } else { host };
        let code = requests.iter().find_map(|request| request.reset_code.as_deref());
        let ended = code.map_or_else(|| "without an answer".to_owned(), |code| format!("reset ({code})"));
        let file = path.rsplit('/').next().unwrap_or(path);
        let mut took: Vec<Ns> =
            requests.iter().filter_map(|r| Some(r.end_ns?.saturating_sub(r.start_ns))).collect();
        took.sort_unstable();
        let old = case.record.go.version.as_deref().and_then(minor).is_none_or(|minor| minor < 27);
        found.push(Finding {
            host: Some(whom.to_owned()),
            cost_ns: case.cost(|op| match op.subject {
                Subject::Request(request) if ids.contains(&request.id) => Some(whole(op)),
                Subject::Connect(connection) | Subject::Tls(connection) if new(connection) => Some(whole(op)),
                _ => None,
            }),
            summary: format!(
                "{whom} was asked for {file} {} in {}, each {ended}, on {}",
                count(requests.len() as u64, "time"),
                duration(span.1 - span.0),
                count(on.len() as u64, "connection")
            ),
            evidence: vec![
                Evidence::Requests {
                    host: whom.to_owned(),
                    requests: requests.len() as u64,
                    median_ns: took.get(took.len() / 2).copied(),
                },
                seen(first),
                seen(last),
            ],
            advice: (!old)
                .then_some("look into the server's log at that time: it ends each of these requests"),
            remedies: ways::around(case, whom),
            fatal: true,
            explains: ids.into_iter().collect(),
            about: u64::from(first.id.0),
            ..Finding::of(StallKind::RequestRepeated, phase_of(&requests), span)
        });
    }
}

/// `26` of `go1.26.8`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
