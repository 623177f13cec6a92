//! `goobserve compare`: that its answers are right, its statuses the promised ones, and that it
//! leaves everything as it was, whatever happens.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::bench::few;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::net::Place;
use tests::proxy::Faults;
use tests::schema::Schema;
use tests::wire::{HelloLoss, WireFaults};
use tests::{paths, skip, wait};

/// A user of its own, for sudo.
const USER: u32 = 65_534;
/// Modules of a download that is short and still waits for the network.
const MODULES: usize = 16;

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = few::project(&lab, &GoOptions { gomaxprocs: Some(2), ..GoOptions::default() }).unwrap();
    Some((lab, run))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `goobserve compare` and reads its JSON.
#[track_caller]
fn compare(lab: &Lab, run: &GoRun, options: &[&str], command: &[&str]) -> (Output, Value) {
    let file = run.file("answer.json");
    let json = ["compare", "--json", file.to_str().unwrap()];
    let output = lab.goobserve(run, &[&json, options, &["--"], command].concat()).unwrap();
    let answer = fs::read(&file).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let answer = serde_json::from_slice(&answer).unwrap();
    Schema::published("compare").unwrap().check(&answer).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    (output, answer)
}

fn download(lab: &Lab) -> Vec<String> {
    let modules = few::smallest(lab, MODULES).unwrap();
    ["go", "mod", "download"].map(str::to_owned).into_iter().chain(modules).collect()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What can be reported of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct About {
    mode: u32,
    uid: u32,
    changed: (i64, i64),
    content: Vec<u8>,
}

/// Every file below a folder.
fn inventory(folder: &Path) -> BTreeMap<PathBuf, About> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if about.is_dir() {
                open.push(path.clone());
            }
            // A folder's time changes with every file that comes and goes in it.
            let changed = if about.is_dir() { (0, 0) } else { (about.mtime(), about.mtime_nsec()) };
            found.insert(path, About { mode: about.mode(), uid: about.uid(), changed, content });
        }
    }
    found
}

#[test]
fn more_downloads_at_once_help_where_every_answer_is_late() {
    let test = "more_downloads_at_once_help_where_every_answer_is_late";
    let Some(lab) = Lab::for_test(test) else { return };
    let run = lab.go_run(&GoOptions { gomaxprocs: Some(2), go_sum: true, ..GoOptions::default() }).unwrap();
    // So late that what is waited for is most of the time on a busy machine, too.
    let request_delay = Duration::from_millis(30);
    lab.proxy.set_faults(Faults { request_delay, ..Faults::default() });
    let markdown = run.file("answer.md");
    let options = ["--with", "concurrency=16", "--runs", "6", "--markdown", markdown.to_str().unwrap()];
    let (output, answer) = compare(&lab, &run, &options, &["go", "mod", "download"]);
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!((&answer["verdict"], &answer["end"]), (&"faster".into(), &"complete".into()), "{text}");
    let first = stdout(&output).lines().next().unwrap().to_owned();
    assert!(first.starts_with("concurrency=16: ") && first.contains("× faster, "), "{first}");
    // The phases add up to the total, so what fell is where the requests are.
    let phases = answer["phases"].as_array().unwrap();
    let shift = |phase: &Value| phase["shift_ns"].as_i64().unwrap();
    let most = phases.iter().min_by_key(|phase| shift(phase)).unwrap();
    assert_eq!(most["phase"], "proxy", "{text}");
    // Not what the machine had to compute beside it: of the waiting a third is saved for certain.
    let (waited, at_least) = (most["baseline_ns"].as_i64().unwrap(), -most["high_ns"].as_i64().unwrap());
    assert!(shift(most) < 0 && 3 * at_least > waited, "{text}");
    let runs = |side: &str| answer[side]["runs"].as_array().unwrap().len();
    assert_eq!((runs("baseline"), runs("tried")), (6, 6));
    assert!(fs::read_to_string(&markdown).unwrap().starts_with("**concurrency=16: "));
    assert!(stderr(&output).contains("round 3 of 6: baseline "), "{text}");
    assert!(stderr(&output).contains(" left\n"), "{text}");
}

#[test]
fn http1_does_not_help_where_nothing_is_lost() {
    let Some((lab, run)) = ready("http1_does_not_help_where_nothing_is_lost") else { return };
    let command = download(&lab);
    let (output, answer) = compare(&lab, &run, &["--with", "http1", "--runs", "6"], &words(&command));
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{text}");
    // Real and of use would be a tenth; what a machine's noise shows is less.
    assert!(answer["times_faster"]["low"].as_f64().unwrap() < 1.1, "{text}");
}

