//! Writing into a buffer: cleaned text, never outside of its place.

use model::clean::{clean, fit, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Writes `text` at a place within `area`, cut with `…` where it does not fit. Returns the column
/// behind it.
pub(super) fn put(buffer: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let area = area.intersection(buffer.area);
    let room = area.right().saturating_sub(x);
    if y < area.top() || y >= area.bottom() || x < area.left() || room == 0 {
        return x;
    }
    let safe = clean(text);
    let safe = fit(&safe, usize::from(room));
    buffer.set_stringn(x, y, &safe, usize::from(room), style).0
}

/// Writes words one after the other on a line of `area`; returns the column behind them.
pub(super) fn words(
    buffer: &mut Buffer,
    area: Rect,
    x: u16,
    y: u16,
    words: &[(impl AsRef<str>, Style)],
) -> u16 {
    words.iter().fold(x, |x, (text, style)| put(buffer, area, x, y, text.as_ref(), *style))
}

/// Writes `text` so that it ends at the right edge of `area`.
pub(super) fn put_right(buffer: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) {
    let room = width(&clean(text)) as u16;
    put(buffer, area, area.right().saturating_sub(room).max(area.left()), y, text, style);
}

/// One line of `area`, `down` lines below its top; empty where there is none.
pub(super) fn line(area: Rect, down: u16) -> Rect {
    area.intersection(Rect { x: area.x, y: area.y.saturating_add(down), width: area.width, height: 1 })
}

/// `area` without its first `rows` lines.
pub(super) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// What stays on the line of the number before it.
const UNITS: [&str; 9] = ["s", "ms", "µs", "ns", "min", "%", "B", "kB", "MB"];

/// Breaks a sentence at words into lines of at most `columns`.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let text = clean(text);
    let mut lines = vec![String::new()];
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let unit = |next: &&str| {
            word.ends_with(|c: char| c.is_ascii_digit())
                && UNITS.contains(&next.trim_end_matches([',', ':', ';']))
        };
        let word = words.next_if(unit).map_or_else(|| word.to_owned(), |unit| format!("{word} {unit}"));
        let last = lines.last_mut().expect("there is always a line");
        let needed = width(last) + usize::from(!last.is_empty()) + width(&word);
        if last.is_empty() {
            last.push_str(&word);
        } else if needed <= columns {
            last.push(' ');
            last.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

/// Levels of a sparkline.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Values as columns of different height; what is more than nothing can be seen.
pub(super) fn sparkline(values: &[u64]) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let level = |value: u64| LEVELS[(u128::from(value) * 8).div_ceil(u128::from(most)) as usize];
    values.iter().map(|value| level(*value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_in_its_place_and_is_cleaned() {
        let area = Rect::new(2, 1, 6, 1);
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 3));
        assert_eq!(put(&mut buffer, area, 3, 1, "a\u{1b}bcdefgh", Style::new()), 8);
        put(&mut buffer, area, 3, 2, "below", Style::new());
        put(&mut buffer, area, 8, 1, "right", Style::new());
        assert_eq!(buffer, Buffer::with_lines(["            ", "   a\\x1…    ", "            "]));
    }

    #[test]
    fn sentences_break_at_words() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("it took 2.00 s, so 5 % of 40", 12), ["it took", "2.00 s, so", "5 % of 40"]);
        assert_eq!(wrap("", 9), [""]);
    }

    #[test]
    fn the_least_is_seen_in_a_sparkline() {
        assert_eq!(sparkline(&[0, 1, 500, 1000]), " ▁▄█");
        assert_eq!(sparkline(&[]), "");
    }
}
