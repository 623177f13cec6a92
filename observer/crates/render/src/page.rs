//! Lines of text in, a page for a terminal of a given width out: cleaned, wrapped, styled.

use anstyle::{AnsiColor, Style};
use model::clean::{clean, fit, width};

use super::table::Table;

/// How to draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Columns of the terminal; less than 40 is taken as 40
    pub width: usize,
    /// Whether escape sequences for colour and weight may be used
    pub color: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { width: 80, color: false }
    }
}

/// A section's heading.
pub const HEADING: Style = Style::new().bold();
/// What is less important.
pub const DIM: Style = Style::new().dimmed();
/// What went wrong.
pub const BAD: Style = AnsiColor::Red.on_default();
/// Bars.
pub const BAR: Style = AnsiColor::Cyan.on_default();
/// As the terminal has it.
pub const PLAIN: Style = Style::new();

/// A page being written.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    out: String,
    width: usize,
    color: bool,
}

impl Page {
    /// An empty page.
    pub fn new(options: Options) -> Self {
        Self { out: String::new(), width: options.width.max(40), color: options.color }
    }

    /// Its columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// An empty line, unless the page begins here.
    pub fn gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// A gap and a heading.
    pub fn heading(&mut self, text: &str) {
        self.gap();
        self.line(0, HEADING, text);
    }

    /// A sentence, wrapped at words; following lines are indented by two more columns.
    pub fn line(&mut self, indent: usize, style: Style, text: &str) {
        let text = clean(text);
        let (mut current, mut lead) = (String::new(), indent);
        for word in text.split(' ') {
            let room = self.width.saturating_sub(lead);
            if !current.is_empty() && width(&current) + 1 + width(word) > room {
                // Where two spaces are broken at, one is left.
                self.put(lead, style, std::mem::take(&mut current).trim_end());
                lead = indent + 2;
            } else if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(&fit(word, self.width.saturating_sub(lead)));
        }
        self.put(lead, style, current.trim_end());
    }

    /// A name, and what it is from column `column` on, also where it takes several lines.
    pub fn entry(&mut self, column: usize, style: Style, name: &str, text: &str) {
        let (name, text) = (clean(name), clean(text));
        let room = self.width.saturating_sub(column);
        let mut lead = fit(&name, column.saturating_sub(1)).into_owned();
        let put = |page: &mut Self, lead: &mut String, words: &str| {
            page.paint(style, lead);
            page.out.push_str(&" ".repeat(column.saturating_sub(width(lead))));
            page.out.push_str(words);
            page.out.push('\n');
            lead.clear();
        };
        let mut current = String::new();
        for word in text.split_whitespace() {
            if !current.is_empty() && width(&current) + 1 + width(word) > room {
                put(self, &mut lead, &std::mem::take(&mut current));
            } else if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(&fit(word, room));
        }
        put(self, &mut lead, &current);
    }

    /// A line for a shell, if there is one: on a line of its own, whole however long it is, so that it
    /// can be pasted.
    pub fn command(&mut self, indent: usize, style: Style, text: &str) {
        if !text.is_empty() {
            self.put(indent, style, &clean(text));
        }
    }

    /// A table, indented by two columns.
    pub fn table(&mut self, table: &Table) {
        for row in table.layout(self.width - 2) {
            self.out.push_str("  ");
            for (text, style) in row {
                self.paint(style, &text);
            }
            self.out.truncate(self.out.trim_end_matches(' ').len());
            self.out.push('\n');
        }
    }

    /// The page.
    pub fn finish(self) -> String {
        self.out
    }

    fn put(&mut self, indent: usize, style: Style, text: &str) {
        self.out.push_str(&" ".repeat(indent));
        self.paint(style, text);
        self.out.push('\n');
    }

    fn paint(&mut self, style: Style, text: &str) {
        if self.color && style != PLAIN && !text.trim().is_empty() {
            self.out.push_str(&format!("{style}{text}{style:#}"));
        } else {
            self.out.push_str(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_wrap_at_words_and_long_words_are_cut() {
        let mut page = Page::new(Options { width: 40, color: false });
        page.line(2, PLAIN, &format!("{} tail {}", "word ".repeat(8).trim_end(), "x".repeat(60)));
        let text = page.finish();
        assert!(text.lines().all(|line| width(line) <= 40), "{text}");
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().nth(1).unwrap().starts_with("    "));
    }

    #[test]
    fn an_entry_hangs_below_its_text() {
        let mut page = Page::new(Options { width: 40, color: false });
        page.entry(10, HEADING, "name", &"word ".repeat(9));
        assert_eq!(
            page.finish(),
            format!("name      {0}\n          word word word\n", "word ".repeat(6).trim_end())
        );
    }

    #[test]
    fn no_line_ends_in_a_blank() {
        let mut page = Page::new(Options { width: 40, color: false });
        page.line(0, PLAIN, &"name=value  ".repeat(9));
        let text = page.finish();
        assert!(text.lines().all(|line| line.trim_end() == line), "{text:?}");
    }

    #[test]
    fn a_line_for_a_shell_is_not_broken() {
        let mut page = Page::new(Options { width: 40, color: false });
        let line = format!("goobserve compare -- {}", "word ".repeat(30).trim_end());
        page.command(6, PLAIN, &line);
        page.command(6, PLAIN, "");
        assert_eq!(page.finish(), format!("      {line}\n"));
    }

    #[test]
    fn text_from_outside_cannot_style_itself() {
        let mut page = Page::new(Options { width: 40, color: true });
        page.line(0, BAD, "\u{1b}[2J");
        assert_eq!(page.finish(), "\u{1b}[31m\\x1b[2J\u{1b}[0m\n");
    }
}
