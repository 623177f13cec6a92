//! What fails the build: `--fail-on`, verdicts and tiers. In: an outcome. Out: the exit status.

use model::report::Blame;

use super::outcome::{Outcome, Tier};
use super::verdict::{Verdict, together};

/// What fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailOn {
    /// A regression: status 1
    pub regressed: bool,
    /// Status 3; a notice says it otherwise
    pub inconclusive: bool,
    /// Status 4
    pub invalid: bool,
    /// The tiers that count
    pub tiers: Tiers,
    /// A verdict from which a tier that counts is missing: status 4
    pub unjudged: bool,
    /// A private module's name that left: status 5
    pub private_name: bool,
    /// A command that failed by the network has a status of its own, 6
    pub network: bool,
}

/// Exit status when a private module's name left and that is to fail, as docs/contract.md has it.
const PRIVATE_NAME: i32 = 5;
/// Exit status when the network failed the command and that is to be distinguished; likewise.
pub const NETWORK: i32 = 6;

/// Tiers that can fail a build.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiers {
    /// Requests
    pub exact: bool,
    /// Counts
    pub bounded: bool,
    /// Times
    pub time: bool,
}

impl Tiers {
    /// All of them.
    pub const ALL: Self = Self { exact: true, bounded: true, time: true };

    /// Whether that one counts; what is said of the whole measurement does.
    pub const fn has(self, tier: Tier) -> bool {
        match tier {
            Tier::Exact => self.exact,
            Tier::Bounded => self.bounded,
            Tier::Time => self.time,
            Tier::All => true,
        }
    }
}

impl Default for FailOn {
    fn default() -> Self {
        Self {
            regressed: true,
            inconclusive: false,
            invalid: true,
            tiers: Tiers::ALL,
            unjudged: false,
            private_name: false,
            network: false,
        }
    }
}

impl FailOn {
    /// Whether that verdict of that tier fails.
    pub const fn fails(self, tier: Tier, verdict: Verdict) -> bool {
        let named = match verdict {
            Verdict::Passed => false,
            Verdict::Regressed => self.regressed,
            Verdict::Inconclusive => self.inconclusive,
            Verdict::Invalid => self.invalid,
        };
        named && self.tiers.has(tier)
    }

    /// Whether a name that left fails, of those there are.
    pub const fn fails_by_name(self, outcome: &Outcome) -> bool {
        self.private_name && !outcome.private_names.is_empty()
    }

    /// The exit status; a name that left goes before how long it took.
    pub fn status(self, outcome: &Outcome) -> i32 {
        if self.fails_by_name(outcome) {
            return PRIVATE_NAME;
        }
        if self.network && outcome.blame == Some(Blame::Network) {
            return NETWORK;
        }
        let verdict = self.counted(outcome);
        if self.fails(Tier::All, verdict) {
            verdict.status()
        } else if self.fails_by_absence(outcome) {
            Verdict::Invalid.status()
        } else {
            0
        }
    }

    fn fails_by_absence(self, outcome: &Outcome) -> bool {
        self.unjudged && outcome.unjudged.iter().any(|reason| self.tiers.has(reason.tier))
    }

    /// The answer in a line; what fails the build comes first.
    pub fn headline(self, outcome: &Outcome) -> String {
        let headline = outcome.headline();
        if self.fails_by_name(outcome) {
            return format!("the name of a private module left, which fails the build; by itself {headline}");
        }
        headline
    }

    /// What a reader must know where the verdict's name and the exit status do not say the same.
    pub fn notice(self, outcome: &Outcome) -> Option<String> {
        if self.fails_by_name(outcome) {
            return None;
        }
        if self.status(outcome) == NETWORK {
            let times = model::human::count(outcome.repeated.into(), "round");
            return Some(format!("the network failed it, also after {times} more: status {NETWORK}"));
        }
        if self.fails_by_absence(outcome) && !self.fails(Tier::All, self.counted(outcome)) {
            return Some("what could not be judged fails the build, as --fail-on unjudged asks".to_owned());
        }
        if outcome.verdict == Verdict::Passed || self.status(outcome) != 0 {
            return None;
        }
        let name = outcome.verdict.name();
        Some(format!("{name} does not fail the build as --fail-on is; `--fail-on {name}` would"))
    }

