//! A string from outside in, one that GitHub's Markdown shows as it is out: no link, no mention, no
//! reference to an issue, no markup, no end of a table's cell.

use std::fmt::Write as _;

use model::clean::{clean, fit_middle};

/// Columns after which foreign text is cut in its middle.
const LONG: usize = 240;

/// `text` within a sentence. What could make a mention, a reference or an address of it is followed
/// by a space without width, since GitHub looks for those in what is already rendered.
pub(super) fn prose(text: &str) -> String {
    let text = clean(text);
    let text = fit_middle(&text, 4 * LONG);
    let mut out = String::with_capacity(text.len() + 16);
    for (at, c) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        // A sign that would begin a list or a rule, where the text begins a line.
        let begins = before.chars().all(|c| c.is_ascii_digit());
        match c {
            '<' | '>' | '&' | '$' => entity(&mut out, c),
            '@' | '#' => {
                entity(&mut out, c);
                out.push_str("&#8203;");
            }
            ':' if after.starts_with(|next: char| !next.is_ascii_digit() && next != ' ') => {
                out.push_str(":&#8203;");
            }
            '.' if before.to_ascii_lowercase().ends_with("www") => out.push_str("\\."),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '|' | '!' => {
                out.push('\\');
                out.push(c);
            }
            _ if begins && c.is_ascii_punctuation() && (before.is_empty() || is_space(after)) => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// `text` as code, also within a table.
pub(super) fn code(text: &str) -> String {
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
pub(super) fn block(text: &str) -> String {
    let text = clean(text);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}sh\n{text}\n{fence}\n")
}

/// Where a list's sign would end.
fn is_space(after: &str) -> bool {
    after.is_empty() || after.starts_with(char::is_whitespace)
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
        for wrong in ["@t", "://", "www.", "@b", "#12", "<img", "&lt;", "c](d", " *", " _"] {
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

    const TEXT: &str = "\\PC{0,60}|.{0,60}|[-+=*_`|<>&#@:/.()\\[\\]!~$\\\\ a1w]{0,60}";

    proptest! {
        #[test]
        fn a_sentence_shows_the_text_and_nothing_else(text in TEXT) {
            let line = format!("- {} x", prose(&text));
            let events = parse(&line);
            let plain = |event: &Event<'_>| matches!(
                event,
                Event::Text(_)
                    | Event::Start(Tag::List(None) | Tag::Item)
                    | Event::End(TagEnd::List(false) | TagEnd::Item)
            );
            prop_assert!(events.iter().all(plain), "{:?}", events);
            let without = |text: &str| text.replace('\u{200b}', "");
            let shown = format!("{} x", clean(&text));
            // Markdown trims ASCII alone.
            prop_assert_eq!(without(&seen(&events)), shown.trim_matches(|c: char| c.is_ascii_whitespace()));
        }

        #[test]
        fn a_cell_shows_the_text_and_stays_one_cell(text in TEXT) {
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
