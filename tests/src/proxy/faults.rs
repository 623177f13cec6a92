//! What the proxy does wrong on purpose.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;

/// Says whether a fault is for a request, by its path as it was received, query included.
#[derive(Clone)]
pub struct Matcher(pub(super) Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl Matcher {
    /// Whether it is for that path.
    pub fn is_for(&self, path: &str) -> bool {
        (self.0)(path)
    }
}

/// A matcher from a predicate of the path.
pub fn paths(predicate: impl Fn(&str) -> bool + Send + Sync + 'static) -> Matcher {
    Matcher(Arc::new(predicate))
}

/// A matcher of the paths that end so.
pub fn ending(suffix: &'static str) -> Matcher {
    paths(move |path| path.ends_with(suffix))
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Matcher")
    }
}

/// Everything the proxy does wrong; the default is nothing. Delays add up.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// TLS settings instead of the usual ones
    pub tls: Option<Arc<ServerConfig>>,
    /// Before the `ServerHello` of every connection
    pub tls_delay: Duration,
    /// Before the head of every response, as a longer way would cost
    pub request_delay: Duration,
    /// Before the heads of some responses
    pub head_delays: Vec<HeadDelay>,
    /// In the middle of some bodies; the first that matches counts
    pub body_stalls: Vec<BodyStall>,
    /// Statuses instead of files; the first that matches counts
    pub answers: Vec<Answer>,
    /// Over HTTP/1.1, a connection is closed after each response
    pub one_request_each: bool,
    /// Bodies instead of files; the first that matches counts
    pub fakes: Vec<Fake>,
    /// Files that somebody changed; the first that matches counts
    pub tampered: Vec<Tampered>,
    /// Bodies that come slowly; the first that matches counts
    pub slow_bodies: Vec<SlowBody>,
    /// Bodies that are cut; the first that matches counts
    pub cut_bodies: Vec<CutBody>,
    /// Bodies in the middle of which their connection is reset; the first that matches counts
    pub reset_bodies: Vec<ResetBody>,
    /// Requests that another host is to answer; the first that matches counts
    pub redirects: Vec<Redirect>,
    /// Streams that are reset instead of answered
    pub stream_resets: Vec<StreamReset>,
    /// HTTP/2 is not agreed on though it is offered
    pub http1_only: bool,
    /// `MAX_CONCURRENT_STREAMS`
    pub max_streams: Option<u32>,
    /// GOAWAY in a connection that has had so many requests
    pub goaway_after: Option<u32>,
    /// Connections whose `ClientHello` names this host are reset
    pub reset_sni: Option<String>,
}

/// A delay before the head of a response.
#[derive(Clone, Debug)]
pub struct HeadDelay {
    /// For which requests
    pub matches: Matcher,
    /// How long
    pub delay: Duration,
}

/// A pause in the middle of a body.
#[derive(Clone, Debug)]
pub struct BodyStall {
    /// For which requests
    pub matches: Matcher,
    /// After so many bytes; a shorter body does not pause
    pub after_bytes: u64,
    /// How long
    pub delay: Duration,
}

/// A status instead of the file.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For which requests
    pub matches: Matcher,
    /// The status
    pub status: u16,
    /// Seconds of a `retry-after` header
    pub retry_after_s: Option<u32>,
}

/// A body in the middle of which its connection is reset, with all that is on it.
#[derive(Clone, Debug)]
pub struct ResetBody {
    /// For which requests
    pub matches: Matcher,
    /// After so many bytes; a shorter body comes whole
    pub after_bytes: u64,
}

/// A redirect (302) to the same path at another host.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// For which requests; those at that other host are answered
    pub matches: Matcher,
    /// The other host
    pub to: String,
}

impl Redirect {
    pub(super) fn is_for(&self, authority: &str, path: &str) -> bool {
        authority != self.to && (self.matches.0)(path)
    }

    pub(super) fn location(&self, path: &str) -> String {
        format!("https://{}{path}", self.to)
    }
}

/// A file that is none: zeros, served with status 200.
#[derive(Clone, Debug)]
pub struct Fake {
    /// For which requests
    pub matches: Matcher,
    /// Its size
    pub bytes: usize,
}

/// A file that is another than it was, and still one of its kind.
#[derive(Clone)]
pub struct Tampered {
    /// For which requests
    pub matches: Matcher,
    /// What becomes of it
    pub change: fn(Vec<u8>) -> Vec<u8>,
}

impl fmt::Debug for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tampered")
    }
}

/// A body that is given out at a rate, a tenth of a second's bytes at a time.
#[derive(Clone, Debug)]
pub struct SlowBody {
    /// For which requests
    pub matches: Matcher,
    /// The rate
    pub bytes_per_s: u64,
}

/// A body that ends before its end: `RST_STREAM` in HTTP/2, over HTTP/1.1 the connection is closed.
#[derive(Clone, Debug)]
pub struct CutBody {
    /// For which requests
    pub matches: Matcher,
    /// After so many bytes; a shorter body is whole
    pub after_bytes: u64,
}

/// `RST_STREAM` instead of an answer, in HTTP/2. Over HTTP/1.1 the connection is closed.
#[derive(Clone, Debug)]
pub struct StreamReset {
    /// For which requests
    pub matches: Matcher,
    /// Its code
    pub code: u32,
    /// So many times, then it is answered. Counted over all clones, for all connections.
    pub left: Arc<AtomicU32>,
}

impl StreamReset {
    /// Whether this request is one of them.
    pub(super) fn takes(&self, path: &str) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        (self.matches.0)(path) && self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

impl Faults {
    /// How long the head of the response to a request of that path is held back.
    pub fn head_delay(&self, path: &str) -> Duration {
        let matching = self.head_delays.iter().filter(|fault| (fault.matches.0)(path));
        self.request_delay + matching.map(|fault| fault.delay).sum::<Duration>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_of_a_path_add_up() {
        let ms = Duration::from_millis;
        let zips = HeadDelay { matches: ending(".zip"), delay: ms(7) };
        let faults =
            Faults { request_delay: ms(2), head_delays: vec![zips.clone(), zips], ..Faults::default() };
        assert_eq!(faults.head_delay("/m/@v/v1.0.0.zip"), ms(16));
        assert_eq!(faults.head_delay("/m/@v/v1.0.0.mod"), ms(2));
    }
}
