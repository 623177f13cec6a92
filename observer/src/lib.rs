//! goobserve: where the wall time of `go mod download` goes, from the kernel's point of view.
//!
//! Data flows one way: `source` (kernel or recording) → `decode` (bytes to values) →
//! `correlate` (values to spans) → `model` (spans to phases) → `view`.

#[cfg(target_os = "linux")]
pub mod agent;
#[cfg(target_os = "linux")]
pub mod check;
pub mod cli;
pub mod commands;
#[cfg(target_os = "linux")]
pub mod experiment;
pub mod goenv;
#[cfg(target_os = "linux")]
pub mod kernel;
#[cfg(target_os = "linux")]
pub mod run;
pub mod say;
#[cfg(target_os = "linux")]
mod seam;
#[cfg(target_os = "linux")]
mod unique;
#[cfg(target_os = "linux")]
mod verbose;
#[cfg(target_os = "linux")]
pub mod worker;
