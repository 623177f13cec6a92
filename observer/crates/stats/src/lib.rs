//! What follows from many runs, from numbers alone. In: reports, or what was measured of them. Out: the
//! answer of a comparison ([`compare`]), what `fix` keeps ([`fix`]) and the verdict of a gate ([`gate`]), with intervals and tests
//! ([`estimators`]). No clock, no file, no command is touched.
//! ```
//! use stats::estimators::{paired, signed_rank};
//!
//! // By how much six runs were slower than their partners, seconds.
//! let slower = [0.9, 1.1, 1.0, 1.2, 0.8, 1.05];
//! let shift = paired(&slower, 0.05).unwrap();
//! assert!((shift.estimate - 1.0).abs() < 0.05);
//! assert_eq!(signed_rank(&slower), 1.0 / 64.0); // each of the six differences points one way
//! ```

pub mod compare;
pub mod estimators;
pub mod fix;
pub mod gate;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
