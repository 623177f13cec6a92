//! Answers of pairs that are known.

use model::record::Loss;

use model::stall::StallKind;

use super::*;
use crate::sample::compare::{of, pairs, report, stall};

const MS: u64 = 1_000_000;

#[test]
fn a_speed_up_is_reported_with_its_phase() {
    let answer = of(&pairs(3000, 1000, &[]));
    assert_eq!(answer.verdict, Verdict::Faster);
    let ratio = answer.times_faster.unwrap();
    assert!(ratio.low.unwrap() > 2.6 && ratio.low.unwrap() < ratio.estimate, "{ratio:?}");
    assert!(ratio.estimate < ratio.high.unwrap() && ratio.high.unwrap() < 2.9, "{ratio:?}");
    let change = answer.total.unwrap();
    assert_eq!((change.baseline_ns, change.tried_ns), (3125 * MS, 1125 * MS));
    assert_eq!((change.shift_ns, change.low_ns), (-2000 * MS as i64, Some(-2000 * MS as i64)));
    let phases: Vec<(Phase, i64)> =
        answer.phases.iter().map(|phase| (phase.phase, phase.change.shift_ns)).collect();
    assert_eq!(phases, [(Phase::Proxy, -2000 * MS as i64), (Phase::Local, 0)]);
}

#[test]
fn the_other_way_round_is_slower_and_the_same_is_no_difference() {
    assert_eq!(of(&pairs(1000, 3000, &[])).verdict, Verdict::Slower);
    let mut same = pairs(1000, 1000, &[]);
    for pair in same.iter_mut().step_by(2) {
        pair[0] = report(1100, Vec::new());
    }
    for pair in same.iter_mut().skip(1).step_by(2) {
        pair[1] = report(1100, Vec::new());
    }
    let answer = of(&same);
    assert_eq!(answer.verdict, Verdict::NoDifference);
    assert!(
        answer.times_faster.unwrap().low.unwrap() < 1.0 && answer.times_faster.unwrap().high.unwrap() > 1.0
    );
}

#[test]
fn few_runs_have_a_ratio_and_no_interval_and_no_runs_have_neither() {
    let answer = of(&pairs(3000, 1000, &[])[..5]);
    assert_eq!((answer.verdict, answer.runs), (Verdict::TooFewRuns, 5));
    assert!(answer.times_faster.is_some_and(|ratio| ratio.low.is_none() && ratio.estimate > 2.0));
    let none = of(&[]);
    assert_eq!((none.verdict, none.times_faster, none.total), (Verdict::TooFewRuns, None, None));
    assert_eq!((none.started_unix_ns, none.machine), (None, None));
}

#[test]
fn stalls_that_are_gone_are_reported_and_their_remedy_is_tried() {
    let answer = of(&pairs(
        3000,
        1000,
        &[stall(StallKind::ConcurrencyLimited, 900 * MS), stall(StallKind::ConcurrencyLimited, 100 * MS)],
    ));
    let [stall] = &answer.stalls[..] else { panic!("{:?}", answer.stalls) };
    assert!(stall.gone());
    assert_eq!((stall.baseline_runs, stall.baseline_cost_ns), (6, Some(1000 * MS)));
    assert_eq!((stall.tried_runs, stall.tried_cost_ns), (0, None));
    let tried: Vec<bool> = stall.remedies.iter().map(|remedy| remedy.tried).collect();
    assert_eq!(tried, [true, false]);
}

#[test]
fn lost_events_are_added_up() {
    let mut pairs = pairs(2, 1, &[]);
    pairs[0][0].loss = Loss { kernel_events_lost: 2, events_undecoded: 1, ..Loss::default() };
    assert_eq!(of(&pairs).events_lost, 3);
}
