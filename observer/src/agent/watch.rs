//! `goobserve watch`: every go command on the machine, until it is asked to end.

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use model::id::Pid;
use model::user_error::UserError;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::attach::{now, start};
use super::discover::Discovered;
use super::hold::{Hold, Word};
use super::running::Running;
use super::table::Table;
use super::targets::Targets;
use super::unseen::Unseen;
use super::{Agent, WorkerEvent, ending, files, finder, local_resolvers};
use crate::cli::options::{WatchOptions, WatchOutput};
use crate::kernel::Kernel;
use crate::run::exporter::Exporter;
use crate::run::invoker::{self, Invoker};
use crate::run::procfs::Live;
use crate::run::terminal::Terminal;
use crate::seam::{Output, Programs, Seam, Task, ToWorker};

/// How often deleted binaries are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Watches until a signal, the end of the duration, or the end of the worker.
pub fn watch(options: &WatchOptions) -> Result<(), UserError> {
    watch_until(options).map_err(|error| super::user_error(&error))
}

fn watch_until(options: &WatchOptions) -> Result<()> {
    let set = ending::signals();
    set.thread_block()?;
    let signals = ending::descriptor(&set)?;
    let invoker = invoker::find(&Live, Pid(std::process::id()));
    let all_go = options.all_go.then_some(invoker.uid);
    let targets = Targets::new(&options.pids, all_go)?;
    let ends = targets.ends()?;
    let terminal = std::io::stdout().is_terminal() && !crate::commands::is_dumb();
    let dashboard = options.output == WatchOutput::Auto && terminal;
    let terminal = dashboard.then(Terminal::keep).flatten();
    let color = options.common.color.decide(dashboard, std::env::var_os("NO_COLOR").as_deref());
    let common = super::output(options.common);
    let task = Task {
        programs: match (targets.every_go(), options.all_go) {
            (false, _) => Programs::Any,
            (true, true) => Programs::Own,
            (true, false) => Programs::Go,
        },
        output: Output {
            dashboard,
            color: if dashboard { color } else { common.color },
            record: options.record.clone(),
            jsonl: options.output == WatchOutput::Jsonl,
            ..common
        },
        ..now()
    };
    let mut exporter =
        options.export.any().then(|| Exporter::start(&invoker, &options.export)).transpose()?;
    let (mut worker, seam) = start(&invoker, &task, exporter.as_ref().map(Exporter::feed))?;
    if let Some(exporter) = &mut exporter {
        exporter.handed_over();
    }
    // While these are searched for the programs are loaded.
    let (kernel, files, seam) = std::thread::scope(|scope| {
        let searching = scope.spawn(|| search(None, &invoker, seam));
        let kernel = Kernel::load(targets.every_go(), all_go)?;
        let (files, seam) = searching.join().map_err(|_| anyhow!("the search for go failed"))??;
        Ok::<_, anyhow::Error>((kernel, files, seam))
    })?;
    let (local_resolvers, found) = local_resolvers::Search::begin().finish();
    let running = Running::default();
    let mut agent = Agent {
        kernel,
        seam,
        files,
        hold: None,
        local_resolvers,
        running,
        targets,
        private: None,
        unexamined: 0,
        not_done: Unseen::default(),
    };
    agent.open_running()?;
    agent.report(&ToWorker::BinariesEnd)?;
    agent.share()?;
    agent.follow_local_resolvers(found)?;
    if options.hold_exec {
        agent.hold = Some(Hold::spawn()?.begin(None)?);
    }
    let until = options.duration.map(|duration| Instant::now() + duration);
    let mut swept = Instant::now();
    let mut ready = false;
    // Whether the user waits for the end; `None`: the worker has ended.
    let awaited = loop {
        let at_once = agent.can_follow_next().then(Instant::now);
        let next = [until, agent.hold.as_ref().map(Hold::due), Some(swept + SWEEP_EVERY), at_once];
        let next =
            next.into_iter().flatten().min().map(|next| next.saturating_duration_since(Instant::now()));
        let timeout = next.map_or(PollTimeout::NONE, |next| {
            // Rounded up: else it would be polled for nothing until the millisecond is over.
            PollTimeout::try_from(next + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![agent.seam.polled(), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(ends.iter().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN)));
        fds.extend(agent.files.changes().map(|changes| PollFd::new(changes, PollFlags::POLLIN)));
        fds.extend(agent.files.mounts().map(|mounts| PollFd::new(mounts, PollFlags::POLLPRI)));
        fds.extend(agent.hold.iter().flat_map(Hold::polled));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the worker"),
        }
        let all_ended = !ends.is_empty() && fds[2..2 + ends.len()].iter().all(|fd| fd.any().unwrap_or(false));
        let mounted = fds.iter().any(|fd| fd.revents().is_some_and(|is| is.contains(PollFlags::POLLPRI)));
        // What a program waits for comes first.
        agent.hear_holder(mounted, options.common.quiet)?;
        let signalled = matches!(signals.read_signal(), Ok(Some(_)));
        if signalled || all_ended || until.is_some_and(|until| until <= Instant::now()) {
            break Some(signalled);
        }
        match agent.turn()? {
            WorkerEvent::Done | WorkerEvent::Ending | WorkerEvent::Read => {}
            WorkerEvent::Leave => break Some(true),
            WorkerEvent::Ready => {
                agent.find_targets();
                ready = true;
            }
            WorkerEvent::Refused(user_error) => return Err(user_error.into()),
            WorkerEvent::NoTarget(user_error) => {
                agent.report(&ToWorker::Abandoned)?;
                ending::end(&mut agent, &mut worker, &signals, true)?;
                return Err(user_error.into());
            }
            WorkerEvent::Gone => break None,
        }
        if ready && agent.follow_next()? {
            ready = false;
            if !options.common.quiet && !dashboard {
                crate::say::line(&format!("watching {}; Ctrl-C ends", what(options)));
            }
        }
        agent.let_go_of_changed(mounted)?;
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            for file in agent.files.stale() {
                agent.forget(file)?;
            }
        }
    };
    agent.hold = None;
    let status = match awaited {
        Some(awaited) => {
            agent.report_not_done(true)?;
            agent.report(&ToWorker::Ended { status: None })?;
            ending::end(&mut agent, &mut worker, &signals, awaited)
        }
        None => worker.gone(),
    };
    drop(agent.kernel);
    if let Some(exporter) = exporter {
        exporter.finish(|| matches!(signals.read_signal(), Ok(Some(_))));
    }
    if !status.as_ref().is_ok_and(ExitStatus::success) {
        if let Some(terminal) = terminal {
            terminal.hint();
        }
        status?;
        bail!("the worker failed; see the line above");
    }
    Ok(())
}

