//! What `fix` finds out: which remedies to try ([`choice`]), how often ([`design`]), and what came of it. Pure;
//! also the JSON of `fix --json`, `goobserve.fix/1`. Times are nanoseconds.

pub mod choice;
pub mod design;

use std::time::Duration;

use model::record::{Machine, Phase};
use model::report::Report;
use model::stall::StallName;
use model::time::Ns;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compare::{About, CacheKind, Change, End, Failure, PhaseChange, Ratio, answer_at};

/// The answer's schema.
pub const SCHEMA: &str = "goobserve.fix/1";
/// How often one of the intervals may miss, all together: they are of 95 %.
const ALPHA: f64 = 0.05;
/// What is faster by less is not worth a setting.
const WORTH: f64 = 1.05;

/// What came of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fix {
    /// `goobserve.fix/1`
    pub schema: String,
    /// `goobserve 0.1.0`
    pub tool: String,
    /// Wall clock at the start of the observation; `None` without one
    pub started_unix_ns: Option<u64>,
    /// The machine; `None` without a run
    pub machine: Option<Machine>,
    /// The command
    pub command: Vec<String>,
    /// The caches of each run
    pub cache: CacheKind,
    /// How long all of it was allowed to take
    pub budget_ns: Ns,
    /// How long it took
    pub took_ns: Ns,
    /// What the command waited for; `None` when the observation did not end
    pub observed: Option<Observed>,
    /// The answer
    pub verdict: Verdict,
    /// What to keep; `None` unless something was proven
    pub keep: Option<Keep>,
    /// Runs of each way that were planned
    pub rounds_wanted: u32,
    /// Rounds that were made
    pub rounds: u32,
    /// Remedies that were tried, the most promising first
    pub trials: Vec<Trial>,
    /// Remedies that were not
    pub untried: Vec<Untried>,
    /// Runs whose command failed
    pub failures: Vec<Failure>,
    /// Events that some observation lost: times are right, phases may be inexact
    pub events_lost: u64,
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A remedy makes it faster, or makes it succeed, and is worth keeping
    Proven,
    /// What was tried does not
    NothingHelps,
    /// Nothing was found that a remedy would be worth trying against
    NothingToTry,
    /// The budget was over before there was an answer
    OutOfTime,
    /// It was asked to stop
    Interrupted,
    /// The command failed, and nothing was shown to make it succeed
    Failed,
}

/// The run that was observed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// How long it took
    pub wall_ns: Ns,
    /// Time by phase, in table order; phases that it spent none in are left out
    pub phases: Vec<PhaseTime>,
    /// What slowed it down, as in its report
    pub stalls: Vec<Finding>,
}

/// A phase's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PhaseTime {
    /// The phase
    pub phase: Phase,
    /// Wall time it is answerable for
    pub blocked_ns: Ns,
}

/// A stall of the run that was observed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its name in the catalogue
    pub kind: StallName,
    /// Whom it is about
    pub host: Option<String>,
    /// Blocked time that it cost
    pub cost_ns: Ns,
    /// In one sentence
    pub summary: String,
}

/// What to keep.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Keep {
    /// The remedy, as after `--with`
    pub name: String,
    /// A line to paste into a shell; `None` where a part of it may not be shown
    pub line: Option<String>,
    /// How it is made to last, in words
    pub how: String,
}

/// A remedy that was tried.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// As after `--with`
    pub name: String,
    /// The stalls that offered it
    pub against: Vec<StallName>,
    /// What they cost: it could save that at most
    pub promise_ns: Ns,
    /// Runs with it that count, each beside one without
    pub runs: u32,
    /// What came of it
    pub outcome: Outcome,
    /// How many times faster the command is with it. The intervals of all trials hold together with 95 %
    /// confidence
    pub times_faster: Option<Ratio>,
    /// The walls, without and with it
    pub total: Option<Change>,
    /// Blocked time by phase
    pub phases: Vec<PhaseChange>,
}

/// What came of a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The command fails without it, every time, and succeeds with it, every time
    Cures,
    /// It helps
    Faster,
    /// It helps, by less than is worth keeping
    TooLittle,
    /// It was not shown to help
    NoDifference,
    /// It harms
    Slower,
    /// Given up: the runs to come could not have shown that it helps
    GivenUp,
    /// The command fails with it, too or alone
    Failed,
    /// Too few runs for an answer
    TooFewRuns,
}

/// A remedy that was not tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Untried {
    /// As after `--with`
    pub name: String,
    /// The stalls that offer it
    pub against: Vec<StallName>,
    /// What they cost
    pub promise_ns: Ns,
    /// Why it was not tried
    pub why: String,
    /// The command that tries it; empty where it is not known whole
    #[serde(rename = "try")]
    pub attempt: String,
}

