//! What `watch` is to follow besides go commands that begin: commands that run already, the
//! processes of `--pid`, and with `--all-go` every Go program of the invoking user. Whether a
//! program is one is judged by the worker, which alone parses files.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use model::id::Pid;
use model::user_error::UserError;
use observer_common::ProgramKey;

use super::processes::{self, Stat};
use super::{Agent, files};
use crate::kernel::monotonic_ns;
use crate::run::procfs::{Live, Machine as _};
use crate::seam::{FileId, ToWorker};

/// Programs that the worker has not judged yet; more are asked about when they exec again.
const CANDIDATES_MAX: usize = 1024;
/// A program that is not followed is not asked about again for that long: its inode may become
/// another's.
const RETRY_AFTER_NS: u64 = 10_000_000_000;

/// What was asked for.
#[derive(Default)]
pub(super) struct Targets {
    /// `--pid`, and when each began
    pids: Vec<(Pid, u64)>,
    /// `--all-go`: whose programs
    all_go: Option<u32>,
    /// Processes about whose program the worker is asked: that, and how the kernel numbers it
    candidates: HashMap<Pid, (FileId, Option<ProgramKey>)>,
    /// Processes that ran already and are still to be followed, or offered to the worker
    next: VecDeque<Next>,
}

/// What is to be done with a process that runs already.
enum Next {
    /// It is followed with all that it has started
    Follow(Pid),
    /// The worker is asked about its program
    Offer(Pid),
}

impl Targets {
    /// Refuses processes that do not exist.
    pub(super) fn new(pids: &[Pid], all_go: Option<u32>) -> Result<Self, UserError> {
        let begun = |pid: &Pid| {
            Stat::of_process(*pid).filter(|stat| !stat.gone()).map(|stat| (*pid, stat.started)).ok_or_else(
                || {
                    let hint = "`pgrep -ax go` lists go commands that run";
                    UserError::new(format!("there is no process {pid}"), hint)
                },
            )
        };
        let pids = pids.iter().map(begun).collect::<Result<_, _>>()?;
        Ok(Self { pids, all_go, ..Self::default() })
    }

    /// With `--all-go`: the process is that user's.
    fn is_theirs(&self, pid: Pid) -> bool {
        let whose = || Live.status(pid).map(|status| status.uid);
        self.all_go.is_some() && pid != Pid(std::process::id()) && whose() == self.all_go
    }

    /// Whether go commands are followed wherever they run.
    pub(super) const fn every_go(&self) -> bool {
        self.pids.is_empty()
    }

    /// Descriptors that are readable when the processes of `--pid` have ended.
    pub(super) fn ends(&self) -> Result<Vec<OwnedFd>> {
        self.pids.iter().map(|(pid, _)| ended(*pid)).collect()
    }
}

impl Agent {
    /// Has the worker look at the programs that run: before it is asked to be ready.
    pub(super) fn open_running(&mut self) -> Result<()> {
        if self.targets.every_go() {
            for pid in processes::topmost(&processes::processes(), Stat::is_go) {
                self.offer(pid, None, false)?;
            }
            return Ok(());
        }
        self.targets.pids.clone().into_iter().try_for_each(|(pid, _)| self.offer(pid, None, true))
    }

    /// Finds what runs already, when everything that was found is probed.
    pub(super) fn find_targets(&mut self) {
        if !self.targets.every_go() {
            let same = |(pid, started): &(Pid, u64)| {
                Stat::of_process(*pid).is_some_and(|stat| stat.started == *started)
            };
            let Targets { pids, next, .. } = &mut self.targets;
            next.extend(pids.iter().filter(|pid| same(pid)).map(|(pid, _)| Next::Follow(*pid)));
            return;
        }
        let now = processes::processes();
        let topmost = processes::topmost(&now, Stat::is_go);
        self.targets.next.extend(topmost.into_iter().map(Next::Follow));
        if self.targets.all_go.is_some() {
            let all = processes::parents_first(now);
            self.targets.next.extend(all.iter().map(|stat| Next::Offer(stat.pid)));
        }
    }

