//! Pairs of reports in, the answer out: does it help, by how much, and what changed. Pure; also
//! the JSON of `compare --json`, `goobserve.compare/1`. Times are nanoseconds.

use model::record::{Machine, Phase};
use model::report::{Command, Report, Stall};
use model::stall::StallName;
use model::time::Ns;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::estimators::{median, paired};

/// The answer's schema.
pub const SCHEMA: &str = "goobserve.compare/1";
/// How often an interval may miss: it is one of 95 %.
const ALPHA: f64 = 0.05;
/// The fewest pairs that give such an interval.
pub const FEWEST: usize = model::remedy::PAIRS_MIN;

/// What came of an experiment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// `goobserve.compare/1`
    pub schema: String,
    /// `goobserve 0.1.0`
    pub tool: String,
    /// Wall clock at the start of the first run that counts; `None` without one
    pub started_unix_ns: Option<u64>,
    /// The machine; `None` without a run
    pub machine: Option<Machine>,
    /// The command
    pub command: Vec<String>,
    /// The caches of each run
    pub cache: CacheKind,
    /// Runs each way that were asked for
    pub runs_wanted: u32,
    /// Runs each way that count
    pub runs: u32,
    /// How it ended
    pub end: End,
    /// What was compared with
    pub baseline: Side,
    /// What was tried
    pub tried: Side,
    /// The answer
    pub verdict: Verdict,
    /// How many times faster the tried side is: the ratio of the walls; `None` without runs
    pub times_faster: Option<Ratio>,
    /// The walls
    pub total: Option<Change>,
    /// Blocked time by phase, in table order; phases that neither side spent time in are left out
    pub phases: Vec<PhaseChange>,
    /// Stalls of either side
    pub stalls: Vec<StallChange>,
    /// Runs whose command failed; with the other side's run of the same round
    pub failures: Vec<Failure>,
    /// Events that some observation lost: times are right, phases may be inexact
    pub events_lost: u64,
}

/// The caches of runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheKind {
    /// Fresh ones, beside the user's own
    Cold,
    /// Fresh ones, in memory
    Memory,
    /// The user's own
    Warm,
}

/// How an experiment ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Every run was made
    Complete,
    /// It was asked to stop
    Interrupted,
    /// The command failed
    Failed,
}

/// The answer, with 95 % confidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The tried side is faster
    Faster,
    /// The tried side is slower
    Slower,
    /// The interval holds "as fast"
    NoDifference,
    /// Too few runs for an interval
    TooFewRuns,
}

/// One side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// As it is called
    pub name: String,
    /// Remedies in force
    pub remedies: Vec<String>,
    /// Its runs that count, in order
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Wall time
    pub wall_ns: Ns,
    /// HTTP requests
    pub requests: u64,
    /// TCP connections
    pub connections: u64,
    /// DNS queries
    pub dns: u64,
}

/// A ratio and where it lies with 95 % confidence.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// Above 1: the tried side is faster
    pub estimate: f64,
    /// `None` with too few runs
    pub low: Option<f64>,
    /// Likewise
    pub high: Option<f64>,
}

/// What a time was and became.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Median of the baseline's runs
    pub baseline_ns: Ns,
    /// Median of the tried side's runs
    pub tried_ns: Ns,
    /// Tried less baseline (Hodges-Lehmann, of pairs)
    pub shift_ns: i64,
    /// Where that lies with 95 % confidence; `None` with too few runs
    pub low_ns: Option<i64>,
    /// Likewise
    pub high_ns: Option<i64>,
}

/// A phase's change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PhaseChange {
    /// The phase
    pub phase: Phase,
    /// Its blocked time
    #[serde(flatten)]
    pub change: Change,
}

