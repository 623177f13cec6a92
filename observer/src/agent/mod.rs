//! The half with privileges: loads, attaches, opens files, and answers the worker. It parses
//! nothing that comes from outside.

mod attach;
mod detach;
mod discover;
mod ending;
mod files;
pub mod finder;
mod hold;
pub mod holder;
mod local_resolvers;
mod mounts;
mod place;
mod processes;
mod quota;
mod running;
mod services;
mod sockdiag;
mod spawn;
mod table;
mod targets;
mod unseen;
mod waiting;
mod watch;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
pub use attach::Bpf;
use model::id::Pid;
use model::user_error::UserError;
use observer_common::ProgramKey;
use pipeline::correlate::preexisting::LocalResolver;
pub use spawn::{SEAM_FD, WORKER};
pub use watch::watch;

use crate::cli::options::Common;
use crate::kernel::Kernel;
use crate::run::progress;
use unseen::Unseen;

use crate::seam::{FileId, Output, Seam, ToAgent, ToWorker};

/// The kernel, the worker, and the files between them.
struct Agent {
    kernel: Kernel,
    seam: Seam,
    /// Files the worker knows
    files: table::Table,
    /// Whoever holds programs that are not attached to yet
    hold: Option<hold::Hold>,
    /// Local resolvers that were looked for
    local_resolvers: local_resolvers::LocalResolvers,
    /// Commands that ran already when they were followed
    running: running::Running,
    /// What `watch` is to follow
    targets: targets::Targets,
    /// CMD's mount namespace, where it has one for its resolv.conf alone
    private: Option<PathBuf>,
    /// Programs that nobody looks at, since the worker last heard of that
    unexamined: u32,
    /// What the kernel did not do
    not_done: Unseen,
}

/// What a message of the worker asks the agent's owner to do.
#[derive(Debug, PartialEq, Eq)]
enum WorkerEvent {
    /// Nothing more
    Done,
    /// CMD may begin
    Ready,
    /// CMD must not begin: why, and what to do
    Refused(UserError),
    /// Nothing is to be observed: why, and what to do
    NoTarget(UserError),
    /// The user has left the dashboard
    Leave,
    /// The worker writes what there is to write
    Ending,
    /// The user reads what the worker shows
    Read,
    /// The worker has gone
    Gone,
}

