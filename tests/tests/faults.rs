//! `goobserve run` when something goes wrong: the command, the disk, the output files, or one of
//! its own two halves. The command must not notice, and what was seen must not be lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::complete::int;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::procs::{state, worker_below};
use tests::proxy::{Faults, HeadDelay, ending};
use tests::running::Running;
use tests::schema::Schema;
use tests::wait;

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = lab.go_run(&GoOptions::default()).unwrap();
    Some((lab, run))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lines with which goobserve speaks of itself, without those of the report.
fn said(stderr: &str) -> Vec<&str> {
    stderr.lines().filter_map(|line| line.strip_prefix("goobserve: ")).collect()
}

/// One line of what went wrong, one of what to do, nothing else.
#[track_caller]
fn is_two_lines(stderr: &str) {
    let lines: Vec<&str> = stderr.lines().collect();
    let [what, hint] = lines[..] else { panic!("two lines: {stderr:?}") };
    assert!(what.starts_with("goobserve: ") && hint.starts_with("  hint: "), "{stderr:?}");
}

/// The report of a recording.
#[track_caller]
fn report(lab: &Lab, run: &GoRun, recording: &Path) -> Value {
    let output = lab.goobserve(run, &["report", recording.to_str().unwrap(), "--format", "json"]).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = serde_json::from_slice(&output.stdout).unwrap();
    Schema::published("report").unwrap().check(&report).unwrap();
    report
}

#[test]
fn a_command_that_cannot_start_is_two_lines_and_no_file() {
    let Some((lab, run)) = ready("a_command_that_cannot_start_is_two_lines_and_no_file") else { return };
    let [no_program, no_interpreter] = ["no-program", "no-interpreter"].map(|name| run.file(name));
    fs::write(&no_program, "#!/bin/sh\n").unwrap();
    fs::write(&no_interpreter, "#!/no/such/interpreter\n").unwrap();
    for (file, mode) in [(&no_program, 0o644), (&no_interpreter, 0o755)] {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }
    let [json, record] = ["report.json", "recording.jsonl"].map(|name| run.file(name));
    let files = ["--json", json.to_str().unwrap(), "--record", record.to_str().unwrap(), "--"];
    for (command, status) in [
        ("no-such-program-anywhere", 127),
        ("./no-such-file", 127),
        (no_program.to_str().unwrap(), 126),
        (no_interpreter.to_str().unwrap(), 127),
    ] {
        let output = lab.goobserve(&run, &[&["run"], &files[..], &[command]].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{command}: {}", stderr(&output));
        is_two_lines(&stderr(&output));
        assert!(!json.exists() && !record.exists(), "{command}");
    }
}

#[test]
fn a_killed_command_is_128_and_the_signal_with_a_report() {
    let Some((lab, run)) = ready("a_killed_command_is_128_and_the_signal_with_a_report") else { return };
    for (signal, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11)] {
        let observed = lab.observe(&run, &["sh", "-c", &format!("kill -{signal} $$")]).unwrap();
        assert_eq!(observed.output.status.code(), Some(128 + number), "{}", observed.stderr());
        assert_eq!(int(&observed.report["commands"][0], "signal"), number as u64);
    }
}

