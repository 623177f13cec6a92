//! `goobserve fix`: that what it says to keep helps, that it recommends nothing else, and that it leaves
//! everything as it was within its budget.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::bench::few;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::net::Place;
use tests::proxy::{Faults, SlowBody, ending};
use tests::schema::Schema;
use tests::wire::{HelloLoss, WireFaults};

/// A project, and a download in it.
fn ready(test: &str) -> Option<(Lab, GoRun, [String; 3])> {
    let lab = Lab::for_test(test)?;
    let run = lab
        .go_run(&GoOptions { gomaxprocs: Some(2), few: true, go_sum: true, ..GoOptions::default() })
        .unwrap();
    Some((lab, run, ["go", "mod", "download"].map(str::to_owned)))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs `goobserve fix` and reads its JSON; what it found is as it was.
#[track_caller]
fn fix(lab: &Lab, run: &GoRun, options: &[&str], command: &[String]) -> (Output, Value) {
    let before = files(run);
    let file = run.file("fix.json");
    let json = ["fix", "--json", file.to_str().unwrap()];
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let output = lab.goobserve(run, &[&json, options, &["--"], &command].concat()).unwrap();
    let fix = fs::read(&file).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    let fix = serde_json::from_slice(&fix).unwrap();
    Schema::published("fix").unwrap().check(&fix).unwrap();
    fs::remove_file(file).unwrap();
    assert_eq!(files(run), before, "{}", text(&output));
    (output, fix)
}

/// The module files with their content, and what lies in and beside the caches.
fn files(run: &GoRun) -> Vec<(PathBuf, Vec<u8>)> {
    let folders = [run.project(), run.modcache(), run.dir().to_owned(), run.dir().join("gopath")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), if path.is_file() { fs::read(path).unwrap() } else { Vec::new() }))
        .collect();
    files.sort();
    files
}

fn slow_answers(lab: &Lab) {
    // So late that what is waited for is most of the time on a busy machine, too.
    let request_delay = Duration::from_millis(200);
    lab.proxy.set_faults(Faults { request_delay, ..Faults::default() });
}

#[test]
fn what_cures_slow_answers_is_proven_and_its_line_works() {
    let test = "what_cures_slow_answers_is_proven_and_its_line_works";
    let Some((lab, run, command)) = ready(test) else { return };
    slow_answers(&lab);
    let (output, fix) = fix(&lab, &run, &["--cache", "memory", "--budget", "150s"], &command);
    let text = text(&output);
    assert_eq!((output.status.code(), &fix["verdict"]), (Some(0), &"proven".into()), "{text}");
    let trials = fix["trials"].as_array().unwrap();
    let more = trials.iter().find(|trial| trial["name"] == "concurrency=16").unwrap();
    assert_eq!(more["outcome"], "faster", "{text}");
    assert!(more["times_faster"]["low"].as_f64().unwrap() > 1.05, "{text}");
    // The last line but one of the page is what to paste.
    let line = fix["keep"]["line"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).lines().any(|printed| printed.trim() == line), "{text}");
    let program = run.file("bin");
    fs::create_dir(&program).unwrap();
    std::os::unix::fs::symlink(binary().unwrap(), program.join("goobserve")).unwrap();
    let mut shell = run.command("sh");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    shell.env("PATH", path).args(["-c", line]);
    let kept = lab.output(&mut shell).unwrap();
    assert!(kept.status.success(), "{line}: {}", self::text(&kept));
    assert!(run.modcache().join("cache/download").is_dir(), "{line}");
}

#[test]
fn of_a_healthy_command_nothing_is_recommended() {
    let Some((lab, run, command)) = ready("of_a_healthy_command_nothing_is_recommended") else { return };
    let (output, fix) = fix(&lab, &run, &["--cache", "memory"], &command);
    let text = text(&output);
    assert_eq!((output.status.code(), &fix["keep"]), (Some(0), &Value::Null), "{text}");
    let verdict = fix["verdict"].as_str().unwrap();
    assert!(["nothing-to-try", "nothing-helps"].contains(&verdict), "{text}");
    assert!(fix["observed"]["wall_ns"].as_u64().unwrap() > 0, "{text}");
    assert!(text.contains("Nothing"), "{text}");
}

