//! What `goobserve doctor` found: `goobserve.doctor/1`. Checks in groups, each with what was seen, and of what is
//! wrong the proof and what to do about it. What could not be tried is unknown, and said to be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Ns;

/// The schema's name.
pub const SCHEMA: &str = "goobserve.doctor/1";

/// How a check turned out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be
    Good,
    /// Works, and is worth knowing
    Notice,
    /// Something is wrong
    Wrong,
    /// It could not be tried, or was not
    Unknown,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was checked: `tls`, `10.0.0.2`
    pub name: String,
    /// How it turned out
    pub state: State,
    /// A name for what was found, which stays the same: `tls-untrusted`; `null` where nothing was
    pub finding: Option<String>,
    /// What was seen
    pub what: String,
    /// What shows it: attempts that differ in one thing
    pub proof: Vec<String>,
    /// What to do about it
    pub fix: Option<String>,
    /// How long it took, nanoseconds; `null` where nothing was waited for
    pub took_ns: Option<u64>,
}

impl Check {
    fn new(name: impl Into<String>, state: State, what: impl Into<String>) -> Self {
        let (name, what) = (name.into(), what.into());
        Self { name, state, finding: None, what, proof: Vec::new(), fix: None, took_ns: None }
    }

    /// All is well.
    pub fn good(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(name, State::Good, what)
    }

    /// It is not known.
    pub fn unknown(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(name, State::Unknown, what)
    }

    /// Worth knowing.
    pub fn notice(finding: &str, name: impl Into<String>, what: impl Into<String>) -> Self {
        Self { finding: Some(finding.to_owned()), ..Self::new(name, State::Notice, what) }
    }

    /// Something is wrong.
    pub fn wrong(finding: &str, name: impl Into<String>, what: impl Into<String>) -> Self {
        Self { finding: Some(finding.to_owned()), ..Self::new(name, State::Wrong, what) }
    }

    /// With what shows it.
    #[must_use]
    pub fn proof(mut self, proof: impl Into<String>) -> Self {
        self.proof.push(proof.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// With the time that it took.
    #[must_use]
    pub fn took(mut self, took: std::time::Duration) -> Self {
        self.took_ns = Some(u64::try_from(took.as_nanos()).unwrap_or(Ns::MAX));
        self
    }
}

/// Checks of one subject.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// The subject: `module proxy https://proxy.test`
    pub name: String,
    /// In the order in which they depend on each other
    pub checks: Vec<Check>,
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Examination {
    /// [`SCHEMA`]
    pub schema: String,
    /// Who says it: `goobserve 0.1.0`
    pub tool: String,
    /// When it began, nanoseconds since 1970
    pub started_unix_ns: u64,
    /// How long it took, nanoseconds
    pub took_ns: u64,
    /// What was checked
    pub groups: Vec<Group>,
    /// How many checks are wrong
    pub wrong: usize,
    /// How many are unknown
    pub unknown: usize,
}

impl Examination {
    /// Whether anything is wrong.
    pub const fn status(&self) -> i32 {
        if self.wrong > 0 { 1 } else { 0 }
    }
}
