//! How many remedies are tried, and how often, within a budget. In: what a run takes and the time there is. Out:
//! a design; and, while runs are made, whether a remedy can still be shown to help.

use std::time::Duration;

use super::ALPHA;
use crate::estimators::{paired, signed_rank_cut};

/// Remedies tried at most: each more takes the others' runs, and widens their intervals.
const CANDIDATES_MAX: usize = 4;
/// Rounds more than the fewest, where there is time: one run that goes wrong then spoils nothing.
const SPARE: usize = 2;
/// The logarithm of a ratio that no run exceeds.
const FAR: f64 = 20.0;

/// An experiment that fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Design {
    /// Remedies, the most promising ones
    pub candidates: usize,
    /// Runs of each, and of the command as it is
    pub rounds: usize,
}

/// Each remedy's share of the error: with it, the intervals of all hold together (Bonferroni).
pub fn share(candidates: usize) -> f64 {
    ALPHA / candidates.max(1) as f64
}

/// The fewest pairs that give intervals which hold for so many remedies together.
pub fn fewest(candidates: usize) -> usize {
    let tail = share(candidates) / 2.0;
    (1..64).find(|pairs| signed_rank_cut(*pairs, tail).is_some()).unwrap_or(64)
}

/// The design; none when not even one remedy can be tried in that time. `run`: what one run takes with all around
/// it. `rounds`: as many as the user wants.
pub fn design(candidates: usize, run: Duration, left: Duration, rounds: Option<usize>) -> Option<Design> {
    (1..=candidates.min(CANDIDATES_MAX)).rev().find_map(|candidates| {
        let least = fewest(candidates);
        let wanted = rounds.unwrap_or(least + SPARE);
        let affordable = left.as_nanos() / (run.as_nanos().max(1) * (candidates as u128 + 1));
        let rounds = wanted.min(usize::try_from(affordable).unwrap_or(usize::MAX));
        (rounds >= least).then_some(Design { candidates, rounds })
    })
}

/// Whether pairs to come could still show that a remedy helps. `logs`: of the ratios that there are.
pub fn is_open(logs: &[f64], to_come: usize, alpha: f64) -> bool {
    let best: Vec<f64> = logs.iter().copied().chain(std::iter::repeat_n(FAR, to_come)).collect();
    let shift = paired(&best, alpha).and_then(|shift| shift.interval);
    shift.is_some_and(|(low, _)| low > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn more_remedies_take_more_pairs_for_the_same_certainty() {
        assert_eq!([1, 2, 3, 4].map(fewest), [6, 7, 7, 8]);
    }

    #[test]
    fn as_many_remedies_are_tried_as_the_time_allows() {
        let of = |candidates, run, left| design(candidates, S(run), S(left), None);
        // Three ways in nine rounds of 5 s each: 135 s.
        assert_eq!(of(2, 5, 180), Some(Design { candidates: 2, rounds: 9 }));
        // There is time for seven rounds, the fewest.
        assert_eq!(of(2, 5, 105), Some(Design { candidates: 2, rounds: 7 }));
        // For one remedy alone.
        assert_eq!(of(2, 5, 100), Some(Design { candidates: 1, rounds: 8 }));
        assert_eq!(of(2, 5, 59), None);
        assert_eq!(of(9, 1, 1000).map(|design| design.candidates), Some(CANDIDATES_MAX));
        assert_eq!(of(0, 1, 1000), None);
    }

    #[test]
    fn rounds_that_are_asked_for_are_made_and_take_as_few_remedies_as_they_can_show() {
        assert_eq!(design(1, S(1), S(600), Some(20)), Some(Design { candidates: 1, rounds: 20 }));
        assert_eq!(design(3, S(1), S(600), Some(6)), Some(Design { candidates: 1, rounds: 6 }));
        assert_eq!(design(1, S(10), S(180), Some(20)), Some(Design { candidates: 1, rounds: 9 }));
    }

    #[test]
    fn one_bad_pair_of_the_fewest_ends_it_and_of_more_it_does_not() {
        assert!(is_open(&[], 6, 0.05) && is_open(&[0.5; 3], 3, 0.05));
        assert!(!is_open(&[-0.1], 5, 0.05) && !is_open(&[0.5; 5], 0, 0.05));
        assert!(is_open(&[-0.1], 7, 0.05) && !is_open(&[-0.1; 3], 5, 0.05));
    }
}
