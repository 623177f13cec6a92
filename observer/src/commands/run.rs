//! `goobserve run`: a command, observed from its first instruction to its end.

use super::caller;
use super::check::preflight;
use super::output::{complain, refused};
use crate::agent::Bpf;
use crate::cli::options::RunOptions;
use crate::run::child::NEVER_STARTED;
use crate::run::session::Note;
use crate::verbose;
use crate::worker::distinct;

/// Runs it; its exit status, or one that says that it was never started.
pub(super) fn execute(options: &RunOptions) -> i32 {
    let common = options.common;
    if let Err(user_error) = distinct(&[options.json.as_deref(), options.record.as_deref()]) {
        return refused(common, &user_error, 2);
    }
    if let Err(user_error) = preflight() {
        return refused(common, &user_error, NEVER_STARTED);
    }
    verbose::of_agent(common.verbose, options.tui);
    let mut say = |note, what: &str, hint: &str| {
        if note == Note::Error || !common.quiet {
            complain(common, what, hint);
        }
    };
    crate::run::execute(options, &caller(), &Bpf, &mut say)
}
