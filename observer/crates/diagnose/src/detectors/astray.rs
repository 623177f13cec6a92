//! Answers that lead nowhere: redirects in a circle, and web pages where go expects a module.

use std::collections::{BTreeMap, BTreeSet};

use model::human::count;
use model::id::Pid;
use model::record::{Class, Request};
use model::stall::StallKind;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::requests::{phase_of, seen};
use crate::{hosts, redirects, thresholds as at};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    circles(case, found);
    pages(case, found);
}

/// One process was sent to the same address again and again: go gives up after ten redirects in a row.
fn circles(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut sent: BTreeMap<(Pid, &str, &str), Vec<&Request>> = BTreeMap::new();
    let redirected = |request: &&Request| matches!(request.status, Some(300..400));
    for request in case.requests().filter(redirected) {
        if let (Some(host), Some(path)) = (&request.authority, &request.path) {
            sent.entry((request.pid, host, path)).or_default().push(request);
        }
    }
    let mut requests: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for ((_, host, _), repeated) in sent {
        if repeated.len() >= at::REDIRECTS_CIRCLE {
            requests.entry(host).or_default().extend(repeated);
        }
    }
    let Some(host) = requests.keys().next().copied() else { return };
    let names: Vec<&str> = requests.keys().copied().collect();
    let all: Vec<&Request> = requests.values().flatten().copied().collect();
    found.push(Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_requests(all.iter().copied(), None),
        summary: format!(
            "{} answered {} with redirects that lead in a circle: go gives up after 10 in a row",
            names.join(" and "),
            count(all.len() as u64, "request")
        ),
        evidence: all.iter().take(4).map(|request| seen(request)).collect(),
        fatal: true,
        explains: all.iter().map(|request| request.id).collect(),
        ..Finding::of(
            StallKind::RedirectLoop,
            phase_of(&all),
            hull(all.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    });
}

/// What a module proxy or checksum database serves is never a page. A repository's own is (go-get).
const fn is_no_page(class: Class) -> bool {
    !matches!(class, Class::GoGet | Class::Other)
}

/// The answer that led to a request of the same host, on the same connection.
fn before<'a>(case: &Case<'a>, request: &Request) -> Option<&'a Request> {
    let on = case.index.requests(request.connection?);
    let redirects = |one: &&&Request| {
        matches!(one.status, Some(300..400))
            && one
                .end_ns
                .is_some_and(|end| end <= request.start_ns && request.start_ns <= end + at::TOGETHER_NS)
    };
    on.iter().filter(redirects).max_by_key(|one| one.end_ns).copied()
}

/// Of a command that failed alone: a server may call anything a page, and go reads it all the same.
fn pages(case: &Case<'_>, found: &mut Vec<Finding>) {
    if !case.failed() {
        return;
    }
    let led: BTreeMap<_, _> = redirects::pairs(case).into_iter().map(|(from, to)| (to.id, from)).collect();
    // Behind a redirect it may be at an address that is no module's.
    let class = |request: &Request| {
        let from = led.get(&request.id).copied().or_else(|| before(case, request));
        from.map_or(request.class, |from| from.class)
    };
    let is_page =
        |request: &Request| request.page && request.status == Some(200) && is_no_page(class(request));
    for (host, requests) in hosts::requests(case, is_page) {
        let by: BTreeSet<&str> =
            requests.iter().filter_map(|request| led.get(&request.id)?.authority.as_deref()).collect();
        let by = match by.into_iter().next() {
            Some(other) => format!(", sent there by {other}"),
            None => String::new(),
        };
        let expected = class(requests[0]).phase();
        found.push(Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost_of_requests(requests.iter().copied(), None),
            summary: format!(
                "{host} answered {} with a web page (text/html) where go expects a module{by}",
                count(requests.len() as u64, "request")
            ),
            evidence: requests.iter().take(4).map(|request| seen(request)).collect(),
            fatal: true,
            explains: requests.iter().map(|request| request.id).collect(),
            ..Finding::of(
                StallKind::PageAnswered,
                expected,
                hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))))
                    .unwrap_or(case.wall),
            )
        });
    }
}
