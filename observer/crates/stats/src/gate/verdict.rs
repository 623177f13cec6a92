//! From two sides to a verdict: the tiers' own, and theirs together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Baseline, Finding, Recording};
use super::exact::Scope;
use super::outcome::{Outcome, Side, Tier};
use super::{Design, Floors, bounded, causes, exact, roles, time};

/// What is said of a change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not worse than the floors allow
    Passed,
    /// Worse
    Regressed,
    /// More runs are needed
    Inconclusive,
    /// What was measured cannot be compared
    Invalid,
}

impl Verdict {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }

    /// The exit status, as docs/contract.md has it.
    pub const fn status(self) -> i32 {
        match self {
            Self::Passed => 0,
            Self::Regressed => 1,
            Self::Inconclusive => 3,
            Self::Invalid => 4,
        }
    }
}

/// What is judged, and how.
#[derive(Clone, Copy, Debug)]
pub struct Hypothesis<'a> {
    /// The side that was
    pub before: &'a Baseline,
    /// The side that is
    pub after: &'a Baseline,
    /// How they belong together
    pub design: Design,
    /// What does not matter
    pub floors: Floors,
    /// The error that this look may spend, on both sides of an interval
    pub alpha: f64,
}

/// Judges.
pub fn judge(hypothesis: &Hypothesis<'_>) -> Outcome {
    let (before, after) = (hypothesis.before, hypothesis.after);
    let (Some(old), Some(new)) = (before.latest(), after.latest()) else {
        return Outcome::invalid(Tier::All, "there are no runs");
    };
    if hypothesis.design == Design::Recordings {
        if before.command != after.command {
            let line = |side: &Baseline| model::words::argv(&side.command);
            let what = format!("the baseline is of `{}`, not of `{}`", line(before), line(after));
            return Outcome::invalid(Tier::All, what);
        }
        if before.cache != after.cache {
            let name = |side: &Baseline| format!("{:?}", side.cache).to_lowercase();
            let what = format!("the baseline has {} caches, the new runs {}", name(before), name(after));
            return Outcome::invalid(Tier::All, what);
        }
        if before.with != after.with {
            let what =
                format!("the baseline was made {}, the new runs {}", before.remedies(), after.remedies());
            return Outcome::invalid(Tier::All, what);
        }
    }
    let mut causes = causes::causes(old, new);
    if hypothesis.design == Design::Pairs {
        // Pairs share their machine: what is otherwise there is what is tried.
        causes.extend(causes::obstacles(old, new));
    }
    let changed = |names: &[&str]| causes.iter().any(|change| names.contains(&change.what.as_str()));
    // Where go.mod is not known on either side, it may be another.
    let go_mod = changed(&["go.mod", "vendor folder"]) || new.settings.go_mod.is_none();
    let scope = Scope {
        modules: go_mod || changed(&["go command", "go version", "GOFLAGS"]),
        hosts: changed(&["GOPROXY", "GOSUMDB"]),
        classes: changed(&["go command"]),
    };
    let aligned = roles::align(before, after);
    let hypothesis = match &aligned {
        Some((before, after, _)) => &Hypothesis { before, after, ..*hypothesis },
        None => hypothesis,
    };
    let exact = exact::exact(old, new, scope);
    let (mut bounded, mut time) = (bounded::bounded(hypothesis), time::time(hypothesis));
    if go_mod && exact.more_work() {
        bounded.excuse(MORE_WORK);
        time.excuse(MORE_WORK);
    }
    let (old, new) = (hypothesis.before.latest().unwrap_or(old), hypothesis.after.latest().unwrap_or(new));
    Outcome {
        roles: aligned.as_ref().map(|(_, _, changes)| changes.clone()).unwrap_or_default(),
        before: Some(Side::of(before)),
        after: Some(Side::of(after)),
        obstacles: time.obstacles.clone(),
        causes,
        evidence: evidence(old, new),
        private_names: new.findings.iter().filter(|one| one.is_private_name()).cloned().collect(),
        ..Outcome::new(together(exact.verdict, bounded.verdict, time.verdict))
    }
    .with(exact, bounded, time)
}

/// Why a total or a count that grew is not judged.
const MORE_WORK: &str = "go.mod brought modules or versions, and this may be theirs";

/// The tiers' verdicts as one. A tier that is not judged, and a time that is invalid because the
/// machine is another, say nothing.
pub fn together(exact: Option<Verdict>, bounded: Option<Verdict>, time: Option<Verdict>) -> Verdict {
    let judged: Vec<Verdict> =
        [exact, bounded, time.filter(|verdict| *verdict != Verdict::Invalid)].into_iter().flatten().collect();
    let any = |verdict| judged.contains(&verdict);
    if any(Verdict::Invalid) || judged.is_empty() {
        Verdict::Invalid
    } else if any(Verdict::Regressed) {
        Verdict::Regressed
    } else if any(Verdict::Inconclusive) {
        Verdict::Inconclusive
    } else {
        Verdict::Passed
    }
}

