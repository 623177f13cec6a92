//! What tests of this package and of others begin with: pairs of runs, and baselines, that are known.
#![expect(missing_docs, reason = "for tests")]

pub mod compare;
pub mod fix;
pub mod gate;
