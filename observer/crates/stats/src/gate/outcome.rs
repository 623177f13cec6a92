//! What the gate says: `goobserve.gate/1`, which `--json` writes and every other output is made
//! from. Each verdict has its reasons, with phase, host and evidence.

use model::human::{count, duration};
use model::record::{Class, Phase};
use model::report::Blame;
use model::time::Ns;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Baseline, Finding, Settings};
use super::bounded::Bounded;
use super::causes::Change;
use super::exact::Exact;
use super::roles::RoleChange;
use super::time::{Time, Unit};
use super::verdict::Verdict;

/// The schema's name.
pub const SCHEMA: &str = "goobserve.gate/1";
/// Reasons that are given of the exact tier.
const DIFFERENCES: usize = 20;

/// The answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// `goobserve.gate/1`
    pub schema: String,
    /// `goobserve 0.1.0`
    pub tool: String,
    /// The tiers' verdicts together
    pub verdict: Verdict,
    /// Why, the weightiest first
    pub reasons: Vec<Reason>,
    /// What could not be judged, each with why
    pub unjudged: Vec<Reason>,
    /// What was changed besides, and may explain it
    pub causes: Vec<Change>,
    /// What makes times incomparable
    pub obstacles: Vec<Change>,
    /// Hosts that have the role of others, and are compared with them
    #[serde(default)]
    pub roles: Vec<RoleChange>,
    /// Whom to blame for a command that failed; absent when none did
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
    /// Why there are fewer runs than were wanted; `None`: there are not
    #[serde(default)]
    pub ended_early: Option<String>,
    /// Rounds that were made once more because the network had failed one of their runs
    #[serde(default)]
    pub repeated: u32,
    /// How long all runs took, with what is around them; absent where nothing was run
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ns: Option<Ns>,
    /// Stalls that the new side has more of
    pub evidence: Vec<Finding>,
    /// Names of private modules that the new side sent outside, whatever the baseline did
    #[serde(default)]
    pub private_names: Vec<Finding>,
    /// The side that was; `None` when it could not be measured
    pub before: Option<Side>,
    /// The side that is
    pub after: Option<Side>,
    /// Requests
    pub exact: Option<Exact>,
    /// Counts
    pub bounded: Option<Bounded>,
    /// Times
    pub time: Option<Time>,
}

/// One side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// The command
    pub command: Vec<String>,
    /// Its recordings
    pub recordings: u32,
    /// Runs of the latest
    pub runs: u32,
    /// Settings of the latest
    pub settings: Settings,
}

impl Side {
    /// Of a baseline.
    pub fn of(baseline: &Baseline) -> Self {
        let latest = baseline.latest();
        Self {
            command: baseline.command.clone(),
            recordings: baseline.recordings.len() as u32,
            runs: latest.map_or(0, |recording| recording.runs.len() as u32),
            // What go.mod asks for is in the baselines; what of it changed is among the causes.
            settings: latest
                .map(|recording| Settings { module: None, ..recording.settings.clone() })
                .unwrap_or_default(),
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Requests
    Exact,
    /// Counts
    Bounded,
    /// Times
    Time,
    /// The measurement as a whole
    All,
}

impl Tier {
    /// Its name in the outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Bounded => "bounded",
            Self::Time => "time",
            Self::All => "all",
        }
    }
}

/// Why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The tier
    pub tier: Tier,
    /// The phase it is in; `None`: any, or not known
    pub phase: Option<Phase>,
    /// Whom it is about; likewise
    pub host: Option<String>,
    /// In one line
    pub text: String,
}

impl Reason {
    /// Without phase and host.
    pub fn of(tier: Tier, text: impl Into<String>) -> Self {
        Self { tier, phase: None, host: None, text: text.into() }
    }
}

