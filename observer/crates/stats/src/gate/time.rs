//! The time tier: the total, and the phases and hosts that name the cause. In: a hypothesis. Out:
//! shifts with intervals, and a verdict by the rule of [`super`].

use std::collections::BTreeSet;

use model::record::Phase;
use model::time::Ns;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Recording, Run};
use super::causes::{self, Change};
use super::verdict::{Hypothesis, Verdict};
use super::{Design, Floors};
use crate::estimators::{self, Method, Shift};

/// The fewest recordings of a baseline that judge time.
pub const FEWEST_RECORDINGS: usize = 5;
/// More runs than that are not asked for.
const MOST_RUNS: usize = 1000;

/// What came of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Time {
    /// `None`: not judged, an advice
    pub verdict: Option<Verdict>,
    /// Why it is invalid or not judged
    pub why: Option<String>,
    /// What makes times incomparable
    pub obstacles: Vec<Change>,
    /// What is counted: pairs of runs, or recordings
    pub unit: Unit,
    /// How many of them the side that was has
    pub units_before: u32,
    /// And the new one
    pub units_after: u32,
    /// The total
    pub total: Total,
    /// Phases, in table order, and hosts
    pub parts: Vec<Part>,
    /// What would decide it; `None`: decided, or no number would
    pub more: Option<u32>,
}

/// What a figure stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A run and its partner
    Pair,
    /// All runs of a recording
    Recording,
}

/// The total's shift.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Total {
    /// Median of what was
    pub before_ns: Ns,
    /// Median of what is
    pub after_ns: Ns,
    /// The shift
    pub shift_ns: i64,
    /// Its interval; `None` with too few
    pub low_ns: Option<i64>,
    /// Likewise
    pub high_ns: Option<i64>,
    /// The same as a ratio
    pub ratio: f64,
    /// Its interval
    pub ratio_low: Option<f64>,
    /// Likewise
    pub ratio_high: Option<f64>,
    /// How sure the intervals are: 0.95
    pub confidence: f64,
    /// How they were found
    pub method: Method,
    /// Below this share of the baseline nothing matters
    pub floor_relative: f64,
    /// Below this time nothing matters
    pub floor_absolute_ns: Ns,
}

/// A phase's or a host's part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// The phase; of a host, the one that grew most with it
    pub phase: Option<Phase>,
    /// The host; `None` for a phase
    pub host: Option<String>,
    /// Median of what was
    pub before_ns: Ns,
    /// Median of what is
    pub after_ns: Ns,
    /// The shift
    pub shift_ns: i64,
    /// Its interval, by itself, with the total's confidence; `None` where nothing is judged or with too few
    #[serde(default)]
    pub low_ns: Option<i64>,
    /// Likewise
    #[serde(default)]
    pub high_ns: Option<i64>,
    /// Chance of such a shift when the true one is no larger than a floor; Holm's correction
    pub p: f64,
    /// It is shown to have grown beyond both floors
    pub named: bool,
}

/// Judges the time.
pub fn time(hypothesis: &Hypothesis<'_>) -> Time {
    let (old, obstacles) = comparable(hypothesis);
    let new: Vec<&Recording> = hypothesis.after.recordings.iter().collect();
    let why = match hypothesis.design {
        Design::Recordings if old.is_empty() => Some((Some(Verdict::Invalid), other_machine(&obstacles))),
        Design::Recordings if old.len() < FEWEST_RECORDINGS => {
            let have = model::human::count(old.len() as u64, "recording");
            let why = format!(
                "{have} of the baseline from such a machine; {FEWEST_RECORDINGS} judge time, `gate ab` needs none"
            );
            Some((None, why))
        }
        _ => None,
    };
    // An advice is shown from what there is, and so is what another machine took.
    let old = if old.is_empty() { hypothesis.before.recordings.iter().collect() } else { old };
    let sides = Sides { old, new, design: hypothesis.design };
    let (before, after) = sides.units(|run| run.wall_ns);
    let (shift, ratio) = shifts(hypothesis, &before, &after);
    let floors = hypothesis.floors;
    let rule = why.is_none().then(|| decide(&shift, &ratio, floors));
    let judged = why.is_none();
    let verdict = why.as_ref().map_or(rule, |(verdict, _)| *verdict);
    let more =
        (verdict == Some(Verdict::Inconclusive)).then(|| more(hypothesis, &shift, &before, &after)).flatten();
    let ends = |interval: Option<(f64, f64)>| (interval.map(|ends| ends.0), interval.map(|ends| ends.1));
    // Without a judgement an interval would promise what it cannot keep.
    let (low, high) = ends(shift.interval.filter(|_| judged));
    let (ratio_low, ratio_high) = ends(ratio.interval.filter(|_| judged));
    Time {
        verdict,
        why: why.map(|(_, why)| why),
        obstacles,
        unit: if hypothesis.design == Design::Pairs { Unit::Pair } else { Unit::Recording },
        units_before: before.len() as u32,
        units_after: after.len() as u32,
        total: Total {
            before_ns: middle(&before),
            after_ns: middle(&after),
            shift_ns: shift.estimate as i64,
            low_ns: low.map(|low| low as i64),
            high_ns: high.map(|high| high as i64),
            ratio: ratio.estimate,
            ratio_low,
            ratio_high,
            confidence: 1.0 - hypothesis.alpha,
            method: shift.method,
            floor_relative: floors.relative,
            floor_absolute_ns: floors.absolute_ns,
        },
        parts: parts(hypothesis, &sides, judged),
        more,
    }
}

