//! Trials as tests need them.

use model::remedy::Remedies;
use model::stall::StallKind;

use super::compare::{pairs, report, stall};
use crate::compare::CacheKind;
use crate::fix::choice::Candidate;
use crate::fix::{Fix, Running, SCHEMA, Trial, Verdict, observed};

const S: u64 = 1_000_000_000;

/// A trial that begins.
///
/// # Panics
/// When there is no such remedy.
pub fn running(name: &str, candidates: usize) -> Running {
    let remedy = name.parse().unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let candidate = Candidate {
        remedies: Remedies::new(vec![remedy]).unwrap_or_default(),
        against: vec![StallKind::ConcurrencyLimited.into()],
        promise_ns: 2 * S,
        attempt: format!("goobserve compare --with {name} -- go mod download"),
    };
    Running::new(candidate, candidates)
}

/// One of twelve pairs that are alike.
pub fn tried(name: &str, candidates: usize, before_ms: u64, after_ms: u64) -> Trial {
    let mut running = running(name, candidates);
    let all = [pairs(before_ms, after_ms, &[]), pairs(before_ms, after_ms, &[])].concat();
    for (index, pair) in all.into_iter().enumerate() {
        if !running.add(pair, 11 - index) {
            break;
        }
    }
    running.trial()
}

/// What was found out with that verdict, nothing tried.
pub fn fix(verdict: Verdict) -> Fix {
    let report = report(3000, vec![stall(StallKind::ConcurrencyLimited, 2 * S)]);
    Fix {
        schema: SCHEMA.to_owned(),
        tool: "goobserve 0.1.0".to_owned(),
        started_unix_ns: Some(1),
        machine: Some(report.machine.clone()),
        command: ["go", "mod", "download"].map(str::to_owned).to_vec(),
        cache: CacheKind::Cold,
        budget_ns: 180 * S,
        took_ns: 70 * S,
        observed: observed(&report),
        verdict,
        keep: None,
        rounds_wanted: 9,
        rounds: 9,
        trials: Vec::new(),
        untried: Vec::new(),
        failures: Vec::new(),
        events_lost: 0,
    }
}
