//! What the resolver did, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Queries of clients
    pub queries: Counter,
    /// Those answered from the cache
    pub cached: Counter,
    /// Those of them whose time had run out, while it was asked for anew
    pub stale: Counter,
    /// Queries sent to servers, over UDP and TCP, repeated ones included
    pub sent: Counter,
    /// Those of them that were sent once more because no answer came
    pub repeated: Counter,
    /// Those of them over TCP
    pub tcp: Counter,
    /// AAAA queries answered with nothing because A was answered and they were not
    pub aaaa_given_up: Counter,
    /// Queries that no server answered
    pub failed: Counter,
    /// Queries not taken: no DNS, or too many at once
    pub refused: Counter,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} queries, {} from the cache ({} of them stale), {} without an answer; {} sent to servers, {} of them \
             once more, {} over TCP; {} AAAA given up",
            self.queries.get(),
            self.cached.get(),
            self.stale.get(),
            self.failed.get(),
            self.sent.get(),
            self.repeated.get(),
            self.tcp.get(),
            self.aaaa_given_up.get()
        )
    }
}
