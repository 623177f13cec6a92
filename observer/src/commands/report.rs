//! `goobserve report`: a recording in, one of the report's formats on stdout.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use diagnose::report::report;
use model::State;
use model::anonymize::Anonymizer;
use model::user_error::UserError;
use render::{html, json, markdown, page, perfetto, text};

use super::recording;
use crate::cli::options::{ReportFormat, ReportOptions};

/// Writes a recording's report on stdout.
pub(super) fn execute(options: &ReportOptions) -> Result<(), UserError> {
    let refused = |error: &dyn std::fmt::Display| recording::refused(&options.file, error);
    let mut state = State::new();
    let mut anonymizer = options.anonymize.then(Anonymizer::new);
    for event in recording::open(&options.file)? {
        let event = event.map_err(|error| refused(&error))?;
        match &mut anonymizer {
            Some(anonymizer) => state.apply(&anonymizer.event(&event)),
            None => state.apply(&event),
        }
    }
    let report = report(&state);
    let stdout = std::io::stdout();
    let text = match options.format {
        ReportFormat::Markdown => markdown::markdown(&report),
        ReportFormat::Html => html::html(&report, &state),
        ReportFormat::Perfetto => perfetto::perfetto(&report, &state).map_err(|error| refused(&error))?,
        ReportFormat::Json => json::json(&report).map_err(|error| refused(&error))? + "\n",
        ReportFormat::Text => {
            let no_color = std::env::var_os("NO_COLOR");
            let color = options.common.color.decide(stdout.is_terminal(), no_color.as_deref());
            text::text(&report, page::Options { width: 80, color })
        }
    };
    match stdout.lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(UserError::new(format!("cannot write to stdout: {error}"), "check where stdout leads"))
        }
        _ => Ok(()),
    }
}
