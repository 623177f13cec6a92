//! The arguments of `gate` as they are typed, and what they mean.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use model::remedy::{Remedies, Remedy};
use model::user_error::UserError;
use stats::gate::fail_on::Tiers;
use stats::gate::{FailOn, Floors};

use super::args::{ExperimentArgs, duration};
use super::options::{Common, GateAction, GateOptions, GateOutputs};

pub(super) const EXAMPLES: &str = "\
Every run is cold unless --warm is given: fresh caches, removed afterwards; go.mod and go.sum are \
put back. `ab` runs both sides in one job, in random order: the sound way on noisy machines. \
A stored baseline judges time from five recordings on, each made by a call of `record --append`.

With --with REMEDY (one of goobserve run's) every run has it: `gate record --with gateway`, and later `gate run \
--with gateway`, measure the command behind a gateway of its own. A baseline is judged by runs with the same.

A change of go.mod is a cause: modules that it brings or takes are listed and not judged. Where the \
proxy or the checksum database is what differs, requests are compared by module and class, hosts by \
what they are.

--fail-on takes verdicts and tiers, with commas: of verdicts regressed, invalid, inconclusive (the \
other two as well), unjudged (a tier could not be judged), or none; of tiers exact (requests), bounded \
(counts), time. Without a verdict it is regressed,invalid; without a tier all of them. private-name \
stands beside both: the name of a private module left for a module proxy or checksum database.

Exit status: 0 passed, or inconclusive (a notice says so); 1 regressed; 2 wrong use; 3 inconclusive with \
--fail-on inconclusive; 4 invalid or any other failure; 5 a private name left with --fail-on \
private-name; 6 the network failed the command, with --retry-on network. The outputs name the verdict in \
any case.

Examples:
  sudo goobserve gate record --append --out base.json -- go mod download
  sudo goobserve gate run --baseline base.json --junit gate.xml -- go mod download
  sudo goobserve gate ab --plan --a 'cd ../base && go mod download' --b 'go mod download'
  goobserve gate compare base.json new.json
  sudo goobserve gate ab --timeout 20m --a 'cd ../base && go mod download' --b 'go mod download'
  sudo goobserve gate ab --a 'go mod download' --b 'GOPROXY=https://mirror.test go mod download'
  goobserve gate compare base.json new.json --fail-on regressed,exact
  sudo goobserve gate run --baseline base.json --fail-on private-name -- go mod download";

/// What the gate is to do.
#[derive(Subcommand, Debug)]
pub(super) enum Gate {
    /// Run a command several times and write a baseline
    #[command(after_help = EXAMPLES)]
    Record {
        /// The baseline
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Add a recording to the baseline there is, instead of beginning anew
        #[arg(long)]
        append: bool,
        /// End whatever runs then; what is known is judged
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
        /// Measure with this in force, in every run: as of `goobserve run`; may be given several times
        #[arg(long, value_name = "REMEDY")]
        with: Vec<Remedy>,
        /// Runs and caches
        #[command(flatten)]
        experiment: ExperimentArgs,
        /// What is asked before, and what of failures
        #[command(flatten)]
        around: AroundArgs,
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
        /// End whatever runs then; what is known is judged
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
        /// Measure with this in force, in every run: as of `goobserve run`; may be given several times
        #[arg(long, value_name = "REMEDY")]
        with: Vec<Remedy>,
        /// Runs and caches
        #[command(flatten)]
        experiment: ExperimentArgs,
        /// What is asked before, and what of failures
        #[command(flatten)]
        around: AroundArgs,
        /// How to judge
        #[command(flatten)]
        judge: JudgeArgs,
        /// After every --runs runs, go on while it is inconclusive, up to so many [default: as --runs]
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
        /// End whatever runs then; what is known is judged
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
        /// Measure with this in force, in every run: as of `goobserve run`; may be given several times
        #[arg(long, value_name = "REMEDY")]
        with: Vec<Remedy>,
        /// Runs and caches
        #[command(flatten)]
        experiment: ExperimentArgs,
        /// What is asked before, and what of failures
        #[command(flatten)]
        around: AroundArgs,
        /// How to judge
        #[command(flatten)]
        judge: JudgeArgs,
        /// After every --runs runs, go on while it is inconclusive, up to so many [default: as --runs]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        max_runs: Option<u32>,
    },
}

/// What is asked before the first run, and what becomes of failures.
#[derive(clap::Args, Debug)]
pub(super) struct AroundArgs {
    /// Say how many runs it takes, how long, and which slowdowns they find; a baseline's figures where there is
    /// one, else five rounds are run. Nothing is judged or written
    #[arg(long)]
    pub plan: bool,
    /// Make a round once more that failed and that the network is to blame for, twice in a row at most; when it
    /// still fails, the exit status is 6
    #[arg(long, value_enum, value_name = "network")]
    pub retry_on: Option<RetryOn>,
}

/// `--retry-on`
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryOn {
    /// The network, or a server in it, is to blame
    Network,
}

/// How to judge, and where to say it.
#[derive(clap::Args, Debug)]
pub(super) struct JudgeArgs {
    /// What fails the build: verdicts, the tiers they count of, private-name [default: regressed,invalid]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "VERDICT|TIER|private-name")]
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
pub(super) enum FailOnArg {
    /// It got worse
    Regressed,
    /// More runs are needed; regressed and invalid as well
    Inconclusive,
    /// What was measured cannot be compared
    Invalid,
    /// A tier could not be judged
    Unjudged,
    /// Requests only, unless other tiers are named
    Exact,
    /// Likewise: counts
    Bounded,
    /// Likewise: times
    Time,
    /// Nothing: only failures do
    None,
    /// The name of a private module left
    PrivateName,
}

/// `--floor`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Floor {
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

/// Runs of each side, unless asked otherwise.
const RUNS: u32 = 10;

/// What is meant.
pub(super) fn options(gate: Gate, common: Common) -> Result<GateOptions, UserError> {
    let none = JudgeArgs { fail_on: vec![], floor: vec![], json: None, markdown: None, junit: None };
    let (action, judge, experiment, around, with, max_runs, timeout, floors) = match gate {
        Gate::Record { out, append, timeout, with, experiment, around, command } => {
            let action = GateAction::Record { out, append, command };
            (action, none, Some(experiment), Some(around), with, None, timeout, Floors::RECORDINGS)
        }
        Gate::Run { baseline, out, timeout, with, experiment, around, judge, max_runs, command } => {
            let action = GateAction::Run { baseline, out, command };
            (action, judge, Some(experiment), Some(around), with, max_runs, timeout, Floors::RECORDINGS)
        }
        Gate::Compare { baseline, new, judge } => {
            (GateAction::Compare { baseline, new }, judge, None, None, vec![], None, None, Floors::RECORDINGS)
        }
        Gate::Ab { a, b, timeout, with, experiment, around, judge, max_runs } => {
            if let Some((name, _)) = [("--a", &a), ("--b", &b)].iter().find(|(_, side)| side.is_empty()) {
                return Err(UserError::new(format!("{name} is no command"), "goobserve gate --help"));
            }
            (
                GateAction::Ab { a, b },
                judge,
                Some(experiment),
                Some(around),
                with,
                max_runs,
                timeout,
                Floors::PAIRS,
            )
        }
    };
    let mut experiment = experiment.map(|args| super::experiment(&args)).unwrap_or_default();
    if with.iter().any(Remedy::is_deadline) {
        return Err(UserError::new(
            "deadline starts a command again: its times would be of several starts",
            "goobserve run --with deadline -- CMD",
        ));
    }
    super::keeps_caches_cold(experiment.cache, &with)?;
    let with = Remedies::new(with)?;
    let runs = *experiment.runs.get_or_insert(RUNS);
    let max_runs = max_runs.unwrap_or(runs);
    if max_runs < runs {
        return Err(UserError::new(
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
    let plan = around.as_ref().is_some_and(|around| around.plan);
    let network = around.is_some_and(|around| around.retry_on == Some(RetryOn::Network));
    let fail_on = FailOn { network, ..fails(&fail_on)? };
    Ok(GateOptions { action, experiment, with, max_runs, timeout, floors, plan, fail_on, outputs, common })
}

fn fails(named: &[FailOnArg]) -> Result<FailOn, UserError> {
    use FailOnArg::{Bounded, Exact, Inconclusive, Invalid, None, PrivateName, Regressed, Time, Unjudged};
    let has = |one| named.contains(&one);
    if has(None) && named.iter().any(|one| !matches!(one, None | PrivateName)) {
        let hint = "leave the others out; only private-name may stand beside it";
        return Err(UserError::new("--fail-on none stands alone", hint));
    }
    let default = FailOn::default();
    let verdicts = [Regressed, Inconclusive, Invalid, Unjudged, None].into_iter().any(has);
    let tiers = Tiers { exact: has(Exact), bounded: has(Bounded), time: has(Time) };
    Ok(FailOn {
        tiers: if [Exact, Bounded, Time].into_iter().any(has) { tiers } else { default.tiers },
        // Whoever does not let pass what may be a regression does not let pass one.
        regressed: if verdicts { has(Regressed) || has(Inconclusive) } else { default.regressed },
        invalid: if verdicts { has(Invalid) || has(Inconclusive) } else { default.invalid },
        inconclusive: has(Inconclusive),
        unjudged: has(Unjudged),
        private_name: has(PrivateName),
        network: false,
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

    #[test]
    fn verdicts_and_tiers_are_named_in_one_list() {
        use FailOnArg::{Exact, Inconclusive, Invalid, None, PrivateName, Regressed, Time};
        let default = FailOn::default();
        assert_eq!(fails(&[]), Ok(default));
        assert_eq!(fails(&[Regressed]), Ok(FailOn { invalid: false, ..default }));
        assert_eq!(fails(&[Inconclusive]), Ok(FailOn { inconclusive: true, ..default }));
        let tiers = Tiers { bounded: false, ..Tiers::ALL };
        assert_eq!(fails(&[Exact, Time]), Ok(FailOn { tiers, ..default }));
        assert_eq!(fails(&[Exact, Invalid, Time]), Ok(FailOn { tiers, regressed: false, ..default }));
        let nothing = fails(&[None]).unwrap();
        assert!(!nothing.regressed && !nothing.invalid && !nothing.inconclusive);
        assert_eq!(fails(&[PrivateName]), Ok(FailOn { private_name: true, ..default }));
        assert_eq!(fails(&[None, PrivateName]), Ok(FailOn { private_name: true, ..nothing }));
        assert_eq!(fails(&[None, Exact]).unwrap_err().what, "--fail-on none stands alone");
    }
}
