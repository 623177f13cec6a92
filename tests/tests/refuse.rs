//! `goobserve check`, and what is refused where something is missing: one line of what, one of
//! what to do, and the command is never started.

use std::process::{Command, Output};

use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::paths;

/// A user that no machine has.
const USER: u32 = 61_503;

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = lab.go_run(&GoOptions::default()).unwrap();
    run.give_to(USER).unwrap();
    // The user must be able to reach it.
    paths::copy_program(&binary().unwrap(), &run.file("goobserve")).unwrap();
    Some((lab, run))
}

fn as_user(run: &GoRun) -> Command {
    let mut command = run.command("setpriv");
    let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
    command.args(ids).arg("--clear-groups").arg(run.file("goobserve"));
    command
}

/// goobserve as root without these capabilities, as in a container.
fn without(run: &GoRun, capabilities: &str) -> Command {
    let mut command = run.command("setpriv");
    let sets = ["--bounding-set", "--inh-caps"].map(|set| format!("{set}={capabilities}"));
    command.args(sets).arg(run.file("goobserve"));
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn is_refused(output: &Output, status: i32) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let [what, hint] = lines[..] else { panic!("two lines: {text:?}") };
    assert!(what.starts_with("goobserve: ") && hint.starts_with("  hint: "), "{text}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
}

#[test]
fn check_finds_nothing_wrong_where_run_works() {
    let Some((lab, run)) = ready("check_finds_nothing_wrong_where_run_works") else { return };
    let check = lab.goobserve(&run, &["check"]).unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", stdout(&check));
    assert!(stdout(&check).lines().all(|line| line.starts_with("✓ ")), "{}", stdout(&check));
    assert!(stdout(&check).contains("✓ go: "), "{}", stdout(&check));
    assert!(stdout(&check).contains("✓ BPF programs: all "), "{}", stdout(&check));
    let quiet = lab.goobserve(&run, &["check", "-q"]).unwrap();
    assert_eq!((quiet.status.code(), stdout(&quiet)), (Some(0), String::new()));
    assert_eq!(lab.goobserve(&run, &["run", "--", "true"]).unwrap().status.code(), Some(0));
}

#[test]
fn check_without_root_says_what_is_missing_and_how_to_fix_it() {
    let test = "check_without_root_says_what_is_missing_and_how_to_fix_it";
    let Some((lab, run)) = ready(test) else { return };
    let check = lab.output(as_user(&run).arg("check")).unwrap();
    assert_eq!(check.status.code(), Some(1), "{}", stdout(&check));
    let text = stdout(&check);
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("✗ privileges: "));
    let at = at.unwrap_or_else(|| panic!("nothing about privileges: {text}"));
    assert!(lines[at + 1].starts_with("    fix: "), "{text}");
    assert!(text.contains("? BPF programs: whether this kernel takes them is not known"), "{text}");
    let quiet = stdout(&lab.output(as_user(&run).args(["check", "-q"])).unwrap());
    assert!(!quiet.contains('✓') && quiet.contains("✗ privileges"), "{quiet}");
}

#[test]
fn without_root_nothing_is_started() {
    let Some((lab, run)) = ready("without_root_nothing_is_started") else { return };
    let touched = run.project().join("touched");
    let output = lab.output(as_user(&run).args(["run", "--", "touch"]).arg(&touched)).unwrap();
    is_refused(&output, 125);
    assert!(stderr(&output).contains("sudo"), "{}", stderr(&output));
    assert!(!touched.exists());
    is_refused(&lab.output(as_user(&run).args(["watch", "--duration", "1s"])).unwrap(), 1);
}

#[test]
fn what_check_says_is_what_run_does_without_each_capability() {
    let test = "what_check_says_is_what_run_does_without_each_capability";
    let Some((lab, run)) = ready(test) else { return };
    let touched = run.project().join("touched");
    for capabilities in [
        "-bpf,-perfmon,-sys_admin",
        "-bpf,-sys_admin",
        "-perfmon,-sys_admin",
        "-sys_admin",
        "-bpf",
        "-perfmon",
        "-sys_ptrace",
        "-dac_read_search,-dac_override",
    ] {
        let check = lab.output(without(&run, capabilities).arg("check")).unwrap();
        let command = &mut without(&run, capabilities);
        let output = lab.output(command.args(["run", "--", "touch"]).arg(&touched)).unwrap();
        let said = format!("{capabilities}: {}{}", stdout(&check), stderr(&output));
        match output.status.code() {
            Some(0) => assert_eq!(std::fs::remove_file(&touched).ok(), Some(()), "{said}"),
            Some(125) => {
                assert!(!touched.exists(), "{said}");
                is_refused(&output, 125);
                assert_eq!(check.status.code(), Some(1), "{said}");
            }
            _ => panic!("{said}"),
        }
        if check.status.code() == Some(0) {
            assert_eq!(output.status.code(), Some(0), "{said}");
        }
    }
    let nothing = lab.output(without(&run, "-bpf,-sys_admin").arg("check").arg("-q")).unwrap();
    assert!(stdout(&nothing).contains("CAP_BPF"), "{}", stdout(&nothing));
}

#[test]
fn wrong_use_is_status_two_and_says_what_is_right() {
    let Some((lab, run)) = ready("wrong_use_is_status_two_and_says_what_is_right") else { return };
    let touched = run.project().join("touched");
    let touch = touched.to_str().unwrap();
    for args in [
        &["run"][..],
        &["run", "--"],
        &["run", "--no-such-flag", "--", "touch", touch],
        &["run", "--report", "yaml", "--", "touch", touch],
        &["run", "-q", "-v", "--", "touch", touch],
        &["no-such-command"],
        &["watch", "--duration", "soon"],
        &["report"],
        &["report", "--format", "yaml", "file"],
        &["check", "surplus"],
        &["completions", "no-such-shell"],
        &["man", "no-such-command"],
    ] {
        // As anybody: before anything else is looked at.
        let output = lab.output(as_user(&run).args(args)).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        let text = stderr(&output);
        assert!(
            text.starts_with("goobserve: ") && (1..=2).contains(&text.lines().count()),
            "{args:?}: {text}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert!(!touched.exists());
}

#[test]
fn what_needs_no_root_works_without() {
    let Some((lab, run)) = ready("what_needs_no_root_works_without") else { return };
    // Recorded in a folder of root's own, then given away.
    let recorded = lab.go_run(&GoOptions::default()).unwrap();
    let recording = recorded.file("recording.jsonl");
    let record = ["run", "--record", recording.to_str().unwrap(), "--", "true"];
    let output = lab.goobserve(&recorded, &record).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    recorded.give_to(USER).unwrap();
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["--version"],
        &["man"],
        &["man", "run"],
        &["completions", "bash"],
        &["report", recording.to_str().unwrap()],
    ] {
        let output = lab.output(as_user(&run).args(args)).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_recording_that_cannot_be_opened_is_status_one() {
    let Some((lab, run)) = ready("a_recording_that_cannot_be_opened_is_status_one") else { return };
    let (none, other) = (run.file("none.jsonl"), run.file("other.jsonl"));
    std::fs::write(&other, "no recording\n").unwrap();
    run.give_to(USER).unwrap();
    for file in [none, other, run.project()] {
        is_refused(&lab.output(as_user(&run).arg("report").arg(&file)).unwrap(), 1);
    }
}
