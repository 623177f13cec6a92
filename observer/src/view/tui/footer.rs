//! The foot: where a recording is, what is being typed, which keys do something here.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Drawn;
use super::canvas::{line, put, put_right};
use super::header::clock;
use super::theme::Theme;
use super::view::{Playing, Tab, View};
use crate::model::record::Ns;

/// Lines it takes.
pub fn height(view: &View) -> u16 {
    1 + u16::from(view.playing.is_some())
}

/// Draws it; returns where the recording's bar is.
pub fn draw(buffer: &mut Buffer, area: Rect, view: &View, drawn: &Drawn, now: Ns) -> Rect {
    let theme = view.theme;
    let seek =
        view.playing.map_or_else(Rect::default, |playing| player(buffer, line(area, 0), playing, theme, now));
    let place = line(area, area.height - 1);
    if let Some(note) = &view.note {
        put(buffer, place, place.x, place.y, note, theme.bold());
        return seek;
    }
    if view.typing || !view.filter.is_empty() {
        let cursor = if view.typing { "▏" } else { "" };
        let x = put(buffer, place, place.x, place.y, &format!("/{}{cursor}", view.filter), theme.bold());
        let text = if view.typing { "   enter keeps it, esc clears it" } else { "   esc clears the filter" };
        put(buffer, place, x, place.y, text, theme.dim());
        return seek;
    }
    if view.paused {
        put_right(buffer, place, place.y, " held still: space goes on ", theme.chosen());
    }
    let mut x = place.x;
    for (key, what) in keys(view, drawn) {
        x = put(buffer, place, x, place.y, key, theme.bold());
        x = put(buffer, place, x, place.y, &format!(" {what}  "), theme.dim());
    }
    seek
}

fn keys(view: &View, drawn: &Drawn) -> Vec<(&'static str, &'static str)> {
    if view.help {
        return vec![("esc", "back"), ("q", "end")];
    }
    let mut keys = Vec::new();
    if view.playing.is_some() {
        keys.extend([("space", "play"), ("<>", "speed"), (",.", "seek")]);
    }
    match (drawn.command, view.tab) {
        (None, _) => keys.extend([("enter", "open"), ("s", "sort"), ("/", "filter")]),
        (Some(_), Tab::Timeline) => {
            keys.extend([("d", "dns"), ("t", "http/2"), ("c", "sumdb"), ("+-", "zoom")]);
        }
        (Some(_), Tab::Stalls) => keys.push(("↑↓", "choose")),
        (Some(_), _) => keys.extend([("s", "sort"), ("/", "filter")]),
    }
    if drawn.command.is_some() {
        keys.push(("tab", "views"));
        if drawn.attempt.as_ref().is_some_and(|attempt| !attempt.is_empty()) {
            keys.push(("y", "copy"));
        }
        if drawn.many {
            keys.push(("esc", "all commands"));
        }
    }
    keys.extend([("?", "help"), ("q", "end")]);
    keys
}

fn player(buffer: &mut Buffer, place: Rect, playing: Playing, theme: Theme, now: Ns) -> Rect {
    let sign = if playing.runs { "▶" } else { "‖" };
    let text = format!("{sign} {} / {}  {}× ", clock(now), clock(playing.length), playing.speed);
    let x = put(buffer, place, place.x, place.y, &text, theme.bold());
    let bar = Rect { x, width: place.right().saturating_sub(x), ..place };
    let whole = playing.length.max(1);
    let done =
        (u128::from(now.min(whole)) * u128::from(bar.width.saturating_sub(1)) / u128::from(whole)) as u16;
    for column in 0..bar.width {
        let (sign, style) = match column {
            column if column < done => ("━", theme.bold()),
            column if column == done => ("●", theme.bold()),
            _ => ("─", theme.dim()),
        };
        put(buffer, bar, bar.x + column, bar.y, sign, style);
    }
    bar
}
