//! `goobserve gate` from outside: exit statuses, files, and the workflow files of docs/ci, whose
//! steps run here.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::proxy::Faults;
use tests::{paths, skip, wait};

/// A user that no machine has.
const USER: u32 = 61_504;
const DOWNLOAD: [&str; 4] = ["--", "go", "mod", "download"];

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = lab.go_run(&GoOptions { go_sum: true, few: true, ..GoOptions::default() }).unwrap();
    Some((lab, run))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn gate(lab: &Lab, run: &GoRun, status: i32, args: &[&str]) -> Output {
    let args = [&["gate"], args].concat();
    let output = lab.goobserve(run, &args).unwrap();
    let (out, err) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(status), "{args:?}\n{out}\n{err}");
    output
}

#[track_caller]
fn record(lab: &Lab, run: &GoRun, file: &str, runs: &str) {
    let args = [&["record", "--append", "--runs", runs, "--out", file], &DOWNLOAD[..]].concat();
    gate(lab, run, 0, &args);
}

fn json(run: &GoRun, name: &str) -> Value {
    serde_json::from_slice(&fs::read(run.project().join(name)).unwrap()).unwrap()
}

#[test]
fn a_baseline_is_recorded_and_judges_a_run() {
    let Some((lab, run)) = ready("a_baseline_is_recorded_and_judges_a_run") else { return };
    let go_mod = fs::read(run.project().join("go.mod")).unwrap();
    record(&lab, &run, "base.json", "2");
    let args = [&["run", "--baseline", "base.json", "--runs", "2", "--json", "gate.json"], &DOWNLOAD[..]];
    let output = gate(&lab, &run, 0, &args.concat());
    assert!(
        stdout(&output).starts_with("passed (bounded and time not judged): the same requests\n"),
        "{}",
        stdout(&output)
    );
    let outcome = json(&run, "gate.json");
    assert_eq!((&outcome["schema"], &outcome["verdict"]), (&"goobserve.gate/1".into(), &"passed".into()));
    assert!(outcome["causes"].as_array().unwrap().is_empty(), "{}", outcome["causes"]);

    // From the fifth recording on it judges time.
    for _ in 0..4 {
        record(&lab, &run, "base.json", "2");
    }
    assert_eq!(json(&run, "base.json")["recordings"].as_array().unwrap().len(), 5);
    let args = [
        &[
            "run",
            "--baseline",
            "base.json",
            "--runs",
            "3",
            "--json",
            "gate.json",
            "--out",
            "new.json",
            "--floor",
            "200%",
        ],
        &DOWNLOAD[..],
    ];
    gate(&lab, &run, 0, &args.concat());
    assert_eq!(json(&run, "gate.json")["time"]["verdict"], "passed");
    // Nothing of the user's was touched.
    assert_eq!(fs::read(run.project().join("go.mod")).unwrap(), go_mod);
    assert_eq!(fs::read_dir(run.modcache()).unwrap().count(), 0);

    // The two files say the same again, also to a user without root.
    gate(&lab, &run, 0, &["compare", "base.json", "new.json", "--floor", "200%"]);
}

#[test]
fn runs_with_a_remedy_are_judged_by_a_baseline_with_the_same() {
    let Some((lab, run)) = ready("runs_with_a_remedy_are_judged_by_a_baseline_with_the_same") else { return };
    let with = ["--with", "gateway", "--with", "env=GOMAXPROCS=2"];
    let args = [&["record", "--runs", "2", "--out", "base.json"], &with[..], &DOWNLOAD[..]].concat();
    gate(&lab, &run, 0, &args);
    let names: Vec<Value> = vec!["gateway".into(), "env=GOMAXPROCS=2".into()];
    assert_eq!(json(&run, "base.json")["with"].as_array(), Some(&names));
    // Each run has a gateway of its own, at another address: the requests are the same all the same.
    let new = ["run", "--baseline", "base.json", "--runs", "2", "--json", "gate.json"];
    let output = gate(&lab, &run, 0, &[&new[..], &with[..], &DOWNLOAD[..]].concat());
    assert_eq!(json(&run, "gate.json")["exact"]["verdict"], "passed", "{}", stdout(&output));
    let output = gate(&lab, &run, 4, &[&new[..], &DOWNLOAD[..]].concat());
    let said = "the baseline was made with gateway and env=GOMAXPROCS=2, the new runs without a remedy";
    let text = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(said), "{text}");
    // One that is slower behind its gateway is found by pairs that have one each.
    let sides = ["--a", "go mod download", "--b", "sleep 1; go mod download"];
    let ab = ["ab", "--runs", "8", "--json", "gate.json", "--with", "gateway"];
    let output = gate(&lab, &run, 1, &[&ab[..], &sides[..]].concat());
    let outcome = json(&run, "gate.json");
    let verdicts = [&outcome["exact"]["verdict"], &outcome["time"]["verdict"]];
    assert_eq!(verdicts, ["passed", "regressed"], "{}", stdout(&output));
    let deadline = ["record", "--out", "x.json", "--with", "deadline"];
    gate(&lab, &run, 2, &[&deadline[..], &DOWNLOAD[..]].concat());
}

