//! Credentials that reach goobserve by the arguments of git's children, by the environment and by
//! its own arguments: none is in anything it writes or prints.

use std::fs;

use nix::sys::signal::Signal;
use tests::git::VERSION;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::{GIT_HOST, Lab};
use tests::running::Running;
use tests::{skip, wait};

/// In the base of an `insteadOf`, and so in the arguments of git-remote-https.
const GIT: &str = "hunter2git";
/// In a header of git's, and so in the arguments of a `git -c`.
const HEADER: &str = "hunter2header";
/// In GOFLAGS.
const FLAG: &str = "hunter2flag";
/// In a remedy.
const REMEDY: &str = "hunter2remedy";
/// In arguments of the shell and of what it starts.
const ARGUMENT: &str = "hunter2argument";
const SECRETS: [&str; 5] = [GIT, HEADER, FLAG, REMEDY, ARGUMENT];

/// A project whose module is fetched by git with a token, as a CI job is set up.
fn with_token(lab: &Lab) -> GoRun {
    let base = format!("url.https://oauth2:{GIT}@{GIT_HOST}/.insteadOf");
    let host = format!("https://{GIT_HOST}/");
    let env = [
        ("GOPROXY", "direct"),
        ("GOSUMDB", "off"),
        ("GOFLAGS", &format!("-modcacherw -ldflags=-X=main.key={FLAG}")),
        ("GIT_SSL_CAINFO", lab.ca().to_str().unwrap()),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", &base),
        ("GIT_CONFIG_VALUE_0", &host),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let run = lab.go_run(&GoOptions { env, ..GoOptions::default() }).unwrap();
    let wants = format!("module sample.test/app\n\ngo 1.21\n\nrequire {GIT_HOST}/lib {VERSION}\n");
    fs::write(run.project().join("go.mod"), wants).unwrap();
    run
}

fn lab(test: &str) -> Option<Lab> {
    skip::has(test, "git", "git").then(|| Lab::for_test(test)).flatten()
}

/// What the shell does: git with a header, and go.
fn script() -> String {
    format!(
        "git -c 'http.extraHeader=Authorization: Bearer {HEADER}' version; TOKEN={ARGUMENT} go mod download {GIT_HOST}/lib"
    )
}

#[track_caller]
fn clean(name: &str, output: &str) {
    for secret in SECRETS {
        let line = output.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in {name}: {line:?}");
    }
}

#[test]
fn a_run_writes_and_prints_no_credential() {
    let Some(lab) = lab("a_run_writes_and_prints_no_credential") else { return };
    let _host = lab.git_host(None).unwrap();
    let run = with_token(&lab);
    let (json, record) = (run.dir().join("r.json"), run.dir().join("r.jsonl"));
    let mut command = run.goobserve().unwrap();
    command.args(["run", "-vv"]).arg("--json").arg(&json).arg("--record").arg(&record);
    command.args(["--with", &format!("env=API_KEY={REMEDY}"), "--", "sh", "-c", &script(), ARGUMENT]);
    let output = lab.output(&mut command).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    clean("the report on the terminal", &stderr);
    for half in ["goobserve agent 0.", "goobserve worker 0."] {
        assert!(stderr.lines().any(|line| line.starts_with(half)), "{half}: {stderr}");
    }

    let json = fs::read_to_string(json).unwrap();
    clean("--json", &json);
    clean("--record", &fs::read_to_string(&record).unwrap());
    for format in ["text", "markdown", "html", "perfetto", "json"] {
        let output = lab.goobserve(&run, &["report", record.to_str().unwrap(), "--format", format]).unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}");
        clean(format, &String::from_utf8_lossy(&output.stdout));
    }
    // What is safe stays readable: of git the host, of go the command.
    assert!(json.contains(&format!("https://…@{GIT_HOST}/lib.git")), "{json}");
    assert!(json.contains("http.extraHeader=…"), "{json}");
    for word in ["ls-remote", "remote-https", "download", "-modcacherw", "env=API_KEY=…"] {
        assert!(json.contains(word), "{word}: {json}");
    }
}

#[test]
fn watch_prints_no_credential() {
    let Some(lab) = lab("watch_prints_no_credential") else { return };
    let _host = lab.git_host(None).unwrap();
    for output in ["text", "jsonl"] {
        let run = with_token(&lab);
        let args = ["watch", "--output", output];
        let watching: Running = lab.begin(run.goobserve().unwrap().args(args)).unwrap();
        wait::until("goobserve to watch", || watching.stderr().contains("watching every go").then_some(()));
        let done = lab.output(run.command("sh").args(["-c", &script(), ARGUMENT])).unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        if output == "jsonl" {
            let shown = || watching.stdout().contains("git-remote-https").then_some(());
            wait::until("git to be shown", shown);
        }
        watching.signal(Signal::SIGINT).unwrap();
        let ended = watching.end();
        assert!(String::from_utf8_lossy(&ended.stdout).contains("download"), "{output}");
        clean(output, &String::from_utf8_lossy(&ended.stdout));
        clean("its errors", &String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn a_complaint_repeats_no_credential() {
    let Some(lab) = Lab::for_test("a_complaint_repeats_no_credential") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    for wrong in [
        format!("proxy={REMEDY}"),
        format!("proxy=https://u:{REMEDY}@proxy.test,ftp://{REMEDY}@x"),
        format!("sumdb=u:{REMEDY}@x https://u:{REMEDY}@x.test b"),
        format!("env={REMEDY}"),
        format!("token={REMEDY}"),
        format!("{REMEDY}=token"),
        format!("concurrency={REMEDY}"),
        format!("http1={REMEDY}"),
        format!("resolv={REMEDY} x"),
        format!("resolv=nameserver {REMEDY}"),
    ] {
        let output = lab.goobserve(&run, &["run", "--with", &wrong, "--", "go", "version"]).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        clean(&wrong, &String::from_utf8_lossy(&output.stderr));
    }
    let nowhere = format!("/nowhere/u:{REMEDY}@x/go");
    let output = lab.goobserve(&run, &["run", "--", &nowhere, "version"]).unwrap();
    assert_eq!(output.status.code(), Some(127));
    clean("a program that is not there", &String::from_utf8_lossy(&output.stderr));
}