/// A stall on both sides.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StallChange {
    /// Its name in the catalogue
    pub kind: StallName,
    /// Whom it is about
    pub host: Option<String>,
    /// What one of the baseline's reports said of it, or else the tried side's
    pub summary: String,
    /// The baseline's runs it was in
    pub baseline_runs: u32,
    /// Median of its cost there
    pub baseline_cost_ns: Option<Ns>,
    /// The tried side's runs it was in
    pub tried_runs: u32,
    /// Median of its cost there
    pub tried_cost_ns: Option<Ns>,
    /// What may help against it, and whether that has been tried here
    pub remedies: Vec<Tried>,
}

impl StallChange {
    /// The baseline had it and the tried side never did.
    pub const fn gone(&self) -> bool {
        self.baseline_runs > 0 && self.tried_runs == 0
    }
}

/// A remedy that a stall names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// As after `--with`
    pub name: String,
    /// The command that tries it
    #[serde(rename = "try")]
    pub attempt: String,
    /// It is what this experiment tried
    pub tried: bool,
}

/// A run of the round in which the command failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The side's name
    pub side: String,
    /// Exit status, 128+N for signal N; 0 for the side that did not fail
    pub status: i32,
    /// How long it took
    pub wall_ns: Ns,
    /// The end of what it printed
    pub said: String,
}

/// What is known of an experiment besides its runs.
#[derive(Clone, PartialEq, Debug)]
pub struct About {
    /// The command
    pub command: Vec<String>,
    /// Caches
    pub cache: CacheKind,
    /// Runs wanted each way
    pub runs_wanted: u32,
    /// Names of baseline and tried side
    pub names: [String; 2],
    /// Their remedies
    pub remedies: [Vec<String>; 2],
}

/// The answer to pairs of a baseline's and a tried report.
pub fn answer(about: About, pairs: &[[Report; 2]], end: End, failures: Vec<Failure>) -> Answer {
    answer_at(about, pairs, end, failures, ALPHA)
}

/// The same, with intervals that miss as often as `alpha`.
pub(crate) fn answer_at(
    about: About,
    pairs: &[[Report; 2]],
    end: End,
    failures: Vec<Failure>,
    alpha: f64,
) -> Answer {
    let walls = pair(pairs, |report| report.commands.first().map_or(0, |command| command.wall_ns));
    let logs: Vec<f64> = walls
        .iter()
        .filter(|[a, b]| *a > 0.0 && *b > 0.0)
        .map(|[baseline, tried]| (baseline / tried).ln())
        .collect();
    let ratio = paired(&logs, alpha).map(|shift| shift.map(f64::exp));
    let verdict = match ratio.and_then(|ratio| ratio.interval) {
        None => Verdict::TooFewRuns,
        Some((low, _)) if low > 1.0 => Verdict::Faster,
        Some((_, high)) if high < 1.0 => Verdict::Slower,
        Some(_) => Verdict::NoDifference,
    };
    let phases = Phase::ALL.into_iter().filter_map(|phase| {
        let change = change(&pair(pairs, |report| blocked(report, phase)), alpha)?;
        let nothing = change.baseline_ns == 0 && change.tried_ns == 0 && change.shift_ns == 0;
        (!nothing).then_some(PhaseChange { phase, change })
    });
    let first = pairs.iter().flatten().min_by_key(|report| report.started_unix_ns);
    let lost = |report: &Report| report.loss.kernel_events_lost + report.loss.events_undecoded;
    let [baseline, tried] = [0, 1].map(|side| Side {
        name: about.names[side].clone(),
        remedies: about.remedies[side].clone(),
        runs: pairs.iter().map(|pair| run(&pair[side])).collect(),
    });
    Answer {
        schema: SCHEMA.to_owned(),
        tool: format!("goobserve {}", env!("CARGO_PKG_VERSION")),
        started_unix_ns: first.map(|report| report.started_unix_ns),
        machine: first.map(|report| report.machine.clone()),
        command: about.command,
        cache: about.cache,
        runs_wanted: about.runs_wanted,
        runs: pairs.len() as u32,
        end,
        verdict,
        times_faster: ratio.map(|ratio| Ratio {
            estimate: ratio.estimate,
            low: ratio.interval.map(|(low, _)| low),
            high: ratio.interval.map(|(_, high)| high),
        }),
        total: change(&walls, alpha),
        phases: phases.collect(),
        stalls: stalls(pairs, &tried.remedies),
        failures,
        events_lost: pairs.iter().flatten().map(lost).sum(),
        baseline,
        tried,
    }
}

