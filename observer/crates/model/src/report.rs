//! A state in, `goobserve.report/1` out: exactly the fields of observer/schema, in the order of docs/contract.md.
//! Times are integer nanoseconds from the start of the observation; `None` is "not known".

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::{self, Evidence};
use super::phases::Split;
use super::record::{self, CpuQuota, Gap, Local, Loss, Machine, Phase, Process, is_false};
pub use super::record::{Connection, Dns, Request};
use super::stall::StallName;
use crate::id::CommandId;
use crate::time::{Ns, SinceStart};

/// The report's schema.
pub const SCHEMA: &str = "goobserve.report/1";

/// What was observed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `goobserve.report/1`
    pub schema: String,
    /// `goobserve 0.1.0`
    pub tool: String,
    /// Wall clock at the start of the observation
    pub started_unix_ns: u64,
    /// The observation's own number: 32 hexadecimal digits, random; absent of earlier recordings
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_id: Option<String>,
    /// Its length
    pub duration_ns: Ns,
    /// The machine
    pub machine: Machine,
    /// Remedies in force, as after `--with`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
    /// Commands, by number
    pub commands: Vec<Command>,
    /// Their processes, by start
    pub processes: Vec<Process>,
    /// Their DNS queries, as they were asked
    pub dns: Vec<Dns>,
    /// Their connections, by number
    pub connections: Vec<Connection>,
    /// Their requests, as they were made
    pub requests: Vec<Request>,
    /// What was not seen
    pub loss: Loss,
}

/// A go command (with `run`: CMD) and where its time went.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Number of the command in this observation, from 1
    pub id: CommandId,
    /// Arguments, the program first
    pub argv: Vec<String>,
    /// User
    pub uid: Option<u32>,
    /// Working folder
    pub cwd: Option<String>,
    /// Control group
    pub cgroup: Option<String>,
    /// How a limit of the control group held it up
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<CpuQuota>,
    /// The container that it is in; absent of one in none, or in the same as goobserve
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<record::Container>,
    /// The service that it has run its containers
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<record::Service>,
    /// When it began
    pub start_ns: SinceStart,
    /// How long it ran already when it was found, then at `start_ns`; absent for one whose beginning was
    /// seen, or when nobody knows
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ns: Option<Ns>,
    /// How long it took; of one that still ran, how long it was observed
    pub wall_ns: Ns,
    /// It ended; how is not known when it has neither an exit code nor a signal
    #[serde(default)]
    pub ended: bool,
    /// Exit code of the topmost process; `None` when a signal ended it, it still ran, or its end was
    /// not seen
    pub exit_code: Option<i32>,
    /// Signal that ended it
    pub signal: Option<i32>,
    /// Whom to blame for its failure; absent of one that did not fail, or still ran
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
    /// By what evidence, in one sentence
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame_why: Option<String>,
    /// Binary and settings
    pub go: record::Go,
    /// Every phase, in table order; their `blocked_ns` add up to `wall_ns`
    pub phases: Vec<PhaseShare>,
    /// `local` in parts; `None` when the scheduler was not observed
    pub local: Option<Local>,
    /// Of the time that is `unexplained`: that of which records were lost, so that what it went to is
    /// not known
    #[serde(default)]
    pub unknown_ns: Ns,
    /// When records of it were lost
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Hosts, the costliest first
    pub hosts: Vec<HostShare>,
    /// Findings
    pub stalls: Vec<Stall>,
}

impl Command {
    /// Whether the end of something that began at `start_ns` may be among records that were lost.
    pub fn may_miss_end(&self, start_ns: SinceStart) -> bool {
        self.gaps.iter().any(|gap| gap.end_ns > start_ns)
    }

    /// The hosts that it waited for at all, the longest first: with others something else was in flight all
    /// the time.
    pub fn waited_for(&self) -> &[HostShare] {
        let waited = self.hosts.iter().take_while(|host| host.blocked_ns > 0).count();
        &self.hosts[..waited]
    }
}

/// Whom to blame for a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The network, or a server in it: the same command may succeed when it is run again
    Network,
    /// This machine: its certificates, its rules, its limits
    Machine,
    /// The command: what it asks for, its settings, its credentials, the code that it builds
    Command,
    /// Nobody can say from what was seen
    Unknown,
}

