//! What the commands do that measure: one file a command. In: what was asked for. Out: pages, files and
//! an exit status.

#[cfg(target_os = "linux")]
pub mod compare;
#[cfg(target_os = "linux")]
pub mod gate;
