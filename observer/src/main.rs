//! The program: joins the command line to what does the work.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::exit;

use observer::cli::options::{Refusal, ReportFormat, ReportOptions, WatchOptions};
use observer::cli::services::Services;
use observer::model::State;
use observer::model::anonymize::Anonymizer;
use observer::model::report::report;
use observer::source::replay::Replay;
use observer::view::{html, json, markdown, page, perfetto, text};

fn main() {
    #[cfg(target_os = "linux")]
    if std::env::args_os().nth(1).is_some_and(|word| word == observer::agent::WORKER) {
        exit(observer::worker::main(observer::agent::SEAM_FD));
    }
    exit(observer::cli::dispatch::main(std::env::args_os(), &Program))
}

/// What this program can do.
struct Program;

impl Services for Program {
    #[cfg(target_os = "linux")]
    fn tracepoints(&self) -> (&[&str], &[&str]) {
        observer::source::kernel::tracepoints()
    }

    fn plan(&self, binary: &Path) -> Result<String, String> {
        let file = File::open(binary).map_err(|error| error.to_string())?;
        let plan =
            observer::target::plan(&object::ReadCache::new(file)).map_err(|refusal| refusal.to_string())?;
        Ok(plan.build.go_version)
    }

    #[cfg(target_os = "linux")]
    fn attach(&self) -> &dyn observer::run::Attach {
        &observer::agent::Bpf
    }

    #[cfg(target_os = "linux")]
    fn watch(&self, options: &WatchOptions) -> Result<(), Refusal> {
        observer::agent::watch(options)
    }

    fn report(&self, options: &ReportOptions) -> Result<(), Refusal> {
        let name = options.file.display();
        let refused = |error: &dyn std::fmt::Display| {
            Refusal::new(format!("{name}: {error}"), "make one with `goobserve run --record FILE -- CMD`")
        };
        let cannot =
            |error| Refusal::new(format!("cannot read {name}: {error}"), "check the name of the recording");
        let file = File::open(&options.file).map_err(cannot)?;
        let mut state = State::new();
        let mut anonymizer = options.anonymize.then(Anonymizer::new);
        for event in Replay::new(BufReader::new(file)).map_err(|error| refused(&error))? {
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
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Refusal::new(format!("cannot write to stdout: {error}"), "check where stdout leads"))
            }
            _ => Ok(()),
        }
    }
}
