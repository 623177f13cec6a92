//! `goobserve run`: attaches to a command that is held before its exec, then serves the worker
//! until the command has ended.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::running::Running;
use super::spawn::{self, User};
use super::targets::Targets;
use super::{Agent, Turn, files, stubs, table};
use crate::cli::options::{Refusal, RunOptions};
use crate::run::invoker::Invoker;
use crate::run::session::{Attach, Observation, Target};
use crate::run::terminal::Terminal;
use crate::seam::{Output, Seam, Task, ToAgent, ToWorker};
use crate::source::kernel::{Kernel, monotonic_ns};

/// How long the worker may take to attach before the command is not started.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Longest environment that is passed on, bytes.
const ENVIRON_MAX: usize = 16 * 1024;

/// How long the worker may take to write its report.
const REPORT_WITHIN: Duration = Duration::from_secs(30);

/// Attaches by BPF.
pub struct Bpf;

impl Attach for Bpf {
    fn attach(&self, options: &RunOptions, target: &Target<'_>) -> Result<Box<dyn Observation>, Refusal> {
        attach(options, target).map_err(|error| super::refusal(&error))
    }
}

fn attach(options: &RunOptions, target: &Target<'_>) -> Result<Box<dyn Observation>> {
    let task = Task {
        child: Some(target.pid),
        environ: environ(target.invoker),
        cwd: std::env::current_dir().ok().map(|folder| folder.to_string_lossy().into_owned()),
        cpus: files::cpus(target.pid),
        remedies: options.with.names(),
        resolv_conf: target.resolv_conf.map(str::to_owned),
        argv: options.command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        output: Output {
            json: options.json.clone(),
            record: options.record.clone(),
            report: options.report,
            anonymize: options.anonymize,
            dashboard: target.output.is_some(),
            ..super::output(options.common)
        },
        ..now()
    };
    let terminal = target.output.and_then(|_| Terminal::keep());
    let (seam, worker) = start(target.invoker, &task)?;
    if let Some(output) = target.output {
        seam.send(&ToWorker::Output, &[output]).context("cannot tell the worker")?;
    }
    // The worker parses these while the programs are loaded.
    let mut opened = table::Table::default();
    for path in std::iter::once(target.program.to_path_buf()).chain(go_on_path(target.invoker)) {
        if let Some((file, id)) = files::regular_as(target.invoker.uid, target.invoker.gid, &path)
            && opened.settled(id).is_none()
        {
            let message = ToWorker::Binary { file: id, path: path.to_string_lossy().into_owned() };
            seam.send(&message, &[file.as_fd()]).context("cannot tell the worker")?;
            opened.insert(id, file);
        }
    }
    seam.send(&ToWorker::BinariesEnd, &[]).context("cannot tell the worker")?;
    let searching = stubs::Search::begin();
    let mut kernel = Kernel::load(false, None)?;
    kernel.follow_held(target.pid)?;
    let (stubs, found) = searching.found();
    let private = target.resolv_conf.and_then(|_| files::namespace_of(&target.pid.to_string()));
    let (running, targets) = <(Running, Targets)>::default();
    let mut agent = Agent { kernel, seam, files: opened, hold: None, stubs, running, targets, private };
    agent.share()?;
    agent.follow_stubs(found)?;
    let mut observed = Observed { agent: Some(agent), worker, terminal };
    observed.until_ready()?;
    Ok(Box::new(observed))
}

/// A task that starts now.
pub fn now() -> Task {
    let started_unix_ns =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    Task { start_ns: monotonic_ns(), started_unix_ns, ..Task::default() }
}

/// Starts the worker with its task.
pub fn start(invoker: &Invoker, task: &Task) -> Result<(Seam, Child)> {
    let user = User { uid: invoker.uid, gid: invoker.gid, groups: invoker.groups.clone() };
    let (seam, theirs) = Seam::pair().context("cannot make the seam")?;
    let worker = spawn::worker(&user, &theirs)?;
    drop(theirs); // so that its end is noticed
    // Before it has hardened itself the user's processes could look into it.
    match seam.receive::<ToAgent>(true).context("cannot hear the worker")? {
        Some((ToAgent::Hardened, _)) => {}
        _ => bail!("the worker ended at once"),
    }
    seam.send(&ToWorker::Task(Box::new(task.clone())), &[]).context("cannot tell the worker")?;
    Ok((seam, worker))
}

