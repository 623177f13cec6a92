//! What is kept of a header block: pairs in, [`Fields`] out. Every other value is dropped at
//! once; see docs/contract.md, "Never in any output".

use model::redact::request;

use crate::decode::retry_after;

/// Longest of the short values that is kept, bytes.
const VALUE_MAX: usize = 256;

/// The header fields that may be shown. Of a name that comes twice, the first counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields {
    /// `:method`
    pub method: Option<String>,
    /// `:path`, redacted
    pub path: Option<String>,
    /// `:authority`, user info removed
    pub authority: Option<String>,
    /// `:status`
    pub status: Option<u16>,
    /// `content-length`, bytes
    pub content_length: Option<u64>,
    /// `content-type` is that of a page (`text/html`)
    pub page: bool,
    /// `retry-after`: seconds or a date
    pub retry_after: Option<String>,
    /// `date`, which a date in `retry-after` counts from
    pub date: Option<String>,
}

impl Fields {
    /// Takes a pair, or drops it.
    pub fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = || request::value(value, VALUE_MAX);
        match name {
            b":method" => first(&mut self.method, text),
            b":path" => first(&mut self.path, || request::target(value)),
            b":authority" => first(&mut self.authority, || request::authority(value)),
            b":status" => self.status = self.status.or_else(|| number(value)),
            b"content-length" => self.content_length = self.content_length.or_else(|| number(value)),
            b"content-type" => self.page |= retry_after::is_page(value),
            b"retry-after" => first(&mut self.retry_after, text),
            b"date" => first(&mut self.date, text),
            _ => {}
        }
    }
}

impl Fields {
    /// Seconds that an answer asks to wait.
    pub fn retry_after_s(&self) -> Option<u32> {
        let date = self.date.as_deref().map(str::as_bytes);
        retry_after::seconds(self.retry_after.as_deref()?.as_bytes(), date)
    }
}

// A block may name an entry of the table 200,000 times: only the first is copied.
fn first(field: &mut Option<String>, text: impl FnOnce() -> String) {
    if field.is_none() {
        *field = Some(text());
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    let digits = value.len() <= 20 && value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_shown_is_kept() {
        let mut fields = Fields::default();
        for (name, value) in [
            (":method", "GET"),
            (":path", "/m?token=s3cret"),
            (":authority", "u:s3cret@proxy.test"),
            ("authorization", "s3cret"),
            ("cookie", "s3cret"),
            ("location", "s3cret"),
            (":status", "200"),
            ("content-length", "12"),
            ("content-type", "text/html; s3cret"),
            ("retry-after", "9"),
            ("retry-after", "s3cret"),
        ] {
            fields.take(name.as_bytes(), value.as_bytes());
        }
        let expected = Fields {
            method: Some("GET".into()),
            path: Some("/m?token=…".into()),
            authority: Some("proxy.test".into()),
            status: Some(200),
            content_length: Some(12),
            page: true,
            retry_after: Some("9".into()),
            ..Fields::default()
        };
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_number_that_is_none_is_not_known() {
        let mut fields = Fields::default();
        fields.take(b":status", b"+20");
        fields.take(b"content-length", b"99999999999999999999");
        assert_eq!(fields, Fields::default());
    }
}
