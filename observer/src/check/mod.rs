//! What can be attached on this machine and what cannot. In: files of this machine (through
//! [`Root`], so that tests bring their own), a kernel release, a user. Out: a list of
//! [`Check`]s, each with its reason and a command that mends it.

pub mod machine;
pub mod view;

use crate::cli::options::Refusal;
pub use machine::{Root, checks};

/// The oldest kernel goobserve works on.
pub const OLDEST_KERNEL: (u32, u32) = (5, 18);

/// How a check turned out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should be
    Ok,
    /// Works, but something will not be seen
    Degraded,
    /// Nothing can be observed without it
    Missing,
}

/// One thing that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What was checked
    pub name: String,
    /// How it turned out
    pub state: State,
    /// What was found
    pub why: String,
    /// A command, or a sentence, that mends it; `None` when there is nothing to mend
    pub mend: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, why: why.into(), mend: None }
    }

    fn bad(state: State, name: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name: name.into(), state, why: why.into(), mend: Some(mend.into()) }
    }

    fn missing(name: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::bad(State::Missing, name, why, mend)
    }

    fn degraded(name: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::bad(State::Degraded, name, why, mend)
    }
}

/// Refuses when something is missing that an observation cannot do without: the first such
/// check, which the others may depend on.
pub fn preflight(checks: &[Check]) -> Result<(), Refusal> {
    match checks.iter().find(|check| check.state == State::Missing) {
        None => Ok(()),
        Some(check) => Err(Refusal {
            what: format!("{}: {}", check.name, check.why),
            mend: check.mend.clone().unwrap_or_default(),
        }),
    }
}

/// The exit status of `goobserve check`: 0 nothing wrong, 1 something wrong.
pub fn status(checks: &[Check]) -> i32 {
    i32::from(checks.iter().any(|check| check.state != State::Ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_refuses_and_the_first_of_it() {
        let degraded = Check::degraded("a", "b", "c");
        assert_eq!(preflight(&[Check::ok("x", "y"), degraded.clone()]), Ok(()));
        let refusal =
            preflight(&[degraded, Check::missing("d", "e", "f"), Check::missing("g", "h", "i")]).unwrap_err();
        assert_eq!((refusal.what.as_str(), refusal.mend.as_str()), ("d: e", "f"));
    }

    #[test]
    fn whatever_is_not_ok_is_something_wrong() {
        assert_eq!(status(&[Check::ok("x", "y")]), 0);
        assert_eq!(status(&[Check::ok("x", "y"), Check::degraded("a", "b", "c")]), 1);
        assert_eq!(status(&[Check::missing("a", "b", "c")]), 1);
    }
}
