//! Requests: which were answered slowly, what that cost, how many there were at once, and one as evidence.

use std::collections::{BTreeMap, BTreeSet};

use model::evidence::{Evidence, RequestSeen};
use model::human::{count, duration, duration_or_unknown};
use model::id::{ConnectionId, RequestId};
use model::operations::Subject;
use model::record::{Phase, Request, RequestOutcome};
use model::stall::StallKind;
use model::time::{Ns, SinceStart};

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::hosts::is_database;
use crate::thresholds as at;
use crate::ways;

/// A request as evidence.
pub(crate) fn seen(request: &Request) -> Evidence {
    Evidence::Request(RequestSeen::from(request))
}

/// The phase that most of these requests belong to.
pub(crate) fn phase_of(requests: &[&Request]) -> Phase {
    let mut phases: BTreeMap<Phase, usize> = BTreeMap::new();
    requests.iter().for_each(|request| *phases.entry(request.class.phase()).or_default() += 1);
    phases.into_iter().max_by_key(|(_, count)| *count).map_or(Phase::Proxy, |(phase, _)| phase)
}

/// Its stream was reset when its body had begun to come.
pub(crate) fn is_cut(request: &Request) -> bool {
    request.outcome == RequestOutcome::Reset
        && request.first_byte_ns.is_some()
        && request.reset_code.as_deref() != Some("REFUSED_STREAM")
}

/// Requests at once, at the most; what has not ended is open until `end`.
pub(crate) fn most_at_once(requests: &[&Request], end: SinceStart) -> usize {
    let edges = requests.iter().flat_map(|r| [(r.start_ns, 1), (r.end_ns.unwrap_or(end), -1)]);
    let mut edges: Vec<(SinceStart, i64)> = edges.collect();
    // What ends at a moment makes room for what begins at it.
    edges.sort_unstable();
    let mut open = 0;
    let counts = edges.into_iter().map(|(_, change)| {
        open += change;
        open
    });
    usize::try_from(counts.max().unwrap_or(0)).unwrap_or(0)
}

/// A round trip to whoever answers a request.
pub(crate) fn rtt(case: &Case<'_>, request: &Request) -> Option<Ns> {
    case.index.round_trip(case.command.connections.get(&request.connection?)?)
}

/// The forward proxy that all of these went through.
pub(crate) fn through(case: &Case<'_>, requests: &[&Request]) -> Option<String> {
    let connections: BTreeSet<_> = requests.iter().map(|request| request.connection).collect();
    let forward = |id: Option<ConnectionId>| {
        let host = case.remote_host(case.command.connections.get(&id?)?);
        case.is_forward_proxy(&host).then_some(host)
    };
    let mut forwards = connections.into_iter().map(forward);
    let first = forwards.next()??;
    forwards.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// Whose answers they are, with the forward proxy that may be to blame for them.
pub(crate) fn whose(case: &Case<'_>, phase: Phase, host: &str, requests: &[&Request]) -> String {
    let (forward, own) = (through(case, requests), is_database(case, host));
    match (phase, forward) {
        (Phase::Sumdb, None) if own => format!("the checksum database, {host},"),
        (Phase::Sumdb, None) => format!("the checksum database, asked through {host},"),
        (Phase::Sumdb, Some(forward)) if own => {
            format!("the checksum database, {host}, asked through {forward},")
        }
        (Phase::Sumdb, Some(forward)) => {
            format!("the checksum database, asked through {forward} and {host},")
        }
        (_, None) => host.to_owned(),
        (_, Some(forward)) => format!("{host}, asked through {forward},"),
    }
}

/// The head came far later than the way takes.
pub(crate) fn answered_slowly(case: &Case<'_>, request: &Request) -> bool {
    let head = request.first_byte_ns.unwrap_or_else(|| request.end_ns.unwrap_or(case.wall.1));
    let allowed = at::HEAD_WORK_NS + at::HEAD_ROUND_TRIPS * rtt(case, request).unwrap_or(0);
    head.saturating_sub(request.start_ns) > allowed
}

/// Until when its head was waited for.
pub(crate) fn head(case: &Case<'_>, request: &Request) -> SinceStart {
    request.first_byte_ns.or(request.end_ns).unwrap_or(case.wall.1)
}

/// Requests whose heads came slowly, as a finding.
pub(crate) fn slow_answers(
    case: &Case<'_>,
    kind: StallKind,
    phase: Phase,
    host: &str,
    requests: &[&Request],
) -> Finding {
    let ids: BTreeSet<RequestId> = requests.iter().map(|request| request.id).collect();
    let longest =
        requests.iter().map(|request| head(case, request) - request.start_ns).max().unwrap_or_default();
    let rtt = requests.iter().filter_map(|request| rtt(case, request)).max();
    let cost_ns = case.cost(|op| match op.subject {
        Subject::Request(request) if ids.contains(&request.id) => {
            // The way there and back takes its time, whoever answers.
            Some((request.start_ns + self::rtt(case, request).unwrap_or(0), head(case, request)))
        }
        _ => None,
    });
    let whom = whose(case, phase, host, requests);
    let up_to = if requests.len() == 1 { "" } else { "up to " };
    let answers = count(requests.len() as u64, "request");
    let statuses: BTreeSet<Option<u16>> = requests.iter().map(|request| request.status).collect();
    let with = match statuses.into_iter().collect::<Vec<_>>()[..] {
        [Some(status @ 400..)] => format!(" with {status}"),
        _ => String::new(),
    };
    let took = format!("took {up_to}{} before it answered {answers}{with}", duration(longest));
    let mut evidence: Vec<Evidence> = requests.iter().take(5).map(|request| seen(request)).collect();
    evidence.push(Evidence::RoundTrip { rtt_ns: rtt });
    Finding {
        host: Some(host.to_owned()),
        cost_ns,
        summary: format!("{whom} {took}, at an RTT of {}", duration_or_unknown(rtt)),
        evidence,
        advice_here: through(case, requests).filter(|_| phase != Phase::Sumdb).and_then(|forward| {
            let long = format!(
                "ask the owners of {host} and {forward} why: one that scans what it passes on holds it back"
            );
            (long.len() <= at::ADVICE).then_some(long)
        }),
        remedies: if phase == Phase::Sumdb {
            ways::to_database(case, host)
        } else {
            ways::other_proxy(case, host)
        },
        ..Finding::of(
            kind,
            phase,
            hull(requests.iter().map(|request| (request.start_ns, head(case, request)))).unwrap_or(case.wall),
        )
    }
}
