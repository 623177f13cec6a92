//! What is told a user who asked for something that cannot be done.

use thiserror::Error;

/// Something could not be done: what is wrong, and what to do about it, a line each.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{what}")]
pub struct Refusal {
    /// What is wrong
    pub what: String,
    /// What to do; empty when there is nothing
    pub mend: String,
}

impl Refusal {
    /// Makes one of two lines.
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}
