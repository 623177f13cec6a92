//! The half without privileges: reads the ring, decodes, correlates, reports. It runs as nobody, opens nothing,
//! and asks the opener for files that the invoking user may read, and the agent for the rest.
//!
//! # While it lasts
//!
//! The detectors look at a command that has waited for a quarter of a second every 450 ms, at one that moves
//! every two seconds, and never for more than 2 % of a core. `diagnose/live.rs` says which findings are reported,
//! as `stall` events and in words; until a command has ended no share of its time counts, or each first hiccup
//! would be critical. A report ignores these events: the detectors say it again from the spans.
//!
//! The dashboard draws what is new at once, 40 ms apart at least, and spends a tenth of the time on it. From
//! 2,000 spans on a thread works out totals, lanes and rows from a copy of the command (requests are shared,
//! so a copy is cheap), and the frames show them a little later. Commands that ended are let go of but for the
//! last twenty (`model::retention`).

mod announce;
mod beginnings;
mod binaries;
mod dashboard;
mod feed;
mod files;
mod locks;
mod machine;
mod observe;
pub(crate) mod own_modules;
mod probe_queue;
pub(crate) mod sandbox;
mod services;
mod settings;
mod terminals;
mod written;

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use binaries::Binaries;
use model::user_error::UserError;
use observe::Observer;
pub use observe::{columns, rows};
pub(crate) use sandbox::landlock;
pub(crate) use settings::{cgroup_of, runs};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, MissedTickBehavior};

use crate::kernel::ring::Ring;
use crate::opener::Opener;
pub use crate::opener::output::{AtomicFile, descriptors, distinct};
use crate::say;
use crate::seam::{Seam, ToAgent, ToWorker};
use crate::verbose;

/// How often the ring is looked at while a command runs: far below what an eye notices, and
/// rarely enough to cost nothing.
const DIAGNOSE_EVERY: Duration = Duration::from_millis(20);
/// How often keys are looked for while the dashboard is shown.
const KEYS_EVERY: Duration = Duration::from_millis(40);
/// How often recordings are flushed and gathered intervals reported.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// An agent that does not answer for that long hangs: whoever has left the dashboard does not wait.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
/// How long the agent may take to hear why nothing can begin.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// The worker's whole life. Returns its exit status: 0, or 1 when it had to say why not.
/// `seam_fd`: its end of the agent's seam; the next number is that of the opener's.
pub fn main(seam_fd: i32) -> i32 {
    let option = std::env::args().nth(2).unwrap_or_default();
    verbose::begin("worker", verbose::level(&option));
    let result = harden().and_then(|()| {
        let seam =
            Seam::inherited(seam_fd).context("this is goobserve's inner half; it is not to be called")?;
        let opener = Opener::of(Seam::inherited(seam_fd + 1).context("it has no opener")?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(seam, opener))
    });
    match result {
        Ok(()) => 0,
        Err(error) => {
            match error.downcast_ref::<UserError>() {
                Some(user_error) => say::user_error(user_error),
                None => say::line(&format!("{error:#}")),
            }
            1
        }
    }
}

