//! `goobserve watch`: until it is asked to end, or its duration has passed.

use std::io::IsTerminal as _;

use super::check::preflight;
use super::output::refused;
use crate::agent;
use crate::cli::options::{WatchOptions, WatchOutput};
use crate::verbose;

/// Watches; the exit status.
pub(super) fn execute(options: &WatchOptions) -> i32 {
    let dashboard =
        options.output == WatchOutput::Auto && std::io::stdout().is_terminal() && !super::is_dumb();
    verbose::of_agent(options.common.verbose, dashboard);
    match preflight().and_then(|()| agent::watch(options)) {
        Ok(()) => 0,
        Err(user_error) => refused(options.common, &user_error, 1),
    }
}
