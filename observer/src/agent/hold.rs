//! `--hold-exec`, the agent's side: starts the holder, tells it which file systems there are and
//! which files are attached to, and starts it again when it was killed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::holder::{FromHolder, ToHolder};
use super::mounts::Mounts;
use super::spawn;
use crate::seam::{FileId, Seam};

/// How long it may take to listen.
const LISTENING_WITHIN: u16 = 5000;
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
        let _ = killed.wait();
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
        let words = PollFd::new(self.seam.as_fd(), PollFlags::POLLIN);
        let mounts = self.mounts.changes().map(|changes| PollFd::new(changes, PollFlags::POLLPRI));
        std::iter::once(words).chain(mounts)
    }

    /// Its next word.
    pub fn hear(&self) -> Word {
        match self.seam.receive::<FromHolder>(false) {
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
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn begin() -> Result<(Seam, Child)> {
    let (seam, theirs) = Seam::pair().context("cannot make the holder's seam")?;
    let mut process = spawn::holder(&theirs)?;
    drop(theirs);
    let listens =
        poll(&mut [PollFd::new(seam.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LISTENING_WITHIN));
    let what = match listens {
        Ok(1..) => match seam.receive::<FromHolder>(false) {
            Ok(Some((FromHolder::Listening, _))) => return Ok((seam, process)),
            Ok(Some((FromHolder::Refused { what }, _))) => what,
            _ => "it ended at once".to_owned(),
        },
        _ => "it does not begin".to_owned(),
    };
    let _ = process.kill();
    let _ = process.wait();
    bail!("programs cannot be held: {what}")
}
