//! Answers of pairs that are known.

use super::*;
use crate::model::record::Loss;
use crate::model::report::{PhaseShare, Remedy, Severity};

const MS: u64 = 1_000_000;

/// A report of a command that waited for the proxy and was busy for 100 ms.
fn report(proxy_ms: u64, stalls: Vec<Stall>) -> Report {
    let share = |phase, blocked_ns| PhaseShare {
        phase,
        blocked_ns,
        busy_ns: blocked_ns,
        count: 1,
        errors: 0,
        p50_ns: None,
        p95_ns: None,
        p99_ns: None,
        max_ns: None,
        bytes: None,
    };
    let phases = vec![share(Phase::Proxy, proxy_ms * MS), share(Phase::Local, 100 * MS)];
    let command = Command { wall_ns: (proxy_ms + 100) * MS, phases, stalls, ..Command::default() };
    Report { commands: vec![command], started_unix_ns: proxy_ms, ..Report::default() }
}

pub(crate) fn stall(kind: &str, cost_ns: Ns) -> Stall {
    Stall {
        kind: kind.to_owned(),
        phase: Phase::Proxy,
        host: Some("proxy.test".to_owned()),
        severity: Severity::Warning,
        start_ns: 0,
        end_ns: cost_ns,
        cost_ns,
        summary: "2 downloads at once on an idle machine".to_owned(),
        evidence: Vec::new(),
        advice: String::new(),
        fatal: false,
        remedies: ["concurrency=16", "http1"]
            .map(|name| Remedy {
                name: name.to_owned(),
                why: String::new(),
                attempt: format!("goobserve compare --with {name} -- go mod download"),
            })
            .to_vec(),
    }
}

pub(crate) fn about() -> About {
    About {
        command: ["go", "mod", "download"].map(str::to_owned).to_vec(),
        cache: CacheKind::Cold,
        runs_wanted: 6,
        names: ["as it is".to_owned(), "concurrency=16".to_owned()],
        remedies: [Vec::new(), vec!["concurrency=16".to_owned()]],
    }
}

/// Six pairs, each a little slower than the one before.
pub(crate) fn pairs(baseline_ms: u64, tried_ms: u64, stalls: &[Stall]) -> Vec<[Report; 2]> {
    let pair =
        |n: u64| [report(baseline_ms + 10 * n, stalls.to_vec()), report(tried_ms + 10 * n, Vec::new())];
    (0..6).map(pair).collect()
}

pub(crate) fn of(pairs: &[[Report; 2]]) -> Answer {
    answer(about(), pairs, End::Complete, Vec::new())
}

#[test]
fn a_speed_up_is_told_with_its_phase() {
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
fn stalls_that_are_gone_are_told_and_their_remedy_is_tried() {
    let answer = of(&pairs(
        3000,
        1000,
        &[stall("concurrency-limited", 900 * MS), stall("concurrency-limited", 100 * MS)],
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
