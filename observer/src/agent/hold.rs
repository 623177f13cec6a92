//! `--hold-exec`, the agent's side: starts the holder, tells it which file systems there are and
//! which files are attached to, and starts it again when it was killed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
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
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The holder, as the agent sees it.
pub struct Hold {
    seam: Seam,
    process: Child,
    mounts: Mounts,
    restarts: u32,
    looked: Instant,
}

/// What the holder says.
pub enum Word {
    /// Nothing more
    Nothing,
    /// A program waits
    Held(FileId, File, String),
    /// It has ended
    Gone,
}

impl Hold {
    /// Starts it; programs are held from when this returns.
    pub fn start() -> Result<Self> {
        let (seam, process) = begin()?;
        let mut hold = Self { seam, process, mounts: Mounts::new(), restarts: 0, looked: Instant::now() };
        hold.mark_all();
        Ok(hold)
    }

    /// Starts it again, if that is worth it.
    pub fn restart(mut self) -> Result<Self> {
        if self.restarts >= RESTARTS_MAX {
            bail!("it was killed {} times", self.restarts + 1);
        }
        let (seam, process) = begin()?;
        self.restarts += 1;
        drop(std::mem::replace(&mut self.seam, seam));
        let mut killed = std::mem::replace(&mut self.process, process);
        let _ = ending::reap(&mut killed, ending::GONE_WITHIN);
        self.mounts = Mounts::new();
        self.mark_all();
        Ok(self)
    }

    /// A file is attached to, or will not be.
    pub fn release(&self, file: FileId) {
        // That it has gone is noticed where it is heard.
        let _ = self.seam.send(&ToHolder::Release { file }, &[]);
    }

    /// What there is to wait for: its words, and mounts here.
    pub fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        let words = self.seam.polled();
        let mounts = self.mounts.changes().map(|changes| PollFd::new(changes, PollFlags::POLLPRI));
        std::iter::once(words).chain(mounts)
    }

    /// Its next word.
    pub fn hear(&self) -> Word {
        // What it is to be told; that it has gone is noticed below.
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
    pub fn mounted(&mut self) {
        for point in self.mounts.here() {
            self.mark(point.as_fd());
        }
    }

    /// When containers are to be looked for again.
    pub fn due(&self) -> Instant {
        self.looked + LOOK_EVERY
    }

    /// Looks for mounts in other namespaces, when it is time to.
    pub fn look(&mut self) {
        if Instant::now() >= self.due() {
            self.looked = Instant::now();
            for point in self.mounts.elsewhere() {
                self.mark(point.as_fd());
            }
        }
    }

    fn mark_all(&mut self) {
        self.mounted();
        for point in self.mounts.elsewhere() {
            self.mark(point.as_fd());
        }
    }

    fn mark(&self, point: BorrowedFd<'_>) {
        let _ = self.seam.send(&ToHolder::Mark, &[point]);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // It ends by itself when the seam does; what is stopped ends by its watchdog.
        let _ = ending::reap(&mut self.process, Duration::ZERO);
    }
}

fn begin() -> Result<(Seam, Child)> {
    let (seam, theirs) = Seam::pair().context("cannot make the holder's seam")?;
    let mut process = spawn::holder(&theirs)?;
    drop(theirs);
    let what = match seam.receive_within::<FromHolder>(LISTENING_WITHIN) {
        Ok(Some((FromHolder::Listening, _))) => return Ok((seam, process)),
        Ok(Some((FromHolder::Refused { what }, _))) => what,
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => "it does not begin".to_owned(),
        _ => "it ended at once".to_owned(),
    };
    let _ = ending::reap(&mut process, Duration::ZERO);
    bail!("programs cannot be held: {what}")
}