/// What the report of the observed run says in short.
pub fn observed(report: &Report) -> Option<Observed> {
    let command = report.commands.first()?;
    let spent = command.phases.iter().filter(|share| share.blocked_ns > 0);
    Some(Observed {
        wall_ns: command.wall_ns,
        phases: spent.map(|share| PhaseTime { phase: share.phase, blocked_ns: share.blocked_ns }).collect(),
        stalls: command
            .stalls
            .iter()
            .map(|stall| Finding {
                kind: stall.kind.clone(),
                host: stall.host.clone(),
                cost_ns: stall.cost_ns,
                summary: stall.summary.clone(),
            })
            .collect(),
    })
}

/// A remedy's runs, while they are made.
#[derive(Clone, PartialEq, Debug)]
pub struct Running {
    candidate: choice::Candidate,
    pairs: Vec<[Report; 2]>,
    /// Rounds in which the command failed without it and succeeded with it
    cures: u32,
    alpha: f64,
    ended: Option<Outcome>,
}

impl Running {
    /// Nothing has run. `candidates`: how many are tried beside it, itself too.
    pub fn new(candidate: choice::Candidate, candidates: usize) -> Self {
        Self { candidate, pairs: Vec::new(), cures: 0, alpha: design::share(candidates), ended: None }
    }

    /// Two runs of a round, without and with it, and how many rounds there will be. Whether it goes on.
    pub fn add(&mut self, pair: [Report; 2], to_come: usize) -> bool {
        self.pairs.push(pair);
        let logs: Vec<f64> = self.pairs.iter().filter_map(|[before, after]| log(before, after)).collect();
        if !design::is_open(&logs, to_come, self.alpha) && to_come > 0 {
            self.ended = Some(Outcome::GivenUp);
        }
        self.ended.is_none()
    }

    /// In a round the command failed without it and succeeded with it; `least`: so often it takes for a proof
    /// (the sign test: each time by chance, one in two).
    pub const fn cure(&mut self, least: usize) {
        self.cures += 1;
        if self.cures as usize >= least && self.ended.is_none() {
            self.ended = Some(Outcome::Cures);
        }
    }

    /// It makes the command succeed, proven.
    pub fn cures(&self) -> bool {
        self.ended == Some(Outcome::Cures)
    }

    /// The command failed with it.
    pub fn fail(&mut self) {
        self.ended = Some(Outcome::Failed);
    }

    /// What came of it.
    pub fn trial(&self) -> Trial {
        // Only times are taken of it.
        let about = About {
            command: Vec::new(),
            cache: CacheKind::Cold,
            runs_wanted: 0,
            names: [String::new(), String::new()],
            remedies: [Vec::new(), Vec::new()],
        };
        let answer = answer_at(about, &self.pairs, End::Complete, Vec::new(), self.alpha);
        let worth = answer.times_faster.is_some_and(|ratio| ratio.estimate >= WORTH);
        let outcome = self.ended.unwrap_or(match answer.verdict {
            crate::compare::Verdict::Faster if worth => Outcome::Faster,
            crate::compare::Verdict::Faster => Outcome::TooLittle,
            crate::compare::Verdict::Slower => Outcome::Slower,
            crate::compare::Verdict::NoDifference => Outcome::NoDifference,
            crate::compare::Verdict::TooFewRuns => Outcome::TooFewRuns,
        });
        Trial {
            name: self.candidate.remedies.to_string(),
            against: self.candidate.against.clone(),
            promise_ns: self.candidate.promise_ns,
            runs: self.pairs.len() as u32 + self.cures,
            outcome,
            times_faster: answer.times_faster,
            total: answer.total,
            phases: answer.phases,
        }
    }

    /// What is tried.
    pub const fn candidate(&self) -> &choice::Candidate {
        &self.candidate
    }
}

/// The logarithm of how many times faster a run was.
fn log(before: &Report, after: &Report) -> Option<f64> {
    let wall = |report: &Report| report.commands.first().map(|command| command.wall_ns as f64);
    let ratio = wall(before)? / wall(after)?;
    (ratio > 0.0 && ratio.is_finite()).then(|| ratio.ln())
}

/// The trial that is worth keeping: the one that brings most.
pub fn best(trials: &[Trial]) -> Option<usize> {
    let gain = |trial: &Trial| trial.times_faster.map_or(0.0, |ratio| ratio.estimate);
    let helps = |trial: &Trial| matches!(trial.outcome, Outcome::Faster | Outcome::Cures);
    let proven = trials.iter().enumerate().filter(|(_, trial)| helps(trial));
    // Of equal ones the first: it promised most.
    proven.rev().max_by(|(_, a), (_, b)| gain(a).total_cmp(&gain(b))).map(|(index, _)| index)
}

/// The answer that trials of an experiment give which ended by itself; `cut`: for want of time.
pub fn verdict(trials: &[Trial], cut: bool) -> Verdict {
    if best(trials).is_some() {
        Verdict::Proven
    } else if cut || trials.iter().any(|trial| trial.outcome == Outcome::TooFewRuns) {
        Verdict::OutOfTime
    } else {
        Verdict::NothingHelps
    }
}

/// A time as this package has it.
pub fn ns(time: Duration) -> Ns {
    Ns::try_from(time.as_nanos()).unwrap_or(Ns::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
