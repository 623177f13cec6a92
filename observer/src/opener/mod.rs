//! What the worker may not open, opened for it. In: its requests, one at a time. Out: an output file's descriptor, or
//! what a small file, `/proc` or a control group says: never the file itself.
//!
//! The opener is a process of its own (`desk.rs`), with the rights of the user who called and no others: no
//! capabilities, not dumpable, and from the first observed byte on held by seccomp to reading. The worker is nobody, and
//! opens nothing at all. So whoever takes the worker over gets out of files what [`Request`] has words for: settings
//! of go's (lines `GO…=…`), module paths, who holds a lock; whether a file is there; no other content.
//!
//! A file system that hangs holds up the opener, not the worker: what is not answered in time stays unknown, and
//! so does whatever is asked until the answer comes after all.

mod cgroups;
mod containers;
mod desk;
mod files;
mod locks;
pub(crate) mod output;
mod throttle;

use std::cell::Cell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

pub use desk::main;
use model::id::{CommandId, Pid};
use model::record::{Container, CpuQuota};
use model::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::seam::Seam;

/// The hidden subcommand that the opener is.
pub const OPENER: &str = "__opener";

/// Longest wait for an answer: a small file of a disk that is busy.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// The same where an output file is opened or named, which a full queue of a disk holds up.
const OUTPUT_WITHIN: Duration = Duration::from_secs(8);
/// Waits for locks in one request.
pub(crate) const LOCKS_MAX: usize = 32;

/// An output file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Out {
    /// `--json`: whole, at the end
    Json,
    /// `--record`: it grows
    Record,
}

/// A terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Tty {
    /// The controlling one
    Controlling,
    /// The one on stderr
    Stderr,
}

/// What of a file is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// Its lines that set variables of go's
    Variables,
    /// Its lines that name modules of one's own
    Modules,
    /// Whether it is there
    Exists,
    /// Its device and inode
    Number,
}

/// A wait for a lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Wait {
    /// Who waits
    pub pid: Pid,
    /// Inode of the lock's file
    pub ino: u64,
    /// Its device, as in the kernel's `s_dev`
    pub dev: u32,
    /// The module cache of the command that waits
    pub modules: Option<Vec<u8>>,
}

/// Who holds a lock: as `LockFacts`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The file
    pub path: Option<String>,
    /// The repository that it guards
    pub repository: Option<String>,
    /// Who holds it
    pub holder: Option<Pid>,
}

/// Worker to opener. Paths are bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Opens an output file. Answered by its descriptor
    Open(Out, Vec<u8>),
    /// Opens a terminal, likewise
    Terminal(Tty),
    /// Every output is open: nothing that exists is opened to be changed from now on
    Begun,
    /// Makes the file of [`Reply::Later`]
    Make,
    /// `--json` is written: it gets its name
    Name,
    /// Nothing was recorded: no trace of `--record` stays
    Abandon,
    /// A file of a command's; with the descriptor of the root that its path begins at, or else ours
    File(Vec<u8>, What),
    /// Whether the process lives and runs that program
    Runs(Pid, String),
    /// Who holds these locks, [`LOCKS_MAX`] at most
    Locks(Vec<Wait>),
    /// The container of that control group, and who the process's user is inside
    Container(String, Pid),
    /// The path of the control group of that number
    Group(u64),
    /// A command in that control group begins: how often its CPU limit held it up by now is noted
    Quota(CommandId, String),
    /// It has ended: how often since
    QuotaSince(CommandId),
    /// What a user is called
    User(u32),
}

/// Opener to worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It is not known, or not there
    Nothing,
    /// It is so, or is done
    Yes,
    /// It is not so
    No,
    /// A descriptor: a regular file
    File,
    /// A descriptor: a pipe or a device
    Stream,
    /// The file is made when it is written
    Later,
    /// It cannot be written: why, and what to do
    Refused(String, String),
    /// Text
    Text(String),
    /// Device and inode
    Number(u64, u64),
    /// Of each lock
    Locks(Vec<Held>),
    /// A container
    Container(Container),
    /// What a limit did
    Quota(CpuQuota),
}

