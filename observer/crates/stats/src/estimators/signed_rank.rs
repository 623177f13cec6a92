//! Wilcoxon's signed-rank test: differences in, chances out. Exact, also with ties, up to
//! [`EXACT`] values; beyond that normal, corrected for ties.
//! (Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, ch. 3.)

use statrs::function::erf::erfc_inv;

use super::{doubled_ranks, normal_above};

/// Up to so many values every one of the 2ⁿ signs is counted.
const EXACT: usize = 100;

/// The chance that differences which lie symmetrically about 0 have a sum of positive ranks as
/// large as these, or larger: small when they lie above 0. Zeros are left out; without others it is 1.
pub fn signed_rank(differences: &[f64]) -> f64 {
    let kept: Vec<f64> = differences.iter().copied().filter(|value| *value != 0.0).collect();
    let ranks = doubled_ranks(&kept.iter().map(|value| value.abs()).collect::<Vec<_>>());
    let sum: usize = kept.iter().zip(&ranks).filter(|(value, _)| **value > 0.0).map(|(_, rank)| rank).sum();
    if kept.len() <= EXACT {
        return chances(&ranks)[sum..].iter().sum::<f64>().min(1.0);
    }
    let variance: f64 = ranks.iter().map(|rank| (*rank as f64).powi(2)).sum::<f64>() / 4.0;
    let mean = ranks.iter().sum::<usize>() as f64 / 2.0;
    normal_above((sum as f64 - mean - 1.0) / variance.sqrt())
}

/// How many of the sorted means of pairs lie outside an interval at each end, when at most `tail`
/// may be missed there: the largest k with a chance of a rank sum below k of at most `tail`.
/// `None` when even one is too many.
pub fn signed_rank_cut(n: usize, tail: f64) -> Option<usize> {
    if n <= EXACT {
        // Ranks that are not doubled will do: there are no ties in theory.
        let mut below = 0.0;
        let fits = chances(&(1..=n).collect::<Vec<_>>()).into_iter().take_while(|chance| {
            below += chance;
            below <= tail
        });
        return fits.count().checked_sub(1);
    }
    let n = n as f64;
    let deviation = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
    let z = std::f64::consts::SQRT_2 * erfc_inv(2.0 * tail);
    Some((n * (n + 1.0) / 4.0 - 0.5 - z * deviation).max(0.0) as usize)
}

/// Chances of the sums of a random subset of ranks.
fn chances(ranks: &[usize]) -> Vec<f64> {
    let mut chances = vec![0.0; ranks.iter().sum::<usize>() + 1];
    chances[0] = 1.0;
    let mut top = 0;
    for rank in ranks {
        top += rank;
        for sum in (0..=top).rev() {
            let with = if sum >= *rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = f64::midpoint(chances[sum], with);
        }
    }
    chances
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_positive_is_as_rare_as_all_heads() {
        assert!((signed_rank(&[1.0; 10]) - 0.5_f64.powi(10)).abs() < 1e-15);
        assert!((signed_rank(&[-1.0; 10]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_but_zeros_shows_nothing() {
        assert!((signed_rank(&[0.0; 8]) - 1.0).abs() < f64::EPSILON);
        assert!((signed_rank(&[]) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_cut_is_that_of_the_tables() {
        let cuts = [5, 6, 10, 20, 30].map(|n| signed_rank_cut(n, 0.025));
        assert_eq!(cuts, [None, Some(0), Some(8), Some(52), Some(137)]);
    }

    #[test]
    fn exact_and_normal_meet() {
        let values: Vec<f64> = (0..=EXACT).map(|i| (i as f64 * 0.7).sin() + 0.25).collect();
        let (exact, normal) = (signed_rank(&values[1..]), signed_rank(&values));
        assert!((exact - normal).abs() < 0.2 * exact, "{exact} {normal}");
        let (exact, normal) = (signed_rank_cut(EXACT, 0.025), signed_rank_cut(EXACT + 1, 0.025));
        assert!(exact < normal && normal.unwrap() - exact.unwrap() < 60, "{exact:?} {normal:?}");
    }
}
