//! What is being looked at: the part of the dashboard that keys change.

use std::collections::BTreeMap;

use model::id::{CommandId, ConnectionId, DnsId, Pid, RequestId};
use model::time::{Ns, SinceStart};

use super::theme::Theme;

/// What a command's screen shows under its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names are the titles")]
pub enum Tab {
    #[default]
    Timeline,
    Requests,
    Dns,
    Connections,
    Processes,
    Stalls,
}

impl Tab {
    /// All, in the order of the keys 1 to 6.
    pub const ALL: [Self; 6] =
        [Self::Timeline, Self::Requests, Self::Dns, Self::Connections, Self::Processes, Self::Stalls];

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::Requests => "requests",
            Self::Dns => "dns",
            Self::Connections => "connections",
            Self::Processes => "processes",
            Self::Stalls => "stalls",
        }
    }

    /// The one `by` steps further, round and round.
    #[must_use]
    pub const fn step(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }
}

/// One family of stalls, singled out in the timeline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Focus {
    /// Name servers: a row a name and type
    Dns,
    /// HTTP/2: which streams wait on which connection, and its losses
    Streams,
    /// The checksum database
    Sumdb,
}

/// One thing of a command that can be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A request
    Request(RequestId),
    /// A connection
    Connection(ConnectionId),
    /// A query to a name server
    Query(DnsId),
    /// A process
    Process(SinceStart, Pid),
    /// What was found, by its place in the list
    Stall(usize),
    /// Everything with one host
    Host(String),
}

/// What was opened, and the chosen line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What
    pub target: Target,
    /// Which of the lines that can be chosen
    pub line: usize,
}

impl Opened {
    /// Opened just now.
    pub const fn new(target: Target) -> Self {
        Self { target, line: 0 }
    }
}

/// A list with a chosen row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListView {
    /// The chosen row, from the first
    pub row: usize,
    /// Which of the list's columns it is sorted by; `None`: its usual one
    pub sort: Option<usize>,
    /// The other way round
    pub reversed: bool,
}

/// Which part of the time is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimelineView {
    /// How much time; `None`: all of the command's
    pub length: Option<Ns>,
    /// Its end; `None`: it follows the present
    pub end: Option<SinceStart>,
    /// The chosen row, from the first
    pub row: usize,
    /// The moment under the cursor; `None`: no cursor
    pub at: Option<SinceStart>,
    /// A family alone
    pub focus: Option<Focus>,
}

/// A recording that is played.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Playing {
    /// Time passes
    pub runs: bool,
    /// How fast
    pub speed: f64,
    /// Its end
    pub end: SinceStart,
}

/// What the keys have done so far.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct View {
    /// The present; `None`: the end of what is known
    pub now: Option<SinceStart>,
    /// Since when every thread of a command sleeps: `Some(None)` within when one works. A command
    /// that is absent is not known about
    pub asleep: BTreeMap<CommandId, Option<SinceStart>>,
    /// Names of users by number; none of a recording, whose machine may be another
    pub users: BTreeMap<u32, String>,
    /// Colours
    pub theme: Theme,
    /// The command that was opened. `None`: the only one, or the list
    pub command: Option<CommandId>,
    /// What is shown of it
    pub tab: Tab,
    /// What was opened of it, one from the other; the last is shown
    pub open: Vec<Opened>,
    /// What has ended is left out
    pub hide_ended: bool,
    /// Only what went on within so long before the present is shown; `None`: all
    pub last: Option<Ns>,
    /// The list of commands
    pub commands: ListView,
    /// By tab: its table
    pub lists: [ListView; Tab::ALL.len()],
    /// The timeline
    pub timeline: TimelineView,
    /// Words that rows must contain, all of them, in lower case
    pub filter: String,
    /// The filter is being typed
    pub typing: bool,
    /// The help is shown
    pub help: bool,
    /// From which line on, where there is no room for all of it
    pub help_line: usize,
    /// With a recording
    pub playing: Option<Playing>,
    /// A line at the foot that a key has caused
    pub note: Option<String>,
    /// With `run`: what the command printed last, a line each
    pub output: Option<Vec<String>>,
    /// The present stands still
    pub paused: bool,
    /// Nothing is seen yet
    pub starting: bool,
    /// With `run`, once the command has ended: its report, a line each, and the first line shown
    pub report: Option<(Vec<String>, usize)>,
    /// It is on the screen
    pub reading: bool,
}

impl View {
    /// Time does not pass, and nothing new comes: what was made of an earlier moment is not good enough.
    pub fn stands(&self) -> bool {
        self.report.is_some() || self.playing.is_some_and(|playing| !playing.runs)
    }

    /// What of a list is wanted.
    pub fn narrow(&self, now: SinceStart) -> Narrow<'_> {
        let since = self.last.map(|last| now.earlier_by(last));
        Narrow { filter: &self.filter, hide_ended: self.hide_ended, since }
    }
}

/// What of a list is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Narrow<'a> {
    /// Words that a row must contain
    pub filter: &'a str,
    /// What has ended is left out
    pub hide_ended: bool,
    /// What ended before is left out, too
    pub since: Option<SinceStart>,
}

impl Narrow<'_> {
    /// Whether something that ended then is wanted.
    pub fn time(&self, end: Option<SinceStart>) -> bool {
        end.is_none_or(|end| !self.hide_ended && self.since.is_none_or(|since| end >= since))
    }

    /// Whether a text has every word of the filter.
    pub fn text(&self, haystack: impl FnOnce() -> String) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let haystack = haystack().to_lowercase();
        self.filter.split_whitespace().all(|word| haystack.contains(word))
    }
}
