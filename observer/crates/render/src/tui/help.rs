//! Keys and signs.

use model::record::Phase;
use model::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{line, put, put_right};
use super::theme::{Theme, fill, letter, short};
use super::view::View;

const KEYS: [(&str, &str); 22] = [
    ("enter, esc", "open; back"),
    ("↑↓←→ hjkl", "choose; move the cursor"),
    ("n, p", "the next, the previous"),
    ("L", "the longest"),
    ("x, X", "next, previous stall"),
    ("tab, 1-6", "the next view; that view"),
    ("g G, pages", "first, last; a page"),
    ("/", "filter: host:x phase:dns"),
    ("e, w", "hide ended; last seconds"),
    ("s S, click", "sort by; the other way"),
    ("y", "copy the line to try"),
    ("T", "colours: light or dark"),
    ("q, Ctrl-C", "end; the command, too"),
    ("timeline", ""),
    ("d, t, c", "DNS, HTTP/2, sumdb alone"),
    ("+ -, wheel", "zoom around the cursor"),
    ("[ ], ⇧←⇧→", "earlier, later"),
    ("0, f", "all; follow the present"),
    ("space", "hold still, go on"),
    ("recording", ""),
    ("space, < >", "pause; slower, faster"),
    (", .", "5 seconds back, on"),
];
/// Columns of the keys' names, and of keys in all.
const NAMES: u16 = 12;
const LEFT: u16 = 37;
/// Columns and lines from which on both lists are side by side.
const BOTH: (u16, u16) = (80, 22);
/// Phases and signs.
const SIGNS_ALL: usize = Phase::ALL.len() + SIGNS.len();

const SIGNS: [(&str, &str); 7] = [
    ("▶", "goes on"),
    ("✗", "failed"),
    ("×", "a segment was retransmitted"),
    ("!", "a reset"),
    ("0 o", "a window closed, opened again"),
    ("░▓ ▒█", "waiting for the answer; it flows"),
    ("UNSEEN", "what was not observed"),
];

/// Draws it: side by side where there is room, else one below the other, from the line that the view says.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View) {
    let theme = view.theme;
    if area.width >= BOTH.0 && area.height >= BOTH.1 {
        let left = Rect { width: LEFT - 1, ..area };
        let right = Rect { x: area.x + LEFT, width: area.width - LEFT, ..area };
        (0..KEYS.len()).for_each(|at| key(buffer, line(left, at as u16), at, theme));
        (0..SIGNS_ALL).for_each(|at| sign(buffer, line(right, at as u16), at, theme));
        return;
    }
    let (all, height) = (KEYS.len() + SIGNS_ALL, usize::from(area.height));
    let first = view.help_line.min(all.saturating_sub(height));
    for (down, at) in (first..all).take(height).enumerate() {
        let place = line(area, down as u16);
        match at.checked_sub(KEYS.len()) {
            None => key(buffer, place, at, theme),
            Some(at) => sign(buffer, place, at, theme),
        }
    }
    let left = all.saturating_sub(first + height);
    if left > 0 {
        put_right(buffer, area, area.bottom() - 1, &format!(" {left} more "), theme.chosen());
    }
}

fn key(buffer: &mut Buffer, place: Rect, at: usize, theme: Theme) {
    let (keys, what) = KEYS[at];
    let style = if what.is_empty() { theme.dim() } else { theme.bold() };
    put(buffer, place, place.x, place.y, keys, style);
    put(buffer, place, place.x + NAMES, place.y, what, Style::new());
}

/// Phases, then the other signs.
fn sign(buffer: &mut Buffer, place: Rect, at: usize, theme: Theme) {
    let Some(&phase) = Phase::ALL.get(at) else {
        let (sign, what) = SIGNS[at - Phase::ALL.len()];
        put(buffer, place, place.x, place.y, sign, theme.bold());
        put(buffer, place, place.x + 7, place.y, what, Style::new());
        return;
    };
    let sign = format!(" {} ", letter(phase));
    let x = put(buffer, place, place.x, place.y, &sign, theme.on_phase(phase));
    let bar = fill(phase, false).repeat(2);
    let x = put(buffer, place, x, place.y, &bar, theme.phase(phase)) + 1;
    put(buffer, place, x, place.y, short(phase), theme.bold());
    put(buffer, place, x + 10, place.y, words::phase(phase), theme.dim());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_on_the_smallest_terminal_not_even_with_a_recording() {
        let area = Rect::new(0, 0, 80, 22);
        let mut buffer = Buffer::empty(area);
        draw(&mut buffer, area, &View::default());
        let shown: String = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert!(!shown.contains('…'), "{shown}");
        assert!(shown.contains("5 seconds back, on") && shown.contains("what was not observed"), "{shown}");
    }
}
