//! The scenarios of `tests/scenarios`: each is run once, and the recordings of former runs are
//! judged again. The bench of the same name runs them many times, with all round-trip times, and
//! those that take long.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tests::goobserve::binary;
use tests::scenario::{DEPTH, Scenario, all, check, observe, pairs, recording_file, report};
use tests::skip;

/// One scenario at a time: beside another its costs would be another's, too.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn can_run(test: &str) -> bool {
    skip::is_root(test)
        && [("ip", "iproute2"), ("git", "git"), ("dnsmasq", "dnsmasq-base"), ("taskset", "util-linux")]
            .into_iter()
            .all(|(program, package)| skip::has(test, program, package))
}

/// Runs each once with that of its round-trip times, and fails with all that is wrong.
#[track_caller]
fn are_as_expected(scenarios: &[(String, Scenario)], rtts: impl Fn(&Scenario) -> Vec<u64>) {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (name, scenario) in scenarios {
        for rtt in rtts(scenario) {
            match observe(scenario, Duration::from_millis(rtt)) {
                Ok(ran) => {
                    wrong.extend(
                        check(scenario, &ran, DEPTH).into_iter().map(|what| format!("{name}: {what}")),
                    );
                }
                Err(error) => wrong.push(format!("{name}: {error:#}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn first(scenario: &Scenario) -> Vec<u64> {
    scenario.rtts_ms.iter().copied().take(1).collect()
}

#[test]
fn every_fault_is_told() {
    if !can_run("every_fault_is_told") {
        return;
    }
    let mut scenarios = all().unwrap();
    scenarios.retain(|(name, scenario)| !name.starts_with("healthy") && scenario.bench_only.is_none());
    assert!(scenarios.len() > 40);
    are_as_expected(&scenarios, first);
}

#[test]
fn of_a_healthy_command_nothing_is_told_at_any_distance() {
    if !can_run("of_a_healthy_command_nothing_is_told_at_any_distance") {
        return;
    }
    let mut scenarios = all().unwrap();
    scenarios.retain(|(name, _)| name.starts_with("healthy"));
    assert!(scenarios.len() > 4);
    are_as_expected(&scenarios, |scenario| scenario.rtts_ms.clone());
}

#[test]
fn of_two_faults_at_once_both_are_told() {
    if !can_run("of_two_faults_at_once_both_are_told") {
        return;
    }
    let pairs = pairs().unwrap();
    assert!(pairs.len() >= 25);
    are_as_expected(&pairs, first);
}

#[test]
fn the_report_of_each_recording_is_as_its_scenario_expects() {
    let mut wrong = Vec::new();
    for (name, scenario) in all().unwrap() {
        if !scenario.is_recorded() {
            continue;
        }
        let mut command = Command::new(binary().unwrap());
        let output =
            command.arg("report").arg(recording_file(&name)).args(["--format", "json"]).output().unwrap();
        if !output.status.success() {
            wrong.push(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
            continue;
        }
        let of: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rtt_ms = first(&scenario)[0] as f64;
        wrong.extend(report(&scenario, &of, rtt_ms, DEPTH).into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
