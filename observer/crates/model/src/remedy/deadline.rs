//! The remedy `deadline`: a command in which nothing moves is ended and started again.

use std::fmt;
use std::time::Duration;

use crate::user_error::UserError;

/// A command rests for so long at least before `deadline` ends it: longer than what ends by itself, for go gives up
/// connecting after 30 s.
pub const LEAST: Duration = Duration::from_secs(35);
/// No other is understood.
const RANGE_S: std::ops::RangeInclusive<u64> = 1..=3600;

/// How long a command may rest at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Deadline {
    least: Option<Duration>,
}

impl Deadline {
    /// Its name after `--with`.
    pub(super) const NAME: &'static str = "deadline";

    /// Understands what stands behind `deadline=`: `45s`, `2m`.
    pub(super) fn parse(value: Option<&str>) -> Result<Self, UserError> {
        let Some(value) = value else { return Ok(Self { least: None }) };
        let (number, unit_s) = match (value.strip_suffix('s'), value.strip_suffix('m')) {
            (Some(number), _) => (number, 1),
            (_, Some(number)) => (number, 60),
            _ => (value, 1),
        };
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = number.parse::<u64>().ok().filter(|_| is_plain).and_then(|n| n.checked_mul(unit_s));
        match seconds.filter(|seconds| RANGE_S.contains(seconds)) {
            Some(seconds) => Ok(Self { least: Some(Duration::from_secs(seconds)) }),
            None => Err(UserError::new(
                "deadline: expected a time from 1s to 60m",
                "--with deadline, or --with deadline=45s",
            )),
        }
    }

    /// How long nothing may move, at least.
    pub(super) fn least(self) -> Duration {
        self.least.unwrap_or(LEAST)
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.least {
            None => f.write_str(Self::NAME),
            Some(least) => write!(f, "{}={}s", Self::NAME, least.as_secs()),
        }
    }
}
