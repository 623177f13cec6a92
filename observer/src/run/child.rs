//! A command that is held before its first instruction. In: a program, its arguments, a user
//! and an environment. Out: a pid to attach to; then, once released, the command, or why it
//! could not be executed.
//!
//! The child is forked, becomes the user, says that it is ready, and reads from a pipe. One
//! byte lets it go; the end of the pipe, or the death of its parent, makes it exit with 125.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid, pipe2};
use thiserror::Error;

use super::inherited::{LAST_SIGNAL, Signals};
use super::invoker::Invoker;

/// Status of a child that was never let go.
pub const NEVER_STARTED: i32 = 125;
/// How often a held child looks whether its parent is still there. The pipe alone does not
/// show when another process has inherited its other end.
const PARENT_CHECK_MS: i32 = 500;

/// What the child was doing when something failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// unshare and making mounts private
    Namespace,
    /// Mounting a private resolv.conf
    Resolv,
    /// setgroups
    Groups,
    /// setresgid
    Group,
    /// setresuid
    User,
    /// execve
    Exec,
}

impl Step {
    const fn number(self) -> u8 {
        match self {
            Self::Groups => 1,
            Self::Group => 2,
            Self::User => 3,
            Self::Exec => 4,
            Self::Namespace => 5,
            Self::Resolv => 6,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Groups),
            2 => Some(Self::Group),
            3 => Some(Self::User),
            4 => Some(Self::Exec),
            5 => Some(Self::Namespace),
            6 => Some(Self::Resolv),
            _ => None,
        }
    }
}
/// The first byte of the report of a child that waits.
const READY: u8 = 0;
/// A report: what happened, then the errno.
const REPORT_LEN: usize = 5;

/// Why a command could not be started. Nothing is left behind.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ExecFailure {
    /// The command's words or variables hold a NUL byte
    #[error("cannot start {program}: a NUL byte in {what}")]
    Nul {
        /// The program
        program: String,
        /// Where the byte is
        what: &'static str,
    },
    /// A pipe or a process could not be made
    #[error("cannot start {program}: {call}: {}", .errno.desc())]
    Fork {
        /// The program
        program: String,
        /// The system call
        call: &'static str,
        /// Its error
        errno: Errno,
    },
    /// The child could not become the user
    #[error("cannot run {program} as user {uid}: {step:?}: {}", .errno.desc())]
    Identity {
        /// The program
        program: String,
        /// The user
        uid: u32,
        /// What failed
        step: Step,
        /// Its error
        errno: Errno,
    },
    /// The child could not get a resolv.conf of its own
    #[error("cannot give {program} its own /etc/resolv.conf: {step:?}: {}", .errno.desc())]
    Private {
        /// The program
        program: String,
        /// What failed
        step: Step,
        /// Its error
        errno: Errno,
    },
    /// The kernel refused to execute the program
    #[error("cannot execute {program}: {}", .errno.desc())]
    Exec {
        /// The program
        program: String,
        /// Its error
        errno: Errno,
    },
}

impl ExecFailure {
    /// The exit status: 127 not found, 126 cannot be executed, 125 our own failure.
    pub const fn status(&self) -> i32 {
        match self {
            Self::Exec { errno: Errno::ENOENT, .. } => 127,
            Self::Exec { .. } => 126,
            Self::Nul { .. } | Self::Fork { .. } | Self::Identity { .. } | Self::Private { .. } => {
                NEVER_STARTED
            }
        }
    }

    /// What to do about it, in one line.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Exec { errno: Errno::ENOENT, .. } => {
                "check that it is still there, and so is the interpreter its first line names"
            }
            Self::Exec { errno: Errno::EACCES, .. } => {
                "check that the calling user may execute it, and that its file system is not mounted noexec"
            }
            Self::Exec { errno: Errno::ENOEXEC, .. } => {
                "check that it is built for this machine; a script needs a first line such as #!/bin/sh"
            }
            Self::Exec { errno: Errno::E2BIG, .. } => "shorten its arguments or its environment",
            Self::Exec { .. } => "try the same command without goobserve",
            Self::Identity { .. } => "run goobserve as root, outside of a user namespace",
            Self::Private { errno: Errno::ENOENT, .. } => {
                "without /etc/resolv.conf there is nothing to change; leave resolv= out"
            }
            Self::Private { .. } => "it takes root with CAP_SYS_ADMIN; leave resolv= out",
            Self::Nul { .. } => "remove the NUL byte",
            Self::Fork { .. } => "check the limits on processes and open files (ulimit -a)",
        }
    }
}

/// A command held before its exec. Dropped before [`HeldChild::release`], it is killed and
/// reaped.
#[derive(Debug)]
pub struct HeldChild {
    pid: Pid,
    hold: Option<OwnedFd>,
    report: File,
    program: String,
    uid: u32,
}

