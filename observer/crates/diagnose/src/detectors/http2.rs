//! What happens to streams that share a connection: loss, silence, limits, resets, windows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::event::{Mark, WindowMark};
use model::evidence::Evidence;
use model::human::{count, duration};
use model::record::{Connection, ConnectionOutcome, Phase, Protocol, Request, RequestOutcome};
use model::stall::StallKind;
use model::state::Moment;
use model::time::{Ns, SinceStart};

use crate::case::{Case, Span, hull};
use crate::finding::Finding;
use crate::index::ids;
use crate::offer::Offer;
use crate::requests::{is_cut, most_at_once, phase_of, seen};
use crate::{hosts, thresholds as at, ways};

/// Intervals of one connection that are added up; each takes a walk over all that was in flight.
const SPANS_MAX: usize = 64;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for connection in case.connections() {
        let lost = losses(case, connection);
        if let Some(silence) = silence(case, connection, &lost) {
            found.push(silence);
        } else if let Some(finding) = blocked(case, connection, &lost) {
            found.push(finding);
        }
        found.extend(windows(case, connection));
    }
    found.extend(goaways(case));
    found.extend(limits(case));
    found.extend(resets(case));
}

/// When segments of established connections were retransmitted.
fn losses(case: &Case<'_>, connection: &Connection) -> Vec<SinceStart> {
    let of = |(at, moment): &(SinceStart, Moment)| match moment {
        Moment::Retransmission(Mark { syn: false, .. }) => Some(*at),
        _ => None,
    };
    case.index.moments(connection.id).iter().copied().filter_map(of).collect()
}

fn requests_of<'c, 'a>(case: &'c Case<'a>, connection: &Connection) -> &'c [&'a Request] {
    case.index.requests(connection.id)
}

fn finding(
    case: &Case<'_>,
    kind: StallKind,
    connection: &Connection,
    phase: Phase,
    span: Span,
    summary: String,
) -> Finding {
    Finding {
        host: Some(case.host(connection)),
        cost_ns: cost_within(case, connection, &[span]),
        summary,
        about: u64::from(connection.id) << 1,
        ..Finding::of(kind, phase, span)
    }
}

/// Blocked time of the connection's requests within spans that do not overlap.
fn cost_within(case: &Case<'_>, connection: &Connection, spans: &[Span]) -> Ns {
    let requests = || requests_of(case, connection).iter().copied();
    let cost = |span: &Span| case.cost_of_requests(requests(), Some(*span));
    spans.iter().map(cost).sum()
}

/// Requests that got nothing for long: nothing at all, or the rest of a body. Distinguished by
/// whether the peer still acknowledges what it is sent.
fn silence(case: &Case<'_>, connection: &Connection, lost: &[SinceStart]) -> Option<Finding> {
    let requests = requests_of(case, connection);
    let waits = |request: &&&Request| {
        // What failed was still waited for, and so is what is open.
        let over = request.end_ns.is_some() && request.outcome == RequestOutcome::Ok;
        let end = request.end_ns.unwrap_or(case.wall.1);
        !over
            && request.first_byte_ns.is_none_or(|first| end.saturating_sub(first) >= at::SILENT_NS)
            && end.saturating_sub(request.start_ns) >= at::SILENT_NS
    };
    let silent: Vec<&Request> = requests.iter().filter(waits).copied().collect();
    let since = silent.iter().map(|request| request.first_byte_ns.unwrap_or(request.start_ns)).max()?;
    // The latest thing that did come.
    let came = requests.iter().flat_map(|request| {
        [request.first_byte_ns, request.end_ns.filter(|_| request.outcome == RequestOutcome::Ok)]
    });
    let came = came.chain([connection.received_ns]);
    let since =
        came.flatten().max().unwrap_or(since).max(silent.iter().map(|request| request.start_ns).min()?);
    let until = silent.iter().map(|request| request.end_ns.unwrap_or(case.wall.1)).max()?;
    if until.saturating_sub(since) < at::SILENT_NS {
        return None;
    }
    let again = lost.iter().filter(|lost| (since..=until).contains(lost)).count();
    let dead = again >= at::DEAD_RETRANSMISSIONS || connection.outcome == ConnectionOutcome::TimedOut;
    let host = case.host(connection);
    let waiting = count(silent.len() as u64, "request");
    let took = duration(until - since);
    let phase = phase_of(&silent);
    let http1 = silent.iter().all(|request| request.protocol == Protocol::Http1);
    let over = if http1 { " over HTTP/1.1" } else { "" };
    let mut finding = if dead {
        let summary = format!(
            "the path to {host} is dead: {waiting} unanswered for {took}, and nothing is acknowledged"
        );
        finding(case, StallKind::PathDead, connection, phase, (since, until), summary)
    } else {
        let summary =
            format!("{host} fell silent{over}: {waiting} without a byte for {took}, the connection is alive");
        finding(case, StallKind::H2Silent, connection, phase, (since, until), summary)
    };
    finding.evidence = vec![Evidence::ConnectionSilent {
        connection: connection.id,
        local: connection.local.clone(),
        remote: connection.remote.clone(),
        retransmits: again as u64,
        rtt_ns: connection.rtt_ns,
        received_bytes: connection.bytes_received,
    }];
    finding.evidence.extend(silent.iter().take(4).map(|request| seen(request)));
    finding.remedies = ways::around(case, &host);
    finding.fatal = true;
    finding.explains = silent.iter().map(|request| request.id).collect();
    Some(finding)
}

