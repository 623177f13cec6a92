//! Cells in, an HTML table out.

use std::fmt::Write as _;

use crate::markup::escape;

/// A table being written, cell by cell.
pub(super) struct Table {
    columns: Vec<&'static str>,
    cells: String,
    rows: usize,
    column: usize,
}

impl Table {
    /// With these titles; one that begins with `#` is of figures.
    pub(super) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), cells: String::new(), rows: 0, column: 0 }
    }

    /// A short text or a figure.
    pub(super) fn cell(&mut self, text: &str) -> &mut Self {
        self.put("", &escape(text))
    }

    /// A long text, which may be broken anywhere.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.put("text", &escape(text))
    }

    /// A long text of what went wrong.
    pub(super) fn trouble(&mut self, text: &str) -> &mut Self {
        self.put("text bad", &escape(text))
    }

    /// A text that is `bad` or not.
    pub(super) fn marked(&mut self, text: &str, bad: bool) -> &mut Self {
        self.put(if bad { "bad" } else { "" }, &escape(text))
    }

    /// Markup of our own.
    pub(super) fn raw(&mut self, markup: &str) -> &mut Self {
        self.put("phase", markup)
    }

    fn put(&mut self, class: &str, markup: &str) -> &mut Self {
        if self.column == 0 {
            self.cells.push_str("<tr>");
        }
        let figure = if self.columns[self.column].starts_with('#') { "n" } else { "" };
        let classes = [figure, class].join(" ");
        let _ = match classes.trim() {
            "" => write!(self.cells, "<td>{markup}</td>"),
            classes => write!(self.cells, "<td class=\"{classes}\">{markup}</td>"),
        };
        self.column += 1;
        if self.column == self.columns.len() {
            self.cells.push_str("</tr>\n");
            self.column = 0;
            self.rows += 1;
        }
        self
    }

    /// Writes it, and how many of `all` it leaves out.
    pub(super) fn write(&self, out: &mut String, all: usize, one: &str, many: &str) {
        debug_assert_eq!(self.column, 0, "a row is not complete");
        if self.rows == 0 {
            return;
        }
        out.push_str("<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>");
        for column in &self.columns {
            let _ = match column.strip_prefix('#') {
                Some(title) => write!(out, "<th class=\"n\" scope=\"col\">{title}</th>"),
                None => write!(out, "<th scope=\"col\">{column}</th>"),
            };
        }
        let _ = write!(out, "</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n", self.cells);
        if all > self.rows {
            let left = all - self.rows;
            let word = if left == 1 { one } else { many };
            let _ = writeln!(out, "<p class=\"soft\">and {left} more {word}</p>");
        }
    }
}
