//! HTTP/1.1: heads and calls in, requests and responses out. [`request_head`] and
//! [`response_head`] read a whole head; [`Exchange`] follows one connection.

use model::redact::request;

use super::{Undecoded, retry_after};

mod exchange;
pub use exchange::{Exchange, Http1Event};

/// Longest head that is put together, bytes.
pub const HEAD_MAX: usize = 16_384;
const HEADERS_MAX: usize = 128;

/// What is kept of a request's head.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestHead {
    /// `GET`, …
    pub method: String,
    /// Path and query, redacted
    pub target: String,
    /// `Host`, user info removed; `None` when there is none or the head was cut
    pub authority: Option<String>,
    /// Length of the body that follows, bytes
    pub content_length: Option<u64>,
    /// The body is chunked
    pub chunked: bool,
    /// The connection ends with this exchange
    pub close: bool,
}

/// What is kept of a response's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResponseHead {
    /// Status code
    pub status: u16,
    /// Length of the body that follows, bytes
    pub content_length: Option<u64>,
    /// The body is chunked
    pub chunked: bool,
    /// The connection ends with this exchange
    pub close: bool,
    /// Seconds that it asks to wait (`Retry-After`)
    pub retry_after_s: Option<u32>,
    /// It is a page (`text/html`)
    pub page: bool,
}

/// Reads a request's head: the request line, headers and the empty line after them.
///
/// # Errors
/// [`Undecoded::Malformed`] when it is none, or is not whole.
pub fn request_head(bytes: &[u8]) -> Result<RequestHead, Undecoded> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(bytes).map_err(|_| malformed("request head", "not HTTP/1"))?;
    if status.is_partial() {
        return Err(malformed("request head", "not whole"));
    }
    let old = request.version == Some(0);
    let mut head = request_line(&request).ok_or(malformed("request head", "no request line"))?;
    let general = General::of(request.headers, old);
    head.authority = find(request.headers, "host").map(request::authority).or(head.authority);
    head.content_length = general.content_length;
    head.chunked = general.chunked;
    head.close = general.close;
    Ok(head)
}

/// Reads a response's head: the status line, headers and the empty line after them.
///
/// # Errors
/// [`Undecoded::Malformed`] when it is none, or is not whole.
pub fn response_head(bytes: &[u8]) -> Result<ResponseHead, Undecoded> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|_| malformed("response head", "not HTTP/1"))?;
    if status.is_partial() {
        return Err(malformed("response head", "not whole"));
    }
    let general = General::of(response.headers, response.version == Some(0));
    Ok(ResponseHead {
        status: response.code.ok_or(malformed("response head", "no status"))?,
        content_length: general.content_length,
        chunked: general.chunked,
        close: general.close,
        retry_after_s: find(response.headers, "retry-after")
            .and_then(|value| retry_after::seconds(value, find(response.headers, "date"))),
        page: find(response.headers, "content-type").is_some_and(retry_after::is_page),
    })
}

/// Method and target of a head that was cut after its first line. The rest is not known.
fn request_of_cut(bytes: &[u8]) -> Option<RequestHead> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let line = first_line(bytes)?;
    request.parse(line).ok()?;
    request_line(&request)
}

/// Status of a head that was cut after its first line.
pub(super) fn status_of_cut(bytes: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(first_line(bytes)?).ok()?;
    response.code
}

fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    bytes.get(..=end)
}

fn request_line(request: &httparse::Request<'_, '_>) -> Option<RequestHead> {
    let target = request::target(request.path?.as_bytes());
    // What is asked of a forward proxy names the host (RFC 9112, 3.2.2); its path is the one of a server.
    let absolute = target.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?']));
    let (authority, target) = match absolute {
        Some((_, rest)) => {
            let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let slash = if path.starts_with('/') { "" } else { "/" };
            (Some(host.to_owned()), format!("{slash}{path}"))
        }
        None => (None, target),
    };
    let method = request::value(request.method?.as_bytes(), 32);
    Some(RequestHead { method, target, authority, ..RequestHead::default() })
}

const fn malformed(what: &'static str, why: &'static str) -> Undecoded {
    Undecoded::Malformed { what, why }
}

fn find<'h>(headers: &[httparse::Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

