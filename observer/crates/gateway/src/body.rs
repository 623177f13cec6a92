//! How much of a body was received, and whether what comes next continues it. In: responses of one attempt
//! after the other. Out: the bytes that are new.
//!
//! A cut body is asked for from where it was cut, when the upstream names it by a strong `ETag`: `If-Range` then
//! gives the rest of the same body, or all of another. All of it is compared by hash up to where it was cut;
//! only an equal beginning is continued, for those bytes are with go already.

use hyper::body::Bytes;
use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE,
};
use ring::digest::{Context, SHA256};

use crate::store::Note;

/// A body that comes in one or several attempts.
#[derive(Clone)]
pub struct Progress {
    received: u64,
    hash: Context,
    length: Option<u64>,
    etag: Option<HeaderValue>,
    content_type: Option<String>,
    /// An attempt began again: bytes seen of those received already, and their hash
    again: Option<(u64, Context)>,
}

/// The response does not continue the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("another body than before")]
pub struct Another;

impl Default for Progress {
    fn default() -> Self {
        Self {
            received: 0,
            hash: Context::new(&SHA256),
            length: None,
            etag: None,
            content_type: None,
            again: None,
        }
    }
}

impl Progress {
    /// Bytes received.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Headers that ask for the rest.
    pub fn ask(&self, headers: &mut HeaderMap) {
        let Some(etag) = self.etag.clone().filter(|_| self.received > 0) else { return };
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.received)) {
            headers.insert(RANGE, range);
            headers.insert(IF_RANGE, etag);
        }
    }

    /// A response with the whole body.
    pub fn whole(&mut self, headers: &HeaderMap) -> Result<(), Another> {
        let length = number(headers.get(CONTENT_LENGTH));
        if self.received == 0 {
            let is_strong = |etag: &&HeaderValue| !etag.as_bytes().starts_with(b"W/");
            self.etag = headers.get(ETAG).filter(is_strong).cloned();
            self.content_type =
                headers.get(CONTENT_TYPE).and_then(|text| text.to_str().ok()).map(str::to_owned);
            self.length = length;
            self.again = None;
            return Ok(());
        }
        if self.length.is_some() && length.is_some() && self.length != length {
            return Err(Another);
        }
        self.again = Some((0, Context::new(&SHA256)));
        Ok(())
    }

    /// A response with the rest.
    pub fn rest(&mut self, headers: &HeaderMap) -> Result<(), Another> {
        // bytes FIRST-LAST/LENGTH
        let range = headers.get(CONTENT_RANGE).and_then(|text| text.to_str().ok()).unwrap_or_default();
        let (first, rest) =
            range.strip_prefix("bytes ").and_then(|range| range.split_once('-')).ok_or(Another)?;
        let length = rest.split_once('/').and_then(|(_, length)| length.parse::<u64>().ok());
        if first.parse() != Ok(self.received)
            || (self.length.is_some() && length.is_some() && length != self.length)
        {
            return Err(Another);
        }
        self.again = None;
        Ok(())
    }

    /// The upstream does not know the range: the next attempt asks for all.
    pub fn forget_range(&mut self) {
        self.etag = None;
    }

    /// Takes bytes; gives those that are new.
    pub fn take(&mut self, mut bytes: Bytes) -> Result<Bytes, Another> {
        if let Some((seen, hash)) = &mut self.again {
            let old = bytes.split_to(bytes.len().min((self.received - *seen) as usize));
            hash.update(&old);
            *seen += old.len() as u64;
            if *seen < self.received {
                return Ok(Bytes::new());
            }
            if hash.clone().finish().as_ref() != self.hash.clone().finish().as_ref() {
                return Err(Another);
            }
            self.again = None;
        }
        self.hash.update(&bytes);
        self.received += bytes.len() as u64;
        Ok(bytes)
    }

    /// The response came to its end: whether the body is whole.
    pub fn is_whole(&self) -> bool {
        self.again.is_none() && self.length.is_none_or(|length| length == self.received)
    }

    /// What is known of the whole body.
    pub fn note(&self) -> Note {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.hash.clone().finish().as_ref());
        Note { size: self.received, sha256, content_type: self.content_type.clone() }
    }
}

fn number(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn begun(etag: &str) -> Progress {
        let mut body = Progress::default();
        body.whole(&headers(&[("content-length", "6"), ("etag", etag)])).unwrap();
        assert_eq!(body.take(Bytes::from_static(b"abc")).unwrap(), "abc");
        assert!(!body.is_whole());
        body
    }

    #[test]
    fn the_rest_is_asked_for_by_a_strong_etag_alone() {
        let mut asked = HeaderMap::new();
        begun("\"x\"").ask(&mut asked);
        assert_eq!(
            (&asked[RANGE], &asked[IF_RANGE]),
            (&"bytes=3-".parse().unwrap(), &"\"x\"".parse().unwrap())
        );
        asked.clear();
        begun("W/\"x\"").ask(&mut asked);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_range_must_continue_where_the_body_was_cut() {
        let mut body = begun("\"x\"");
        assert_eq!(body.rest(&headers(&[("content-range", "bytes 2-5/6")])), Err(Another));
        assert_eq!(body.rest(&headers(&[("content-range", "bytes 3-8/9")])), Err(Another));
        assert_eq!(body.rest(&headers(&[])), Err(Another));
        body.rest(&headers(&[("content-range", "bytes 3-5/6")])).unwrap();
        body.take(Bytes::from_static(b"def")).unwrap();
        assert!(body.is_whole());
        assert_eq!(body.note(), Note::of(b"abcdef", None));
    }

    #[test]
    fn a_whole_body_continues_behind_an_equal_beginning_alone() {
        let mut body = begun("\"x\"");
        body.whole(&headers(&[("content-length", "6")])).unwrap();
        assert_eq!(body.take(Bytes::from_static(b"ab")).unwrap(), "");
        assert!(!body.is_whole());
        assert_eq!(body.take(Bytes::from_static(b"cdef")).unwrap(), "def");
        assert!(body.is_whole());

        let mut other = begun("\"x\"");
        other.whole(&headers(&[])).unwrap();
        assert_eq!(other.take(Bytes::from_static(b"abX")), Err(Another));
        assert_eq!(begun("\"x\"").whole(&headers(&[("content-length", "7")])), Err(Another));
    }
}
