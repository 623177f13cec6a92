//! Ends of commands in, out which of them are over for good, and which are to be forgotten: what
//! keeps a watch that goes on for days as small as one of an hour.

use std::collections::VecDeque;

use crate::id::CommandId;
use crate::time::{Ns, SinceStart};

/// Ended commands that the dashboard goes on showing.
pub const SHOWN_MAX: usize = 20;
/// An ended command is kept that long, for events that come after its end (its sockets').
const DELAYED_NS: Ns = 2_000_000_000;

/// Commands that have ended and are still known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// Those of which something may still come, and when they ended
    ended: Vec<(CommandId, SinceStart)>,
    /// Those that are only shown, the oldest first
    shown: VecDeque<CommandId>,
    shown_max: usize,
}

/// What is to be done about them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Due {
    /// Nothing more comes of these
    pub over: Vec<CommandId>,
    /// Nobody looks at these any more
    pub forgotten: Vec<CommandId>,
}

impl Retained {
    /// So many are still shown when nothing more comes of them.
    pub fn showing(shown_max: usize) -> Self {
        Self { shown_max, ..Self::default() }
    }

    /// A command has ended.
    pub fn ended(&mut self, command: CommandId, at_ns: SinceStart) {
        self.ended.push((command, at_ns));
    }

    /// Of some something may still come.
    pub const fn expects(&self) -> bool {
        !self.ended.is_empty()
    }

    /// What has become due at `now`.
    pub fn due(&mut self, now: SinceStart) -> Due {
        let (over, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.ended)
            .into_iter()
            .partition(|(_, at)| now.saturating_sub(*at) > DELAYED_NS);
        self.ended = ended;
        let over: Vec<CommandId> = over.into_iter().map(|(command, _)| command).collect();
        self.shown.extend(&over);
        let surplus = self.shown.len().saturating_sub(self.shown_max);
        Due { over, forgotten: self.shown.drain(..surplus).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Ns = 1_000_000_000;

    #[test]
    fn an_ended_command_is_over_when_its_sockets_have_had_time_to_close() {
        let mut kept = Retained::default();
        kept.ended(CommandId(7), SinceStart(10 * S));
        assert_eq!((kept.due(SinceStart(12 * S)), kept.expects()), (Due::default(), true));
        assert_eq!(
            kept.due(SinceStart(12 * S + 1)),
            Due { over: vec![CommandId(7)], forgotten: vec![CommandId(7)] }
        );
        assert!(!kept.expects());
    }

    #[test]
    fn the_last_ones_are_shown_until_others_take_their_place() {
        let mut kept = Retained::showing(2);
        (1..=5).for_each(|command| kept.ended(CommandId(command), SinceStart(S)));
        assert_eq!(
            kept.due(SinceStart(9 * S)),
            Due {
                over: vec![CommandId(1), CommandId(2), CommandId(3), CommandId(4), CommandId(5)],
                forgotten: vec![CommandId(1), CommandId(2), CommandId(3)]
            }
        );
        kept.ended(CommandId(6), SinceStart(9 * S));
        assert_eq!(
            kept.due(SinceStart(12 * S)),
            Due { over: vec![CommandId(6)], forgotten: vec![CommandId(4)] }
        );
    }
}
