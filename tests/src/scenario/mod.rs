//! Scenarios: faults in, stalls out, a TOML file each in `tests/scenarios`. [`Scenario`] is such a
//! file, [`observe()`] runs it in a lab of its own under `goobserve run`, and [`check()`] says what of
//! the report is not as the file expects.
//!
//! `tests/scenarios/README.md` explains the files.

mod check;
mod faults;
mod files;
pub(crate) mod machine;
mod observe;
mod spec;

pub use self::check::{DEPTH, Depth, check, report};
pub use self::files::{all, named, pairs, recording_file};
pub use self::observe::{Ran, apply, observe};
pub use self::spec::{CommandSpec, Expect, Scenario};
