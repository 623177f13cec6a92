//! What the phases' letters and patterns stand for. In: the phases that are drawn. Out: a line.

use std::collections::BTreeSet;

use model::clean::width;
use model::record::Phase;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::lanes::{Lane, Mark};
use crate::tui::canvas::put;
use crate::tui::theme::{Theme, fill, letter, short};

/// Of a timeline: the phases in its lanes, and the marks.
pub(super) fn draw(buffer: &mut Buffer, place: Rect, lanes: &[Lane], theme: Theme) {
    let drawn = Phase::ALL.into_iter().filter(|phase| lanes.iter().any(|lane| lane.has(*phase)));
    let mut x = phases(buffer, place, drawn.collect(), theme);
    let marks: BTreeSet<Mark> =
        lanes.iter().flat_map(|lane| lane.marks.iter().map(|(_, mark)| *mark)).collect();
    for mark in marks {
        let text = format!("{} {}  ", mark.sign(), mark.words());
        if x + width(&text) as u16 > place.right() {
            break;
        }
        x = put(buffer, place, x, place.y, &text, theme.dim());
    }
}

/// Those phases, as many as there is room for; returns the column behind them. Where some are left out the line
/// says so, and the help has them all.
pub(in crate::tui) fn phases(buffer: &mut Buffer, place: Rect, phases: BTreeSet<Phase>, theme: Theme) -> u16 {
    let mut x = place.x;
    let count = phases.len();
    for (index, phase) in phases.into_iter().enumerate() {
        let (sign, name) =
            (format!("{}{}", letter(phase), fill(phase, false)), format!(" {}  ", short(phase)));
        let more = if index + 1 < count { 2 } else { 0 };
        if x + (width(&sign) + width(&name)) as u16 + more > place.right() + 2 {
            return put(buffer, place, x, place.y, "…", theme.dim());
        }
        x = put(buffer, place, x, place.y, &sign, theme.phase(phase));
        x = put(buffer, place, x, place.y, &name, theme.dim());
    }
    x
}
