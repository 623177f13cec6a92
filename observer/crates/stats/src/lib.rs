//! What follows from many runs, from numbers alone. In: reports, or what was measured of them. Out: the
//! answer of a comparison ([`compare`]) and the verdict of a gate ([`gate`]), with intervals and tests
//! ([`estimators`]). No clock, no file, no command is touched.
#![deny(unreachable_pub)]

pub mod compare;
pub mod estimators;
pub mod gate;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
