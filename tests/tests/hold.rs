//! `goobserve watch --hold-exec`: a go binary that nobody has seen before waits until it is attached
//! to, and nothing that happens to goobserve makes any program wait for longer than 150 ms.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::pty::{CTRL_C, CTRL_Z, Terminal};
use tests::starts::{Fresh, differences};
use tests::watching::Watching;
use tests::{paths, procs, wait};

/// Longest that any program may wait, whatever happens.
const LIMIT: Duration = Duration::from_millis(150);
/// Within a hold: an exec takes less than that to be held, and is held for 20 ms when nobody attaches.
const MEANWHILE: Duration = Duration::from_millis(6);

/// Each exec waits for every goobserve that holds: one at a time.
static TURN: Mutex<()> = Mutex::new(());

fn lab(test: &str) -> Option<(Lab, MutexGuard<'static, ()>)> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Lab::for_test(test).map(|lab| (lab, turn))
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// How long it takes until an exec of that program is over.
fn exec(program: PathBuf) -> Duration {
    let mut command = Command::new(program);
    command.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    // It returns when the exec is over.
    let mut child = command.spawn().unwrap();
    let took = begun.elapsed();
    child.wait().unwrap();
    took
}

/// A program without a meaning that nobody has executed before.
fn other() -> (tempfile::TempDir, PathBuf) {
    let folder = paths::temp("goobserve-other-").unwrap();
    let path = folder.path().join("true");
    paths::copy_program(Path::new("/bin/true"), &path).unwrap();
    (folder, path)
}

/// Does something while a new go binary is held: it and every other program go on in time. So they
/// do when it has been done.
#[track_caller]
fn nothing_waits_while(what: &str, act: impl FnOnce()) {
    let fresh = Fresh::new().unwrap();
    let path = fresh.binary();
    let held = thread::spawn(move || exec(path));
    thread::sleep(MEANWHILE);
    act();
    let others: Vec<Duration> = (0..5).map(|_| exec(other().1)).collect();
    let held = held.join().unwrap();
    println!("{what}: held for {held:?}, others {others:?}");
    assert!(held >= MEANWHILE, "{what}: it was never held, its exec took {held:?}");
    assert!(held < LIMIT, "{what}: it was held for {held:?}");
    assert!(others.iter().all(|took| *took < LIMIT), "{what}: others took {others:?}");
    let again = exec(Fresh::new().unwrap().binary());
    assert!(again < LIMIT, "{what}: the next one took {again:?}");
}

#[test]
fn every_request_of_a_binary_never_seen_is_reported_at_loopback() {
    let Some((lab, _turn)) = lab("every_request_of_a_binary_never_seen_is_reported_at_loopback") else {
        return;
    };
    let watching = Watching::start_with(&lab, &["--hold-exec"]).unwrap();
    let mut starts = Vec::new();
    for number in 0..10 {
        let fresh = Fresh::new().unwrap();
        let mut start = fresh.download(&lab, &fresh.binary(), number).unwrap();
        start.run(&lab).unwrap();
        starts.push(start);
    }
    let (differences, reported) = differences(&lab, watching, &starts).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(reported.loss["connections_joined_late"], 0, "{}", reported.loss);
}

#[test]
fn nothing_waits_when_the_agent_is_killed() {
    let Some((lab, _turn)) = lab("nothing_waits_when_the_agent_is_killed") else { return };
    let watching = Watching::start_with(&lab, &["--hold-exec"]).unwrap();
    let [agent, _] = watching.pids();
    let holder = watching.holder().expect("something holds");
    watching.stop_worker().unwrap(); // so that the hold lasts
    nothing_waits_while("agent killed", || send(agent, Signal::SIGKILL));
    wait::until("the holder's end", || procs::state(holder).is_none().then_some(()));
}

#[test]
fn nothing_waits_when_the_agent_is_stopped() {
    let Some((lab, _turn)) = lab("nothing_waits_when_the_agent_is_stopped") else { return };
    let watching = Watching::start_with(&lab, &["--hold-exec"]).unwrap();
    let [agent, _] = watching.pids();
    watching.stop_worker().unwrap();
    nothing_waits_while("agent stopped", || send(agent, Signal::SIGSTOP));
    send(agent, Signal::SIGCONT);
    watching.continue_worker().unwrap();
    watching.end().unwrap();
}

#[test]
fn nothing_waits_when_the_worker_hangs() {
    let Some((lab, _turn)) = lab("nothing_waits_when_the_worker_hangs") else { return };
    let watching = Watching::start_with(&lab, &["--hold-exec"]).unwrap();
    watching.stop_worker().unwrap();
    nothing_waits_while("worker hung", || {});
    watching.continue_worker().unwrap();
    watching.end().unwrap();
}

#[test]
fn nothing_waits_when_the_terminal_stops_goobserve() {
    let Some((_lab, _turn)) = lab("nothing_waits_when_the_terminal_stops_goobserve") else { return };
    let script = "\"$1\" watch --output text --hold-exec; echo stopped; read answer; fg; echo status=$?";
    let program = binary().unwrap().into_os_string();
    let words: [&OsStr; 1] = [&program];
    let mut terminal = Terminal::run(script, &words, |_| {}).unwrap();
    terminal.until("watching every go");
    let agent = terminal.foreground().unwrap();
    let worker = procs::worker_below(agent).unwrap();
    send(worker, Signal::SIGSTOP);
    nothing_waits_while("Ctrl-Z", || terminal.keys(CTRL_Z).unwrap());
    terminal.until("stopped");
    assert_eq!(procs::state(agent).as_deref(), Some("T"));
    let holder = procs::holder_below(agent).expect("something holds");
    assert_ne!(procs::state(holder).as_deref(), Some("T"), "it has a session of its own");
    send(worker, Signal::SIGCONT);
    terminal.keys("\n").unwrap();
    wait::until("goobserve to go on", || (procs::state(agent).as_deref() != Some("T")).then_some(()));
    wait::until("the foreground", || (terminal.foreground() == Some(agent)).then_some(()));
    terminal.keys(CTRL_C).unwrap();
    terminal.until("status=0");
}

#[test]
fn a_holder_that_does_not_answer_is_killed_and_begins_again() {
    let Some((lab, _turn)) = lab("a_holder_that_does_not_answer_is_killed_and_begins_again") else { return };
    let watching = Watching::start_with(&lab, &["--hold-exec"]).unwrap();
    let holder = watching.holder().expect("something holds");
    watching.stop_worker().unwrap();
    nothing_waits_while("holder stopped", || send(holder, Signal::SIGSTOP));
    watching.continue_worker().unwrap();
    wait::until("the holder's second life", || watching.errors().contains("held again").then_some(()));
    assert_ne!(watching.holder(), Some(holder));
    let fresh = Fresh::new().unwrap();
    let mut start = fresh.download(&lab, &fresh.binary(), 1).unwrap();
    start.run(&lab).unwrap();
    let (differences, _) = differences(&lab, watching, &[start]).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
}
