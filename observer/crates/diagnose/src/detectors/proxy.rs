//! The module proxy: slow answers, slow bodies, modules it does not have, what is asked twice.

use std::collections::BTreeMap;

use model::evidence::{Evidence, RequestSeen};
use model::human::{bytes, count};
use model::id::RequestId;
use model::operations::{InFlight, Subject};
use model::record::{Class, Phase, Request, RequestOutcome};
use model::stall::StallKind;
use model::time::SinceStart;

use crate::case::{Case, Span, hull};
use crate::explained::Explained;
use crate::finding::Finding;
use crate::offer::Offer;
use crate::refused::is_unmade;
use crate::requests::{answered_slowly, head, most_at_once, rtt, seen, slow_answers, through};
use crate::{hosts, redirects, refused, thresholds as at, ways};

pub(super) fn find(case: &Case<'_>, explained: &Explained, found: &mut Vec<Finding>) {
    let is_slow = |request: &Request| {
        request.class.phase() == Phase::Proxy
            && answered_slowly(case, request)
            && !explained.contains(request.id)
    };
    for (host, requests) in hosts::requests(case, is_slow) {
        let mut slow = slow_answers(case, StallKind::ProxySlow, Phase::Proxy, host, &requests);
        // Nobody named it: another host leads there.
        if let Some(from) = redirects::instead_of(case, host) {
            let long = format!(
                "ask why {host} is slow, or have {from}, which redirects there, serve the files itself"
            );
            let short = || StallKind::Redirect.advice().to_owned();
            slow.advice_here = Some(if long.len() <= at::ADVICE { long } else { short() });
        }
        found.push(slow);
    }
    let bodies = Bodies::new(case);
    let crawls = |request: &Request| is_crawling(case, request, &bodies) && !explained.contains(request.id);
    for (host, requests) in hosts::requests(case, crawls) {
        found.push(crawling(case, host, &requests));
    }
    for (host, requests) in hosts::requests(case, |request| request.class == Class::Toolchain) {
        found.push(toolchain(case, host, &requests));
    }
    missing(case, found);
    twice(case, explained, found);
}

/// The body came far slower than the window allows, and than a line carries.
fn is_crawling(case: &Case<'_>, request: &Request, bodies: &Bodies) -> bool {
    let (Some(first), Some(end), Some(bytes)) = (request.first_byte_ns, request.end_ns, request.bytes) else {
        return false;
    };
    let took = end.saturating_sub(first);
    if request.outcome != RequestOutcome::Ok || took < at::TRANSFER_NS {
        return false;
    }
    let rounds = u64::from((bytes / at::FIRST_WINDOW + 1).ilog2()) + 1;
    let allowed = at::TRANSFER_ROUND_TRIPS * rounds * rtt(case, request).unwrap_or(0);
    let limit = u128::from(took) * u128::from(at::TRANSFER_RATE) / 1_000_000_000;
    took > allowed && u128::from(bytes) < limit && bodies.within((first, end)) < limit as f64
}

/// Bytes of all bodies over time, each spread evenly over its own.
struct Bodies {
    /// When the rate changes, how many bytes had come by then, and the rate from then on
    steps: Vec<(SinceStart, f64, f64)>,
}

impl Bodies {
    fn new(case: &Case<'_>) -> Self {
        let mut edges = Vec::new();
        for request in case.requests() {
            if let (Some(from), Some(to), Some(bytes)) =
                (request.first_byte_ns, request.end_ns, request.bytes)
                && from < to
            {
                let rate = bytes as f64 / (to - from) as f64;
                edges.extend([(from, rate), (to, -rate)]);
            }
        }
        edges.sort_unstable_by_key(|(at, _)| *at);
        let (mut last, mut came, mut rate) = (SinceStart::ZERO, 0.0, 0.0);
        let step = |(at, change): (SinceStart, f64)| {
            came += rate * (at - last) as f64;
            rate += change;
            last = at;
            (at, came, rate)
        };
        Self { steps: edges.into_iter().map(step).collect() }
    }

    fn by(&self, at: SinceStart) -> f64 {
        let after = self.steps.partition_point(|step| step.0 <= at);
        let Some((from, came, rate)) = after.checked_sub(1).map(|before| self.steps[before]) else {
            return 0.0;
        };
        came + rate * (at - from) as f64
    }

