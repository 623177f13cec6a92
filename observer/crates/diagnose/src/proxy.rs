//! The module proxy: slow answers, slow bodies, modules it does not have, what is asked twice.

use std::collections::BTreeMap;

use model::human::{bytes, count, duration, duration_or_unknown};
use model::operations::{Flight, Subject};
use model::record::{Class, Ns, Phase, Request, RequestOutcome};

use super::case::{Case, Span, hull};
use super::finding::{Finding, explained};
use super::http2::{most_at_once, what};
use super::offer::Offer;
use super::thresholds as at;

pub(crate) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let explained = explained(found);
    let is_slow = |request: &Request| {
        request.class.phase() == Phase::Proxy && is_late(case, request) && !explained.contains(&request.id)
    };
    for (host, requests) in by_host(case, is_slow) {
        found.push(late(case, "proxy-slow", Phase::Proxy, host, &requests));
    }
    let bodies = Bodies::new(case);
    let crawls = |request: &Request| is_crawling(case, request, &bodies) && !explained.contains(&request.id);
    for (host, requests) in by_host(case, crawls) {
        found.push(crawling(case, host, &requests));
    }
    for (host, requests) in by_host(case, |request| request.class == Class::Toolchain) {
        found.push(toolchain(case, host, &requests));
    }
    missing(case, found);
    twice(case, found);
}

/// Requests by host.
pub(crate) fn by_host<'a>(
    case: &Case<'a>,
    which: impl Fn(&Request) -> bool,
) -> BTreeMap<&'a str, Vec<&'a Request>> {
    let mut hosts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for request in case.requests().filter(|request| which(request)) {
        hosts.entry(request.authority.as_deref().unwrap_or("an unknown host")).or_default().push(request);
    }
    hosts
}

fn rtt(case: &Case<'_>, request: &Request) -> Option<Ns> {
    case.command.connections.get(&request.connection?)?.rtt_ns
}

/// The head came far later than the way takes.
pub(crate) fn is_late(case: &Case<'_>, request: &Request) -> bool {
    let head = request.first_byte_ns.unwrap_or_else(|| request.end_ns.unwrap_or(case.wall.1));
    let allowed = at::HEAD_WORK_NS + at::HEAD_ROUND_TRIPS * rtt(case, request).unwrap_or(0);
    head.saturating_sub(request.start_ns) > allowed
}

/// Until when its head was waited for.
fn head(case: &Case<'_>, request: &Request) -> Ns {
    request.first_byte_ns.or(request.end_ns).unwrap_or(case.wall.1)
}

