//! Trials of pairs that are known.

use super::*;
use crate::sample::fix::{running, tried};

#[test]
fn a_remedy_that_helps_is_proven_and_the_one_that_brings_most_is_kept() {
    let trials = [tried("http1", 2, 3000, 2000), tried("concurrency=16", 2, 3000, 1000)];
    assert_eq!(trials.each_ref().map(|trial| trial.outcome), [Outcome::Faster; 2]);
    assert_eq!(best(&trials), Some(1));
    assert_eq!(verdict(&trials, false), Verdict::Proven);
    let ratio = trials[1].times_faster.unwrap();
    assert!(ratio.low.unwrap() > 2.5 && ratio.high.unwrap() < 3.0, "{ratio:?}");
}

#[test]
fn what_is_proven_but_next_to_nothing_is_not_kept() {
    let trials = [tried("http1", 1, 3000, 2950)];
    assert_eq!(trials[0].outcome, Outcome::TooLittle);
    assert_eq!(verdict(&trials, false), Verdict::NothingHelps);
}

#[test]
fn a_remedy_that_cannot_be_shown_to_help_any_more_is_given_up() {
    let mut run = running("http1", 1);
    let [slow, fast] = [3000, 1000].map(|ms| crate::sample::compare::report(ms, Vec::new()));
    assert!(run.add([slow.clone(), fast.clone()], 5));
    assert!(!run.add([fast, slow], 4));
    let trial = run.trial();
    assert_eq!((trial.outcome, trial.runs), (Outcome::GivenUp, 2));
    assert_eq!(verdict(&[trial], false), Verdict::NothingHelps);
}

#[test]
fn what_makes_a_failing_command_succeed_every_time_is_proven() {
    let mut running = [running("gateway", 2), running("no-mlkem", 2)];
    let least = design::fewest(2);
    for round in 0..least {
        assert!(!running[1].cures(), "{round}");
        running[1].cure(least);
    }
    running[0].cure(least);
    running[0].fail();
    assert!(running[1].cures());
    let trials = running.map(|one| one.trial());
    assert_eq!(trials.each_ref().map(|trial| trial.outcome), [Outcome::Failed, Outcome::Cures]);
    assert_eq!((best(&trials), trials[1].runs, trials[1].total), (Some(1), 7, None));
    assert_eq!(verdict(&trials, false), Verdict::Proven);
}

#[test]
fn too_few_runs_and_failures_prove_nothing() {
    let mut run = running("http1", 1);
    let [slow, fast] = [3000, 1000].map(|ms| crate::sample::compare::report(ms, Vec::new()));
    assert!(run.add([slow, fast], 5));
    assert_eq!(run.trial().outcome, Outcome::TooFewRuns);
    assert_eq!(verdict(&[run.trial()], false), Verdict::OutOfTime);
    run.fail();
    assert_eq!(run.trial().outcome, Outcome::Failed);
    assert_eq!(verdict(&[run.trial()], false), Verdict::NothingHelps);
    assert_eq!(verdict(&[run.trial()], true), Verdict::OutOfTime);
}
