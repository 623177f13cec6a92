//! Whether an upstream can be reached. In: how connections and answers went. Out: whether to try at all, for
//! one that has another behind it on any error: after several connections in a row that could not be made it
//! is left alone for a while, so that a dead one costs go an instant a request and not a time-out.

use std::time::{Duration, Instant};

/// Failures in a row that mean it is dead.
const FAILURES: u32 = 3;
/// How long it is left alone; then one request may try.
const REST: Duration = Duration::from_secs(5);

/// What is known of one upstream.
#[derive(Debug, Default)]
pub struct Health {
    failures: u32,
    until: Option<Instant>,
    /// What a 429 or 503 asked for
    paused_until: Option<Instant>,
}

impl Health {
    /// Whether a request may be made now. After the rest one may, the others go on waiting for its end.
    pub fn may_try(&mut self, now: Instant) -> bool {
        match self.until {
            Some(until) if now < until => false,
            Some(_) => {
                self.until = Some(now + REST);
                true
            }
            None => true,
        }
    }

    /// Whether it is left alone.
    pub fn is_down(&self) -> bool {
        self.until.is_some()
    }

    /// It answered, whatever it answered.
    pub fn answered(&mut self) {
        (self.failures, self.until) = (0, None);
    }

    /// No connection could be made, or none answered in time.
    pub fn unreachable(&mut self, now: Instant) {
        self.failures += 1;
        if self.failures >= FAILURES {
            self.until = Some(now + REST);
        }
    }

    /// It asked for less: prefetch rests that long.
    pub fn asked_for_less(&mut self, now: Instant, wait: Duration) {
        self.paused_until = self.paused_until.max(Some(now + wait));
    }

    /// How long prefetch rests from now on.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.paused_until.map(|until| until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_upstream_is_tried_once_a_while() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..FAILURES).for_each(|_| {
            assert!(health.may_try(now));
            health.unreachable(now);
        });
        assert!(!health.may_try(now) && health.is_down());
        let later = now + REST;
        assert!(health.may_try(later));
        assert!(!health.may_try(later), "one at a time");
        health.answered();
        assert!(health.may_try(later) && !health.is_down());
    }

    #[test]
    fn failures_with_answers_between_are_none_in_a_row() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..10 {
            health.unreachable(now);
            health.unreachable(now);
            health.answered();
        }
        assert!(health.may_try(now));
    }
}
