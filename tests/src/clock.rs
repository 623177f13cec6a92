//! The kernel's clocks, in nanoseconds, and how to get from one to the other.

use nix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> u64 {
    // Neither clock can fail: both exist on every Linux.
    clock_gettime(clock).map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

/// `CLOCK_MONOTONIC` now, nanoseconds.
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ClockPair {
    /// `CLOCK_MONOTONIC`, nanoseconds
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME`, nanoseconds
    pub realtime_ns: u64,
    /// The two were read at most this far apart, nanoseconds
    pub error_ns: u64,
}

impl ClockPair {
    /// Reads both clocks several times and keeps the closest reading.
    pub fn sample() -> Self {
        let once = || {
            let before = monotonic_ns();
            let realtime_ns = read(ClockId::CLOCK_REALTIME);
            let after = monotonic_ns();
            let half = after.saturating_sub(before) / 2;
            Self { monotonic_ns: before + half, realtime_ns, error_ns: half }
        };
        (0..32)
            .map(|_| once())
            .fold(once(), |best, pair| if pair.error_ns < best.error_ns { pair } else { best })
    }

    /// A moment of the real-time clock on the monotonic one. Wrong by [`Self::error_ns`], by
    /// the same error of whoever read the real-time clock, and by what the clock was slewed or
    /// set in between.
    pub fn to_monotonic(self, realtime_ns: u64) -> i128 {
        i128::from(self.monotonic_ns) + i128::from(realtime_ns) - i128::from(self.realtime_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_keeps_its_distance_on_the_other_clock() {
        let pair = ClockPair { monotonic_ns: 500, realtime_ns: 9_000, error_ns: 0 };
        assert_eq!(pair.to_monotonic(9_000), 500);
        assert_eq!(pair.to_monotonic(8_400), -100);
    }

    #[test]
    fn the_clocks_are_read_within_a_millisecond() {
        assert!(ClockPair::sample().error_ns < 1_000_000);
    }
}
