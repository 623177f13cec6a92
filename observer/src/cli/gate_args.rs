//! The arguments of `gate` as they are typed, and what they mean.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::args::{ExperimentArgs, duration};
use super::options::{Common, GateAction, GateOptions, GateOutputs, Refusal};
use crate::gate::{FailOn, Floors};

pub const EXAMPLES: &str = "\
Every run is cold unless --warm is given: fresh caches, removed afterwards; go.mod and go.sum are
put back. `ab` runs both sides in one job, in random order: the sound way on noisy machines.
A stored baseline judges time from five recordings on, each made by a call of `record --append`.

Exit status: 0 passed, 1 regressed, 2 wrong use, 3 inconclusive, 4 invalid or any other failure.

Examples:
  sudo goobserve gate record --append --out base.json -- go mod download
  sudo goobserve gate run --baseline base.json --junit gate.xml -- go mod download
  goobserve gate compare base.json new.json
  sudo goobserve gate ab --a 'git checkout -q main && go mod download' --b 'git checkout -q - && go mod download'";

/// What the gate is to do.
#[derive(Subcommand, Debug)]
pub enum Gate {
    /// Run a command several times and write a baseline
    #[command(after_help = EXAMPLES)]
    Record {
        /// The baseline
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Add a recording to the baseline there is, instead of beginning anew
        #[arg(long)]
        append: bool,
        /// Runs and caches
        #[command(flatten)]
        experiment: ExperimentArgs,
        /// The command to run, with its arguments
        #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
        command: Vec<OsString>,
    },
    /// Run a command several times and judge it by a stored baseline
    #[command(after_help = EXAMPLES)]
    Run {
        /// The baseline
        #[arg(long, value_name = "FILE")]
        baseline: PathBuf,
        /// Write the new runs as a baseline of their own
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Runs and caches
        #[command(flatten)]
        experiment: ExperimentArgs,
        /// How to judge
        #[command(flatten)]
        judge: JudgeArgs,
        /// After every --runs runs, go on while it is inconclusive, up to so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        max_runs: Option<u32>,
        /// The command to run, with its arguments
        #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
        command: Vec<OsString>,
    },
    /// Judge one file by another; nothing is run, no root is needed
    #[command(after_help = EXAMPLES)]
    Compare {
        /// The baseline
        baseline: PathBuf,
        /// What is judged
        new: PathBuf,
        /// How to judge
        #[command(flatten)]
        judge: JudgeArgs,
    },
    /// Run two commands in turns and judge the second by the first
    #[command(after_help = EXAMPLES)]
    Ab {
        /// The command that was, as for a shell
        #[arg(long, value_name = "CMD")]
        a: OsString,
        /// The command that is
        #[arg(long, value_name = "CMD")]
        b: OsString,
        /// Runs and caches
        #[command(flatten)]
        experiment: ExperimentArgs,
        /// How to judge
        #[command(flatten)]
        judge: JudgeArgs,
        /// After every --runs runs, go on while it is inconclusive, up to so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        max_runs: Option<u32>,
    },
}

/// How to judge, and where to say it.
#[derive(clap::Args, Debug)]
pub struct JudgeArgs {
    /// What fails the build [default: regressed,inconclusive,invalid]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "VERDICTS")]
    pub fail_on: Vec<FailOnArg>,
    /// What does not matter, a share (5%) or a time (50ms); both may be given
    /// [default: 10ms, and 5% for `ab`, 30% for a stored baseline]
    #[arg(long, value_name = "SHARE|TIME", value_parser = floor)]
    pub floor: Vec<Floor>,
    /// Write the answer as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the answer as Markdown; it is appended to $`GITHUB_STEP_SUMMARY` in any case
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write the answer as `JUnit` XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// `--fail-on`
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOnArg {
    /// It got worse
    Regressed,
    /// More runs are needed
    Inconclusive,
    /// What was measured cannot be compared
    Invalid,
    /// A tier could not be judged
    Unjudged,
    /// Nothing: only failures do
    None,
}

/// `--floor`
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Floor {
    /// A share
    Relative(f64),
    /// A time
    Absolute(Duration),
}

fn floor(text: &str) -> Result<Floor, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return duration(text).map(Floor::Absolute).map_err(|_| "expected 5% or 50ms".into());
    };
    match percent.parse::<f64>() {
        Ok(share) if share >= 0.0 && share.is_finite() => Ok(Floor::Relative(share / 100.0)),
        _ => Err("expected 5% or 50ms".into()),
    }
}

/// Runs of each side, unless told otherwise.
const RUNS: u32 = 10;

/// What is meant.
pub fn options(gate: Gate, common: Common) -> Result<GateOptions, Refusal> {
    let none = JudgeArgs { fail_on: vec![], floor: vec![], json: None, markdown: None, junit: None };
    let (action, judge, experiment, max_runs, floors) = match gate {
        Gate::Record { out, append, experiment, command } => {
            (GateAction::Record { out, append, command }, none, Some(experiment), None, Floors::RECORDINGS)
        }
        Gate::Run { baseline, out, experiment, judge, max_runs, command } => {
            let action = GateAction::Run { baseline, out, command };
            (action, judge, Some(experiment), max_runs, Floors::RECORDINGS)
        }
        Gate::Compare { baseline, new, judge } => {
            (GateAction::Compare { baseline, new }, judge, None, None, Floors::RECORDINGS)
        }
        Gate::Ab { a, b, experiment, judge, max_runs } => {
            if let Some((name, _)) = [("--a", &a), ("--b", &b)].iter().find(|(_, side)| side.is_empty()) {
                return Err(Refusal::new(format!("{name} is no command"), "goobserve gate --help"));
            }
            (GateAction::Ab { a, b }, judge, Some(experiment), max_runs, Floors::PAIRS)
        }
    };
    let mut experiment = experiment.map(|args| super::experiment(&args)).unwrap_or_default();
    let runs = *experiment.runs.get_or_insert(RUNS);
    let max_runs = max_runs.unwrap_or(runs);
    if max_runs < runs {
        return Err(Refusal::new(
            format!("--max-runs {max_runs} is less than --runs {runs}"),
            "leave it out for one look, or name more",
        ));
    }
    let JudgeArgs { fail_on, floor, json, markdown, junit } = judge;
    let floors = floor.into_iter().fold(floors, |floors, floor| match floor {
        Floor::Relative(relative) => Floors { relative, ..floors },
        Floor::Absolute(time) => Floors { absolute_ns: time.as_nanos() as u64, ..floors },
    });
    let outputs = GateOutputs { json, markdown, junit };
    Ok(GateOptions { action, experiment, max_runs, floors, fail_on: fails(&fail_on)?, outputs, common })
}

fn fails(named: &[FailOnArg]) -> Result<FailOn, Refusal> {
    let has = |one| named.contains(&one);
    if named.is_empty() {
        return Ok(FailOn::default());
    }
    if has(FailOnArg::None) && named.len() > 1 {
        return Err(Refusal::new("--fail-on none stands alone", "leave the others out"));
    }
    Ok(FailOn {
        regressed: has(FailOnArg::Regressed),
        inconclusive: has(FailOnArg::Inconclusive),
        invalid: has(FailOnArg::Invalid),
        unjudged: has(FailOnArg::Unjudged),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_a_share_or_a_time() {
        assert_eq!(floor("7.5%"), Ok(Floor::Relative(0.075)));
        assert_eq!(floor("50ms"), Ok(Floor::Absolute(Duration::from_millis(50))));
        for wrong in ["", "%", "-1%", "NaN%", "5 apples"] {
            assert!(floor(wrong).is_err(), "{wrong}");
        }
    }
}
