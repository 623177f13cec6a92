//! Bars: what was measured beside what was promised.

use std::fmt;

use serde::Serialize;

/// A promise, and how it was kept.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Of what
    pub what: String,
    /// What was measured
    pub value: f64,
    /// At most (or at least) this
    pub bar: f64,
    /// The unit of both
    pub unit: &'static str,
    /// `None`: too few runs to say
    pub met: Option<bool>,
}

impl Verdict {
    /// A value that must not exceed the bar; NaN is not known.
    pub fn at_most(what: impl Into<String>, value: f64, bar: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, bar, unit, met: (!value.is_nan()).then_some(value <= bar) }
    }

    /// A value that must reach the bar; NaN is not known.
    pub fn at_least(what: impl Into<String>, value: f64, bar: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, bar, unit, met: (!value.is_nan()).then_some(value >= bar) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not known",
        };
        write!(f, "{:<58} {:>9.3} {:<2} bar {:>7.3}  {word}", self.what, self.value, self.unit, self.bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_the_bar_meets_it_and_an_unknown_one_does_not() {
        assert_eq!(Verdict::at_most("", 1.0, 1.0, "").met, Some(true));
        assert_eq!(Verdict::at_most("", 1.1, 1.0, "").met, Some(false));
        assert_eq!(Verdict::at_least("", 0.9, 1.0, "").met, Some(false));
        assert_eq!(Verdict::at_least("", f64::NAN, 1.0, "").met, None);
    }
}
