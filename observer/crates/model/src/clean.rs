//! A string from outside in, one that is safe to show on a terminal out.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::json::is_hidden;

/// `text` with every control character, escape sequence and character that reorders or hides
/// text made visible: `\x1b`, `\u{202e}`. One line stays one line.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if is_hidden(c) && u32::from(c) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            _ if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Columns that a cleaned `text` takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A cleaned `text` in at most `columns` columns, its end replaced by `…` where it is longer.
pub fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next + 1 > columns {
            break;
        }
        used += next;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// As [`fit`], with the `…` in the middle: both ends of a module path say something.
pub fn fit_middle(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns || columns < 5 {
        return fit(text, columns);
    }
    let (mut tail, mut used) = (text.len(), 0);
    for (index, c) in text.char_indices().rev() {
        let next = c.width().unwrap_or(0);
        if used + next > columns / 2 {
            break;
        }
        used += next;
        tail = index;
    }
    let head = fit(text, columns - used);
    Cow::Owned(format!("{head}{}", &text[tail..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_and_direction_marks_become_visible() {
        assert_eq!(clean("a\u{1b}[2Jb"), "a\\x1b[2Jb");
        assert_eq!(clean("\u{9b}31m\u{7f}"), "\\x9b31m\\x7f");
        assert_eq!(clean("x\u{202e}gpj.exe"), "x\\u{202e}gpj.exe");
        assert_eq!(clean("a\r\n\tb"), "a\\r\\n\\tb");
        assert_eq!(clean("zero\u{200b}width"), "zero\\u{200b}width");
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["proxy.test", "zürich", "東京", "…"] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn fitting_keeps_the_columns() {
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("東京都", 4), "東…");
        assert_eq!(fit_middle("example.com/a/long/module", 11), "examp…odule");
        assert_eq!(fit("abc", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_hidden_comes_through_and_nothing_is_too_wide(text in "\\PC{0,20}|.{0,20}", columns in 0..30usize) {
            let safe = clean(&text);
            prop_assert!(!safe.contains(is_hidden));
            prop_assert_eq!(clean(&safe), safe.as_ref());
            prop_assert!(width(&fit(&safe, columns)) <= columns);
            prop_assert!(width(&fit_middle(&safe, columns)) <= columns);
        }
    }
}
