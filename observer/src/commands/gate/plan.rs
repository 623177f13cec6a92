//! `gate … --plan`: what it takes and what it can find. In: the baseline there is, or a few rounds that are run
//! now. Out: a page; nothing is judged and nothing written.

use std::time::Instant;

use model::user_error::UserError;
use render::gate::plan as page;
use stats::estimators;
use stats::gate::Design;
use stats::gate::baseline::Baseline;
use stats::gate::plan::Basis;

use super::measured::Measured;
use super::{ALPHA, Able, Answered, begin, files, measured, options_of_page, shell};
use crate::cli::options::{GateAction, GateOptions};
use crate::experiment::wall_ns;
use crate::run::Invoker;

/// Rounds that are run where nothing is known: the fewest of which one can be an exception.
const ROUNDS: usize = 5;

/// Says it.
pub(super) fn plan(options: &GateOptions, invoker: &Invoker, able: Able<'_>) -> Result<Answered, UserError> {
    let runs = options.experiment.runs.unwrap_or(options.max_runs) as usize;
    let analyses = estimators::interim_analyses(runs, options.max_runs as usize);
    let (basis, from, arms) = match &options.action {
        GateAction::Ab { a, b } => {
            able()?;
            let (basis, end) = run(options, invoker, &[("a", shell(a)), ("b", shell(b))])?;
            if let Some(end) = end {
                return Err(end.user_error());
            }
            (basis, format!("{ROUNDS} pairs, run just now"), 2)
        }
        GateAction::Run { baseline, .. } => {
            let (basis, from) = stored(options, &files::read(baseline, invoker)?);
            (Some(basis), from, 1)
        }
        GateAction::Record { out, append: true, .. } if files::is_there(out, invoker)? => {
            let (basis, from) = stored(options, &files::read(out, invoker)?);
            (Some(basis), from, 1)
        }
        GateAction::Record { .. } | GateAction::Compare { .. } => {
            (None, "how long a run takes is not known: nothing has run yet".to_owned(), 1)
        }
    };
    let page = page::text(basis.as_ref(), &from, &analyses, arms, options_of_page(options));
    Ok(Answered { page, ..Answered::default() })
}

/// What a stored baseline says of it.
fn stored(options: &GateOptions, baseline: &Baseline) -> (Basis, String) {
    let middles: Vec<f64> = baseline
        .recordings
        .iter()
        .filter_map(|recording| estimators::median(&recording.figures(|run| run.wall_ns)))
        .collect();
    let latest = middles.last().copied().unwrap_or(0.0);
    let basis = Basis {
        design: Design::Recordings,
        wall_ns: estimators::median(&middles).unwrap_or(0.0),
        run_ns: latest,
        logs: middles.iter().map(|middle| middle.max(1.0).ln()).collect(),
        floors: options.floors,
        alpha: ALPHA,
    };
    (basis, "by the baseline's last recording, without what is around a run".to_owned())
}

/// Runs a few rounds.
fn run(
    options: &GateOptions,
    invoker: &Invoker,
    arms: &[(&str, Vec<std::ffi::OsString>)],
) -> Result<(Option<Basis>, Option<measured::End>), UserError> {
    let mut experiment = begin(options, invoker, arms)?;
    let mut measured = Measured::default();
    let mut end = measured.begin(&mut experiment, options, &[ROUNDS])?;
    let began = Instant::now();
    if end.is_none() {
        end = measured.go_on(&mut experiment, options, ROUNDS)?;
    }
    let took = began.elapsed();
    experiment.end()?;
    let walls = |arm: usize| measured.reports()[arm].iter().map(|report| wall_ns(report).max(1) as f64);
    let before: Vec<f64> = walls(0).collect();
    let basis = estimators::median(&before).map(|wall_ns| Basis {
        design: Design::Pairs,
        wall_ns,
        run_ns: took.as_nanos() as f64 / (before.len() * arms.len()) as f64,
        logs: walls(1).zip(&before).map(|(after, before)| (after / before).ln()).collect(),
        floors: options.floors,
        alpha: ALPHA,
    });
    Ok((basis, end))
}
