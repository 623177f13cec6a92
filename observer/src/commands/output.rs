//! Pages to stdout, complaints to stderr, and the exit status that follows.

use std::io::{self, IsTerminal as _, Write as _};

use model::user_error::UserError;

use crate::cli::options::Common;
use crate::say;

/// Whether a stream gets colours.
pub(super) fn colored(common: Common, is_terminal: bool) -> bool {
    common.color.decide(is_terminal, std::env::var_os("NO_COLOR").as_deref())
}

/// Two lines on stderr: what went wrong, what to do.
pub(super) fn complain(common: Common, what: &str, hint: &str) {
    let color = colored(common, io::stderr().is_terminal());
    say::put(&say::complaint(what, hint, color));
}

pub(super) fn refused(common: Common, user_error: &UserError, status: i32) -> i32 {
    complain(common, &user_error.what, &user_error.hint);
    // Captured only when RUST_BACKTRACE asks for it.
    let trace = std::backtrace::Backtrace::capture();
    if common.verbose > 0 && trace.status() == std::backtrace::BacktraceStatus::Captured {
        say::put(&format!("{trace}\n"));
    }
    status
}

/// Writes to stdout. A reader that has gone (`| head`) is no failure.
pub(super) fn write_out(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

pub(super) fn status_of(written: io::Result<()>, common: Common, failure: i32) -> i32 {
    match written {
        Ok(()) => 0,
        Err(error) => {
            let user_error =
                UserError::new(format!("cannot write to stdout: {error}"), "check where stdout leads");
            refused(common, &user_error, failure)
        }
    }
}
