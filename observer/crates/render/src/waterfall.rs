//! A command's spans in, a waterfall out: groups of rows of bars, with marks on them, in times.
//! Bounded: bars that would be too small to distinguish become one that says how many it stands
//! for, and what is left out is counted. Drawing is [`super::html`]'s.

pub mod list;
mod merge;
mod spans;

use model::record::Phase;
use model::state::CommandState;
use model::time::{Ns, SinceStart};

/// Groups drawn; the busiest are kept.
const GROUPS: usize = 24;
/// Rows of a group: so many spans at once.
const ROWS: usize = 12;
/// Gaps drawn.
const GAPS: usize = 60;
/// Marks of a group.
const PINS: usize = 60;

/// A waterfall.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Waterfall {
    /// When it begins
    pub start_ns: SinceStart,
    /// When it ends
    pub end_ns: SinceStart,
    /// What it shows, by start
    pub groups: Vec<Group>,
    /// Groups that are not drawn
    pub more: usize,
    /// From when to when records were lost
    pub gaps: Vec<(SinceStart, SinceStart)>,
}

/// Rows that belong together: a connection, a name server.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Group {
    /// What it is
    pub title: String,
    /// More of it
    pub detail: String,
    /// From when to when it was there, where that is more than its bars
    pub life: Option<(SinceStart, SinceStart)>,
    /// Rows of bars that do not overlap
    pub rows: Vec<Vec<Bar>>,
    /// Spans for which no row was left
    pub more: usize,
    /// Single moments
    pub pins: Vec<Pin>,
}

/// One span, or several that are too small to be distinguished.
#[derive(Clone, PartialEq, Debug)]
pub struct Bar {
    /// Its phase; of several, the one that took longest
    pub phase: Phase,
    /// When it began
    pub start_ns: SinceStart,
    /// When it ended
    pub end_ns: SinceStart,
    /// When the answer began to come
    pub first_byte_ns: Option<SinceStart>,
    /// It failed, or one of them
    pub error: bool,
    /// It had not ended
    pub open: bool,
    /// How many spans it stands for
    pub count: usize,
    /// Time of its phase in it
    pub busy_ns: Ns,
    /// In few words, for on it
    pub label: String,
    /// In a sentence
    pub note: String,
}

/// What a mark says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sign {
    /// A SYN was retransmitted
    Syn,
    /// A segment was retransmitted
    Retransmission,
    /// A reset
    Reset,
    /// A window was closed
    ZeroWindow,
}

/// Moments of one kind, close together.
#[derive(Clone, PartialEq, Debug)]
pub struct Pin {
    /// Which kind
    pub sign: Sign,
    /// When the first was
    pub at_ns: SinceStart,
    /// How many
    pub count: usize,
    /// In a sentence
    pub note: String,
}

/// What a command did up to `now`, in about `most` bars.
pub fn waterfall(command: &CommandState, now: SinceStart, most: usize) -> Waterfall {
    let (start_ns, end_ns) = command.wall(now);
    let mut groups = spans::groups(command, start_ns, end_ns);
    let more = groups.len().saturating_sub(GROUPS);
    if more > 0 {
        groups.sort_by_key(|group| std::cmp::Reverse(group.busy()));
        groups.truncate(GROUPS);
    }
    groups.sort_by_key(|group| (group.order, group.start()));
    let wall = end_ns.saturating_sub(start_ns);
    let gaps = command.gaps.iter().map(|gap| (gap.start_ns.max(start_ns), gap.end_ns.min(end_ns)));
    let gaps = gaps.filter(|(from, to)| from < to).take(GAPS).collect();
    let groups = groups.into_iter().map(spans::Raw::rows).collect();
    let mut waterfall = Waterfall { start_ns, end_ns, groups, more, gaps };
    for group in &mut waterfall.groups {
        merge::pins(&mut group.pins, wall / 200);
    }
    let mut gap = wall / 1000;
    merge::bars(&mut waterfall, gap);
    while waterfall.bars() > most && gap < wall {
        gap = gap.max(1) * 2;
        merge::bars(&mut waterfall, gap);
    }
    waterfall
}

impl Waterfall {
    /// How many bars there are.
    pub fn bars(&self) -> usize {
        self.groups.iter().flat_map(|group| &group.rows).map(Vec::len).sum()
    }
}

#[cfg(test)]
#[path = "waterfall/tests.rs"]
mod tests;