#[test]
fn a_class_more_is_found_by_one_run() {
    let Some((lab, run)) = ready("a_class_more_is_found_by_one_run") else { return };
    record(&lab, &run, "base.json", "1");
    fs::remove_file(run.project().join("go.sum")).unwrap();
    let args = [&["run", "--baseline", "base.json", "--runs", "1"], &DOWNLOAD[..]].concat();
    let output = gate(&lab, &run, 1, &args);
    let text = stdout(&output);
    assert!(
        text.starts_with("regressed") && text.contains("sumdb-lookup") && text.contains("go.sum changed"),
        "{text}"
    );
}

/// A copy of the project beside it, `../base`, whose go.mod lacks those modules.
fn base_without(run: &GoRun, lacks: &[&str]) {
    let base = run.file("base");
    fs::create_dir(&base).unwrap();
    for name in ["go.mod", "go.sum", "main.go"] {
        fs::copy(run.project().join(name), base.join(name)).unwrap();
    }
    let all = fs::read_to_string(base.join("go.mod")).unwrap();
    let kept = all.lines().filter(|line| !lacks.iter().any(|name| line.contains(name)));
    fs::write(base.join("go.mod"), kept.collect::<Vec<_>>().join("\n") + "\n").unwrap();
}

const BASE: &str = "cd ../base && go mod download";
const NEW: &str = "go mod download";

#[test]
fn an_added_or_removed_module_is_listed_and_no_regression() {
    let Some((lab, run)) = ready("an_added_or_removed_module_is_listed_and_no_regression") else { return };
    base_without(&run, &["google/uuid", "gorilla/mux"]);
    let common = ["ab", "--runs", "2", "--json", "gate.json"];
    for (a, b, list) in [(BASE, NEW, "modules_added"), (NEW, BASE, "modules_removed")] {
        let output = gate(&lab, &run, 0, &[&common[..], &["--a", a, "--b", b]].concat());
        let outcome = json(&run, "gate.json");
        assert_eq!(outcome["exact"]["verdict"], "passed", "{}", stdout(&output));
        let named = ["github.com/google/uuid", "github.com/gorilla/mux"];
        assert_eq!(outcome["exact"][list], serde_json::json!(named), "{}", stdout(&output));
        assert!(stdout(&output).contains("go.mod changed"), "{}", stdout(&output));
    }
    // What both sides ask for is judged all the same.
    let twice = "go mod download && rm -r $GOMODCACHE/cache/download/github.com/gorilla && go mod download";
    let output = gate(&lab, &run, 1, &[&common[..], &["--a", BASE, "--b", twice]].concat());
    assert!(stdout(&output).contains("zip of github.com/gorilla/websocket"), "{}", stdout(&output));
}

#[test]
fn two_proxies_with_the_same_modules_are_compared_by_what_they_are() {
    let test = "two_proxies_with_the_same_modules_are_compared_by_what_they_are";
    let Some((lab, run)) = ready(test) else { return };
    let mirror = "GOPROXY=https://mirror.test/b~ go mod download";
    let args = ["ab", "--runs", "2", "--json", "gate.json", "--a", NEW, "--b", mirror];
    let output = gate(&lab, &run, 0, &args);
    let outcome = json(&run, "gate.json");
    assert_eq!(outcome["exact"]["verdict"], "passed", "{}", stdout(&output));
    assert_eq!(outcome["exact"]["more"].as_array().unwrap().len(), 0);
    assert_eq!(outcome["roles"][0]["label"], "mirror.test (was proxy.test)");
    let hosts = outcome["time"]["parts"].as_array().unwrap();
    assert!(hosts.iter().any(|part| part["host"] == "mirror.test (was proxy.test)"), "{hosts:?}");

    // The checksum database asked itself, not through the proxy.
    fs::remove_file(run.project().join("go.sum")).unwrap();
    let direct = "GOPROXY=https://mirror.test/b~ GOSUMDB=\"$GOSUMDB https://sumdb.test\" go mod download";
    let args = ["ab", "--runs", "2", "--a", NEW, "--b", direct];
    let output = gate(&lab, &run, 0, &args);
    let words = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("sumdb-lookup: 10 at sumdb.test; before: 10 at proxy.test"), "{words}");
}

