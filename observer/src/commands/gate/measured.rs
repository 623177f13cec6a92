//! A gate's runs: what came of them, and why they ended early. In: an experiment. Out: reports by arm.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use model::report::{Blame, Report};
use model::user_error::UserError;
use model::{human, redact, words};
use stats::gate::baseline::{Baseline, Finding};
use stats::gate::{estimate, measure};

use super::files;
use crate::cli::options::GateOptions;
use crate::experiment::{Ended, Experiment, Round};
use crate::say;

/// How often in a row a round is made once more that the network failed.
const REPEATS: u32 = 2;

/// Reports, by arm.
#[derive(Default)]
pub(super) struct Measured {
    reports: [Vec<Report>; 2],
    timeout: Option<Duration>,
    /// Rounds that were made once more
    pub(super) repeated: u32,
}

/// Why runs ended early.
pub(super) enum End {
    Failed {
        arm: usize,
        status: i32,
        said: String,
        blame: Option<(Blame, String)>,
        private_names: Vec<Finding>,
    },
    Interrupted {
        runs: usize,
    },
    TimedOut {
        runs: usize,
        after: Duration,
    },
}

impl End {
    /// The network failed the command.
    pub(super) fn by_network(&self) -> bool {
        matches!(self, Self::Failed { blame: Some((Blame::Network, _)), .. })
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Failed { status, .. } => format!("the command failed with status {status}"),
            Self::Interrupted { runs } => format!("interrupted after {}", human::count(*runs as u64, "run")),
            Self::TimedOut { runs, after } => format!(
                "--timeout ended it after {}, with {} of each side measured",
                human::duration(after.as_nanos() as u64),
                human::count(*runs as u64, "run")
            ),
        }
    }

    pub(super) fn user_error(self) -> UserError {
        match self {
            Self::Failed { arm, status, said, blame, .. } => {
                let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
                let last = redact::text(&model::clean::clean(last.trim()));
                let name = if arm == 0 { "" } else { " b" };
                let why = blame.map_or_else(String::new, |(blame, why)| {
                    format!(". {}: {why}", words::failed_because(blame))
                });
                let colon = if last.is_empty() { "" } else { ": " };
                UserError::new(
                    format!("the command{name} failed with status {status}{colon}{last}{why}"),
                    "try it with `goobserve run`; a failed run says nothing about time",
                )
            }
            Self::Interrupted { .. } => {
                UserError::new(self.text(), "what was measured until then is reported")
            }
            Self::TimedOut { .. } => UserError::new(self.text(), "give it more time, or fewer --runs"),
        }
    }
}

impl Measured {
    /// The round that warms up, and what is to be expected of the others.
    pub(super) fn begin(
        &mut self,
        experiment: &mut Experiment<'_>,
        options: &GateOptions,
        analyses: &[usize],
    ) -> Result<Option<End>, UserError> {
        let report = |text: String| {
            if !options.common.quiet {
                say::line(&text);
            }
        };
        let arms = experiment.arms();
        report(estimate::before(analyses, arms, options.timeout));
        let began = Instant::now();
        self.timeout = options.timeout;
        let round = self.repeating(options, || experiment.warm_up_once_more())?;
        if let Round::Measured(reports) = &round {
            report(estimate::after(analyses, began.elapsed(), reports));
        }
        Ok(self.end_of(round))
    }

    /// Makes a round, and once more where the network failed it and that is asked for.
    fn repeating(
        &mut self,
        options: &GateOptions,
        mut round: impl FnMut() -> Result<Round, UserError>,
    ) -> Result<Round, UserError> {
        for repeats in 0.. {
            let made = round()?;
            let end = if options.fail_on.network { self.end_of(made.clone()) } else { None };
            let Some(end) = end.filter(|end| end.by_network() && repeats < REPEATS) else { return Ok(made) };
            self.repeated += 1;
            if !options.common.quiet {
                say::line(&format!("{}; the round is made once more", end.user_error().what));
            }
        }
        unreachable!("the last of REPEATS rounds is given back")
    }

    /// Runs until there are so many of each arm.
    pub(super) fn go_on(
        &mut self,
        experiment: &mut Experiment<'_>,
        options: &GateOptions,
        runs: usize,
    ) -> Result<Option<End>, UserError> {
        while self.reports[0].len() < runs {
            match self.repeating(options, || experiment.round())? {
                Round::Measured(reports) => {
                    self.reports.iter_mut().zip(reports).for_each(|(arm, report)| arm.push(report));
                }
                other => return Ok(self.end_of(other)),
            }
        }
        Ok(None)
    }

    fn end_of(&self, round: Round) -> Option<End> {
        let runs = self.reports[0].len();
        match round {
            Round::Measured(_) => None,
            Round::Failed(ended) => {
                let failed = ended.into_iter().find(|ended| ended.status != 0);
                failed.map(|Ended { arm, status, said, report }| {
                    let private_names = measure::private_names([&report]);
                    let blamed = report.commands.into_iter().find(|command| command.blame.is_some());
                    let blame = blamed.and_then(|command| command.blame.zip(command.blame_why));
                    End::Failed { arm, status, said, blame, private_names }
                })
            }
            Round::Interrupted => Some(End::Interrupted { runs }),
            Round::TimedOut => Some(End::TimedOut { runs, after: self.timeout.unwrap_or_default() }),
        }
    }

    /// What was measured so far, by arm.
    pub(super) const fn reports(&self) -> &[Vec<Report>; 2] {
        &self.reports
    }

    /// An arm's runs as a baseline; `None` without any.
    pub(super) fn side(
        &self,
        options: &GateOptions,
        experiment: &Experiment<'_>,
        arm: usize,
        command: &[OsString],
    ) -> Option<Baseline> {
        let recording = measure::recording(&self.reports[arm], &files::around(experiment.modules(arm)))?;
        let words = redact::args(&redact::words(command));
        Some(Baseline { recordings: vec![recording], ..super::empty(options, &words) })
    }
}