/// All that the child needs, made before the fork: after it, nothing may be allocated.
struct Prepared<'a> {
    path: CString,
    // The pointers point into the strings kept beside them.
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    resolv_conf: Option<&'a [u8]>,
    become_user: Option<(u32, u32, Vec<libc::gid_t>)>,
    umask: Option<libc::mode_t>,
    signals: Signals,
    parent: libc::pid_t,
    hold: RawFd,
    hold_other_end: RawFd,
    report: RawFd,
    /// Where stdin comes from and terminals among stdout and stderr go to instead
    instead: Option<(RawFd, RawFd)>,
}

impl HeldChild {
    /// Forks the child that will execute `program` with `argv` (the name first) as `invoker`.
    /// With `resolv_conf`, that is what it finds at `/etc/resolv.conf`, in a mount namespace of its
    /// own. With `output`, it prints there instead of on a terminal, and reads nothing from one.
    /// When this returns, the child is the user already, and waits.
    pub fn spawn(
        program: &Path,
        argv: &[OsString],
        invoker: &Invoker,
        resolv_conf: Option<&str>,
        output: Option<BorrowedFd<'_>>,
    ) -> Result<Self, ExecFailure> {
        let name = program.display().to_string();
        let nul = |what| move |_| ExecFailure::Nul { program: name.clone(), what };
        let path = CString::new(program.as_os_str().as_bytes()).map_err(nul.clone()("its path"))?;
        let words = argv.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>();
        let words = words.map_err(nul.clone()("its arguments"))?;
        let variables = invoker.env.iter().map(|(name, value)| CString::new(joined(name, value)));
        let variables = variables.collect::<Result<Vec<_>, _>>().map_err(nul("its environment"))?;

        let program = program.display().to_string();
        let failed = |call| {
            let program = program.clone();
            move |errno| ExecFailure::Fork { program, call, errno }
        };
        let (held, hold) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
        let (report, reported) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
        let nothing = output.map(|_| File::open("/dev/null")).transpose().map_err(|error| {
            failed("open of /dev/null")(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
        })?;
        let instead =
            nothing.as_ref().zip(output).map(|(nothing, output)| (nothing.as_raw_fd(), output.as_raw_fd()));
        let pointers = |strings: &[CString]| {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let prepared = Prepared {
            path,
            argv: pointers(&words),
            envp: pointers(&variables),
            _strings: words.into_iter().chain(variables).collect(),
            resolv_conf: resolv_conf.map(str::as_bytes),
            become_user: (!is_already(invoker)).then(|| (invoker.uid, invoker.gid, invoker.groups.clone())),
            umask: invoker.umask,
            signals: Signals::at_start(),
            parent: getpid().as_raw(),
            hold: held.as_raw_fd(),
            hold_other_end: hold.as_raw_fd(),
            report: reported.as_raw_fd(),
            instead,
        };

        // No signal may reach a handler of ours in the child: it has ours until it resets them.
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))
            .map_err(failed("sigprocmask"))?;
        #[expect(unsafe_code, reason = "fork: only the child of a fork can be held")]
        // SAFETY: the child calls `run`, which neither allocates nor locks nor returns.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            prepared.run();
        }
        let restored = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        let Ok(ForkResult::Parent { child }) = forked else {
            return Err(failed("fork")(forked.err().unwrap_or(Errno::EAGAIN)));
        };
        drop((held, reported));
        let mut child =
            Self { pid: child, hold: Some(hold), report: report.into(), program, uid: invoker.uid };
        restored.map_err(|errno| ExecFailure::Fork {
            program: child.program.clone(),
            call: "sigprocmask",
            errno,
        })?;
        match child.next_report() {
            Some(Err(failure)) => Err(failure),
            // Ready; or ended by a signal already, which the wait will report.
            Some(Ok(())) | None => Ok(child),
        }
    }

    /// The child's pid; it stays the command's.
    pub fn pid(&self) -> model::id::Pid {
        model::id::Pid(self.pid.as_raw().unsigned_abs())
    }

    /// Lets the child execute its program, and waits until it has. From now on the command is
    /// the caller's to wait for. A failure is reaped here.
    pub fn release(mut self) -> Result<Pid, ExecFailure> {
        if let Some(hold) = self.hold.take() {
            // A child that has been killed does not read; the wait will report.
            let _ = File::from(hold).write_all(&[1]);
        }
        match self.next_report() {
            Some(Err(failure)) => {
                reap(self.pid);
                Err(failure)
            }
            _ => Ok(self.pid),
        }
    }

    /// The child's next report; `None` when it will make none: it has executed, or ended.
    fn next_report(&mut self) -> Option<Result<(), ExecFailure>> {
        let mut bytes = [0; REPORT_LEN];
        self.report.read_exact(&mut bytes).ok()?;
        let [what, a, b, c, d] = bytes;
        if what == READY {
            return Some(Ok(()));
        }
        let errno = Errno::from_raw(i32::from_ne_bytes([a, b, c, d]));
        let program = self.program.clone();
        Some(Err(match Step::from_number(what)? {
            Step::Exec => ExecFailure::Exec { program, errno },
            step @ (Step::Namespace | Step::Resolv) => ExecFailure::Private { program, step, errno },
            step => ExecFailure::Identity { program, uid: self.uid, step, errno },
        }))
    }
}

