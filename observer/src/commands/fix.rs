//! `fix`, from what was asked for to the written answer: a run that is observed, the trials of what its report
//! offers, and what to keep.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use model::remedy::Remedies;
use model::remedy::keep::Here;
use model::report::Report;
use model::user_error::UserError;
use model::{json, redact};
use render::{fix as view, page};
use stats::compare::{CacheKind, Failure};
use stats::fix::choice::{Candidate, Choice, choose};
use stats::fix::{Fix, Keep, Running, SCHEMA, Verdict, best, design, ns, observed, verdict};

use super::caller;
use super::check::preflight;
use super::output::{colored, complain, refused, status_of, write_page};
use crate::cli::COLD;
use crate::cli::options::{Cache, FixOptions};
use crate::experiment::user::AsUser;
use crate::experiment::{Arm, Ended, Experiment, Plan, Round, wall_ns};
use crate::run::Invoker;
use crate::worker::AtomicFile;

/// The first run, which says what to try.
const OBSERVING: &str = "observing";

/// Does it; the exit status.
pub(super) fn execute(options: &FixOptions) -> i32 {
    let common = options.common;
    let invoker = caller();
    if !common.quiet {
        for what in &invoker.not_restored {
            complain(common, &format!("not restored: {what}"), "");
        }
    }
    match preflight().and_then(|()| fix(options, &invoker)) {
        Ok(fix) => {
            let terminal = std::io::stdout().is_terminal();
            let width = if terminal { usize::from(crate::worker::columns()) } else { 80 };
            let page = view::text(&fix, page::Options { width, color: colored(common, terminal) });
            match (
                status_of(write_page(page.as_bytes(), &[options.json.as_deref()]), common, 4),
                user_error(&fix),
            ) {
                (_, Some(user_error)) => refused(common, &user_error, 4),
                (status, None) => status,
            }
        }
        Err(user_error) => refused(common, &user_error, 4),
    }
}

/// Why it is no answer.
fn user_error(fix: &Fix) -> Option<UserError> {
    let budget = model::human::duration(fix.budget_ns);
    match fix.verdict {
        Verdict::Proven | Verdict::NothingHelps | Verdict::NothingToTry => None,
        Verdict::Interrupted => Some(UserError::new(
            format!("interrupted after {} of {} rounds", fix.rounds, fix.rounds_wanted),
            "nothing is recommended of runs that were cut short",
        )),
        Verdict::OutOfTime => Some(UserError::new(
            format!("--budget {budget} was over before there was an answer"),
            match &fix.observed {
                Some(_) => "give it more time, or try one remedy: goobserve compare --with REMEDY -- CMD",
                None => {
                    "the first run did not end within it: goobserve run, or watch --pid for one that hangs"
                }
            },
        )),
        Verdict::Failed => {
            let failed = fix.failures.iter().find(|failure| failure.status != 0);
            let (side, status) = failed.map_or(("", 0), |failure| (failure.side.as_str(), failure.status));
            Some(UserError::new(
                format!(
                    "the command failed ({side}: exit status {status}), and nothing tried was shown to cure it"
                ),
                "what it printed is above; `goobserve run` says what ended it",
            ))
        }
    }
}

/// Finds out, and writes the file.
fn fix(options: &FixOptions, invoker: &Invoker) -> Result<Fix, UserError> {
    let json = {
        let _user = AsUser::take(invoker)?;
        options.json.as_deref().map(AtomicFile::create).transpose()?
    };
    let began = Instant::now();
    let mut fix = begun(options);
    let mut experiment = Experiment::begin(plan(options, began), invoker)?;
    find_out(&mut fix, &mut experiment, options, invoker, began)?;
    experiment.end()?;
    fix.took_ns = ns(began.elapsed());
    if let Some(file) = json {
        let _user = AsUser::take(invoker)?;
        let text = json::pretty(&fix).map(|text| text + "\n").unwrap_or_default();
        file.finish(text.as_bytes())?;
    }
    Ok(fix)
}

fn plan(options: &FixOptions, began: Instant) -> Plan {
    Plan {
        arms: vec![arm(options, &Remedies::default())],
        // The observation is none.
        rounds: 0,
        warm_up: OBSERVING,
        cache: options.experiment.cache,
        until: began.checked_add(options.budget),
        common: options.common,
    }
}

fn arm(options: &FixOptions, remedies: &Remedies) -> Arm {
    Arm { name: remedies.to_string(), command: options.command.clone(), remedies: remedies.clone() }
}

