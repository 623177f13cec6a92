//! What the BPF programs of a debug build have to say, on stderr.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya_log::EbpfLogger;

/// Reads the diagnostics.
pub type Diagnostics = EbpfLogger<&'static dyn log::Log>;

/// Finds the ring of the diagnostics by a program that writes to it. `None` in a release build,
/// which has none.
pub fn of(program: BorrowedFd<'_>) -> Option<Diagnostics> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    let id = about.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()?;
    EbpfLogger::init_from_id_with_logger(id, &Stderr as &dyn log::Log).ok()
}

/// Diagnostics go to stderr as they are.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        crate::say::line(&format!("bpf: {}", record.args()));
    }

    fn flush(&self) {}
}
