//! The half with privileges: loads, attaches, opens files, and answers the worker. It parses
//! nothing that comes from outside.

mod attach;
mod files;
mod spawn;
mod stubs;
mod watch;

pub use attach::Bpf;
pub use spawn::{SEAM_FD, WORKER};
pub use watch::watch;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result, bail};

use crate::cli::options::{Common, Refusal};
use crate::run::progress;
use crate::seam::{FileId, Output, Seam, StubProcess, ToAgent, ToWorker};
use crate::source::kernel::{Kernel, Probes};

/// Binaries kept open for probing, and so that their numbers stay theirs. A machine has a handful
/// of go toolchains; `go test` makes any number of programs.
const FILES_MAX: usize = 256;

/// The kernel, the worker, and the files between them.
struct Agent {
    kernel: Kernel,
    seam: Seam,
    /// Files the worker knows, and whether they are probed
    files: HashMap<FileId, (File, bool)>,
    /// Stub resolvers that were looked for
    stubs: stubs::Stubs,
}

/// What a message of the worker asks the agent's owner to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing more
    Done,
    /// CMD may begin
    Ready,
    /// CMD must not begin: why
    Refused(String),
    /// The user has left the dashboard
    Leave,
    /// The worker has gone
    Gone,
}

impl Agent {
    /// Answers one message, when there is one.
    fn turn(&mut self, wait: bool) -> Result<Turn> {
        let message = match self.seam.receive::<ToAgent>(wait) {
            Ok(Some((message, _))) => message,
            Ok(None) => return Ok(Turn::Gone),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Turn::Done),
            Err(error) => return Err(error).context("cannot hear the worker"),
        };
        self.kernel.diagnose();
        match message {
            ToAgent::Look { pid } => self.look(pid)?,
            ToAgent::Probe { file, probes } => {
                let error = self.probe(file, &probes).err().map(|error| format!("{error:#}"));
                self.tell(&ToWorker::Probed { file, error })?;
            }
            ToAgent::Terminal { pids } => {
                // As the user, without capabilities, the worker cannot look at root's processes.
                let read = progress::any_reads_terminal(&pids);
                self.tell(&ToWorker::Terminal { read })?;
            }
            ToAgent::Stubs { pid } => self.stubs_of(pid)?,
            ToAgent::Unfollow { pid } => self.kernel.unfollow(pid),
            ToAgent::Hardened => {}
            ToAgent::Ready => return Ok(Turn::Ready),
            ToAgent::Leave => return Ok(Turn::Leave),
            ToAgent::Refused { what } => return Ok(Turn::Refused(what)),
        }
        Ok(Turn::Done)
    }

    fn tell(&self, message: &ToWorker) -> Result<()> {
        self.seam.send(message, &[]).context("cannot tell the worker")
    }

    /// Probes a file once.
    fn probe(&mut self, file: FileId, probes: &Probes) -> Result<()> {
        let (opened, probed) = self.files.get_mut(&file).context("the agent did not open that file")?;
        if std::mem::replace(probed, true) {
            bail!("it is probed already");
        }
        let len = opened.metadata()?.len();
        self.kernel.probe(opened.as_fd(), len, probes)
    }

    /// Answers only about processes that are followed: what the worker asks for may be what a
    /// hostile byte made it ask.
    fn look(&mut self, pid: u32) -> Result<()> {
        let followed = self.kernel.process(pid).is_some();
        let Some(facts) = followed.then(|| files::facts(pid)).flatten() else {
            return self.tell(&ToWorker::NoFacts { pid });
        };
        let mut descriptors = vec![facts.program.as_fd()];
        descriptors.extend(facts.environ.as_ref().map(File::as_fd));
        if self.seam.send(&facts.message, &descriptors).is_err() {
            // Too long, or the worker has gone, which the next receive tells.
            return self.tell(&ToWorker::NoFacts { pid });
        }
        if self.files.len() >= FILES_MAX {
            self.make_room()?;
        }
        if self.files.len() < FILES_MAX {
            self.files.entry(facts.id).or_insert((facts.program, false));
        }
        Ok(())
    }

    /// Closes files that are not probed: all that were deleted (their space is free only then), else
    /// any one. The worker forgets them too: the next file of that number may be another.
    fn make_room(&mut self) -> Result<()> {
        let deleted = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        let idle = || self.files.iter().filter(|(_, (_, probed))| !probed);
        let mut gone: Vec<FileId> =
            idle().filter(|(_, (file, _))| deleted(file)).map(|(id, _)| *id).collect();
        if gone.is_empty() {
            gone.extend(idle().map(|(id, _)| *id).next());
        }
        for file in gone {
            self.files.remove(&file);
            self.tell(&ToWorker::Forgotten { file })?;
        }
        Ok(())
    }

    /// Follows the stub resolvers that a followed process may ask.
    fn stubs_of(&mut self, pid: u32) -> Result<()> {
        if self.kernel.process(pid).is_none() {
            return Ok(());
        }
        let found = self.stubs.look(pid);
        self.follow_stubs(found)
    }

    fn follow_stubs(&mut self, mut found: Vec<StubProcess>) -> Result<()> {
        found.retain(|stub| self.kernel.follow_stub(stub.pid));
        if found.is_empty() { Ok(()) } else { self.tell(&ToWorker::Stubs { stubs: found }) }
    }

    /// Hands ring and maps to the worker.
    fn share(&self) -> Result<()> {
        let shared = self.kernel.share()?;
        let maps = [shared.ring.as_fd(), shared.trees.as_fd(), shared.lost.as_fd()];
        self.seam.send(&ToWorker::Maps, &maps).context("cannot tell the worker")
    }
}

/// An error as the two lines that a user reads.
fn refusal(error: &anyhow::Error) -> Refusal {
    Refusal::new(format!("{error:#}"), "`goobserve check` says what this machine lacks")
}

/// How output looks, from the common flags and the terminal.
fn output(common: Common) -> Output {
    use std::io::IsTerminal as _;
    let terminal = std::io::stderr().is_terminal();
    let no_color = std::env::var_os("NO_COLOR");
    Output {
        color: common.color.decide(terminal, no_color.as_deref()),
        progress: terminal && !common.quiet,
        quiet: common.quiet,
        columns: crate::worker::columns(),
        ..Output::default()
    }
}
