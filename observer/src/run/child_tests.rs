//! Children that are held, let go, refused and abandoned, without a terminal.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;

use super::super::invoker;
use super::super::procfs::Live;
use super::*;

fn myself() -> Invoker {
    let mut found = invoker::find(&Live, model::id::Pid(std::process::id()));
    found.env = vec![("A".into(), "1".into()), ("EMPTY".into(), "".into())];
    found
}

fn spawn(words: &[&str], invoker: &Invoker) -> Result<HeldChild, ExecFailure> {
    let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
    HeldChild::spawn(Path::new(words[0]), &argv, invoker, None, None)
}

fn ended(pid: Pid) -> WaitStatus {
    waitpid(pid, None).unwrap()
}

/// Waits for a condition, 10 s at most.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_executed_before_the_release() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("made");
    let script = format!(": > {}; exit 7", file.display());
    let child = spawn(&["/bin/sh", "-c", &script], &myself()).unwrap();
    let exe = std::fs::read_link(format!("/proc/{}/exe", child.pid())).unwrap();
    assert_eq!(exe, std::env::current_exe().unwrap());
    assert!(!file.exists());
    let pid = child.release().unwrap();
    assert_eq!(ended(pid), WaitStatus::Exited(pid, 7));
    assert!(file.exists());
}

#[test]
fn the_command_has_exactly_the_environment_given_and_no_descriptor_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen");
    // The shell's own work is done by builtins and by cat; it adds PWD and the like only to
    // what it exports, so the kernel's copy is read.
    let script = format!("cat /proc/$$/environ > {0}; ls /proc/$$/fd >> {0}", file.display());
    let child = spawn(&["/bin/sh", "-c", &script], &myself()).unwrap();
    let held: Vec<_> = [child.hold.as_ref().unwrap().as_raw_fd(), child.report.as_raw_fd()].into();
    let pid = child.release().unwrap();
    assert_eq!(ended(pid), WaitStatus::Exited(pid, 0));
    let seen = std::fs::read_to_string(&file).unwrap();
    let (environ, fds) = seen.rsplit_once('\0').unwrap();
    assert_eq!(environ, "A=1\0EMPTY=");
    let fds: Vec<i32> = fds.lines().map(|fd| fd.parse().unwrap()).collect();
    assert!(held.iter().all(|fd| !fds.contains(fd)), "{fds:?} has one of {held:?}");
}

#[test]
fn signals_are_what_goobserve_was_started_with() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("status");
    let script = format!("exec cat /proc/self/status > {}", file.display());
    let child = spawn(&["/bin/sh", "-c", &script], &myself()).unwrap();
    let pid = child.release().unwrap();
    assert_eq!(ended(pid), WaitStatus::Exited(pid, 0));
    let status = std::fs::read_to_string(&file).unwrap();
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let start = Signals::at_start();
    // libc keeps the first real-time signals to itself, and does not report about them.
    let own = 0b111 << 31;
    assert_eq!((set("SigIgn:") & !own, set("SigBlk:") & !own), (start.ignored & !own, start.blocked & !own));
}

#[test]
fn a_dropped_child_leaves_nothing_behind() {
    let child = spawn(&["/bin/true"], &myself()).unwrap();
    let pid = child.pid;
    drop(child);
    assert_eq!(kill(pid, None), Err(Errno::ESRCH));
}

#[test]
fn the_end_of_the_pipe_ends_a_held_child_with_125() {
    let mut child = spawn(&["/bin/true"], &myself()).unwrap();
    drop(child.hold.take());
    assert_eq!(ended(child.pid), WaitStatus::Exited(child.pid, NEVER_STARTED));
}

#[test]
fn what_the_kernel_refuses_is_126_and_what_is_gone_is_127() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("program");
    let refused = |content: &str, mode: u32| {
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let failure = spawn(&[file.to_str().unwrap()], &myself()).unwrap().release().unwrap_err();
        (failure.status(), failure)
    };
    let (status, failure) = refused("no program at all", 0o755);
    assert_eq!(status, 126, "{failure}");
    let (status, failure) = refused("#!/bin/sh\n", 0o644);
    assert_eq!(status, 126, "{failure}");
    let (status, failure) = refused("#!/no/such/interpreter\n", 0o755);
    assert_eq!(status, 127, "{failure}");
    assert!(failure.advice().contains("interpreter"));
}

#[test]
fn root_becomes_the_user_with_all_groups_and_its_umask() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: becoming another user takes root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let file = dir.path().join("who");
    let user = Invoker { uid: 12_345, gid: 12_346, groups: vec![7, 12_346], umask: Some(0o027), ..myself() };
    let script = format!("exec cat /proc/self/status > {}", file.display());
    let pid = spawn(&["/bin/sh", "-c", &script], &user).unwrap().release().unwrap();
    assert_eq!(ended(pid), WaitStatus::Exited(pid, 0));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("Uid:\t12345\t12345\t12345\t12345\n"), "{text}");
    assert!(text.contains("Gid:\t12346\t12346\t12346\t12346\n"), "{text}");
    assert!(text.contains("Groups:\t7 12346 \n"), "{text}");
    assert!(text.contains("CapEff:\t0000000000000000\n"), "{text}");
    assert!(text.contains("Umask:\t0027\n"), "{text}");
}

#[test]
fn a_signal_ends_a_held_child_and_the_wait_reports() {
    let child = spawn(&["/bin/true"], &myself()).unwrap();
    kill(child.pid, Signal::SIGTERM).unwrap();
    until("the child is a zombie", || {
        std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).is_ok_and(|stat| stat.contains(") Z "))
    });
    let pid = child.release().unwrap();
    assert_eq!(ended(pid), WaitStatus::Signaled(pid, Signal::SIGTERM, false));
}

#[test]
fn a_nul_byte_is_refused_before_anything_is_done() {
    let failure = spawn(&["/bin/true", "a\0b"], &myself()).unwrap_err();
    assert_eq!(failure.status(), 125);
}