impl Outcome {
    /// With that verdict and nothing else.
    pub fn new(verdict: Verdict) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tool: format!("goobserve {}", env!("CARGO_PKG_VERSION")),
            verdict,
            reasons: Vec::new(),
            unjudged: Vec::new(),
            causes: Vec::new(),
            obstacles: Vec::new(),
            roles: Vec::new(),
            ended_early: None,
            blame: None,
            repeated: 0,
            took_ns: None,
            evidence: Vec::new(),
            private_names: Vec::new(),
            before: None,
            after: None,
            exact: None,
            bounded: None,
            time: None,
        }
    }

    /// Nothing could be compared, and why.
    pub fn invalid(tier: Tier, why: impl Into<String>) -> Self {
        Self { reasons: vec![Reason::of(tier, why)], ..Self::new(Verdict::Invalid) }
    }

    /// The answer in a line.
    pub fn headline(&self) -> String {
        let Some(reason) = self.reasons.first() else { return self.verdict.name().to_owned() };
        let missing: Vec<&str> = self.unjudged.iter().map(|reason| reason.tier.name()).collect();
        let missing = match missing.as_slice() {
            [] => String::new(),
            tiers => format!(" ({} not judged)", tiers.join(" and ")),
        };
        format!("{}{missing}: {}", self.verdict.name(), reason.text)
    }

    /// With the tiers, and the reasons that they give.
    #[must_use]
    pub fn with(mut self, exact: Exact, bounded: Bounded, time: Time) -> Self {
        let (reasons, unjudged) = (&mut self.reasons, &mut self.unjudged);
        explain_exact(&exact, self.verdict, reasons, unjudged);
        explain_bounded(&bounded, self.verdict, reasons, unjudged);
        explain_time(&time, self.verdict, reasons, unjudged);
        if reasons.is_empty() {
            reasons.push(Reason::of(Tier::All, "no tier could be judged"));
        }
        (self.exact, self.bounded, self.time) = (Some(exact), Some(bounded), Some(time));
        self
    }
}

fn explain_exact(exact: &Exact, verdict: Verdict, reasons: &mut Vec<Reason>, unjudged: &mut Vec<Reason>) {
    match (exact.verdict, &exact.why) {
        (None, Some(why)) => unjudged.push(Reason::of(Tier::Exact, why)),
        (Some(of), Some(why)) if of == verdict => reasons.push(Reason::of(Tier::Exact, why)),
        (Some(of), None) if of == verdict && of == Verdict::Regressed => {
            let lines = exact.regressions();
            reasons.extend(lines.iter().take(DIFFERENCES).map(|difference| Reason {
                tier: Tier::Exact,
                phase: Some(difference.phase()),
                host: difference.host.clone(),
                text: match difference.class {
                    Class::SumdbLookup => format!("go.sum does not have them: {}", difference.text()),
                    _ => difference.text(),
                },
            }));
            let rest = lines.len().saturating_sub(DIFFERENCES);
            if rest > 0 {
                let text = format!("and {} more", count(rest as u64, "difference"));
                reasons.push(Reason::of(Tier::Exact, text));
            }
        }
        (Some(Verdict::Passed), None) if verdict == Verdict::Passed => {
            let same = match exact.fewer.len() {
                0 => "the same requests".to_owned(),
                fewer => format!("no request more, {} fewer", count(fewer as u64, "kind")),
            };
            let apart = apart(exact);
            let besides = if apart.is_empty() { String::new() } else { format!(", besides {apart}") };
            reasons.push(Reason::of(Tier::Exact, same + &besides));
        }
        _ => {}
    }
}

/// What is listed and not judged: `1 added module and 2 changed ones`
fn apart(exact: &Exact) -> String {
    let added = exact.modules_added.len() + exact.modules_reached.len();
    let all = [
        (added, "added module"),
        (exact.modules_changed.len(), "changed module"),
        (exact.modules_removed.len(), "removed module"),
        (exact.ways.len(), "class of requests that goes another way"),
    ];
    let named = all.into_iter().filter(|(number, _)| *number > 0);
    let texts: Vec<String> = named
        .map(|(number, what)| match what.split_once(" of ") {
            Some((one, rest)) if number > 1 => format!("{number} {one}es of {}", rest.replace("goes", "go")),
            _ => count(number as u64, what),
        })
        .collect();
    texts.join(", ")
}