/// The decision rule.
fn decide(shift: &Shift, ratio: &Shift, floors: Floors) -> Verdict {
    let (Some((low, high)), Some((ratio_low, ratio_high))) = (shift.interval, ratio.interval) else {
        return Verdict::Inconclusive;
    };
    let (absolute, relative) = (floors.absolute_ns as f64, 1.0 + floors.relative);
    if low > absolute && ratio_low > relative {
        Verdict::Regressed
    } else if high < absolute || ratio_high < relative {
        Verdict::Passed
    } else {
        Verdict::Inconclusive
    }
}

/// Recordings of the baseline from a machine like the new one's; and what is otherwise with the
/// latest when there are none. Pairs share their machine, but GOMAXPROCS may be what is tried.
fn comparable<'a>(hypothesis: &Hypothesis<'a>) -> (Vec<&'a Recording>, Vec<Change>) {
    let all = &hypothesis.before.recordings;
    let Some(new) = hypothesis.after.latest() else { return (Vec::new(), Vec::new()) };
    if hypothesis.design == Design::Pairs {
        return (all.iter().collect(), Vec::new());
    }
    let alike: Vec<&Recording> = all.iter().filter(|old| causes::obstacles(old, new).is_empty()).collect();
    let obstacles = match (alike.is_empty(), all.last()) {
        (true, Some(old)) => causes::obstacles(old, new),
        _ => Vec::new(),
    };
    (alike, obstacles)
}

fn other_machine(obstacles: &[Change]) -> String {
    let texts: Vec<String> = obstacles.iter().map(Change::text).collect();
    format!("times cannot be compared: {}", texts.join("; "))
}

/// Both sides' recordings.
struct Sides<'a> {
    old: Vec<&'a Recording>,
    new: Vec<&'a Recording>,
    design: Design,
}

impl Sides<'_> {
    /// A figure a unit: of pairs as many on both sides.
    fn units(&self, figure: impl Fn(&Run) -> Ns + Copy) -> (Vec<f64>, Vec<f64>) {
        let of = |side: &[&Recording]| -> Vec<f64> {
            match self.design {
                Design::Pairs => side.last().map_or_else(Vec::new, |recording| recording.figures(figure)),
                Design::Recordings => side
                    .iter()
                    .filter_map(|recording| estimators::median(&recording.figures(figure)))
                    .collect(),
            }
        };
        let (mut before, mut after) = (of(&self.old), of(&self.new));
        if self.design == Design::Pairs {
            let pairs = before.len().min(after.len());
            before.truncate(pairs);
            after.truncate(pairs);
        }
        (before, after)
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.old.iter().chain(&self.new).flat_map(|recording| &recording.runs)
    }
}

/// In nanoseconds, and as a ratio.
fn shifts(hypothesis: &Hypothesis<'_>, before: &[f64], after: &[f64]) -> (Shift, Shift) {
    let nothing = Shift { estimate: 0.0, interval: None, method: Method::SignedRank };
    let logs = |values: &[f64]| values.iter().map(|value| value.max(1.0).ln()).collect::<Vec<_>>();
    let of = |before: &[f64], after: &[f64]| match hypothesis.design {
        Design::Pairs => estimators::paired(&differences(before, after, 1.0), hypothesis.alpha),
        Design::Recordings => estimators::between_recordings(before, after, hypothesis.alpha),
    };
    let shift = of(before, after).unwrap_or(nothing);
    let ratio = of(&logs(before), &logs(after)).unwrap_or(nothing).map(f64::exp);
    (shift, ratio)
}

fn differences(before: &[f64], after: &[f64], factor: f64) -> Vec<f64> {
    before.iter().zip(after).map(|(before, after)| after - factor * before).collect()
}

fn middle(values: &[f64]) -> Ns {
    estimators::median(values).unwrap_or(0.0) as Ns
}