fn what(options: &WatchOptions) -> String {
    match &options.pids[..] {
        [] if options.all_go => "every go command, and every Go program of yours".to_owned(),
        [] => "every go command".to_owned(),
        [pid] => format!("process {pid}"),
        pids => format!("{} processes", pids.len()),
    }
}

/// A program, and every go that may be called soon, reported to the worker.
pub(super) fn search(program: Option<&Path>, invoker: &Invoker, seam: Seam) -> Result<(Table, Seam)> {
    let mut files = Table::default();
    let mut reported = Ok(());
    let mut each = |Discovered { file, id, path }| {
        if files.settled(id).is_some() || !files.has_room(&file) {
            return; // known, or looked at when it runs
        }
        let path = path.to_string_lossy().into_owned();
        let sent = seam.send(&ToWorker::Binary { file: id, path }, &[file.as_fd()]);
        files.insert(id, file);
        if sent.is_err() {
            reported = sent;
        }
    };
    if let Some(path) = program
        && let Some((file, id)) = files::regular_as(invoker.uid, invoker.gid, path)
    {
        each(Discovered { file, id, path: path.to_path_buf() });
    }
    finder::search(invoker, &mut each)?;
    reported.context("cannot reach the worker")?;
    Ok((files, seam))
}

impl Agent {
    /// Does what the holder asks for; starts it again when it was killed.
    pub(super) fn hear_holder(&mut self, mounted: bool, quiet: bool) -> Result<()> {
        let Some(hold) = &mut self.hold else { return Ok(()) };
        if mounted {
            hold.mounted();
        }
        hold.check();
        loop {
            let Some(hold) = &self.hold else { return Ok(()) };
            match hold.hear() {
                Word::Nothing => return Ok(()),
                Word::Held(id, file, path) => {
                    self.binary(id, file, path)?;
                    if self.files.settled(id).unwrap_or(true) {
                        self.let_go(id);
                    }
                }
                Word::Gone => {
                    let begun = self.hold.take().map(Hold::restart).transpose();
                    if !quiet {
                        let now = match &begun {
                            Ok(_) => "new programs are held again".to_owned(),
                            Err(error) => format!("no program is held any more: {error:#}"),
                        };
                        crate::say::line(&format!("what holds new programs was killed; {now}"));
                    }
                    self.hold = begun.ok().flatten();
                }
            }
        }
    }
}