fn explain_bounded(
    bounded: &Bounded,
    verdict: Verdict,
    reasons: &mut Vec<Reason>,
    unjudged: &mut Vec<Reason>,
) {
    if let Some(why) = &bounded.why {
        unjudged.push(Reason::of(Tier::Bounded, why));
    }
    if bounded.verdict != Some(verdict) {
        return;
    }
    if verdict == Verdict::Passed {
        reasons.push(Reason::of(Tier::Bounded, "no count is above its floor"));
        return;
    }
    let those = bounded.counts.iter().filter(|count| count.verdict == Some(verdict));
    reasons.extend(those.map(|count| Reason {
        tier: Tier::Bounded,
        phase: count.phase,
        host: None,
        text: count.text(),
    }));
}

fn explain_time(time: &Time, verdict: Verdict, reasons: &mut Vec<Reason>, unjudged: &mut Vec<Reason>) {
    if let Some(why) = &time.why {
        let advice = if time.verdict.is_none() { format!("{}; ", total(time)) } else { String::new() };
        unjudged.push(Reason::of(Tier::Time, advice + why));
        return;
    }
    if time.verdict != Some(verdict) {
        return;
    }
    let (phase, host) = (time.most(false), time.most(true));
    let mut text = total(time);
    // What passed names no culprit, and of what is open the table has all there is.
    if let Some(part) = phase.filter(|_| verdict == Verdict::Regressed) {
        let at = match host.and_then(|host| host.host.as_deref()) {
            Some(host) => format!(" at {host}"),
            None => String::new(),
        };
        let (name, grown) = (part.phase.map_or("", Phase::name), duration(part.shift_ns.unsigned_abs()));
        text += &if part.named {
            format!("; {name} grew by {grown}{at}")
        } else {
            format!("; most of it in {name}{at}, by {grown}, which by itself is not decided")
        };
    }
    if verdict == Verdict::Inconclusive {
        text += &format!("; {}", more(time));
    }
    // The weightiest tier after a request too many is the time.
    let reason = Reason {
        tier: Tier::Time,
        phase: phase.and_then(|part| part.phase),
        host: host.and_then(|part| part.host.clone()),
        text,
    };
    let at = reasons.iter().position(|reason| reason.tier != Tier::Exact || verdict == Verdict::Passed);
    reasons.insert(at.unwrap_or(reasons.len()), reason);
}

/// `total 1.160 times as long (95 %: 1.120 to 1.210) as 10.2 s before`: the estimate of the rule, which
/// is of pairs or recordings. The median of the new side is left to the table: it is of that side by
/// itself, and may lie on the other side of the median before.
pub fn total(time: &Time) -> String {
    let total = &time.total;
    let interval = match (total.ratio_low, total.ratio_high) {
        (Some(low), Some(high)) => {
            format!(" ({}: {low:.3} to {high:.3})", percent(total.confidence))
        }
        _ => String::new(),
    };
    format!("total {:.3} times as long{interval} as {} before", total.ratio, duration(total.before_ns))
}

/// `95 %`, `98.75 %`
pub fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What would decide it.
pub fn more(time: &Time) -> String {
    match (time.more, time.unit) {
        (Some(more), Unit::Pair) => {
            format!("about {} of each side would decide it", count(more.into(), "more run"))
        }
        (Some(more), Unit::Recording) => {
            format!("about {} of the baseline would decide it", count(more.into(), "more recording"))
        }
        (None, Unit::Pair) => {
            "it lies at the floor: even a thousand runs more would not decide it".to_owned()
        }
        (None, Unit::Recording) => "recordings lie too far apart to decide it: `gate ab` would".to_owned(),
    }
}
