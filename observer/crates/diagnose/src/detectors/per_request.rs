//! A connection for each request: its handshakes, and mostly a lookup, each time.

use std::collections::BTreeSet;

use model::evidence::Evidence;
use model::human::count;
use model::id::DnsId;
use model::operations::Subject;
use model::record::{Connection, Phase};
use model::stall::StallKind;
use model::time::Ns;

use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::index::ids;
use crate::requests::most_at_once;
use crate::{hosts, thresholds as at};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, mut connections) in hosts::connections(case, |c| c.requests > 0) {
        connections.sort_by_key(|connection| connection.start_ns);
        found.extend(of_host(case, &host, &connections));
    }
}

/// Connections that go keeps for a host when nothing is asked on them (`MaxIdleConnsPerHost`).
const GO_KEEPS: usize = 2;

fn of_host(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Option<Finding> {
    let requests: u64 = connections.iter().map(|c| u64::from(c.requests)).sum();
    let once = connections.iter().filter(|c| c.requests == 1).count();
    if once < at::USED_ONCE
        || once * 10 < connections.len() * 9
        || requests > connections.len() as u64 * 6 / 5
    {
        return None;
    }
    let closed = connections.iter().filter(|c| closed_by_peer(case, host, c)).count();
    if closed * 10 < connections.len() * 9 {
        return None;
    }
    let own: Vec<_> = connections.iter().flat_map(|c| case.index.requests(c.id)).copied().collect();
    let at_once = most_at_once(&own, case.wall.1);
    // As many as there were requests at once would have been needed anyway.
    let needed = at_once.max(1);
    let further: Vec<&Connection> = connections.iter().skip(needed).copied().collect();
    let first = further.first()?.start_ns;
    let further_ids = ids(further.iter().map(|c| c.id));
    let asked: BTreeSet<DnsId> = case
        .queries()
        .filter(|(dns, _)| {
            dns.name.eq_ignore_ascii_case(hosts::bare(host)) && dns.start_ns + at::LOOKUP_NS >= first
        })
        .map(|(dns, _)| dns.id)
        .collect();
    let cost = |which: Phase| {
        case.cost(|op| match op.subject {
            Subject::Dns(query) if which == Phase::Dns && asked.contains(&query.record.id) => Some(whole(op)),
            Subject::Connect(c) if which == Phase::Connect && further_ids.contains(&c.id) => Some(whole(op)),
            Subject::Tls(c) if which == Phase::Tls && further_ids.contains(&c.id) => Some(whole(op)),
            _ => None,
        })
    };
    let costs = [Phase::Dns, Phase::Connect, Phase::Tls].map(|phase| (cost(phase), phase));
    let cost_ns: Ns = costs.iter().map(|(cost, _)| cost).sum();
    let phase = costs.iter().max_by_key(|(cost, _)| *cost).map_or(Phase::Tls, |(_, phase)| *phase);
    let lookups = asked.len() as u64;
    let handshakes = connections.iter().filter(|c| c.tls_start_ns.is_some()).count() as u64;
    let words: Vec<String> = [(lookups, "query"), (handshakes, "TLS handshake")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| count(n, what))
        .collect();
    let with = if words.is_empty() { String::new() } else { format!(", with {}", words.join(" and ")) };
    let advice = match phase {
        Phase::Dns => {
            "have keep-alive or HTTP/2 switched on at that server; until then a cache for names on this machine"
        }
        _ => "have keep-alive or HTTP/2 switched on at that server (or at the proxy in front of it)",
    };
    Some(Finding {
        host: Some(host.to_owned()),
        cost_ns,
        summary: format!(
            "{host} closed each connection after one request: {} for {}{with}",
            count(connections.len() as u64, "connection"),
            count(requests, "request")
        ),
        evidence: vec![Evidence::ConnectionsUsedOnce {
            host: host.to_owned(),
            requests,
            connections: connections.len() as u64,
            lookups,
            handshakes,
            kept_ns: median(connections),
        }],
        advice: Some(advice),
        ..Finding::of(
            StallKind::ConnectionPerRequest,
            phase,
            hull(further.iter().map(|c| (c.start_ns, c.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    })
}

/// It ended right behind its request although go had room to keep it: the server's doing. go may close first, for
/// the answer's head has said so by then.
fn closed_by_peer(case: &Case<'_>, host: &str, connection: &Connection) -> bool {
    let Some(end) = connection.end_ns else { return false };
    let done = case.index.requests(connection.id).iter().filter_map(|request| request.end_ns).max();
    if done.is_none_or(|done| end.saturating_sub(done) > at::TOGETHER_NS) {
        return false;
    }
    let idle = |other: &&Connection| {
        let open =
            other.start_ns + other.connect_ns.unwrap_or(0) < end && other.end_ns.is_none_or(|to| to > end);
        let busy = case
            .index
            .requests(other.id)
            .iter()
            .any(|request| request.start_ns <= end && request.end_ns.is_none_or(|to| to >= end));
        other.id != connection.id && open && !busy && case.host(other) == host
    };
    case.connections().filter(idle).count() < GO_KEEPS
}

/// For how long half of them lasted at the most.
fn median(connections: &[&Connection]) -> Option<Ns> {
    let mut lasted: Vec<Ns> =
        connections.iter().filter_map(|c| Some(c.end_ns?.saturating_sub(c.start_ns))).collect();
    lasted.sort_unstable();
    lasted.get(lasted.len() / 2).copied()
}