#[test]
fn checksums_that_go_sum_lacks_are_one_line() {
    let Some((lab, run)) = ready("checksums_that_go_sum_lacks_are_one_line") else { return };
    base_without(&run, &[]);
    fs::remove_file(run.project().join("go.sum")).unwrap();
    let args = ["ab", "--runs", "2", "--json", "gate.json", "--a", BASE, "--b", NEW];
    gate(&lab, &run, 1, &args);
    let outcome = json(&run, "gate.json");
    let of_exact = |reason: &&Value| reason["tier"] == "exact";
    let reasons: Vec<&Value> = outcome["reasons"].as_array().unwrap().iter().filter(of_exact).collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0]["text"]
            .as_str()
            .unwrap()
            .starts_with("go.sum does not have them: sumdb-lookup of 10 modules")
    );
    assert!(!run.project().join("go.sum").exists());
}

#[test]
fn a_time_out_judges_what_is_known_and_leaves_nothing() {
    let Some((lab, run)) = ready("a_time_out_judges_what_is_known_and_leaves_nothing") else { return };
    let go_mod = fs::read(run.project().join("go.mod")).unwrap();
    let hang = "trap '' TERM; echo x >> go.mod; setsid sleep 1000.5 & sleep 1000.5; go version";
    let args = ["ab", "--timeout", "4s", "--json", "gate.json", "--a", hang, "--b", hang];
    let output = gate(&lab, &run, 0, &args);
    let outcome = json(&run, "gate.json");
    assert_eq!(outcome["verdict"], "inconclusive", "{}", stdout(&output));
    assert!(outcome["reasons"][0]["text"].as_str().unwrap().starts_with("--timeout ended it after 4.00 s"));
    gate(&lab, &run, 3, &[&args[..], &["--fail-on", "inconclusive"]].concat());
    assert_eq!(fs::read(run.project().join("go.mod")).unwrap(), go_mod);
    let left = fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        fs::read(process.path().join("cmdline")).is_ok_and(|words| words.ends_with(b"sleep\x001000.5\0"))
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn pairs_find_a_slowdown_and_pass_without_one() {
    let Some((lab, run)) = ready("pairs_find_a_slowdown_and_pass_without_one") else { return };
    let same = "go mod download";
    // Other tests may share the machine: what is not to matter is large.
    lab.proxy.set_faults(Faults { request_delay: Duration::from_millis(10), ..Faults::default() });
    let common = ["ab", "--cache", "memory", "--floor", "20%", "--json", "gate.json"];
    let args = [&common[..], &["--max-runs", "40", "--a", same, "--b", same]].concat();
    gate(&lab, &run, 0, &args);
    let outcome = json(&run, "gate.json");
    assert_eq!(outcome["time"]["verdict"], "passed", "{}", outcome["reasons"]);
    let args = [&common[..], &["--a", same, "--b", "sleep 0.5; go mod download"]].concat();
    let output = gate(&lab, &run, 1, &args);
    let outcome = json(&run, "gate.json");
    assert_eq!(outcome["reasons"][0]["phase"], "child", "{}", stdout(&output));
    // What does not fail the build is said all the same.
    let output = gate(&lab, &run, 0, &[&args[..], &["--fail-on", "invalid"]].concat());
    assert!(stdout(&output).starts_with("regressed: "), "{}", stdout(&output));
}

#[test]
fn too_few_pairs_are_inconclusive() {
    let Some((lab, run)) = ready("too_few_pairs_are_inconclusive") else { return };
    let args = ["ab", "--runs", "3", "--a", "go mod download", "--b", "go mod download"];
    let output = gate(&lab, &run, 0, &args);
    // Lines end where they are full.
    let words = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("inconclusive does not fail the build"), "{words}");
    assert!(stderr(&output).contains("8 runs with what warms up"), "{}", stderr(&output));
    assert!(stderr(&output).contains("each run makes about "), "{}", stderr(&output));
    gate(&lab, &run, 3, &[&args[..], &["--fail-on", "inconclusive"]].concat());
    assert!(words.contains("about 3 more runs of each side would decide it"), "{}", stdout(&output));
}

