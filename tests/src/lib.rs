//! The lab: everything an end-to-end test starts, asks and stops. A [`lab::Lab`] is a module
//! proxy with checksum database over TLS and a name server, both with logs and faults, and a
//! place where commands run that see only these two.
//!
//! Servers log times of `CLOCK_MONOTONIC` in nanoseconds, the clock goobserve's times come from.

pub mod attribution;
pub mod bench;
pub mod bpf;
pub mod browser;
pub mod builds;
pub mod client;
pub mod clock;
pub mod complete;
pub mod containers;
pub mod crowd;
pub mod dns;
pub mod facts;
pub mod fill;
pub mod findings;
pub mod forward;
pub mod frames;
pub mod git;
pub mod go_env;
pub mod goobserve;
pub mod helpers;
pub mod lab;
pub mod live;
pub mod local_resolver;
pub mod net;
pub mod paths;
pub mod procs;
pub mod proxy;
pub mod pty;
pub mod running;
pub mod scenario;
pub mod schema;
pub mod screen;
pub mod servers;
pub mod site;
pub mod skip;
pub mod ssh;
pub mod starts;
pub mod stats;
pub mod store;
pub mod tiny;
pub mod tls;
pub mod toolchains;
pub mod wait;
pub mod watching;
pub mod wire;
pub mod wrapped;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data stay good when a test thread panicked while it held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
