//! What the BPF programs of a debug build have to say, on stderr.

use aya::Ebpf;
use aya_log::EbpfLogger;

/// Reads the diagnostics.
pub(super) type Diagnostics = EbpfLogger<&'static dyn log::Log>;

/// Takes the ring of the diagnostics. `None` in a release build, which has none.
pub(super) fn of(ebpf: &mut Ebpf) -> Option<Diagnostics> {
    EbpfLogger::init_with_logger(ebpf, &Stderr as &dyn log::Log).ok()
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
