//! A server beside one command. In: arguments of `goobserve serve`, and the user. Out: a process, and the line that
//! it prints when it listens; dropped, it ends.
//!
//! It runs as that user, without privileges, in a process group of its own: the terminal's Ctrl-C is for the
//! command, which may still ask while it ends. It is ended by name of its pid, and by itself when its stdin ends
//! or its parent dies.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};

use super::Invoker;

/// How long it may take to listen.
const START_MAX: Duration = Duration::from_secs(10);
/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(3);
/// Bytes of the line that it prints.
const LINE_MAX: usize = 16 * 1024;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
}

impl Server {
    /// Starts it. `sockets` are open in it, by the numbers that they have here.
    pub(super) fn spawn(
        invoker: &Invoker,
        env: &[(OsString, OsString)],
        arguments: &[OsString],
        sockets: &[BorrowedFd<'_>],
    ) -> io::Result<Self> {
        let arguments: Vec<OsString> =
            ["-q", "serve"].map(Into::into).into_iter().chain(arguments.iter().cloned()).collect();
        Self::start(invoker, env, &arguments, Stdio::piped(), sockets)
    }

    /// Starts that part of goobserve, with another stdin.
    pub(super) fn start(
        invoker: &Invoker,
        env: &[(OsString, OsString)],
        arguments: &[OsString],
        stdin: Stdio,
        sockets: &[BorrowedFd<'_>],
    ) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("goobserve").args(arguments);
        command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(stdin).stdout(Stdio::piped()).process_group(0);
        let (uid, gid) = (Uid::from_raw(invoker.uid), Gid::from_raw(invoker.gid));
        let groups: Vec<Gid> = invoker.groups.iter().copied().map(Gid::from_raw).collect();
        let is_root = nix::unistd::geteuid().is_root();
        let sockets: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        #[expect(unsafe_code, reason = "identity, signals and descriptors must change between fork and exec")]
        // SAFETY: only system calls, on sockets that are open until `spawn` returns; what they allocate is freed
        // again, by the only thread there is.
        unsafe {
            command.pre_exec(move || {
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
                for socket in &sockets {
                    // They stay open behind the exec.
                    if libc::fcntl(*socket, libc::F_SETFD, 0) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                if is_root {
                    // The user last: it takes every capability along.
                    setgroups(&groups)?;
                    setresgid(gid, gid, gid)?;
                    setresuid(uid, uid, uid)?;
                }
                nix::sys::prctl::set_no_new_privs()?;
                // Behind the change of the user, which would undo it.
                nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
                Ok(())
            });
        }
        Ok(Self { child: command.spawn()? })
    }

    /// What stands behind `name` in the line that it prints when it listens.
    pub(super) fn line(&mut self, name: &str) -> Option<String> {
        let mut stdout = self.child.stdout.take()?;
        let began = Instant::now();
        loop {
            let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
            let left = PollTimeout::try_from(START_MAX.checked_sub(began.elapsed())?).ok()?;
            match poll(&mut ready, left) {
                Ok(0) => return None,
                Ok(_) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
        // A line is written at once, and a pipe takes it whole.
        let mut line = vec![0; LINE_MAX];
        let length = stdout.read(&mut line).ok()?;
        line.truncate(length);
        let line = String::from_utf8(line).ok()?;
        Some(line.strip_prefix(name)?.strip_suffix('\n')?.to_owned())
    }

    /// Waits until it ends by itself, for so long at most, or until somebody has enough; whether it did.
    pub(super) fn wait(&mut self, at_most: Duration, enough: impl Fn() -> bool) -> bool {
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > at_most || enough() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Ends it; done twice, the second does nothing.
    pub(super) fn end(&mut self) {
        drop(self.child.stdin.take());
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > END_MAX {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