/// Requests whose heads came late.
pub(crate) fn late(
    case: &Case<'_>,
    kind: &'static str,
    phase: Phase,
    host: &str,
    requests: &[&Request],
) -> Finding {
    let ids: std::collections::BTreeSet<u32> = requests.iter().map(|request| request.id).collect();
    let longest =
        requests.iter().map(|request| head(case, request) - request.start_ns).max().unwrap_or_default();
    let rtt = requests.iter().filter_map(|request| rtt(case, request)).max();
    let cost_ns = case.cost(|flight| match flight.subject {
        Subject::Request(request) if ids.contains(&request.id) => {
            // The way there and back takes its time, whoever answers.
            Some((request.start_ns + self::rtt(case, request).unwrap_or(0), head(case, request)))
        }
        _ => None,
    });
    let whom = match phase {
        Phase::Sumdb if super::sumdb::is_database(case, host) => format!("the checksum database, {host},"),
        Phase::Sumdb => format!("the checksum database, asked through {host},"),
        _ => host.to_owned(),
    };
    let up_to = if requests.len() == 1 { "" } else { "up to " };
    let answers = count(requests.len() as u64, "request");
    let took = format!("took {up_to}{} before it answered {answers}", duration(longest));
    let mut evidence: Vec<String> = requests.iter().take(5).map(|request| what(request)).collect();
    evidence.push(format!("RTT {}", duration_or_unknown(rtt)));
    Finding {
        host: Some(host.to_owned()),
        cost_ns,
        summary: format!("{whom} {took}, at an RTT of {}", duration_or_unknown(rtt)),
        evidence,
        remedies: if phase == Phase::Sumdb {
            super::sumdb::ways(case, host)
        } else {
            super::connect::other_proxy(case, host)
        },
        ..Finding::of(
            kind,
            phase,
            hull(requests.iter().map(|request| (request.start_ns, head(case, request)))).unwrap_or(case.wall),
        )
    }
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
    steps: Vec<(Ns, f64, f64)>,
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
        let (mut last, mut came, mut rate) = (0, 0.0, 0.0);
        let step = |(at, change): (Ns, f64)| {
            came += rate * (at - last) as f64;
            rate += change;
            last = at;
            (at, came, rate)
        };
        Self { steps: edges.into_iter().map(step).collect() }
    }

    fn by(&self, at: Ns) -> f64 {
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
    let ids: std::collections::BTreeSet<u32> = requests.iter().map(|request| request.id).collect();
    let body = |request: &Request| (head(case, request), request.end_ns.unwrap_or(case.wall.1));
    let cost_ns = case.cost(|flight| match flight.subject {
        Subject::Request(request) if ids.contains(&request.id) => Some(body(request)),
        _ => None,
    });
    let connection = requests.iter().find_map(|request| case.command.connections.get(&request.connection?));
    let lossy = connection.is_some_and(|c| c.received_out_of_order.unwrap_or(0) > 0 || c.retransmits > 0);
    let closed = connection.is_some_and(|c| c.zero_windows > 0);
    let why = if lossy {
        "segments were lost"
    } else if closed {
        "a window was closed"
    } else {
        "nothing was lost and no window closed, so that host is slow or limits each connection"
    };
    let (size, time) = requests.iter().fold((0, 0), |(size, time), request| {
        let (from, to) = body(request);
        (size + request.bytes.unwrap_or(0), time + (to - from))
    });
    let rate = u128::from(size) * 1_000_000_000 / u128::from(time.max(1));
    let line = |request: &&Request| {
        let (from, to) = body(request);
        let size = request.bytes.map_or_else(|| "?".to_owned(), bytes);
        format!("{}: {size} in {}", request.path.as_deref().unwrap_or("?"), duration(to - from))
    };
    // More connections help where several responses share one.
    let share = most_at_once(requests, case.wall.1) > 1
        && connection.is_some_and(|c| c.alpn.as_deref() == Some("h2"));
    let remedies = match (lossy, closed) {
        (true, _) if share => vec![Offer::new("http1", "a loss holds up one response only")],
        (false, false) if share => {
            vec![Offer::new("http1", "one connection for each download: helps where each is limited")]
        }
        (false, false) => super::connect::other_proxy(case, host),
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
            "transfer-slow",
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
        evidence: requests.iter().take(3).map(|request| what(request)).collect(),
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
            "toolchain-download",
            Phase::Toolchain,
            hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    }
}

fn is_missing(request: &Request) -> bool {
    matches!(request.status, Some(404 | 410)) && request.module.is_some()
}

/// Modules that a proxy or the checksum database does not have.
fn missing(case: &Case<'_>, found: &mut Vec<Finding>) {
    let direct = case.flights.iter().any(|flight| flight.operation.phase == Phase::Vcs);
    for (host, requests) in by_host(case, is_missing) {
        let mut modules: Vec<&str> =
            requests.iter().filter_map(|request| request.module.as_deref()).collect();
        modules.sort_unstable();
        modules.dedup();
        let names = modules.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let private = super::private::offer(case, &requests);
        let sumdb = requests.iter().any(|request| request.class.phase() == Phase::Sumdb);
        let phase = if sumdb { Phase::Sumdb } else { Phase::Proxy };
        let finding = |kind, summary| Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost_of_requests(requests.iter().copied(), None),
            summary,
            evidence: requests
                .iter()
                .take(5)
                .map(|r| format!("{} {}", r.status.unwrap_or_default(), what(r)))
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
                "proxy-fallback-direct",
                format!("{host} does not have {names}: go asked there first, then the module's own host"),
            );
            finding.cost_ns += case
                .cost(|flight| (flight.operation.phase == Phase::Vcs).then_some(super::case::whole(flight)));
            finding.phase = Phase::Vcs;
            // Not the name server that was asked for it.
            let is_own = |flight: &&Flight<'_>| {
                flight.operation.phase == Phase::Vcs
                    && matches!(flight.subject, Subject::Helper(_) | Subject::Request(_))
            };
            let own = case.flights.iter().find(is_own);
            finding.host = own.and_then(|flight| flight.operation.host).map(str::to_owned).or(finding.host);
            found.push(finding);
        }
        let goes_out = direct || sumdb;
        if goes_out {
            found.push(finding(
                "mirror-private",
                format!("{host} was asked for {names}, which it does not have: if it is private, its name has left the company"),
            ));
        }
    }
}

fn twice(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut asked: BTreeMap<(&str, &str), Vec<&Request>> = BTreeMap::new();
    for request in case.requests() {
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
            evidence: again.iter().take(5).map(|request| what(request)).collect(),
            info: true,
            ..Finding::of(
                "duplicate-request",
                again[0].class.phase(),
                hull(again.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))))
                    .unwrap_or(case.wall),
            )
        });
    }
}
