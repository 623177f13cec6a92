//! A string from outside in, one that GitHub's Markdown shows as it is out: no link, no mention, no
//! reference to an issue, no markup, no end of a table's cell.

use std::fmt::Write as _;

use crate::view::clean::{clean, fit_middle};

/// Columns after which foreign text is cut in its middle.
const LONG: usize = 240;

/// `text` within a sentence.
pub fn prose(text: &str) -> String {
    let text = clean(text);
    let mut out = String::with_capacity(text.len() + 16);
    for c in fit_middle(&text, 4 * LONG).chars() {
        match c {
            // Entities, not backslashes: `<` and `&` mean something to HTML, too.
            '<' | '>' | '&' => entity(&mut out, c),
            // A name, a number or an address that follows would become a link.
            '@' | '#' | ':' => {
                entity(&mut out, c);
                out.push_str("&#8203;");
            }
            _ if c.is_ascii_punctuation() && !matches!(c, ',' | ';' | '%' | '/' | '?' | '\'') => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// `text` as code, also within a table.
pub fn code(text: &str) -> String {
    let text = clean(text);
    let text = fit_middle(&text, LONG);
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    if !text.contains(['`', '|']) {
        return format!("`{text}`");
    }
    let mut out = String::from("<code>");
    for c in text.chars() {
        if c.is_ascii_punctuation() { entity(&mut out, c) } else { out.push(c) }
    }
    out + "</code>"
}

/// `text` as a block of shell commands.
pub fn block(text: &str) -> String {
    let text = clean(text);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}sh\n{text}\n{fence}\n")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn entity(out: &mut String, c: char) {
    let _ = write!(out, "&#{};", u32::from(c));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    use super::*;

    fn parse(text: &str) -> Vec<Event<'_>> {
        Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_GFM)
            .collect()
    }

    /// What a reader sees.
    fn seen(events: &[Event<'_>]) -> String {
        events
            .iter()
            .filter_map(|event| match event {
                Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn nothing_becomes_a_link_a_mention_or_markup() {
        let text =
            prose("@team see https://proxy.test www.proxy.test a@b.test #12 <img> &lt; *a* _b_ [c](d)");
        for wrong in ["@t", "://", "www.", "@b", "#12", "<img", "&lt;", "](", " *", " _"] {
            assert!(!text.contains(wrong), "{wrong}: {text}");
        }
    }

    #[test]
    fn code_is_plain_where_it_can_be() {
        assert_eq!(code("go mod download"), "`go mod download`");
        assert_eq!(code("a|`b`"), "<code>a&#124;&#96;b&#96;</code>");
        assert_eq!((code(""), code("  ")), (String::new(), String::new()));
        assert_eq!(block("a ``` b"), "````sh\na ``` b\n````\n");
    }

    proptest! {
        #[test]
        fn a_sentence_shows_the_text_and_nothing_else(text in "\\PC{0,60}|.{0,60}|[-*_`|<>&#@:/.()\\[\\]!~\\\\ a1]{0,60}") {
            let line = format!("x {} x", prose(&text));
            let events = parse(&line);
            let plain = |event: &Event<'_>| matches!(
                event, Event::Text(_) | Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph)
            );
            prop_assert!(events.iter().all(plain), "{:?}", events);
            let without = |text: &str| text.replace('\u{200b}', "");
            prop_assert_eq!(without(&seen(&events)), format!("x {} x", clean(&text)));
        }

        #[test]
        fn a_cell_shows_the_text_and_stays_one_cell(text in "\\PC{0,60}|.{0,60}|[-*_`|<>&#@:/.()\\[\\]!~\\\\ a1]{0,60}") {
            let table = format!("| a | b |\n| --- | --- |\n| {} | x |\n", code(&text));
            let events = parse(&table);
            let cells = events.iter().filter(|event| matches!(event, Event::Start(Tag::TableCell))).count();
            prop_assert_eq!(cells, 4, "{:?}", events);
            for event in &events {
                let link = matches!(event, Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::Emphasis | Tag::Strong));
                prop_assert!(!link, "{:?}", events);
                if let Event::InlineHtml(html) = event {
                    prop_assert!(["<code>", "</code>"].contains(&html.as_ref()), "{:?}", events);
                }
            }
            let shown = clean(&text);
            prop_assert_eq!(seen(&events), format!("ab{}x", fit_middle(&shown, LONG).trim()));
        }
    }
}
