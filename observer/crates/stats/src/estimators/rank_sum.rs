//! The rank-sum test of Wilcoxon, Mann and Whitney: two samples in, chances out. Exact, also with
//! ties, up to [`EXACT`] values in all; beyond that normal, corrected for ties.
//! (Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, ch. 4.)

use statrs::function::erf::erfc_inv;

use super::{doubled_ranks, normal_above};

/// Up to so many values every choice is counted.
const EXACT: usize = 60;

/// The chance that two samples of the same kind have ranks of `new` as large as these, or larger:
/// small when `new` lies above `base`. 1 when either is empty.
pub fn rank_sum(base: &[f64], new: &[f64]) -> f64 {
    if base.is_empty() || new.is_empty() {
        return 1.0;
    }
    let ranks = doubled_ranks(&[base, new].concat());
    let sum: usize = ranks[base.len()..].iter().sum();
    let all = ranks.len();
    if all <= EXACT {
        let ways = ways(&ranks, new.len());
        return (ways[sum..].iter().sum::<f64>() / ways.iter().sum::<f64>()).min(1.0);
    }
    let (n, m, all) = (new.len() as f64, base.len() as f64, all as f64);
    let mean = ranks.iter().sum::<usize>() as f64 / all;
    let spread: f64 = ranks.iter().map(|rank| (*rank as f64 - mean).powi(2)).sum();
    let variance = n * m * spread / (all * (all - 1.0));
    if variance == 0.0 { 1.0 } else { normal_above((sum as f64 - n * mean - 1.0) / variance.sqrt()) }
}

/// How many of the sorted differences lie outside an interval at each end, when at most `tail` may
/// be missed there. `None` when even one is too many.
pub fn rank_sum_cut(base: usize, new: usize, tail: f64) -> Option<usize> {
    if base == 0 || new == 0 {
        return None;
    }
    if base + new <= EXACT {
        let ways = ways(&(1..=base + new).collect::<Vec<_>>(), new);
        let all: f64 = ways.iter().sum();
        let mut below = 0.0;
        // U counts from the smallest possible sum of ranks.
        let fits = ways.iter().skip(new * (new + 1) / 2).take_while(|ways| {
            below += **ways / all;
            below <= tail
        });
        return fits.count().checked_sub(1);
    }
    let (n, m) = (new as f64, base as f64);
    let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
    let z = std::f64::consts::SQRT_2 * erfc_inv(2.0 * tail);
    Some((n * m / 2.0 - 0.5 - z * deviation).max(0.0) as usize)
}

/// In how many ways `chosen` of the ranks have each sum.
fn ways(ranks: &[usize], chosen: usize) -> Vec<f64> {
    let total: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0; total + 1]; chosen + 1];
    ways[0][0] = 1.0;
    let mut top = 0;
    for (done, rank) in ranks.iter().enumerate() {
        top += rank;
        for count in (1..=chosen.min(done + 1)).rev() {
            let (fewer, these) = ways.split_at_mut(count);
            for sum in *rank..=top {
                these[0][sum] += fewer[count - 1][sum - rank];
            }
        }
    }
    ways.swap_remove(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apart_is_as_rare_as_one_choice() {
        let p = rank_sum(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0]);
        assert!((p - 1.0 / 56.0).abs() < 1e-12, "{p}");
        assert!((rank_sum(&[1.0; 4], &[1.0; 4]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_cut_is_that_of_the_tables() {
        // Critical values of U for two-sided 5 %: 5 and 5: 2, 10 and 10: 23, 3 and 3: none.
        let cuts = [(5, 5), (10, 10), (3, 3), (5, 1)].map(|(m, n)| rank_sum_cut(m, n, 0.025));
        assert_eq!(cuts, [Some(2), Some(23), None, None]);
    }
}
