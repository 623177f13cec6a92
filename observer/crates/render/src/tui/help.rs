//! Keys and signs.

use model::record::Phase;
use model::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{line, put};
use super::theme::{Theme, fill, letter, short};

const KEYS: [(&str, &str); 22] = [
    ("↑↓←→ hjkl", "choose; move the cursor"),
    ("enter, esc", "open; back"),
    ("tab, 1-6", "the next view; that view"),
    ("g G, pages", "first, last; a page"),
    ("/", "filter by a word"),
    ("s, S", "sort by; the other way"),
    ("y", "copy the line to try"),
    ("q", "end; run --tui: leave it"),
    ("Ctrl-C", "end; the command, too"),
    ("", ""),
    ("timeline", ""),
    ("d", "DNS alone: a row a name"),
    ("t", "HTTP/2 streams alone"),
    ("c", "checksum database alone"),
    ("+ -, wheel", "zoom around the cursor"),
    ("[ ], ⇧←⇧→", "earlier, later"),
    ("0, f", "all; follow the present"),
    ("space", "hold still, go on"),
    ("", ""),
    ("recording", ""),
    ("space, < >", "pause; slower, faster"),
    (", .", "5 seconds back, on"),
];
/// Columns of the keys' names, and of keys in all.
const NAMES: u16 = 12;
const LEFT: u16 = 37;

const SIGNS: [(&str, &str); 7] = [
    ("▶", "goes on"),
    ("✗", "failed"),
    ("×", "a segment was retransmitted"),
    ("!", "a reset"),
    ("0 o", "a window closed, opened again"),
    ("░▓ ▒█", "waiting for the answer; it flows"),
    ("LOSS", "something was not seen"),
];

/// Draws it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, theme: Theme) {
    let left = Rect { width: LEFT - 1, ..area };
    let right = Rect { x: area.x + LEFT, width: area.width - LEFT, ..area };
    for (down, (keys, what)) in KEYS.iter().enumerate() {
        let place = line(left, down as u16);
        let style = if what.is_empty() { theme.dim() } else { theme.bold() };
        put(buffer, place, place.x, place.y, keys, style);
        put(buffer, place, place.x + NAMES, place.y, what, Style::new());
    }
    let mut down = 0;
    for phase in Phase::ALL {
        let place = line(right, down);
        let sign = format!(" {} ", letter(phase));
        let x = put(buffer, place, place.x, place.y, &sign, theme.on_phase(phase));
        let bar = fill(phase, false).repeat(2);
        let x = put(buffer, place, x, place.y, &bar, theme.phase(phase)) + 1;
        put(buffer, place, x, place.y, short(phase), theme.bold());
        put(buffer, place, x + 10, place.y, words::phase(phase), theme.dim());
        down += 1;
    }
    for (sign, what) in SIGNS {
        let place = line(right, down);
        put(buffer, place, place.x, place.y, sign, theme.bold());
        put(buffer, place, place.x + 6, place.y, what, Style::new());
        down += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_on_the_smallest_terminal_not_even_with_a_recording() {
        let area = Rect::new(0, 0, 80, 22);
        let mut buffer = Buffer::empty(area);
        draw(&mut buffer, area, Theme::default());
        let shown: String = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert!(!shown.contains('…'), "{shown}");
        assert!(shown.contains("5 seconds back, on") && shown.contains("something was not seen"), "{shown}");
    }
}
