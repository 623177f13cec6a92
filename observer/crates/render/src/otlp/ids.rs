//! Numbers of traces and spans. In: which observation, which command, which record of it. Out: ids that are as good as
//! random and the same each time the same recording is exported, so that what is sent twice is one thing.

use std::hash::Hash;

use model::report::Report;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Command;

/// What a span is of. The number is the record's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Of {
    Command,
    Phase(u8),
    Setup(u32),
    Connect(u32),
    Tls(u32),
    Tunnel(u32),
    Dns(u32),
    Request(u32),
    /// What has no number: its place among the command's
    Other(u32),
}

/// Gives the ids of one command.
#[derive(Clone)]
pub(super) struct Ids {
    hasher: SipHasher13,
    pub trace: String,
    /// The span that the command is part of, by its caller
    pub parent: Option<String>,
    pub trace_state: Option<String>,
    /// W3C's flags
    pub flags: u8,
}

/// `SpanFlags`: whether the parent is known to be another process's, and that it is.
const REMOTE_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

impl Ids {
    pub(super) fn new(report: &Report, command: &Command) -> Self {
        let mut hasher = SipHasher13::new();
        let machine = &report.machine;
        (&report.recording_id, report.started_unix_ns, &machine.host_name, &machine.kernel).hash(&mut hasher);
        (u64::from(command.id), command.start_ns.0, &command.argv).hash(&mut hasher);
        let caller = command.go.caller.as_deref().filter(|caller| caller.trace_id.is_some());
        let own = || format!("{:032x}", hasher.finish128().as_u128().max(1));
        Self {
            trace: caller.and_then(|caller| caller.trace_id.clone()).unwrap_or_else(own),
            parent: caller.and_then(|caller| caller.parent_span_id.clone()),
            trace_state: caller.and_then(|caller| caller.trace_state.clone()),
            // Without a parent it is ours to decide, and everything is sampled.
            flags: caller.and_then(|caller| caller.trace_flags).unwrap_or(1),
            hasher,
        }
    }

    pub(super) fn span(&self, of: Of) -> String {
        let mut hasher = self.hasher;
        of.hash(&mut hasher);
        format!("{:016x}", hasher.finish128().h1.max(1))
    }

    /// Flags of a span: of the command's own its parent is another process's, where it has one.
    pub(super) fn span_flags(&self, of: Of) -> u32 {
        let remote = if of == Of::Command && self.parent.is_some() { REMOTE } else { 0 };
        u32::from(self.flags) | REMOTE_KNOWN | remote
    }
}
