//! `goobserve replay`: a recording in, played on the terminal.

use std::io::IsTerminal as _;

use model::user_error::UserError;
use render::tui::replay::{self, Recording};

use super::recording;
use crate::cli::options::ReplayOptions;

/// Events of a recording that are played: it is held in memory, about half a kilobyte each.
const EVENTS_MAX: usize = 2_000_000;

/// Plays a recording on the terminal.
pub(super) fn execute(options: &ReplayOptions) -> Result<(), UserError> {
    let events = recording::open(&options.file)?.take(EVENTS_MAX).collect::<Result<Vec<_>, _>>();
    let mut recording = Recording::new(events.map_err(|error| recording::refused(&options.file, &error))?);
    if !std::io::stdout().is_terminal() || super::is_dumb() {
        return Err(UserError::new(
            "replay draws on a terminal, and stdout is none that could be drawn on",
            "`goobserve report FILE` prints what a recording says",
        ));
    }
    let color = options.common.color.decide(true, std::env::var_os("NO_COLOR").as_deref());
    replay::play(&mut recording, color).map_err(|error| {
        UserError::new(
            format!("cannot draw on the terminal: {error}"),
            "`goobserve report FILE` prints what a recording says",
        )
    })
}