#[test]
fn a_hello_that_fits_one_packet_ends_the_large_hello_fault() {
    let test = "a_hello_that_fits_one_packet_ends_the_large_hello_fault";
    let Some(lab) = Lab::for_test_in(test, Place::Wire) else { return };
    let run = few::project(&lab, &GoOptions::default()).unwrap();
    let lost_hellos = vec![HelloLoss::LargerThanAPacket];
    let wire = lab.net.wire.as_ref().unwrap();
    wire.set_faults(WireFaults { rtt: Duration::from_millis(10), lost_hellos, ..WireFaults::default() });
    let modules = few::smallest(&lab, 1).unwrap();
    let command = [&["go", "mod", "download"][..], &words(&modules)].concat();
    let (output, answer) = compare(&lab, &run, &["--with", "no-mlkem", "--runs", "1"], &command);
    let text = format!("{}{}", stdout(&output), stderr(&output));
    // A command that fails has no time to compare; what the remedy does is reported all the same.
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert_eq!(answer["end"], "failed", "{text}");
    let failures = answer["failures"].as_array().unwrap();
    let [plain, fixed] = &failures[..] else { panic!("{text}") };
    assert!(plain["status"] == 1 && plain["wall_ns"].as_u64().unwrap() > 9_000_000_000, "{text}");
    assert!(plain["said"].as_str().unwrap().contains("TLS handshake timeout"), "{text}");
    assert!(fixed["status"] == 0 && fixed["wall_ns"].as_u64().unwrap() < 5_000_000_000, "{text}");
    let first = stdout(&output).lines().next().unwrap().to_owned();
    assert!(
        first.starts_with("baseline: fails after ") && first.contains("; no-mlkem: succeeds in "),
        "{first}"
    );
}

/// A command that changes go.mod and go.sum, uses the caches, and then does what the word says.
const MESSY: &str = "echo '// changed' >> go.mod; echo new > go.sum; mkdir -p \"$GOMODCACHE/a\" \"$GOCACHE\"
    mkdir -p \"${GOPATH%%:*}/pkg/sumdb\"; echo x > \"$GOMODCACHE/a/file\"; chmod -R a-w \"$GOMODCACHE/a\"
    case \"$1\" in fail) echo broken >&2; exit 3;; hang) echo > ../hangs; sleep 100;; esac";

#[track_caller]
fn is_as_it_was(run: &GoRun, before: &BTreeMap<PathBuf, About>) {
    let mut after = inventory(run.dir());
    let [answer, hangs] = ["answer.json", "hangs"].map(|name| run.file(name));
    after.retain(|path, _| *path != answer && *path != hangs);
    let changed: Vec<_> = after.iter().filter(|(path, about)| before.get(*path) != Some(about)).collect();
    let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert!(changed.is_empty() && gone.is_empty(), "changed: {changed:?}, gone: {gone:?}");
}

