//! What a gate costs and what it can find, before it is run. In: how long runs take and how far they lie apart. Out:
//! for each look its time, and the slowdown that is found then in four of five gates.
//!
//! A gate says *regressed* when its interval lies above the floor. The interval reaches z(α/2)·s/√(0.955·n) to each
//! side: s is the standard deviation of the differences, 0.955 the signed-rank test's efficiency against normal ones
//! (Lehmann, Nonparametrics, 1975). With z(0.2) more to go it lies there four times of five. Against a stored
//! baseline both are Student's, of recordings.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::{Design, Floors};
use crate::estimators;

/// How often a slowdown of the size that is named is found.
pub const POWER: f64 = 0.8;
/// The signed-rank test's efficiency where differences are normal: 3/π.
const EFFICIENCY: f64 = 3.0 / std::f64::consts::PI;

/// What is known before the first run.
#[derive(Clone, PartialEq, Debug)]
pub struct Basis {
    /// How both sides will belong together
    pub design: Design,
    /// Median of the wall times on the side that was, nanoseconds; of recordings, of their medians
    pub wall_ns: f64,
    /// How long a run takes with what is around it, nanoseconds
    pub run_ns: f64,
    /// Logarithms of ratios of pairs, or of the medians of the baseline's recordings
    pub logs: Vec<f64>,
    /// What does not matter
    pub floors: Floors,
    /// The error that is spent on both sides of an interval, over all looks
    pub alpha: f64,
}

/// One look.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Analysis {
    /// Runs of each side until then
    pub runs: usize,
    /// How long all of them take with those that warm up, nanoseconds
    pub took_ns: f64,
    /// The share by which the command has to be slower; `None`: too few runs or recordings to find anything
    pub detects: Option<f64>,
}

impl Basis {
    /// The looks, the last one at most.
    pub fn planned(&self, analyses: &[usize], arms: usize) -> Vec<Analysis> {
        let spending = estimators::spending(analyses, self.alpha);
        let one = |(runs, alpha): (&usize, f64)| Analysis {
            runs: *runs,
            took_ns: (runs + 1) as f64 * arms as f64 * self.run_ns,
            detects: self.smallest(*runs, alpha),
        };
        analyses.iter().zip(spending).map(one).collect()
    }

    /// Rounds, a run of each side, in a minute.
    pub fn rounds_a_minute(&self, arms: usize) -> f64 {
        60e9 / (self.run_ns * arms as f64).max(1.0)
    }

    /// How far apart pairs or recordings lie, as a share: the standard deviation. `None` with fewer than three.
    pub fn spread(&self) -> Option<f64> {
        let count = self.logs.len();
        let mean = self.logs.iter().sum::<f64>() / count.max(1) as f64;
        let squares: f64 = self.logs.iter().map(|log| (log - mean).powi(2)).sum();
        (count >= 3).then(|| (squares / (count - 1) as f64).sqrt())
    }

    /// The slowdown that is found with so many runs.
    fn smallest(&self, runs: usize, alpha: f64) -> Option<f64> {
        let beyond = match self.design {
            Design::Pairs => {
                estimators::signed_rank_cut(runs, alpha / 2.0)?;
                let z = |tail: f64| Normal::standard().inverse_cdf(1.0 - tail);
                (z(alpha / 2.0) + z(1.0 - POWER)) * self.spread()? / (EFFICIENCY * runs as f64).sqrt()
            }
            Design::Recordings => {
                let count = self.logs.len();
                if count < super::time::FEWEST_RECORDINGS {
                    return None;
                }
                let new = [self.logs.iter().sum::<f64>() / count as f64];
                let reach = |alpha: f64| estimators::reach(&self.logs, &new, alpha, count);
                reach(alpha)? + reach(2.0 * (1.0 - POWER))?
            }
        };
        let floor = self.floors.relative.max(self.floors.absolute_ns as f64 / self.wall_ns.max(1.0));
        Some((1.0 + floor) * beyond.exp() - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::verdict::{Hypothesis, Verdict, judge};
    use crate::sample::gate as sample;

    /// Normal noise, always the same: sums of twelve uniform numbers.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f64 {
            let mut uniform = || {
                self.0 =
                    self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (self.0 >> 11) as f64 / (1_u64 << 53) as f64
            };
            (0..12).map(|_| uniform()).sum::<f64>() - 6.0
        }
    }

    #[test]
    fn a_slowdown_of_the_named_size_is_found_in_about_four_of_five_gates() {
        let (spread, runs) = (0.04, 20);
        let mut noise = Noise(7);
        let logs = (0..200).map(|_| spread * noise.next()).collect();
        let floors = Floors::PAIRS;
        let design = Design::Pairs;
        let basis = Basis { design, wall_ns: 2e9, run_ns: 2e9, logs, floors, alpha: 0.05 };
        let look = basis.planned(&[runs], 2)[0];
        assert!((look.took_ns - 84e9).abs() < 1.0, "{look:?}");
        let slower = look.detects.unwrap();
        let mut found = 0;
        for _ in 0..200 {
            let (mut before, mut after) = (sample::baseline(1, runs), sample::baseline(1, runs));
            for (side, factor) in [(&mut before, 1.0), (&mut after, 1.0 + slower)] {
                // Of a pair's difference each side has its part.
                let part = spread / std::f64::consts::SQRT_2;
                for run in &mut side.recordings[0].runs {
                    run.wall_ns = (2e9 * factor * (part * noise.next()).exp()) as u64;
                }
            }
            let outcome = judge(&Hypothesis { before: &before, after: &after, design, floors, alpha: 0.05 });
            found += u32::from(outcome.time.unwrap().verdict == Some(Verdict::Regressed));
        }
        assert!((140..=180).contains(&found), "{found} of 200, slower by {slower}");
    }

    #[test]
    fn more_runs_find_less_and_too_few_find_nothing() {
        let basis = Basis {
            design: Design::Pairs,
            wall_ns: 1e9,
            run_ns: 1e9,
            logs: vec![0.02, -0.03, 0.01, 0.0, -0.01],
            floors: Floors::PAIRS,
            alpha: 0.05,
        };
        let looks = basis.planned(&[10, 20, 30], 2);
        let found: Vec<f64> = looks.iter().filter_map(|one| one.detects).collect();
        assert!(found.windows(2).all(|pair| pair[0] > pair[1]) && found.len() == 3, "{looks:?}");
        assert_eq!(basis.planned(&[5], 2)[0].detects, None);
        assert!((basis.rounds_a_minute(2) - 30.0).abs() < 1e-9);
        let stored = Basis { design: Design::Recordings, floors: Floors::RECORDINGS, ..basis.clone() };
        assert!(stored.planned(&[10], 1)[0].detects.unwrap() > 0.3);
        let few = Basis { logs: vec![0.0; 4], ..stored };
        assert_eq!(few.planned(&[10], 1)[0].detects, None);
    }
}
