//! Whether an upstream can be reached. In: how connections and answers went. Out: whether to ask at all, for one that
//! has another behind it on any error. Such a one is asked when a connection was made, and when that takes longer
//! than any way does, go hears so and asks the next; the connection goes on being made, and is used when it is there.
//! So a dead one costs go a second once, and not a time-out a request.

use std::time::{Duration, Instant};

/// Failures in a row that mean it is dead.
const FAILURES: u32 = 3;
/// How long it is left alone; then a connection is tried.
const REST: Duration = Duration::from_secs(5);
/// A connection that takes longer has lost its first packet, or nobody is there.
const SOON: Duration = Duration::from_secs(1);

/// What is known of one upstream.
#[derive(Debug, Default)]
pub struct Health {
    reach: Reach,
    failures: u32,
    /// What a 429 or 503 asked for
    paused_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Reach {
    #[default]
    Unknown,
    /// A connection is being made since then
    Trying(Instant),
    Up,
    /// Since then
    Down(Instant),
}

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Ask
    Ask,
    /// Make a connection, and come again
    Try,
    /// Come again when something changed, or then
    Wait(Instant),
    /// Ask somebody else
    Leave,
}

impl Health {
    /// What to do now. Whoever gets `Try` tries; the others wait for it.
    pub fn next(&mut self, now: Instant) -> Next {
        match self.reach {
            Reach::Up => Next::Ask,
            Reach::Trying(since) if now < since + SOON => Next::Wait(since + SOON),
            Reach::Down(since) if now >= since + REST => {
                // Nobody waits for it: it was dead, and may still be.
                self.reach = Reach::Trying(now.checked_sub(SOON).unwrap_or(now));
                Next::Try
            }
            Reach::Trying(_) | Reach::Down(_) => Next::Leave,
            Reach::Unknown => {
                self.reach = Reach::Trying(now);
                Next::Try
            }
        }
    }

    /// Whether it is left alone.
    pub fn is_down(&self, now: Instant) -> bool {
        match self.reach {
            Reach::Down(_) => true,
            Reach::Trying(since) => now >= since + SOON,
            Reach::Unknown | Reach::Up => false,
        }
    }

    /// It answered, whatever it answered.
    pub fn answered(&mut self) {
        (self.reach, self.failures) = (Reach::Up, 0);
    }

    /// No connection could be made, or none answered in time.
    pub fn unreachable(&mut self, now: Instant) {
        self.failures += 1;
        if self.failures >= FAILURES || matches!(self.reach, Reach::Trying(_)) {
            self.reach = Reach::Down(now);
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
    fn a_first_connection_is_waited_for_and_not_for_long() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.next(now), Next::Try);
        assert_eq!(health.next(now), Next::Wait(now + SOON));
        assert!(!health.is_down(now));
        assert_eq!(health.next(now + SOON), Next::Leave);
        assert!(health.is_down(now + SOON));
        health.answered();
        assert_eq!(health.next(now + SOON), Next::Ask, "late, and used all the same");
    }

    #[test]
    fn a_dead_one_is_left_alone_and_tried_by_nobody_who_waits() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.next(now);
        health.unreachable(now);
        assert!(health.is_down(now));
        assert_eq!(health.next(now), Next::Leave);
        assert_eq!(health.next(now + REST), Next::Try);
        assert_eq!(health.next(now + REST), Next::Leave, "one tries, nobody waits");
        health.unreachable(now + REST);
        assert_eq!(health.next(now + REST), Next::Leave);
        health.answered();
        assert_eq!(health.next(now + REST), Next::Ask);
    }

    #[test]
    fn one_that_answered_is_dead_after_several_failures() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.answered();
        for _ in 1..FAILURES {
            health.unreachable(now);
            assert_eq!(health.next(now), Next::Ask);
        }
        health.unreachable(now);
        assert_eq!(health.next(now), Next::Leave);
    }

    #[test]
    fn what_asked_for_less_has_prefetch_rest() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.pause(now), None);
        health.asked_for_less(now, Duration::from_secs(2));
        health.asked_for_less(now, Duration::from_secs(1));
        assert_eq!(health.pause(now), Some(Duration::from_secs(2)));
        assert_eq!(health.pause(now + Duration::from_secs(2)), None);
    }
}
