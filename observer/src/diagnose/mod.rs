//! A command's spans in, stalls out: what cost time, why, and what may help. Pure, the same live
//! and from a recording. One file a family; every threshold is in [`thresholds`].

mod case;
mod connect;
mod cost;
mod dns;
mod finding;
mod http2;
mod machine;
mod proxy;
mod sumdb;
mod thresholds;
mod tls;
mod vcs;

use case::Case;
use finding::Finding;

use crate::model::record::Ns;
use crate::model::report::Stall;
use crate::model::state::CommandState;

/// A family of detectors.
type Family = fn(&Case<'_>, &mut Vec<Finding>);

const FAMILIES: [Family; 8] =
    [dns::find, connect::find, tls::find, http2::find, proxy::find, sumdb::find, machine::find, vcs::find];

/// What slowed a command down, seen at `now`; the worst first, then the costliest.
pub fn stalls(command: &CommandState, now: Ns) -> Vec<Stall> {
    let Some(case) = Case::new(command, now) else { return Vec::new() };
    let mut findings = Vec::new();
    FAMILIES.iter().for_each(|find| find(&case, &mut findings));
    let mut stalls: Vec<Stall> = findings.into_iter().map(|finding| finding.stall(&case)).collect();
    stalls.sort_by(|a, b| {
        let rank = |stall: &Stall| (stall.severity, stall.cost_ns);
        rank(b).cmp(&rank(a)).then_with(|| (&a.kind, &a.host).cmp(&(&b.kind, &b.host)))
    });
    stalls
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
