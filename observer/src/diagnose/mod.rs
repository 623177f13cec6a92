//! A command's spans in, stalls out: what cost time, why, and what may help. Pure.

use crate::model::record::Ns;
use crate::model::report::Stall;
use crate::model::state::CommandState;

/// What slowed a command down, seen at `now`; the costliest first.
pub fn stalls(_command: &CommandState, _now: Ns) -> Vec<Stall> {
    Vec::new()
}
