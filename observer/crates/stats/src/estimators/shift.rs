//! How far two sides lie apart. In: differences of pairs, two samples, or a figure a recording.
//! Out: an estimate, and the interval it lies in with the wanted confidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::{median, rank_sum_cut, signed_rank_cut};

/// How an interval was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Hodges-Lehmann, with the interval of the signed-rank test
    SignedRank,
    /// Hodges-Lehmann, with the interval of the rank-sum test
    RankSum,
    /// Student's t, from how far the baseline's recordings lie apart
    StudentT,
}

/// A shift and its interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shift {
    /// The estimate
    pub estimate: f64,
    /// Both ends; `None` with too few values
    pub interval: Option<(f64, f64)>,
    /// How it was found
    pub method: Method,
}

impl Shift {
    /// The same after an increasing function.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let interval = self.interval.map(|(low, high)| (f(low), f(high)));
        Self { estimate: f(self.estimate), interval, ..self }
    }
}

/// Of pairs: the median of the means of all pairs of differences, each with itself too.
/// `alpha` is missed on both sides together, at most. `None` without differences.
pub fn paired(differences: &[f64], alpha: f64) -> Option<Shift> {
    let mut means: Vec<f64> = differences
        .iter()
        .enumerate()
        .flat_map(|(index, a)| differences[index..].iter().map(move |b| f64::midpoint(*a, *b)))
        .collect();
    means.sort_by(f64::total_cmp);
    let cut = signed_rank_cut(differences.len(), alpha / 2.0);
    Some(Shift { estimate: median(&means)?, interval: ends(&means, cut), method: Method::SignedRank })
}

/// Of two samples: the median of all differences. `None` when either is empty.
pub fn unpaired(base: &[f64], new: &[f64], alpha: f64) -> Option<Shift> {
    let mut all: Vec<f64> = new.iter().flat_map(|new| base.iter().map(move |base| new - base)).collect();
    all.sort_by(f64::total_cmp);
    let cut = rank_sum_cut(base.len(), new.len(), alpha / 2.0);
    Some(Shift { estimate: median(&all)?, interval: ends(&all, cut), method: Method::RankSum })
}

/// Of figures that stand for a recording each. Ranks decide where both sides have enough of
/// them; else the new ones are compared with where another recording of the baseline would lie
/// (Student's prediction interval: recordings are taken as normal). `None` when either is empty.
pub fn between_recordings(base: &[f64], new: &[f64], alpha: f64) -> Option<Shift> {
    let ranks = unpaired(base, new, alpha)?;
    if ranks.interval.is_some() {
        return Some(ranks);
    }
    let (estimate, error, t) = student(base, new)?;
    let interval = t.map(|t| {
        let reach = t.inverse_cdf(1.0 - alpha / 2.0) * error;
        (estimate - reach, estimate + reach)
    });
    Some(Shift { estimate, interval, method: Method::StudentT })
}

/// The chance of recordings as far above `floor` as these when they lie at it; 1 with too few.
pub fn recordings_above(base: &[f64], new: &[f64], floor: f64) -> f64 {
    match student(base, new) {
        Some((estimate, 0.0, Some(_))) => f64::from(u8::from(estimate <= floor)),
        Some((estimate, error, Some(t))) => t.sf((estimate - floor) / error),
        _ => 1.0,
    }
}

/// How far an interval would reach to each side if the baseline had `count` recordings that lie
/// as far apart as these; `None` with too few to know.
pub fn reach(base: &[f64], new: &[f64], alpha: f64, count: usize) -> Option<f64> {
    let (_, error, t) = student(base, new)?;
    t?;
    let part = |base: usize| 1.0 / base.max(1) as f64 + 1.0 / new.len() as f64;
    let t = StudentsT::new(0.0, 1.0, (count + new.len()).checked_sub(2)? as f64).ok()?;
    Some(t.inverse_cdf(1.0 - alpha / 2.0) * error * (part(count) / part(base.len())).sqrt())
}

/// The difference of means, its standard error, and its distribution; `None` for that with too
/// few recordings to know how far they lie apart.
fn student(base: &[f64], new: &[f64]) -> Option<(f64, f64, Option<StudentsT>)> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    if base.is_empty() || new.is_empty() {
        return None;
    }
    let squares = |values: &[f64]| values.iter().map(|v| (v - mean(values)).powi(2)).sum::<f64>();
    let freedom = (base.len() + new.len() - 2) as f64;
    let variance = (squares(base) + squares(new)) / freedom.max(1.0);
    let error = (variance * (1.0 / base.len() as f64 + 1.0 / new.len() as f64)).sqrt();
    Some((mean(new) - mean(base), error, StudentsT::new(0.0, 1.0, freedom).ok()))
}

fn ends(sorted: &[f64], cut: Option<usize>) -> Option<(f64, f64)> {
    let cut = cut?;
    Some((*sorted.get(cut)?, *sorted.get(sorted.len().checked_sub(cut + 1)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_moves_a_shift_little() {
        let mut values: Vec<f64> = (1..=20).map(f64::from).collect();
        values[19] = 1e6;
        let shift = paired(&values, 0.05).unwrap();
        assert!((shift.estimate - 10.5).abs() < 1.0 && shift.interval.unwrap().1 < 20.0, "{shift:?}");
    }

    #[test]
    fn five_pairs_have_no_interval_of_95_percent() {
        assert_eq!(paired(&[1.0; 5], 0.05).unwrap().interval, None);
        assert_eq!(paired(&[1.0; 6], 0.05).unwrap().interval, Some((1.0, 1.0)));
        assert_eq!(paired(&[], 0.05), None);
    }

    #[test]
    fn a_single_new_recording_is_predicted_from_the_spread_of_the_old() {
        let shift = between_recordings(&[10.0, 11.0, 9.0, 10.5, 9.5], &[10.0], 0.05).unwrap();
        assert_eq!(shift.method, Method::StudentT);
        // s = 0.7906, t(4) = 2.7764, √(1 + 1/5) = 1.0954
        let (low, high) = shift.interval.unwrap();
        assert!((high - 2.4046).abs() < 1e-3 && (low + 2.4046).abs() < 1e-3, "{shift:?}");
        let many: Vec<f64> = (0..6).map(f64::from).collect();
        assert_eq!(between_recordings(&many, &many, 0.05).unwrap().method, Method::RankSum);
        assert_eq!(between_recordings(&[1.0], &[1.0], 0.05).unwrap().interval, None);
    }
}
