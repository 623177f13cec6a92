//! The gate's statistics: ranks, shifts with their intervals, several tests and several looks.
//! Pure numbers in and out; checked against `SciPy`'s results (`tests/data/scipy.json`).

mod rank_sum;
mod shift;
mod signed_rank;

pub use rank_sum::{rank_sum, rank_sum_cut};
pub use shift::{Method, Shift, between_recordings, paired, reach, recordings_above, unpaired};
pub use signed_rank::{signed_rank, signed_rank_cut};

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

/// Holm's adjusted p-values, in the order of the given ones: at most a share `q` of families
/// without any true effect has one of them at or below `q`, whatever their dependence.
/// (S. Holm, Scandinavian Journal of Statistics 6, 1979.)
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut adjusted = vec![1.0; values.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max(values[index] * (values.len() - rank) as f64).min(1.0);
        adjusted[index] = least;
    }
    adjusted
}

/// After how many runs a look is taken: every `runs`, the last after `max`.
pub fn interim_analyses(runs: usize, max: usize) -> Vec<usize> {
    let step = runs.max(1);
    let mut looks: Vec<usize> = (step..max).step_by(step).collect();
    looks.push(max.max(step));
    looks
}

/// What of `alpha` each look may spend: α·t² up to the share t of the runs, less what was spent
/// before (the power family of Kim and `DeMets`, Biometrika 74, 1987). They add up to `alpha`, so
/// by Boole's inequality the error over all looks is at most `alpha`, exactly and whatever the
/// looks have in common; that is a little more than a boundary for normal sums would cost.
pub fn spending(looks: &[usize], alpha: f64) -> Vec<f64> {
    let last = looks.last().copied().unwrap_or(1).max(1) as f64;
    let until = |n: usize| alpha * (n as f64 / last).powi(2);
    let mut spent = 0.0;
    looks.iter().map(|n| until(*n) - std::mem::replace(&mut spent, until(*n))).collect()
}

/// Ranks, doubled so that the means of ties are whole numbers; in the order of `values`.
fn doubled_ranks(values: &[f64]) -> Vec<usize> {
    // total_cmp puts -0.0 below 0.0; a sum with 0.0 is never -0.0.
    let values: Vec<f64> = values.iter().map(|value| value + 0.0).collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let same = |index: &&usize| values[**index].total_cmp(&values[order[first]]).is_eq();
        let end = first + order[first..].iter().take_while(same).count();
        // Places first+1 to end: their mean, doubled.
        order[first..end].iter().for_each(|index| ranks[*index] = first + 1 + end);
        first = end;
    }
    ranks
}

/// The chance that a standard normal value is `z` or more.
fn normal_above(z: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holms_values_grow_with_the_rank_and_stay_below_one() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.6]);
        let text: Vec<String> = adjusted.iter().map(|p| format!("{p:.2}")).collect();
        assert_eq!(text, ["0.04", "0.09", "0.09", "0.60"]);
        assert_eq!(holm(&[]).len(), 0);
    }

    #[test]
    fn interim_analyses_are_fixed_by_runs_and_their_maximum() {
        assert_eq!(interim_analyses(10, 10), [10]);
        assert_eq!(interim_analyses(10, 25), [10, 20, 25]);
        assert_eq!(interim_analyses(10, 5), [10]);
    }

    #[test]
    fn what_is_spent_adds_up() {
        for set in [vec![10], interim_analyses(10, 20), interim_analyses(7, 100)] {
            let spent = spending(&set, 0.05);
            assert!((spent.iter().sum::<f64>() - 0.05).abs() < 1e-12);
            assert!(spent.iter().all(|part| *part > 0.0));
        }
    }

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(doubled_ranks(&[3.0, 1.0, 3.0, 2.0]), [7, 2, 7, 4]);
        assert_eq!(doubled_ranks(&[0.0, -0.0]), [3, 3]);
    }
}
