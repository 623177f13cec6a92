//! Events of a recording, `goobserve.recording/3`: what the model is built from, live or not.
//! One is a line of JSON. Span events hold the whole record as it is known then; a later event
//! with the same number replaces the earlier one. What changes often is an event of its own that
//! holds only what is new: [`RequestUpdate`], [`Idle`].
//!
//! In `goobserve.recording/2` a command's `local_parts` was `local`, which of a connection is an address; there
//! was no `blocked`. In `goobserve.recording/1` a `request` event came at each step, and a command's idle intervals
//! with a whole `command` event. All are still read.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::from_slice;

use super::record::{
    Command, Connection, Dns, Gap, Local, Loss, Machine, Phase, Process, Request, RequestOutcome, is_false,
};
use super::report::Stall;
use crate::id::{CommandId, ConnectionId, DnsWaitId, LockId, Pid, RequestId, StallId};
use crate::time::{Ns, SinceStart};

/// An event and when it happened.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Event {
    /// Nanoseconds from the start of the observation
    pub at_ns: SinceStart,
    /// What happened
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// First line of a recording
    Session(Session),
    /// A command began, is better known, or ended
    Command(CommandUpdate),
    /// A command slept
    Idle(Idle),
    /// A process began, ran a new program, or ended
    Process(Process),
    /// A DNS query was sent, answered or given up
    Dns(Dns),
    /// A TCP connection changed its state. Requests that it carries, bytes and round-trip times alone
    /// are no change; its last event has them all
    Connection(Connection),
    /// A request began
    Request(Request),
    /// A request was answered, or ended
    RequestUpdate(RequestUpdate),
    /// A segment was retransmitted
    Retransmission(Mark),
    /// A reset was received or sent
    Reset(ResetMark),
    /// A window closed or opened
    Window(WindowMark),
    /// A file lock is waited for, or was taken
    Lock(LockWait),
    /// A process was found waiting for a name server, or waits no longer
    DnsWait(DnsWait),
    /// The command waits
    Waiting(Waiting),
    /// Something slows the command down, does so worse, or no longer
    Stall(StallUpdate),
    /// What a command that has ended waited for
    Blocked(Blocked),
    /// Counters of what was not seen, as they are now
    Loss(Loss),
    /// Last line of a recording
    End(End),
}

impl Event {
    /// The event that a line of a recording holds; `None` when it is of a type that this version
    /// does not know.
    ///
    /// The line is read twice, its type first: serde keeps all of a tagged or flattened value in
    /// pieces until it knows its type, which takes three times as long.
    pub fn parse(line: &[u8]) -> serde_json::Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Head<'a> {
            at_ns: Option<SinceStart>,
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
        }
        let Head { at_ns, kind } = from_slice(line)?;
        let body = match &*kind {
            "session" => from_slice(line).map(Body::Session),
            "command" => CommandUpdate::parse(line).map(Body::Command),
            "idle" => from_slice(line).map(Body::Idle),
            "process" => from_slice(line).map(Body::Process),
            "dns" => from_slice(line).map(Body::Dns),
            "connection" => from_slice(line).map(Body::Connection),
            "request" => from_slice(line).map(Body::Request),
            "request_update" => from_slice(line).map(Body::RequestUpdate),
            "retransmission" => from_slice(line).map(Body::Retransmission),
            "reset" => from_slice(line).map(Body::Reset),
            "window" => from_slice(line).map(Body::Window),
            "lock" => from_slice(line).map(Body::Lock),
            "dns_wait" => from_slice(line).map(Body::DnsWait),
            "waiting" => from_slice(line).map(Body::Waiting),
            "stall" => from_slice(line).map(Body::Stall),
            "blocked" => from_slice(line).map(Body::Blocked),
            "loss" => from_slice(line).map(Body::Loss),
            "end" => from_slice(line).map(Body::End),
            _ => return Ok(None),
        };
        let at_ns = at_ns.ok_or_else(|| serde_json::Error::missing_field("at_ns"))?;
        Ok(Some(Self { at_ns, body: body? }))
    }
}

/// What is known before the first event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// `goobserve.recording/3`
    pub schema: String,
    /// `goobserve 0.1.0`
    pub tool: String,
    /// Wall clock at the start of the observation
    pub started_unix_ns: u64,
    /// This observation's own number: 32 hexadecimal digits, random; absent of earlier recordings
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_id: Option<String>,
    /// The machine
    pub machine: Machine,
    /// Remedies in force, as after `--with`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
    /// Credentials were left out when this was recorded, so that a reader need not look for them
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// A command as it is known now. In an earlier recording its idle intervals and gaps come with it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema)]
pub struct CommandUpdate {
    /// The record
    #[serde(flatten)]
    pub command: Command,
    /// Intervals in which every thread slept, `[start, end]`, in order of time, never reported twice
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle: Vec<(SinceStart, SinceStart)>,
    /// Gaps in what is known of the command, in order of time; one that begins where the last one did
    /// replaces it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

impl CommandUpdate {
    fn parse(line: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Rest {
            #[serde(default)]
            idle: Vec<(SinceStart, SinceStart)>,
            #[serde(default)]
            gaps: Vec<Gap>,
        }
        let Rest { idle, gaps } = from_slice(line)?;
        Ok(Self { command: from_slice(line)?, idle, gaps })
    }
}

/// Where a command's time went since the last such event.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Idle {
    /// The command
    pub command: CommandId,
    /// Intervals in which every thread slept, `[start, end]`, in order of time, never reported twice
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle: Vec<(SinceStart, SinceStart)>,
    /// Gaps in what is known of the command, in order of time; one that begins where the last one did
    /// replaces it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// [`Command::local`], as it is now
    #[serde(rename = "local_parts", alias = "local")]
    pub local: Option<Local>,
}