#[test]
fn everything_is_as_it_was_after_success_failure_and_interruption() {
    let test = "everything_is_as_it_was_after_success_failure_and_interruption";
    let Some((lab, run)) = ready(test) else { return };
    // Something in the user's caches that a run could spoil.
    fs::create_dir_all(run.modcache().join("cache/download")).unwrap();
    fs::write(run.modcache().join("cache/download/mine"), "mine").unwrap();
    fs::create_dir_all(run.file("gopath/pkg/sumdb")).unwrap();
    fs::write(run.file("gopath/pkg/sumdb/latest"), "mine").unwrap();
    let before = inventory(run.dir());
    for cache in ["disk", "memory"] {
        let options = ["--with", "http1", "--runs", "1", "--cache", cache];
        let (output, _) = compare(&lab, &run, &options, &["sh", "-c", MESSY]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        is_as_it_was(&run, &before);
    }
    let (output, answer) =
        compare(&lab, &run, &["--with", "http1", "--runs", "1"], &["sh", "-c", MESSY, "sh", "fail"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert_eq!(answer["failures"][0]["said"], "broken", "{answer}");
    is_as_it_was(&run, &before);

    for (signal, whole_group) in [(Signal::SIGINT, true), (Signal::SIGTERM, false), (Signal::SIGKILL, false)]
    {
        let _ = fs::remove_file(run.file("hangs"));
        let mut command = run.goobserve().unwrap();
        command.args(["compare", "--with", "http1", "--runs", "1", "--", "sh", "-c", MESSY, "sh", "hang"]);
        let mut running = lab.begin(&mut command).unwrap();
        wait::until("a run", || run.file("hangs").exists().then_some(()));
        assert!(fs::read_to_string(run.project().join("go.mod")).unwrap().contains("changed"));
        let pid = Pid::from_raw(running.pid().cast_signed());
        // Ctrl-C reaches everybody in front of the terminal.
        let to = if whole_group { Pid::from_raw(-pid.as_raw()) } else { pid };
        kill(to, signal).unwrap();
        let status = running.status();
        let output = running.end();
        let text = stderr(&output);
        if signal == Signal::SIGKILL {
            // The guardian holds the output open until it is done.
            assert!(text.contains("all caches are as they were"), "{text}");
        } else {
            assert_eq!(status.code(), Some(4), "{text}");
            assert!(text.contains("interrupted after 0 of 1 rounds"), "{text}");
            assert!(stdout(&output).contains("Interrupted: 0 rounds of 1"), "{}", stdout(&output));
        }
        is_as_it_was(&run, &before);
    }
}

#[test]
fn warm_runs_use_the_users_own_caches() {
    let Some((lab, run)) = ready("warm_runs_use_the_users_own_caches") else { return };
    let command = ["sh", "-c", "echo \"$GOMODCACHE $GOPATH $GOCACHE\" > ../seen; echo x >> go.mod"];
    let before = fs::read(run.project().join("go.mod")).unwrap();
    let (output, answer) = compare(&lab, &run, &["--with", "http1", "--runs", "1", "--warm"], &command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let folders = ["modcache", "gopath", "gocache"].map(|name| run.file(name).display().to_string());
    assert_eq!(fs::read_to_string(run.file("seen")).unwrap().trim(), folders.join(" "));
    assert_eq!(fs::read(run.project().join("go.mod")).unwrap(), before);
    assert_eq!((&answer["cache"], &answer["verdict"]), (&"warm".into(), &"too-few-runs".into()));
}

#[test]
fn statuses_are_2_for_wrong_use_and_4_for_every_failure() {
    let Some((lab, run)) = ready("statuses_are_2_for_wrong_use_and_4_for_every_failure") else { return };
    let before = inventory(run.dir());
    let nowhere = run.file("none/answer.json");
    for (arguments, status) in [
        (vec!["--with", "fly", "true"], 2),
        (vec!["--with", "http1"], 2),
        (vec!["true"], 2),
        (vec!["--with", "http1", "--versus", "http1", "true"], 2),
        (vec!["--with", "env=GOMODCACHE=/x", "true"], 2),
        (vec!["--with", "http1", "no-such-program-anywhere"], 4),
        (vec!["--with", "http1", "--json", nowhere.to_str().unwrap(), "true"], 4),
        (vec!["--with", "http1", "false"], 4),
        (vec!["--with", "http1", "--", "sh", "-c", "kill -TERM $$"], 4),
        (vec!["--with", "http1", "--runs", "1", "true"], 0),
    ] {
        let output = lab.goobserve(&run, &[&["-q", "compare"], &arguments[..]].concat()).unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        let lines = text.lines().count();
        assert_eq!(lines, if status == 0 { 0 } else { 2 }, "{arguments:?}: {text}");
        is_as_it_was(&run, &before);
    }
}

#[test]
fn without_root_nothing_is_begun() {
    let Some((lab, run)) = ready("without_root_nothing_is_begun") else { return };
    run.give_to(USER).unwrap();
    paths::copy_program(&binary().unwrap(), &run.file("goobserve")).unwrap();
    let mut command = run.command("setpriv");
    command.args([format!("--reuid={USER}"), format!("--regid={USER}")]).arg("--clear-groups");
    command.arg(run.file("goobserve")).args(["compare", "--with", "http1", "touch", "done"]);
    let output = lab.output(&mut command).unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(!run.project().join("done").exists());
}

#[test]
fn under_sudo_runs_and_files_are_the_users() {
    let test = "under_sudo_runs_and_files_are_the_users";
    if skip::is_root(test) && paths::program("sudo").is_none() {
        skip::skipped(test, "needs the program sudo");
        return;
    }
    let Some((lab, run)) = ready(test) else { return };
    run.give_to(USER).unwrap();
    fs::write(run.file("sudoers"), "Defaults env_reset, umask=0022\nALL ALL=(ALL) NOPASSWD: ALL\n").unwrap();
    fs::set_permissions(run.file("sudoers"), fs::Permissions::from_mode(0o440)).unwrap();
    let before = inventory(run.dir());
    let script = "mount --bind \"$1\" /etc/sudoers || exit 99; shift; exec setpriv \"$@\"";
    let mut command = run.command("sh");
    command.args(["-c", script, "sh"]).arg(run.file("sudoers"));
    command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
    command.args(["sh", "-c", "sudo -n \"$@\"; exit $?", "sh"]).arg(binary().unwrap());
    let seen = "echo \"$(id -u) $(stat -c '%u %a' \"$(dirname \"$GOMODCACHE\")\") $GOPROXY\" >> ../hangs; echo x >> go.mod";
    command.args(["compare", "--with", "http1", "--runs", "1", "--json"]).arg(run.file("answer.json"));
    command.args(["--", "sh", "-c", seen]);
    let output = lab.output(&mut command).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let seen = fs::read_to_string(run.file("hangs")).unwrap();
    let line = format!("{USER} {USER} 700 https://{}", tests::lab::PROXY_HOST);
    assert_eq!(seen.lines().collect::<Vec<_>>(), [line.as_str(); 4], "two runs that warm up, two that count");
    assert_eq!(fs::metadata(run.file("answer.json")).unwrap().uid(), USER);
    is_as_it_was(&run, &before);
}
