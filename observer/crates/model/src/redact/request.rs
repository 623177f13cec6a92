//! What may be shown of a URL: a request's target or authority goes in, the same without user
//! info and query values comes out. Path segments are left alone; see docs/contract.md, "Never in any
//! output".

use std::fmt::Write as _;

/// Longest path kept, bytes; a longer one ends with `…` there.
pub const PATH_MAX: usize = 2048;
/// Longest authority kept, bytes; a longer one ends with `…` there.
pub const AUTHORITY_MAX: usize = 512;
/// The one pair of a query that is kept whole: it is no secret, and shows what the request is for.
pub const GO_GET: &str = "go-get=1";

const HIDDEN: char = '…';

/// A request's target in origin, absolute or asterisk form. Fragments are dropped, a query keeps
/// its names and [`GO_GET`], and a name without a value is hidden too: it may be the secret.
pub fn target(raw: &[u8]) -> String {
    // A few query names more than fit are enough to see that the limit is passed.
    let raw = &raw[..raw.len().min(PATH_MAX * 2)];
    let text = String::from_utf8_lossy(raw);
    let text = text.split_once('#').map_or(&*text, |(before, _)| before);
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut out = String::with_capacity(text.len());
    match path.find("://").filter(|at| !path[..*at].contains('/')) {
        Some(at) => {
            let (scheme, rest) = path.split_at(at + 3);
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            out.push_str(scheme);
            out.push_str(without_user(host));
            out.push_str(path);
        }
        // `user:password@host`, the authority form; an `@` after a slash is a path's own.
        None if path.starts_with('/') => out.push_str(path),
        None => out.push_str(without_user(path)),
    }
    if let Some(query) = query {
        out.push('?');
        query_names(&mut out, query);
    }
    cut(out, PATH_MAX)
}

/// A host with its port, user info removed.
pub fn authority(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    cut(without_user(&text).to_owned(), AUTHORITY_MAX)
}

/// Any other value that may be shown, cut to `max` bytes.
pub fn value(raw: &[u8], max: usize) -> String {
    cut(String::from_utf8_lossy(&raw[..raw.len().min(max + 1)]).into_owned(), max)
}

fn without_user(host: &str) -> &str {
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

fn query_names(out: &mut String, query: &str) {
    for (n, pair) in query.split('&').enumerate() {
        if n > 0 {
            out.push('&');
        }
        match pair.split_once('=') {
            _ if pair == GO_GET => out.push_str(pair),
            // Some servers take `;` for a separator: what stands before it is then a value.
            Some((name, _)) if !name.contains(';') => {
                let _ = write!(out, "{name}={HIDDEN}");
            }
            None if pair.is_empty() => {}
            _ => out.push(HIDDEN),
        }
    }
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push(HIDDEN);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_path_is_left_alone() {
        assert_eq!(target(b"/example.test/m/@v/v1.0.0.zip"), "/example.test/m/@v/v1.0.0.zip");
        assert_eq!(target(b"*"), "*");
    }

    #[test]
    fn query_values_are_hidden_and_go_get_is_kept() {
        assert_eq!(target(b"/m?go-get=1"), "/m?go-get=1");
        assert_eq!(target(b"/m?go-get=1&token=abc"), "/m?go-get=1&token=…");
        assert_eq!(target(b"/m?a=1&b=&c=x=y"), "/m?a=…&b=…&c=…");
        assert_eq!(target(b"/m?go-get=12"), "/m?go-get=…");
    }

    #[test]
    fn a_query_that_is_only_a_token_is_hidden() {
        assert_eq!(target(b"/m?s3cr3t"), "/m?…");
        assert_eq!(target(b"/m?s3cr3t;a=b"), "/m?…");
    }

    #[test]
    fn user_info_is_removed_in_every_form() {
        assert_eq!(target(b"http://u:p@proxy.test/m?x=1"), "http://proxy.test/m?x=…");
        assert_eq!(target(b"u:p@proxy.test:443"), "proxy.test:443");
        assert_eq!(target(b"http://u:p@proxy.test"), "http://proxy.test");
        assert_eq!(authority(b"u:p@x@proxy.test:8080"), "proxy.test:8080");
    }

    #[test]
    fn a_fragment_is_dropped() {
        assert_eq!(target(b"/m#access_token=1?x"), "/m");
    }

    #[test]
    fn a_long_path_is_cut_visibly() {
        let long = target(&[b"/", "é".repeat(3000).as_bytes()].concat());
        assert!(long.ends_with('…') && long.len() <= PATH_MAX + '…'.len_utf8());
    }

    proptest! {
        #[test]
        fn no_query_value_survives(path in "/[a-z/@.]{0,20}", name in "[a-z]{1,5}", secret in "[0-9]{6,20}") {
            let shown = target(format!("http://{secret}:{secret}@h.test{path}?{name}={secret}&{secret}").as_bytes());
            prop_assert!(!shown.contains(&secret), "{shown}");
        }

        #[test]
        fn no_bytes_panic(raw in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert!(target(&raw).len() <= PATH_MAX + 3);
            prop_assert!(authority(&raw).len() <= AUTHORITY_MAX + 3);
            prop_assert!(value(&raw, 10).len() <= 13);
        }
    }
}