#[test]
fn a_program_that_is_not_go_is_one_line_and_its_own_status() {
    let Some((lab, run)) = ready("a_program_that_is_not_go_is_one_line_and_its_own_status") else { return };
    let output = lab.goobserve(&run, &["run", "--report", "none", "--", "sh", "-c", "exit 5"]).unwrap();
    assert_eq!(output.status.code(), Some(5));
    let text = stderr(&output);
    assert_eq!(said(&text).len(), 1, "{text}");
    assert!(text.contains("sh is not a Go program"), "{text}");
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_command() {
    let Some((lab, run)) = ready("a_full_disk_ends_the_recording_and_not_the_command") else { return };
    let (disk, copy) = (run.file("disk"), run.file("copy.jsonl"));
    fs::create_dir(&disk).unwrap();
    // The command's own mount namespace, so the disk ends with it.
    let script = "mount -t tmpfs -o size=64k none \"$1\" || exit 99
        \"$3\" run --record \"$1/recording.jsonl\" -- sh -c 'go mod download && exit 7'
        status=$?; cp \"$1/recording.jsonl\" \"$2\"; exit $status";
    let mut command = run.command("sh");
    command.args(["-c", script, "sh"]).args([&disk, &copy, &binary().unwrap()]);
    let output = lab.output(&mut command).unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    let said = said(&text);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("recording.jsonl stopped after") && said[0].contains("No space left"),
        "{said:?}"
    );
    assert!(text.contains("go mod download"), "the report is printed all the same: {text}");
    let report = report(&lab, &run, &copy);
    assert_eq!(report["commands"].as_array().unwrap().len(), 1);
}

/// Observes a download that takes a while, in the middle of it.
fn in_the_middle(lab: &Lab, run: &GoRun, options: &[&str]) -> (Running, u32) {
    let slow = HeadDelay { matches: ending(".zip"), delay: Duration::from_millis(60) };
    lab.proxy.set_faults(Faults { head_delays: vec![slow], ..Faults::default() });
    let script = "go mod download; echo $? > ../ended; exit 7";
    let mut command = run.goobserve().unwrap();
    command.arg("run").args(options).args(["--", "sh", "-c", script]);
    let running = lab.begin(&mut command).unwrap();
    wait::until("some requests", || {
        let zips = lab.proxy.log().requests().into_iter().filter(|r| r.path.contains(".zip")).count();
        (zips >= 8).then_some(())
    });
    let worker = wait::until("the worker", || worker_below(running.pid()));
    assert!(!run.file("ended").exists(), "it is too late for this test");
    (running, worker)
}

#[track_caller]
fn the_command_succeeded(run: &GoRun) {
    let ended = wait::until("the command's own end", || {
        fs::read_to_string(run.file("ended")).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(ended, "0\n");
}

#[test]
fn a_killed_agent_leaves_the_command_and_a_recording_that_opens() {
    let test = "a_killed_agent_leaves_the_command_and_a_recording_that_opens";
    let Some((lab, run)) = ready(test) else { return };
    let recording = run.file("recording.jsonl");
    let (mut running, worker) = in_the_middle(&lab, &run, &["--record", recording.to_str().unwrap()]);
    running.signal(Signal::SIGKILL).unwrap();
    running.status();
    the_command_succeeded(&run);
    wait::until("the worker's end", || state(worker).is_none().then_some(()));
    let report = report(&lab, &run, &recording);
    assert_ne!(report["requests"].as_array().unwrap().len(), 0);
    assert_eq!(report["commands"][0]["exit_code"], Value::Null, "nobody saw it end");
}

#[test]
fn a_killed_worker_leaves_the_command_and_its_status() {
    let Some((lab, run)) = ready("a_killed_worker_leaves_the_command_and_its_status") else { return };
    let recording = run.file("recording.jsonl");
    let (running, worker) = in_the_middle(&lab, &run, &["--record", recording.to_str().unwrap()]);
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).unwrap();
    let output = running.end();
    the_command_succeeded(&run);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    is_two_lines(&stderr(&output));
    assert_ne!(report(&lab, &run, &recording)["requests"].as_array().unwrap().len(), 0);
}

#[test]
fn an_output_that_cannot_be_written_is_125_before_the_command() {
    let test = "an_output_that_cannot_be_written_is_125_before_the_command";
    let Some((lab, run)) = ready(test) else { return };
    let [touched, link, target, read_only] =
        ["touched", "link.json", "target", "read-only"].map(|name| run.file(name));
    symlink(&target, &link).unwrap();
    fs::create_dir(&read_only).unwrap();
    let script = "mount -t tmpfs -o ro none \"$1\" || exit 99; shift; exec \"$@\"";
    for option in ["--json", "--record"] {
        for file in [run.file("no/such/folder/file"), link.clone(), read_only.join("file"), read_only.clone()]
        {
            let mut command = run.command("sh");
            command.args(["-c", script, "sh"]).args([&read_only, &binary().unwrap()]);
            command.args(["run", option]).arg(&file).args(["--", "touch"]).arg(&touched);
            let output = lab.output(&mut command).unwrap();
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(125), "{option} {}: {text}", file.display());
            is_two_lines(&text);
            assert!(text.contains(file.to_str().unwrap()), "it names the file: {text}");
            assert!(!touched.exists() && !target.exists(), "{option} {}", file.display());
        }
    }
}

