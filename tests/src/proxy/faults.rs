//! What the proxy does wrong on purpose.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Says whether a fault is for a request, by its path as it was received, query included.
#[derive(Clone)]
pub struct Matcher(pub(super) Arc<dyn Fn(&str) -> bool + Send + Sync>);

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
