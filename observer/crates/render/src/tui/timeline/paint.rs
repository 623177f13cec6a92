//! A row of bars. In: its bars, which may be far more than there are columns. Out: cells. Of the bars that share a
//! cell the longest is drawn, so that a cell says what decided it.

use model::state::CommandState;
use model::time::SinceStart;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Window;
use super::lanes::{Bar, label};
use crate::tui::canvas::put;
use crate::tui::theme::{Theme, fill, letter};

/// Columns from which on a part of a bar has its phase's letter.
const LETTER_FROM: u16 = 3;
/// … and columns of text from which on it is named.
const NAME_FROM: u16 = 5;

/// Draws a row.
pub(super) fn row<'a>(
    buffer: &mut Buffer,
    place: Rect,
    window: Window,
    command: &CommandState,
    bars: impl Iterator<Item = &'a Bar>,
    now: SinceStart,
    theme: Theme,
) {
    let owners = owners(place.width, window, bars, now);
    let mut x = 0;
    while x < owners.len() {
        let Some(bar) = owners[x] else {
            x += 1;
            continue;
        };
        let until = x + owners[x..].iter().take_while(|owner| **owner == Some(bar)).count();
        part(buffer, place, window, command, bar, (now, theme), (x as u16, until as u16 - 1));
        x = until;
    }
}

/// Which bar each column shows.
fn owners<'a>(
    columns: u16,
    window: Window,
    bars: impl Iterator<Item = &'a Bar>,
    now: SinceStart,
) -> Vec<Option<&'a Bar>> {
    let took = |bar: &Bar| bar.end.unwrap_or(now).saturating_sub(bar.start);
    let last = i64::from(columns) - 1;
    let mut owners: Vec<Option<&Bar>> = vec![None; usize::from(columns)];
    for bar in bars {
        let (from, to) = (window.column(bar.start), window.column(bar.end.unwrap_or(now)));
        let to = to.max(from);
        if to < 0 || from > last {
            continue;
        }
        for owner in &mut owners[from.max(0) as usize..=to.min(last) as usize] {
            // An open one decides over all that have ended.
            let weight = |bar: &Bar| (bar.end.is_none(), took(bar));
            if owner.is_none_or(|owner| weight(bar) > weight(owner)) {
                *owner = Some(bar);
            }
        }
    }
    owners
}

/// A part of a bar: where it begins its letter, then what it is, then how it ended.
fn part(
    buffer: &mut Buffer,
    place: Rect,
    window: Window,
    command: &CommandState,
    bar: &Bar,
    (now, theme): (SinceStart, Theme),
    (first, last): (u16, u16),
) {
    let answered = bar.answered.map_or(i64::MAX, |moment| window.column(moment));
    for column in first..=last {
        buffer[(place.x + column, place.y)]
            .set_symbol(fill(bar.phase, i64::from(column) >= answered))
            .set_style(theme.phase(bar.phase));
    }
    let on = theme.on_phase(bar.phase);
    let begins = window.column(bar.start) == i64::from(first);
    let ends = window.column(bar.end.unwrap_or(now)) <= i64::from(last);
    let columns = last - first + 1;
    let lettered = begins && columns >= LETTER_FROM;
    if lettered {
        let mut initial = [0; 4];
        buffer[(place.x + first, place.y)]
            .set_symbol(letter(bar.phase).encode_utf8(&mut initial))
            .set_style(on);
    }
    let tip = u16::from(ends && (bar.end.is_none() || bar.failed));
    let from = first + u16::from(lettered);
    let room = (last + 1).saturating_sub(from + tip);
    if room >= NAME_FROM {
        let inside = Rect { x: place.x + from, width: room, ..place };
        let gap = if lettered { " " } else { "" };
        put(buffer, inside, inside.x, inside.y, &format!("{gap}{}", label(command, bar.id)), on);
    }
    let at = (place.x + last, place.y);
    if ends && bar.failed {
        buffer[at].set_symbol("✗").set_style(theme.bad());
    } else if ends && bar.end.is_none() && last > first {
        buffer[at].set_symbol("▶").set_style(theme.phase(bar.phase));
    }
}

#[cfg(test)]
mod tests {
    use model::id::RequestId;
    use model::record::Phase;

    use super::super::lanes::Id;
    use super::*;

    fn bar(id: u32, start: u64, end: Option<u64>) -> Bar {
        Bar {
            start: SinceStart(start),
            end: end.map(SinceStart),
            answered: None,
            phase: Phase::Proxy,
            failed: false,
            id: Id::Request(RequestId(id)),
        }
    }

    #[test]
    fn of_many_in_one_cell_the_longest_decides_and_an_open_one_over_all() {
        let window = Window { start: SinceStart(0), length: 1_000, columns: 10 };
        let bars = [bar(1, 10, Some(20)), bar(2, 30, Some(90)), bar(3, 95, Some(99)), bar(4, 150, Some(900))];
        let of = |bars: &[Bar]| -> Vec<Option<Id>> {
            owners(10, window, bars.iter(), SinceStart(1_000)).into_iter().map(|bar| Some(bar?.id)).collect()
        };
        let id = |id| Some(Id::Request(RequestId(id)));
        let shown = of(&bars);
        assert_eq!((shown[0], shown[1], shown[9]), (id(2), id(4), id(4)));
        let open = [bars[3], bar(5, 700, None)];
        assert_eq!((of(&open)[6], of(&open)[7]), (id(4), id(5)));
    }
}