#[test]
fn a_report_that_is_refused_leaves_no_recording() {
    let Some((lab, run)) = ready("a_report_that_is_refused_leaves_no_recording") else { return };
    let (json, record) = (run.file("no/such/folder/report.json"), run.file("recording.jsonl"));
    let mut command = run.goobserve().unwrap();
    command.arg("run").arg("--json").arg(json).arg("--record").arg(&record).args(["--", "true"]);
    assert_eq!(lab.output(&mut command).unwrap().status.code(), Some(125));
    assert!(!record.exists());
}

/// Where two values differ, at most ten places.
fn differences(at: &str, a: &Value, b: &Value, found: &mut Vec<String>) {
    match (a, b) {
        _ if found.len() >= 10 => {}
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            x.iter().for_each(|(name, value)| differences(&format!("{at}.{name}"), value, &y[name], found));
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (index, (value, other)) in x.iter().zip(y).enumerate() {
                differences(&format!("{at}[{index}]"), value, other, found);
            }
        }
        _ if a == b => {}
        _ => found.push(format!("{at}: {a} and {b}")),
    }
}

#[test]
fn the_report_of_a_recording_is_that_of_the_live_run() {
    let Some((lab, _)) = ready("the_report_of_a_recording_is_that_of_the_live_run") else { return };
    for http1 in [false, true] {
        let run = lab.go_run(&GoOptions { http1, ..GoOptions::default() }).unwrap();
        let [json, recording] = ["report.json", "recording.jsonl"].map(|name| run.file(name));
        let mut command = run.goobserve().unwrap();
        command.arg("run").arg("--json").arg(&json).arg("--record").arg(&recording);
        let output = lab.output(command.args(["--", "go", "mod", "download"])).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let live: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        Schema::published("report").unwrap().check(&live).unwrap();
        assert!(live["requests"].as_array().unwrap().len() > 100);
        let mut found = Vec::new();
        differences("$", &live, &report(&lab, &run, &recording), &mut found);
        assert!(found.is_empty(), "live and replayed: {found:#?}");

        // The text is the same, too.
        let text = lab.goobserve(&run, &["report", recording.to_str().unwrap()]).unwrap();
        assert_eq!(stderr(&output), String::from_utf8_lossy(&text.stdout));
    }
}

#[test]
fn every_line_of_a_recording_is_of_the_published_schema_and_in_order() {
    let test = "every_line_of_a_recording_is_of_the_published_schema_and_in_order";
    let Some((lab, run)) = ready(test) else { return };
    let recording = run.file("recording.jsonl");
    let record = ["run", "--record", recording.to_str().unwrap(), "--", "go", "mod", "download"];
    assert_eq!(lab.goobserve(&run, &record).unwrap().status.code(), Some(0));
    let text = fs::read_to_string(&recording).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let schema = Schema::published("recording").unwrap();
    for line in &lines {
        schema.check(line).unwrap_or_else(|error| panic!("{error:#}: {line}"));
    }
    let (first, last) = (lines.first().unwrap(), lines.last().unwrap());
    assert_eq!((&first["type"], &last["type"]), (&Value::from("session"), &Value::from("end")));
    let late = lines.windows(2).find(|pair| int(&pair[0], "at_ns") > int(&pair[1], "at_ns"));
    assert_eq!(late, None, "in order of time");
}
