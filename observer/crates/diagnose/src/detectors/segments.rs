//! Answers that wait for this machine's delayed acknowledgement. A sender with Nagle's algorithm on keeps
//! the second of two small segments back until the first is acknowledged, and the kernel here acknowledges
//! one small segment after 40 ms: answers come at once, or in steps of 40 ms, and never in between.

use std::collections::BTreeMap;
use std::ops::Range;

use model::evidence::Evidence;
use model::human::{count, duration, duration_or_unknown};
use model::id::{ConnectionId, RequestId};
use model::operations::Subject;
use model::record::{Phase, Request};
use model::stall::StallKind;
use model::time::Ns;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::requests::{head, seen};
use crate::thresholds as at;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut hosts: BTreeMap<String, Vec<&Request>> = BTreeMap::new();
    for (connection, requests) in delayed(case) {
        let Some(connection) = case.command.connections.get(&connection) else { continue };
        hosts.entry(case.remote_host(connection)).or_default().extend(requests);
    }
    found.extend(hosts.into_iter().map(|(host, requests)| of_host(case, host, &requests)));
}

/// Requests that waited for whole steps, by connection.
fn delayed<'a>(case: &Case<'a>) -> BTreeMap<ConnectionId, Vec<&'a Request>> {
    let of = |connection: &model::record::Connection| {
        let requests = case.index.requests(connection.id);
        let took = |request: &Request| Some(request.first_byte_ns?.saturating_sub(request.start_ns));
        let rtt = connection.rtt_ns.unwrap_or(0);
        if rtt >= at::ACK_DELAY_NS / 2 {
            return None; // the way itself takes as long as what is looked for
        }
        let mut steps = Vec::new();
        let (mut at_once, mut before, mut sharp, mut others) = (0, 0, 0, 0);
        for request in requests {
            let Some(took) = took(request) else { continue };
            before += usize::from(BEFORE.contains(&took));
            sharp += usize::from(SHARP.contains(&took));
            if took <= at::ACK_DELAY_NS / 4 {
                at_once += 1;
            } else if is_step(took) {
                steps.push(*request);
            } else {
                others += 1;
            }
        }
        let many = steps.len() >= at::ACK_DELAYED && steps.len() * 5 >= requests.len();
        // A server that takes its time takes it always, or any amount of it.
        let apart = others * 3 <= steps.len() && at_once >= at::ACK_DELAYED && both(requests, &steps);
        // The kernel's timer is never early. What makes answers late, here or there, comes on top.
        let timed = sharp * 4 >= steps.len() && before * 3 <= sharp;
        (many && apart && timed).then_some((connection.id, steps))
    };
    case.connections().filter_map(of).collect()
}

/// Some class of request was answered at once and after a step.
fn both(requests: &[&Request], steps: &[&Request]) -> bool {
    let delayed = |class| steps.iter().filter(|step| step.class == class).count();
    steps.iter().any(|step| requests.iter().filter(|r| r.class == step.class).count() > delayed(step.class))
}

/// Just before the first step, where nothing is that waits for the timer.
const BEFORE: Range<Ns> = at::ACK_DELAY_NS * 3 / 4..SHARP.start;
/// Just after it, with a tick of the kernel's clock; clocks are read within a millisecond.
const SHARP: Range<Ns> = at::ACK_DELAY_NS - at::ACK_DELAY_NS / 40..at::ACK_DELAY_NS * 6 / 5;

/// One to five times the delay, and what this machine, the sender and the server themselves take: on busy ones
/// half a step.
fn is_step(took: Ns) -> bool {
    (1..=5).any(|n| {
        let step = n * at::ACK_DELAY_NS;
        (step - at::ACK_DELAY_NS / 10..=step + at::ACK_DELAY_NS * 5 / 8).contains(&took)
    })
}

/// Whether the time of any request is explained so.
pub(super) fn any(case: &Case<'_>) -> bool {
    !delayed(case).is_empty()
}

fn phase_of_time(case: &Case<'_>, requests: &[&Request]) -> Phase {
    let took = |phase: Phase| -> Ns {
        let of = requests.iter().filter(|request| request.class.phase() == phase);
        of.map(|request| head(case, request).saturating_sub(request.start_ns)).sum()
    };
    let phases = [Phase::Vcs, Phase::Toolchain, Phase::Sumdb, Phase::Proxy];
    phases.into_iter().max_by_key(|phase| took(*phase)).unwrap_or(Phase::Proxy)
}

fn of_host(case: &Case<'_>, host: String, requests: &[&Request]) -> Finding {
    let ids: Vec<RequestId> = requests.iter().map(|request| request.id).collect();
    let cost_ns = case.cost(|op| match op.subject {
        Subject::Request(request) if ids.contains(&request.id) => {
            Some((request.start_ns, head(case, request)))
        }
        _ => None,
    });
    let on = |request: &Request| case.command.connections.get(&request.connection?);
    let connections = requests.iter().filter_map(|request| on(request));
    let rtt_ns = connections.filter_map(|connection| connection.rtt_ns).min();
    let all = case
        .requests()
        .filter(|one| on(one).is_some_and(|connection| case.remote_host(connection) == host))
        .count();
    let through = case.is_forward_proxy(&host);
    let how = if through { "through" } else { "of" };
    let mut evidence = vec![Evidence::AnswersInSteps {
        host: host.clone(),
        answers: all as u64,
        delayed: requests.len() as u64,
        step_ns: at::ACK_DELAY_NS,
        rtt_ns,
    }];
    evidence.extend(requests.iter().take(4).map(|request| seen(request)));
    Finding {
        cost_ns,
        summary: format!(
            "{} of {} {how} {host} came in steps of {} at an RTT of {}: it keeps the second of two small \
             segments back until this machine acknowledges the first",
            requests.len(),
            count(all as u64, "answer"),
            duration(at::ACK_DELAY_NS),
            duration_or_unknown(rtt_ns),
        ),
        evidence,
        advice: through.then_some(
            "have TCP_NODELAY set in that forward proxy, or go past it: NO_PROXY with the module proxy's host",
        ),
        explains: ids,
        host: Some(host),
        ..Finding::of(
            StallKind::SmallSegmentsDelayed,
            // The phase of most of that time.
            phase_of_time(case, requests),
            hull(requests.iter().map(|request| (request.start_ns, head(case, request)))).unwrap_or(case.wall),
        )
    }
}
