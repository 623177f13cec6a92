//! The gate's statistics against `SciPy`'s: `data/known_values.py` wrote `scipy.json`.

use serde_json::Value;
use stats::estimators;

fn known() -> Value {
    serde_json::from_str(include_str!("data/scipy.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(have: f64, want: &Value, within: f64) {
    let want = want.as_f64().unwrap();
    assert!((have - want).abs() <= within * want.abs().max(1e-3), "{have} instead of {want}");
}

#[test]
fn the_signed_rank_test_is_scipys() {
    let known = known();
    for sample in known["one"].as_array().unwrap() {
        let values = numbers(&sample["values"]);
        close(estimators::signed_rank(&values), &sample["greater"], 1e-9);
        close(estimators::paired(&values, 0.05).unwrap().estimate, &sample["hodges_lehmann"], 1e-9);
    }
    assert!(known["one"].as_array().unwrap().len() > 30);
    let big = &known["big_one"];
    close(estimators::signed_rank(&numbers(&big["values"])), &big["greater"], 0.01);
}

#[test]
fn the_rank_sum_test_is_scipys() {
    let known = known();
    for sample in known["two"].as_array().unwrap() {
        let (base, new) = (numbers(&sample["base"]), numbers(&sample["new"]));
        close(estimators::rank_sum(&base, &new), &sample["greater"], 1e-9);
        let shift = estimators::unpaired(&base, &new, 0.05).unwrap();
        close(shift.estimate, &sample["hodges_lehmann"], 1e-9);
    }
    let big = &known["big_two"];
    close(estimators::rank_sum(&numbers(&big["base"]), &numbers(&big["new"])), &big["greater"], 0.01);
}

/// The interval of a test holds exactly the shifts that the test does not refuse.
#[test]
fn intervals_and_tests_say_the_same() {
    let known = known();
    for sample in known["one"].as_array().unwrap() {
        let values = numbers(&sample["values"]);
        let distinct = |values: &[f64]| {
            let mut sorted: Vec<f64> = values.iter().map(|value| value.abs()).collect();
            sorted.sort_by(f64::total_cmp);
            sorted.windows(2).all(|pair| pair[0] < pair[1])
        };
        let Some((low, _)) = estimators::paired(&values, 0.05).unwrap().interval else { continue };
        if distinct(&values) {
            let p = |shift: f64| {
                estimators::signed_rank(&values.iter().map(|value| value - shift).collect::<Vec<_>>())
            };
            assert!(p(low - 1e-9) <= 0.025 && p(low + 1e-9) > 0.025, "{low}: {values:?}");
        }
    }
    for sample in known["two"].as_array().unwrap() {
        let (base, new) = (numbers(&sample["base"]), numbers(&sample["new"]));
        let Some((low, _)) = estimators::unpaired(&base, &new, 0.05).unwrap().interval else { continue };
        let p = |shift: f64| {
            estimators::rank_sum(&base, &new.iter().map(|value| value - shift).collect::<Vec<_>>())
        };
        let mut all = [base.clone(), new.clone()].concat();
        all.sort_by(f64::total_cmp);
        if all.windows(2).all(|pair| pair[0] < pair[1]) {
            assert!(p(low - 1e-9) <= 0.025 && p(low + 1e-9) > 0.025, "{low}");
        }
    }
}

#[test]
fn students_t_and_holms_values_are_scipys() {
    use statrs::distribution::{ContinuousCDF as _, StudentsT};
    let known = known();
    for row in known["t"].as_array().unwrap() {
        let t = StudentsT::new(0.0, 1.0, row["freedom"].as_f64().unwrap()).unwrap();
        close(t.inverse_cdf(0.975), &row["at_975"], 1e-6);
        close(t.sf(2.0), &row["above_2"], 1e-9);
    }
    let adjusted = estimators::holm(&numbers(&known["holm"]["p"]));
    for (have, want) in adjusted.iter().zip(known["holm"]["adjusted"].as_array().unwrap()) {
        close(*have, want, 1e-12);
    }
}
