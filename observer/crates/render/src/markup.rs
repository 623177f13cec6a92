//! A string from outside in, one that is safe in HTML and SVG out, in text and in quoted attributes.

use std::fmt::Write as _;

use model::clean::clean;

/// `text` cleaned, with everything that means something to a parser of HTML or XML replaced. What
/// no document may hold at all, Unicode's noncharacters, is made visible as in [`clean`].
pub fn escape(text: &str) -> String {
    let text = visible(text);
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            _ => out.push(c),
        }
    }
    out
}

/// `text` cleaned, and noncharacters made visible.
pub(crate) fn visible(text: &str) -> String {
    let text = clean(text);
    if !text.contains(is_noncharacter) {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_noncharacter(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

const fn is_noncharacter(c: char) -> bool {
    let code = c as u32;
    matches!(code, 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_opens_or_closes_a_tag_or_an_attribute() {
        assert_eq!(escape("<b>\"a\" & 'b'"), "&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;");
        assert_eq!(escape("\u{1b}[2J\u{fffe}\u{fdd0}"), "\\x1b[2J\\u{fffe}\\u{fdd0}");
        assert_eq!(escape("zürich 東京"), "zürich 東京");
    }

    proptest! {
        #[test]
        fn no_character_with_a_meaning_comes_through(text in "\\PC{0,30}|.{0,30}|[<>&\"'`]{0,20}") {
            let safe = escape(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'', '`']));
            prop_assert!(!safe.contains(model::json::is_hidden));
            for (at, _) in safe.match_indices('&') {
                let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#96;"];
                prop_assert!(known.iter().any(|name| safe[at..].starts_with(name)), "{}", safe);
            }
        }
    }
}
