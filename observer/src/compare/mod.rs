//! `goobserve compare`: does a remedy help? In: what was asked for. Out: a page with the answer in
//! its first line, and files where they were asked for.

pub mod answer;

/// Runs of the command when nothing else is asked for: each way, and one that warms up.
pub const RUNS_IN_ALL: u64 = 2 * answer::FEWEST as u64 + 1;

#[cfg(target_os = "linux")]
mod asked;

#[cfg(target_os = "linux")]
pub use asked::{Answered, compare};
