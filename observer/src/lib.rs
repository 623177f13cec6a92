//! goobserve: where the wall time of `go mod download` goes, from the kernel's point of view.
//!
//! Data flows one way: `source` (kernel or recording) → `decode` (bytes to values) →
//! `correlate` (values to spans) → `model` (spans to phases) → `view`.

#[cfg(target_os = "linux")]
pub mod agent;
#[cfg(target_os = "linux")]
pub mod check;
pub mod cli;
pub mod compare;
pub mod correlate;
pub mod decode;
pub mod diagnose;
#[cfg(target_os = "linux")]
pub mod experiment;
pub mod gate;
pub mod goenv;
pub mod model;
pub mod redact;
pub mod remedy;
#[cfg(target_os = "linux")]
pub mod run;
pub mod say;
#[cfg(target_os = "linux")]
mod seam;
pub mod source;
pub mod target;
#[cfg(target_os = "linux")]
mod unique;
pub mod view;
#[cfg(target_os = "linux")]
pub mod worker;
