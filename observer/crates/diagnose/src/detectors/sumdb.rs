//! The checksum database: slow, out of reach, or broken behind a proxy.

use std::collections::HashMap;

use model::evidence::{Evidence, RequestSeen};
use model::human::{count, duration};
use model::id::ConnectionId;
use model::operations::{InFlight, Subject};
use model::record::{Class, Connection, ConnectionOutcome, Phase, Request};
use model::stall::StallKind;

use crate::case::{Case, Span, hull, whole};
use crate::explained::Explained;
use crate::finding::Finding;
use crate::handshakes::{tcp_end, tls_unanswered};
use crate::hosts::is_database;
use crate::index::ids;
use crate::refused::is_unmade;
use crate::requests::{answered_slowly, slow_answers};
use crate::{hosts, thresholds as at, ways};

pub(super) fn find(case: &Case<'_>, explained: &Explained, found: &mut Vec<Finding>) {
    let is_slow = |request: &Request| {
        request.class.phase() == Phase::Sumdb
            && answered_slowly(case, request)
            && !explained.contains(request.id)
    };
    for (host, requests) in hosts::requests(case, is_slow) {
        found.push(slow_answers(case, StallKind::SumdbSlow, Phase::Sumdb, host, &requests));
    }
    unreachable(case, found);
    broken(case, found);
    stacked(case, found);
}

/// A handshake with that host that came to nothing, or was not answered for long.
fn in_vain(case: &Case<'_>, connection: &Connection) -> bool {
    let tcp = connection.connect_ns.is_none()
        || matches!(connection.outcome, ConnectionOutcome::TimedOut | ConnectionOutcome::Refused);
    let long = tcp_end(case, connection) - connection.start_ns >= at::TIMED_OUT_NS;
    let refused = connection.outcome == ConnectionOutcome::Refused;
    connection.tls_start_ns.is_none() && tcp && (long || refused)
        || tls_unanswered(case, connection)
        || connection.tls_start_ns.is_some()
            && connection.tls_version.is_none()
            && connection.outcome == ConnectionOutcome::Reset
}

fn of_connection(op: &InFlight<'_>, which: impl Fn(&Connection) -> bool) -> Option<Span> {
    match op.subject {
        Subject::Connect(connection) | Subject::Tls(connection) if which(connection) => Some(whole(op)),
        _ => None,
    }
}

fn unreachable(case: &Case<'_>, found: &mut Vec<Finding>) {
    let failed: Vec<&Connection> = case
        .connections()
        .filter(|connection| is_database(case, &case.host(connection)) && in_vain(case, connection))
        .collect();
    let Some(first) = failed.first() else { return };
    let failed_ids = ids(failed.iter().map(|connection| connection.id));
    let of = |connection: &Connection| failed_ids.contains(&connection.id);
    let span = hull(case.in_flight.iter().filter_map(|op| of_connection(op, of))).unwrap_or(case.wall);
    let tls = failed.iter().any(|connection| connection.tls_start_ns.is_some());
    let refused = failed.iter().all(|connection| {
        matches!(connection.outcome, ConnectionOutcome::Refused | ConnectionOutcome::Reset)
    });
    found.push(Finding {
        host: Some(case.host(first)),
        // As the other findings about these handshakes count it: what is the same is seen to be.
        cost_ns: case.cost_of_handshakes(tls, of),
        summary: format!(
            "the checksum database at {} cannot be reached: {} {}",
            case.host(first),
            count(failed.len() as u64, if tls { "TLS handshake" } else { "TCP handshake" }),
            if refused { "refused" } else { "unanswered" }
        ),
        evidence: failed
            .iter()
            .take(5)
            .map(|c| Evidence::HandshakeUnanswered {
                connection: c.id,
                remote: c.remote.clone(),
                tls: c.tls_start_ns.is_some(),
                retransmits: c.syn_retransmits + c.retransmits,
            })
            .collect(),
        remedies: ways::around_database(case),
        fatal: true,
        ..Finding::of(StallKind::SumdbUnreachable, if tls { Phase::Tls } else { Phase::Connect }, span)
    });
}

