//! The few statistics the benchmarks print.

use serde::Serialize;

/// The value below which a share `q` (0 to 1) of the sorted values lies, nearest rank; NaN
/// without values.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The middle value; the mean of the two middle ones; NaN without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Mean and its standard error; NaN with fewer than two values.
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// A shift and where it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Median of the values themselves
    pub median: f64,
    /// Hodges-Lehmann: median of the means of all pairs of values, each with itself included
    pub shift: f64,
    /// Lower end of the interval; `None` with fewer than six values
    pub low: Option<f64>,
    /// Upper end
    pub high: Option<f64>,
}

impl Estimate {
    /// The same after an increasing function, such as the exponential of a logarithm.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { median: f(self.median), shift: f(self.shift), low: self.low.map(&f), high: self.high.map(&f) }
    }
}

/// Hodges-Lehmann estimate with the exact interval of Wilcoxon's signed-rank test, at least 95 %:
/// nothing is assumed but that the values are independent and lie symmetrically.
pub fn hodges_lehmann(values: &[f64]) -> Estimate {
    let mut means: Vec<f64> = values
        .iter()
        .enumerate()
        .flat_map(|(i, a)| values[i..].iter().map(move |b| f64::midpoint(*a, *b)))
        .collect();
    means.sort_by(f64::total_cmp);
    let cut = signed_rank_cut(values.len());
    let at = |index: Option<usize>| index.and_then(|index| means.get(index)).copied();
    Estimate {
        median: median(values),
        shift: median(&means),
        low: at(cut),
        high: at(cut.and_then(|cut| means.len().checked_sub(cut + 1))),
    }
}

/// How many of the sorted means lie outside the interval at each end: the largest k for which
/// the rank sum of n values is below k with a chance of at most 2.5 %.
fn signed_rank_cut(n: usize) -> Option<usize> {
    let top = n * (n + 1) / 2;
    // Chances of the sums of a random subset of the ranks 1 to n.
    let mut chances = vec![0.0; top + 1];
    chances[0] = 1.0;
    for rank in 1..=n {
        for sum in (0..=top).rev() {
            let without = chances[sum];
            let with = if sum >= rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = f64::midpoint(without, with);
        }
    }
    let mut below = 0.0;
    let count = chances.iter().take_while(|chance| {
        below += **chance;
        below <= 0.025
    });
    count.count().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        let at = |q| quantile(&sorted, q).to_string();
        assert_eq!([at(0.0), at(0.5), at(0.95), at(1.0)], ["1", "50", "95", "100"]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0]).to_string(), "3");
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]).to_string(), "2.5");
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_standard_error_shrinks_with_the_root_of_the_number() {
        let (mean, error) = mean_and_error(&[1.0, 3.0]);
        assert_eq!((mean.to_string(), error.to_string()), ("2".to_owned(), "1".to_owned()));
    }

    #[test]
    fn the_interval_is_that_of_the_tables_of_wilcoxons_test() {
        // Critical values for two-sided 5 %: n = 6: 0, 10: 8, 20: 52, 30: 137.
        let cuts = [5, 6, 10, 20, 30].map(signed_rank_cut);
        assert_eq!(cuts, [None, Some(0), Some(8), Some(52), Some(137)]);
    }

    #[test]
    fn an_outlier_moves_neither_shift_nor_interval_far() {
        let mut values: Vec<f64> = (1..=20).map(f64::from).collect();
        let before = hodges_lehmann(&values);
        values[19] = 1e6;
        let after = hodges_lehmann(&values);
        assert_eq!(before.shift.to_string(), "10.5");
        assert!((after.shift - before.shift).abs() < 1.0, "{after:?}");
        assert!(before.low < Some(before.shift) && Some(before.shift) < before.high, "{before:?}");
        assert!(after.high < Some(20.0), "{after:?}");
    }

    #[test]
    fn five_values_have_no_interval_of_95_percent() {
        assert_eq!(hodges_lehmann(&[1.0; 5]).low, None);
        assert_eq!(hodges_lehmann(&[1.0; 6]).low, Some(1.0));
    }
}
