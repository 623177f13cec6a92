//! Many answers, none of them slow, that together are much of the time.

use std::collections::BTreeSet;

use model::evidence::Evidence;
use model::human::{count, duration, duration_or_unknown, percent};
use model::id::{DnsId, RequestId};
use model::operations::Subject;
use model::record::{Phase, Request};
use model::stall::StallKind;
use model::time::Ns;

use crate::case::{Case, hull, whole};
use crate::explained::Explained;
use crate::finding::Finding;
use crate::requests::{answered_slowly, head, rtt, whose};
use crate::{hosts, thresholds as at, ways};

pub(super) fn find(case: &Case<'_>, explained: &Explained, found: &mut Vec<Finding>) {
    found.extend(requests(case, explained, Phase::Sumdb, StallKind::SumdbShare));
    found.extend(requests(case, explained, Phase::Proxy, StallKind::ProxyShare));
    found.extend(queries(case));
}

fn is_much(case: &Case<'_>, cost_ns: Ns) -> bool {
    cost_ns >= at::WARNING_NS
        && u128::from(cost_ns) * 100 >= u128::from(case.wall_ns()) * u128::from(at::SHARE_PERCENT)
}

/// Half of them took no longer.
fn median(mut took: Vec<Ns>) -> Ns {
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}

/// Time until heads came: what bodies take depends on their size.
fn requests(case: &Case<'_>, explained: &Explained, phase: Phase, kind: StallKind) -> Option<Finding> {
    let counts = |request: &Request| {
        request.class.phase() == phase
            && request.end_ns.is_some()
            && request.status.is_some()
            && !answered_slowly(case, request)
            && !explained.contains(request.id)
    };
    let by_host = hosts::requests(case, counts);
    let (host, requests) = by_host.into_iter().max_by_key(|(_, requests)| requests.len())?;
    if requests.len() < at::SHARE_ANSWERS {
        return None;
    }
    let ids: BTreeSet<RequestId> = requests.iter().map(|request| request.id).collect();
    let cost_ns = case.cost(|op| match op.subject {
        Subject::Request(request) if ids.contains(&request.id) => {
            Some((request.start_ns, head(case, request)))
        }
        _ => None,
    });
    if !is_much(case, cost_ns) {
        return None;
    }
    let median_ns = median(requests.iter().map(|r| head(case, r).saturating_sub(r.start_ns)).collect());
    let rtt = requests.iter().filter_map(|request| rtt(case, request)).max();
    let answers = count(requests.len() as u64, "answer");
    let share = percent(cost_ns, case.wall_ns());
    let whom = whose(case, phase, host, &requests);
    Some(Finding {
        host: Some(host.to_owned()),
        cost_ns,
        summary: format!(
            "{answers} of {whom} took {share} of the time, median {}, at an RTT of \
             {}: no single one stands out, it is their sum",
            duration(median_ns),
            duration_or_unknown(rtt)
        ),
        evidence: vec![Evidence::Requests {
            host: host.to_owned(),
            requests: requests.len() as u64,
            median_ns: Some(median_ns),
        }],
        remedies: match phase {
            Phase::Sumdb => ways::to_database(case, host),
            _ => Vec::new(),
        },
        // A far host: each answer came as fast as the way allows.
        info: rtt.is_some_and(|rtt| median_ns <= 2 * rtt),
        ..Finding::of(
            kind,
            phase,
            hull(requests.iter().map(|request| (request.start_ns, head(case, request)))).unwrap_or(case.wall),
        )
    })
}

fn queries(case: &Case<'_>) -> Option<Finding> {
    let answered = case.queries().filter_map(|(dns, end)| {
        let took = end?.saturating_sub(dns.start_ns);
        (dns.rcode.is_some() && dns.attempt <= 1 && took <= at::DNS_SLOW_NS).then_some((dns, took))
    });
    let answered: Vec<_> = answered.collect();
    let ids: BTreeSet<DnsId> = answered.iter().map(|(dns, _)| dns.id).collect();
    let cost_ns = case.cost(|op| match op.subject {
        Subject::Dns(query) if ids.contains(&query.record.id) => Some(whole(op)),
        _ => None,
    });
    if answered.len() < at::SHARE_ANSWERS || !is_much(case, cost_ns) {
        return None;
    }
    let server = answered.first()?.0.server.clone();
    let names: BTreeSet<&str> = answered.iter().map(|(dns, _)| dns.name.as_str()).collect();
    let median_ns = median(answered.iter().map(|(_, took)| *took).collect());
    let asked = count(answered.len() as u64, "query");
    Some(Finding {
        host: Some(server.clone()),
        cost_ns,
        summary: format!(
            "{asked} for {} took {} of the time, median {}: no single one stands out, it is their sum",
            count(names.len() as u64, "name"),
            percent(cost_ns, case.wall_ns()),
            duration(median_ns)
        ),
        evidence: vec![Evidence::Lookups {
            server,
            queries: answered.len() as u64,
            names: names.len() as u64,
            median_ns: Some(median_ns),
        }],
        ..Finding::of(
            StallKind::DnsShare,
            Phase::Dns,
            hull(answered.iter().map(|(dns, took)| (dns.start_ns, dns.start_ns + *took)))
                .unwrap_or(case.wall),
        )
    })
}
