//! The decision rule of the time tier, by constructed runs.

use super::*;
use crate::gate::baseline::Baseline;
use crate::sample::gate as sample;

const MS: u64 = 1_000_000;

fn judged(before: &Baseline, after: &Baseline, design: Design) -> Time {
    let floors = if design == Design::Pairs { Floors::PAIRS } else { Floors::RECORDINGS };
    time(&Hypothesis { before, after, design, floors, alpha: 0.05 })
}

/// The same runs in another order, so that pairs differ, each so much longer in a phase.
fn slower(runs: usize, phase: Phase, ns: u64) -> Baseline {
    let mut after = sample::baseline(1, runs);
    after.recordings[0].runs.rotate_left(3.min(runs));
    after.recordings[0].runs.iter_mut().for_each(|run| sample::delay(run, phase, ns));
    after
}

#[test]
fn nothing_changed_passes() {
    let found = judged(&sample::baseline(1, 10), &slower(10, Phase::Dns, 0), Design::Pairs);
    assert_eq!((found.verdict, found.more), (Some(Verdict::Passed), None));
    assert!(found.parts.iter().all(|part| !part.named));
}

#[test]
fn a_slowdown_beyond_both_floors_regresses_and_names_phase_and_host() {
    let found = judged(&sample::baseline(1, 10), &slower(10, Phase::Proxy, 300 * MS), Design::Pairs);
    assert_eq!(found.verdict, Some(Verdict::Regressed));
    let (phase, host) = (found.most(false).unwrap(), found.most(true).unwrap());
    assert_eq!((phase.phase, host.host.as_deref()), (Some(Phase::Proxy), Some("proxy.test")));
    assert!(phase.named && host.named, "{phase:?} {host:?}");
    let local = found.parts.iter().find(|part| part.phase == Some(Phase::Local)).unwrap();
    assert!(!local.named);
}

/// With every small phase in Holm's family, ten pairs could never name one at the first of two looks.
#[test]
fn phases_below_the_floor_do_not_keep_the_cause_from_being_named() {
    let (mut before, mut after) = (sample::baseline(1, 10), slower(10, Phase::Proxy, 900 * MS));
    for side in [&mut before, &mut after] {
        for run in &mut side.recordings[0].runs {
            let small = [Phase::Connect, Phase::Tls, Phase::Sumdb, Phase::Toolchain, Phase::Unexplained];
            run.phases.extend(small.map(|phase| (phase, MS)));
        }
    }
    let alpha = estimators::spending(&[10, 20], 0.05)[0];
    let (design, floors) = (Design::Pairs, Floors::PAIRS);
    let found = time(&Hypothesis { before: &before, after: &after, design, floors, alpha });
    let named: Vec<_> = found.parts.iter().filter(|part| part.named).map(|part| part.phase).collect();
    assert_eq!(named, [Some(Phase::Proxy), None], "the phase and its host");
}

#[test]
fn a_slowdown_within_one_floor_passes() {
    // 60 ms of 2 s: beyond the absolute floor, within the relative one.
    let found = judged(&sample::baseline(1, 30), &slower(30, Phase::Dns, 60 * MS), Design::Pairs);
    assert_eq!(found.verdict, Some(Verdict::Passed), "{:?}", found.total);
    assert!(found.total.low_ns.unwrap() > 10 * MS as i64);
    // 10 % of a short run: beyond the relative floor, within the absolute one.
    let mut before = sample::baseline(1, 10);
    let mut after = slower(10, Phase::Dns, 200 * MS);
    for side in [&mut before, &mut after] {
        side.recordings[0].runs.iter_mut().for_each(|run| sample::scale(run, 0.03));
    }
    let found = judged(&before, &after, Design::Pairs);
    assert_eq!(found.verdict, Some(Verdict::Passed), "{:?}", found.total);
    assert!(found.total.ratio_low.unwrap() > 1.05);
}

#[test]
fn a_slowdown_at_the_floor_is_inconclusive_and_says_how_many_runs_more() {
    let found = judged(&sample::baseline(1, 10), &slower(10, Phase::Dns, 108 * MS), Design::Pairs);
    assert_eq!(found.verdict, Some(Verdict::Inconclusive), "{:?}", found.total);
    assert!(found.more.is_some_and(|more| more > 1), "{:?}", found.more);
}

#[test]
fn fewer_than_six_pairs_are_inconclusive_and_miss_what_is_missing() {
    let found = judged(&sample::baseline(1, 4), &slower(4, Phase::Proxy, 900 * MS), Design::Pairs);
    assert_eq!((found.verdict, found.more), (Some(Verdict::Inconclusive), Some(2)));
    assert_eq!(found.total.low_ns, None);
}

#[test]
fn fewer_than_five_recordings_are_an_advice() {
    let found = judged(&sample::baseline(4, 10), &slower(10, Phase::Proxy, 2000 * MS), Design::Recordings);
    assert_eq!((found.verdict, found.total.low_ns), (None, None));
    assert!(found.why.as_ref().unwrap().contains("4 recordings") && found.total.ratio > 1.9, "{found:?}");
    assert!(found.parts.iter().all(|part| !part.named));
}

#[test]
fn five_recordings_judge_a_sixth() {
    let before = sample::baseline(5, 10);
    let same = judged(&before, &slower(10, Phase::Proxy, 0), Design::Recordings);
    assert_eq!((same.verdict, same.units_before, same.units_after), (Some(Verdict::Passed), 5, 1));
    let slow = judged(&before, &slower(10, Phase::Proxy, 2000 * MS), Design::Recordings);
    assert_eq!(slow.verdict, Some(Verdict::Regressed));
    assert!(slow.most(false).unwrap().named && slow.most(true).unwrap().named);
    assert_eq!(slow.total.method, Method::StudentT);
}

#[test]
fn ten_runs_of_a_bad_hour_are_one_figure() {
    let mut before = sample::baseline(5, 10);
    for (index, recording) in before.recordings.iter_mut().enumerate() {
        recording.runs.iter_mut().for_each(|run| sample::scale(run, 1.0 + 0.3 * (index % 2) as f64));
    }
    let found = judged(&before, &slower(10, Phase::Proxy, 600 * MS), Design::Recordings);
    assert_eq!(found.verdict, Some(Verdict::Inconclusive), "{:?}", found.total);
}

#[test]
fn recordings_of_other_machines_do_not_count() {
    let mut before = sample::baseline(6, 10);
    before.recordings[0].settings.gomaxprocs = Some(8);
    before.recordings[1].cpu = None;
    let found = judged(&before, &slower(10, Phase::Dns, 0), Design::Recordings);
    assert_eq!((found.verdict, found.units_before), (None, 4));
    before.recordings.iter_mut().for_each(|recording| recording.machine.cpus = 96);
    let found = judged(&before, &slower(10, Phase::Dns, 0), Design::Recordings);
    assert_eq!(found.verdict, Some(Verdict::Invalid));
    assert_eq!(found.why.as_deref(), Some("times cannot be compared: CPUs was 96, is 2"));
}

#[test]
fn pairs_may_differ_in_gomaxprocs() {
    let mut after = slower(10, Phase::Dns, 0);
    after.recordings[0].settings.gomaxprocs = Some(16);
    assert_eq!(judged(&sample::baseline(1, 10), &after, Design::Pairs).verdict, Some(Verdict::Passed));
}
