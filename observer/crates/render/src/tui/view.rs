//! What is being looked at: the part of the dashboard that keys change.

use std::collections::BTreeMap;

use model::id::CommandId;
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
    /// The list of commands
    pub commands: ListView,
    /// By tab: its table
    pub lists: [ListView; Tab::ALL.len()],
    /// The timeline
    pub timeline: TimelineView,
    /// What rows must contain, in lower case
    pub filter: String,
    /// The filter is being typed
    pub typing: bool,
    /// The help is shown
    pub help: bool,
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
}
