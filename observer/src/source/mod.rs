//! Where events come from and are kept: a recording, and later the kernel.

pub mod record;
pub mod replay;
