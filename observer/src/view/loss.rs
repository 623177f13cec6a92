//! What was not seen in, a sentence out.

use super::human::{count, duration, moment};
use crate::model::record::{Gap, Loss};
use crate::model::report::Command;

/// In words; `None` when nothing was lost.
pub fn sentence(loss: &Loss) -> Option<String> {
    let parts = [
        (loss.kernel_events_lost, "kernel event", "lost"),
        (loss.events_undecoded, "event", "not understood or not kept"),
        (loss.connections_joined_late, "connection", "seen only after its beginning"),
    ];
    let lost: Vec<String> = parts
        .iter()
        .filter(|part| part.0 > 0)
        .map(|(n, what, how)| format!("{} {how}", count(*n, what)))
        .collect();
    (!lost.is_empty()).then(|| format!("{}; figures above may be too low.", lost.join(", ")))
}

/// When records of a command were lost, and how much of its time is not known because of it; `None`
/// when none were.
pub fn gaps(command: &Command) -> Option<String> {
    let at = |gap: &Gap| {
        let from = |at: u64| moment(at.saturating_sub(command.start_ns));
        format!("{} s and {} s", from(gap.start_ns), from(gap.end_ns))
    };
    let first = command.gaps.first().map(at)?;
    let more = match command.gaps.len() {
        1 => String::new(),
        n => format!(", and {}", count(n as u64 - 1, "more time")),
    };
    let unknown = duration(command.unknown_ns);
    Some(format!("Records were lost between {first}{more}: what {unknown} of the time went to is not known."))
}