fn broken(case: &Case<'_>, found: &mut Vec<Finding>) {
    let good =
        case.requests().find(|request| request.class == Class::SumdbSupported && request.status == Some(200));
    let Some(good) = good else { return };
    let left = crate::left::requests(case);
    let failed: Vec<_> = case
        .requests()
        .filter(|request| {
            matches!(request.class, Class::SumdbLookup | Class::SumdbTile | Class::SumdbLatest)
                && request.authority == good.authority
                && request.status.is_some_and(|status| status >= 400 && !matches!(status, 429 | 503))
                && !is_unmade(request)
                // What is private the database cannot know.
                && !left.contains(&request.id)
        })
        .collect();
    let Some(first) = failed.first() else { return };
    let host = good.authority.as_deref().unwrap_or("the proxy");
    found.push(Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_requests(failed.iter().copied(), None),
        summary: format!(
            "{host} says that it serves the checksum database, and answers its requests with {}",
            first.status.unwrap_or_default()
        ),
        evidence: failed.iter().take(5).map(|r| Evidence::RequestRefused(RequestSeen::from(*r))).collect(),
        remedies: ways::other_proxy(case, host),
        fatal: true,
        ..Finding::of(
            StallKind::SumdbProxyBroken,
            Phase::Sumdb,
            hull(failed.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    });
}

/// Proxy and checksum database each ran into a time-out, one after the other.
fn stacked(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut handshakes: HashMap<ConnectionId, Span> = HashMap::new();
    for op in &case.in_flight {
        if let Subject::Connect(connection) | Subject::Tls(connection) = op.subject {
            let known = handshakes.entry(connection.id).or_insert_with(|| whole(op));
            *known = (known.0.min(op.operation.start_ns), known.1.max(op.operation.end_ns));
        }
    }
    let failed = |connection: &Connection| {
        let span = *handshakes.get(&connection.id)?;
        (in_vain(case, connection) && span.1 - span.0 >= at::TIMED_OUT_NS).then_some(span)
    };
    let (mut proxy, mut sumdb) = (Vec::new(), Vec::new());
    for connection in case.connections() {
        if let Some(span) = failed(connection) {
            let list = if is_database(case, &case.host(connection)) { &mut sumdb } else { &mut proxy };
            list.push((connection, span));
        }
    }
    let (Some(first), Some(second)) =
        (hull(proxy.iter().map(|(_, span)| *span)), hull(sumdb.iter().map(|(_, span)| *span)))
    else {
        return;
    };
    let cost = |list: &[(&Connection, Span)]| {
        let of = ids(list.iter().map(|(connection, _)| connection.id));
        case.cost(|op| of_connection(op, |connection| of.contains(&connection.id)))
    };
    let unanswered = |list: &[(&Connection, Span)]| Evidence::HandshakesUnanswered {
        host: case.host(list[0].0),
        handshakes: list.len() as u64,
    };
    let (of_proxy, of_sumdb) = (cost(&proxy), cost(&sumdb));
    let overlap = first.1.min(second.1).saturating_sub(first.0.max(second.0));
    if overlap * 2 > (first.1 - first.0).min(second.1 - second.0) {
        return; // side by side
    }
    found.push(Finding {
        cost_ns: of_proxy + of_sumdb,
        summary: format!(
            "the proxy's time-outs ({}) and the checksum database's ({}) came one after the other",
            duration(of_proxy),
            duration(of_sumdb)
        ),
        evidence: vec![unanswered(&proxy), unanswered(&sumdb)],
        remedies: ways::to_database(case, &case.host(proxy[0].0)),
        fatal: true,
        ..Finding::of(StallKind::StackedTimeouts, Phase::Tls, (first.0.min(second.0), first.1.max(second.1)))
    });
}
