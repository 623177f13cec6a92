//! What a user is shown who asked for something that cannot be done.

use thiserror::Error;

/// Something could not be done: what is wrong, and what to do about it, a line each.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{what}")]
pub struct UserError {
    /// What is wrong
    pub what: String,
    /// What to do; empty when there is nothing
    pub hint: String,
}

impl UserError {
    /// Makes one of two lines.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}
