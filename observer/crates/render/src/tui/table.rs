//! A table with a chosen row. In: a [`Source`] of rows, sort, filter. Out: its visible part; the
//! order of the rows is kept until it is old, so that a hundred thousand rows cost no more a frame
//! than a hundred.

use std::cmp::Reverse;

use model::clean::{clean, fit, fit_middle, width};
use model::id::CommandId;
use model::time::{Ns, SinceStart};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{below, line, put, put_right};
use super::theme::Theme;
use super::view::{ListView, Narrow, Target};

/// An order is at least this old when it is made anew, and this much older for each row.
const AGE_NS: Ns = 30_000_000;
const AGE_A_ROW_NS: Ns = 20_000;

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Column {
    /// Its title
    pub title: &'static str,
    /// Columns of the terminal; 0: an equal part of what is left
    pub width: u16,
    /// Numbers end at the same place
    pub right: bool,
    /// It is left out on narrower terminals
    pub from: u16,
}

/// A column of text.
pub(super) const fn text(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width, right: false, from }
}

/// A column of numbers.
pub(super) const fn number(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width, right: true, from }
}

/// What a column is sorted by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    /// Not known: first
    Unknown,
    /// A number
    Number(u64),
    /// A text
    Text(String),
}

impl From<Option<u64>> for Key {
    fn from(value: Option<u64>) -> Self {
        value.map_or(Self::Unknown, Self::Number)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Rows, known by number.
pub(super) trait Source {
    /// Its columns.
    fn columns(&self) -> &'static [Column];
    /// The column that it is usually sorted by, and whether the largest is first.
    fn usual(&self) -> (usize, bool);
    /// Every row.
    fn rows(&self) -> Vec<u64>;
    /// What a row is sorted by.
    fn key(&self, row: u64, column: usize) -> Key;
    /// What the filter is matched with: words, and `name:value` for what has a name.
    fn haystack(&self, row: u64) -> String;
    /// When it ended; `None` while it goes on.
    fn end(&self, row: u64) -> Option<SinceStart>;
    /// What a row opens.
    fn target(&self, row: u64) -> Option<Target>;
    /// The column that says how long a row took.
    fn took(&self) -> usize;
    /// A row's cells; `widths` are the columns' (0: left out).
    fn cells(&self, row: u64, widths: &[u16]) -> Vec<(String, Style)>;
    /// More about a row, for the line below the table.
    fn detail(&self, row: u64) -> String;
    /// What is said when there is none.
    fn none(&self) -> &'static str;
}

/// Rows in order, and what they were put in order for.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Order {
    command: CommandId,
    changes: u64,
    at: SinceStart,
    list: (Option<usize>, bool),
    filter: String,
    hide_ended: bool,
    last: Option<Ns>,
    /// Numbers of the rows
    pub rows: Vec<u64>,
}

impl Order {
    /// Sorts and filters.
    pub(super) fn new(
        source: &dyn Source,
        of: (CommandId, u64),
        at: SinceStart,
        list: &ListView,
        narrow: Narrow<'_>,
    ) -> Self {
        let mut rows = source.rows();
        if narrow != Narrow::default() {
            rows.retain(|row| narrow.time(source.end(*row)) && narrow.text(|| source.haystack(*row)));
        }
        let (usual, descending) = source.usual();
        let column = list.sort.unwrap_or(usual);
        // What is chosen first: the largest numbers are what one looks for, texts begin with A.
        let descending = if list.sort.is_none_or(|sort| sort == usual) { descending } else { false };
        if descending == list.reversed {
            rows.sort_by_cached_key(|row| (source.key(*row, column), *row));
        } else {
            rows.sort_by_cached_key(|row| (Reverse(source.key(*row, column)), *row));
        }
        let list = (list.sort, list.reversed);
        let (filter, hide_ended) = (narrow.filter.to_owned(), narrow.hide_ended);
        let last = narrow.since.map(|since| at.saturating_sub(since));
        Self { command: of.0, changes: of.1, at, list, filter, hide_ended, last, rows }
    }

    /// Whether it may still be shown; `beside`: it is made anew elsewhere; `stands`: time does not pass.
    pub(super) fn serves(
        &self,
        of: (CommandId, u64),
        at: SinceStart,
        list: &ListView,
        narrow: Narrow<'_>,
        (beside, stands): (bool, bool),
    ) -> bool {
        let same = self.command == of.0
            && self.list == (list.sort, list.reversed)
            && self.filter == narrow.filter
            && self.hide_ended == narrow.hide_ended
            && self.last.is_some() == narrow.since.is_some();
        let age = AGE_NS + AGE_A_ROW_NS * self.rows.len() as Ns;
        let young = !stands && at.saturating_sub(self.at) < age;
        same && at >= self.at && (self.changes == of.1 && at == self.at || young || beside)
    }

