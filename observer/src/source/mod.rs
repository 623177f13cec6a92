//! Where events come from: the kernel's ring, or a recording.

#[cfg(target_os = "linux")]
pub mod kernel;
pub mod record;
pub mod replay;
