//! A value in, JSON text out that is safe to show: characters that steer a terminal or reorder
//! text are written as `\uXXXX`. A parser reads the same value back.

use std::fmt::Write as _;

use serde::Serialize;

/// A character that must not reach a terminal as it is: it moves the cursor, starts an escape
/// sequence, reorders the text around it, or cannot be seen at all.
pub const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `value` on one line, without the line's end.
pub fn line<T: Serialize>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string(value).map(escape)
}

/// Appends `value` on one line, without the line's end. After an error what was appended is to be
/// taken off.
pub fn append<T: Serialize>(to: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    let from = to.len();
    serde_json::to_writer(&mut *to, value)?;
    if !is_plain(&to[from..]) {
        let text = String::from_utf8_lossy(&to[from..]).into_owned();
        to.truncate(from);
        to.extend_from_slice(escape(text).as_bytes());
    }
    Ok(())
}

/// `value` indented, for people.
pub fn pretty<T: Serialize>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(escape)
}

/// Whether nothing is left to escape, as in nearly every line.
fn is_plain(json: &[u8]) -> bool {
    !json.iter().fold(false, |any, byte| any | is_odd(*byte))
}

/// A byte of what may be hidden and is not escaped yet: beyond ASCII, or DEL.
const fn is_odd(byte: u8) -> bool {
    byte >= 0x7f
}

/// `serde_json` escapes the C0 characters inside strings; the line ends it writes itself between
/// tokens are the only ones left, and stay.
fn escape(text: String) -> String {
    let left = |c: char| c != '\n' && is_hidden(c);
    // In ASCII only DEL is: what is neither is passed over quickly.
    let mut rest = text.as_str();
    loop {
        let Some(at) = rest.bytes().position(is_odd) else { return text };
        let mut chars = rest[at..].chars();
        if chars.next().is_some_and(left) {
            break;
        }
        rest = chars.as_str();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if left(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_read_back() {
        let nasty = "a\u{1b}[31m\u{9b}2J\u{202e}b\u{e0041}\n".to_owned();
        let text = line(&nasty).unwrap();
        assert!(!text.contains(is_hidden), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), nasty);
    }

    #[test]
    fn what_is_appended_is_the_line() {
        for text in ["plain", "zürich", "a\u{1b}[31m\u{9b}2J\u{202e}b\u{e0041}\n", "\u{7f}"] {
            let mut to = b"before ".to_vec();
            append(&mut to, &text).unwrap();
            assert_eq!(to, format!("before {}", line(&text).unwrap()).into_bytes());
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        assert_eq!(line(&"zürich 東京").unwrap(), "\"zürich 東京\"");
        assert!(pretty(&vec![1]).unwrap().contains('\n'));
    }
}