/// What is new of a request; the rest is as it was.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RequestUpdate {
    /// The command
    pub command: CommandId,
    /// [`Request::id`]
    pub id: RequestId,
    /// [`Request::status`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// [`Request::first_byte_ns`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ns: Option<SinceStart>,
    /// [`Request::end_ns`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ns: Option<SinceStart>,
    /// [`Request::bytes`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// [`Request::outcome`]
    pub outcome: RequestOutcome,
    /// [`Request::reset_code`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_code: Option<String>,
    /// [`Request::retry_after_s`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
    /// [`Request::page`]
    #[serde(default, skip_serializing_if = "is_false")]
    pub page: bool,
}

impl RequestUpdate {
    /// Enters what is new.
    pub fn enter(&self, request: &mut Request) {
        let Self {
            command: _,
            id: _,
            status,
            first_byte_ns,
            end_ns,
            bytes,
            outcome,
            reset_code,
            retry_after_s,
            page,
        } = self;
        request.status = status.or(request.status);
        request.first_byte_ns = first_byte_ns.or(request.first_byte_ns);
        request.end_ns = end_ns.or(request.end_ns);
        request.bytes = bytes.or(request.bytes);
        request.outcome = *outcome;
        if reset_code.is_some() {
            request.reset_code.clone_from(reset_code);
        }
        request.retry_after_s = retry_after_s.or(request.retry_after_s);
        request.page |= page;
    }
}

/// Something at one connection, at one moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// The command
    pub command: CommandId,
    /// The connection
    pub connection: ConnectionId,
    /// It was a SYN
    pub syn: bool,
}

/// A reset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ResetMark {
    /// The command
    pub command: CommandId,
    /// The connection
    pub connection: ConnectionId,
    /// It came from the peer
    pub received: bool,
}

/// A window closed (`zero`) or opened again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WindowMark {
    /// The command
    pub command: CommandId,
    /// The connection
    pub connection: ConnectionId,
    /// Ours, not the peer's
    pub ours: bool,
    /// Closed
    pub zero: bool,
    /// When the segment came that closed it; the event is reported with the one after it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ns: Option<SinceStart>,
}

/// A wait for a file lock.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LockWait {
    /// The command
    pub command: CommandId,
    /// Number of the wait in this observation, from 1
    pub id: LockId,
    /// The process that waits
    pub pid: Pid,
    /// The file, when it is known
    pub path: Option<String>,
    /// The repository that it guards, of the module cache's
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Pid of the holder, when it can be seen
    pub holder: Option<Pid>,
    /// When the wait began
    pub start_ns: SinceStart,
    /// When the lock was taken
    pub end_ns: Option<SinceStart>,
    /// It was waited for already when the command was found: since when is not known
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined_late: bool,
}

/// A process was found with a socket to a name server: it had asked a query that was not seen.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct DnsWait {
    /// The command
    pub command: CommandId,
    /// Number of the wait in this observation, from 1
    pub id: DnsWaitId,
    /// The process that waits
    pub pid: Pid,
    /// Its name
    pub comm: String,
    /// `address:port` of the server
    pub server: String,
    /// When it was found
    pub start_ns: SinceStart,
    /// When an answer was read, or the socket was gone
    pub end_ns: Option<SinceStart>,
}

/// A wait that lasts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The command
    pub command: CommandId,
    /// What is waited for
    pub phase: Phase,
    /// Whom
    pub host: Option<String>,
    /// Since when; of a wait that began before the observation, since when it was observed
    pub since_ns: SinceStart,
    /// It began before it could be seen
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
    /// In words
    pub summary: String,
    /// Why, in words, where a detector knows
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A wait that began before it could be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Earlier {
    /// How long it has lasted by now; `None` when the kernel does not know
    pub age_ns: Option<Ns>,
}

/// A finding while the command runs: reported when it begins, gets worse, and is over. Detectors find it
/// again in a recording, so a report does not depend on it; of a command that has ended, the last
/// event of each number is as in the report.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StallUpdate {
    /// The command
    pub command: CommandId,
    /// Number of the stall in this observation, from 1
    pub id: StallId,
    /// Whether it goes on
    pub state: StallState,
    /// As it is known now: while it goes on, `end_ns` and `cost_ns` are up to now
    #[serde(flatten)]
    pub stall: Stall,
}

/// What a command that has ended waited for: one event for each phase and host, whose `blocked_ns` add up to
/// the command's wall time. A report works it out anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Blocked {
    /// The command
    pub command: CommandId,
    /// What for
    pub phase: Phase,
    /// Whom; `None` of what concerns no host, or one that is not known
    pub host: Option<String>,
    /// Wall time it is answerable for
    pub blocked_ns: Ns,
}

/// Whether a stall goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StallState {
    /// It is waited for
    Lasts,
    /// It is waited for no longer
    Over,
    /// What was seen since is another finding, or none
    Withdrawn,
}

/// The observation ended in order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Its length
    pub duration_ns: Ns,
}
