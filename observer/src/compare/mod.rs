//! `goobserve compare`: does a remedy help? In: what was asked for. Out: a page with the answer in
//! its first line, and files where they were asked for.

pub mod answer;

#[cfg(target_os = "linux")]
mod asked;

#[cfg(target_os = "linux")]
pub use asked::{Answered, compare};
