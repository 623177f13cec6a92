//! `goobserve run`: attaches to a command that is held before its exec, then serves the worker, and
//! whoever holds go binaries of its tree that nobody has seen, until the command has ended.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use model::user_error::UserError;
use model::{caller, redact};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::detach;
use super::ending::{self, Opener, Worker};
use super::hold::Hold;
use super::running::Running;
use super::spawn::{self, User};
use super::targets::Targets;
use super::unseen::Unseen;
use super::waiting::Waiting;
use super::watch::search;
use super::{Agent, WorkerEvent, files, local_resolvers};
use crate::cli::options::RunOptions;
use crate::kernel::{Kernel, monotonic_ns};
use crate::opener::output::descriptors;
use crate::run::invoker::Invoker;
use crate::run::session::{Attach, Observation, Target};
use crate::run::terminal::Terminal;
use crate::seam::{Output, Seam, Task, ToAgent, ToWorker};

/// How long the worker may take to attach before the command is not started.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Longest environment that is passed on, bytes.
const ENVIRON_MAX: usize = 16 * 1024;
/// How long it may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);

/// Attaches by BPF.
pub struct Bpf;

impl Attach for Bpf {
    fn attach(&self, options: &RunOptions, target: &Target<'_>) -> Result<Box<dyn Observation>, UserError> {
        attach(options, target).map_err(|error| super::user_error(&error))
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
        argv: redact::args(&redact::words(&options.command)),
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
    let (worker, seam) = start(target.invoker, &task, target.export)?;
    if let Some(output) = target.output {
        seam.send(&ToWorker::Output, &[output]).context("cannot reach the worker")?;
    }
    let searching = local_resolvers::Search::begin();
    // While the programs are loaded the worker parses what is found, and the holder starts.
    let (kernel, files, hold, seam) = std::thread::scope(|scope| {
        let hold = scope.spawn(Hold::spawn);
        let search = scope.spawn(|| search(Some(target.program), target.invoker, seam));
        let mut kernel = Kernel::load(false, None)?;
        kernel.follow_held(target.pid)?;
        let (files, seam) = search.join().map_err(|_| anyhow!("the search for go failed"))??;
        let hold = hold.join().map_err(|_| anyhow!("the holder's start failed"))?;
        Ok::<_, anyhow::Error>((kernel, files, hold, seam))
    })?;
    seam.send(&ToWorker::BinariesEnd, &[]).context("cannot reach the worker")?;
    // Where nothing can be held, a go that was not found is attached to when it runs.
    let hold = hold.and_then(|hold| hold.begin(Some(kernel.followed_processes()?))).ok();
    let (local_resolvers, found) = searching.finish();
    let private = target.resolv_conf.and_then(|_| files::namespace_of(&target.pid.to_string()));
    let (running, targets) = <(Running, Targets)>::default();
    let mut agent = Agent {
        kernel,
        seam,
        files,
        hold,
        local_resolvers,
        running,
        targets,
        private,
        unexamined: 0,
        not_done: Unseen::default(),
    };
    agent.share()?;
    agent.follow_local_resolvers(found)?;
    let waiting = Waiting::of(&agent)?;
    let quiet = options.common.quiet;
    let mut observed = Observed { agent: Some(agent), waiting, worker, terminal, quiet };
    observed.until_ready()?;
    Ok(Box::new(observed))
}

/// A task that starts now.
pub(super) fn now() -> Task {
    let started_unix_ns =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    Task { start_ns: monotonic_ns(), started_unix_ns, ..Task::default() }
}

/// Starts the worker with its task.
/// `export`: where events go beside its files.
pub(super) fn start(
    invoker: &Invoker,
    task: &Task,
    export: Option<BorrowedFd<'_>>,
) -> Result<(Worker, Seam)> {
    // Nobody but root has anything tried: a sudo rule may let users set variables.
    let try_in = std::env::var_os("GOOBSERVE_TRY").filter(|_| invoker.uid == 0).map(Into::into);
    let mut task = Task { caller: invoker.uid, try_in, ..task.clone() };
    let passed = descriptors(&[task.output.json.as_deref(), task.output.record.as_deref()])?;
    task.output.passed = [passed[0].is_some(), passed[1].is_some()];
    task.output.export = export.is_some();
    let user = User { uid: invoker.uid, gid: invoker.gid, groups: invoker.groups.clone() };
    let (seam, theirs) = Seam::pair().context("cannot make the seam")?;
    let (desk, counter) = Seam::pair().context("cannot make the opener's seam")?;
    let opener = Opener(spawn::opener(&user, &desk)?);
    let worker = Worker(spawn::worker(&user, &theirs, &counter)?, opener);
    log::info!("process {} is the worker, which nobody's files are open to", worker.0.id());
    drop((theirs, desk, counter)); // so that an end is noticed
    // Before it has hardened itself the user's processes could look into it.
    match seam.receive_within::<ToAgent>(BEGIN_WITHIN).context("cannot hear the worker")? {
        Some((ToAgent::Hardened, _)) => {}
        _ => bail!("the worker ended at once"),
    }
    let passed: Vec<BorrowedFd<'_>> = passed.iter().flatten().map(AsFd::as_fd).chain(export).collect();
    seam.send(&ToWorker::Task(Box::new(task)), &passed).context("cannot reach the worker")?;
    Ok((worker, seam))
}

/// An observation that goes on. Dropping it detaches, and then ends the worker.
struct Observed {
    agent: Option<Agent>,
    waiting: Waiting,
    worker: Worker,
    /// No warnings
    quiet: bool,
    /// As it was before the dashboard
    terminal: Option<Terminal>,
}

impl Observed {
    /// Answers the worker until everything is attached and every output is open.
    fn until_ready(&mut self) -> Result<()> {
        let limit = Instant::now() + READY_WITHIN;
        let Some(agent) = &mut self.agent else { bail!("nothing is attached") };
        let signals = ending::descriptor(&ending::signals())?;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [agent.seam.polled(), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) => bail!("the worker was not ready within {} s", READY_WITHIN.as_secs()),
                Ok(_) if fds[1].any().unwrap_or(false) => {
                    let _ = self.worker.0.kill(); // it is our own child
                    return Err(UserError::new("interrupted before the command began", "").into());
                }
                Ok(_) => match agent.turn()? {
                    WorkerEvent::Done | WorkerEvent::Leave | WorkerEvent::Ending | WorkerEvent::Read => {}
                    WorkerEvent::Ready => {
                        self.waiting.update(agent);
                        return Ok(());
                    }
                    WorkerEvent::Refused(user_error) | WorkerEvent::NoTarget(user_error) => {
                        return Err(user_error.into());
                    }
                    WorkerEvent::Gone => bail!("the worker ended before the command began"),
                },
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot wait for the worker"),
            }
        }
    }
}

