//! What was asked for, in plain values: nothing below the command line knows clap.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
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

/// What every command takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Common {
    /// `--color`
    pub color: ColorChoice,
    /// `-q`: only errors, no progress
    pub quiet: bool,
    /// `-v`, counted
    pub verbose: u8,
}

/// When to write in colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColorChoice {
    /// Decides for one stream. `no_color` is the value of `NO_COLOR`; an empty one counts as none.
    pub fn decide(self, is_terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && no_color.is_none_or(std::ffi::OsStr::is_empty),
        }
    }
}

/// What `goobserve watch` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatchOptions {
    /// When to end by itself
    pub duration: Option<Duration>,
    /// File for the recording
    pub record: Option<PathBuf>,
    /// What goes to stdout
    pub output: WatchOutput,
    /// Binaries that were never seen wait until they are attached to
    pub hold_exec: bool,
    /// Common flags
    pub common: Common,
}

/// What `watch` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WatchOutput {
    /// The dashboard where stdout is a terminal, else lines
    #[default]
    Auto,
    /// A line an event, for people
    Text,
    /// The recording's lines, for machines
    Jsonl,
}

/// What `goobserve run` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunOptions {
    /// The command and its arguments; not empty
    pub command: Vec<OsString>,
    /// File for the report as JSON
    pub json: Option<PathBuf>,
    /// File for the recording
    pub record: Option<PathBuf>,
    /// Show the dashboard
    pub tui: bool,
    /// What to print on stderr at the end
    pub report: RunReport,
    /// Replace module paths and private hosts by pseudonyms
    pub anonymize: bool,
    /// Common flags
    pub common: Common,
}

/// What `run` prints on stderr at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum RunReport {
    /// The report as text
    #[default]
    Text,
    /// The report as Markdown
    Markdown,
    /// Nothing
    None,
}

/// What `goobserve report` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReportOptions {
    /// The recording
    pub file: PathBuf,
    /// As what
    pub format: ReportFormat,
    /// Replace module paths and private hosts by pseudonyms
    pub anonymize: bool,
    /// Common flags
    pub common: Common,
}

/// What `goobserve replay` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplayOptions {
    /// The recording
    pub file: PathBuf,
    /// Common flags
    pub common: Common,
}

/// Forms of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReportFormat {
    /// For people
    #[default]
    Text,
    /// `goobserve.report/1`
    Json,
    /// GitHub's Markdown
    Markdown,
    /// A self-contained page
    Html,
    /// Trace Event Format
    Perfetto,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn no_color_and_pipes_are_respected_unless_told_otherwise() {
        let no = Some(OsStr::new("1"));
        assert!(ColorChoice::Auto.decide(true, None));
        assert!(ColorChoice::Auto.decide(true, Some(OsStr::new(""))));
        assert!(!ColorChoice::Auto.decide(true, no));
        assert!(!ColorChoice::Auto.decide(false, None));
        assert!(ColorChoice::Always.decide(false, no));
        assert!(!ColorChoice::Never.decide(true, None));
    }
}