/// Segments were lost, and several streams waited behind them.
fn blocked(case: &Case<'_>, connection: &Connection, lost: &[SinceStart]) -> Option<Finding> {
    let out_of_order = connection.received_out_of_order.unwrap_or(0);
    // What had arrived and was retransmitted, by a sender that became impatient, held up nobody.
    let spurious = connection.spurious_retransmits.unwrap_or(0) as usize;
    let lost = if spurious >= lost.len() { &[] } else { lost };
    if connection.alpn.as_deref() != Some("h2") || lost.is_empty() && out_of_order < at::REORDERED {
        return None;
    }
    let requests = requests_of(case, connection);
    let open = |at_ns: SinceStart| {
        requests.iter().filter(|r| r.start_ns <= at_ns && r.end_ns.is_none_or(|end| end > at_ns)).count()
    };
    let most = lost.iter().map(|at_ns| open(*at_ns)).max();
    // What the peer retransmitted has no moment of its own.
    let most =
        most.unwrap_or_else(|| requests.iter().map(|request| open(request.start_ns)).max().unwrap_or(0));
    if most < at::LOSS_STREAMS {
        return None;
    }
    let holds = at::LOSS_HOLDS_NS.max(2 * connection.rtt_ns.unwrap_or(0));
    // The segment was lost before it was retransmitted.
    let mut spans: Vec<Span> = Vec::new();
    for at_ns in lost {
        let span = (at_ns.earlier_by(holds), *at_ns);
        if let Some(last) = spans.last_mut().filter(|last| last.1 >= span.0) {
            last.1 = span.1;
        } else if spans.len() < SPANS_MAX {
            spans.push(span);
        }
    }
    let span = hull(spans.iter().copied())
        .or_else(|| hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))))?;
    let summary = format!(
        "segments were lost on the one connection to {}: up to {} waited behind them",
        case.host(connection),
        count(most as u64, "stream")
    );
    let mut finding =
        finding(case, StallKind::H2LossBlocksAll, connection, phase_of(requests), span, summary);
    finding.cost_ns = cost_within(case, connection, &spans);
    finding.evidence = vec![Evidence::ConnectionLossy {
        connection: connection.id,
        remote: connection.remote.clone(),
        retransmits: lost.len() as u64,
        out_of_order,
        rtt_ns: connection.rtt_ns,
    }];
    finding.remedies = vec![Offer::new("http1", "a connection a request: a loss holds up one")];
    Some(finding)
}

