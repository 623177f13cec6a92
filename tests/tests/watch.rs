//! `goobserve watch` beside commands that somebody else starts: it distinguishes them, prints what
//! its schema says, and ends when it is asked to.
//!
//! It sees every go command on the machine, so each test looks for the users it made up.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::complete::{SETTLE, int, same, text};
use tests::go_env::{GoOptions, GoRun};
use tests::lab::Lab;
use tests::proxy::Faults;
use tests::running::Running;
use tests::schema::Schema;
use tests::wait;

/// Starts `goobserve watch` with these arguments, and waits until it watches.
#[track_caller]
fn watching(lab: &Lab, run: &GoRun, args: &[&str]) -> Running {
    let running = lab.begin(run.goobserve().unwrap().arg("watch").args(args)).unwrap();
    wait::until("goobserve to watch", || running.stderr().contains("watching every go").then_some(()));
    running
}

/// `go mod download` as that user, who owns the run from now on.
fn download_as(run: &GoRun, uid: u32) -> Command {
    run.give_to(uid).unwrap();
    let mut command = run.command("setpriv");
    let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
    command.args(ids).args(["--clear-groups", "go", "mod", "download"]);
    command
}

fn lines(output: &str) -> Vec<Value> {
    output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Numbers of the user's commands, and their last lines.
fn commands_of(lines: &[Value], uid: u32) -> BTreeMap<u64, &Value> {
    let of_user = lines.iter().filter(|line| line["type"] == "command" && line["uid"] == uid);
    of_user.map(|line| (int(line, "command"), line)).collect()
}

#[track_caller]
fn ended(running: Running) -> Output {
    let output = running.end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn two_users_are_two_commands_that_never_mix() {
    let Some(lab) = Lab::for_test("two_users_are_two_commands_that_never_mix") else { return };
    let own = lab.go_run(&GoOptions::default()).unwrap();
    let recording = own.file("recording.jsonl");
    let watch = watching(&lab, &own, &["--output", "jsonl", "--record", recording.to_str().unwrap()]);

    // The log distinguishes them by their protocol.
    let users = [(61_501, false), (61_502, true)];
    let runs = users.map(|(uid, http1)| {
        let run = lab.go_run(&GoOptions { http1, ..GoOptions::default() }).unwrap();
        let download = lab.begin(&mut download_as(&run, uid)).unwrap();
        (run, download)
    });
    let pids = runs.map(|(_run, download)| {
        let pid = download.pid();
        let output = download.end();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        pid
    });
    wait::until("both ends", || {
        let lines = lines(watch.stdout().rsplit_once('\n').unwrap_or_default().0);
        let over = |uid| commands_of(&lines, uid).values().any(|line| !line["wall_ns"].is_null());
        users.iter().all(|(uid, _)| over(*uid)).then_some(())
    });
    watch.signal(Signal::SIGTERM).unwrap();
    let output = ended(watch);

    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, fs::read_to_string(&recording).unwrap(), "printed and recorded");
    let lines = lines(&printed);
    let schema = Schema::published("recording").unwrap();
    for line in &lines {
        schema.check(line).unwrap_or_else(|error| panic!("{error:#}: {line}"));
    }

    assert!(lab.proxy.log().settled(SETTLE));
    let (connections, requests) = lab.proxy.log().take();
    for ((uid, http1), pid) in users.into_iter().zip(pids) {
        let commands = commands_of(&lines, uid);
        let [(id, last)] = commands.into_iter().collect::<Vec<_>>()[..] else {
            panic!("one command of {uid}")
        };
        assert_eq!((int(last, "pid"), int(last, "exit_code")), (u64::from(pid), 0), "{last}");
        assert_eq!(last["argv"], serde_json::json!(["go", "mod", "download"]));
        let reported = lines.iter().filter(|line| line["type"] == "request" && line["command"] == id);
        let reported: BTreeMap<u64, &Value> = reported.map(|line| (int(line, "id"), line)).collect();
        let of_user = requests.iter().filter(|r| connections[r.connection].alpn.is_none() == http1);
        same(
            &format!("requests of user {uid}"),
            reported.values().map(|line| text(line, "path")),
            of_user.map(|r| &*r.path),
        );
        assert!(reported.values().all(|line| line["pid"] == pid), "the pid is {pid}");
    }
}

/// A command that has gone before anybody can look at it.
const SHORT: usize = 40;

#[test]
fn commands_that_have_gone_at_once_are_reported_with_their_settings_and_folder() {
    let test = "commands_that_have_gone_at_once_are_reported_with_their_settings_and_folder";
    let Some(lab) = Lab::for_test(test) else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    // Nobody here has a mount namespace of its own, for a folder is looked for by its name.
    let mut goobserve = run.goobserve().unwrap();
    let watch = Running::start(goobserve.args(["watch", "--output", "jsonl"])).unwrap();
    wait::until("goobserve to watch", || watch.stderr().contains("watching every go").then_some(()));
    // Longer than one part of what the kernel side reads of it.
    let long = "x".repeat(9000);
    for n in 0..SHORT {
        let flags = format!("-tags=number{n}");
        let mut command = run.go(&["version"]);
        command.env("GOFLAGS", flags).env("PWD", run.dir()).env("LONG", &long);
        assert!(command.current_dir(run.dir()).output().unwrap().status.success());
    }
    watch.signal(Signal::SIGTERM).unwrap();
    let output = ended(watch);
    let lines = lines(std::str::from_utf8(&output.stdout).unwrap());
    let last: BTreeMap<u64, &Value> = lines
        .iter()
        .filter(|line| line["type"] == "command" && line["argv"] == serde_json::json!(["go", "version"]))
        .map(|line| (int(line, "command"), line))
        .collect();
    let of = |n: usize| {
        let flags = format!("-tags=number{n}");
        last.values().find(|line| line["go"]["goflags"] == *flags).unwrap_or_else(|| panic!("{flags}"))
    };
    let folder = fs::canonicalize(run.dir()).unwrap();
    for n in 0..SHORT {
        let command = of(n);
        assert_eq!(command["cwd"].as_str(), folder.to_str(), "{command}");
        assert!(command["go"]["gomodcache"].is_string() && command["go"]["version"].is_string(), "{command}");
    }
}

#[test]
fn text_says_when_a_command_starts_to_hurt_and_how_it_ended() {
    let test = "text_says_when_a_command_starts_to_hurt_and_how_it_ended";
    let Some(lab) = Lab::for_test(test) else { return };
    let run = lab.go_run(&GoOptions { go_sum: true, few: true, ..GoOptions::default() }).unwrap();
    let watch = watching(&lab, &run, &[]);
    let slow = Faults { request_delay: Duration::from_millis(400), ..Faults::default() };
    lab.proxy.set_faults(slow);
    let download = lab.begin(&mut run.go(&["mod", "download"])).unwrap();
    let pid = download.pid();
    assert_eq!(download.end().status.code(), Some(0));
    let of_it = || -> Vec<String> {
        let name = format!("go mod download (pid {pid})");
        watch.stdout().lines().filter(|line| line.contains(&name)).map(str::to_owned).collect()
    };
    let said = wait::until("the end's line", || {
        let said = of_it();
        said.last().is_some_and(|line| line.contains(" ended after ")).then_some(said)
    });
    let (last, before) = said.split_last().unwrap();
    assert!(last.contains("exit 0: ") && last.contains('%') && last.contains("requests"), "{last}");
    let hurts = |line: &String| line.contains("has waited ") || line.contains(" so far: ");
    assert!((1..=4).contains(&before.len()) && before.iter().all(hurts), "{said:#?}");
    watch.signal(Signal::SIGINT).unwrap();
    ended(watch);
}

#[test]
fn a_duration_ends_it() {
    let Some(lab) = Lab::for_test("a_duration_ends_it") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let recording = run.file("recording.jsonl");
    let args = ["--duration", "1s", "--output", "jsonl", "--record", recording.to_str().unwrap()];
    let output = ended(watching(&lab, &run, &args));
    let printed = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(printed[0]["type"], "session");
    let end = printed.last().unwrap();
    assert_eq!(end["type"], "end");
    assert!(int(end, "duration_ns") >= 1_000_000_000, "{end}");
    let report = lab.goobserve(&run, &["report", recording.to_str().unwrap(), "--format", "json"]).unwrap();
    assert_eq!(report.status.code(), Some(0), "{}", String::from_utf8_lossy(&report.stderr));
}

#[test]
fn each_signal_that_ends_programs_ends_it_in_order() {
    let Some(lab) = Lab::for_test("each_signal_that_ends_programs_ends_it_in_order") else { return };
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let run = lab.go_run(&GoOptions::default()).unwrap();
        let watch = watching(&lab, &run, &["--output", "jsonl"]);
        watch.signal(signal).unwrap();
        let output = ended(watch);
        let printed = lines(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(printed.last().unwrap()["type"], "end", "{signal}");
    }
}

#[test]
fn a_command_is_reported_while_nothing_else_happens() {
    let Some(lab) = Lab::for_test("a_command_is_reported_while_nothing_else_happens") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let watch = watching(&lab, &run, &["--output", "jsonl"]);
    // It opens no socket and starts no program: nothing wakes the worker after its exec.
    let cache = run.modcache().join("cache");
    fs::create_dir_all(cache.join("download/github.com/google/uuid/@v")).unwrap();
    let lock = fs::File::create(cache.join("download/github.com/google/uuid/@v/v1.6.0.lock")).unwrap();
    lock.lock().unwrap();
    let hung = lab.begin(&mut run.go(&["mod", "download", "github.com/google/uuid@v1.6.0"])).unwrap();
    let pid = hung.pid();
    wait::until("its exec", || {
        let lines = lines(watch.stdout().rsplit_once('\n').unwrap_or_default().0);
        lines.iter().any(|line| line["pid"] == pid).then_some(())
    });
    drop(hung);
    watch.signal(Signal::SIGINT).unwrap();
    ended(watch);
}

#[test]
fn what_outlives_a_command_is_let_go_and_its_go_commands_are_their_own() {
    let name = "what_outlives_a_command_is_let_go_and_its_go_commands_are_their_own";
    let Some(lab) = Lab::for_test(name) else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let watch = watching(&lab, &run, &["--output", "jsonl"]);
    let fifo = run.project().join("again");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open for both, so that neither side waits for the other; its end ends the loop.
    let mut options = fs::File::options();
    options.read(true).write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    let mut again = options.open(&fifo).unwrap();
    fs::write(run.project().join("generate.go"), "package main\n\n//go:generate sh generate.sh\n").unwrap();
    let marked = format!("example.test/loop{}", std::process::id());
    let script = format!(
        "(read line; while [ \"$line\" = again ]; do go env {marked}; read line; done) <again >/dev/null 2>&1 &\n"
    );
    fs::write(run.project().join("generate.sh"), script).unwrap();
    let output = lab.output(&mut run.go(&["generate", "generate.go"])).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    // At first the loop still belongs to the command that has just ended.
    let own = wait::until("a go command of the loop's", || {
        again.write_all(b"again\n").unwrap();
        let lines = lines(watch.stdout().rsplit_once('\n').unwrap_or_default().0);
        let of_loop = serde_json::json!(["go", "env", marked]);
        let over = |line: &&Value| {
            line["argv"] == of_loop && line["type"] == "command" && !line["wall_ns"].is_null()
        };
        lines.iter().find(over).cloned()
    });
    while again.read(&mut [0; 4096]).is_ok() {} // rounds that are not needed any more
    again.write_all(b"enough\n").unwrap();
    assert_eq!(own["exit_code"], 0, "{own}");
    watch.signal(Signal::SIGINT).unwrap();
    ended(watch);
}
