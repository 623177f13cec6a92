//! Why a file gets no plan.

use thiserror::Error;

/// Why a file gets no plan, or no build information.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PlanError {
    /// The file does not begin as an ELF file does
    #[error("not an ELF file")]
    NotElf,
    /// No Go build information in it
    #[error("not a Go program: it holds no Go build information")]
    NotGo,
    /// Built by gccgo: another calling convention, another runtime, no tables of the Go runtime's
    #[error(
        "built by gccgo, whose functions take their arguments in other places than those of the go toolchain"
    )]
    Gccgo,
    /// A machine whose code is not understood here, as Go or ELF names it
    #[error("a program for {0}: only amd64 and arm64 are supported")]
    UnsupportedArch(String),
    /// A Go version, as the program states it, that is too old or not understood
    #[error("built by Go version {0:?}: go1.21 or later is needed")]
    UnsupportedGo(String),
    /// Something contradicts itself or the rest of the file
    #[error("damaged file: {what} makes no sense (at {at:#x})")]
    Damaged {
        /// The thing
        what: &'static str,
        /// Its file offset or, where it is only known in memory, its address
        at: u64,
    },
    /// A function is not linked in; its name
    #[error("{0} is not in the program: it has no TLS client of Go's own")]
    NoTls(&'static str),
    /// No symbols to find functions by, and module data nowhere
    #[error("stripped of its symbols, and the tables of the Go runtime were not found in its data")]
    Stripped,
    /// A table or function is larger than any that is reasonable
    #[error("too large to examine: {what} of {size} bytes; at most {limit} of a file are read")]
    TooLarge {
        /// The thing
        what: &'static str,
        /// Its size, bytes
        size: u64,
        /// The limit, bytes
        limit: u64,
    },
    /// The file ends before something does
    #[error("truncated file: {what} ends at byte {end}, the file at {len}")]
    Truncated {
        /// The thing
        what: &'static str,
        /// File offset of its end
        end: u64,
        /// The file's length, bytes
        len: u64,
    },
    /// The file lets itself be opened but not read
    #[error("cannot read {what} at byte {at}")]
    Unreadable {
        /// What was to be read
        what: &'static str,
        /// File offset
        at: u64,
    },
    /// A function's machine code is not understood as a whole
    #[error("cannot place probes in {function}: {what} (at file offset {at:#x})")]
    Code {
        /// The function
        function: &'static str,
        /// What was found
        what: &'static str,
        /// File offset of the instruction
        at: u64,
    },
}