#[test]
fn what_makes_a_failing_command_succeed_is_proven() {
    let test = "what_makes_a_failing_command_succeed_is_proven";
    let Some(lab) = Lab::for_test_in(test, Place::Wire) else { return };
    let run = few::project(&lab, &GoOptions::default()).unwrap();
    let lost_hellos = vec![HelloLoss::LargerThanAPacket];
    let wire = lab.net.wire.as_ref().unwrap();
    wire.set_faults(WireFaults { rtt: Duration::from_millis(10), lost_hellos, ..WireFaults::default() });
    let modules = few::smallest(&lab, 1).unwrap();
    let command = [["go", "mod", "download"].map(str::to_owned).to_vec(), modules].concat();
    let (output, fix) = fix(&lab, &run, &["--cache", "memory", "--budget", "170s"], &command);
    let text = text(&output);
    assert_eq!((output.status.code(), &fix["verdict"]), (Some(0), &"proven".into()), "{text}");
    let line = fix["keep"]["line"].as_str().unwrap();
    assert_eq!(line, format!("GODEBUG=tlsmlkem=0 {}", command.join(" ")), "{text}");
    assert_eq!((&fix["failures"][0]["side"], &fix["failures"][0]["status"]), (&"baseline".into(), &1.into()));
}

#[test]
fn a_remedy_that_does_not_help_is_given_up_and_not_recommended() {
    let test = "a_remedy_that_does_not_help_is_given_up_and_not_recommended";
    let Some(lab) = Lab::for_test(test) else { return };
    let run = few::project(&lab, &GoOptions { gomaxprocs: Some(4), ..GoOptions::default() }).unwrap();
    // Each body has a rate of its own: more connections do not make it higher.
    let slow_bodies = vec![SlowBody { matches: ending(".zip"), bytes_per_s: 700_000 }];
    lab.proxy.set_faults(Faults { slow_bodies, ..Faults::default() });
    let modules = ["golang.org/x/net@v0.24.0", "golang.org/x/sys@v0.25.0"];
    let command = [&["go", "mod", "download"][..], &modules].concat();
    let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
    let (output, fix) = fix(&lab, &run, &["--cache", "memory"], &command);
    let text = text(&output);
    assert_eq!((output.status.code(), &fix["keep"]), (Some(0), &Value::Null), "{text}");
    assert_eq!(fix["verdict"], "nothing-helps", "{text}");
    assert_eq!(fix["trials"][0]["name"], "http1", "{text}");
    assert!(fix["rounds"].as_u64().unwrap() > 0 && text.contains("http1: "), "{text}");
}

#[test]
fn a_command_that_fails_is_said_to_and_nothing_is_recommended() {
    let test = "a_command_that_fails_is_said_to_and_nothing_is_recommended";
    let Some((lab, run, _)) = ready(test) else { return };
    let command = ["sh", "-c", "echo x >> go.mod; echo broken >&2; exit 3"].map(str::to_owned);
    let (output, fix) = fix(&lab, &run, &["-q"], &command);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert_eq!((&fix["verdict"], &fix["keep"]), (&"failed".into(), &Value::Null), "{fix}");
    assert_eq!((&fix["failures"][0]["said"], &fix["failures"][0]["status"]), (&"broken".into(), &3.into()));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 2, "{}", text(&output));
}

#[test]
fn the_budget_is_kept_and_nothing_is_recommended_where_it_is_too_short() {
    let test = "the_budget_is_kept_and_nothing_is_recommended_where_it_is_too_short";
    let Some((lab, run, command)) = ready(test) else { return };
    // The first run does not end in it.
    let began = Instant::now();
    let hangs = ["sh", "-c", "echo x >> go.mod; sleep 100"].map(str::to_owned);
    let (output, hung) = fix(&lab, &run, &["--budget", "3s"], &hangs);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!((output.status.code(), &hung["verdict"]), (Some(4), &"out-of-time".into()), "{hung}");
    assert_eq!(hung["observed"], Value::Null);
    // It does, and there is no time for a proof.
    slow_answers(&lab);
    let (output, short) = fix(&lab, &run, &["--budget", "20s", "--cache", "memory"], &command);
    let text = text(&output);
    assert_eq!((output.status.code(), &short["verdict"]), (Some(4), &"out-of-time".into()), "{text}");
    let untried = short["untried"].as_array().unwrap();
    let more = untried.iter().find(|one| one["name"] == "concurrency=16").unwrap();
    assert!(more["why"].as_str().unwrap().contains("--budget 20.0 s"), "{text}");
    assert!(more["try"].as_str().unwrap().contains("goobserve compare --with concurrency=16"), "{text}");
    assert_eq!((&short["keep"], short["trials"].as_array().unwrap().len()), (&Value::Null, 0), "{text}");
}

#[test]
fn wrong_use_is_status_2() {
    let Some((lab, run, _)) = ready("wrong_use_is_status_2") else { return };
    for arguments in [&["fix"][..], &["fix", "--budget", "soon", "true"], &["fix", "--runs", "3", "true"]] {
        let output = lab.goobserve(&run, arguments).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
    }
}
