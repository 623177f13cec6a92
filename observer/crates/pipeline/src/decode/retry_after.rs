//! `Retry-After` (RFC 9110, 10.2.3): a header's bytes in, seconds out.

use std::time::Duration;

/// Longest value that is read, bytes: a date has 29.
const VALUE_MAX: usize = 64;

/// How many seconds to wait. A date counts from the answer's own `Date`, so that nobody's clock matters; without
/// one, and for what is neither date nor number, it is not known. What lies behind is none to wait.
pub fn seconds(value: &[u8], date: Option<&[u8]>) -> Option<u32> {
    let value = text(value)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok();
    }
    let (until, now) =
        (httpdate::parse_http_date(value).ok()?, httpdate::parse_http_date(text(date?)?).ok()?);
    u32::try_from(until.duration_since(now).unwrap_or(Duration::ZERO).as_secs()).ok()
}

/// Whether a `Content-Type` is that of a page.
pub fn is_page(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/html")
}

fn text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value.trim_ascii()).ok().filter(|text| text.len() <= VALUE_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Option<&[u8]> = Some(b"Sun, 06 Nov 1994 08:49:37 GMT");

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(seconds(b" 30 ", None), Some(30));
        assert_eq!(seconds(b"Sun, 06 Nov 1994 08:50:07 GMT", NOW), Some(30));
        assert_eq!(seconds(b"Sun, 06 Nov 1994 08:00:00 GMT", NOW), Some(0));
        assert_eq!(seconds(b"Sunday, 06-Nov-94 08:50:07 GMT", NOW), Some(30));
    }

    #[test]
    fn what_is_neither_is_not_known() {
        for value in ["", "-1", "+1", "1.5", "soon", "99999999999", "1, 2"] {
            assert_eq!(seconds(value.as_bytes(), NOW), None, "{value}");
        }
        assert_eq!(seconds(b"Sun, 06 Nov 1994 08:50:07 GMT", None), None);
        assert_eq!(seconds(b"Sun, 06 Nov 9994 08:50:07 GMT", NOW), None);
    }

    #[test]
    fn a_page_is_one_whatever_its_charset() {
        assert!(is_page(b"Text/HTML; charset=utf-8") && is_page(b"text/html"));
        assert!(!is_page(b"text/htmlx") && !is_page(b"application/json; a=text/html") && !is_page(b""));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(a in proptest::collection::vec(any::<u8>(), 0..80), b in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (seconds(&a, Some(&b)), is_page(&a));
        }
    }
}
