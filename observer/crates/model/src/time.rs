//! Points in time and durations, so that none is taken for the other: a point by a clock has a type of
//! that clock, a duration is a plain number of nanoseconds. In files all are integers.

use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A duration, nanoseconds.
pub type Ns = u64;

macro_rules! clocks {
    ($($(#[$doc:meta])+ $name:ident;)+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(pub u64);

            plain!($name, u64);

            impl $name {
                /// The clock's zero.
                pub const ZERO: Self = Self(0);
                /// Later than anything that happens.
                pub const MAX: Self = Self(u64::MAX);

                /// How long before this `earlier` was; 0 when it was not.
                pub const fn saturating_sub(self, earlier: Self) -> Ns {
                    self.0.saturating_sub(earlier.0)
                }

                /// How long before this `earlier` was; `None` when it was not.
                pub const fn checked_sub(self, earlier: Self) -> Option<Ns> {
                    self.0.checked_sub(earlier.0)
                }

                /// How far apart they are.
                pub const fn abs_diff(self, other: Self) -> Ns {
                    self.0.abs_diff(other.0)
                }

                /// A duration later, [`Self::MAX`] at most.
                #[must_use]
                pub const fn saturating_add(self, duration: Ns) -> Self {
                    Self(self.0.saturating_add(duration))
                }

                /// A duration later, or earlier where it is negative.
                #[must_use]
                pub const fn saturating_add_signed(self, duration: i64) -> Self {
                    Self(self.0.saturating_add_signed(duration))
                }

                /// A duration earlier, [`Self::ZERO`] at least.
                #[must_use]
                pub const fn earlier_by(self, duration: Ns) -> Self {
                    Self(self.0.saturating_sub(duration))
                }
            }

            impl Sub for $name {
                type Output = Ns;

                /// How long before this `earlier` was, which must not be later.
                fn sub(self, earlier: Self) -> Ns {
                    self.0 - earlier.0
                }
            }

            impl Add<Ns> for $name {
                type Output = Self;

                fn add(self, duration: Ns) -> Self {
                    Self(self.0 + duration)
                }
            }

            impl AddAssign<Ns> for $name {
                fn add_assign(&mut self, duration: Ns) {
                    self.0 += duration;
                }
            }

            impl Sub<Ns> for $name {
                type Output = Self;

                fn sub(self, duration: Ns) -> Self {
                    Self(self.0 - duration)
                }
            }
        )+
    };
}

clocks! {
    /// A point in time: nanoseconds from the start of the observation.
    SinceStart;
    /// A point in time by the kernel's `CLOCK_MONOTONIC`, as in records of the ring buffer, nanoseconds.
    Monotonic;
}

impl Monotonic {
    /// The same point in an observation that began at `start`; what was before is at its start.
    pub const fn since(self, start: Self) -> SinceStart {
        SinceStart(self.saturating_sub(start))
    }
}
