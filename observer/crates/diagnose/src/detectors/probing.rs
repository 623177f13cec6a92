//! go looks for the module that an import path belongs to: it asks for every prefix of it, and most of
//! them are no modules.

use std::collections::BTreeSet;

use model::evidence::{Evidence, RequestSeen};
use model::human::count;
use model::record::{Class, Phase, Request};
use model::stall::StallKind;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::{hosts, thresholds as at};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let modules: BTreeSet<&str> = case.requests().filter_map(|request| request.module.as_deref()).collect();
    for (host, requests) in hosts::requests(case, |request| is_probe(request, &modules)) {
        let paths: BTreeSet<&str> = requests.iter().filter_map(|request| request.module.as_deref()).collect();
        // One path is asked for its version, its list and its newest: three requests are no pattern yet.
        if paths.len() < at::PROBES {
            continue;
        }
        found.push(Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost_of_requests(requests.iter().copied(), None),
            summary: format!(
                "{host} was asked {} for {} where there is no module: go tries every prefix of an import path",
                count(requests.len() as u64, "time"),
                count(paths.len() as u64, "path"),
            ),
            evidence: requests
                .iter()
                .take(6)
                .map(|request| Evidence::RequestRefused(RequestSeen::from(*request)))
                .collect(),
            ..Finding::of(
                StallKind::PathProbing,
                Phase::Proxy,
                hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))))
                    .unwrap_or(case.wall),
            )
        });
    }
}

/// Not there, and part of a path of which another part was asked for as well.
fn is_probe(request: &Request, modules: &BTreeSet<&str>) -> bool {
    let Some(module) = request.module.as_deref() else { return false };
    let asks = matches!(request.class, Class::List | Class::Latest | Class::Info | Class::Mod);
    let inside = |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'));
    let parent = || module.match_indices('/').any(|(at, _)| modules.contains(&module[..at]));
    // In order, what a path is a prefix of comes close behind it.
    let child = || {
        modules
            .range(module..)
            .skip(1)
            .take_while(|one| one.starts_with(module))
            .any(|one| inside(one, module))
    };
    asks && matches!(request.status, Some(404 | 410)) && (child() || parent())
}
