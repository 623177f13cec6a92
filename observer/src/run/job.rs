//! Waiting for the command as a good parent on a terminal. In: the command's pid and the signals
//! that reach goobserve. Out: how the command ended.
//!
//! The command stays in goobserve's process group. So the terminal's own signals (Ctrl-C,
//! Ctrl-\, a shell's hang-up) reach it without us, and Ctrl-Z stops all and `fg` continues all.
//! What reaches goobserve alone is passed on: what somebody sends with `kill`, and the terminal's
//! hang-up when goobserve leads the session (`ssh -t host goobserve run`, `xterm -e`).

use std::cell::Cell;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid, getsid};
use thiserror::Error;

use super::inherited::Signals as Inherited;

/// Signals that end a process which does nothing about them, and that people send.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Of them, those that mean "stop".
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];

/// Why signals cannot be taken, or the command not be waited for.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{call}: {}", .errno.desc())]
pub struct JobError {
    /// The system call
    call: &'static str,
    /// Its error
    errno: Errno,
}

fn failed(call: &'static str) -> impl Fn(Errno) -> JobError {
    move |errno| JobError { call, errno }
}

/// A signal that reached goobserve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Received {
    signal: i32,
    /// A process sent it with `kill`, not the terminal
    by_process: bool,
}

impl Received {
    /// Whether nobody but us has got it. The terminal's keys reach the whole process group; that it
    /// hangs up, only the leader of the session.
    fn is_ours_alone(self) -> bool {
        let leads = || getsid(None) == Ok(getpid());
        self.by_process || self.signal == Signal::SIGHUP as i32 && leads()
    }
}

/// The signals of this process, taken from now until it ends. Take them before the child is
/// forked (it gets its own set back) and while there is one thread. A worker forked afterwards
/// has them blocked too, so that it outlives a Ctrl-C and can report.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    interrupted: Cell<bool>,
}

impl Signals {
    /// Blocks the signals and reads them from a descriptor instead. One that was ignored when
    /// goobserve started stays ignored: `nohup` is to work.
    pub fn take() -> Result<Self, JobError> {
        let inherited = Inherited::at_start();
        let mut set = SigSet::empty();
        for signal in PASSED_ON.into_iter().filter(|signal| !inherited.ignores(*signal as i32)) {
            set.add(signal);
        }
        set.add(Signal::SIGCHLD);
        if inherited.ignores(libc::SIGCHLD) {
            // Ignored, the kernel would throw the command's status away.
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            #[expect(unsafe_code, reason = "sigaction is unsafe for the sake of handlers")]
            // SAFETY: no handler is installed.
            unsafe { sigaction(Signal::SIGCHLD, &default) }.map_err(failed("sigaction"))?;
        }
        set.thread_block().map_err(failed("sigprocmask"))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(failed("signalfd"))?;
        Ok(Self { fd, interrupted: Cell::new(false) })
    }

    /// Readable when a signal, a child's end among them, wants [`Job::turn`] to be called.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether a signal that ends programs has come since they were taken, by the terminal or by
    /// a process. To be asked while no command runs.
    pub fn interrupted(&self) -> Result<bool, JobError> {
        while self.next()?.is_some() {}
        Ok(self.interrupted.get())
    }

    fn next(&self) -> Result<Option<Received>, JobError> {
        loop {
            match self.fd.read_signal() {
                Ok(None) | Err(Errno::EAGAIN) => return Ok(None),
                Ok(Some(info)) => {
                    let signal = info.ssi_signo.cast_signed();
                    if ENDING.iter().any(|ending| *ending as i32 == signal) {
                        self.interrupted.set(true);
                    }
                    return Ok(Some(Received { signal, by_process: info.ssi_code <= 0 }));
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("read of the signal descriptor")(errno)),
            }
        }
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Job<'a> {
    pid: Pid,
    signals: &'a Signals,
}

impl<'a> Job<'a> {
    /// Takes over a released command.
    pub const fn new(pid: Pid, signals: &'a Signals) -> Self {
        Self { pid, signals }
    }

    /// Passes on what has been received and looks whether the command has ended. Never blocks.
    pub fn turn(&self) -> Result<Option<ExitStatus>, JobError> {
        while let Some(received) = self.signals.next()? {
            if received.is_ours_alone()
                && let Ok(signal) = Signal::try_from(received.signal)
                && signal != Signal::SIGCHLD
            {
                // It may just have ended: the wait below reports.
                let _ = kill(self.pid, signal);
                if signal == Signal::SIGHUP {
                    // As the kernel does: a stopped one would never know.
                    let _ = kill(self.pid, Signal::SIGCONT);
                }
            }
        }
        self.ended()
    }

    /// The raw call, for nix's has no way to report of an end by a real-time signal.
    fn ended(&self) -> Result<Option<ExitStatus>, JobError> {
        loop {
            let mut status = 0;
            #[expect(unsafe_code, reason = "wait4 has no safe form that knows every signal")]
            // SAFETY: the status is a local, and no resource usage is asked for.
            let got = unsafe {
                libc::wait4(self.pid.as_raw(), &raw mut status, libc::WNOHANG, std::ptr::null_mut())
            };
            match Errno::result(got) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(ExitStatus::from_raw(status))),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("wait4")(errno)),
            }
        }
    }

    /// Waits until the command has ended, or `other` is ready, or `at_most` has passed
    /// (`None`: no limit). `Ok(None)` is one of the latter two.
    pub fn wait(
        &self,
        other: Option<PollFd<'_>>,
        at_most: Option<Duration>,
    ) -> Result<Option<ExitStatus>, JobError> {
        if let Some(ended) = self.turn()? {
            return Ok(Some(ended));
        }
        let own = PollFd::new(self.signals.descriptor(), PollFlags::POLLIN);
        let mut fds = vec![own];
        fds.extend(other);
        let limit = at_most
            .map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        match poll(&mut fds, limit) {
            Ok(_) | Err(Errno::EINTR) => self.turn(),
            Err(errno) => Err(failed("poll")(errno)),
        }
    }
}

/// The exit status that stands for an end: the command's own, or 128+N for signal N.
pub fn exit_status(ended: ExitStatus) -> i32 {
    let by_signal = || ended.signal().map(|signal| 128 + signal);
    ended.code().or_else(by_signal).unwrap_or(super::child::NEVER_STARTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_becomes_a_status_as_in_a_shell() {
        assert_eq!(exit_status(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_status(ExitStatus::from_raw(libc::SIGINT)), 130);
        assert_eq!(exit_status(ExitStatus::from_raw(libc::SIGKILL | 0x80)), 137);
        assert_eq!(exit_status(ExitStatus::from_raw(40)), 168);
    }
}
