//! What the gate says, for everyone who reads it: people at a terminal, a pull request's page
//! (Markdown), a CI's test tab (`JUnit`), GitHub's annotations, programs (JSON).

pub mod annotations;
pub mod junit;
pub mod markdown;
pub mod plan;
mod table;
pub mod text;

use model::human::count;
use model::record::Phase;
use stats::gate::Outcome;
use stats::gate::baseline::Finding;
use stats::gate::exact::Way;
use stats::gate::modules::ModuleChange;
use stats::gate::outcome::{Reason, Tier};
use stats::gate::roles::RoleChange;
use stats::gate::verdict::Verdict;

/// Modules that are named in a line.
const MODULES: usize = 20;

/// The tiers with their verdicts; `None`: not judged.
fn tiers(outcome: &Outcome) -> [(Tier, Option<Verdict>); 3] {
    [
        (Tier::Exact, outcome.exact.as_ref().and_then(|exact| exact.verdict)),
        (Tier::Bounded, outcome.bounded.as_ref().and_then(|bounded| bounded.verdict)),
        (Tier::Time, outcome.time.as_ref().and_then(table::judged)),
    ]
}

/// A reason with where it is: `proxy at proxy.test: …`.
fn placed(reason: &Reason) -> String {
    let host = reason.host.as_deref();
    if reason.tier == Tier::Time {
        // Its text names both, and whether they are shown to be the cause.
        return reason.text.clone();
    }
    match (reason.phase.map(Phase::name), host) {
        (None, None) => reason.text.clone(),
        (Some(phase), None) => format!("{phase}: {}", reason.text),
        (None, Some(host)) => format!("{host}: {}", reason.text),
        (Some(phase), Some(host)) => format!("{phase} at {host}: {}", reason.text),
    }
}

/// A name of a private module that left, and in how many runs.
fn private_name(finding: &Finding) -> String {
    format!("{}, in {}", finding.summary, count(finding.runs.into(), "run"))
}

/// What is listed and not judged, a line each.
fn apart(outcome: &Outcome) -> Vec<String> {
    let Some(exact) = &outcome.exact else { return Vec::new() };
    let list = |what: &str, names: Vec<&str>| {
        let more = names.len().saturating_sub(MODULES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown = names.iter().take(MODULES).copied().collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("{what}: {shown}{more}"))
    };
    let names = |modules: &Vec<String>| modules.clone();
    let changed: Vec<String> = exact.modules_changed.iter().map(ModuleChange::text).collect();
    let all = [
        ("added", names(&exact.modules_added)),
        ("reached through others", names(&exact.modules_reached)),
        ("changed", changed),
        ("removed", names(&exact.modules_removed)),
    ];
    let mut lines: Vec<String> = all
        .iter()
        .filter_map(|(what, names)| list(what, names.iter().map(String::as_str).collect()))
        .collect();
    if exact.checksums_missing > 0 {
        let number = count(exact.checksums_missing, "checksum");
        lines
            .push(format!("go.sum does not have {number} of them; `go mod download` writes what is missing"));
    }
    lines.extend(exact.ways.iter().map(Way::text));
    let of = |change: &RoleChange| {
        format!("{}: {} stands for {}", change.role.name(), change.after.join(", "), change.before.join(", "))
    };
    lines.extend(outcome.roles.iter().map(of));
    lines
}

#[cfg(test)]
pub(crate) mod tests;