#[test]
fn a_command_that_fails_is_invalid() {
    let Some((lab, run)) = ready("a_command_that_fails_is_invalid") else { return };
    let args =
        ["ab", "--runs", "2", "--a", "true", "--b", "echo no such thing >&2; exit 7", "--json", "gate.json"];
    let output = gate(&lab, &run, 4, &args);
    assert!(stderr(&output).contains("failed with status 7: no such thing"), "{}", stderr(&output));
    assert_eq!(json(&run, "gate.json")["verdict"], "invalid");
    gate(&lab, &run, 4, &["record", "--runs", "1", "--out", "b.json", "--", "false"]);
    assert!(!run.project().join("b.json").exists());
}

#[test]
fn baselines_that_are_none_are_refused() {
    let Some((lab, run)) = ready("baselines_that_are_none_are_refused") else { return };
    for (text, said) in [
        ("", "x.json is cut off, or empty"),
        ("{\"schema\":\"goobserve.report/1\"}", "x.json is no baseline but goobserve.report/1"),
        ("{\"schema\":\"goobserve.baseline/9\"}", "x.json was made by another goobserve"),
    ] {
        fs::write(run.project().join("x.json"), text).unwrap();
        let output = gate(&lab, &run, 4, &["compare", "x.json", "x.json"]);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        let args = [&["run", "--baseline", "x.json"], &DOWNLOAD[..]].concat();
        gate(&lab, &run, 4, &args);
    }
    gate(&lab, &run, 4, &["compare", "none.json", "none.json"]);
}

#[test]
fn wrong_use_is_2() {
    let Some((lab, run)) = ready("wrong_use_is_2") else { return };
    for args in [
        &["ab", "--a", "true"][..],
        &["ab", "--a", "true", "--b", "true", "--runs", "9", "--max-runs", "3"],
        &["ab", "--a", "true", "--b", "true", "--fail-on", "tuesdays"],
        &["ab", "--a", "true", "--b", "true", "--fail-on", "none,exact"],
        &["ab", "--a", "true", "--b", "true", "--timeout", "0"],
        &["ab", "--a", "true", "--b", "true", "--warm", "--cache", "memory"],
        &["compare", "one.json"],
        &["compare", "a", "b", "--floor", "much"],
        &["run", "--", "true"],
        &["record", "--out", "x"],
        &["record", "--runs", "0", "--out", "x", "--", "true"],
        &["guess"],
        &[],
    ] {
        gate(&lab, &run, 2, args);
    }
}

/// The shell lines of a workflow file's step that calls goobserve.
fn step(file: &str) -> String {
    let path = paths::sample().join("../../docs/ci").join(file);
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().skip_while(|line| !["run: |", "- |"].contains(&line.trim()));
    let lead = lines.next().unwrap();
    let indent = lead.len() - lead.trim_start().len();
    let within = |line: &&str| line.len() - line.trim_start().len() > indent && !line.is_empty();
    let step = lines.take_while(within).collect::<Vec<_>>().join("\n");
    assert!(step.contains("goobserve gate"), "{file}: {step}");
    step
}

