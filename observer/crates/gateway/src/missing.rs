//! What upstreams do not have. In: 404 and 410 answers. Out: the same again, for a while: go asks for each
//! prefix of an import path, in each command. Never on disk, for it may be there tomorrow.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::StatusCode;

/// Answers that are remembered; then all are forgotten.
const MAX: usize = 10_000;

/// The answers, by key.
#[derive(Debug)]
pub struct Missing {
    all: Mutex<HashMap<String, (Instant, StatusCode)>>,
    /// How long one is believed
    age: Duration,
}

impl Missing {
    /// Remembers for that long.
    pub fn new(age: Duration) -> Self {
        Self { all: Mutex::default(), age }
    }

    /// The status, while it is believed.
    pub fn get(&self, key: &str, now: Instant) -> Option<StatusCode> {
        let all = self.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.get(key).filter(|(at, _)| now.duration_since(*at) < self.age).map(|(_, status)| *status)
    }

    /// An upstream gave that answer.
    pub fn add(&self, key: &str, status: StatusCode, now: Instant) {
        let mut all = self.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if all.len() >= MAX {
            all.clear();
        }
        all.insert(key.to_owned(), (now, status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_for_a_while() {
        let (missing, now) = (Missing::new(Duration::from_secs(60)), Instant::now());
        missing.add("a", StatusCode::GONE, now);
        assert_eq!(missing.get("a", now), Some(StatusCode::GONE));
        assert_eq!(missing.get("a", now + Duration::from_secs(61)), None);
        assert_eq!(missing.get("b", now), None);
        (0..=MAX).for_each(|n| missing.add(&n.to_string(), StatusCode::NOT_FOUND, now));
        assert_eq!(missing.get("a", now), None, "bounded");
    }
}