/// Nothing is known yet.
fn begun(options: &FixOptions) -> Fix {
    Fix {
        schema: SCHEMA.to_owned(),
        tool: format!("goobserve {}", env!("CARGO_PKG_VERSION")),
        started_unix_ns: None,
        machine: None,
        command: redact::args(&redact::words(&options.command)),
        cache: match options.experiment.cache {
            Cache::Cold => CacheKind::Cold,
            Cache::Memory => CacheKind::Memory,
            Cache::Warm => CacheKind::Warm,
        },
        budget_ns: ns(options.budget),
        took_ns: 0,
        observed: None,
        verdict: Verdict::OutOfTime,
        keep: None,
        rounds_wanted: 0,
        rounds: 0,
        trials: Vec::new(),
        untried: Vec::new(),
        failures: Vec::new(),
        events_lost: 0,
    }
}

/// Observes, and tries what is worth it.
fn find_out(
    fix: &mut Fix,
    experiment: &mut Experiment<'_>,
    options: &FixOptions,
    invoker: &Invoker,
    began: Instant,
) -> Result<(), UserError> {
    // What a run takes is known with all that is around it.
    let first = Instant::now();
    let report = match experiment.warm_up()? {
        Some(Round::Measured(mut reports)) if !reports.is_empty() => reports.swap_remove(0),
        Some(Round::Failed(mut runs)) if !runs.is_empty() => {
            let run = runs.swap_remove(0);
            fix.failures = vec![failure(&run, &[])];
            run.report
        }
        Some(Round::Interrupted) => {
            fix.verdict = Verdict::Interrupted;
            return Ok(());
        }
        Some(Round::TimedOut | Round::Measured(_) | Round::Failed(_)) | None => return Ok(()),
    };
    let run = first.elapsed();
    let fails = !fix.failures.is_empty();
    see(fix, &report);
    let Choice { mut candidates, untried } = offered(Some(&report), options);
    fix.untried = untried;
    if candidates.is_empty() {
        fix.verdict = if fails { Verdict::Failed } else { Verdict::NothingToTry };
        return Ok(());
    }
    let left = options.budget.saturating_sub(began.elapsed());
    let rounds = options.experiment.runs.map(|runs| runs as usize);
    let design = design::design(candidates.len(), run, left, rounds);
    let tried = design.map_or(0, |design| design.candidates);
    let rest = candidates.split_off(tried);
    let why = format!("there is no time for it within --budget {}", model::human::duration(fix.budget_ns));
    fix.untried.splice(0..0, rest.into_iter().map(|candidate| candidate.untried(why.clone())));
    let Some(design) = design else {
        fix.verdict = if fails { Verdict::Failed } else { Verdict::OutOfTime };
        return Ok(());
    };
    fix.rounds_wanted = design.rounds as u32;
    try_them(fix, experiment, options, candidates, began)?;
    fix.keep = (fix.verdict == Verdict::Proven).then(|| keep(fix, options, invoker)).flatten();
    Ok(())
}

/// What the report offers, in lines for who is here.
fn offered(report: Option<&Report>, options: &FixOptions) -> Choice {
    let Some(mut report) = report.cloned() else { return Choice::default() };
    if let Ok(here) = std::env::current_dir() {
        diagnose::from_here(&mut report, &here);
    }
    choose(&report, if options.experiment.cache == Cache::Warm { &[] } else { &COLD })
}

/// The observed run.
fn see(fix: &mut Fix, report: &Report) {
    fix.started_unix_ns = Some(report.started_unix_ns);
    fix.machine = Some(report.machine.clone());
    fix.observed = observed(report);
    count_lost(fix, report);
}

fn count_lost(fix: &mut Fix, report: &Report) {
    fix.events_lost += report.loss.kernel_events_lost + report.loss.events_undecoded;
}

