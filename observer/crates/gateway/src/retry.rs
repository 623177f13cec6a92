//! The one retry policy. In: how an attempt failed, and how many there were. Out: how long to wait before the
//! next one, or that it was the last. Every request is a GET, so asking twice does no harm.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

/// Attempts without a byte of progress.
pub const ATTEMPTS_MAX: u32 = 8;
/// With a proxy behind it in the list that go asks on any error, less patience is better.
pub const ATTEMPTS_MAX_WITH_FALLBACK: u32 = 3;
/// Attempts in all: each may bring some bytes of a body.
pub const ATTEMPTS_IN_ALL: u32 = 64;
/// The longest `Retry-After` that is waited for. A longer one is go's to hear: asking sooner would be rude.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The wait after the first failure, at most: what was reset, or cut, by accident is answered at once. Then each is
/// so many times longer, up to the longest: 9 s of patience in all.
const FIRST: Duration = Duration::from_millis(8);
const GROWTH: u32 = 4;
const LONGEST: Duration = Duration::from_secs(3);

/// Statuses that say "not now".
pub const fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// What the server asks to wait: seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// The wait before attempt `next` (the second is 1): longer each time, and of that a random part, so that many that
/// failed together do not come back together.
pub fn backoff(next: u32) -> Duration {
    let most = FIRST.saturating_mul(GROWTH.pow(next.clamp(1, 8) - 1)).min(LONGEST);
    most.mul_f64(0.25 + 0.75 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn waits_grow_to_a_limit_and_differ() {
        let waits: Vec<Duration> = (1..40).map(backoff).collect();
        assert!(waits.iter().all(|wait| *wait <= LONGEST && *wait >= FIRST / 4));
        assert!(waits[30] > waits[0]);
        assert!((0..20).map(|_| backoff(5)).any(|wait| wait != backoff(5)));
    }
}
