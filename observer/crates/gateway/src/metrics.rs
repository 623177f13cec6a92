//! What the gateway did, counted. Out: Prometheus' text.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident,)*) => {
        /// Counters and gauges; each name is its metric's behind `goobserve_gateway_`.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: metrics!(@type $kind),)*
        }

        impl Metrics {
            /// All of them.
            pub fn text(&self) -> String {
                let mut text = String::new();
                $(write(
                    &mut text,
                    concat!("goobserve_gateway_", stringify!($name)),
                    concat!($($doc,)+).trim(),
                    stringify!($kind),
                    &self.$name.get().to_string(),
                );)*
                text
            }
        }
    };
    (@type counter) => { Counter };
    (@type gauge) => { Gauge };
}

metrics! {
    /// Requests received
    counter requests_total,
    /// Requests answered from the cache
    counter cache_hits_total,
    /// Requests that joined one that was in flight
    counter coalesced_total,
    /// Requests answered by a remembered 404 or 410
    counter missing_hits_total,
    /// Requests answered with 502, for the upstream could not be reached
    counter failed_total,
    /// Requests made to upstreams, retries and hedges included
    counter upstream_requests_total,
    /// Attempts that were made because one failed
    counter retries_total,
    /// Bodies that were resumed after they were cut
    counter resumed_total,
    /// Requests made once more because the answer was slow
    counter hedges_total,
    /// Hedges that were answered first
    counter hedges_won_total,
    /// Attempts given up after their time-out
    counter timeouts_total,
    /// Files asked for before go asked
    counter prefetched_total,
    /// Bytes of bodies received from upstreams
    counter received_bytes_total,
    /// Bytes of bodies sent to clients
    counter sent_bytes_total,
    /// Cached files that were damaged and are asked for anew
    counter cache_damaged_total,
    /// Files that are not kept, for go.sum has another hash of them
    counter cache_refused_total,
    /// Cached files removed to make room
    counter cache_evicted_total,
    /// Files that could not be written
    counter cache_write_errors_total,
    /// Bytes of cached files
    gauge cache_bytes,
    /// Connections of clients
    gauge connections,
    /// Bodies in flight from upstreams
    gauge in_flight,
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Its value from now on.
    pub fn set(&self, value: u64) {
        self.0.store(value.cast_signed(), Ordering::Relaxed);
    }

    /// One more, until the guard is dropped.
    pub fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of a gauge.
#[derive(Debug)]
pub struct Held<'a>(&'a Gauge);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn write(text: &mut String, name: &str, help: &str, kind: &str, value: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_help_type_and_value() {
        let metrics = Metrics::default();
        metrics.requests_total.add(3);
        let held = metrics.connections.hold();
        let text = metrics.text();
        assert!(text.starts_with(
            "# HELP goobserve_gateway_requests_total Requests received\n\
             # TYPE goobserve_gateway_requests_total counter\n\
             goobserve_gateway_requests_total 3\n"
        ));
        assert!(text.contains("\ngoobserve_gateway_connections 1\n"), "{text}");
        drop(held);
        assert_eq!(metrics.connections.get(), 0);
    }
}
