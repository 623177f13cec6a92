//! `goobserve watch`: every go command on the machine, until it is told to end.

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::attach::{now, start};
use super::hold::{Hold, Word};
use super::running::Running;
use super::table::Table;
use super::targets::Targets;
use super::{Agent, Turn, discover, stubs};
use crate::cli::options::{Refusal, WatchOptions, WatchOutput};
use crate::run::invoker::{self, Invoker};
use crate::run::procfs::Live;
use crate::run::terminal::Terminal;
use crate::seam::{Output, Programs, Seam, Task, ToWorker};
use crate::source::kernel::Kernel;

/// How often deleted binaries are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Watches until a signal, the end of the duration, or the end of the worker.
pub fn watch(options: &WatchOptions) -> Result<(), Refusal> {
    watch_until(options).map_err(|error| super::refusal(&error))
}

fn watch_until(options: &WatchOptions) -> Result<()> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let invoker = invoker::find(&Live, std::process::id());
    let all_go = options.all_go.then_some(invoker.uid);
    let targets = Targets::new(&options.pids, all_go)?;
    let ends = targets.ends()?;
    let dashboard = options.output == WatchOutput::Auto && std::io::stdout().is_terminal();
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
    let (seam, mut worker) = start(&invoker, &task)?;
    // While these are searched for the programs are loaded.
    let (kernel, files) = std::thread::scope(|scope| {
        let searching = scope.spawn(|| search(None, &invoker, &seam));
        let kernel = Kernel::load(targets.every_go(), all_go)?;
        let files = searching.join().map_err(|_| anyhow!("the search for go failed"))??;
        Ok::<_, anyhow::Error>((kernel, files))
    })?;
    let (stubs, found) = stubs::Search::begin().found();
    let running = Running::default();
    let mut agent = Agent { kernel, seam, files, hold: None, stubs, running, targets, private: None };
    agent.open_running()?;
    agent.tell(&ToWorker::BinariesEnd)?;
    agent.share()?;
    agent.follow_stubs(found)?;
    if options.hold_exec {
        agent.hold = Some(Hold::spawn()?.begin(None)?);
    }
    let until = options.duration.map(|duration| Instant::now() + duration);
    let mut swept = Instant::now();
    let mut ending = false;
    loop {
        let next = [until.filter(|_| !ending), agent.hold.as_ref().map(Hold::due), Some(swept + SWEEP_EVERY)];
        let next =
            next.into_iter().flatten().min().map(|next| next.saturating_duration_since(Instant::now()));
        let timeout = next.map_or(PollTimeout::NONE, |next| {
            // Rounded up: else it would be polled for nothing until the millisecond is over.
            PollTimeout::try_from(next + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![
            PollFd::new(agent.seam.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        let watched = if ending { &[][..] } else { &ends[..] };
        fds.extend(watched.iter().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN)));
        fds.extend(agent.files.changes().map(|changes| PollFd::new(changes, PollFlags::POLLIN)));
        fds.extend(agent.files.mounts().map(|mounts| PollFd::new(mounts, PollFlags::POLLPRI)));
        fds.extend(agent.hold.iter().flat_map(Hold::polled));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the worker"),
        }
        let all_ended =
            !watched.is_empty() && fds[2..2 + watched.len()].iter().all(|fd| fd.any().unwrap_or(false));
        let mounted = fds.iter().any(|fd| fd.revents().is_some_and(|is| is.contains(PollFlags::POLLPRI)));
        // What a program waits for comes first.
        agent.hear_holder(mounted, options.common.quiet)?;
        let signalled = matches!(signals.read_signal(), Ok(Some(_)));
        let over = signalled || all_ended || until.is_some_and(|until| until <= Instant::now());
        let turn = agent.turn(false)?;
        if (over || matches!(turn, Turn::Leave)) && !ending {
            ending = true;
            agent.hold = None;
            agent.tell(&ToWorker::Ended)?;
        }
        match turn {
            Turn::Done | Turn::Leave => {}
            Turn::Ready => {
                agent.follow_targets()?;
                if !options.common.quiet && !ending && !dashboard {
                    crate::say::line(&format!("watching {}; Ctrl-C ends", what(options)));
                }
            }
            Turn::Refused(refusal) => return Err(refusal.into()),
            Turn::NoTarget(refusal) => {
                agent.tell(&ToWorker::Abandoned)?;
                worker.wait().context("cannot wait for the worker")?;
                return Err(refusal.into());
            }
            Turn::Gone => break,
        }
        agent.let_go_of_changed(mounted)?;
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            for file in agent.files.stale() {
                agent.forget(file)?;
            }
        }
    }
    let status = worker.wait().context("cannot wait for the worker")?;
    drop(agent.kernel);
    if !status.success() {
        if let Some(terminal) = terminal {
            terminal.mend();
        }
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

/// A program, and every go that may be called soon, told to the worker.
pub(super) fn search(program: Option<&Path>, invoker: &Invoker, seam: &Seam) -> Result<Table> {
    let mut files = Table::default();
    let mut told = Ok(());
    discover::go_binaries(program, invoker, &mut |found| {
        let path = found.path.to_string_lossy().into_owned();
        let sent = seam.send(&ToWorker::Binary { file: found.id, path }, &[found.file.as_fd()]);
        files.insert(found.id, found.file);
        if sent.is_err() {
            told = sent;
        }
    });
    told.context("cannot tell the worker")?;
    Ok(files)
}

impl Agent {
    /// Does what the holder asks for; starts it again when it was killed.
    pub(super) fn hear_holder(&mut self, mounted: bool, quiet: bool) -> Result<()> {
        let Some(hold) = &mut self.hold else { return Ok(()) };
        if mounted {
            hold.mounted();
        }
        hold.look();
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
