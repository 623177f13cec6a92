//! The tables of a command: what each row is, how it is sorted.

mod connections;
mod dns;
mod processes;
mod requests;

use model::human::moment;
use model::record::Phase;
use model::state::CommandState;
use model::time::{Ns, SinceStart};

use super::table::Source;
use super::theme::{Theme, fill};
use super::view::Tab;

/// What every table looks at.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The command
    pub command: &'a CommandState,
    /// The present
    pub now: SinceStart,
    /// Colours
    pub theme: Theme,
}

/// The table of a tab; `None` where it has none.
pub(super) fn source<'a>(tab: Tab, subject: Subject<'a>) -> Option<Box<dyn Source + 'a>> {
    Some(match tab {
        Tab::Requests => Box::new(requests::Requests(subject)),
        Tab::Dns => Box::new(dns::Queries(subject)),
        Tab::Connections => Box::new(connections::Connections(subject)),
        Tab::Processes => Box::new(processes::Processes::new(subject)),
        Tab::Timeline | Tab::Stalls => return None,
    })
}

impl Subject<'_> {
    /// A moment, as seconds since the command began.
    pub(super) fn moment(&self, at: SinceStart) -> String {
        moment(at.saturating_sub(self.command.wall(self.now).0))
    }

    /// How long something took, or takes.
    fn took(&self, start: SinceStart, end: Option<SinceStart>) -> Ns {
        end.unwrap_or(self.now).saturating_sub(start)
    }

    /// When something was, in the command's time: a waterfall of one row.
    fn strip(
        &self,
        columns: u16,
        start: SinceStart,
        answered: Option<SinceStart>,
        end: Option<SinceStart>,
        phase: Phase,
    ) -> String {
        let (from, until) = self.command.wall(self.now);
        let length = u128::from(until.saturating_sub(from).max(1));
        let column = |at: SinceStart| {
            let at = u128::from(at.saturating_sub(from)) * u128::from(columns) / length;
            at.min(u128::from(columns.saturating_sub(1)))
        };
        let (first, last) = (column(start), column(end.unwrap_or(self.now)));
        let answer = answered.map_or(u128::MAX, column);
        (0..u128::from(columns))
            .map(|at| match at {
                at if at < first || at > last => " ",
                at if at == last && end.is_none() => "▶",
                at => fill(phase, at >= answer && answer < last),
            })
            .collect()
    }
}
