//! Keys and signs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{line, put};
use super::theme::{Theme, fill, letter};
use crate::model::record::Phase;
use crate::view::words;

const KEYS: [(&str, &str); 20] = [
    ("↑ ↓ ← →  h j k l", "choose a row; move the cursor"),
    ("enter, esc", "open a command; back"),
    ("tab, 1 … 6", "the next view; that view"),
    ("g G, page up/down", "first, last row; a page"),
    ("/", "filter; enter keeps it, esc clears it"),
    ("s, S", "sort by the next column; the other way"),
    ("y", "copy the line to try"),
    ("q, Ctrl-C", "end (run: leave; interrupt the command)"),
    ("", ""),
    ("timeline", ""),
    ("d", "DNS alone: a row a name"),
    ("t", "HTTP/2 streams alone"),
    ("c", "checksum database (sumdb) alone"),
    ("+ -, wheel", "zoom around the cursor"),
    ("[ ], shift ← →", "pan"),
    ("0, f", "all of it; follow the present"),
    ("space", "hold still (replay: play, pause)"),
    ("", ""),
    ("< >", "replay: slower, faster"),
    (", .", "replay: five seconds back, on"),
];

const SIGNS: [(&str, &str); 7] = [
    ("▶", "goes on"),
    ("✗", "failed"),
    ("×", "a segment was sent again"),
    ("!", "a reset"),
    ("0 o", "a window closed, opened again"),
    ("░▓ ▒█", "waiting for the answer; it flows"),
    ("LOSS", "something was not seen"),
];

/// Draws it.
pub fn draw(buffer: &mut Buffer, area: Rect, theme: Theme) {
    let half = area.width / 2;
    let left = Rect { width: half.saturating_sub(1), ..area };
    let right = Rect { x: area.x + half, width: area.width - half, ..area };
    for (down, (keys, what)) in KEYS.iter().enumerate() {
        let place = line(left, down as u16);
        let style = if what.is_empty() { theme.dim() } else { theme.bold() };
        put(buffer, place, place.x, place.y, keys, style);
        put(buffer, place, place.x + 18, place.y, what, Style::new());
    }
    let mut down = 0;
    for phase in Phase::ALL {
        let place = line(right, down);
        let sign = format!(" {} ", letter(phase));
        let x = put(buffer, place, place.x, place.y, &sign, theme.on_phase(phase));
        let bar = fill(phase, false).repeat(2);
        let x = put(buffer, place, x, place.y, &bar, theme.phase(phase)) + 1;
        put(buffer, place, x, place.y, &format!("{:<12}", phase.name()), theme.bold());
        put(buffer, place, x + 12, place.y, words::phase(phase), theme.dim());
        down += 1;
    }
    down += 1;
    for (sign, what) in SIGNS {
        let place = line(right, down);
        put(buffer, place, place.x, place.y, sign, theme.bold());
        put(buffer, place, place.x + 6, place.y, what, Style::new());
        down += 1;
    }
}
