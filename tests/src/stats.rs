//! The few statistics the benchmarks print.

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
}
