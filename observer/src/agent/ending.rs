//! The end of an observation. In go a worker that was asked to end and the signals of the user, out
//! comes how it ended: by itself, or killed because it took too long or the user would not wait.

use std::io;
use std::os::fd::AsFd as _;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use model::id::Pid;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Agent, WorkerEvent, targets};
use crate::run::inherited::Signals as Inherited;

/// A user who wants it to end waits that long for a worker that does not answer …
const ANSWER_WITHIN: Duration = Duration::from_millis(800);
/// … and for one that did, and writes what there is to write …
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// … while nobody waits it may take that long: a report of much takes seconds on a slow disk.
const REPORT_WITHIN: Duration = Duration::from_secs(30);
/// A process that has closed its seam has nothing left to do.
pub(super) const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks whether a child has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// The signals that mean "end". A hang-up that was ignored at the start stays so, for `nohup`; an
/// interrupt does not, for a shell ignores it in whatever it starts with `&`.
pub(super) fn signals() -> SigSet {
    let hang_up = !Inherited::at_start().ignores(Signal::SIGHUP as i32);
    let ending = [Signal::SIGINT, Signal::SIGTERM];
    ending.into_iter().chain(hang_up.then_some(Signal::SIGHUP)).collect()
}

/// Those of them that are blocked, as a descriptor.
pub(super) fn descriptor(set: &SigSet) -> io::Result<SignalFd> {
    Ok(SignalFd::with_flags(set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// The worker's process, and its opener's behind it. Dropped, behind its seam, it ends: by itself, or it is killed.
pub(super) struct Worker(
    pub Child,
    #[expect(dead_code, reason = "it is there to be dropped behind the worker")] pub Opener,
);

/// The opener's process, likewise.
pub(super) struct Opener(pub Child);

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = reap(&mut self.0, GONE_WITHIN);
    }
}

impl Worker {
    /// Its status; it has closed its seam, so nothing is left to do for it.
    pub(super) fn gone(&mut self) -> Result<ExitStatus> {
        reap(&mut self.0, GONE_WITHIN).context("cannot wait for the worker")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Reaped already when it was waited for.
        let _ = reap(&mut self.0, WRITE_WITHIN);
    }
}

/// Waits for the end of a worker that was asked to. `awaited`: the user has asked for the end and
/// waits for it; the next signal ends it at once.
pub(super) fn end(
    agent: &mut Agent,
    worker: &mut Worker,
    signals: &SignalFd,
    mut awaited: bool,
) -> Result<ExitStatus> {
    let patience = |awaited, or| if awaited { or } else { REPORT_WITHIN };
    let mut until = Instant::now() + patience(awaited, ANSWER_WITHIN);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            crate::say::line(
                "the worker did not end in time and was killed: what it had not written is lost",
            );
            return kill(&mut worker.0).context("cannot wait for the worker");
        }
        let mut fds = [agent.seam.polled(), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the worker"),
        }
        if matches!(signals.read_signal(), Ok(Some(_))) {
            let most = if awaited { Duration::ZERO } else { ANSWER_WITHIN };
            until = until.min(Instant::now() + most);
            awaited = true;
        }
        match agent.turn() {
            Ok(WorkerEvent::Ending) => until = Instant::now() + patience(awaited, WRITE_WITHIN),
            // As long as it says so again and again; a signal ends it all the same.
            Ok(WorkerEvent::Read) if !awaited => until = Instant::now() + REPORT_WITHIN,
            Ok(WorkerEvent::Gone) => return worker.gone(),
            Ok(_) => {}
            // What it wanted cannot be had any more.
            Err(_) => return reap(&mut worker.0, WRITE_WITHIN).context("cannot wait for the worker"),
        }
    }
}

/// Waits for a child of ours that is about to end, and kills it when it does not.
pub(super) fn reap(child: &mut Child, within: Duration) -> io::Result<ExitStatus> {
    match ended(child, within)? {
        Some(status) => Ok(status),
        None => kill(child),
    }
}

fn kill(child: &mut Child) -> io::Result<ExitStatus> {
    child.kill()?;
    let gone = ended(child, GONE_WITHIN)?;
    gone.ok_or_else(|| {
        io::Error::other(format!("process {} does not end although it was killed", child.id()))
    })
}

fn ended(child: &mut Child, within: Duration) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + within;
    // Readable when it has ended; where there is none, it is looked at now and then.
    let process = targets::ended(Pid(child.id())).ok();
    loop {
        let status = child.try_wait()?;
        let left = until.saturating_duration_since(Instant::now());
        if status.is_some() || left.is_zero() {
            return Ok(status);
        }
        match &process {
            Some(process) => {
                let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            }
            None => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_does_not_end_is_killed() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let status = reap(&mut child, Duration::from_millis(20)).unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }

    #[test]
    fn a_child_that_ends_is_waited_for() {
        let mut child = Command::new("true").spawn().unwrap();
        assert!(reap(&mut child, Duration::from_secs(20)).unwrap().success());
    }
}
