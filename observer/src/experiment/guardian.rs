//! A process that does what must be done when this one ends without doing it: a panic, `kill -9`,
//! no memory left. It waits at the other end of a pipe and does nothing else.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, kill, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

/// A number that is no pid: all has been done.
const DONE: i32 = 0;
/// How long the last run may take to end after us.
const LAST_RUN: Duration = Duration::from_secs(60);

/// The guardian, seen from the process it guards.
#[derive(Debug)]
pub(super) struct Guardian {
    pid: Pid,
    pipe: File,
}

impl Guardian {
    /// Forks it. `clean` runs there, when this process ends without [`Guardian::done`]. Needs a
    /// process of one thread.
    pub(super) fn start(clean: impl FnOnce()) -> nix::Result<Self> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        #[expect(unsafe_code, reason = "fork: only a process of its own outlives this one")]
        // SAFETY: this process has one thread, so the child's memory is in order.
        let forked = unsafe { fork() }?;
        match forked {
            ForkResult::Parent { child } => Ok(Self { pid: child, pipe: theirs.into() }),
            ForkResult::Child => {
                drop(theirs);
                guard(ours, clean);
                #[expect(unsafe_code, reason = "std's exit would run the parent's exit handlers")]
                // SAFETY: _exit has no preconditions.
                unsafe {
                    libc::_exit(0)
                }
            }
        }
    }

    /// A run begins in that process; it is waited for before anything is cleaned up.
    pub(super) fn running(&mut self, pid: model::id::Pid) {
        // Without a guardian the experiment goes on as well.
        let _ = self.pipe.write_all(&pid.0.cast_signed().to_ne_bytes());
    }

    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// All has been done: the guardian goes.
    pub(super) fn done(mut self) {
        let _ = self.pipe.write_all(&DONE.to_ne_bytes());
        drop(self.pipe);
        while waitpid(self.pid, None) == Err(Errno::EINTR) {}
    }
}

/// The guardian's whole life.
fn guard(pipe: OwnedFd, clean: impl FnOnce()) {
    // Whatever ends the others must not end it; stderr stays, to say what it did.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    let _ = setsid();
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null);
        let _ = dup2_stdout(&null);
    }
    let mut pipe = File::from(pipe);
    let mut last = None;
    let mut bytes = [0; 4];
    while pipe.read_exact(&mut bytes).is_ok() {
        match i32::from_ne_bytes(bytes) {
            DONE => return,
            pid => last = Some(Pid::from_raw(pid)),
        }
    }
    let until = Instant::now() + LAST_RUN;
    while let Some(pid) = last
        && kill(pid, None).is_ok()
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    clean();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(what: impl FnOnce(Guardian)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cleaned");
        let made = file.clone();
        let guardian = Guardian::start(move || std::fs::write(&made, "").unwrap()).unwrap();
        let pid = guardian.pid;
        what(guardian);
        let _ = waitpid(pid, None); // reaped already when it was reported that all is done
        file.exists()
    }

    // One test: side by side, each guardian would hold the other's pipe open.
    #[test]
    fn it_cleans_up_after_the_last_run_when_its_process_ends_and_not_when_all_is_done() {
        assert!(ended(drop));
        assert!(!ended(Guardian::done));
        let mut run = std::process::Command::new("sleep").arg("0.3").spawn().unwrap();
        let begun = Instant::now();
        let cleaned = ended(|mut guardian| {
            guardian.running(model::id::Pid(run.id()));
            drop(guardian);
            run.wait().unwrap();
        });
        assert!(cleaned && begun.elapsed() >= Duration::from_millis(300));
    }
}
