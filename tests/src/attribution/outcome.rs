//! What an experiment's pairs say.

use std::collections::BTreeMap;

use serde::Serialize;

use super::experiments::{Experiment, Group};
use crate::bench::verdict::Verdict;
use crate::stats::{Estimate, hodges_lehmann, mean_and_error, median};

/// Wall time and blocked time by phase, milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// From exec to exit
    pub wall: f64,
    /// In the report's order
    pub phases: Vec<(String, f64)>,
    /// `local` in its parts: on a CPU, waiting for one, waiting for the disk; when they are known
    pub local: Option<[f64; 3]>,
    /// CPU time of all its threads: more than `local` where several computed at once
    pub cpu: Option<f64>,
}

/// An experiment's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The experiment's name
    pub name: String,
    /// The phase that was slowed
    pub phase: &'static str,
    /// Its column
    pub group: Group,
    /// Medians of the wall times, milliseconds
    pub wall_ms: [f64; 2],
    /// Median loss of wall time, milliseconds
    pub loss_ms: f64,
    /// Standard error of the mean loss, share of it
    pub noise: f64,
    /// The phase's median gain over the median loss
    pub share: f64,
    /// The pairs' own shares: their shift has the interval
    pub shares: Estimate,
    /// The median gain of each phase, share of the wall time with the fault
    pub moves: BTreeMap<String, f64>,
    /// Without and with
    pub pairs: Vec<(Run, Run)>,
}

impl Run {
    fn blocked(&self, phase: &str) -> f64 {
        self.phases.iter().find(|(name, _)| name == phase).map_or(0.0, |(_, blocked)| *blocked)
    }
}

/// What a pair lost.
pub(super) fn loss((without, with): &(Run, Run)) -> f64 {
    with.wall - without.wall
}

/// What a phase gained in a pair.
pub(super) fn gain((without, with): &(Run, Run), phase: &str) -> f64 {
    with.blocked(phase) - without.blocked(phase)
}

/// What the parts of `local` and the CPU time gained in a pair; NaN when they are not known.
pub(super) fn local_gains((without, with): &(Run, Run)) -> [f64; 4] {
    let parts = |run: &Run| {
        let [cpu, runqueue, disk] = run.local.unwrap_or([f64::NAN; 3]);
        [cpu, runqueue, disk, run.cpu.unwrap_or(f64::NAN)]
    };
    let (without, with) = (parts(without), parts(with));
    std::array::from_fn(|index| with[index] - without[index])
}

impl Outcome {
    pub(super) fn of(experiment: &Experiment, pairs: Vec<(Run, Run)>) -> Self {
        Self::of_pairs(experiment.name(), experiment.fault.phase(), experiment.group(), pairs)
    }

    pub(super) fn of_pairs(name: String, phase: &'static str, group: Group, pairs: Vec<(Run, Run)>) -> Self {
        let over = |value: &dyn Fn(&(Run, Run)) -> f64| pairs.iter().map(value).collect::<Vec<f64>>();
        let losses = over(&loss);
        let (mean, error) = mean_and_error(&losses);
        let gained = |phase: &str| median(&over(&|pair| gain(pair, phase)));
        let wall_ms = [median(&over(&|pair| pair.0.wall)), median(&over(&|pair| pair.1.wall))];
        let phases = pairs.first().map_or(&[][..], |pair| &pair.1.phases);
        Self {
            name,
            phase,
            group,
            wall_ms,
            loss_ms: median(&losses),
            noise: (error / mean).abs(),
            share: gained(phase) / median(&losses),
            shares: hodges_lehmann(&over(&|pair| gain(pair, phase) / loss(pair))),
            moves: phases.iter().map(|(name, _)| (name.clone(), gained(name) / wall_ms[1])).collect(),
            pairs,
        }
    }

    /// The phase that was not slowed and moved most, and its move; `None` without phases.
    pub fn largest_move(&self) -> Option<(&str, f64)> {
        let others = self.moves.iter().filter(|(name, _)| *name != self.phase);
        others.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).map(|(name, share)| (name.as_str(), *share))
    }

    /// The promises: the share is 0.95 to 1.05 (0.97 to 1.03 of what stands before and beside the go
    /// command's own requests), the noise below 2 %, no other phase moves by 3 %
    /// of the wall time.
    pub fn verdicts(&self) -> [Verdict; 4] {
        let of = |what: &str| format!("{}: {what}", self.name);
        let moved = self.largest_move();
        let moved_by = moved.map_or(f64::NAN, |(_, share)| 100.0 * share.abs());
        let off = if ["tunnel", "auth", "cache", "child"].contains(&self.phase) { 0.03 } else { 0.05 };
        [
            Verdict::at_least(of("share"), self.share, 1.0 - off, ""),
            Verdict::at_most(of("share"), self.share, 1.0 + off, ""),
            Verdict::at_most(of("noise"), 100.0 * self.noise, 2.0, "%"),
            Verdict::at_most(of(moved.map_or("others", |(name, _)| name)), moved_by, 3.0, "%"),
        ]
    }

    /// Whether it keeps all promises.
    pub fn is_met(&self) -> bool {
        self.verdicts().iter().all(|verdict| verdict.met == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dns: f64, proxy: f64, local: f64) -> Run {
        let phases = [("dns", dns), ("proxy", proxy), ("local", local)];
        Run {
            wall: dns + proxy + local,
            phases: phases.map(|(name, ms)| (name.to_owned(), ms)).into(),
            local: None,
            cpu: None,
        }
    }

    fn outcome(with: Run) -> Outcome {
        Outcome::of_pairs("x".to_owned(), "dns", Group::Small, vec![(run(1.0, 20.0, 30.0), with); 6])
    }

    #[test]
    fn time_that_appears_where_it_was_lost_meets_the_bar() {
        let right = outcome(run(101.0, 20.0, 31.0));
        assert!((right.share - 100.0 / 101.0).abs() < 1e-9, "{}", right.share);
        assert_eq!(right.largest_move().map(|(name, _)| name), Some("local"));
        assert!(right.is_met(), "{right:?}");
    }

    #[test]
    fn time_that_appears_elsewhere_misses_it() {
        let wrong = outcome(run(81.0, 20.0, 50.0));
        assert!((wrong.share - 0.8).abs() < 1e-9, "{}", wrong.share);
        assert!(!wrong.is_met());
        // The others' moves count whichever way they go.
        let moved = outcome(run(111.0, 10.0, 30.0));
        let (name, share) = moved.largest_move().unwrap();
        assert_eq!((name, (share * 151.0).round().to_string()), ("proxy", "-10".to_owned()));
    }
}
