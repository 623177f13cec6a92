//! The gate.
pub mod stats;
