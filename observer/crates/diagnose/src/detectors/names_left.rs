//! Names of private modules that were sent to a module proxy or checksum database outside.

use std::collections::BTreeSet;

use model::evidence::Evidence;
use model::human::count;
use model::record::Phase;
use model::stall::StallKind;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::left::{self, Left};
use crate::private;
use crate::thresholds as at;

/// Names that a sentence has.
const NAMES: usize = 3;
/// Names that are listed.
const FACTS: usize = 16;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    found.extend(left::names(case).iter().map(|left| finding(case, left)));
}

fn finding(case: &Case<'_>, left: &Left<'_>) -> Finding {
    let Left { host, database, names, modules, requests, why } = left;
    let shown: BTreeSet<&str> =
        if modules.is_empty() { names.keys().copied().collect() } else { modules.clone() };
    let mut list = shown.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
    if shown.len() > NAMES {
        list = format!("{list} and {} more", shown.len() - NAMES);
    }
    let whom = if *database { "checksum database" } else { "module proxy" };
    let refused = *database && requests.iter().any(|request| matches!(request.status, Some(404 | 410)));
    let offer = private::keep_in(case, &shown);
    let advice_here = offer
        .as_ref()
        .map(|offer| format!("set {}", offer.variables()))
        .filter(|advice| advice.len() <= at::ADVICE);
    Finding {
        host: Some((*host).to_owned()),
        cost_ns: case.cost_of_requests(requests.iter().copied(), None),
        summary: format!(
            "{} with the name of a private module left for the {whom}, {host} ({list}): {why}",
            count(requests.len() as u64, "request")
        ),
        evidence: names
            .iter()
            .take(FACTS)
            .map(|(module, requests)| Evidence::NameSent {
                host: (*host).to_owned(),
                database: *database,
                module: Some((*module).to_owned()),
                requests: *requests,
            })
            .collect(),
        remedies: offer.into_iter().collect(),
        advice_here,
        // go goes on without a proxy that has nothing, and not without the database.
        fatal: refused,
        matters: true,
        ..Finding::of(
            StallKind::PrivateNameLeft,
            if *database { Phase::Sumdb } else { Phase::Proxy },
            hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    }
}