impl Observed {
    /// Gives the terminal back for a worker that could not.
    fn hint(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.hint();
        }
    }
}

impl Observation for Observed {
    fn descriptor(&self) -> Option<PollFd<'_>> {
        self.agent.as_ref().map(|_| PollFd::new(self.waiting.as_fd(), PollFlags::POLLIN))
    }

    fn serve(&mut self) -> Result<(), UserError> {
        let Some(agent) = &mut self.agent else { return Ok(()) };
        // What a program waits for comes first.
        let ticked = self.waiting.ticked();
        let turn = agent
            .hear_holder(ticked, self.quiet)
            .and_then(|()| agent.let_go_of_changed(ticked))
            .and_then(|()| agent.turn());
        self.waiting.update(agent);
        match turn {
            Ok(WorkerEvent::Gone) => {
                self.hint();
                Err(UserError::new("the worker has gone", "the command goes on unobserved"))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(super::user_error(&error)),
        }
    }

    fn finish(mut self: Box<Self>, ended: Option<ExitStatus>) -> Result<(), UserError> {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        let over = |ended: ExitStatus| ToWorker::Ended { status: Some(ended.into_raw()) };
        let message = ended.map_or(ToWorker::Abandoned, over);
        let reported = agent.report_not_done(true).and_then(|()| agent.report(&message));
        reported.map_err(|error| super::user_error(&error))?;
        agent.hold = None; // while the worker reports
        let ended = ending::descriptor(&ending::signals())
            .map_err(anyhow::Error::from)
            .and_then(|signals| ending::end(&mut agent, &mut self.worker, &signals, false));
        detach::behind(agent);
        if !ended.as_ref().is_ok_and(ExitStatus::success) {
            self.hint();
        }
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(UserError::new("the report is not complete", "see the line above")),
            Err(error) => Err(UserError::new(format!("{error:#}"), "")),
        }
    }
}

/// The variables that settings of go come from; the whole environment may be larger than a
/// message, and holds secrets that nobody needs.
fn environ(invoker: &Invoker) -> String {
    let wanted = |name: &str| {
        const OTHERS: [&str; 6] = ["HOME", "NETRC", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        name.starts_with("GO")
            || name.starts_with("XDG_")
            || OTHERS.contains(&name)
            || caller::VARIABLES.contains(&name)
    };
    let is_forward =
        |name: &str| crate::goenv::FORWARD.contains(&name) || ["ALL_PROXY", "all_proxy"].contains(&name);
    let (mut text, mut whole) = (String::new(), true);
    for (name, value) in &invoker.env {
        let (name, mut value) = (name.to_string_lossy(), value.to_string_lossy());
        let forward = is_forward(&name);
        if forward {
            // It may hold a password.
            value = redact::proxies(&value).into();
        }
        if (forward || wanted(&name)) && text.len() + name.len() + value.len() < ENVIRON_MAX {
            text.push_str(&format!("{name}={value}\0"));
        } else {
            whole &= !forward && !wanted(&name);
        }
    }
    if !whole {
        text.pop(); // without its last NUL it is known to be cut
    }
    text
}
