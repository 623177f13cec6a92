//! `goobserve watch`: every go command on the machine, until it is told to end.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::attach::{now, start};
use super::{Agent, Turn, files, stubs};
use crate::cli::options::{Refusal, WatchOptions, WatchOutput};
use crate::run::invoker::{self, Invoker};
use crate::run::procfs::Live;
use crate::run::terminal::Terminal;
use crate::seam::{Output, Task, ToWorker};
use crate::source::kernel::Kernel;

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
    let dashboard = options.output == WatchOutput::Auto && std::io::stdout().is_terminal();
    let terminal = dashboard.then(Terminal::keep).flatten();
    let color = options.common.color.decide(dashboard, std::env::var_os("NO_COLOR").as_deref());
    let common = super::output(options.common);
    let task = Task {
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
    let mut opened = HashMap::new();
    for (owner, path) in go_binaries(&invoker) {
        if let Some((file, id)) = files::regular_as(owner.0, owner.1, &path)
            && !opened.contains_key(&id)
        {
            let message = ToWorker::Binary { file: id, path: path.to_string_lossy().into_owned() };
            seam.send(&message, &[file.as_fd()]).context("cannot tell the worker")?;
            opened.insert(id, (file, false));
        }
    }
    seam.send(&ToWorker::BinariesEnd, &[]).context("cannot tell the worker")?;
    let searching = stubs::Search::begin();
    let kernel = Kernel::load(true)?;
    let (stubs, found) = searching.found();
    let mut agent = Agent { kernel, seam, files: opened, stubs };
    agent.share()?;
    agent.follow_stubs(found)?;
    let until = options.duration.map(|duration| Instant::now() + duration);
    let mut ending = false;
    loop {
        let timeout = until.filter(|_| !ending).map_or(PollTimeout::NONE, |until| {
            PollTimeout::try_from(until.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [
            PollFd::new(agent.seam.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        let over = match poll(&mut fds, timeout) {
            Ok(0) => true,
            Ok(_) => matches!(signals.read_signal(), Ok(Some(_))),
            Err(Errno::EINTR) => false,
            Err(errno) => return Err(errno).context("cannot wait for the worker"),
        };
        let turn = agent.turn(false)?;
        if (over || turn == Turn::Leave) && !ending {
            ending = true;
            agent.tell(&ToWorker::Ended)?;
        }
        match turn {
            Turn::Done | Turn::Leave => {}
            Turn::Ready if !options.common.quiet && !ending && !dashboard => {
                eprintln!("goobserve: watching every go command; Ctrl-C ends");
            }
            Turn::Ready => {}
            Turn::Refused(what) => bail!(what),
            Turn::Gone => break,
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

/// User and group.
type Owner = (u32, u32);

/// Go binaries that may be called soon, where they are installed, and in the caller's PATH; with
/// the user whose rights are enough to open them.
fn go_binaries(invoker: &Invoker) -> Vec<(Owner, PathBuf)> {
    let usual = ["/usr/local/go/bin/go", "/usr/bin/go", "/usr/local/bin/go"];
    let mut found: Vec<(Owner, PathBuf)> = usual.into_iter().map(|path| ((0, 0), path.into())).collect();
    found.extend(super::attach::go_on_path(invoker).map(|path| ((invoker.uid, invoker.gid), path)));
    let mut below = |owner: Owner, folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| (owner, entry.path().join("bin/go"))));
    };
    below((0, 0), "/usr/lib".into()); // Debian: /usr/lib/go-1.NN
    let homes = std::fs::read_dir("/home").into_iter().flatten().flatten().map(|entry| entry.path());
    for home in homes.chain(["/root".into()]) {
        let Ok(metadata) = home.metadata() else { continue };
        let owner = (metadata.uid(), metadata.gid());
        below(owner, home.join("sdk"));
        below(owner, home.join("go/pkg/mod/golang.org")); // toolchain@…
    }
    found
}