/// The worker's end.
pub(crate) struct Opener {
    to: To,
    /// Answers that did not come in time
    late: Cell<u32>,
}

enum To {
    Process(Seam),
    /// The same in a test's own process
    #[cfg(test)]
    Here(Box<std::cell::RefCell<desk::Desk>>),
}

impl Opener {
    /// At the other end of that seam.
    pub(crate) fn of(seam: Seam) -> Self {
        Self { to: To::Process(seam), late: Cell::new(0) }
    }

    /// Without a process.
    #[cfg(test)]
    pub(crate) fn here() -> Self {
        Self { to: To::Here(Box::default()), late: Cell::new(0) }
    }

    /// The answer to a request, and the descriptor with it. [`Reply::Nothing`] when there is none in time.
    pub(crate) fn ask(&self, request: &Request, root: Option<BorrowedFd<'_>>) -> (Reply, Option<OwnedFd>) {
        let within = match request {
            Request::Open(..) | Request::Terminal(_) | Request::Make | Request::Name => OUTPUT_WITHIN,
            _ => ANSWER_WITHIN,
        };
        match self.asked(request, root, within) {
            Ok(answer) => answer,
            Err(error) => {
                log::info!("the opener does not answer: {error}");
                (Reply::Nothing, None)
            }
        }
    }

    fn asked(
        &self,
        request: &Request,
        root: Option<BorrowedFd<'_>>,
        within: Duration,
    ) -> io::Result<(Reply, Option<OwnedFd>)> {
        #[cfg(test)]
        if let To::Here(desk) = &self.to {
            let root = root.map(|root| root.try_clone_to_owned()).transpose()?;
            return Ok(desk.borrow_mut().answer(request.clone(), root));
        }
        #[cfg_attr(not(test), expect(clippy::infallible_destructuring_match, reason = "not so in tests"))]
        let seam = match &self.to {
            To::Process(seam) => seam,
            #[cfg(test)]
            To::Here(_) => unreachable!("answered above"),
        };
        // Answers come in the order of the requests.
        while self.late.get() > 0 {
            seam.receive::<Reply>()?;
            self.late.set(self.late.get() - 1);
        }
        seam.send(request, root.as_slice())?;
        match seam.receive_within(within) {
            Ok(Some((reply, descriptors))) => Ok((reply, descriptors.into_iter().next())),
            Ok(None) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => {
                self.late.set(self.late.get() + u32::from(error.kind() == io::ErrorKind::TimedOut));
                Err(error)
            }
        }
    }

    /// A line of text.
    pub(crate) fn text(&self, request: &Request) -> Option<String> {
        match self.ask(request, None).0 {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A terminal.
    pub(crate) fn terminal(&self, which: Tty) -> Option<std::fs::File> {
        self.ask(&Request::Terminal(which), None).1.map(Into::into)
    }

    /// A file of that path, ours, by number.
    pub(crate) fn number(&self, path: &Path) -> Option<(u64, u64)> {
        let path = path.as_os_str().as_bytes().to_vec();
        match self.ask(&Request::File(path, What::Number), None).0 {
            Reply::Number(dev, ino) => Some((dev, ino)),
            _ => None,
        }
    }

    /// Done, or why not.
    pub(crate) fn done(&self, request: &Request) -> Result<(), UserError> {
        done(self.ask(request, None).0)
    }
}

/// An answer that says whether something was done.
pub(crate) fn done(reply: Reply) -> Result<(), UserError> {
    match reply {
        Reply::Refused(what, hint) => Err(UserError { what, hint }),
        Reply::Nothing => Err(UserError::new(
            "cannot write a file: goobserve's opener does not answer",
            "name a file on a disk that answers",
        )),
        _ => Ok(()),
    }
}