/// Stalls that the new side has in more of its runs.
fn evidence(before: &Recording, after: &Recording) -> Vec<Finding> {
    let share = |recording: &Recording, one: &Finding| {
        let same = |other: &&Finding| other.is_same(one);
        let found = recording.findings.iter().find(same).map_or(0, |found| found.runs);
        f64::from(found) / recording.runs.len().max(1) as f64
    };
    after.findings.iter().filter(|one| share(after, one) > share(before, one)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use Verdict::{Inconclusive, Invalid, Passed, Regressed};
    use model::stall::StallKind;

    use super::*;
    use crate::sample::gate as sample;

    #[test]
    fn unequal_replicates_are_invalid_whatever_else_is_said() {
        assert_eq!(together(Some(Invalid), Some(Regressed), Some(Regressed)), Invalid);
    }

    #[test]
    fn a_regression_of_one_tier_is_one_of_all() {
        for tiers in [
            (Some(Regressed), Some(Passed), Some(Inconclusive)),
            (Some(Passed), Some(Regressed), Some(Invalid)),
            (None, None, Some(Regressed)),
        ] {
            assert_eq!(together(tiers.0, tiers.1, tiers.2), Regressed);
        }
    }

    #[test]
    fn an_invalid_time_tier_is_only_that() {
        assert_eq!(together(Some(Passed), Some(Passed), Some(Invalid)), Passed);
        assert_eq!(together(Some(Passed), None, None), Passed);
        assert_eq!(together(None, None, Some(Invalid)), Invalid);
        assert_eq!(together(Some(Passed), Some(Passed), Some(Inconclusive)), Inconclusive);
    }

    #[test]
    fn statuses_are_the_contracts() {
        assert_eq!([Passed, Regressed, Inconclusive, Invalid].map(Verdict::status), [0, 1, 3, 4]);
    }

    fn stored(before: &Baseline, after: &Baseline) -> Outcome {
        judge(&Hypothesis {
            before,
            after,
            design: Design::Recordings,
            floors: Floors::RECORDINGS,
            alpha: 0.05,
        })
    }

    #[test]
    fn another_command_and_other_caches_are_invalid() {
        let before = sample::baseline(5, 10);
        let mut after = sample::baseline(1, 10);
        after.command.push("-x".into());
        let found = stored(&before, &after);
        assert_eq!(found.verdict, Invalid);
        assert_eq!(
            found.reasons[0].text,
            "the baseline is of `go mod download`, not of `go mod download -x`"
        );
        let mut after = sample::baseline(1, 10);
        after.cache = crate::compare::CacheKind::Warm;
        let found = stored(&before, &after);
        assert_eq!(
            (found.verdict, found.reasons[0].text.as_str()),
            (Invalid, "the baseline has cold caches, the new runs warm")
        );
        let mut after = sample::baseline(1, 10);
        after.with = vec!["gateway".into(), "http1".into()];
        let found = stored(&before, &after);
        assert_eq!(
            (found.verdict, found.reasons[0].text.as_str()),
            (Invalid, "the baseline was made without a remedy, the new runs with gateway and http1")
        );
    }

    #[test]
    fn another_machine_leaves_the_exact_tier_in_force() {
        let before = sample::baseline(6, 10);
        let mut after = sample::baseline(1, 10);
        after.recordings[0].machine.kernel = "6.99.0".into();
        let found = stored(&before, &after);
        assert_eq!(found.verdict, Passed);
        assert_eq!(found.time.as_ref().unwrap().verdict, Some(Invalid));
        assert_eq!(found.obstacles[0].what, "kernel");
        after.recordings[0].requests[0][0].count += 1;
        assert_eq!(stored(&before, &after).verdict, Regressed);
    }

    #[test]
    fn a_private_name_is_listed_also_when_it_left_before() {
        let mut before = sample::baseline(1, 10);
        before.recordings[0].findings.push(sample::private_name());
        let found = stored(&before, &before.clone());
        assert_eq!((found.verdict, found.evidence.len()), (Passed, 0));
        assert_eq!(found.private_names, [sample::private_name()]);
        let healthy = sample::baseline(1, 10);
        assert_eq!(stored(&before, &healthy).private_names, []);
    }

    #[test]
    fn new_stalls_are_evidence() {
        let before = sample::baseline(1, 10);
        let mut after = before.clone();
        after.recordings[0].findings.push(Finding {
            kind: StallKind::DnsTimeout.into(),
            phase: model::record::Phase::Dns,
            host: None,
            summary: "one answer was lost".into(),
            runs: 4,
        });
        assert_eq!(stored(&before, &after).evidence.len(), 1);
        assert_eq!(stored(&after, &after).evidence.len(), 0);
    }
}
