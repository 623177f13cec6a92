//! What `goobserve gate` says and does for those who set up a CI: its plan, a network that fails, private names that
//! left.

use std::fs;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tests::git::VERSION;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::{GIT_HOST, Lab};
use tests::proxy::{Answer, Faults, paths};
use tests::skip;

const DOWNLOAD: [&str; 4] = ["--", "go", "mod", "download"];

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = lab.go_run(&GoOptions { go_sum: true, few: true, ..GoOptions::default() }).unwrap();
    Some((lab, run))
}

/// Runs `goobserve gate`; its stdout and stderr on lines that are not folded.
#[track_caller]
fn gate(lab: &Lab, run: &GoRun, status: i32, args: &[&str]) -> (String, String) {
    let output: Output = lab.goobserve(run, &[&["gate"], args].concat()).unwrap();
    // A line that is continued begins so; rows of tables are numbers first, or further in.
    let unfolded = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.split_inclusive('\n').map(|line| match line.strip_prefix("    ") {
            Some(rest) if rest.starts_with(char::is_alphabetic) => format!("\u{8}{rest}"),
            _ => line.to_owned(),
        });
        lines.collect::<String>().replace("\n\u{8}", " ")
    };
    let (out, err) = (unfolded(&output.stdout), unfolded(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{args:?}\n{out}\n{err}");
    (out, err)
}

fn json(run: &GoRun, name: &str) -> Value {
    serde_json::from_slice(&fs::read(run.project().join(name)).unwrap()).unwrap()
}

#[test]
fn a_plan_says_what_it_takes_and_judges_nothing() {
    let Some((lab, run)) = ready("a_plan_says_what_it_takes_and_judges_nothing") else { return };
    let args = ["ab", "--plan", "--max-runs", "30", "--json", "gate.json", "--a", "true", "--b", "true"];
    let (out, _) = gate(&lab, &run, 0, &args);
    assert!(
        out.starts_with("10 runs of each side, up to 30 while it is inconclusive; 62 runs at most"),
        "{out}"
    );
    let table = out.split("What it takes").nth(1).unwrap();
    let row = |runs: &str| table.lines().find(|line| line.trim_start().starts_with(runs)).map(str::to_owned);
    assert!(
        ["10 ", "20 ", "30 "]
            .iter()
            .all(|runs| row(runs).is_some_and(|row| row.contains('%') || row.ends_with("times as long"))),
        "{out}"
    );
    assert!(out.contains("a CI minute buys "), "{out}");
    assert!(!run.project().join("gate.json").exists());

    // Of a baseline it is said by what the baseline has, and nothing is run.
    let args = [&["record", "--append", "--runs", "1", "--out", "base.json"], &DOWNLOAD[..]].concat();
    gate(&lab, &run, 0, &args);
    let plan = [&["run", "--plan", "--baseline", "base.json"], &DOWNLOAD[..]].concat();
    lab.proxy.log().take();
    let (out, _) = gate(&lab, &run, 0, &plan);
    assert!(out.contains("5 recordings of the baseline judge time, 1 there"), "{out}");
    assert_eq!(lab.proxy.log().take().1.len(), 0);
    let wall = json(&run, "base.json")["recordings"][0]["runs"][0]["wall_ns"].as_u64().unwrap();
    assert!(out.contains(&format!("a run takes {}", model::human::duration(wall))), "{out}");
    let record = [&["record", "--plan", "--out", "new.json"], &DOWNLOAD[..]].concat();
    let (out, _) = gate(&lab, &run, 0, &record);
    assert!(out.contains("is not known: nothing has run yet"), "{out}");
    assert!(!run.project().join("new.json").exists());
}

/// The proxy answers so many requests with 502.
fn broken(lab: &Lab, requests: u32) {
    let left = Arc::new(AtomicU32::new(requests));
    let matches =
        paths(move |_| left.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok());
    let answers = vec![Answer { matches, status: 502, retry_after_s: None }];
    lab.proxy.set_faults(Faults { answers, ..Faults::default() });
}

#[test]
fn what_the_network_fails_is_made_once_more_or_has_a_status_of_its_own() {
    let test = "what_the_network_fails_is_made_once_more_or_has_a_status_of_its_own";
    let Some((lab, run)) = ready(test) else { return };
    let args = [&["record", "--runs", "1", "--out", "base.json"], &DOWNLOAD[..]].concat();
    gate(&lab, &run, 0, &args);
    let judge =
        ["run", "--baseline", "base.json", "--runs", "1", "--json", "gate.json", "--junit", "gate.xml"];
    let (plain, retried) = (
        [&judge[..], &DOWNLOAD[..]].concat(),
        [&judge[..], &["--retry-on", "network"], &DOWNLOAD[..]].concat(),
    );
    // One answer of the run that warms up, and the network is to blame.
    broken(&lab, 1);
    let (_, err) = gate(&lab, &run, 4, &plain);
    assert!(err.contains("Failed because of the network"), "{err}");
    assert_eq!(json(&run, "gate.json")["blame"], "network");
    broken(&lab, 1);
    let (_, err) = gate(&lab, &run, 0, &retried);
    assert!(err.contains("the round is made once more"), "{err}");
    assert_eq!(json(&run, "gate.json")["repeated"], 1);
    // A network that stays so: status 6, and every output says why.
    broken(&lab, u32::MAX);
    let (out, err) = gate(&lab, &run, 6, &retried);
    assert!(out.contains("the network failed it, also after 2 rounds more: status 6"), "{out}");
    assert!(err.contains("Failed because of the network"), "{err}");
    assert_eq!(json(&run, "gate.json")["verdict"], "invalid");
    let xml = fs::read_to_string(run.project().join("gate.xml")).unwrap();
    assert!(xml.contains("name=\"blame\" value=\"network\"") && xml.contains("errors=\"1\""), "{xml}");
    let record = ["record", "--retry-on", "network", "--runs", "1", "--out", "b.json"];
    gate(&lab, &run, 6, &[&record[..], &DOWNLOAD[..]].concat());
    // What the command itself fails by is not tried once more.
    broken(&lab, 0);
    let (_, err) = gate(&lab, &run, 4, &[&record[..], &["--", "false"]].concat());
    assert!(!err.contains("once more"), "{err}");
}

#[test]
fn a_private_name_that_left_fails_the_build_with_status_5() {
    let test = "a_private_name_that_left_fails_the_build_with_status_5";
    if !skip::has(test, "git", "git") {
        return;
    }
    let Some(lab) = Lab::for_test(test) else { return };
    let _git = lab.git_libraries(&["lib", "app"]).unwrap();
    let env = [
        ("GOPROXY", "https://proxy.test,direct"),
        ("GOFLAGS", "-modcacherw -mod=mod"),
        ("GONOSUMDB", GIT_HOST),
        ("GIT_SSL_CAINFO", &lab.ca().display().to_string()),
        ("GIT_CONFIG_NOSYSTEM", "1"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let run = lab.go_run(&GoOptions { env, ..GoOptions::default() }).unwrap();
    let go_mod = format!("module {GIT_HOST}/app\n\ngo 1.21\n\nrequire {GIT_HOST}/lib {VERSION}\n");
    fs::write(run.project().join("go.mod"), go_mod).unwrap();
    let record = ["record", "--runs", "1", "--out", "base.json"];
    gate(&lab, &run, 0, &[&record[..], &DOWNLOAD[..]].concat());
    let judge =
        ["run", "--baseline", "base.json", "--runs", "1", "--json", "gate.json", "--junit", "gate.xml"];
    // GONOSUMDB alone leaves the proxy asked: without --fail-on private-name that is a warning.
    let (out, _) = gate(&lab, &run, 0, &[&judge[..], &DOWNLOAD[..]].concat());
    assert!(out.contains("Private names that left") && out.contains("git.test/lib"), "{out}");
    let fails = ["--fail-on", "private-name"];
    let (out, _) = gate(&lab, &run, 5, &[&judge[..], &fails, &DOWNLOAD[..]].concat());
    assert!(
        out.starts_with("the name of a private module left, which fails the build; by itself passed"),
        "{out}"
    );
    let names = &json(&run, "gate.json")["private_names"];
    assert_eq!((&names[0]["kind"], &names[0]["runs"]), (&"private-name-left".into(), &1.into()), "{names}");
    let xml = fs::read_to_string(run.project().join("gate.xml")).unwrap();
    assert!(xml.contains("<failure type=\"private-name\""), "{xml}");

    // Nothing leaves once GOPRIVATE is set.
    let quiet = ["--with", "env=GOPRIVATE=git.test", "--fail-on", "private-name"];
    let before = ["record", "--runs", "1", "--out", "base.json", "--with", "env=GOPRIVATE=git.test"];
    gate(&lab, &run, 0, &[&before[..], &DOWNLOAD[..]].concat());
    gate(&lab, &run, 0, &[&judge[..], &quiet, &DOWNLOAD[..]].concat());
    assert_eq!(json(&run, "gate.json")["private_names"].as_array().map(Vec::len), Some(0));
}