    /// The verdict of the tiers that count.
    fn counted(self, outcome: &Outcome) -> Verdict {
        let (Some(exact), Some(bounded), Some(time)) = (&outcome.exact, &outcome.bounded, &outcome.time)
        else {
            return outcome.verdict;
        };
        if self.tiers == Tiers::ALL {
            return outcome.verdict;
        }
        let of = |tier, verdict: Option<Verdict>| verdict.filter(|_| self.tiers.has(tier));
        let tiers = [
            of(Tier::Exact, exact.verdict),
            of(Tier::Bounded, bounded.verdict),
            of(Tier::Time, time.verdict),
        ];
        if tiers.iter().all(|verdict| verdict.is_none_or(|verdict| verdict == Verdict::Passed)) {
            return Verdict::Passed;
        }
        match together(tiers[0], tiers[1], tiers[2]) {
            // Times of another machine say nothing, also when they alone are asked.
            Verdict::Invalid if tiers[0] != Some(Verdict::Invalid) => Verdict::Passed,
            verdict => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::record::Phase;

    use super::*;
    use crate::gate::outcome::Reason;
    use crate::gate::verdict::{Hypothesis, judge};
    use crate::gate::{Design, Floors};
    use crate::sample::gate as sample;

    const ALL: [Verdict; 4] = [Verdict::Passed, Verdict::Regressed, Verdict::Inconclusive, Verdict::Invalid];

    #[test]
    fn an_inconclusive_gate_passes_unless_it_is_asked_not_to() {
        let status = |fail_on: FailOn| ALL.map(|verdict| fail_on.status(&Outcome::new(verdict)));
        assert_eq!(status(FailOn::default()), [0, 1, 0, 4]);
        assert_eq!(status(FailOn { inconclusive: true, ..FailOn::default() }), [0, 1, 3, 4]);
        let notice = FailOn::default().notice(&Outcome::new(Verdict::Inconclusive)).unwrap();
        assert!(notice.contains("--fail-on inconclusive"), "{notice}");
        assert_eq!(FailOn::default().notice(&Outcome::new(Verdict::Regressed)), None);
    }

    #[test]
    fn what_is_not_to_fail_is_0() {
        let only = FailOn { invalid: false, ..FailOn::default() };
        assert_eq!(ALL.map(|verdict| only.status(&Outcome::new(verdict))), [0, 1, 0, 0]);
    }

    #[test]
    fn a_private_name_fails_when_it_is_to_whatever_the_verdict() {
        let only = FailOn { private_name: true, regressed: false, invalid: false, ..FailOn::default() };
        for verdict in ALL {
            let mut outcome = Outcome::new(verdict);
            assert_eq!(only.status(&outcome), 0, "{verdict:?}");
            outcome.private_names.push(sample::private_name());
            assert_eq!(only.status(&outcome), 5, "{verdict:?}");
        }
        let mut outcome = Outcome::new(Verdict::Passed);
        outcome.private_names.push(sample::private_name());
        assert_eq!(FailOn::default().status(&outcome), 0);
    }

    #[test]
    fn a_failure_of_the_network_has_its_own_status_where_that_is_asked() {
        let fail_on = FailOn { network: true, ..FailOn::default() };
        let mut outcome = Outcome::new(Verdict::Invalid);
        assert_eq!(fail_on.status(&outcome), 4);
        for (blame, status) in [(Blame::Network, NETWORK), (Blame::Machine, 4), (Blame::Command, 4)] {
            outcome.blame = Some(blame);
            assert_eq!(fail_on.status(&outcome), status, "{blame:?}");
            assert_eq!(FailOn::default().status(&outcome), 4, "{blame:?}");
        }
        outcome.blame = Some(Blame::Network);
        assert!(fail_on.notice(&outcome).unwrap().contains("status 6"));
    }

    #[test]
    fn a_missing_tier_fails_when_it_is_to() {
        let mut outcome = Outcome::new(Verdict::Passed);
        outcome.unjudged.push(Reason::of(Tier::Time, "too few recordings"));
        assert_eq!(FailOn::default().status(&outcome), 0);
        let unjudged = FailOn { unjudged: true, ..FailOn::default() };
        assert_eq!(unjudged.status(&outcome), 4);
        let notice = unjudged.notice(&outcome).unwrap();
        assert!(notice.contains("fails the build") && FailOn::default().notice(&outcome).is_none());
        let exact = Tiers { bounded: false, time: false, ..Tiers::ALL };
        assert_eq!(FailOn { tiers: exact, ..unjudged }.status(&outcome), 0);
    }

    #[test]
    fn only_tiers_that_are_named_fail() {
        let before = sample::baseline(1, 10);
        let mut slow = before.clone();
        slow.recordings[0].runs.iter_mut().for_each(|run| sample::delay(run, Phase::Proxy, 900_000_000));
        let design = Design::Pairs;
        let outcome =
            judge(&Hypothesis { before: &before, after: &slow, design, floors: Floors::PAIRS, alpha: 0.05 });
        assert_eq!(outcome.verdict, Verdict::Regressed);
        let of = |exact, bounded, time| FailOn { tiers: Tiers { exact, bounded, time }, ..FailOn::default() };
        assert_eq!(of(false, false, true).status(&outcome), 1);
        assert_eq!(of(true, true, false).status(&outcome), 0);
        assert!(of(true, true, false).notice(&outcome).unwrap().starts_with("regressed does not fail"));
    }
}
