//! What was seen, as events. In: records of the kernel side ([`decode`] reads their bytes, [`correlate`]
//! joins them to spans), or a recording ([`replay`]). Out: [`model::Event`]s, the same either way, which
//! [`record`] writes down. Pure; untrusted bytes are read with limits.
#![deny(unreachable_pub)]

pub mod correlate;
pub mod decode;
pub mod record;
pub mod replay;