    /// Whether it shows the same, if not the same rows.
    pub(super) fn like(&self, other: &Self) -> bool {
        (self.command, self.list, &self.filter, self.hide_ended, self.last)
            == (other.command, other.list, &other.filter, other.hide_ended, other.last)
    }
}

/// Where the rows were drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListPlace {
    /// Place of the rows
    pub area: Rect,
    /// The row on its first line
    pub first: usize,
    /// Rows there are
    pub rows: usize,
}

/// What was drawn of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Table {
    /// Its rows
    pub place: ListPlace,
    /// Where the titles are, with their columns
    pub titles: Vec<(Rect, usize)>,
    /// What the chosen row opens
    pub cursor: Option<Target>,
}

/// Draws it: titles, rows, a line about the chosen row where there is room for one.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    source: &dyn Source,
    order: &Order,
    list: &ListView,
    theme: Theme,
) -> Table {
    let columns = source.columns();
    let widths = widths(columns, area.width);
    let sorted = list.sort.unwrap_or(source.usual().0);
    let titles: Vec<(String, Style)> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            if index == sorted {
                (format!("{}{}", column.title, if list.reversed { "▴" } else { "▾" }), theme.bold())
            } else {
                (column.title.to_owned(), theme.dim())
            }
        })
        .collect();
    let titles_at = row(buffer, line(area, 0), columns, &widths, &titles);
    let foot = u16::from(area.height > 4);
    let body = Rect { height: area.height.saturating_sub(1 + foot), ..below(area, 1) };
    let rows = &order.rows;
    let chosen = list.row.min(rows.len().saturating_sub(1));
    let first = chosen.saturating_sub(usize::from(body.height).saturating_sub(1));
    for (down, number) in rows.iter().skip(first).take(usize::from(body.height)).enumerate() {
        let place = line(body, down as u16);
        row(buffer, place, columns, &widths, &source.cells(*number, &widths));
        if first + down == chosen {
            buffer.set_style(place, theme.chosen());
        }
    }
    if foot == 1 {
        let foot = line(area, area.height - 1);
        if let Some(number) = rows.get(chosen) {
            let at = format!("{}/{}", chosen + 1, rows.len());
            put_right(buffer, foot, foot.y, &at, theme.dim());
            let room = Rect { width: foot.width.saturating_sub(at.len() as u16 + 1), ..foot };
            put(buffer, room, room.x, room.y, &source.detail(*number), theme.dim());
        }
    }
    if rows.is_empty() {
        let narrowed = !order.filter.is_empty() || order.hide_ended || order.last.is_some();
        let text = if narrowed && !source.rows().is_empty() {
            "nothing is left: esc clears the filter, e and w what has ended"
        } else {
            source.none()
        };
        put(buffer, body, body.x, body.y, text, theme.dim());
    }
    let cursor = rows.get(chosen).and_then(|number| source.target(*number));
    Table { place: ListPlace { area: body, first, rows: rows.len() }, titles: titles_at, cursor }
}

/// Columns of the terminal for each column; one lies between two.
fn widths(columns: &[Column], room: u16) -> Vec<u16> {
    let shown = |column: &&Column| column.from <= room;
    let fixed: u16 = columns.iter().filter(shown).map(|column| column.width + 1).sum();
    let shares = columns.iter().filter(shown).filter(|column| column.width == 0).count() as u16;
    let left = (room + 1).saturating_sub(fixed);
    let (share, mut more) = (left / shares.max(1), left % shares.max(1));
    let width = |column: &Column| match (shown(&column), column.width) {
        (false, _) => 0,
        (true, 0) => {
            let extra = u16::from(more > 0);
            more -= extra;
            share + extra
        }
        (true, width) => width,
    };
    columns.iter().map(width).collect()
}

fn row(
    buffer: &mut Buffer,
    place: Rect,
    columns: &[Column],
    widths: &[u16],
    cells: &[(String, Style)],
) -> Vec<(Rect, usize)> {
    let mut x = place.x;
    let mut places = Vec::new();
    for (index, ((column, width_of), (text, style))) in columns.iter().zip(widths).zip(cells).enumerate() {
        if *width_of == 0 {
            continue;
        }
        let inside = Rect { x, width: *width_of, ..place }.intersection(place);
        let text = clean(text);
        let columns_of = usize::from(inside.width);
        let text = if column.width == 0 { fit_middle(&text, columns_of) } else { fit(&text, columns_of) };
        let indent = if column.right { columns_of.saturating_sub(width(&text)) as u16 } else { 0 };
        put(buffer, inside, inside.x + indent, inside.y, &text, *style);
        places.push((inside, index));
        x += width_of + 1;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_share_what_is_left_and_go_when_there_is_no_room() {
        let columns = [text("a", 0, 0), number("b", 5, 0), text("c", 0, 50)];
        assert_eq!(widths(&columns, 20), [14, 5, 0]);
        assert_eq!(widths(&columns, 60), [27, 5, 26]);
    }
}
