//! `goobserve watch`: until it is told to end, or its duration has passed.

use super::check::preflight;
use super::output::refused;
use crate::agent;
use crate::cli::options::WatchOptions;

/// Watches; the exit status.
pub(super) fn execute(options: &WatchOptions) -> i32 {
    match preflight().and_then(|()| agent::watch(options)) {
        Ok(()) => 0,
        Err(refusal) => refused(options.common, &refusal, 1),
    }
}
