//! A module proxy between go and its proxies. In: the list that GOPROXY is, and requests of go commands. Out:
//! the same bytes, without the waits and failures of the way: pooled connections, one retry policy, coalesced
//! requests, a cache of what never changes, and files that are there before go asks.
//!
//! What go promises its users still holds. Which proxy is asked next, `direct` and `off` stay go's to decide
//! ([`goproxy`]). Checksums stay go's to verify: the checksum database is passed through under `/sumdb/` as
//! bytes. No upstream is asked for a private name, nor for what go would not ask ([`plan`]). Credentials go to
//! their own host, and are never stored or shown; what was answered to a client's own is nobody else's.
//!
//! # The way of a request
//!
//! [`server`] understands it → [`gateway`]: private? in memory? known to be missing? in flight? → a
//! [`spool`] is set on its way: from the [`store`], or by attempts at the upstream (`fetch`: [`latency`] says
//! when to hedge and to give up, [`retry`] when to try again, [`body`] how a cut body goes on, [`health`]
//! whether to try at all) over [`client`]'s connections → every client that asked reads the spool.

pub mod asset;
pub mod body;
pub mod client;
pub mod connect;
pub mod dirhash;
mod fetch;
pub mod gateway;
pub mod gomod;
pub mod goproxy;
pub mod graph;
pub mod health;
pub mod latency;
pub mod metrics;
pub mod missing;
pub mod netrc;
pub mod no_proxy;
pub mod patterns;
pub mod plan;
mod prefetch;
pub mod retry;
pub mod server;
pub mod spool;
pub mod store;
pub mod tiles;
pub mod tls;
pub mod upstream;