impl Agent {
    /// Sends what waits, and answers one message, when there is one.
    fn turn(&mut self) -> Result<WorkerEvent> {
        match self.seam.flush() {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                return Err(error).context("cannot reach the worker");
            }
            _ => {}
        }
        if let Some(pid) = self.local_resolvers.due() {
            self.local_resolvers_of(pid, true)?;
        }
        self.report_not_done(false)?;
        if self.unexamined > 0 && self.seam.has_room() {
            let programs = std::mem::take(&mut self.unexamined);
            self.report(&ToWorker::Unexamined { programs })?;
        }
        let message = match self.seam.receive::<ToAgent>() {
            Ok(Some((message, _))) => message,
            Ok(None) => return Ok(WorkerEvent::Gone),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(WorkerEvent::Done),
            Err(error) => return Err(error).context("cannot hear the worker"),
        };
        self.kernel.diagnose();
        match message {
            ToAgent::Inspect { pid } => self.inspect(pid)?,
            ToAgent::Program { pid } => self.program(pid)?,
            ToAgent::Probe { file, probes } => {
                let probed = self.files.probe(file, &probes, &mut self.kernel);
                self.let_go(file);
                let error = probed.err().map(|error| format!("{error:#}"));
                match &error {
                    None => log::info!("file {}:{} is probed", file.dev, file.ino),
                    Some(error) => log::info!("file {}:{} is not probed: {error}", file.dev, file.ino),
                }
                self.report(&ToWorker::Probed { file, error })?;
            }
            ToAgent::Unwanted { file } => {
                self.files.unwanted(file);
                self.let_go(file);
            }
            ToAgent::AtTerminal { command, since, pids } => {
                let pids = progress::reading_terminal(&pids);
                if !pids.is_empty() {
                    self.report(&ToWorker::AtTerminal { command, since, pids })?;
                }
            }
            ToAgent::Terminal { pids } => {
                // As the user, without capabilities, the worker cannot look at root's processes.
                let read = progress::any_reads_terminal(&pids);
                self.report(&ToWorker::Terminal { read })?;
            }
            ToAgent::LocalResolvers { pid, asks } => self.local_resolvers_of(pid, asks)?,
            ToAgent::Service { pid, client } => {
                let root = self.kernel.process(pid).map(|process| process.root);
                let mut services = services::of(&client, pid);
                services.retain(|(service, _)| root.is_some_and(|root| self.kernel.lend(*service, root)));
                self.report(&ToWorker::Service { pid, services })?;
            }
            ToAgent::Unfollow { pid } => self.kernel.unfollow(pid),
            ToAgent::Judged { pid, why } => {
                if let Some(user_error) = self.judged(pid, why)? {
                    return Ok(WorkerEvent::NoTarget(user_error));
                }
            }
            ToAgent::Unjudged { pid, dev, ino } => {
                self.inspect_program(pid, ProgramKey { ino, dev, pad: 0 })?;
            }
            ToAgent::Sockets { root } => self.emit_sockets(root)?,
            ToAgent::Hardened => {}
            ToAgent::Ready => return Ok(WorkerEvent::Ready),
            ToAgent::Leave => return Ok(WorkerEvent::Leave),
            ToAgent::Ending => return Ok(WorkerEvent::Ending),
            ToAgent::Read => return Ok(WorkerEvent::Read),
            ToAgent::Refused { what, hint } => return Ok(WorkerEvent::Refused(UserError { what, hint })),
        }
        Ok(WorkerEvent::Done)
    }

    fn report(&self, message: &ToWorker) -> Result<()> {
        self.seam.send(message, &[]).context("cannot reach the worker")
    }

    /// Answers only about processes that are followed: what the worker asks for may be what a
    /// hostile byte made it ask.
    fn inspect(&mut self, pid: Pid) -> Result<()> {
        let followed = self.kernel.process(pid).is_some();
        let Some(facts) = followed.then(|| files::facts(pid, self.private.as_deref())).flatten() else {
            return self.report(&ToWorker::NoFacts { pid });
        };
        self.meet(facts.id, &facts.program)?;
        let mut descriptors = vec![facts.program.as_fd()];
        descriptors.extend(facts.environ.as_ref().map(File::as_fd));
        descriptors.extend(facts.root.as_ref().map(File::as_fd));
        if self.seam.send(&facts.message, &descriptors).is_err() {
            // Too long, or the worker has gone, which the next receive reports.
            return self.report(&ToWorker::NoFacts { pid });
        }
        if !self.keep(facts.id, facts.program)? {
            self.unexamined += 1;
            // What is not kept cannot be probed, and may be another file the next time.
            self.report(&ToWorker::Forgotten { file: facts.id })?;
        }
        Ok(())
    }

    /// The program of a process that is followed, for the worker to parse and probe.
    fn program(&mut self, pid: Pid) -> Result<()> {
        let followed = self.kernel.process(pid).is_some();
        match followed.then(|| files::program(pid)).flatten() {
            Some((file, id, path)) => self.binary(id, file, path),
            None => Ok(()),
        }
    }

    /// Has the worker parse a file that it does not know.
    fn binary(&mut self, id: FileId, file: File, path: String) -> Result<()> {
        self.meet(id, &file)?;
        if self.files.settled(id).is_some() {
            return Ok(());
        }
        let descriptor = file.try_clone()?;
        if self.seam.has_room() && !self.files.is_busy_with(&file) && self.keep(id, file)? {
            self.kernel.hasten();
            let message = ToWorker::Binary { file: id, path };
            self.seam.send(&message, &[descriptor.as_fd()]).context("cannot reach the worker")?;
        } else {
            self.unexamined += 1;
        }
        Ok(())
    }

    /// Lets go of what had a file's number before.
    fn meet(&mut self, id: FileId, file: &File) -> Result<()> {
        if self.files.was_another(id, file) { self.forget(id) } else { Ok(()) }
    }

    /// Lets go of what has changed, or is wanted back, since the last call; `mounted`: mounts may be
    /// others.
    fn let_go_of_changed(&mut self, mounted: bool) -> Result<()> {
        self.files.changed(mounted).into_iter().try_for_each(|file| self.forget(file))
    }

    /// Keeps the file of a program until the worker has looked; whether there is room.
    fn keep(&mut self, id: FileId, file: File) -> Result<bool> {
        if self.files.settled(id).is_some() {
            return Ok(true);
        }
        if !self.files.has_room(&file) {
            for idle in self.files.idle(&file) {
                self.forget(idle)?;
            }
        }
        Ok(self.files.insert(id, file))
    }

    /// Takes the probes off a file. The worker forgets it too: the next file of that number may be another.
    fn forget(&mut self, file: FileId) -> Result<()> {
        if let Some(attached) = self.files.remove(file) {
            self.kernel.unprobe(attached);
        }
        if let Some(hold) = &self.hold {
            hold.forget(file);
        }
        self.report(&ToWorker::Forgotten { file })
    }

    /// All is done with a file that will be: whoever waits to run it may.
    fn let_go(&self, file: FileId) {
        if let Some(hold) = &self.hold {
            hold.release(file);
        }
    }

    /// Follows the stub resolvers that a followed process may ask.
    fn local_resolvers_of(&mut self, pid: Pid, asks: bool) -> Result<()> {
        if self.kernel.process(pid).is_none() || !asks && !local_resolvers::is_elsewhere(pid) {
            return Ok(());
        }
        let found = self.local_resolvers.search(pid);
        self.follow_local_resolvers(found)
    }

    fn follow_local_resolvers(&mut self, mut found: Vec<LocalResolver>) -> Result<()> {
        // One that is followed may be asked at one more address.
        found.retain(|local_resolver| {
            // One that a followed tree started is in that already.
            self.kernel.follow_local_resolver(local_resolver.pid)
                || self.kernel.is_local_resolver(local_resolver.pid)
                || self.kernel.process(local_resolver.pid).is_some()
        });
        if found.is_empty() {
            Ok(())
        } else {
            self.report(&ToWorker::LocalResolvers { local_resolvers: found })
        }
    }

    /// Reports what the kernel did not do where that has changed; `now`, else at most every while.
    fn report_not_done(&mut self, now: bool) -> Result<()> {
        match self.not_done.changed(&self.kernel, now) {
            Some(not_done) if now || self.seam.has_room() => self.report(&ToWorker::NotDone(not_done)),
            _ => Ok(()),
        }
    }

    /// Hands ring and maps to the worker.
    fn share(&self) -> Result<()> {
        let shared = self.kernel.share()?;
        log::info!("the BPF programs are loaded and attached; the worker gets their ring");
        let maps = [shared.ring.as_fd(), shared.trees.as_fd(), shared.lost.as_fd()];
        self.seam.send(&ToWorker::Maps, &maps).context("cannot reach the worker")
    }
}

/// An error as the two lines that a user reads.
fn user_error(error: &anyhow::Error) -> UserError {
    if let Some(user_error) = error.downcast_ref::<UserError>() {
        return user_error.clone();
    }
    UserError::new(format!("{error:#}"), "`goobserve check` says what this machine lacks")
}

/// How output looks, from the common flags and the terminal.
fn output(common: Common) -> Output {
    use std::io::IsTerminal as _;
    let terminal = std::io::stderr().is_terminal() && !crate::commands::is_dumb();
    let no_color = std::env::var_os("NO_COLOR");
    Output {
        color: common.color.decide(terminal, no_color.as_deref()),
        progress: terminal && !common.quiet,
        quiet: common.quiet,
        columns: crate::worker::columns(),
        rows: crate::worker::rows(),
        ..Output::default()
    }
}