/// A window was closed: somebody does not read.
fn windows(case: &Case<'_>, connection: &Connection) -> Vec<Finding> {
    let marks = case.index.moments(connection.id).iter().filter_map(|(at_ns, moment)| match moment {
        Moment::Window(mark) => Some((*at_ns, mark)),
        _ => None,
    });
    let marks: Vec<(SinceStart, &WindowMark)> = marks.collect();
    let mut findings = Vec::new();
    for ours in [false, true] {
        let mut spans: Vec<Span> = Vec::new();
        let mut closed = None;
        let zeros: BTreeSet<SinceStart> =
            marks.iter().filter(|(_, mark)| mark.ours == ours && mark.zero).map(|(at, _)| *at).collect();
        for (at_ns, mark) in marks.iter().filter(|(_, mark)| mark.ours == ours) {
            let zero = zeros.contains(at_ns);
            match (zero, closed) {
                (true, None) => closed = Some(mark.since_ns.unwrap_or(*at_ns)),
                (false, Some(from)) => {
                    spans.push((from, *at_ns));
                    closed = None;
                }
                _ => {}
            }
        }
        spans.extend(closed.map(|from| (from, connection.end_ns.unwrap_or(case.wall.1))));
        let Some(span) = hull(spans.iter().copied()) else { continue };
        let total: Ns = spans.iter().map(|(from, to)| *to - *from).sum();
        if total < at::WINDOW_NS {
            continue;
        }
        let host = case.host(connection);
        let side = if ours {
            format!("it is this machine that reads too slowly what {host} sends: its")
        } else {
            format!("{host} does not read what it is sent: its")
        };
        let summary = format!("{side} receive window was closed for {}", duration(total));
        let requests = requests_of(case, connection);
        let mut finding = finding(case, StallKind::ZeroWindow, connection, phase_of(requests), span, summary);
        finding.about |= u64::from(ours);
        finding.advice =
            ours.then_some("give GOMODCACHE a faster disk, or this machine less to do beside it");
        finding.explains = requests.iter().filter(|r| held_up(case, r, &spans)).map(|r| r.id).collect();
        finding.cost_ns = cost_within(case, connection, &spans[..spans.len().min(SPANS_MAX)]);
        finding.evidence = vec![Evidence::WindowClosed {
            connection: connection.id,
            remote: connection.remote.clone(),
            ours,
            times: spans.len() as u64,
            longest_ns: spans.iter().map(|(from, to)| *to - *from).max().unwrap_or_default(),
        }];
        findings.push(finding);
    }
    findings
}

/// Most of what the request took, or of the wait for its head, lies within the spans.
fn held_up(case: &Case<'_>, request: &Request, spans: &[Span]) -> bool {
    let (start, end) = (request.start_ns, request.end_ns.unwrap_or(case.wall.1));
    [end, request.first_byte_ns.unwrap_or(end)].into_iter().any(|end| {
        let within = |(from, to): &Span| (*to).min(end).saturating_sub((*from).max(start));
        2 * spans.iter().map(within).sum::<Ns>() > end.saturating_sub(start)
    })
}

/// Connections that the peer ended with GOAWAY, by host.
fn goaways(case: &Case<'_>) -> Vec<Finding> {
    let hosts = hosts::connections(case, |connection| connection.goaway.is_some());
    hosts.into_iter().map(|(host, connections)| goaway(case, &host, &connections)).collect()
}

fn goaway(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let requests: Vec<&Request> = connections.iter().flat_map(|c| requests_of(case, c)).copied().collect();
    let unanswered = |r: &&Request| r.outcome == RequestOutcome::Error && r.status.is_none();
    let failed: Vec<&Request> = requests.iter().copied().filter(unanswered).collect();
    let end = |connection: &Connection| connection.end_ns.unwrap_or(case.wall.1);
    let codes: BTreeSet<&str> = connections.iter().filter_map(|c| c.goaway.as_deref()).collect();
    let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
    let ended = match connections.len() {
        1 => "the connection".to_owned(),
        many => count(many as u64, "connection"),
    };
    // In order, nothing was open and nobody noticed.
    let summary = format!(
        "{host} ended {ended} with GOAWAY ({codes}): {} had to be retried",
        count(failed.len() as u64, "request")
    );
    let ends = hull(connections.iter().map(|connection| (end(connection), end(connection))));
    let span = hull(failed.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))));
    let span = span.or(ends).unwrap_or(case.wall);
    let mut finding = finding(case, StallKind::H2Goaway, connections[0], phase_of(&requests), span, summary);
    finding.cost_ns = case.cost_of_requests(failed.iter().copied(), None);
    let evidence = connections.iter().take(6).map(|connection| Evidence::Goaway {
        connection: connection.id,
        remote: connection.remote.clone(),
        code: connection.goaway.clone().unwrap_or_default(),
        requests: connection.requests,
    });
    finding.evidence = evidence.collect();
    finding.evidence.extend(failed.iter().take(4).map(|request| seen(request)));
    finding.info = failed.is_empty();
    if !finding.info {
        finding.remedies = ways::repeat_or_around(case, host);
    }
    finding
}

