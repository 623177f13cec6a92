//! Ending a run that has no time left, with all that it started. In: the run's process. Out: nothing
//! of it is left, neither what ignores signals nor what left its session.

use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};

use crate::run::job::Job;

/// How long a run may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);
/// Processes that are ended at most: one that forks faster is left.
const MOST: usize = 10_000;

/// Makes orphans of later runs this process's children, so that they are found.
pub(super) fn adopt() {
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Ends the run. `keep` is a child that is none of it.
pub(super) fn end(child: &Child, job: &Job<'_>, keep: Option<Pid>) {
    let pid = Pid::from_raw(child.id().cast_signed());
    let _ = kill(pid, Signal::SIGTERM);
    let until = Instant::now() + GRACE;
    let ended =
        || matches!(job.wait(None, Some(until.saturating_duration_since(Instant::now()))), Ok(Some(_)));
    while !ended() {
        if Instant::now() >= until {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            break;
        }
    }
    // Each that ends leaves its own children to us.
    for _ in 0..MOST {
        let Some(orphan) = children().into_iter().find(|child| Some(*child) != keep) else { return };
        let _ = kill(orphan, Signal::SIGKILL);
        let _ = waitpid(orphan, None);
    }
}

/// This process's children.
fn children() -> Vec<Pid> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{}/children", getpid())).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}