/// An observation that goes on. Dropping it detaches.
struct Observed {
    agent: Option<Agent>,
    worker: Child,
    /// As it was before the dashboard
    terminal: Option<Terminal>,
}

impl Observed {
    /// Answers the worker until everything is attached and every output is open.
    fn until_ready(&mut self) -> Result<()> {
        let limit = Instant::now() + READY_WITHIN;
        let Some(agent) = &mut self.agent else { bail!("nothing is attached") };
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(agent.seam.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => bail!("the worker was not ready within {} s", READY_WITHIN.as_secs()),
                Ok(_) => match agent.turn(false)? {
                    Turn::Done | Turn::Leave => {}
                    Turn::Ready => return Ok(()),
                    Turn::Refused(what) => bail!(what),
                    Turn::NoTarget(refusal) => return Err(refusal.into()),
                    Turn::Gone => bail!("the worker ended before the command began"),
                },
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot wait for the worker"),
            }
        }
    }
}

impl Observed {
    /// Gives the terminal back for a worker that could not.
    fn mend(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.mend();
        }
    }
}

impl Observation for Observed {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.agent.as_ref().map(|agent| agent.seam.as_fd())
    }

    fn serve(&mut self) -> Result<(), Refusal> {
        let Some(agent) = &mut self.agent else { return Ok(()) };
        match agent.turn(false) {
            Ok(Turn::Gone) => {
                self.mend();
                Err(Refusal::new("the worker has gone", "the command goes on unobserved"))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(super::refusal(&error)),
        }
    }

    fn finish(mut self: Box<Self>, status: Option<i32>) -> Result<(), Refusal> {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        let message = if status.is_some() { ToWorker::Ended } else { ToWorker::Abandoned };
        agent.tell(&message).map_err(|error| super::refusal(&error))?;
        let limit = Instant::now() + REPORT_WITHIN;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(agent.seam.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => {
                    let _ = self.worker.kill(); // it is our own child
                    break;
                }
                Err(Errno::EINTR) => {}
                _ if matches!(agent.turn(false), Ok(Turn::Gone) | Err(_)) => break,
                _ => {}
            }
        }
        let ended = self.worker.wait();
        drop(agent.kernel);
        if !ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
            self.mend();
        }
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(Refusal::new("the report is not complete", "see the line above")),
            Err(error) => Err(Refusal::new(format!("cannot wait for the worker: {error}"), "")),
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(Agent { kernel, seam, .. }) = self.agent.take() {
            drop(seam); // which ends the worker
            drop(kernel);
        }
        let _ = self.worker.wait(); // reaped already when it was waited for
    }
}

/// The variables that settings of go come from; the whole environment may be larger than a
/// message, and holds secrets that nobody needs.
fn environ(invoker: &Invoker) -> String {
    let wanted = |name: &str| name.starts_with("GO") || name.starts_with("XDG_") || name == "HOME";
    let (mut text, mut whole) = (String::new(), true);
    for (name, value) in &invoker.env {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        if crate::goenv::FORWARD.contains(&&*name) && !value.is_empty() {
            // That there is one is known; its address may hold a password.
            text.push_str(&format!("{name}=…\0"));
        } else if wanted(&name) && text.len() + name.len() + value.len() < ENVIRON_MAX {
            text.push_str(&format!("{name}={value}\0"));
        } else {
            whole &= !wanted(&name);
        }
    }
    if !whole {
        text.pop(); // without its last NUL it is known to be cut
    }
    text
}

/// The `go` that a script would call.
pub fn go_on_path(invoker: &Invoker) -> Option<PathBuf> {
    let path = invoker.var("PATH")?;
    std::env::split_paths(path).map(|folder| folder.join("go")).find(|go| go.is_file())
}