/// A figure of both sides, by pair.
fn pair(pairs: &[[Report; 2]], figure: impl Fn(&Report) -> Ns) -> Vec<[f64; 2]> {
    pairs.iter().map(|[baseline, tried]| [figure(baseline) as f64, figure(tried) as f64]).collect()
}

fn blocked(report: &Report, phase: Phase) -> Ns {
    let shares = report.commands.first().into_iter().flat_map(|command| &command.phases);
    shares.filter(|share| share.phase == phase).map(|share| share.blocked_ns).sum()
}

fn change(pairs: &[[f64; 2]], alpha: f64) -> Option<Change> {
    let side = |side: usize| pairs.iter().map(|pair| pair[side]).collect::<Vec<_>>();
    let differences: Vec<f64> = pairs.iter().map(|[baseline, tried]| tried - baseline).collect();
    let shift = paired(&differences, alpha)?;
    Some(Change {
        baseline_ns: median(&side(0))? as Ns,
        tried_ns: median(&side(1))? as Ns,
        shift_ns: shift.estimate as i64,
        low_ns: shift.interval.map(|(low, _)| low as i64),
        high_ns: shift.interval.map(|(_, high)| high as i64),
    })
}

fn run(report: &Report) -> Run {
    Run {
        wall_ns: report.commands.first().map_or(0, |command| command.wall_ns),
        requests: report.requests.len() as u64,
        connections: report.connections.len() as u64,
        dns: report.dns.len() as u64,
    }
}

/// Stalls of either side by kind and host, those of the baseline that cost most first.
fn stalls(pairs: &[[Report; 2]], remedies: &[String]) -> Vec<StallChange> {
    let of = |report: &'_ Report| report.commands.first().map(|command: &Command| command.stalls.clone());
    let side = |side: usize| -> Vec<Vec<Stall>> {
        pairs.iter().map(|pair| of(&pair[side]).unwrap_or_default()).collect()
    };
    let (baseline, tried) = (side(0), side(1));
    let mut found: Vec<StallChange> = Vec::new();
    for stall in baseline.iter().chain(&tried).flatten() {
        if found.iter().any(|known| known.kind == stall.kind && known.host == stall.host) {
            continue;
        }
        // One run may have it several times: their costs add up.
        let costs = |runs: &[Vec<Stall>]| -> Vec<f64> {
            let same = |other: &&Stall| other.kind == stall.kind && other.host == stall.host;
            let cost = |run: &Vec<Stall>| {
                let mut all = run.iter().filter(same).map(|stall| stall.cost_ns).peekable();
                all.peek()?;
                Some(all.sum::<Ns>() as f64)
            };
            runs.iter().filter_map(cost).collect()
        };
        let (before, after) = (costs(&baseline), costs(&tried));
        let remedy = |remedy: &model::report::Remedy| Tried {
            name: remedy.name.clone(),
            attempt: remedy.attempt.clone(),
            tried: remedy.name.split(" + ").all(|name| remedies.iter().any(|tried| tried == name)),
        };
        found.push(StallChange {
            kind: stall.kind.clone(),
            host: stall.host.clone(),
            summary: stall.summary.clone(),
            baseline_runs: before.len() as u32,
            baseline_cost_ns: median(&before).map(|cost| cost as Ns),
            tried_runs: after.len() as u32,
            tried_cost_ns: median(&after).map(|cost| cost as Ns),
            remedies: stall.remedies.iter().map(remedy).collect(),
        });
    }
    found.sort_by_key(|stall| std::cmp::Reverse((stall.baseline_cost_ns, stall.tried_cost_ns)));
    found
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