    /// Bytes that came within a span.
    fn within(&self, span: Span) -> f64 {
        self.by(span.1) - self.by(span.0)
    }
}

fn crawling(case: &Case<'_>, host: &str, requests: &[&Request]) -> Finding {
    let ids: std::collections::BTreeSet<RequestId> = requests.iter().map(|request| request.id).collect();
    let body = |request: &Request| (head(case, request), request.end_ns.unwrap_or(case.wall.1));
    let cost_ns = case.cost(|op| match op.subject {
        Subject::Request(request) if ids.contains(&request.id) => Some(body(request)),
        _ => None,
    });
    let connection = requests.iter().find_map(|request| case.command.connections.get(&request.connection?));
    let lossy = connection.is_some_and(|c| c.received_out_of_order.unwrap_or(0) > 0 || c.retransmits > 0);
    let closed = connection.is_some_and(|c| c.zero_windows > 0);
    let why = match through(case, requests) {
        _ if lossy => "segments were lost".to_owned(),
        _ if closed => "a window was closed".to_owned(),
        // Behind it the way is not seen.
        Some(forward) => {
            format!(
                "nothing was lost before {forward} and no window closed, so it or what is behind it is slow"
            )
        }
        None => {
            "nothing was lost and no window closed, so that host is slow or limits each connection".to_owned()
        }
    };
    let (size, time) = requests.iter().fold((0, 0), |(size, time), request| {
        let (from, to) = body(request);
        (size + request.bytes.unwrap_or(0), time + (to - from))
    });
    let rate = u128::from(size) * 1_000_000_000 / u128::from(time.max(1));
    let line = |request: &&Request| {
        let (from, to) = body(request);
        Evidence::ResponseBody {
            request: request.id,
            host: request.authority.clone(),
            path: request.path.clone(),
            class: request.class,
            module: request.module.clone(),
            version: request.version.clone(),
            body_bytes: request.bytes,
            took_ns: to - from,
        }
    };
    // More connections help where several responses share one.
    let share = most_at_once(requests, case.wall.1) > 1
        && connection.is_some_and(|c| c.alpn.as_deref() == Some("h2"));
    let remedies = match (lossy, closed) {
        (true, _) if share => vec![Offer::new("http1", "a loss holds up one response only")],
        (false, false) if share => {
            vec![Offer::new("http1", "one connection for each download: helps where each is limited")]
        }
        (false, false) => ways::other_proxy(case, host),
        _ => Vec::new(),
    };
    Finding {
        host: Some(host.to_owned()),
        cost_ns,
        summary: format!(
            "{} of {host} came in at {} a second: {why}",
            count(requests.len() as u64, "response"),
            bytes(u64::try_from(rate).unwrap_or(u64::MAX))
        ),
        evidence: requests.iter().take(5).map(line).collect(),
        remedies,
        ..Finding::of(
            StallKind::TransferSlow,
            requests[0].class.phase(),
            hull(requests.iter().map(|request| body(request))).unwrap_or(case.wall),
        )
    }
}

fn toolchain(case: &Case<'_>, host: &str, requests: &[&Request]) -> Finding {
    let version = requests.iter().find_map(|request| request.version.as_deref()).unwrap_or("another version");
    let came = !case.failed() || requests.iter().any(|request| request.outcome == RequestOutcome::Ok);
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_requests(requests.iter().copied(), None),
        summary: format!(
            "go.mod asks for another toolchain ({version}): {host} {}",
            requests
                .iter()
                .filter_map(|request| request.status)
                .next_back()
                .map_or_else(|| "has not answered".to_owned(), |status| format!("answered with {status}"))
        ),
        evidence: requests.iter().take(3).map(|request| seen(request)).collect(),
        fatal: !came,
        // While it is to be had, to refuse it may only make the command fail.
        remedies: if came {
            Vec::new()
        } else {
            vec![Offer::new(
                "env=GOTOOLCHAIN=local",
                "uses the toolchain that is there, if go.mod can do with it",
            )]
        },
        ..Finding::of(
            StallKind::ToolchainDownload,
            Phase::Toolchain,
            hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    }
}

