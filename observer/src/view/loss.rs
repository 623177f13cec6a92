//! What was not seen in, a sentence out.

use super::human::count;
use crate::model::record::Loss;

/// In words; `None` when nothing was lost.
pub fn sentence(loss: &Loss) -> Option<String> {
    let parts = [
        (loss.kernel_events_lost, "kernel event", "lost"),
        (loss.events_undecoded, "event", "not understood or not kept"),
        (loss.connections_joined_late, "connection", "seen only after its beginning"),
        (loss.programs_unexamined, "program", "not examined"),
    ];
    let lost: Vec<String> = parts
        .iter()
        .filter(|part| part.0 > 0)
        .map(|(n, what, how)| format!("{} {how}", count(*n, what)))
        .collect();
    (!lost.is_empty()).then(|| format!("{}; figures above may be too low.", lost.join(", ")))
}
