//! A caching name server between a command and the name servers of resolv.conf. In: queries over UDP and TCP.
//! Out: those servers' answers, sooner: from the cache, from whichever server answers first, and without the
//! waits of a resolver that loses one packet.
//!
//! Nobody else is asked, and no answer is made up but one: when the A query of a name is answered and its AAAA
//! query is not, [`forwarder`] says after a while that there is no AAAA. That is not cached.
//!
//! [`server`] reads a query ([`wire`]) → [`forwarder`]: in the [`cache`]? in flight? → [`upstream`]: all
//! servers side by side, again after a while, over TCP where an answer was cut.

pub mod cache;
pub mod forwarder;
pub mod metrics;
pub mod probe;
pub mod resolv_conf;
pub mod server;
pub mod upstream;
pub mod wire;
