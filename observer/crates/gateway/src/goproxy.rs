//! GOPROXY as the go command reads it. In: its value. Out: the proxies that the gateway asks, and what is
//! left to go.
//!
//! # How go's own rules stay go's
//!
//! Go asks a list's proxies one after the other: behind `,` the next one on 404 and 410 only, behind `|` on
//! any error; `direct` and `off` end the list. The gateway does not repeat these rules. It gives every proxy
//! of the list an address of its own, `http://HOST/0`, `http://HOST/1` …, and go a list of these with the
//! separators, `direct` and `off` where they were. A status of an upstream is go's to judge as before; when
//! an upstream cannot be reached, the answer is 502, which is as much an error to go as a failed connection.
//! So go falls through exactly where it would have without the gateway.

use hyper::Uri;
use hyper::http::uri::Scheme;
use thiserror::Error;

/// Most proxies of a list.
const ENTRIES_MAX: usize = 16;

/// When go asks the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fallback {
    /// `,`, or the end of the list: on 404 and 410
    NotFound,
    /// `|`: on any error
    AnyError,
}

/// One proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its URL without credentials and without a slash at its end
    pub url: Uri,
    /// `user:password` of its URL, decoded
    pub user_info: Option<String>,
    /// When go asks the next one
    pub fallback: Fallback,
}

/// A list of proxies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// Those the gateway asks: all in front of the first item that is no HTTP URL
    pub entries: Vec<Entry>,
    /// The items behind them, as they were: `direct`, `off`, `file://…`
    pub rest: String,
}

/// Why there is nothing for a gateway to do. No text holds a part of the list: it may have a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ListError {
    /// `direct`, `off` or a file alone
    #[error("GOPROXY names no proxy in front of `direct`, `off` and files")]
    NoProxy,
    /// A URL that is none
    #[error("item {0} of GOPROXY is no URL")]
    NotUrl(usize),
    /// More than are asked
    #[error("GOPROXY has more than {ENTRIES_MAX} proxies")]
    TooMany,
}

impl List {
    /// Reads a value of GOPROXY.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut entries = Vec::new();
        let mut left = text;
        while !left.is_empty() {
            let end = left.find([',', '|']);
            let item = left[..end.unwrap_or(left.len())].trim();
            let fallback = match end {
                Some(at) if left.as_bytes()[at] == b'|' => Fallback::AnyError,
                _ => Fallback::NotFound,
            };
            let next = end.map_or("", |at| &left[at + 1..]);
            if item.is_empty() {
                left = next;
                continue;
            }
            let Some(url) = web(item) else { break };
            if entries.len() == ENTRIES_MAX {
                return Err(ListError::TooMany);
            }
            entries.push(entry(&url, fallback).ok_or(ListError::NotUrl(entries.len() + 1))?);
            left = next;
        }
        if entries.is_empty() {
            return Err(ListError::NoProxy);
        }
        Ok(Self { entries, rest: left.trim().to_owned() })
    }

    /// The list for go, with the gateway at `base` (`http://127.0.0.1:8080`) in each proxy's place.
    pub fn for_go(&self, base: &str) -> String {
        let mut list = String::new();
        for (index, entry) in self.entries.iter().enumerate() {
            list.push_str(&format!("{base}/{index}"));
            if index + 1 < self.entries.len() || !self.rest.is_empty() {
                list.push(if entry.fallback == Fallback::AnyError { '|' } else { ',' });
            }
        }
        list + &self.rest
    }
}

/// The item as a URL of HTTP; `None` for everything else. Go adds `https://` to what looks like a host.
fn web(item: &str) -> Option<String> {
    if item.starts_with("https://") || item.starts_with("http://") {
        return Some(item.to_owned());
    }
    let host = item.contains(['.', ':', '/']) && !item.contains(":/") && !item.starts_with('/');
    host.then(|| format!("https://{item}"))
}

fn entry(url: &str, fallback: Fallback) -> Option<Entry> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let (user_info, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(crate::asset::percent_decoded(user)?), host),
        None => (None, authority),
    };
    let scheme = uri.scheme().cloned().unwrap_or(Scheme::HTTPS);
    let path = uri.path().trim_end_matches('/');
    let url = format!("{scheme}://{host}{path}").parse().ok()?;
    (!host.is_empty() && uri.query().is_none()).then_some(Entry { url, user_info, fallback })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_go(list: &str) -> String {
        List::parse(list).unwrap().for_go("http://127.0.0.1:1")
    }

    #[test]
    fn separators_direct_and_off_stay_where_they_were() {
        for (list, expected) in [
            ("https://proxy.test,direct", "http://127.0.0.1:1/0,direct"),
            ("https://proxy.test|direct", "http://127.0.0.1:1/0|direct"),
            ("https://a.test,https://b.test|off", "http://127.0.0.1:1/0,http://127.0.0.1:1/1|off"),
            ("proxy.test", "http://127.0.0.1:1/0"),
            (" https://a.test/x/ , ,b.test/y", "http://127.0.0.1:1/0,http://127.0.0.1:1/1"),
            ("https://a.test,file:///srv|https://b.test", "http://127.0.0.1:1/0,file:///srv|https://b.test"),
        ] {
            assert_eq!(for_go(list), expected, "{list}");
        }
    }

    #[test]
    fn credentials_are_taken_off_the_url() {
        let list = List::parse("https://me:hunter%402@proxy.test/go/").unwrap();
        assert_eq!(list.entries[0].url, "https://proxy.test/go");
        assert_eq!(list.entries[0].user_info.as_deref(), Some("me:hunter@2"));
    }

    #[test]
    fn lists_without_a_proxy_are_refused_without_a_word_of_them() {
        for list in ["", "direct", "off,https://proxy.test", "file:///srv", ",|", "https://"] {
            let error = List::parse(list).unwrap_err().to_string();
            assert!(list.len() < 8 || !error.contains(list), "{error}");
        }
        assert_eq!(List::parse(&"a.test,".repeat(17)), Err(ListError::TooMany));
    }
}