/// It holds other users' headers: no core files, no debuggers, signals of the terminal are for
/// the command.
pub(crate) fn harden() -> Result<()> {
    use nix::sys::prctl::set_dumpable;
    use nix::sys::resource::{Resource, setrlimit};
    use nix::sys::signal::{SigHandler, Signal, signal};
    set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Until now the user's other processes could attach to this one.
    let status = std::fs::read_to_string("/proc/self/status")?;
    if !status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", "0"])) {
        bail!("a part of goobserve is being traced; it sees other users' requests and does not go on");
    }
    for ignored in
        [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGTTOU]
    {
        #[expect(unsafe_code, reason = "signal is unsafe for the sake of handlers")]
        // SAFETY: no handler is installed.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Where the worker is on its way.
#[derive(Default)]
struct Progress {
    binaries_end: bool,
    ready_sent: bool,
}

async fn serve(seam: Seam, opener: Opener) -> Result<()> {
    log::info!("user {}, no capabilities, hardened", nix::unistd::getuid());
    seam.send(&ToAgent::Hardened, &[])?;
    let seam = readiness(seam, Interest::READABLE | Interest::WRITABLE)?;
    let Some((ToWorker::Task(task), passed)) = receive(&seam).await? else { bail!("the agent sent no task") };
    let mut binaries = Binaries::default();
    let mut progress = Progress::default();
    let mut observer = match Observer::new(*task, passed, opener) {
        Ok(observer) => observer,
        Err(error) => {
            let (what, hint) = match error.downcast::<UserError>() {
                Ok(user_error) => (user_error.what, user_error.hint),
                Err(error) => (format!("{error:#}"), String::new()),
            };
            seam.get_ref().send(&ToAgent::Refused { what, hint }, &[])?;
            // Closing with messages unread would take this one back.
            let until_closed = async { while matches!(receive(&seam).await, Ok(Some(_))) {} };
            let _ = tokio::time::timeout(HEARD_WITHIN, until_closed).await;
            return Ok(());
        }
    };
    let mut ring: Option<AsyncFd<Ring>> = None;
    let mut diagnosis = tokio::time::interval(DIAGNOSE_EVERY);
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    let mut keys = tokio::time::interval(KEYS_EVERY);
    keys.set_missed_tick_behavior(MissedTickBehavior::Delay);
    diagnosis.set_missed_tick_behavior(MissedTickBehavior::Delay);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Since when the dashboard is left.
    let mut left = None;
    loop {
        tokio::select! {
            biased;
            message = receive(&seam) => {
                let Some((message, descriptors)) = message? else {
                    log::info!("the agent has gone: what was seen until now is kept");
                    if let Some(ring) = &mut ring {
                        observer.drain(ring.get_mut(), true, seam.get_ref(), &binaries);
                    }
                    return observer.cut_off();
                };
                match message {
                    ToWorker::Maps => ring = Some(open_ring(descriptors)?),
                    ToWorker::BinariesEnd => progress.binaries_end = true,
                    ToWorker::Ended { status } => {
                        log::info!("the command has ended: what is left in the ring is read and written");
                        seam.get_ref().send(&ToAgent::Ending, &[])?;
                        if let Some(ring) = &mut ring {
                            observer.drain(ring.get_mut(), true, seam.get_ref(), &binaries);
                        }
                        return observer.finish(&binaries, status, seam.get_ref());
                    }
                    ToWorker::Abandoned => {
                        observer.abandon();
                        return Ok(());
                    }
                    message => {
                        let begun = Instant::now();
                        observer.message(message, descriptors, seam.get_ref(), &mut binaries)?;
                        // Parsing takes time, and there may be more to parse: the ring does not wait.
                        if begun.elapsed() > DIAGNOSE_EVERY && let Some(ring) = &mut ring {
                            observer.drain(ring.get_mut(), false, seam.get_ref(), &binaries);
                        }
                    }
                }
                if !progress.ready_sent && progress.binaries_end && ring.is_some() && binaries.settled() {
                    progress.ready_sent = true;
                    log::info!("every binary that was found has been looked at: ready");
                    observer.ready();
                    seam.get_ref().send(&ToAgent::Ready, &[])?;
                }
            }
            sent = flushed(&seam), if seam.get_ref().is_waiting() => sent?,
            () = tokio::time::sleep_until(left.unwrap_or_else(Instant::now) + ANSWER_WITHIN), if left.is_some() => {
                let other = nix::unistd::getppid();
                say::line(&format!("process {other}, its other half, does not answer; it ends by itself or by kill -9"));
                return observer.finish(&binaries, None, seam.get_ref());
            }
            // Woken for what cannot wait: a new program, an end.
            ready = readable(ring.as_mut()) => {
                ready?;
                if let Some(ring) = &mut ring {
                    observer.drain(ring.get_mut(), false, seam.get_ref(), &binaries);
                }
            }
            _ = diagnosis.tick(), if is_busy(ring.as_ref(), &observer) => {
                if let Some(ring) = &mut ring {
                    observer.drain(ring.get_mut(), false, seam.get_ref(), &binaries);
                }
                // What is new is drawn at once.
                if observer.dashboard(ring.as_ref().map(AsyncFd::get_ref), seam.get_ref()) {
                    left = Some(Instant::now());
                }
            }
            _ = keys.tick(), if observer.has_dashboard() => {
                if observer.dashboard(ring.as_ref().map(AsyncFd::get_ref), seam.get_ref()) {
                    left = Some(Instant::now());
                }
            }
            _ = flush.tick(), if is_busy(ring.as_ref(), &observer) || ring.is_some() && observer.unflushed() => {
                if let Some(ring) = &mut ring {
                    observer.drain(ring.get_mut(), false, seam.get_ref(), &binaries);
                    observer.tick(ring.get_ref(), seam.get_ref());
                }
            }
        }
    }
}

/// Whether the ring is to be looked at without a wake: a command runs, or the records of one are
/// held back that nothing else will release.
fn is_busy(ring: Option<&AsyncFd<Ring>>, observer: &Observer) -> bool {
    ring.is_some_and(|ring| observer.busy() || ring.get_ref().holds())
}

/// Lets a descriptor be awaited.
fn readiness<T: AsRawFd>(owner: T, interest: Interest) -> Result<AsyncFd<T>> {
    #[expect(unsafe_code, reason = "tokio cannot know that the number stays the owner's")]
    // SAFETY: Seam and Ring own their descriptor and close it only when they are dropped.
    let registered = unsafe { AsyncFd::register_with_interest(owner, interest) };
    registered.map_err(|error| anyhow::Error::from(std::io::Error::from(error)))
}

async fn receive(seam: &AsyncFd<Seam>) -> Result<Option<(ToWorker, Vec<OwnedFd>)>> {
    loop {
        let mut guard = seam.readable().await?;
        match guard.try_io(|seam| seam.get_ref().receive()) {
            Ok(message) => return message.context("cannot hear the agent"),
            Err(_would_block) => {}
        }
    }
}

/// Sends what waits to be sent.
async fn flushed(seam: &AsyncFd<Seam>) -> Result<()> {
    loop {
        let mut guard = seam.writable().await?;
        match guard.try_io(|seam| seam.get_ref().flush()) {
            Ok(sent) => return sent.context("cannot reach the agent"),
            Err(_would_block) => {}
        }
    }
}

async fn readable(ring: Option<&mut AsyncFd<Ring>>) -> Result<()> {
    match ring {
        Some(ring) => {
            ring.readable().await?.clear_ready();
            Ok(())
        }
        None => std::future::pending().await,
    }
}

fn open_ring(descriptors: Vec<OwnedFd>) -> Result<AsyncFd<Ring>> {
    let [ring, trees, lost]: [OwnedFd; 3] =
        descriptors.try_into().map_err(|_| anyhow::anyhow!("the agent sent no maps"))?;
    readiness(Ring::new(ring, trees, lost)?, Interest::READABLE)
}
