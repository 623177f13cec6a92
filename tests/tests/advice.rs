//! Advice is applied: the lines that the report of each scenario proposes are pasted into a shell,
//! in a lab with the same fault. The command must not do worse, and no private name may leave that
//! did not leave before.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::goobserve::binary;
use tests::scenario::{Ran, Scenario, all, apply, named, observe, recording_file};
use tests::skip;

/// Hosts of private modules.
const PRIVATE: [&str; 2] = ["git.test", "code.test"];

fn can_run(test: &str) -> bool {
    skip::is_root(test)
        && [("ip", "iproute2"), ("git", "git"), ("dnsmasq", "dnsmasq-base"), ("taskset", "util-linux")]
            .into_iter()
            .all(|(program, package)| skip::has(test, program, package))
}

/// The report of a recording.
fn report_of(recording: &Path) -> Value {
    let mut command = Command::new(binary().unwrap());
    let output = command.arg("report").arg(recording).args(["--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The lines that a report proposes, each once.
fn lines(report: &Value) -> Vec<String> {
    let each = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let stalls = each(&report["commands"]).into_iter().flat_map(|command| each(&command["stalls"]));
    let remedies = stalls.flat_map(|stall| each(&stall["remedies"]));
    let mut lines: Vec<String> =
        remedies.filter_map(|remedy| Some(remedy["try"].as_str()?.to_owned())).collect();
    lines.sort();
    lines.dedup();
    lines
}

/// What a line tries, for a message.
fn tried(line: &str) -> &str {
    line.split_once("--with ").map_or(line, |(_, rest)| rest.split(" -- ").next().unwrap_or(rest))
}

/// Questions that were given up without an answer.
fn unanswered(report: &Value) -> usize {
    let dns = report["dns"].as_array().map_or(&[][..], Vec::as_slice);
    dns.iter().filter(|dns| dns["timed_out"] == true && dns["on_behalf_of"].is_null()).count()
}

fn succeeded(report: &Value) -> bool {
    report["commands"][0]["exit_code"] == 0
}

/// Requests with a private name at the public proxy and the checksum database.
fn left(ran: &Ran) -> usize {
    ran.asked.iter().filter(|path| PRIVATE.iter().any(|host| path.contains(host))).count()
}

/// What is worse with a line's remedy than it was, `before`.
fn worse(before: &Value, after: &Ran) -> Vec<String> {
    let mut worse = Vec::new();
    if succeeded(before) && !after.status.success() {
        worse.push(format!("it fails: {}", after.stderr.trim()));
    }
    let [was, is] = [before, &after.report].map(unanswered);
    if is > was {
        worse.push(format!("{is} queries unanswered, not {was}"));
    }
    worse
}

/// Applies what the report proposes, and what is worse then.
fn applied(name: &str, scenario: &Scenario, before: &Value) -> Vec<String> {
    let rtt = Duration::from_millis(scenario.rtts_ms.first().copied().unwrap_or(0));
    let mut wrong = Vec::new();
    for line in lines(before) {
        let what = match apply(scenario, rtt, &line) {
            Ok(ran) => worse(before, &ran),
            Err(error) => vec![format!("{error:#}")],
        };
        wrong.extend(what.into_iter().map(|what| format!("{name}, {}: {what}", tried(&line))));
    }
    wrong
}

#[test]
fn no_line_that_a_recording_proposes_makes_its_command_do_worse() {
    if !can_run("no_line_that_a_recording_proposes_makes_its_command_do_worse") {
        return;
    }
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (name, scenario) in all().unwrap().into_iter().filter(|(_, scenario)| scenario.is_recorded()) {
        let before = report_of(&recording_file(&name));
        tried += lines(&before).len();
        wrong.extend(applied(&name, &scenario, &before));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(tried > 5, "{tried} lines were proposed");
}

/// What it did, and with each line that its report proposes: names that left, and whether it ended well.
fn private(name: &str) -> (usize, Vec<(String, usize, bool)>) {
    let scenario = named(name).unwrap();
    let before = observe(&scenario, Duration::ZERO).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(before.recording.as_bytes()).unwrap();
    let proposed = lines(&report_of(file.path()));
    let of = |line: String| {
        let after = apply(&scenario, Duration::ZERO, &line).unwrap();
        (tried(&line).to_owned(), left(&after), after.status.success())
    };
    (left(&before), proposed.into_iter().map(of).collect())
}

#[test]
fn what_is_proposed_for_one_private_host_keeps_the_other_ones_names_in() {
    if !can_run("what_is_proposed_for_one_private_host_keeps_the_other_ones_names_in") {
        return;
    }
    let both = "--with env=GONOSUMDB=code.test,git.test/lib";
    for (name, with) in [
        ("private-two-hosts", "env=GOPRIVATE=code.test,git.test/lib".to_owned()),
        ("private-both-channels", format!("env=GOPRIVATE=code.test,git.test/lib {both}")),
        ("private-name-left", "env=GOPRIVATE=git.test/lib".to_owned()),
    ] {
        let (before, after) = private(name);
        assert!(before > 0, "{name}: no name left");
        assert_eq!(after, [(with, 0, true)], "{name}, {before} before");
    }
}

#[test]
fn behind_a_local_resolver_that_takes_its_time_nothing_is_proposed_that_makes_go_wait_less() {
    let test = "behind_a_local_resolver_that_takes_its_time_nothing_is_proposed_that_makes_go_wait_less";
    if !can_run(test) {
        return;
    }
    let scenario = named("dns-local-resolver-changes-server").unwrap();
    let ran = observe(&scenario, Duration::ZERO).unwrap();
    assert!(ran.status.success() && unanswered(&ran.report) > 0, "{}", ran.stderr);
    assert_eq!(lines(&ran.report), [""; 0]);
    let summaries: Vec<&str> = ran.report["commands"][0]["stalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|stall| stall["summary"].as_str())
        .collect();
    assert!(summaries.iter().any(|summary| summary.contains(": it asked 192.0.2.1:53")), "{summaries:?}");
    // What used to be proposed makes the command fail.
    let argv = ran.report["commands"][0]["argv"].as_array().unwrap().iter().filter_map(Value::as_str);
    let shorter = "goobserve compare --with 'resolv=options timeout:1 attempts:3' --";
    let line = argv.fold(shorter.to_owned(), |line, word| format!("{line} {word}"));
    let after = apply(&scenario, Duration::ZERO, &line).unwrap();
    assert!(!after.status.success(), "three seconds were enough");
}
