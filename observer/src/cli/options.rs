//! What was asked for, in plain values: nothing below the command line knows clap.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::id::Pid;
use model::remedy::Remedies;
use serde::{Deserialize, Serialize};
use stats::gate::{FailOn, Floors};

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
    /// Only these processes, with all that they start
    pub pids: Vec<Pid>,
    /// Every Go program of the invoking user, not only go commands
    pub all_go: bool,
    /// Whom it is exported to meanwhile
    pub export: ExportOptions,
    /// Common flags
    pub common: Common,
}

/// What `watch` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WatchOutput {
    /// The dashboard where stdout is a terminal, else lines
    #[default]
    Auto,
    /// Lines for people: a command that starts to hurt, and its end
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
    /// Whom it is exported to
    pub export: ExportOptions,
    /// Remedies
    pub with: Remedies,
    /// Variables that an experiment sets for the command; no remedies
    pub set: Vec<(OsString, OsString)>,
    /// Common flags
    pub common: Common,
}

/// Where observations go as they are made.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExportOptions {
    /// Base URL of a collector
    pub otlp: Option<String>,
    /// Where metrics are served
    pub metrics: Option<SocketAddr>,
    /// File for metrics
    pub textfile: Option<PathBuf>,
}

impl ExportOptions {
    /// Whether anything is exported at all.
    pub const fn any(&self) -> bool {
        self.otlp.is_some() || self.metrics.is_some() || self.textfile.is_some()
    }
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

/// The caches of an experiment's runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cache {
    /// Fresh ones, beside the caller's own
    #[default]
    Cold,
    /// Fresh ones, in memory
    Memory,
    /// The caller's own
    Warm,
}

/// How a command is run several times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExperimentOptions {
    /// Runs each way; `None`: the command's default
    pub runs: Option<u32>,
    /// Caches
    pub cache: Cache,
}

/// What `goobserve compare` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompareOptions {
    /// The command and its arguments; not empty
    pub command: Vec<OsString>,
    /// What is tried; not empty
    pub with: Remedies,
    /// What it is compared with; none: the command as it is
    pub versus: Remedies,
    /// Runs and caches
    pub experiment: ExperimentOptions,
    /// File for the answer as JSON
    pub json: Option<PathBuf>,
    /// File for the answer as Markdown
    pub markdown: Option<PathBuf>,
    /// Common flags
    pub common: Common,
}

/// What `goobserve fix` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FixOptions {
    /// The command and its arguments; not empty
    pub command: Vec<OsString>,
    /// How long all of it may take
    pub budget: Duration,
    /// Runs and caches
    pub experiment: ExperimentOptions,
    /// File for what was found out as JSON
    pub json: Option<PathBuf>,
    /// Common flags
    pub common: Common,
}

/// What `goobserve gate` was asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct GateOptions {
    /// What is to be done
    pub action: GateAction,
    /// Runs between two looks, and caches
    pub experiment: ExperimentOptions,
    /// In force in every run
    pub with: Remedies,
    /// Runs before the last look
    pub max_runs: u32,
    /// How long all of it may take
    pub timeout: Option<Duration>,
    /// What does not matter
    pub floors: Floors,
    /// Only say what it takes and what it can find
    pub plan: bool,
    /// What fails the build
    pub fail_on: FailOn,
    /// Where to say it
    pub outputs: GateOutputs,
    /// Common flags
    pub common: Common,
}

/// What the gate is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GateAction {
    /// Make a baseline, or add to one
    Record {
        /// Its file
        out: PathBuf,
        /// Add to what is there
        append: bool,
        /// The command and its arguments; not empty
        command: Vec<OsString>,
    },
    /// Judge new runs by a baseline
    Run {
        /// Its file
        baseline: PathBuf,
        /// File for the new runs
        out: Option<PathBuf>,
        /// The command and its arguments; not empty
        command: Vec<OsString>,
    },
    /// Judge a file by another
    Compare {
        /// The baseline
        baseline: PathBuf,
        /// What is judged
        new: PathBuf,
    },
    /// Judge a command by another, both run in turns
    Ab {
        /// The command that was
        a: OsString,
        /// The command that is
        b: OsString,
    },
}

/// Files for the gate's answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GateOutputs {
    /// `goobserve.gate/1`
    pub json: Option<PathBuf>,
    /// Markdown
    pub markdown: Option<PathBuf>,
    /// `JUnit` XML
    pub junit: Option<PathBuf>,
}

/// What `goobserve doctor` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DoctorOptions {
    /// File for what was found, as JSON
    pub json: Option<PathBuf>,
    /// Common flags
    pub common: Common,
}

/// What `goobserve serve gateway` was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayOptions {
    /// Where to listen
    pub listen: SocketAddr,
    /// Listen beyond this machine
    pub allow_remote: bool,
    /// Files of certificates and key, where TLS is served
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What clients call this machine; `None`: by its address
    pub host: Option<String>,
    /// The proxies to ask; `None`: go's own
    pub upstream: Option<OsString>,
    /// The folder of the cache; `None`: the default one
    pub cache: Option<PathBuf>,
    /// Bytes of the cache; 0: none on disk
    pub cache_size: u64,
    /// A main module whose download is to be prepared
    pub module_dir: Option<PathBuf>,
    /// It is one command's, and ends with stdin
    pub for_command: bool,
    /// Common flags
    pub common: Common,
}

/// What `goobserve serve dns` was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsOptions {
    /// Where to listen
    pub listen: SocketAddr,
    /// The name servers to ask; none: those of `/etc/resolv.conf`
    pub servers: Vec<SocketAddr>,
    /// Names to have ready
    pub names: Vec<String>,
    /// Open sockets to serve at, instead of new ones: UDP, TCP
    pub sockets: Vec<i32>,
    /// It is one command's, and ends with stdin
    pub for_command: bool,
    /// Common flags
    pub common: Common,
}

/// What `goobserve report` was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReportOptions {
    /// The recording; `-` is stdin
    pub file: PathBuf,
    /// Another one, beside it on the same page
    pub second: Option<PathBuf>,
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
    /// `goobserve.recording/3`
    Recording,
    /// OTLP/JSON
    Otlp,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn no_color_and_pipes_are_respected_unless_reported_otherwise() {
        let no = Some(OsStr::new("1"));
        assert!(ColorChoice::Auto.decide(true, None));
        assert!(ColorChoice::Auto.decide(true, Some(OsStr::new(""))));
        assert!(!ColorChoice::Auto.decide(true, no));
        assert!(!ColorChoice::Auto.decide(false, None));
        assert!(ColorChoice::Always.decide(false, no));
        assert!(!ColorChoice::Never.decide(true, None));
    }
}
