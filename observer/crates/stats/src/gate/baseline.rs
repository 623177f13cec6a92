//! Baselines: `goobserve.baseline/1`, what `gate record` writes and later runs are judged by. A
//! recording is one call of `gate record`: its runs share a machine, an hour, a network's mood.
//! In: bytes. Out: a baseline, or in two lines why it is none.

use std::collections::BTreeMap;

use model::record::{Class, Machine, Phase};
use model::stall::{StallKind, StallName};
use model::time::Ns;
use model::user_error::UserError;
use model::{json, redact};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::module::Module;
use crate::compare::CacheKind;

/// The schema's name.
pub const SCHEMA: &str = "goobserve.baseline/1";
/// Bytes of a baseline that are read.
pub const LIMIT: u64 = 64 << 20;
/// Recordings that are kept in a file; the oldest go.
pub const RECORDINGS_MAX: usize = 50;

/// What later runs are judged by.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// `goobserve.baseline/1`
    pub schema: String,
    /// `goobserve 0.1.0`, which wrote it last
    pub tool: String,
    /// The command and its arguments
    pub command: Vec<String>,
    /// The caches of each run
    pub cache: CacheKind,
    /// Remedies that were in force in each run
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Oldest first; not empty
    pub recordings: Vec<Recording>,
}

/// Runs of one call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Recording {
    /// Wall clock at its first run
    pub started_unix_ns: u64,
    /// The machine
    pub machine: Machine,
    /// The kernel's name of its CPU; `None` when it reports none
    pub cpu: Option<String>,
    /// What may change between recordings and explains differences
    pub settings: Settings,
    /// The different sets of requests that its runs made
    pub requests: Vec<Vec<Requests>>,
    /// Its runs, in order; not empty
    pub runs: Vec<Run>,
    /// Stalls of its runs
    pub findings: Vec<Finding>,
}

/// What the command saw of its settings; `None` is not known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "named as go names them; as in record::Go")]
pub struct Settings {
    pub go_version: Option<String>,
    pub gomaxprocs: Option<u32>,
    pub goproxy: Option<String>,
    pub gosumdb: Option<String>,
    pub goflags: Option<String>,
    pub godebug: Option<String>,
    /// Hash of the go.mod there was
    pub go_mod: Option<String>,
    /// Hash of the go.sum there was
    pub go_sum: Option<String>,
    /// What go.mod asks for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
    /// The go commands, without the folders they are called in
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go_command: Option<String>,
}

/// Requests of one kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// What they are for
    pub class: Class,
    /// Whom they asked
    pub host: Option<String>,
    /// What was answered
    pub status: Option<u16>,
    /// The module they are about
    pub module: Option<String>,
    /// Its version
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many
    pub count: u64,
}

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Wall time
    pub wall_ns: Ns,
    /// Blocked time by phase; a phase without is absent
    pub phases: BTreeMap<Phase, Ns>,
    /// Blocked time by host
    pub hosts: BTreeMap<String, Ns>,
    /// TCP connections
    pub connections: u64,
    /// DNS queries of the command's own
    pub dns: u64,
    /// Tiles of a checksum database
    pub tiles: u64,
    /// Segments and SYNs retransmitted, and what came out of order because the peer sent it again
    pub retransmissions: u64,
    /// Which of the recording's sets of requests it made
    pub requests: usize,
    /// Events not seen, requests whose path is not known
    pub unseen: u64,
}

/// A stall of some runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its name in the catalogue
    pub kind: StallName,
    /// The phase it is in
    pub phase: Phase,
    /// Whom it is about
    pub host: Option<String>,
    /// What the first run's report said of it
    pub summary: String,
    /// Runs it was in
    pub runs: u32,
}

impl Finding {
    /// Whether the other is about the same.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.kind, self.phase, &self.host) == (&other.kind, other.phase, &other.host)
    }

    /// A private module's name left.
    pub fn is_private_name(&self) -> bool {
        self.kind == StallKind::PrivateNameLeft
    }
}

impl Baseline {
    /// Its remedies in words.
    pub fn remedies(&self) -> String {
        if self.with.is_empty() {
            "without a remedy".into()
        } else {
            format!("with {}", self.with.join(" and "))
        }
    }