/// How many more pairs, or recordings of the baseline, would decide if the estimate stays: an
/// interval shrinks with the root of their number.
fn more(hypothesis: &Hypothesis<'_>, shift: &Shift, before: &[f64], after: &[f64]) -> Option<u32> {
    let floor = hypothesis.floors.relative * estimators::median(before)?;
    let distance = (shift.estimate - floor.max(hypothesis.floors.absolute_ns as f64)).abs();
    let have = before.len();
    if hypothesis.design == Design::Recordings {
        let enough = |count: &usize| {
            estimators::reach(before, after, hypothesis.alpha, *count).is_some_and(|reach| reach < distance)
        };
        return (have + 1..=super::baseline::RECORDINGS_MAX).find(enough).map(|count| (count - have) as u32);
    }
    let Some((low, high)) = shift.interval else {
        let fewest =
            (1..MOST_RUNS).find(|n| estimators::signed_rank_cut(*n, hypothesis.alpha / 2.0).is_some())?;
        return Some((fewest - have.min(fewest - 1)) as u32);
    };
    let needed = (have as f64 * ((high - low) / 2.0 / distance).powi(2)).ceil();
    (needed <= MOST_RUNS as f64).then(|| (needed as usize).max(have + 1) as u32 - have as u32)
}

/// Phases and hosts.
fn parts(hypothesis: &Hypothesis<'_>, sides: &Sides<'_>, judged: bool) -> Vec<Part> {
    let phases: BTreeSet<Phase> = sides.runs().flat_map(|run| run.phases.keys().copied()).collect();
    let hosts: BTreeSet<&String> = sides.runs().flat_map(|run| run.hosts.keys()).collect();
    let phase = |phase: Phase| {
        let units = sides.units(|run| run.phases.get(&phase).copied().unwrap_or(0));
        part(hypothesis, Some(phase), None, &units)
    };
    let host = |host: &String| {
        let units = sides.units(|run| run.hosts.get(host).copied().unwrap_or(0));
        part(hypothesis, None, Some(host.clone()), &units)
    };
    let mut parts: Vec<(Part, bool)> =
        phases.into_iter().map(phase).chain(hosts.into_iter().map(host)).collect();
    // What cannot be named is no test, and costs the others nothing.
    let mut tested: Vec<&mut Part> = parts.iter_mut().filter_map(|(part, can)| can.then_some(part)).collect();
    let adjusted = estimators::holm(&tested.iter().map(|part| part.p).collect::<Vec<_>>());
    for (part, p) in tested.iter_mut().zip(adjusted) {
        part.p = p;
        part.named = judged && p <= hypothesis.alpha / 2.0;
    }
    let unjudged = |part: Part| Part { low_ns: None, high_ns: None, ..part };
    parts.into_iter().map(|(part, _)| if judged { part } else { unjudged(part) }).collect()
}

/// A phase or a host, and whether it can be named: what never took longer than the floor cannot have
/// grown by more, on whichever side a run was.
fn part(
    hypothesis: &Hypothesis<'_>,
    phase: Option<Phase>,
    host: Option<String>,
    (before, after): &(Vec<f64>, Vec<f64>),
) -> (Part, bool) {
    let floors = hypothesis.floors;
    let absolute = floors.absolute_ns as f64;
    let p = match hypothesis.design {
        // Both floors have to be exceeded: the larger of the two chances counts.
        Design::Pairs => {
            let beyond: Vec<f64> =
                differences(before, after, 1.0).iter().map(|shift| shift - absolute).collect();
            estimators::signed_rank(&beyond).max(estimators::signed_rank(&differences(
                before,
                after,
                1.0 + floors.relative,
            )))
        }
        Design::Recordings => {
            let floor = (floors.relative * estimators::median(before).unwrap_or(0.0)).max(absolute);
            estimators::recordings_above(before, after, floor)
        }
    };
    let shift = shifts(hypothesis, before, after).0;
    let (low, high) = shift.interval.unzip();
    let can = before.iter().chain(after).any(|took| *took > absolute);
    let (before_ns, after_ns) = (middle(before), middle(after));
    let part = Part {
        phase,
        host,
        before_ns,
        after_ns,
        shift_ns: shift.estimate as i64,
        low_ns: low.map(|low| low as i64),
        high_ns: high.map(|high| high as i64),
        p,
        named: false,
    };
    (part, can)
}

impl Time {
    /// Leaves what is not passed unjudged, and says why.
    pub fn excuse(&mut self, why: &str) {
        if matches!(self.verdict, Some(Verdict::Regressed | Verdict::Inconclusive)) {
            (self.verdict, self.more) = (None, None);
            self.why = Some(why.to_owned());
        }
    }

    /// The phase or host that is named and grew most; else the one that grew most at all.
    pub fn most(&self, host: bool) -> Option<&Part> {
        let grown = |part: &&Part| part.host.is_some() == host && part.shift_ns > 0;
        self.parts.iter().filter(grown).max_by_key(|part| (part.named, part.shift_ns))
    }
}

#[cfg(test)]
#[path = "time_tests.rs"]
mod tests;
