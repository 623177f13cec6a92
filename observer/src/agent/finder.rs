//! The process that searches for go binaries. In go who called and their PATH, out come opened files.
//!
//! What users name may lead through a file system that does not answer (FUSE, a network). Whoever
//! waits for it can be given up when it is a process of its own, and not if it is a thread.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::discover::{self, Discovered};
use super::{ending, spawn};
use crate::run::invoker::Invoker;
use crate::seam::{FileId, Seam};

/// The hidden subcommand that it is.
pub const FINDER: &str = "__find";
/// It searches for less than half of that, unless something does not answer.
const SEARCH_LIMIT: Duration = Duration::from_secs(1);
/// A longer PATH does not fit into a message, and is not searched.
const PATH_MAX: usize = 12 << 10;
/// How long one side waits for the other to begin or to read.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Agent to finder, once.
#[derive(Debug, Serialize, Deserialize)]
struct Search {
    uid: u32,
    gid: u32,
    path: Option<OsString>,
}

/// Finder to agent; with the file's descriptor.
#[derive(Debug, Serialize, Deserialize)]
struct Binary {
    file: FileId,
    path: OsString,
}

/// Its whole life. Returns its exit status.
pub fn main(seam_fd: i32) -> i32 {
    let Ok(seam) = Seam::inherited(seam_fd) else {
        crate::say::line("this is goobserve's inner part; it is not to be called");
        return 1;
    };
    let Ok(Some((search, _))) = seam.receive_within::<Search>(HEARD_WITHIN) else { return 1 };
    discover::go_binaries(
        (search.uid, search.gid),
        search.path.as_deref(),
        &mut |Discovered { file, id, path }| {
            // Whoever is not heard any more need not be reported.
            let _ = seam.send(&Binary { file: id, path: path.into() }, &[file.as_fd()]);
        },
    );
    let until = Instant::now() + HEARD_WITHIN;
    while matches!(seam.flush(), Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return 1;
        }
        let _ = poll(&mut [seam.polled()], PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
    }
    0
}

/// Has it search. `each` gets every file once, the likeliest first. What is not found in time is found
/// when it runs.
pub fn search(invoker: &Invoker, each: &mut dyn FnMut(Discovered)) -> Result<()> {
    let (seam, theirs) = Seam::pair().context("cannot make the finder's seam")?;
    let mut finder = spawn::finder(&theirs)?;
    drop(theirs);
    let path = invoker.var("PATH").filter(|path| path.len() <= PATH_MAX).map(OsString::from);
    seam.send(&Search { uid: invoker.uid, gid: invoker.gid, path }, &[])
        .context("cannot reach the finder")?;
    let until = Instant::now() + SEARCH_LIMIT;
    loop {
        match seam.receive_within::<Binary>(until.saturating_duration_since(Instant::now())) {
            Ok(Some((Binary { file: id, path }, descriptors))) => {
                let Some(descriptor) = descriptors.into_iter().next() else {
                    bail!("a binary without a file")
                };
                each(Discovered { file: descriptor.into(), id, path: path.into() });
            }
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
            Err(error) => return Err(error).context("cannot hear the finder"),
        }
    }
    // What it waits for may not answer even to a kill; then nobody waits for it.
    let _ = ending::reap(&mut finder, Duration::ZERO);
    Ok(())
}