struct General {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl General {
    fn of(headers: &[httparse::Header<'_>], old: bool) -> Self {
        let listed = |name: &str, token: &str| {
            headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).any(|header| {
                header
                    .value
                    .split(|byte| *byte == b',')
                    .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
            })
        };
        let chunked = listed("transfer-encoding", "chunked");
        let length = find(headers, "content-length").and_then(|value| {
            let text = str::from_utf8(value).ok()?.trim();
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
        });
        Self {
            // RFC 9112, 6.3: chunked wins.
            content_length: length.filter(|_| !chunked),
            chunked,
            close: listed("connection", "close") || (old && !listed("connection", "keep-alive")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_keeps_only_what_may_be_shown() {
        let head = request_head(
            b"GET /m/@v/list?token=abc HTTP/1.1\r\nHost: u:p@proxy.test\r\nAuthorization: Basic c2VjcmV0\r\n\r\n",
        )
        .unwrap();
        let shown = format!("{head:?}");
        assert_eq!((&*head.method, &*head.target), ("GET", "/m/@v/list?token=…"));
        assert_eq!(head.authority.as_deref(), Some("proxy.test"));
        assert!(!head.close && !shown.contains("c2Vj") && !shown.contains("abc"));
    }

    #[test]
    fn a_request_to_a_forward_proxy_is_one_to_the_host_it_names() {
        for (target, path) in [("/m/@v/list?a=b", "/m/@v/list?a=…"), ("", "/"), ("?a=b", "/?a=…")] {
            let text = format!("GET http://u:p@proxy.test:8080{target} HTTP/1.1\r\n\r\n");
            let head = request_head(text.as_bytes()).unwrap();
            assert_eq!((&*head.target, head.authority.as_deref()), (path, Some("proxy.test:8080")));
        }
        let head = request_head(b"GET /a?b=http://c.test/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n").unwrap();
        assert_eq!((&*head.target, head.authority.as_deref()), ("/a?b=…", Some("proxy.test")));
    }

    #[test]
    fn a_response_reports_how_its_body_ends() {
        let head = response_head(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nConnection: x, Close\r\n\r\n");
        let expected = ResponseHead {
            status: 200,
            content_length: Some(12),
            chunked: false,
            close: true,
            ..ResponseHead::default()
        };
        assert_eq!(head.unwrap(), expected);
        let head = response_head(
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n",
        );
        let expected =
            ResponseHead { status: 404, content_length: None, chunked: true, ..ResponseHead::default() };
        assert_eq!(head.unwrap(), expected);
    }

    #[test]
    fn a_response_says_how_long_to_wait_and_whether_it_is_a_page() {
        let head = response_head(
            b"HTTP/1.1 429 Slow\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\nContent-Type: text/html\r\n\r\n",
        );
        let head = head.unwrap();
        assert_eq!((head.retry_after_s, head.page), (Some(30), true));
    }

    #[test]
    fn version_one_zero_closes_unless_it_says_otherwise() {
        assert!(response_head(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().close);
        assert!(!response_head(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").unwrap().close);
    }

    #[test]
    fn a_length_that_is_no_number_is_not_known() {
        for value in ["-1", "+3", "1, 1", "", "99999999999999999999999"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n");
            assert_eq!(response_head(head.as_bytes()).unwrap().content_length, None, "{value}");
        }
    }

    #[test]
    fn a_head_that_is_not_whole_is_an_error() {
        assert!(request_head(b"GET / HTTP/1.1\r\nHost: a\r\n").is_err());
        assert!(response_head(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(response_head(b"\x00\x01").is_err());
    }

    #[test]
    fn the_first_line_of_a_cut_head_counts_only_when_it_is_whole() {
        assert_eq!(status_of_cut(b"HTTP/1.1 404 Not Found\r\nA: b"), Some(404));
        assert_eq!(status_of_cut(b"HTTP/1.1 404 Not Fo"), None);
        let head = request_of_cut(b"GET /m HTTP/1.1\r\nHost: proxy.te").unwrap();
        assert_eq!((&*head.target, head.authority), ("/m", None));
        assert_eq!(request_of_cut(b"GET /m HTT"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = (request_head(&bytes), response_head(&bytes), status_of_cut(&bytes), request_of_cut(&bytes));
        }
    }
}