/// A small limit of streams made the command dial more connections.
fn limits(case: &Case<'_>) -> Vec<Finding> {
    let hosts = hosts::connections(case, |c| c.stream_limit.is_some_and(|limit| limit < at::STREAM_LIMIT));
    let mut findings = Vec::new();
    for (host, connections) in hosts {
        let used = connections.iter().filter(|c| c.requests > 0).count();
        let limit = connections.iter().filter_map(|c| c.stream_limit).min().unwrap_or_default();
        if used < 2 {
            continue; // the limit was never reached
        }
        let summary = format!(
            "{host} allows {} at once on a connection: go opened {used}",
            count(u64::from(limit), "stream")
        );
        let span = hull(connections.iter().map(|c| (c.start_ns, c.start_ns + c.connect_ns.unwrap_or(0))))
            .unwrap_or(case.wall);
        let mut finding =
            finding(case, StallKind::H2StreamLimit, connections[0], Phase::Proxy, span, summary);
        // What the limit costs is the handshakes of the further connections.
        let others = ids(connections.iter().skip(1).map(|c| c.id));
        let further = |c: &Connection| c.requests > 0 && others.contains(&c.id);
        finding.cost_ns = case.cost_of_handshakes(false, further) + case.cost_of_handshakes(true, further);
        finding.evidence = connections
            .iter()
            .take(4)
            .map(|c| Evidence::StreamLimit {
                connection: c.id,
                local: c.local.clone(),
                limit,
                requests: c.requests,
            })
            .collect();
        // With HTTP/1.1 go dials as many as there are requests at once, and keeps two.
        if connections.len() > most_open(case, &host) {
            finding.remedies.push(Offer::new("http1", "a connection a request, kept for the next one"));
        }
        findings.push(finding);
    }
    findings
}

/// Requests to that host at once, at the most.
fn most_open(case: &Case<'_>, host: &str) -> usize {
    let of_host = |request: &&Request| request.authority.as_deref() == Some(host);
    most_at_once(&case.requests().filter(of_host).collect::<Vec<_>>(), case.wall.1)
}

fn resets(case: &Case<'_>) -> Vec<Finding> {
    let mut hosts: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    // What was cut off in its body is another finding's.
    let reset = |request: &&Request| {
        request.protocol == Protocol::H2 && request.outcome == RequestOutcome::Reset && !is_cut(request)
    };
    // When each path was asked for last.
    let mut last: HashMap<&str, SinceStart> = HashMap::new();
    for request in case.requests() {
        let last = last.entry(request.path.as_deref().unwrap_or_default()).or_default();
        *last = request.start_ns.max(*last);
    }
    for request in case.requests().filter(reset) {
        hosts.entry(request.authority.as_deref().unwrap_or("an unknown host")).or_default().push(request);
    }
    let one = |(host, requests): (&str, Vec<&Request>)| {
        let code =
            requests.iter().find_map(|request| request.reset_code.as_deref()).unwrap_or("code unknown");
        let again = requests.iter().filter(|request| {
            last.get(request.path.as_deref().unwrap_or_default()).is_some_and(|last| *last > request.start_ns)
        });
        let again = again.count();
        let all = again == requests.len();
        let asked = match again {
            0 => "not retried".to_owned(),
            _ if all => "retried".to_owned(),
            some => format!("{some} of them retried"),
        };
        Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost_of_requests(requests.iter().copied(), None),
            summary: format!("{host} reset {} ({code}), {asked}", count(requests.len() as u64, "stream")),
            evidence: requests.iter().take(5).map(|request| seen(request)).collect(),
            remedies: if all { Vec::new() } else { ways::repeat_or_around(case, host) },
            advice: all.then_some("nothing, unless it happens often: go retried by itself"),
            fatal: !all,
            ..Finding::of(
                StallKind::H2StreamReset,
                phase_of(&requests),
                hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))))
                    .unwrap_or(case.wall),
            )
        }
    };
    hosts.into_iter().map(one).collect()
}