/// Runs them in turns with the command as it is.
fn try_them(
    fix: &mut Fix,
    experiment: &mut Experiment<'_>,
    options: &FixOptions,
    candidates: Vec<Candidate>,
    began: Instant,
) -> Result<(), UserError> {
    let count = candidates.len();
    let fails = !fix.failures.is_empty();
    let (rounds, least) = (fix.rounds_wanted as usize, design::fewest(count));
    let arms: Vec<Arm> = candidates.iter().map(|candidate| arm(options, &candidate.remedies)).collect();
    experiment.add(arms, rounds);
    let mut running: Vec<Running> =
        candidates.into_iter().map(|candidate| Running::new(candidate, count)).collect();
    let mut spent = Duration::ZERO;
    let mut ended = None;
    for round in 0..rounds {
        // A round that cannot be ended in time is not begun, where what there is can be judged.
        let mean = spent / (round as u32).max(1);
        if round >= least && options.budget.saturating_sub(began.elapsed()) < mean {
            break;
        }
        let since = Instant::now();
        let Some(runs) = one_round(fix, experiment, &running, &mut ended)? else { break };
        spent += since.elapsed();
        let as_it_is = runs.iter().find(|(arm, _)| *arm == 0).and_then(|(_, report)| report.clone());
        if as_it_is.is_none() && !fails {
            ended = Some(Verdict::Failed);
            break;
        }
        fix.rounds += 1;
        for (arm, report) in runs.into_iter().filter(|(arm, _)| *arm > 0) {
            let Some(one) = running.get_mut(arm - 1) else { continue };
            let goes_on = match (as_it_is.clone(), report) {
                (_, None) => {
                    one.fail();
                    false
                }
                (None, Some(_)) => {
                    one.cure(least);
                    true
                }
                // It fails at times only: such a round says nothing.
                (Some(_), Some(_)) if fails => true,
                (Some(as_it_is), Some(report)) => one.add([as_it_is, report], rounds - round - 1),
            };
            if !goes_on {
                experiment.give_up(arm);
            }
        }
        let is_cured = |arm: &usize| running.get(arm - 1).is_some_and(Running::cures);
        if experiment.playing().iter().filter(|arm| **arm > 0).all(is_cured) {
            break;
        }
    }
    fix.trials = running.iter().map(Running::trial).collect();
    let cut = experiment.playing().len() > 1 && (fix.rounds as usize) < least;
    fix.verdict = ended.unwrap_or_else(|| match verdict(&fix.trials, cut) {
        Verdict::NothingHelps | Verdict::OutOfTime if fails => Verdict::Failed,
        verdict => verdict,
    });
    Ok(())
}

/// An arm's run; `None`: it failed.
type ByArm = (usize, Option<Report>);

/// A round's reports, `None` of a run that failed. No round: it was cut short, and `ended` says how unless by time.
fn one_round(
    fix: &mut Fix,
    experiment: &mut Experiment<'_>,
    running: &[Running],
    ended: &mut Option<Verdict>,
) -> Result<Option<Vec<ByArm>>, UserError> {
    let playing = experiment.playing().to_vec();
    let runs: Vec<ByArm> = match experiment.round()? {
        Round::Measured(reports) => playing.into_iter().zip(reports.into_iter().map(Some)).collect(),
        Round::Failed(runs) => {
            for run in runs.iter().filter(|run| run.status != 0) {
                let failure = failure(run, &names(running));
                // The first of each side says what the others say.
                if fix.failures.iter().all(|other| other.side != failure.side) {
                    fix.failures.push(failure);
                }
            }
            runs.into_iter().map(|run| (run.arm, (run.status == 0).then_some(run.report))).collect()
        }
        Round::Interrupted => {
            *ended = Some(Verdict::Interrupted);
            return Ok(None);
        }
        Round::TimedOut => return Ok(None),
    };
    runs.iter().filter_map(|(_, report)| report.as_ref()).for_each(|report| count_lost(fix, report));
    Ok(Some(runs))
}

fn names(running: &[Running]) -> Vec<String> {
    running.iter().map(|one| one.candidate().remedies.to_string()).collect()
}

/// `names`: of the remedies, by arm after the first.
fn failure(run: &Ended, names: &[String]) -> Failure {
    let name = run.arm.checked_sub(1).and_then(|index| names.get(index)).cloned();
    Failure {
        side: name.unwrap_or_else(|| Remedies::default().to_string()),
        status: run.status,
        wall_ns: wall_ns(&run.report),
        said: if run.status == 0 { String::new() } else { redact::text(&run.said) },
    }
}

/// How the best one is kept.
fn keep(fix: &Fix, options: &FixOptions, invoker: &Invoker) -> Option<Keep> {
    let trial = &fix.trials[best(&fix.trials)?];
    let parsed: Result<Vec<_>, _> = trial.name.split(" + ").map(str::parse).collect();
    let remedies = parsed.and_then(Remedies::new).ok()?;
    let how: Option<Vec<String>> = remedies.iter().map(model::remedy::Remedy::keeping).collect();
    let variable = |name: &str| {
        let value = invoker.var(name)?.to_string_lossy();
        Some(redact::variable(name, &value))
    };
    // The command is the caller's: in its place a word that a shell would take otherwise is quoted.
    let command = redact::args(&redact::words(&options.command));
    let here = Here { command: &command, variable: &variable, root: invoker.uid == 0 };
    Some(Keep { name: trial.name.clone(), line: remedies.line(&here), how: how?.join("; ") })
}