impl Blame {
    /// Its name, as scripts see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Machine => "machine",
            Self::Command => "command",
            Self::Unknown => "unknown",
        }
    }
}

/// One phase's part of a command.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PhaseShare {
    /// The phase
    pub phase: Phase,
    /// Wall time it is answerable for
    pub blocked_ns: Ns,
    /// Union of its operations, overlap counted once
    pub busy_ns: Ns,
    /// Operations
    pub count: u64,
    /// Of them, failed
    pub errors: u64,
    /// Median duration of an operation, nearest rank; `None` without operations
    pub p50_ns: Option<Ns>,
    /// 95th percentile
    pub p95_ns: Option<Ns>,
    /// 99th percentile
    pub p99_ns: Option<Ns>,
    /// The longest
    pub max_ns: Option<Ns>,
    /// Payload bytes received; `None` for phases that carry none
    pub bytes: Option<u64>,
}

/// One host's part of a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HostShare {
    /// Name, or `address:port` where no name is known
    pub host: String,
    /// Wall time it is answerable for
    pub blocked_ns: Ns,
    /// The same by phase; a phase in which it took no part is absent
    pub phases: BTreeMap<Phase, Ns>,
}

/// How bad a stall is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing
    Info,
    /// Cost time that can be saved
    Warning,
    /// Made the command fail, or cost much of its time
    Critical,
}

/// A finding.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stall {
    /// Its name in the catalogue
    pub kind: StallName,
    /// The phase it is in
    pub phase: Phase,
    /// Whom it is about
    pub host: Option<String>,
    /// How bad it is
    pub severity: Severity,
    /// When it began
    pub start_ns: SinceStart,
    /// When it ended
    pub end_ns: SinceStart,
    /// Blocked time that it cost
    pub cost_ns: Ns,
    /// In one sentence
    pub summary: String,
    /// What was seen
    #[serde(with = "evidence")]
    #[schemars(with = "Vec<evidence::Entry<'static>>")]
    pub evidence: Vec<Evidence>,
    /// What to do, in a sentence, for who reads it here and now: in no file
    #[serde(skip)]
    pub advice: String,
    /// The command failed, likely because of it
    #[serde(default, rename = "ended_command", skip_serializing_if = "is_false")]
    pub fatal: bool,
    /// What may help
    pub remedies: Vec<Remedy>,
}

/// Something that may help, and how to find out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// As in `--with`
    pub name: String,
    /// Why it may help
    pub why: String,
    /// The command that tries it
    #[serde(rename = "try")]
    pub attempt: String,
}

/// One command's part of the report, its time already split; stalls and gaps are added by whoever
/// knows them.
pub fn described(record: &record::Command, split: &Split) -> Command {
    let phase = |(phase, share): (Phase, &super::phases::Share)| PhaseShare {
        phase,
        blocked_ns: share.blocked_ns,
        busy_ns: share.busy_ns,
        count: share.count,
        errors: share.errors,
        p50_ns: share.durations.map(|durations| durations.p50_ns),
        p95_ns: share.durations.map(|durations| durations.p95_ns),
        p99_ns: share.durations.map(|durations| durations.p99_ns),
        max_ns: share.durations.map(|durations| durations.max_ns),
        bytes: share.bytes,
    };
    let host = |host: &super::phases::HostShare| HostShare {
        host: host.host.clone(),
        blocked_ns: host.blocked_ns,
        phases: host.phases.clone(),
    };
    Command {
        id: record.id,
        argv: record.argv.clone(),
        uid: record.uid,
        cwd: record.cwd.clone(),
        cgroup: record.cgroup.clone(),
        cpu_quota: record.cpu_quota,
        container: record.container.as_deref().cloned(),
        service: record.service.as_deref().cloned(),
        start_ns: record.start_ns,
        age_ns: record.age_ns,
        wall_ns: split.wall_ns,
        ended: record.wall_ns.is_some(),
        exit_code: record.exit_code,
        signal: record.signal,
        blame: None,
        blame_why: None,
        go: record.go.clone(),
        phases: Phase::ALL.into_iter().zip(&split.phases).map(phase).collect(),
        local: split.local,
        unknown_ns: split.unknown_ns,
        gaps: Vec::new(),
        hosts: split.hosts.iter().map(host).collect(),
        stalls: Vec::new(),
    }
}