impl Drop for HeldChild {
    fn drop(&mut self) {
        if self.hold.is_some() {
            let _ = kill(self.pid, Signal::SIGKILL);
            reap(self.pid);
        }
    }
}

fn reap(pid: Pid) {
    while waitpid(pid, None) == Err(Errno::EINTR) {}
}

fn joined(name: &OsStr, value: &OsStr) -> Vec<u8> {
    [name.as_bytes(), b"=", value.as_bytes()].concat()
}

/// Whether we are the user already, in every respect.
fn is_already(invoker: &Invoker) -> bool {
    let (Ok(user), Ok(group)) = (nix::unistd::getresuid(), nix::unistd::getresgid()) else { return false };
    let is_user = [user.real, user.effective, user.saved].iter().all(|id| id.as_raw() == invoker.uid);
    let is_group = [group.real, group.effective, group.saved].iter().all(|id| id.as_raw() == invoker.gid);
    let sorted = |mut groups: Vec<u32>| {
        groups.sort_unstable();
        groups
    };
    let groups = nix::unistd::getgroups().map(|groups| sorted(groups.iter().map(|id| id.as_raw()).collect()));
    is_user && is_group && groups == Ok(sorted(invoker.groups.clone()))
}

impl Prepared<'_> {
    /// The child's whole life before its program. Only async-signal-safe calls from here on.
    #[expect(unsafe_code, reason = "between fork and exec only bare system calls are allowed")]
    fn run(&self) -> ! {
        // SAFETY: every call is async-signal-safe; the pointers come from `self`, which the
        // forked copy of the parent's memory holds, and the arrays end with a null pointer.
        unsafe {
            libc::close(self.hold_other_end);
            for signal in 1..=LAST_SIGNAL {
                let ignored = self.signals.ignores(signal);
                // Fails for SIGKILL, SIGSTOP and libc's own two, which need nothing.
                libc::signal(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
            }
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut mask);
            for signal in (1..=LAST_SIGNAL).filter(|signal| self.signals.blocks(*signal)) {
                libc::sigaddset(&raw mut mask, signal);
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());

            if let Some(text) = self.resolv_conf {
                super::private::resolv_conf(text).unwrap_or_else(|step| self.fail(step));
            }
            if let Some((uid, gid, groups)) = &self.become_user {
                // The user last: afterwards nothing else may be changed.
                if libc::setgroups(groups.len() as _, groups.as_ptr()) != 0 {
                    self.fail(Step::Groups);
                }
                if libc::setresgid(*gid, *gid, *gid) != 0 {
                    self.fail(Step::Group);
                }
                if libc::setresuid(*uid, *uid, *uid) != 0 {
                    self.fail(Step::User);
                }
            }
            if let Some(umask) = self.umask {
                libc::umask(umask);
            }
            if let Some((nothing, output)) = self.instead {
                for (stream, instead) in [(0, nothing), (1, output), (2, output)] {
                    if libc::isatty(stream) == 1 {
                        libc::dup2(instead, stream);
                    }
                }
            }
            self.say(READY, 0);
            self.wait();
            libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr());
        }
        self.fail(Step::Exec)
    }

    /// Returns when one byte has come.
    #[expect(unsafe_code, reason = "between fork and exec only bare system calls are allowed")]
    fn wait(&self) {
        let mut poll = libc::pollfd { fd: self.hold, events: libc::POLLIN, revents: 0 };
        let mut byte = 0u8;
        // SAFETY: the calls are async-signal-safe and write only into the two locals.
        unsafe {
            loop {
                let ready = libc::poll(&raw mut poll, 1, PARENT_CHECK_MS);
                if ready > 0 {
                    match libc::read(self.hold, (&raw mut byte).cast(), 1) {
                        1 => return,
                        0 => break,
                        _ if Errno::last_raw() != libc::EINTR => break,
                        _ => {}
                    }
                }
                if libc::getppid() != self.parent {
                    break;
                }
            }
            libc::_exit(NEVER_STARTED)
        }
    }

    fn fail(&self, step: Step) -> ! {
        self.say(step.number(), Errno::last_raw());
        #[expect(unsafe_code, reason = "std's exit would run the parent's exit handlers")]
        // SAFETY: _exit has no preconditions.
        unsafe {
            libc::_exit(NEVER_STARTED)
        }
    }

    fn say(&self, what: u8, errno: i32) {
        let [a, b, c, d] = errno.to_ne_bytes();
        let report = [what, a, b, c, d];
        #[expect(unsafe_code, reason = "between fork and exec only bare system calls are allowed")]
        // SAFETY: the buffer is a local of that length. A pipe takes five bytes whole.
        unsafe {
            libc::write(self.report, report.as_ptr().cast(), REPORT_LEN);
        }
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
