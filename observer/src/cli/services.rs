//! What the command line needs from the rest of the program: one trait, which `main` joins to
//! the agent, the target reader and the views.

use std::path::Path;

use model::refusal::Refusal;

#[cfg(target_os = "linux")]
use super::options::WatchOptions;
use super::options::{ReplayOptions, ReportOptions};
#[cfg(target_os = "linux")]
use crate::check::Unverified;

/// What does the work.
pub trait Services {
    /// Tracepoints that are attached, `group:event`: those that are needed, and those without
    /// which only something is not seen.
    #[cfg(target_os = "linux")]
    fn tracepoints(&self) -> (&[&str], &[&str]);

    /// Has the kernel verify the BPF programs, and attaches none: how many there are.
    #[cfg(target_os = "linux")]
    fn verify(&self) -> Result<usize, Unverified>;

    /// Looks whether a go binary can be probed: its version, or why not.
    fn plan(&self, binary: &Path) -> Result<String, String>;

    /// What attaches to the command of `run`.
    #[cfg(target_os = "linux")]
    fn attach(&self) -> &dyn crate::run::Attach;

    /// Watches until it is told to end, or its duration has passed.
    #[cfg(target_os = "linux")]
    fn watch(&self, options: &WatchOptions) -> Result<(), Refusal>;

    /// Writes a recording's report on stdout.
    fn report(&self, options: &ReportOptions) -> Result<(), Refusal>;

    /// Plays a recording on the terminal.
    fn replay(&self, options: &ReplayOptions) -> Result<(), Refusal>;
}
