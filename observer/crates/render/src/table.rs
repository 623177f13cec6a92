//! Cells in, rows of equal columns that fit a width out.

use anstyle::Style;
use model::clean::{clean, fit, fit_middle, width};

use super::page::PLAIN;

/// Which side a column's text keeps to, and what happens to it where room is short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// Text
    Left,
    /// Numbers
    Right,
    /// Text that is cut in its middle when the row would be too wide
    Flexible,
    /// Text that is cut at its end when the row would be too wide
    Tail,
}

/// A table being filled.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Style)>>,
}

/// Columns between two cells.
const GAP: usize = 2;
/// A flexible column is never made narrower.
const LEAST: usize = 8;

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// A row of cells in the terminal's own style.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.styled(cells.map(|cell| (cell, PLAIN)));
    }

    /// A row of cells with a style each.
    pub fn styled<const N: usize>(&mut self, cells: [(String, Style); N]) {
        self.rows.push(cells.into_iter().map(|(text, style)| (clean(&text).into_owned(), style)).collect());
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows of padded cells, none wider than `room` columns.
    pub fn layout(&self, room: usize) -> Vec<Vec<(String, Style)>> {
        let widths = self.widths(room);
        self.rows.iter().map(|row| self.layout_row(row, &widths, room)).collect()
    }

    fn layout_row(&self, row: &[(String, Style)], widths: &[usize], room: usize) -> Vec<(String, Style)> {
        let mut out = Vec::with_capacity(row.len());
        let mut left = room;
        for ((index, (text, style)), column) in row.iter().enumerate().zip(&self.columns) {
            let text =
                if *column == Column::Flexible { fit_middle(text, widths[index]) } else { fit(text, left) };
            let pad = " ".repeat(widths[index].saturating_sub(width(&text)));
            let gap = if index > 0 { " ".repeat(GAP) } else { String::new() };
            let cell = match column {
                Column::Right => format!("{gap}{pad}{text}"),
                Column::Left | Column::Flexible | Column::Tail => format!("{gap}{text}{pad}"),
            };
            let cell = fit(&cell, left).into_owned();
            left = left.saturating_sub(width(&cell));
            out.push((cell, *style));
        }
        out
    }

    fn widths(&self, room: usize) -> Vec<usize> {
        let widest = |index: usize| {
            self.rows.iter().filter_map(|row| row.get(index)).map(|cell| width(&cell.0)).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let mut excess =
            (widths.iter().sum::<usize>() + GAP * self.columns.len().saturating_sub(1)).saturating_sub(room);
        while excess > 0 {
            let flexible = (0..widths.len())
                .filter(|index| matches!(self.columns[*index], Column::Flexible | Column::Tail));
            let Some(index) = flexible.max_by_key(|index| widths[*index]) else { break };
            if widths[index] <= LEAST {
                break;
            }
            widths[index] -= 1;
            excess -= 1;
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(table: &Table, room: usize) -> Vec<String> {
        let line = |row: Vec<(String, Style)>| row.into_iter().map(|(text, _)| text).collect::<String>();
        table.layout(room).into_iter().map(line).collect()
    }

    #[test]
    fn numbers_keep_right_and_text_left() {
        let mut table = Table::new(&[Column::Left, Column::Right]);
        table.row(["a".into(), "10 ms".into()]);
        table.row(["long".into(), "1 s".into()]);
        assert_eq!(text(&table, 40), ["a     10 ms", "long    1 s"]);
    }

    #[test]
    fn the_flexible_column_gives_way() {
        let mut table = Table::new(&[Column::Flexible, Column::Left]);
        table.row(["example.com/very/long".into(), "v1.0.0".into()]);
        assert_eq!(text(&table, 20), ["examp…y/long  v1.0.0"]);
    }

    proptest! {
        #[test]
        fn no_row_is_wider_than_its_room(
            cells in proptest::collection::vec(("\\PC{0,40}", ".{0,10}", "[a-z]{0,30}"), 0..5), room in 10..90usize
        ) {
            let mut table = Table::new(&[Column::Left, Column::Flexible, Column::Right]);
            cells.into_iter().for_each(|(a, b, c)| table.row([a, b, c]));
            for line in text(&table, room) {
                prop_assert!(width(&line) <= room, "{line:?}");
            }
        }
    }
}
