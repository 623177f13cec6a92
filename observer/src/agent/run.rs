//! `goobserve run`: CMD is held, observed, released, waited for.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::spawn::{self, User};
use super::{Agent, Turn, files, tracefs};
use crate::run::child::HeldChild;
use crate::run::invoker::Invoker;
use crate::run::job::{self, Job, Signals};
use crate::seam::{Seam, Task, ToWorker};
use crate::source::kernel::Kernel;

/// How long the worker may take to attach before CMD is not started.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Runs a command that is held, and returns its exit status. An error means that it never ran.
pub fn run(
    child: HeldChild,
    program: &Path,
    invoker: &Invoker,
    task: &Task,
    signals: &Signals,
) -> Result<i32> {
    let user = User { uid: invoker.uid, gid: invoker.gid, groups: invoker.groups.clone() };
    let (seam, theirs) = Seam::pair().context("cannot make the seam")?;
    let mut worker = spawn::worker(&user, &theirs)?;
    drop(theirs);
    seam.send(&ToWorker::Task(Box::new(task.clone())), &[]).context("cannot tell the worker")?;
    // The worker parses these while the programs are loaded.
    let mut found = Vec::new();
    for path in std::iter::once(program.to_path_buf()).chain(go_on_path(invoker)) {
        if let Some((file, id)) = files::regular(&path)
            && !found.iter().any(|(known, _)| *known == id)
        {
            let message = ToWorker::Binary { file: id, path: path.to_string_lossy().into_owned() };
            seam.send(&message, &[file.as_fd()]).context("cannot tell the worker")?;
            found.push((id, file));
        }
    }
    seam.send(&ToWorker::BinariesEnd, &[]).context("cannot tell the worker")?;
    let mut kernel = Kernel::load(&tracefs(), false)?;
    kernel.follow_held(child.pid())?;
    let shared = kernel.share()?;
    let mut agent = Agent { kernel, seam, files: found.into_iter().collect() };
    let maps = [shared.ring.as_fd(), shared.trees.as_fd(), shared.lost.as_fd()];
    agent.seam.send(&ToWorker::Maps, &maps).context("cannot tell the worker")?;
    if !until_ready(&mut agent)? {
        drop(child);
        worker.wait().context("cannot wait for the worker")?;
        return Ok(125);
    }
    let pid = match child.release() {
        Ok(pid) => pid,
        Err(failure) => {
            agent.tell(&ToWorker::Abandoned)?;
            worker.wait().context("cannot wait for the worker")?;
            eprintln!("goobserve: {failure}");
            eprintln!("  {}", failure.advice());
            return Ok(failure.exit_status());
        }
    };
    let status = serve(Some(agent), &Job::new(pid, signals), &mut worker)?;
    Ok(job::exit_status(status))
}

/// Serves the worker until CMD has ended; then until the worker has.
fn serve(
    mut agent: Option<Agent>,
    job: &Job<'_>,
    worker: &mut Child,
) -> Result<nix::sys::wait::WaitStatus> {
    let status = loop {
        let socket = agent.as_ref().map(|agent| agent.seam.as_fd());
        if let Some(status) = job.wait(socket, None)? {
            break status;
        }
        let gone = match &mut agent {
            None => false,
            Some(agent) => match agent.turn(false) {
                Ok(turn) => turn == Turn::Gone,
                Err(error) => {
                    eprintln!("goobserve: {error:#}");
                    true
                }
            },
        };
        if gone {
            agent = None; // detaches
            eprintln!("goobserve: the observation ended early; the command goes on");
        }
    };
    if let Some(mut agent) = agent {
        agent.tell(&ToWorker::Ended)?;
        while !matches!(agent.turn(true), Ok(Turn::Gone) | Err(_)) {}
    }
    worker.wait().context("cannot wait for the worker")?;
    Ok(status)
}

/// Answers the worker until it is ready (true) or refuses.
fn until_ready(agent: &mut Agent) -> Result<bool> {
    let limit = Instant::now() + READY_WITHIN;
    loop {
        let left = limit.saturating_duration_since(Instant::now());
        let timeout = nix::poll::PollTimeout::try_from(left).unwrap_or(nix::poll::PollTimeout::MAX);
        let mut fds = [nix::poll::PollFd::new(agent.seam.as_fd(), nix::poll::PollFlags::POLLIN)];
        match nix::poll::poll(&mut fds, timeout) {
            Ok(0) => bail!("the worker was not ready within {} s", READY_WITHIN.as_secs()),
            Ok(_) => match agent.turn(false)? {
                Turn::Done => {}
                Turn::Ready => return Ok(true),
                Turn::Refused => return Ok(false),
                Turn::Gone => bail!("the worker ended before the command began"),
            },
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the worker"),
        }
    }
}

/// The `go` that a script would call.
fn go_on_path(invoker: &Invoker) -> Option<std::path::PathBuf> {
    let path = invoker.var("PATH")?;
    std::env::split_paths(path).map(|folder| folder.join("go")).find(|go| go.is_file())
}
