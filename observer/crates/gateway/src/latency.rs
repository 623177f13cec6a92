//! How long an answer may take, learned from those that came. In: times from request to head, by [`Pace`].
//! Out: when to ask a second time beside the first, and when to give up.
//!
//! # Why these estimators
//!
//! A time-out is a smoothed mean and four smoothed deviations, as TCP's own retransmission timer has it
//! (RFC 6298), not a multiple of a high quantile of the last few samples: of ten samples the p90 is the second
//! largest, so that one hiccup sets the limit for the next ten requests, and a fixed 30 s as its base means
//! that go has waited half a minute before anything is done. Mean and deviation follow a slower network
//! within a few answers and forget a hiccup as fast. A time-out doubles with each attempt, so a proxy that
//! does need a minute (it may fetch a module first) gets it.
//!
//! Before the time-out comes the hedge: an answer that is later than the p95 of its pace is asked for once
//! more, on another connection, and whichever is first counts. The first request goes on: a slow answer is
//! never thrown away. Hedges are at most a tenth of all requests, so they cannot add to an overload.

use std::collections::HashMap;
use std::time::Duration;

use crate::asset::Pace;

/// Answers that the p95 is taken of.
const WINDOW: usize = 128;
/// Fewer say nothing about a p95.
const ENOUGH: usize = 20;
/// The hedge before there are enough answers.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(1500);
/// No hedge comes sooner: on loopback and in a company's network the p95 is under a timer's grain.
const HEDGE_MIN: Duration = Duration::from_millis(30);
/// What is given to an answer at least; shorter than a name server's or TCP's own first retry is no use.
const TIMEOUT_MIN: Duration = Duration::from_secs(4);
/// And before anything is known.
const TIMEOUT_UNKNOWN: Duration = Duration::from_secs(15);
/// And at most.
const TIMEOUT_MAX: Duration = Duration::from_secs(90);
/// Requests that pay for a hedge.
const REQUESTS_PER_HEDGE: f64 = 10.0;
/// Hedges that are saved up.
const HEDGES_SAVED: f64 = 8.0;

/// Times of one upstream.
#[derive(Debug)]
pub struct Latencies {
    by_pace: HashMap<Pace, Times>,
    hedges: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { by_pace: HashMap::new(), hedges: HEDGES_SAVED / 2.0 }
    }
}

#[derive(Debug, Default)]
struct Times {
    mean: Option<f64>,
    deviation: f64,
    recent: Vec<f64>,
    next: usize,
}

impl Latencies {
    /// A head came after that time.
    pub fn answered(&mut self, pace: Pace, took: Duration) {
        let took = took.as_secs_f64();
        let times = self.by_pace.entry(pace).or_default();
        match times.mean {
            None => (times.mean, times.deviation) = (Some(took), took / 2.0),
            Some(mean) => {
                times.deviation += ((mean - took).abs() - times.deviation) / 4.0;
                times.mean = Some(mean + (took - mean) / 8.0);
            }
        }
        if times.recent.len() < WINDOW {
            times.recent.push(took);
        } else {
            times.recent[times.next] = took;
        }
        times.next = (times.next + 1) % WINDOW;
        self.hedges = (self.hedges + 1.0 / REQUESTS_PER_HEDGE).min(HEDGES_SAVED);
    }

    /// After this a request is made once more.
    pub fn hedge_after(&self, pace: Pace) -> Duration {
        let Some(times) = self.by_pace.get(&pace).filter(|times| times.recent.len() >= ENOUGH) else {
            return HEDGE_UNKNOWN;
        };
        let mut sorted = times.recent.clone();
        sorted.sort_by(f64::total_cmp);
        let p95 = sorted[(sorted.len() * 95).div_ceil(100).min(sorted.len()) - 1];
        Duration::from_secs_f64(p95).max(HEDGE_MIN)
    }

    /// Takes one hedge of those that may be made.
    pub fn take_hedge(&mut self) -> bool {
        let may = self.hedges >= 1.0;
        if may {
            self.hedges -= 1.0;
        }
        may
    }

    /// What an answer is given in its `attempt`th attempt, from 0.
    pub fn timeout(&self, pace: Pace, attempt: u32) -> Duration {
        let times = self.by_pace.get(&pace);
        let first = match times.and_then(|times| Some((times.mean?, times.deviation))) {
            Some((mean, deviation)) => {
                Duration::from_secs_f64((mean + 4.0 * deviation).min(TIMEOUT_MAX.as_secs_f64()))
                    .max(TIMEOUT_MIN)
            }
            None => TIMEOUT_UNKNOWN,
        };
        first.saturating_mul(1 << attempt.min(6)).min(TIMEOUT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace::Small;

    fn after(samples: &[u64]) -> Latencies {
        let mut all = Latencies::default();
        samples.iter().for_each(|ms| all.answered(PACE, Duration::from_millis(*ms)));
        all
    }

    #[test]
    fn a_hedge_waits_for_the_p95_and_has_a_floor() {
        assert_eq!(after(&[100; 5]).hedge_after(PACE), HEDGE_UNKNOWN);
        assert_eq!(after(&[100; 40]).hedge_after(PACE), Duration::from_millis(100));
        assert_eq!(after(&[1; 40]).hedge_after(PACE), HEDGE_MIN);
        let mut mixed = [50; 100];
        mixed[..5].fill(5000);
        assert_eq!(after(&mixed).hedge_after(PACE), Duration::from_millis(50));
        mixed[..6].fill(5000);
        assert_eq!(after(&mixed).hedge_after(PACE), Duration::from_secs(5));
    }

    #[test]
    fn a_timeout_follows_the_network_and_forgets_a_hiccup() {
        assert_eq!(after(&[]).timeout(PACE, 0), TIMEOUT_UNKNOWN);
        assert_eq!(after(&[20; 50]).timeout(PACE, 0), TIMEOUT_MIN);
        assert!(after(&[4000; 50]).timeout(PACE, 0) < Duration::from_secs(5));
        let mut slower = vec![20; 50];
        slower.extend([9000; 20]);
        assert!(after(&slower).timeout(PACE, 0) > Duration::from_secs(9));
        let mut hiccup = vec![20; 50];
        hiccup.push(8000);
        hiccup.extend([20; 12]);
        assert_eq!(after(&hiccup).timeout(PACE, 0), TIMEOUT_MIN);
        assert_eq!(after(&[20; 50]).timeout(PACE, 2), TIMEOUT_MIN * 4);
        assert_eq!(after(&[20; 50]).timeout(PACE, 40), TIMEOUT_MAX);
    }

    #[test]
    fn hedges_are_a_tenth_of_the_requests_at_most() {
        let mut all = after(&[]);
        while all.take_hedge() {}
        let mut hedged = 0;
        for _ in 0..1000 {
            all.answered(PACE, Duration::from_millis(1));
            hedged += i32::from(all.take_hedge());
        }
        assert!((95..=100).contains(&hedged), "{hedged}");
    }
}