/// A page that names a repository is no proxy's, whatever its status.
fn is_missing(request: &Request) -> bool {
    matches!(request.class.phase(), Phase::Proxy | Phase::Sumdb)
        && matches!(request.status, Some(404 | 410))
        && request.module.is_some()
}

/// Modules that a proxy or the checksum database does not have.
fn missing(case: &Case<'_>, found: &mut Vec<Finding>) {
    let direct = case.in_flight.iter().any(|op| op.operation.phase == Phase::Vcs);
    let left = crate::left::requests(case);
    let kept = |request: &&&Request| crate::left::is_kept_from_proxies(&case.record.go, request);
    for (host, requests) in hosts::requests(case, is_missing) {
        // Asked because the module's own page names that proxy, not because GOPROXY does.
        if requests.iter().all(|request| kept(&request)) {
            continue;
        }
        let mut modules: Vec<&str> =
            requests.iter().filter_map(|request| request.module.as_deref()).collect();
        modules.sort_unstable();
        modules.dedup();
        let names = modules.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let private = crate::private::offer(case, &requests);
        let sumdb = requests.iter().any(|request| request.class.phase() == Phase::Sumdb);
        let phase = if sumdb { Phase::Sumdb } else { Phase::Proxy };
        let finding = |kind, summary| Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost_of_requests(requests.iter().copied(), None),
            summary,
            evidence: requests
                .iter()
                .take(5)
                .map(|r| Evidence::RequestRefused(RequestSeen::from(*r)))
                .collect(),
            remedies: private.iter().cloned().collect(),
            ..Finding::of(
                kind,
                phase,
                hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))))
                    .unwrap_or(case.wall),
            )
        };
        if direct {
            let mut finding = finding(
                StallKind::ProxyFallbackDirect,
                format!("{host} does not have {names}: go asked there first, then the module's own host"),
            );
            finding.cost_ns +=
                case.cost(|op| (op.operation.phase == Phase::Vcs).then_some(crate::case::whole(op)));
            finding.phase = Phase::Vcs;
            // Not the name server that was asked for it.
            let is_own = |op: &&InFlight<'_>| {
                op.operation.phase == Phase::Vcs
                    && matches!(op.subject, Subject::Helper(_) | Subject::Request(_))
            };
            let own = case.in_flight.iter().find(is_own);
            finding.host = own.and_then(|op| op.operation.host).map(str::to_owned).or(finding.host);
            found.push(finding);
        }
        // What certainly is private is reported as that.
        let goes_out = direct || sumdb;
        if goes_out && !requests.iter().all(|request| left.contains(&request.id)) {
            found.push(finding(
                StallKind::MirrorPrivate,
                format!("{host} was asked for {names}, which it does not have: if it is private, its name has left the company"),
            ));
        }
    }
}

fn twice(case: &Case<'_>, explained: &Explained, found: &mut Vec<Finding>) {
    // What was refused go asks twice by design.
    let (refused, tiles) = (refused::of(case), refused::whole_tiles(case));
    let usual = |request: &Request| {
        refused.contains(&request.id)
            || explained.contains(request.id)
            || is_unmade(request)
            || request.path.as_deref().is_some_and(|path| tiles.contains(path))
    };
    let mut asked: BTreeMap<(&str, &str), Vec<&Request>> = BTreeMap::new();
    for request in case.requests().filter(|request| !usual(request)) {
        if let (Some(authority), Some(path)) = (&request.authority, &request.path)
            && request.method.as_deref() == Some("GET")
            && !path.contains('…')
        {
            asked.entry((authority, path)).or_default().push(request);
        }
    }
    let mut hosts: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for ((authority, _), requests) in asked {
        hosts.entry(authority).or_default().extend(requests.into_iter().skip(1));
    }
    for (host, again) in hosts.into_iter().filter(|(_, again)| !again.is_empty()) {
        found.push(Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost_of_requests(again.iter().copied(), None),
            summary: format!("{host} was asked {} more than once", count(again.len() as u64, "time")),
            evidence: again.iter().take(5).map(|request| seen(request)).collect(),
            info: true,
            ..Finding::of(
                StallKind::DuplicateRequest,
                again[0].class.phase(),
                hull(again.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))))
                    .unwrap_or(case.wall),
            )
        });
    }
}