    /// Whether [`Agent::follow_next`] has something to do: the worker reads what it is reported.
    pub(super) fn can_follow_next(&self) -> bool {
        !self.targets.next.is_empty() && self.seam.has_room()
    }

    /// Follows the next of what runs already; whether there is none any more.
    pub(super) fn follow_next(&mut self) -> Result<bool> {
        if self.can_follow_next() {
            match self.targets.next.pop_front() {
                Some(Next::Follow(pid)) => self.follow_running(pid)?,
                Some(Next::Offer(pid))
                    if self.targets.is_theirs(pid) && self.kernel.process(pid).is_none() =>
                {
                    self.offer(pid, None, true)?;
                }
                _ => {}
            }
        }
        Ok(self.targets.next.is_empty())
    }

    /// With `--all-go`, a process of that user runs a program that nobody has looked at.
    pub(super) fn inspect_program(&mut self, pid: Pid, program: ProgramKey) -> Result<()> {
        if self.targets.is_theirs(pid) && self.kernel.process(pid).is_none() {
            self.offer(pid, Some(program), true)
        } else {
            Ok(())
        }
    }

    /// Sends the worker a process's program, to be `judged` or just to be probed.
    fn offer(&mut self, pid: Pid, program: Option<ProgramKey>, judged: bool) -> Result<()> {
        let link = format!("/proc/{pid}/exe");
        let Some((file, id)) = files::regular(Path::new(&link)) else { return Ok(()) };
        let path = std::fs::read_link(&link).unwrap_or_default().to_string_lossy().into_owned();
        if !judged {
            return self.binary(id, file, path);
        }
        // What was named must be judged, and is little.
        let no_room = self.targets.every_go() && !self.seam.has_room();
        if no_room || self.targets.candidates.len() >= CANDIDATES_MAX {
            self.unexamined += 1;
            return Ok(());
        }
        self.meet(id, &file)?;
        let message = ToWorker::Candidate { pid, file: id, path };
        self.seam.send(&message, &[file.as_fd()]).context("cannot reach the worker")?;
        self.targets.candidates.insert(pid, (id, program));
        if !self.keep(id, file)? {
            self.unexamined += 1;
            self.report(&ToWorker::Forgotten { file: id })?;
        }
        Ok(())
    }

    /// The worker has looked at a program: why it is not to be followed, if it is not. What is to
    /// be said of a process that was named.
    pub(super) fn judged(&mut self, pid: Pid, why: Option<String>) -> Result<Option<UserError>> {
        let Some((file, program)) = self.targets.candidates.remove(&pid) else { return Ok(None) };
        if !self.targets.every_go() {
            let hint = "name the pid of a go command, or of a Go program that speaks TLS";
            return Ok(
                why.map(|why| UserError::new(format!("process {pid} cannot be observed: {why}"), hint))
            );
        }
        let program = program.unwrap_or_else(|| numbered(file));
        self.kernel.program(program, why.as_ref().map(|_| monotonic_ns() + RETRY_AFTER_NS));
        // Its number may be another's by now, whose program nobody has judged.
        let same =
            || files::regular(Path::new(&format!("/proc/{pid}/exe"))).is_some_and(|(_, id)| id == file);
        if why.is_none() && same() && self.targets.is_theirs(pid) {
            self.follow_running(pid)?;
        }
        Ok(None)
    }
}

/// A file as the kernel numbers it. On file systems that report others (overlayfs, btrfs) it is not
/// found by that, and is asked about when it execs.
fn numbered(file: FileId) -> ProgramKey {
    let (major, minor) = (nix::sys::stat::major(file.dev), nix::sys::stat::minor(file.dev));
    ProgramKey { ino: file.ino, dev: (major << 20 | minor) as u32, pad: 0 }
}

/// A descriptor that is readable when the process has ended.
pub(super) fn ended(pid: Pid) -> Result<OwnedFd> {
    #[expect(unsafe_code, reason = "pidfd_open(2) has no wrapper")]
    // SAFETY: two numbers in; the result is a new descriptor.
    let fd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid.0, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    };
    fd.with_context(|| format!("cannot wait for process {pid}"))
}
