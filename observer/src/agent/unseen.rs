//! What the kernel did not do that the observation relied on. In: the loaded programs, failures that others
//! report. Out: their sums, when they have changed.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::kernel::Kernel;
use crate::seam::NotDone;

/// Between two looks at the programs, a system call each.
const EVERY: Duration = Duration::from_secs(1);

/// Sums, and what the worker knows of them.
#[derive(Default)]
pub(super) struct Unseen {
    reported: NotDone,
    lookups_failed: Cell<u64>,
    looked: Option<Instant>,
}

impl Unseen {
    /// Socket diagnostics could not be asked.
    pub(super) fn lookup_failed(&self) {
        self.lookups_failed.update(|times| times + 1);
    }

    /// All sums when they are others than last time; `now`, else at most every second.
    pub(super) fn changed(&mut self, kernel: &Kernel, now: bool) -> Option<NotDone> {
        if !now && self.looked.is_some_and(|looked| looked.elapsed() < EVERY) {
            return None;
        }
        self.looked = Some(Instant::now());
        let sums = NotDone {
            runs_skipped: kernel.runs_skipped(),
            unattached: kernel.unattached(),
            lookups_failed: self.lookups_failed.get(),
        };
        (sums != self.reported).then(|| {
            self.reported = sums;
            sums
        })
    }
}
