//! The bounded tier: counts that depend on luck. In: a hypothesis. Out: for each, whether it lies
//! more than its floor above what it was.
//!
//! Connections, queries and tiles depend on the command and its timing, so runs are counted;
//! retransmissions depend on the network's hour, so against a stored baseline recordings are.

use model::record::Phase;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Design;
use super::baseline::{Recording, Run};
use super::time::FEWEST_RECORDINGS;
use super::verdict::{Hypothesis, Verdict};
use crate::estimators;

/// What came of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Bounded {
    /// `None`: not judged
    pub verdict: Option<Verdict>,
    /// Why not
    pub why: Option<String>,
    /// The counts
    pub counts: Vec<Count>,
}

/// One count.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// `connections`, `dns`, `tiles`, `retransmissions`
    pub what: String,
    /// The phase it costs time in; `None`: any
    pub phase: Option<Phase>,
    /// Median of what was
    pub before: f64,
    /// Median of what is
    pub after: f64,
    /// A shift up to this does not matter
    pub floor: f64,
    /// Chance of such a shift when the true one is no larger than the floor; Holm's correction
    pub p: f64,
    /// `None`: not judged
    pub verdict: Option<Verdict>,
}

/// A count: its name, phase, smallest floor, and the figure.
type What = (&'static str, Option<Phase>, f64, fn(&Run) -> u64);

const COUNTS: [What; 4] = [
    ("connections", Some(Phase::Connect), 2.0, |run| run.connections),
    ("dns", Some(Phase::Dns), 4.0, |run| run.dns),
    ("tiles", Some(Phase::Sumdb), 8.0, |run| run.tiles),
    ("retransmissions", None, 10.0, |run| run.retransmissions),
];
/// A shift up to this share does not matter either.
const RELATIVE: f64 = 0.25;

/// Judges the counts.
pub fn bounded(hypothesis: &Hypothesis<'_>) -> Bounded {
    let (Some(old), Some(new)) = (hypothesis.before.latest(), hypothesis.after.latest()) else {
        return Bounded::default();
    };
    let tests: Vec<Test> = COUNTS.iter().map(|what| test(hypothesis, old, new, *what)).collect();
    let judged: Vec<f64> = tests.iter().filter(|test| test.able).map(|test| test.above).collect();
    let mut adjusted = estimators::holm(&judged).into_iter();
    let bar = hypothesis.alpha / 2.0;
    let mut counts = Vec::new();
    for Test { mut count, above, below, able } in tests {
        let p = if able { adjusted.next().unwrap_or(above) } else { above };
        count.p = p;
        count.verdict = able.then_some(if p <= bar {
            Verdict::Regressed
        } else if below <= bar {
            Verdict::Passed
        } else {
            Verdict::Inconclusive
        });
        counts.push(count);
    }
    let any = |verdict| counts.iter().any(|count| count.verdict == Some(verdict));
    let verdict = [Verdict::Regressed, Verdict::Inconclusive, Verdict::Passed].into_iter().find(|v| any(*v));
    let why = verdict.is_none().then(|| "too few runs to test counts".to_owned());
    Bounded { verdict, why, counts }
}

impl Bounded {
    /// Leaves what is not passed unjudged, and says why.
    pub fn excuse(&mut self, why: &str) {
        let open = |verdict| matches!(verdict, Some(Verdict::Regressed | Verdict::Inconclusive));
        if !open(self.verdict) {
            return;
        }
        let those = self.counts.iter_mut().filter(|count| open(count.verdict));
        let texts: Vec<String> = those
            .map(|count| {
                count.verdict = None;
                count.text()
            })
            .collect();
        let passed = self.counts.iter().any(|count| count.verdict == Some(Verdict::Passed));
        self.verdict = passed.then_some(Verdict::Passed);
        self.why = Some(format!("{}; {why}", texts.join("; ")));
    }
}

struct Test {
    count: Count,
    above: f64,
    below: f64,
    /// There are enough runs for either to be small
    able: bool,
}

fn test(
    hypothesis: &Hypothesis<'_>,
    old: &Recording,
    new: &Recording,
    (what, phase, least, figure): What,
) -> Test {
    let by_recordings = hypothesis.design == Design::Recordings && what == "retransmissions";
    let all = |recordings: &[Recording]| -> Vec<f64> {
        recordings.iter().filter_map(|recording| estimators::median(&recording.figures(figure))).collect()
    };
    let (before, after) = if by_recordings {
        (all(&hypothesis.before.recordings), all(&hypothesis.after.recordings))
    } else {
        (old.figures(figure), new.figures(figure))
    };
    let middle = |values: &[f64]| estimators::median(values).unwrap_or(0.0);
    let floor = least.max(RELATIVE * middle(&before));
    let bar = hypothesis.alpha / 2.0;
    let (above, below, able) = if by_recordings {
        let negative = |values: &[f64]| values.iter().map(|value| -value).collect::<Vec<_>>();
        (
            estimators::recordings_above(&before, &after, floor),
            estimators::recordings_above(&negative(&before), &negative(&after), -floor),
            before.len() >= FEWEST_RECORDINGS,
        )
    } else if hypothesis.design == Design::Pairs {
        let beyond: Vec<f64> = before.iter().zip(&after).map(|(old, new)| new - old - floor).collect();
        let short: Vec<f64> = beyond.iter().map(|value| -value).collect();
        let able = estimators::signed_rank_cut(beyond.len(), bar).is_some();
        (estimators::signed_rank(&beyond), estimators::signed_rank(&short), able)
    } else {
        let raised: Vec<f64> = before.iter().map(|value| value + floor).collect();
        let able = estimators::rank_sum_cut(before.len(), after.len(), bar).is_some();
        (estimators::rank_sum(&raised, &after), estimators::rank_sum(&after, &raised), able)
    };
    let count = Count {
        what: what.to_owned(),
        phase,
        before: middle(&before),
        after: middle(&after),
        floor,
        p: above,
        verdict: None,
    };
    Test { count, above, below, able }
}

impl Count {
    /// `connections: 8, was 2 (up to 2 more do not matter)`
    pub fn text(&self) -> String {
        let number = |value: f64| format!("{value:.1}").trim_end_matches(".0").to_owned();
        format!(
            "{}: {}, was {} (up to {} more do not matter)",
            self.what,
            number(self.after),
            number(self.before),
            number(self.floor)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Floors;
    use crate::gate::baseline::Baseline;
    use crate::sample::gate as sample;

    fn judged(before: &Baseline, after: &Baseline, design: Design) -> Bounded {
        bounded(&Hypothesis { before, after, design, floors: Floors::PAIRS, alpha: 0.05 })
    }

    #[test]
    fn equal_counts_pass_and_many_more_regress() {
        let before = sample::baseline(1, 10);
        for design in [Design::Pairs, Design::Recordings] {
            assert_eq!(judged(&before, &before, design).verdict, Some(Verdict::Passed), "{design:?}");
            let mut after = before.clone();
            after.recordings[0].runs.iter_mut().for_each(|run| run.connections += 9);
            let found = judged(&before, &after, design);
            assert_eq!(found.verdict, Some(Verdict::Regressed), "{design:?}");
            assert_eq!(found.counts[0].text(), "connections: 11, was 2 (up to 2 more do not matter)");
        }
    }

    #[test]
    fn a_count_within_its_floor_is_no_regression() {
        let before = sample::baseline(1, 10);
        let mut after = before.clone();
        after.recordings[0].runs.iter_mut().for_each(|run| run.connections += 1);
        assert_eq!(judged(&before, &after, Design::Pairs).verdict, Some(Verdict::Passed));
    }

    #[test]
    fn a_count_about_its_floor_is_inconclusive() {
        let before = sample::baseline(1, 10);
        let mut after = before.clone();
        for (index, run) in after.recordings[0].runs.iter_mut().enumerate() {
            run.connections += if index % 2 == 0 { 1 } else { 3 };
        }
        assert_eq!(judged(&before, &after, Design::Pairs).verdict, Some(Verdict::Inconclusive));
    }

    #[test]
    fn too_few_runs_are_not_judged() {
        let few = sample::baseline(1, 5);
        let found = judged(&few, &few, Design::Pairs);
        assert_eq!((found.verdict, found.why.as_deref()), (None, Some("too few runs to test counts")));
    }

    #[test]
    fn retransmissions_are_judged_by_five_recordings_or_pairs() {
        let verdict = |recordings| {
            let (before, after) = (sample::baseline(recordings, 10), sample::baseline(1, 10));
            judged(&before, &after, Design::Recordings).counts[3].verdict
        };
        assert_eq!((verdict(4), verdict(5)), (None, Some(Verdict::Passed)));
    }
}
