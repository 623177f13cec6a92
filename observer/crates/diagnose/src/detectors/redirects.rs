//! Requests that one host answers with the address of another, and what that other host then took.

use std::collections::BTreeMap;

use model::evidence::Evidence;
use model::human::{count, duration};
use model::record::Request;
use model::stall::StallKind;
use model::time::Ns;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::redirects;
use crate::requests::{phase_of, seen};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut hosts: BTreeMap<(&str, &str), Vec<(&Request, &Request)>> = BTreeMap::new();
    for (from, to) in redirects::pairs(case) {
        if let (Some(a), Some(b)) = (&from.authority, &to.authority) {
            hosts.entry((a, b)).or_default().push((from, to));
        }
    }
    for ((from, to), pairs) in hosts {
        let end = |request: &Request| request.end_ns.unwrap_or(case.wall.1);
        let took = |request: &Request| end(request).saturating_sub(request.start_ns);
        let targets: Vec<&Request> = pairs.iter().map(|(_, target)| *target).collect();
        let longest: Ns = targets.iter().map(|target| took(target)).max().unwrap_or_default();
        let evidence = pairs.iter().take(4).map(|(redirect, target)| Evidence::Redirected {
            request: redirect.id,
            host: from.to_owned(),
            status: redirect.status,
            target: to.to_owned(),
            target_request: target.id,
            took_ns: took(target),
        });
        let mut evidence: Vec<Evidence> = evidence.collect();
        evidence.extend(targets.iter().take(2).map(|target| seen(target)));
        let both = pairs.iter().flat_map(|(a, b)| [*a, *b]);
        found.push(Finding {
            host: Some(to.to_owned()),
            cost_ns: case.cost_of_requests(both, None),
            summary: format!(
                "{from} answered {} with the address of {to}, which took up to {} for each",
                count(pairs.len() as u64, "request"),
                duration(longest)
            ),
            evidence,
            ..Finding::of(
                StallKind::Redirect,
                phase_of(&targets),
                hull(pairs.iter().map(|(a, b)| (a.start_ns, end(b)))).unwrap_or(case.wall),
            )
        });
    }
}
