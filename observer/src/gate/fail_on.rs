//! Which verdicts fail the build: `--fail-on`. In: an outcome. Out: the exit status.

use super::outcome::Outcome;
use super::verdict::Verdict;

/// What fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailOn {
    /// A regression: status 1
    pub regressed: bool,
    /// Status 3
    pub inconclusive: bool,
    /// Status 4
    pub invalid: bool,
    /// A verdict from which a tier is missing: status 4
    pub unjudged: bool,
}

impl Default for FailOn {
    fn default() -> Self {
        Self { regressed: true, inconclusive: true, invalid: true, unjudged: false }
    }
}

impl FailOn {
    /// Whether that verdict fails.
    pub const fn fails(self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Passed => false,
            Verdict::Regressed => self.regressed,
            Verdict::Inconclusive => self.inconclusive,
            Verdict::Invalid => self.invalid,
        }
    }

    /// The exit status.
    pub fn status(self, outcome: &Outcome) -> i32 {
        if self.fails(outcome.verdict) {
            outcome.verdict.status()
        } else if self.unjudged && !outcome.unjudged.is_empty() {
            Verdict::Invalid.status()
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::outcome::{Reason, Tier};

    const ALL: [Verdict; 4] = [Verdict::Passed, Verdict::Regressed, Verdict::Inconclusive, Verdict::Invalid];

    #[test]
    fn the_default_is_the_contracts_table() {
        let status = |verdict| FailOn::default().status(&Outcome::new(verdict));
        assert_eq!(ALL.map(status), [0, 1, 3, 4]);
    }

    #[test]
    fn what_is_not_to_fail_is_0() {
        let only = FailOn { inconclusive: false, invalid: false, ..FailOn::default() };
        assert_eq!(ALL.map(|verdict| only.status(&Outcome::new(verdict))), [0, 1, 0, 0]);
    }

    #[test]
    fn a_missing_tier_fails_when_it_is_to() {
        let mut outcome = Outcome::new(Verdict::Passed);
        outcome.unjudged.push(Reason::of(Tier::Time, "too few recordings"));
        assert_eq!(FailOn::default().status(&outcome), 0);
        assert_eq!(FailOn { unjudged: true, ..FailOn::default() }.status(&outcome), 4);
    }
}
