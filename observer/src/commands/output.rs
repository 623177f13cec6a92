//! Pages to stdout, complaints to stderr, and the exit status that follows.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use model::user_error::UserError;
use render::page;

use crate::cli::options::Common;
use crate::say;

/// Whether a stream gets colours.
pub(super) fn colored(common: Common, is_terminal: bool) -> bool {
    common.color.decide(is_terminal && !super::is_dumb(), std::env::var_os("NO_COLOR").as_deref())
}

/// A page for stdout: as wide as the terminal, for reading 100 columns at most.
pub(super) fn page_options(common: Common) -> page::Options {
    let terminal = io::stdout().is_terminal();
    #[cfg(target_os = "linux")]
    let width = if terminal { usize::from(crate::worker::columns()).min(100) } else { 80 };
    #[cfg(not(target_os = "linux"))]
    let width = 80;
    page::Options { width, color: colored(common, terminal) }
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

/// Writes a page to stdout, or to stderr where a file that goes to stdout (`--json -`) needs it alone.
pub(super) fn write_page(text: &[u8], files: &[Option<&Path>]) -> io::Result<()> {
    if files.iter().flatten().any(|file| ["-", "/dev/stdout"].map(Path::new).contains(file)) {
        return say::page(&String::from_utf8_lossy(text));
    }
    write_out(text)
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
