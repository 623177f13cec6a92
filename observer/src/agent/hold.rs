//! `--hold-exec`, and `run` with the tree of CMD, the agent's side: starts the holder, says to it which
//! file systems there are and which files are attached to, and starts it again when it was killed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags};

use super::holder::{FromHolder, ToHolder};
use super::mounts::Mounts;
use super::{ending, spawn};
use crate::seam::{FileId, Seam};

/// How long it may take to listen.
const LISTENING_WITHIN: Duration = Duration::from_secs(5);
/// How often it is started again: after that the machine is better off without it.
const RESTARTS_MAX: u32 = 5;
/// How often the mounts of other namespaces are looked for.
pub(super) const DIAGNOSE_EVERY: Duration = Duration::from_secs(1);

/// The holder, as the agent sees it.
pub(super) struct Hold {
    seam: Seam,
    process: Child,
    /// With `run`: the processes that may be held
    tree: Option<OwnedFd>,
    mounts: Mounts,
    restarts: u32,
    looked: Instant,
}

/// What the holder says.
pub(super) enum Word {
    /// Nothing more
    Nothing,
    /// A program waits
    Held(FileId, File, String),
    /// It has ended
    Gone,
}

impl Hold {
    /// Starts its process. It holds nothing yet.
    pub(super) fn spawn() -> Result<Self> {
        let (seam, process) = spawn()?;
        let (mounts, looked) = (Mounts::new(), Instant::now());
        Ok(Self { seam, process, tree: None, mounts, restarts: 0, looked })
    }

    /// Programs are held from when this returns: any, or those of processes in the map `tree`.
    pub(super) fn begin(mut self, tree: Option<OwnedFd>) -> Result<Self> {
        self.tree = tree;
        self.listen()?;
        Ok(self)
    }

    /// Starts it again, if that is worth it.
    pub(super) fn restart(mut self) -> Result<Self> {
        if self.restarts >= RESTARTS_MAX {
            bail!("it was killed {} times", self.restarts + 1);
        }
        let (seam, process) = spawn()?;
        self.restarts += 1;
        drop(std::mem::replace(&mut self.seam, seam));
        let mut killed = std::mem::replace(&mut self.process, process);
        let _ = ending::reap(&mut killed, ending::GONE_WITHIN);
        self.mounts = Mounts::new();
        self.listen()?;
        Ok(self)
    }

    /// Sends it everything, and waits until it has understood.
    fn listen(&mut self) -> Result<()> {
        self.looked = Instant::now();
        if let Some(tree) = &self.tree {
            self.seam.send(&ToHolder::Tree, &[tree.as_fd()])?;
        }
        self.mounted();
        // CMD begins here; other namespaces are looked at when it runs.
        if self.tree.is_none() {
            for point in self.mounts.elsewhere() {
                self.mark(point.as_fd());
            }
        }
        self.seam.send(&ToHolder::Begin, &[])?;
        let what = match self.seam.receive_within::<FromHolder>(LISTENING_WITHIN) {
            Ok(Some((FromHolder::Listening, _))) => return Ok(()),
            Ok(Some((FromHolder::Refused { what }, _))) => what,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => "it does not begin".to_owned(),
            _ => "it ended at once".to_owned(),
        };
        bail!("programs cannot be held: {what}")
    }

    /// A file is attached to, or will not be.
    pub(super) fn release(&self, file: FileId) {
        // That it has gone is noticed where it is heard.
        let _ = self.seam.send(&ToHolder::Release { file }, &[]);
    }

    /// That is over: its number may become another's.
    pub(super) fn forget(&self, file: FileId) {
        let _ = self.seam.send(&ToHolder::Forget { file }, &[]);
    }

    /// What there is to wait for: its words, and mounts here.
    pub(super) fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        let mounts = self.mounts.changes().map(|changes| PollFd::new(changes, PollFlags::POLLPRI));
        std::iter::once(self.seam.polled()).chain(mounts)
    }

    /// What is still to be asked to it waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        self.seam.is_waiting()
    }

    /// Its next word.
    pub(super) fn hear(&self) -> Word {
        // What it is asked for; that it has gone is noticed below.
        let _ = self.seam.flush();
        match self.seam.receive::<FromHolder>() {
            Ok(Some((FromHolder::Held { file, path }, descriptors))) => {
                match descriptors.into_iter().next() {
                    Some(descriptor) => Word::Held(file, descriptor.into(), path),
                    None => Word::Nothing,
                }
            }
            Ok(Some(_)) => Word::Nothing,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Word::Nothing,
            Ok(None) | Err(_) => Word::Gone,
        }
    }

    /// There are new mounts here.
    pub(super) fn mounted(&mut self) {
        for point in self.mounts.here() {
            self.mark(point.as_fd());
        }
    }

    /// When containers are to be looked for again.
    pub(super) fn due(&self) -> Instant {
        self.looked + DIAGNOSE_EVERY
    }

    /// Looks for mounts in other namespaces, when it is time to.
    pub(super) fn check(&mut self) {
        if Instant::now() >= self.due() {
            self.looked = Instant::now();
            for point in self.mounts.elsewhere() {
                self.mark(point.as_fd());
            }
        }
    }

    fn mark(&self, point: BorrowedFd<'_>) {
        let _ = self.seam.send(&ToHolder::Mark, &[point]);
    }
}

impl AsFd for Hold {
    /// Readable when it has a word.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.seam.as_fd()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // It ends by itself when the seam does; what is stopped ends by its watchdog. Not waited for:
        // the kernel takes tens of milliseconds to let go of its marks.
        let _ = self.process.kill();
    }
}

fn spawn() -> Result<(Seam, Child)> {
    let (seam, theirs) = Seam::pair().context("cannot make the holder's seam")?;
    let process = spawn::holder(&theirs)?;
    Ok((seam, process))
}