/// A project in git with a branch `base`, goobserve in PATH.
fn workspace(run: &GoRun) -> PathBuf {
    let bin = run.dir().join("bin");
    fs::create_dir(&bin).unwrap();
    paths::copy_program(&binary().unwrap(), &bin.join("goobserve")).unwrap();
    let git = "git init -q -b base && git add -A && git -c user.name=a -c user.email=a@git.test commit -qm one \
        && git checkout -q -b change";
    let output = run.command("sh").args(["-c", git]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    bin
}

/// `sh -e` of a step, as a CI runs it, begun by these words.
fn job(run: &GoRun, bin: &std::path::Path, before: &[&str], script: &str) -> Command {
    let mut command = run.command(before.first().copied().unwrap_or("sh"));
    if !before.is_empty() {
        command.args(&before[1..]).arg("sh");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(["-e", "-c", script]).env("PATH", format!("{}:{path}", bin.display()));
    command
        .envs([("AS_ROOT", ""), ("BASE", "base"), ("BASELINE", "base.json"), ("GITHUB_ACTIONS", "true")])
        .envs([("CI_DEFAULT_BRANCH", "main")])
        .env("GITHUB_STEP_SUMMARY", run.dir().join("project/summary.md"));
    command
}

#[test]
fn the_workflow_files_steps_do_what_they_say() {
    let test = "the_workflow_files_steps_do_what_they_say";
    let Some((lab, run)) = ready(test) else { return };
    if !skip::has(test, "git", "git") {
        return;
    }
    let bin = workspace(&run);
    // A laboratory's runs are short and a busy machine's noise large: the floor is what is moved.
    let github = step("github.yml").replace("--runs 10 --max-runs 30", "--runs 10 --max-runs 20 --floor 60%");
    let output = lab.output(&mut job(&run, &bin, &[], &github)).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}\n{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("\n::notice title=goobserve gate passed::"), "{}", stdout(&output));
    let summary = fs::read_to_string(run.project().join("summary.md")).unwrap();
    assert!(summary.starts_with("### goobserve gate: passed"), "{summary}");
    let junit = fs::read_to_string(run.project().join("gate.xml")).unwrap();
    assert!(junit.contains("tests=\"3\" failures=\"0\" errors=\"0\""), "{junit}");
    assert_eq!(json(&run, "gate.json")["verdict"], "passed");

    let gitlab = step("gitlab.yml").replace("--runs 10", "--runs 2");
    for branch in ["main", "change"] {
        let output = lab.output(job(&run, &bin, &[], &gitlab).env("CI_COMMIT_BRANCH", branch)).unwrap();
        assert_eq!(output.status.code(), Some(0), "{branch}: {}\n{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn without_root_or_bpf_a_workflow_is_invalid_and_no_pass() {
    let test = "without_root_or_bpf_a_workflow_is_invalid_and_no_pass";
    let Some((lab, run)) = ready(test) else { return };
    if !skip::has(test, "git", "git") {
        return;
    }
    let bin = workspace(&run);
    let step = step("github.yml").replace("git worktree add", "true git worktree add");
    let no_bpf = "-bpf,-sys_admin,-perfmon";
    let sets = ["--bounding-set", "--inh-caps"].map(|set| format!("{set}={no_bpf}"));
    let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
    let root = ["setpriv", &sets[0], &sets[1]];
    let user = ["setpriv", &ids[0], &ids[1], "--clear-groups"];
    for before in [&root[..], &user[..]] {
        if before == user {
            run.give_to(USER).unwrap();
        }
        let output = lab.output(&mut job(&run, &bin, before, &step)).unwrap();
        assert_eq!(output.status.code(), Some(4), "{before:?}: {}\n{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains("::error title=goobserve gate invalid::"), "{}", stdout(&output));
        assert_eq!(json(&run, "gate.json")["verdict"], "invalid");
        assert!(
            fs::read_to_string(run.project().join("gate.xml")).unwrap().contains("<error type=\"invalid\"")
        );
        for file in ["gate.json", "gate.xml", "summary.md"] {
            fs::remove_file(run.project().join(file)).unwrap();
        }
    }
    // Two files need no root.
    let newer = "{\"schema\":\"goobserve.baseline/2\"}";
    fs::write(run.project().join("new.json"), newer).unwrap();
    let output = lab.output(&mut job(&run, &bin, &user, "goobserve gate compare new.json new.json")).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("made by another goobserve"), "{}", stderr(&output));
}

#[test]
fn an_interrupted_gate_reports_what_was_measured_and_puts_all_back() {
    let test = "an_interrupted_gate_reports_what_was_measured_and_puts_all_back";
    let Some((lab, run)) = ready(test) else { return };
    let mut command = run.goobserve().unwrap();
    command.args(["gate", "ab", "--runs", "100", "--json", "gate.json"]);
    command.args(["--a", "go mod download", "--b", "echo x >> go.mod; touch ../more; sleep 0.1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let go_mod = fs::read(run.project().join("go.mod")).unwrap();
    let child = lab.spawn(&mut command).unwrap();
    let begun = wait::within(wait::LIMIT, || run.file("more").exists().then_some(()));
    assert!(begun.is_some(), "no run was made");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("interrupted after "), "{}", stderr(&output));
    assert_eq!(json(&run, "gate.json")["verdict"], "invalid");
    assert_eq!(fs::read(run.project().join("go.mod")).unwrap(), go_mod);
}
