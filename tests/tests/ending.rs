//! goobserve ends soon when it is asked to, whatever state its two processes are in.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::bpf::Objects;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::procs::{state, worker_below};
use tests::watching::Watching;
use tests::{tiny, wait};

/// A second is promised; this machine may be busy.
const SOON: Duration = Duration::from_secs(6);

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

#[test]
fn a_stopped_worker_does_not_keep_watch_from_ending() {
    let name = "a_stopped_worker_does_not_keep_watch_from_ending";
    let Some(lab) = Lab::for_test(name) else { return };
    let mut watching = Watching::start(&lab).unwrap();
    let [agent, worker] = watching.pids();
    let objects = Objects::of(agent);
    assert_ne!(objects.programs, [] as [u32; 0]);
    watching.stop_worker().unwrap();
    watching.signal(Signal::SIGTERM).unwrap();
    let status = watching.ends_within(SOON).expect("it ends");
    assert_eq!(status.code(), Some(1), "{}", watching.errors());
    assert!(watching.errors().contains("the worker did not end in time"), "{}", watching.errors());
    wait::until("the kernel's end of it", || (objects.left() == Objects::default()).then_some(()));
    assert_eq!(state(worker), None, "the worker has gone");
}

#[test]
fn a_second_signal_ends_watch_at_once() {
    let Some(lab) = Lab::for_test("a_second_signal_ends_watch_at_once") else { return };
    let mut watching = Watching::start(&lab).unwrap();
    watching.stop_worker().unwrap();
    watching.signal(Signal::SIGINT).unwrap();
    watching.signal(Signal::SIGTERM).unwrap();
    assert!(watching.ends_within(SOON).is_some());
}

#[test]
fn a_stopped_worker_does_not_keep_run_from_ending_when_the_command_has() {
    let name = "a_stopped_worker_does_not_keep_run_from_ending_when_the_command_has";
    let Some(lab) = Lab::for_test(name) else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let mut command = run.goobserve().unwrap();
    // A word on stdout, and then it waits for the end of its input.
    command.args(["run", "--", "sh", "-c", "echo begun; exec sleep 1000"]);
    let mut running = lab.begin(&mut command).unwrap();
    wait::until("the command", || running.stdout().contains("begun").then_some(()));
    let worker = worker_below(running.pid()).expect("a worker");
    send(worker, Signal::SIGSTOP);
    // It is passed on, and ends the command.
    running.signal(Signal::SIGTERM).unwrap();
    let ended = wait::within(SOON, || {
        let _ = running.signal(Signal::SIGTERM);
        running.ends_within(Duration::from_millis(300)).then_some(())
    });
    let _ = kill(Pid::from_raw(worker.cast_signed()), Signal::SIGCONT);
    assert!(ended.is_some(), "{}", running.stderr());
}

#[test]
fn a_worker_that_wakes_to_hundreds_of_new_programs_and_the_agent_do_not_wait_for_each_other() {
    let name = "a_worker_that_wakes_to_hundreds_of_new_programs_and_the_agent_do_not_wait_for_each_other";
    let Some(lab) = Lab::for_test(name) else { return };
    let folder = tests::paths::temp("goobserve-many-").unwrap();
    let programs = tiny::programs(folder.path(), 600, 0).unwrap();
    let mut watching = Watching::start(&lab).unwrap();
    watching.stop_worker().unwrap();
    let running = tiny::running(&programs).unwrap();
    watching.continue_worker().unwrap();
    // It has asked for some: whatever comes first, the end is heard.
    watching.signal(Signal::SIGINT).unwrap();
    let status = watching.ends_within(SOON);
    tiny::end(running);
    let status = status.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", watching.errors());
}

#[test]
fn two_hundred_programs_that_begin_at_once_do_not_keep_watch_from_ending() {
    let name = "two_hundred_programs_that_begin_at_once_do_not_keep_watch_from_ending";
    let Some(lab) = Lab::for_test(name) else { return };
    let folder = tests::paths::temp("goobserve-many-").unwrap();
    let programs = tiny::programs(folder.path(), 200, 0).unwrap();
    let mut watching = Watching::start(&lab).unwrap();
    let running = tiny::running(&programs).unwrap();
    watching.signal(Signal::SIGINT).unwrap();
    let status = watching.ends_within(SOON);
    tiny::end(running);
    assert_eq!(status.expect("it ends").code(), Some(0), "{}", watching.errors());
}
