//! `goobserve report`: a recording in, one of the report's formats on stdout.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;

use diagnose::report::report;
use model::State;
use model::anonymize::Anonymizer;
use model::blocked::blocked;
use model::event::{Body, Event};
use model::user_error::UserError;
use pipeline::record::{Recorder, SCHEMA};
use render::html::pair::{Side, pair};
use render::{html, json, markdown, otlp, page, perfetto, text};

use super::recording;
use crate::cli::options::{ReportFormat, ReportOptions};

/// Writes a recording's report on stdout.
pub(super) fn execute(options: &ReportOptions) -> Result<(), UserError> {
    let refused = |error: &dyn std::fmt::Display| recording::refused(&options.file, error);
    if options.format == ReportFormat::Recording {
        return anew(options);
    }
    // One for both: a module has the same pseudonym on both sides.
    let mut anonymizer = options.anonymize.then(Anonymizer::new);
    let state = state(&options.file, anonymizer.as_mut())?;
    let report = report(&state);
    if let Some(second) = &options.second {
        let other = self::state(second, anonymizer.as_mut())?;
        let of_other = diagnose::report::report(&other);
        let names = [&options.file, second].map(|file| file.display().to_string());
        let a = Side { name: &names[0], report: &report, state: &state };
        let b = Side { name: &names[1], report: &of_other, state: &other };
        return written(&pair(a, b));
    }
    let stdout = std::io::stdout();
    let text = match options.format {
        ReportFormat::Markdown => markdown::markdown(&report),
        ReportFormat::Html => html::html(&report, &state),
        ReportFormat::Perfetto => perfetto::perfetto(&report, &state).map_err(|error| refused(&error))?,
        ReportFormat::Otlp => otlp::otlp(&report, &state).map_err(|error| refused(&error))?,
        ReportFormat::Json => json::json(&report).map_err(|error| refused(&error))? + "\n",
        ReportFormat::Recording => return Ok(()),
        ReportFormat::Text => {
            let no_color = std::env::var_os("NO_COLOR");
            let color = options.common.color.decide(stdout.is_terminal(), no_color.as_deref());
            text::text(&report, page::Options { width: 80, color })
        }
    };
    written(&text)
}

/// What a recording says.
fn state(file: &Path, mut anonymizer: Option<&mut Anonymizer>) -> Result<State, UserError> {
    let mut state = State::new();
    for event in recording::open(file)? {
        let event = event.map_err(|error| recording::refused(file, &error))?;
        match &mut anonymizer {
            Some(anonymizer) => state.apply(&anonymizer.event(&event)),
            None => state.apply(&event),
        }
    }
    Ok(state)
}

/// Puts it on stdout. A reader that has gone is no failure.
fn written(text: &str) -> Result<(), UserError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(UserError::new(format!("cannot write to stdout: {error}"), "check where stdout leads"))
        }
        _ => Ok(()),
    }
}

/// Writes the recording itself on stdout, in the schema of this version. What an earlier one did not record of
/// what commands waited for is added before its end.
fn anew(options: &ReportOptions) -> Result<(), UserError> {
    let cannot = |error: &dyn std::fmt::Display| {
        UserError::new(format!("cannot write to stdout: {error}"), "check where stdout leads")
    };
    let mut anonymizer = options.anonymize.then(Anonymizer::new);
    let mut state = State::new();
    let mut accounted = BTreeSet::new();
    let mut recorder = None;
    let mut end = None;
    for event in recording::open(&options.file)? {
        let mut event = event.map_err(|error| recording::refused(&options.file, &error))?;
        if let Some(anonymizer) = &mut anonymizer {
            event = anonymizer.event(&event);
        }
        state.apply(&event);
        match &mut event.body {
            Body::Session(session) => {
                SCHEMA.clone_into(&mut session.schema);
                session.redacted = true; // by the replay
                recorder = Some(Recorder::new(std::io::stdout(), "standard output", session));
            }
            Body::Blocked(blocked) => {
                accounted.insert(blocked.command);
            }
            _ => {}
        }
        if matches!(event.body, Body::End(_)) {
            end = Some(event);
        } else if let Some(recorder) = &mut recorder {
            recorder.write(&event);
            if recorder.stopped() {
                break;
            }
        }
    }
    let Some(mut recorder) = recorder else { return Ok(()) };
    let at_ns = end.as_ref().map_or_else(|| state.until(), |end| end.at_ns);
    for (_, command) in state.commands().filter(|(id, _)| !accounted.contains(id)) {
        blocked(command)
            .into_iter()
            .for_each(|one| recorder.write(&Event { at_ns, body: Body::Blocked(one) }));
    }
    end.iter().for_each(|end| recorder.write(end));
    match recorder.flush() {
        Err(error) if error.cause.kind() != ErrorKind::BrokenPipe => Err(cannot(&error.cause)),
        _ => Ok(()),
    }
}