    /// Reads one; `name` is its file's, for complaints.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, UserError> {
        let remake = "make one with `goobserve gate record --out FILE -- CMD`";
        let refused = |what: String| Err(UserError::new(format!("{name} {what}"), remake));
        let value: serde_json::Value = match serde_json::from_slice(bytes) {
            Ok(value) => value,
            Err(error) if error.is_eof() => return refused("is cut off, or empty".into()),
            Err(error) => return refused(format!("is no baseline: no JSON at line {}", error.line())),
        };
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) if other.starts_with("goobserve.baseline/") => {
                return Err(UserError::new(
                    format!("{name} was made by another goobserve: {}, not {SCHEMA}", plain(other)),
                    "use the goobserve that made it, or record it again with this one",
                ));
            }
            Some(other) => return refused(format!("is no baseline but {}", plain(other))),
            None => return refused("is no baseline: it names no schema".into()),
        }
        let baseline: Self = match serde_json::from_value(value) {
            Ok(baseline) => redacted(baseline),
            Err(error) => return refused(format!("is damaged: {}", plain(&error.to_string()))),
        };
        if let Some(what) = baseline.damage() {
            return refused(format!("is damaged: {what}"));
        }
        Ok(baseline)
    }

    /// As text.
    pub fn text(&self) -> String {
        json::pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// The latest recording.
    pub fn latest(&self) -> Option<&Recording> {
        self.recordings.last()
    }

    /// Adds a later recording; the oldest of too many go.
    pub fn add(&mut self, recording: Recording) {
        self.recordings.push(recording);
        let excess = self.recordings.len().saturating_sub(RECORDINGS_MAX);
        self.recordings.drain(..excess);
    }

    /// What types do not say.
    fn damage(&self) -> Option<String> {
        if self.recordings.is_empty() {
            return Some("it has no recordings".into());
        }
        for recording in &self.recordings {
            if recording.runs.is_empty() {
                return Some("a recording has no runs".into());
            }
            if recording.runs.iter().any(|run| run.requests >= recording.requests.len()) {
                return Some("a run names requests that are not there".into());
            }
            if recording.runs.iter().any(|run| run.wall_ns == 0) {
                return Some("a run took no time".into());
            }
        }
        None
    }
}

impl Recording {
    /// The requests of a run.
    pub fn requests_of(&self, run: &Run) -> &[Requests] {
        self.requests.get(run.requests).map_or(&[], Vec::as_slice)
    }

    /// A figure of every run.
    pub fn figures(&self, figure: impl Fn(&Run) -> u64) -> Vec<f64> {
        self.runs.iter().map(|run| figure(run) as f64).collect()
    }
}

/// What an earlier version wrote of credentials is left out, so that nothing shows it any more.
fn redacted(mut baseline: Baseline) -> Baseline {
    baseline.command = redact::args(&baseline.command);
    baseline.with = baseline.with.iter().map(|remedy| redact::remedy(remedy)).collect();
    for recording in &mut baseline.recordings {
        let Settings {
            go_version: _,
            gomaxprocs: _,
            goproxy,
            gosumdb,
            goflags,
            godebug,
            go_mod: _,
            go_sum: _,
            module: _,
            go_command,
        } = &mut recording.settings;
        let rule = |setting: &mut Option<String>, rule: fn(&str) -> String| {
            *setting = setting.as_deref().map(rule);
        };
        rule(goproxy, redact::proxies);
        rule(gosumdb, redact::sumdb);
        rule(goflags, redact::goflags);
        rule(godebug, redact::godebug);
        rule(go_command, redact::text);
        recording.findings.iter_mut().for_each(|finding| finding.summary = redact::text(&finding.summary));
    }
    baseline
}

/// A short piece of foreign text on one line.
fn plain(text: &str) -> String {
    let cut: String = text.chars().take(120).collect();
    model::clean::clean(&cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::gate as sample;

    fn error_of(text: &str) -> String {
        Baseline::read("b.json", text.as_bytes()).unwrap_err().what
    }

    #[test]
    fn a_written_baseline_reads_back() {
        let baseline = sample::baseline(3, 2);
        assert_eq!(Baseline::read("b.json", baseline.text().as_bytes()).unwrap(), baseline);
    }

    #[test]
    fn corrupt_foreign_and_newer_files_are_refused_in_a_clear_line() {
        let good = sample::baseline(1, 2).text();
        assert_eq!(error_of(""), "b.json is cut off, or empty");
        assert_eq!(error_of(&good[..good.len() / 2]), "b.json is cut off, or empty");
        assert_eq!(error_of("\u{7f}ELF"), "b.json is no baseline: no JSON at line 1");
        assert_eq!(error_of("{}"), "b.json is no baseline: it names no schema");
        assert_eq!(error_of("[1]"), "b.json is no baseline: it names no schema");
        let report = error_of(r#"{"schema":"goobserve.report/1"}"#);
        assert_eq!(report, "b.json is no baseline but goobserve.report/1");
        let newer = error_of(&good.replace("baseline/1", "baseline/2"));
        assert!(newer.contains("another goobserve: goobserve.baseline/2"), "{newer}");
        assert!(error_of(&good.replace("\"wall_ns\": ", "\"wall_ns\": -")).contains("damaged"));
        assert!(error_of(&good.replace("\"wall_ns\": ", "\"wall_ns\": 0, \"x\": ")).contains("no time"));
        let escape = error_of(r#"{"schema":"\u001b[2J\nfoo"}"#);
        assert!(!escape.contains('\u{1b}') && !escape.contains('\n'), "{escape}");
    }

    #[test]
    fn every_field_that_is_missing_is_damage() {
        let value = serde_json::to_value(sample::baseline(1, 1)).unwrap();
        for field in ["tool", "command", "cache", "recordings"] {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove(field);
            assert!(error_of(&value.to_string()).contains("damaged"), "{field}");
        }
    }

    #[test]
    fn the_oldest_of_too_many_recordings_go() {
        let mut baseline = sample::baseline(RECORDINGS_MAX, 1);
        let mut last = baseline.recordings[0].clone();
        last.started_unix_ns = 77;
        baseline.add(last);
        assert_eq!(
            (baseline.recordings.len(), baseline.latest().unwrap().started_unix_ns),
            (RECORDINGS_MAX, 77)
        );
    }
}
