//! `goobserve gate`, from what was asked for to the written answer.

mod files;
mod measured;
mod plan;

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::time::Instant;

use files::Answers;
use measured::{End, Measured};
use model::user_error::UserError;
use model::{human, words};
use render::gate::{annotations, text};
use render::page;
use stats::compare::CacheKind;
use stats::estimators;
use stats::gate::baseline::{Baseline, SCHEMA};
use stats::gate::fail_on::NETWORK;
use stats::gate::outcome::{Reason, Tier};
use stats::gate::verdict::{Hypothesis, Verdict, judge};
use stats::gate::{Design, Outcome};

use super::caller;
use super::check::preflight;
use super::output::{complain, refused, status_of, write_page};
use crate::cli::options::{Cache, GateAction, GateOptions};
use crate::experiment::{Arm, Experiment, Plan, WARMING_UP, user};
use crate::run::Invoker;
use crate::worker::distinct;

/// Does it; the exit status.
pub(super) fn execute(options: &GateOptions) -> i32 {
    let common = options.common;
    let outputs = &options.outputs;
    let out = match &options.action {
        GateAction::Record { out, .. } => Some(out),
        GateAction::Run { out, .. } => out.as_ref(),
        GateAction::Compare { .. } | GateAction::Ab { .. } => None,
    };
    let files = [&outputs.json, &outputs.markdown, &outputs.junit].map(Option::as_deref);
    if let Err(user_error) = distinct(&[&files[..], &[out.map(AsRef::as_ref)]].concat()) {
        return refused(common, &user_error, 2);
    }
    let invoker = caller();
    if matches!(options.action, GateAction::Compare { .. })
        && let Err(user_error) = user::become_caller(&invoker)
    {
        return refused(common, &user_error, 4);
    }
    if !common.quiet {
        invoker.not_restored.iter().for_each(|what| complain(common, &format!("not restored: {what}"), ""));
        for (remedy, warning) in options.with.iter().filter_map(|remedy| Some((remedy, remedy.warning()?))) {
            complain(common, &format!("{remedy}: {warning}"), "");
        }
    }
    let answered = gate(options, &invoker, &preflight);
    match (status_of(write_page(answered.page.as_bytes(), &files), common, 4), answered.user_error) {
        (0, None) => answered.status,
        (failed, None) => failed,
        (_, Some(user_error)) => {
            refused(common, &user_error, if answered.status == NETWORK { NETWORK } else { 4 })
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Answered {
    /// For stdout
    page: String,
    /// The exit status, when nothing failed
    status: i32,
    /// What failed
    user_error: Option<UserError>,
}

/// Does what was asked for; `able` says why this machine cannot be observed.
fn gate(options: &GateOptions, invoker: &Invoker, able: &dyn Fn() -> Result<(), UserError>) -> Answered {
    let answered = match &options.action {
        _ if options.plan => plan::plan(options, invoker, able),
        GateAction::Record { .. } => record(options, invoker, able),
        _ => judged(options, invoker, able),
    };
    answered.unwrap_or_else(|user_error| Answered { user_error: Some(user_error), ..Answered::default() })
}

type Able<'a> = &'a dyn Fn() -> Result<(), UserError>;

fn record(options: &GateOptions, invoker: &Invoker, able: Able<'_>) -> Result<Answered, UserError> {
    let GateAction::Record { out, append, command } = &options.action else { unreachable!() };
    able()?;
    let known =
        if *append && files::is_there(out, invoker)? { Some(files::read(out, invoker)?) } else { None };
    let file = files::create(out, invoker)?;
    let mut experiment = begin(options, invoker, &[("new", command.clone())])?;
    let mut measured = Measured::default();
    let mut end = measured.begin(&mut experiment, options, &[options.max_runs as usize])?;
    if end.is_none() {
        end = measured.go_on(&mut experiment, options, options.max_runs as usize)?;
    }
    let new = measured.side(options, &experiment, 0, command);
    experiment.end()?;
    // What was recorded until a time-out is a recording with fewer runs.
    let status =
        if options.fail_on.network && end.as_ref().is_some_and(End::by_network) { NETWORK } else { 0 };
    let Some(new) = new else {
        let user_error = end.map_or_else(|| UserError::new("no run was made", ""), End::user_error);
        return Ok(Answered { status, user_error: Some(user_error), ..Answered::default() });
    };
    let baseline = match known {
        None => new,
        Some(mut known) => {
            if (&known.command, known.cache, &known.with) != (&new.command, new.cache, &new.with) {
                return Err(UserError::new(
                    format!(
                        "{} is of `{}` with {} caches, {}",
                        out.display(),
                        words::argv(&known.command),
                        format!("{:?}", known.cache).to_lowercase(),
                        known.remedies()
                    ),
                    "name another file: a baseline is of one command",
                ));
            }
            new.recordings.into_iter().for_each(|recording| known.add(recording));
            known.tool = new.tool;
            known
        }
    };
    files::finish(file, &baseline.text(), invoker)?;
    let latest = baseline.latest().map_or(0, |recording| recording.runs.len()) as u64;
    let all = baseline.recordings.len();
    let mut page = format!(
        "{}: {} of `{}`, {}\n",
        out.display(),
        human::count(latest, "run"),
        words::argv(&baseline.command),
        human::count(all as u64, "recording"),
    );
    if all < stats::gate::time::FEWEST_RECORDINGS {
        page += &format!(
            "  {} more, at other times, and it judges time: gate record --append\n",
            stats::gate::time::FEWEST_RECORDINGS - all
        );
    }
    let page = if options.common.quiet { String::new() } else { page };
    let user_error = end.filter(|end| !matches!(end, End::TimedOut { .. })).map(End::user_error);
    Ok(Answered { page, status, user_error })
}

fn judged(options: &GateOptions, invoker: &Invoker, able: Able<'_>) -> Result<Answered, UserError> {
    let answers = Answers::open(&options.outputs, invoker)?;
    let (outcome, user_error) = match answer(options, invoker, able) {
        Ok(answer) => answer,
        // Whoever reads only the files must not take silence for a pass.
        Err(user_error) => (Outcome::invalid(Tier::All, &user_error.what), Some(user_error)),
    };
    let written = answers.write(&outcome, options.fail_on, invoker);
    let mut page = String::new();
    if !options.common.quiet {
        page = text::text(&outcome, options.fail_on, options_of_page(options));
    }
    if invoker.var("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        page = annotations::harmless(&page) + &annotations::annotations(&outcome, options.fail_on);
    }
    let user_error = user_error.or(written.err());
    Ok(Answered { page, status: options.fail_on.status(&outcome), user_error })
}

fn answer(
    options: &GateOptions,
    invoker: &Invoker,
    able: Able<'_>,
) -> Result<(Outcome, Option<UserError>), UserError> {
    match &options.action {
        GateAction::Compare { baseline, new } => {
            let (before, after) = (files::read(baseline, invoker)?, files::read(new, invoker)?);
            let hypothesis = Hypothesis {
                before: &before,
                after: &after,
                design: Design::Recordings,
                floors: options.floors,
                alpha: ALPHA,
            };
            Ok((judge(&hypothesis), None))
        }
        GateAction::Run { baseline, out, command } => {
            let before = files::read(baseline, invoker)?;
            able()?;
            let out = out.as_deref().map(|out| files::create(out, invoker)).transpose()?;
            let mut after = None;
            let answer =
                run_arms(options, invoker, &[("new", command.clone())], Design::Recordings, |sides| {
                    after = sides.into_iter().next();
                    (before.clone(), after.clone())
                })?;
            if let (Some(file), Some(after)) = (out, after) {
                files::finish(file, &after.text(), invoker)?;
            }
            Ok(answer)
        }
        GateAction::Ab { a, b } => {
            able()?;
            let arms = [("a", shell(a)), ("b", shell(b))];
            run_arms(options, invoker, &arms, Design::Pairs, |sides| {
                let mut sides = sides.into_iter();
                (sides.next().unwrap_or_else(|| empty(options, &[])), sides.next())
            })
        }
        GateAction::Record { .. } => unreachable!("recording judges nothing"),
    }
}

/// As a shell runs it.
fn shell(command: &OsString) -> Vec<OsString> {
    ["sh".into(), "-c".into(), command.clone()].to_vec()
}

/// How a page is to be drawn on stdout.
fn options_of_page(options: &GateOptions) -> page::Options {
    let no_color = std::env::var_os("NO_COLOR");
    let terminal = std::io::stdout().is_terminal();
    let color = options.common.color.decide(terminal, no_color.as_deref());
    page::Options { width: if terminal { usize::from(crate::worker::columns()) } else { 80 }, color }
}

/// The error that is spent on both sides of an interval.
const ALPHA: f64 = 0.05;

/// Runs, and looks when it is time to.
fn run_arms(
    options: &GateOptions,
    invoker: &Invoker,
    arms: &[(&str, Vec<OsString>)],
    design: Design,
    mut sides: impl FnMut(Vec<Baseline>) -> (Baseline, Option<Baseline>),
) -> Result<(Outcome, Option<UserError>), UserError> {
    let runs = options.experiment.runs.unwrap_or(options.max_runs) as usize;
    let analyses = estimators::interim_analyses(runs, options.max_runs as usize);
    let began = Instant::now();
    let mut experiment = begin(options, invoker, arms)?;
    let mut measured = Measured::default();
    let mut end = measured.begin(&mut experiment, options, &analyses)?;
    let mut answer = None;
    let mut spent = 0.0;
    for (analysis, mut alpha) in analyses.iter().zip(estimators::spending(&analyses, ALPHA)) {
        if end.is_none() {
            end = measured.go_on(&mut experiment, options, *analysis)?;
        }
        let ended_early = end.as_ref().filter(|end| matches!(end, End::TimedOut { .. })).map(End::text);
        if ended_early.is_some() {
            // Time, not what was seen, made this look the last: it may spend what is left.
            alpha = ALPHA - spent;
        }
        spent += alpha;
        let of = |(arm, (_, command)): (usize, &(&str, Vec<OsString>))| {
            measured.side(options, &experiment, arm, command)
        };
        let (before, after) = sides(arms.iter().enumerate().filter_map(of).collect());
        let mut outcome = match (&after, &ended_early) {
            (None, Some(why)) => {
                Outcome { reasons: vec![Reason::of(Tier::All, why)], ..Outcome::new(Verdict::Inconclusive) }
            }
            _ => {
                let after = after.unwrap_or_else(|| empty(options, &before.command));
                let floors = options.floors;
                judge(&Hypothesis { before: &before, after: &after, design, floors, alpha })
            }
        };
        let stop = end.is_some() || outcome.verdict != Verdict::Inconclusive;
        let blame = match &end {
            Some(End::Failed { blame, private_names, .. }) => {
                // What left did so although the command failed.
                outcome.private_names.clone_from(private_names);
                blame.as_ref().map(|(blame, _)| *blame)
            }
            _ => None,
        };
        let user_error = end.take().filter(|_| ended_early.is_none()).map(End::user_error);
        outcome.ended_early = ended_early;
        outcome.blame = blame;
        outcome.repeated = measured.repeated;
        outcome.took_ns = u64::try_from(began.elapsed().as_nanos()).ok();
        if let Some(user_error) = &user_error {
            // What was measured is shown; a look that was not planned decides nothing.
            outcome.verdict = Verdict::Invalid;
            outcome.reasons = vec![Reason::of(Tier::All, &user_error.what)];
        }
        answer = Some((outcome, user_error));
        if stop {
            break;
        }
    }
    experiment.end()?;
    answer.ok_or_else(|| UserError::new("no run was made", ""))
}

fn empty(options: &GateOptions, command: &[String]) -> Baseline {
    Baseline {
        schema: SCHEMA.to_owned(),
        tool: format!("goobserve {}", env!("CARGO_PKG_VERSION")),
        command: command.to_vec(),
        cache: match options.experiment.cache {
            Cache::Cold => CacheKind::Cold,
            Cache::Memory => CacheKind::Memory,
            Cache::Warm => CacheKind::Warm,
        },
        with: options.with.names(),
        recordings: Vec::new(),
    }
}

fn begin<'a>(
    options: &GateOptions,
    invoker: &'a Invoker,
    arms: &[(&str, Vec<OsString>)],
) -> Result<Experiment<'a>, UserError> {
    let arm = |(name, command): &(&str, Vec<OsString>)| Arm {
        name: (*name).to_owned(),
        command: command.clone(),
        remedies: options.with.clone(),
    };
    debug_assert!(arms.iter().all(|(_, command)| command.first().is_some_and(|word| word != OsStr::new(""))));
    let plan = Plan {
        arms: arms.iter().map(arm).collect(),
        rounds: options.experiment.runs.unwrap_or(options.max_runs) as usize,
        warm_up: WARMING_UP,
        cache: options.experiment.cache,
        until: options.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        common: options.common,
    };
    Experiment::begin(plan, invoker)
}
