//! What is kept of a header block: pairs in, [`Fields`] out. Every other value is dropped at
//! once; see docs/contract.md, "Never in any output".

use model::redact::request;

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
    /// `content-type`
    pub content_type: Option<String>,
    /// `server`
    pub server: Option<String>,
    /// `retry-after`: seconds or a date
    pub retry_after: Option<String>,
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
            b"content-type" => first(&mut self.content_type, text),
            b"server" => first(&mut self.server, text),
            b"retry-after" => first(&mut self.retry_after, text),
            _ => {}
        }
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
            ("server", "a"),
            ("server", "s3cret"),
        ] {
            fields.take(name.as_bytes(), value.as_bytes());
        }
        let expected = Fields {
            method: Some("GET".into()),
            path: Some("/m?token=…".into()),
            authority: Some("proxy.test".into()),
            status: Some(200),
            content_length: Some(12),
            server: Some("a".into()),
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
