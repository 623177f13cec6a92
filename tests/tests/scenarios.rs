//! The scenarios of `tests/scenarios`, each a test, run once; and the recordings of former runs, judged
//! again. The bench of the same name runs them many times, with all round-trip times, and those that take
//! long. Which of them a usual run leaves out says .config/nextest.toml.

use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tests::goobserve::binary;
use tests::scenario::{DEPTH, Scenario, all, check, observe, pairs, recording_file, report};
use tests::skip;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Beside another its costs would be another's, too.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    let scenarios = all().unwrap();
    for (name, scenario) in &scenarios {
        if name.starts_with("healthy") {
            trials.extend(scenario.rtts_ms.iter().map(|rtt| {
                trial(format!("of_a_healthy_command_nothing_is_reported::{name}_at_{rtt}_ms"), scenario, *rtt)
            }));
        } else if scenario.bench_only.is_none() {
            trials.push(trial(format!("a_fault_is_reported::{name}"), scenario, first(scenario)));
        }
    }
    for (name, scenario) in &pairs().unwrap() {
        let name = name.replace(' ', "");
        trials.push(trial(format!("of_two_faults_both_are_reported::{name}"), scenario, first(scenario)));
    }
    for (name, scenario) in scenarios.into_iter().filter(|(_, scenario)| scenario.is_recorded()) {
        let test = format!("the_report_of_a_recording_is_as_its_scenario_expects::{name}");
        trials.push(Trial::test(test, move || is_right(&recorded(&name, &scenario))));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn first(scenario: &Scenario) -> u64 {
    scenario.rtts_ms[0]
}

/// Fails with all that is wrong.
fn is_right(wrong: &[String]) -> Result<(), Failed> {
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:#?}").into()) }
}

/// It is run once with that round-trip time.
fn trial(test: String, scenario: &Scenario, rtt_ms: u64) -> Trial {
    let (name, scenario) = (test.clone(), scenario.clone());
    Trial::test(test, move || {
        if !can_run(&name) {
            return Ok(());
        }
        let ran = observe(&scenario, Duration::from_millis(rtt_ms)).map_err(|error| format!("{error:#}"))?;
        is_right(&check(&scenario, &ran, DEPTH))
    })
}

fn can_run(test: &str) -> bool {
    skip::is_root(test)
        && [("ip", "iproute2"), ("git", "git"), ("dnsmasq", "dnsmasq-base"), ("taskset", "util-linux")]
            .into_iter()
            .all(|(program, package)| skip::has(test, program, package))
}

/// What is wrong in the report of the recording that is kept of it.
fn recorded(name: &str, scenario: &Scenario) -> Vec<String> {
    let mut command = Command::new(binary().unwrap());
    let output = command.arg("report").arg(recording_file(name)).args(["--format", "json"]).output().unwrap();
    if !output.status.success() {
        return vec![String::from_utf8_lossy(&output.stderr).into_owned()];
    }
    let of: Value = serde_json::from_slice(&output.stdout).unwrap();
    report(scenario, &of, first(scenario) as f64, DEPTH)
}
