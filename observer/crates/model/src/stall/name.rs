//! A kind's name as records have it: of this version's catalogue, or of another's.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::StallKind;

/// A kind's name as a record has it: of this catalogue, or of another version's.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum StallName {
    /// In this catalogue
    Known(StallKind),
    /// In another version's
    Unknown(String),
}

impl StallName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Unknown(name) => name,
        }
    }

    /// The kind, where this version knows it.
    pub const fn kind(&self) -> Option<StallKind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Unknown(_) => None,
        }
    }

    /// Whether its time lies in several phases ([`StallKind::across`]).
    pub fn is_across(&self) -> bool {
        self.kind().is_some_and(StallKind::across)
    }

    /// Whether it says why something failed ([`StallKind::of_failure`]).
    pub fn is_of_failure(&self) -> bool {
        self.kind().is_some_and(StallKind::of_failure)
    }

    /// Whether its cost is one over those of others ([`StallKind::over_others`]).
    pub fn is_over_others(&self) -> bool {
        self.kind().is_some_and(StallKind::over_others)
    }
}

impl From<StallKind> for StallName {
    fn from(kind: StallKind) -> Self {
        Self::Known(kind)
    }
}

impl From<String> for StallName {
    fn from(name: String) -> Self {
        StallKind::named(&name).map_or(Self::Unknown(name), Self::Known)
    }
}

impl From<StallName> for String {
    fn from(name: StallName) -> Self {
        match name {
            StallName::Known(kind) => kind.name().to_owned(),
            StallName::Unknown(name) => name,
        }
    }
}

impl PartialEq<StallKind> for StallName {
    fn eq(&self, kind: &StallKind) -> bool {
        self.kind() == Some(*kind)
    }
}

/// By name, as a person looks it up.
impl Ord for StallName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for StallName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for StallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A string like any other: what names there are is no part of the schema.
impl JsonSchema for StallName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
