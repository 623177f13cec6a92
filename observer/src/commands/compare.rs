//! The experiment of `compare`, from what was asked for to the written answer.

use std::io::IsTerminal as _;

use model::remedy::container::Client;
use model::report::Report;
use model::user_error::UserError;
use model::{json, redact};
use render::{compare as view, page};
use stats::compare::{About, Answer, CacheKind, End, FEWEST, Failure, answer};

use super::caller;
use super::check::preflight;
use super::output::{complain, refused, status_of, write_page};
use crate::cli::options::{Cache, CompareOptions};
use crate::experiment::user::AsUser;
use crate::experiment::{Arm, Ended, Experiment, Plan, Round, WARMING_UP, wall_ns};
use crate::run::Invoker;
use crate::run::session::in_container;
use crate::worker::{AtomicFile, distinct};

/// Runs each way, unless asked otherwise: the fewest that give an interval.
const RUNS: u32 = FEWEST as u32;

/// Does it; the exit status.
pub(super) fn execute(options: &CompareOptions) -> i32 {
    let common = options.common;
    let files = [options.json.as_deref(), options.markdown.as_deref()];
    if let Err(user_error) = distinct(&files) {
        return refused(common, &user_error, 2);
    }
    let invoker = caller();
    if !common.quiet {
        for what in &invoker.not_restored {
            complain(common, &format!("not restored: {what}"), "");
        }
        for remedy in options.with.iter().chain(options.versus.iter()) {
            if let Some(warning) = remedy.warning() {
                complain(common, &format!("{remedy}: {warning}"), "");
            }
        }
    }
    match preflight().and_then(|()| compare(options, &invoker)) {
        Ok(answered) => {
            match (status_of(write_page(answered.page.as_bytes(), &files), common, 4), answered.user_error) {
                (_, Some(user_error)) => refused(common, &user_error, 4),
                (status, None) => status,
            }
        }
        Err(user_error) => refused(common, &user_error, 4),
    }
}

/// What came of it.
#[derive(Debug)]
struct Answered {
    /// For stdout
    page: String,
    /// Why it is no answer, or not the whole one
    user_error: Option<UserError>,
}

/// Runs the experiment and writes the files.
fn compare(options: &CompareOptions, invoker: &Invoker) -> Result<Answered, UserError> {
    for remedies in [&options.versus, &options.with] {
        in_container(&options.command, remedies)?;
    }
    let (json, markdown) = {
        let _user = AsUser::take(invoker)?;
        let open = |path: &Option<std::path::PathBuf>| path.as_deref().map(AtomicFile::create).transpose();
        (open(&options.json)?, open(&options.markdown)?)
    };
    let answer = ask(options, invoker)?;
    let written = {
        let _user = AsUser::take(invoker)?;
        let text = json::pretty(&answer).map(|text| text + "\n").unwrap_or_default();
        let json = json.map_or(Ok(()), |file| file.finish(text.as_bytes()));
        json.and(markdown.map_or(Ok(()), |file| file.finish(view::markdown(&answer).as_bytes())))
    };
    written?;
    let no_color = std::env::var_os("NO_COLOR");
    let terminal = std::io::stdout().is_terminal();
    let color = options.common.color.decide(terminal, no_color.as_deref());
    let width = if terminal { usize::from(crate::worker::columns()) } else { 80 };
    let page = view::text(&answer, page::Options { width, color });
    Ok(Answered { page, user_error: user_error(&answer) })
}

/// Why an answer does not count as one.
fn user_error(answer: &Answer) -> Option<UserError> {
    match answer.end {
        End::Complete => None,
        End::Interrupted => Some(UserError::new(
            format!("interrupted after {} of {} rounds", answer.runs, answer.runs_wanted),
            "what was measured until then is above",
        )),
        End::Failed => {
            let failed = answer.failures.iter().find(|failure| failure.status != 0);
            let (name, status) = failed.map_or(("", 0), |failure| (failure.side.as_str(), failure.status));
            Some(UserError::new(
                format!(
                    "the command failed ({name}: exit status {status}): times of failures are not compared"
                ),
                "what it printed is above; try it with `goobserve run`",
            ))
        }
    }
}

fn ask(options: &CompareOptions, invoker: &Invoker) -> Result<Answer, UserError> {
    let rounds = options.experiment.runs.unwrap_or(RUNS);
    let arm = |remedies: &model::remedy::Remedies| Arm {
        name: remedies.to_string(),
        command: options.command.clone(),
        remedies: remedies.clone(),
    };
    let plan = Plan {
        arms: vec![arm(&options.versus), arm(&options.with)],
        rounds: rounds as usize,
        warm_up: WARMING_UP,
        cache: options.experiment.cache,
        until: None,
        common: options.common,
    };
    let about = About {
        command: redact::args(&redact::words(&options.command)),
        cache: match options.experiment.cache {
            Cache::Cold => CacheKind::Cold,
            Cache::Memory => CacheKind::Memory,
            Cache::Warm => CacheKind::Warm,
        },
        runs_wanted: rounds,
        names: [options.versus.to_string(), options.with.to_string()],
        remedies: [options.versus.names(), options.with.names()],
    };
    let mut experiment = Experiment::begin(plan, invoker)?;
    let mut pairs: Vec<[Report; 2]> = Vec::new();
    let mut end = End::Complete;
    let mut failures = Vec::new();
    while pairs.len() < rounds as usize {
        match experiment.round()? {
            Round::Measured(reports) => {
                let Ok(pair) = <[Report; 2]>::try_from(reports) else { break };
                pairs.push(pair);
            }
            Round::Failed(runs) => {
                end = End::Failed;
                failures = runs.iter().map(|run| failure(run, &about.names)).collect();
                break;
            }
            Round::Interrupted | Round::TimedOut => {
                end = End::Interrupted;
                break;
            }
        }
    }
    experiment.end()?;
    let silent = silent(options, &pairs);
    if options.experiment.cache != Cache::Warm && silent > 0 {
        return Err(UserError::new(
            format!(
                "{silent} of {} runs asked no server for anything: their caches were warm",
                2 * pairs.len()
            ),
            "the container has the modules already, in a volume or its image: leave that out, or say --warm",
        ));
    }
    Ok(answer(about, &pairs, end, failures))
}

/// Runs that started containers in which nothing was asked for. The folders of an experiment are empty each
/// time; those of a container may be anything.
fn silent(options: &CompareOptions, pairs: &[[Report; 2]]) -> usize {
    let of_containers = Client::of(&options.command).is_some();
    pairs.iter().flatten().filter(|report| of_containers && report.requests.is_empty()).count()
}

fn failure(run: &Ended, names: &[String; 2]) -> Failure {
    Failure {
        side: names[run.arm].clone(),
        status: run.status,
        wall_ns: wall_ns(&run.report),
        said: if run.status == 0 { String::new() } else { redact::text(&run.said) },
    }
}
