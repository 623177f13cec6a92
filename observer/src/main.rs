//! The program: joins the command line to what does the work.

use std::fs::{File, Metadata};
use std::io::{BufReader, ErrorKind, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::exit;

use diagnose::report::report;
use model::State;
use model::anonymize::Anonymizer;
use model::refusal::Refusal;
#[cfg(target_os = "linux")]
use observer::check::Unverified;
use observer::cli::options::{ReplayOptions, ReportFormat, ReportOptions, WatchOptions};
use observer::cli::services::Services;
use pipeline::replay::Replay;
use render::html;
use render::json;
use render::markdown;
use render::page;
use render::perfetto;
use render::text;
use render::tui::replay::{self, Recording};
use render::tui::theme::{Depth, Theme};

/// In place of musl's, which maps and unmaps memory for nearly every event of a recording.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Events of a recording that are played: it is held in memory, about half a kilobyte each.
const EVENTS_MAX: usize = 2_000_000;

fn main() {
    #[cfg(target_os = "linux")]
    {
        use observer::agent::{SEAM_FD, WORKER, finder, holder};
        let word = std::env::args_os().nth(1).unwrap_or_default();
        if word == WORKER {
            exit(observer::worker::main(SEAM_FD));
        } else if word == holder::HOLDER {
            exit(holder::main(SEAM_FD));
        } else if word == finder::FINDER {
            exit(finder::main(SEAM_FD));
        }
    }
    exit(observer::cli::dispatch::main(std::env::args_os(), &Program))
}

/// What this program can do.
struct Program;

impl Services for Program {
    #[cfg(target_os = "linux")]
    fn tracepoints(&self) -> (&[&str], &[&str]) {
        observer::kernel::tracepoints()
    }

    #[cfg(target_os = "linux")]
    fn verify(&self) -> Result<usize, Unverified> {
        observer::kernel::verify().map_err(|error| Unverified::new(&error))
    }

    fn plan(&self, binary: &Path) -> Result<String, String> {
        let file = File::open(binary).map_err(|error| error.to_string())?;
        let plan = goelf::plan(&object::ReadCache::new(file)).map_err(|refusal| refusal.to_string())?;
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
        let refused = |error: &dyn std::fmt::Display| refused(&options.file, error);
        let mut state = State::new();
        let mut anonymizer = options.anonymize.then(Anonymizer::new);
        for event in open(&options.file)? {
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
                Err(Refusal::new(format!("cannot write to stdout: {error}"), "check where stdout leads"))
            }
            _ => Ok(()),
        }
    }

    fn replay(&self, options: &ReplayOptions) -> Result<(), Refusal> {
        let events = open(&options.file)?.take(EVENTS_MAX).collect::<Result<Vec<_>, _>>();
        let mut recording = Recording::new(events.map_err(|error| refused(&options.file, &error))?);
        if !std::io::stdout().is_terminal() {
            return Err(Refusal::new(
                "replay draws on a terminal, and stdout is none",
                "`goobserve report FILE` prints what a recording says",
            ));
        }
        let color = options.common.color.decide(true, std::env::var_os("NO_COLOR").as_deref());
        replay::play(&mut recording, Theme { depth: Depth::of_this_terminal(color) }).map_err(|error| {
            Refusal::new(
                format!("cannot draw on the terminal: {error}"),
                "`goobserve report FILE` prints what a recording says",
            )
        })
    }
}

/// Opens a recording.
fn open(file: &Path) -> Result<Replay<BufReader<File>>, Refusal> {
    let cannot = |error: &dyn std::fmt::Display, hint: &str| {
        Refusal::new(format!("cannot read {}: {error}", file.display()), hint)
    };
    let opened = File::open(file).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            cannot(&error, "it is read with the rights of whoever calls, with sudo as well")
        }
        _ => cannot(&error, "check the name of the recording"),
    })?;
    if opened.metadata().is_ok_and(|input| is_stdout(&input)) {
        return Err(cannot(&"stdout leads to it as well", "send the output to another file"));
    }
    Replay::new(BufReader::new(opened)).map_err(|error| refused(file, &error))
}

/// Whether what is printed goes into that regular file.
fn is_stdout(input: &Metadata) -> bool {
    let Ok(stdout) = std::io::stdout().as_fd().try_clone_to_owned() else { return false };
    let same = |out: Metadata| (out.dev(), out.ino()) == (input.dev(), input.ino());
    input.is_file() && File::from(stdout).metadata().is_ok_and(same)
}

fn refused(file: &Path, error: &dyn std::fmt::Display) -> Refusal {
    let what = format!("{}: {error}", file.display());
    Refusal::new(what, "make one with `goobserve run --record FILE -- CMD`")
}
