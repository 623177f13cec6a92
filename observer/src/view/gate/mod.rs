//! What the gate says, for everyone who reads it: people at a terminal, a pull request's page
//! (Markdown), a CI's test tab (`JUnit`), GitHub's annotations, programs (JSON).

pub mod annotations;
pub mod junit;
pub mod markdown;
pub mod text;

use super::human::duration;
use crate::gate::Outcome;
use crate::gate::outcome::{Reason, Tier};
use crate::gate::time::{Part, Time};
use crate::gate::verdict::Verdict;
use crate::model::record::Phase;

/// Phases and hosts that are listed.
const PARTS: usize = 16;

/// The tiers with their verdicts.
fn tiers(outcome: &Outcome) -> [(Tier, Option<Verdict>); 3] {
    [
        (Tier::Exact, outcome.exact.as_ref().and_then(|exact| exact.verdict)),
        (Tier::Bounded, outcome.bounded.as_ref().and_then(|bounded| bounded.verdict)),
        (Tier::Time, outcome.time.as_ref().and_then(|time| time.verdict)),
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

/// The parts that took any time, the total first: name, before, after, change, note.
fn rows(time: &Time) -> Vec<[String; 5]> {
    let total = &time.total;
    let interval = match (total.low_ns, total.high_ns) {
        (Some(low), Some(high)) => format!("{} to {}", signed(low), signed(high)),
        _ => "no interval".to_owned(),
    };
    let mut rows = vec![[
        "total".to_owned(),
        duration(total.before_ns),
        duration(total.after_ns),
        signed(total.shift_ns),
        interval,
    ]];
    let mut parts: Vec<&Part> = time.parts.iter().collect();
    parts.sort_by_key(|part| (!part.named, part.host.is_some()));
    rows.extend(parts.into_iter().take(PARTS).map(|part| {
        let name = part.phase.map_or_else(|| part.host.clone().unwrap_or_default(), |p| p.name().to_owned());
        let note = if part.named { "grew" } else { "" };
        [name, duration(part.before_ns), duration(part.after_ns), signed(part.shift_ns), note.to_owned()]
    }));
    rows
}

/// `+1.20 s`, `-3.00 ms`, `0 ns`
fn signed(ns: i64) -> String {
    let sign = match ns {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", duration(ns.unsigned_abs()))
}

#[cfg(test)]
pub(crate) mod tests;
