//! One file an attach family.

pub mod go_tls;
mod io;
mod lock;
mod sched;
mod sock;
