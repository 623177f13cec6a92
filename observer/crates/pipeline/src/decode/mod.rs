//! Bytes to values: what the kernel copied goes in, typed values come out.
//!
//! Everything here is pure: no clock, no file, no socket. Every buffer has a limit, no input
//! makes it panic, and what was not understood is an [`Undecoded`] or a `None`, never a guess.

pub mod dns;
pub mod http1;
pub mod http2;
pub mod module_path;
pub mod retry_after;
pub mod ssh;
pub mod tls_hello;
pub mod tunnel;
pub mod varlink;
pub mod wire;

/// Why bytes were not understood. None of these holds a byte of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Undecoded {
    /// The input ends before the part that was read does.
    #[error("{what}: {need} bytes needed, {have} given")]
    Short {
        /// What was read
        what: &'static str,
        /// Bytes it takes
        need: usize,
        /// Bytes there were
        have: usize,
    },
    /// A ring record of a kind this version does not know.
    #[error("record of unknown kind {0}")]
    Kind(u16),
    /// The input breaks the rules of its format.
    #[error("{what}: {why}")]
    Malformed {
        /// What was read
        what: &'static str,
        /// The rule that it breaks
        why: &'static str,
    },
}
