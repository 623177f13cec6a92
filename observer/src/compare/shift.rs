//! How far paired values lie apart. In: differences, one a pair. Out: the Hodges-Lehmann shift
//! and the exact interval of Wilcoxon's signed-rank test: nothing is assumed but that pairs are
//! independent and lie symmetrically.

/// The confidence of every interval: at least 95 %, exactly.
pub const TAIL: f64 = 0.025;

/// A shift, and where it lies with 95 % confidence.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shift {
    /// Median of the means of all pairs of values, each with itself included
    pub estimate: f64,
    /// Both ends; `None` with fewer than six values
    pub interval: Option<(f64, f64)>,
}

impl Shift {
    /// Of one value a pair; `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut means: Vec<f64> = values
            .iter()
            .enumerate()
            .flat_map(|(index, a)| values[index..].iter().map(move |b| f64::midpoint(*a, *b)))
            .collect();
        means.sort_by(f64::total_cmp);
        let interval = cut(values.len()).and_then(|cut| {
            let (low, high) = (means.get(cut)?, means.get(means.len().checked_sub(cut + 1)?)?);
            Some((*low, *high))
        });
        Some(Self { estimate: median(&means)?, interval })
    }

    /// The same after an increasing function.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { estimate: f(self.estimate), interval: self.interval.map(|(low, high)| (f(low), f(high))) }
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// How many of the sorted means lie outside at each end: the largest k for which the rank sum of
/// n values is below k with a chance of at most [`TAIL`]. `None` when even 1 is too many.
fn cut(n: usize) -> Option<usize> {
    let top = n * (n + 1) / 2;
    // Chances of the sums of a random subset of the ranks 1 to n.
    let mut chances = vec![0.0; top + 1];
    chances[0] = 1.0;
    for rank in 1..=n {
        for sum in (0..=top).rev() {
            let with = if sum >= rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = f64::midpoint(chances[sum], with);
        }
    }
    let mut below = 0.0;
    let fits = chances.iter().take_while(|chance| {
        below += **chance;
        below <= TAIL
    });
    fits.count().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_tables_of_wilcoxons_test() {
        // Critical values for two-sided 5 %: n = 6: 0, 10: 8, 20: 52, 30: 137.
        assert_eq!([5, 6, 10, 20, 30].map(cut), [None, Some(0), Some(8), Some(52), Some(137)]);
    }

    #[test]
    fn an_outlier_moves_the_shift_little() {
        let mut values: Vec<f64> = (1..=20).map(f64::from).collect();
        let before = Shift::of(&values).unwrap();
        values[19] = 1e6;
        let after = Shift::of(&values).unwrap();
        assert!((before.estimate - 10.5).abs() < 1e-9 && (after.estimate - 10.5).abs() < 1.0);
        assert!(after.interval.unwrap().1 < 20.0);
    }

    #[test]
    fn few_values_have_no_interval() {
        assert_eq!(Shift::of(&[]), None);
        assert_eq!(Shift::of(&[2.0; 5]), Some(Shift { estimate: 2.0, interval: None }));
        assert_eq!(Shift::of(&[2.0; 6]).unwrap().interval, Some((2.0, 2.0)));
    }
}
