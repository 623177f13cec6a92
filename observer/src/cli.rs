//! The command line. In: arguments. Out: a [`Request`] in plain values, or a [`EarlyExit`]: help, or
//! what is wrong with them. Wrong use is reported before anything is done.

mod args;
pub mod explain;
mod gate_args;
pub mod options;
pub mod text;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

pub use args::SchemaName;
use args::{Args, Command, WatchArgs};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use model::id::Pid;
use model::redact;
use model::remedy::{Remedies, Remedy};
use model::user_error::UserError;
use options::{
    Cache, ColorChoice, Common, CompareOptions, DnsOptions, DoctorOptions, ExperimentOptions, ExportOptions,
    FixOptions, GateOptions, GatewayOptions, ReplayOptions, ReportFormat, ReportOptions, RunOptions,
    RunReport, WatchOptions, WatchOutput,
};
use stats::compare::FEWEST;

/// Variables that say where caches are: each cold run has its own.
pub const COLD: [&str; 3] = ["GOMODCACHE", "GOPATH", "GOCACHE"];

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// `watch`
    Watch(WatchOptions),
    /// `run`
    Run(RunOptions),
    /// `compare`
    Compare(CompareOptions),
    /// `fix`
    Fix(FixOptions),
    /// `gate`
    Gate(GateOptions),
    /// `report`
    Report(ReportOptions),
    /// `replay`
    Replay(ReplayOptions),
    /// `check`
    Check,
    /// `doctor`
    Doctor(DoctorOptions),
    /// `serve gateway`
    ServeGateway(GatewayOptions),
    /// `serve dns`
    ServeDns(DnsOptions),
    /// `explain`
    Explain {
        /// What is to be explained
        kind: Option<String>,
        /// Common flags
        common: Common,
    },
    /// `schema`
    Schema(SchemaName),
    /// `completions`
    Completions(clap_complete::Shell),
    /// `man`, of one command or of all
    Man(Option<String>),
}

/// Nothing is to be done: help or a version was asked for, or the arguments are wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EarlyExit {
    /// 0 or 2
    pub status: i32,
    /// The help; or what is wrong, in one line
    pub text: String,
    /// What to do, in one line; empty with status 0
    pub hint: String,
    /// What `--color` said
    pub color: ColorChoice,
}

/// Understands the arguments; the first is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Request, Common), EarlyExit> {
    let args: Vec<OsString> = args.into_iter().collect();
    let color = color_of(&args);
    let mut command = Args::command().color(match color {
        ColorChoice::Auto => clap::ColorChoice::Auto,
        ColorChoice::Always => clap::ColorChoice::Always,
        ColorChoice::Never => clap::ColorChoice::Never,
    });
    // Without one of their commands, what is missing is said instead of all their help.
    for name in ["gate", "serve"] {
        command = command.mut_subcommand(name, |command| command.arg_required_else_help(false));
    }
    let parsed = command.try_get_matches_from_mut(&args).and_then(|found| {
        let mut parsed = Args::from_arg_matches(&found)?;
        if let (Some(Command::Compare(args)), Some((_, found))) = (&mut parsed.command, found.subcommand()) {
            args.order(found);
        }
        Ok(parsed)
    });
    let parsed = parsed.and_then(|parsed| {
        // Only `watch` may be left out; its arguments before another command mean nothing.
        if parsed.command.is_some() && parsed.watch != WatchArgs::default() {
            let what = "arguments of watch cannot stand before a command";
            return Err(command.error(ErrorKind::ArgumentConflict, what));
        }
        Ok(parsed)
    });
    let parsed = parsed.map_err(|error| stop(&error, color, &args))?;
    request(parsed).map_err(|user_error| EarlyExit {
        status: 2,
        text: user_error.what,
        hint: user_error.hint,
        color,
    })
}

fn request(args: Args) -> Result<(Request, Common), UserError> {
    let common = Common {
        color: match args.common.color {
            args::Color::Auto => ColorChoice::Auto,
            args::Color::Always => ColorChoice::Always,
            args::Color::Never => ColorChoice::Never,
        },
        quiet: args.common.quiet,
        verbose: args.common.verbose,
    };
    let request = match args.command {
        None => watch(args.watch, common),
        Some(Command::Watch(args)) => watch(args, common),
        Some(Command::Run(args)) if args.tui && args.with.iter().any(Remedy::is_deadline) => {
            return Err(UserError::new(
                "deadline starts the command again, and --tui shows one start",
                "leave one of them out",
            ));
        }
        Some(Command::Run(args)) => Request::Run(RunOptions {
            command: args.command,
            json: args.json,
            record: args.record,
            tui: args.tui,
            report: match args.report {
                args::RunReport::Text => RunReport::Text,
                args::RunReport::Markdown => RunReport::Markdown,
                args::RunReport::None => RunReport::None,
            },
            anonymize: args.anonymize,
            export: ExportOptions { otlp: args.otlp, ..ExportOptions::default() },
            with: Remedies::new(args.with)?,
            set: args.set.iter().filter_map(|pair| name_and_value(pair)).collect(),
            common,
        }),
        Some(Command::Compare(args)) => Request::Compare(compare(args, common)?),
        Some(Command::Fix(args)) => Request::Fix(fix(args, common)?),
        Some(Command::Gate(gate)) => Request::Gate(gate_args::options(gate, common)?),
        Some(Command::Report(args)) if args.files.len() > 1 && !matches!(args.format, args::Format::Html) => {
            let hint = "add --format html, or name one recording";
            return Err(UserError::new("two recordings are set side by side in a page alone", hint));
        }
        Some(Command::Report(mut args)) => Request::Report(ReportOptions {
            second: args.files.get(1).cloned(),
            file: args.files.swap_remove(0),
            format: match args.format {
                args::Format::Text => ReportFormat::Text,
                args::Format::Json => ReportFormat::Json,
                args::Format::Markdown => ReportFormat::Markdown,
                args::Format::Html => ReportFormat::Html,
                args::Format::Perfetto => ReportFormat::Perfetto,
                args::Format::Recording => ReportFormat::Recording,
                args::Format::Otlp => ReportFormat::Otlp,
            },
            anonymize: args.anonymize,
            common,
        }),
        Some(Command::Replay { file }) => Request::Replay(ReplayOptions { file, common }),
        Some(Command::Check) => Request::Check,
        Some(Command::Doctor { json }) => Request::Doctor(DoctorOptions { json, common }),
        Some(Command::Serve(args::Serve::Gateway(args))) => Request::ServeGateway(GatewayOptions {
            listen: args.listen,
            allow_remote: args.allow_remote,
            tls: args.tls_cert.zip(args.tls_key),
            host: args.host,
            upstream: args.upstream,
            cache: args.cache,
            cache_size: args.cache_size,
            module_dir: args.module_dir,
            for_command: args.for_command,
            common,
        }),
        Some(Command::Serve(args::Serve::Dns(args))) => Request::ServeDns(DnsOptions {
            listen: args.listen,
            servers: args.server,
            names: args.name,
            sockets: args.sockets,
            for_command: args.for_command,
            common,
        }),
        Some(Command::Explain { kind }) => Request::Explain { kind, common },
        Some(Command::Schema { name }) => Request::Schema(name),
        Some(Command::Completions { shell }) => Request::Completions(shell),
        Some(Command::Man { of }) => Request::Man(of),
    };
    Ok((request, common))
}

/// `NAME=VALUE`, of any bytes.
fn name_and_value(pair: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = pair.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let part = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    Some((part(&bytes[..at]), part(&bytes[at + 1..])))
}

fn experiment(args: &args::ExperimentArgs) -> ExperimentOptions {
    let cache = match args.cache {
        _ if args.warm => Cache::Warm,
        Some(args::CacheArg::Memory) => Cache::Memory,
        Some(args::CacheArg::Disk) | None => Cache::Cold,
    };
    ExperimentOptions { runs: args.runs, cache }
}

/// Refuses what would have runs find the caches of others.
fn keeps_caches_cold<'a>(
    cache: Cache,
    remedies: impl IntoIterator<Item = &'a Remedy>,
) -> Result<(), UserError> {
    let mut names = remedies.into_iter().filter_map(Remedy::variable);
    match names.find(|name| COLD.contains(name)) {
        Some(name) if cache != Cache::Warm => Err(UserError::new(
            format!("env={name}=… would undo the cold caches of each run"),
            "leave it out, or compare with the caches as they are: --warm",
        )),
        _ => Ok(()),
    }
}

fn compare(mut args: args::CompareArgs, common: Common) -> Result<CompareOptions, UserError> {
    let experiment = experiment(&args.experiment);
    let behind = args.with.split_off(args.with.len() - args.with_behind_versus);
    args.versus.extend(behind);
    keeps_caches_cold(experiment.cache, args.with.iter().chain(&args.versus))?;
    if args.with.iter().chain(&args.versus).any(Remedy::is_deadline) {
        return Err(UserError::new(
            "deadline makes a command end that would hang: there are no times to compare",
            "goobserve run --with deadline -- CMD",
        ));
    }
    let (with, versus) = (Remedies::new(args.with)?, Remedies::new(args.versus)?);
    if with.is_empty() {
        return Err(UserError::new(
            "nothing is to be tried: no --with before --versus",
            "goobserve compare --help",
        ));
    }
    if with == versus {
        return Err(UserError::new(format!("{with} is compared with itself"), "change one of them"));
    }
    let (json, markdown) = (args.json, args.markdown);
    Ok(CompareOptions { command: args.command, with, versus, experiment, json, markdown, common })
}

fn fix(args: args::FixArgs, common: Common) -> Result<FixOptions, UserError> {
    let experiment = experiment(&args.experiment);
    if let Some(runs) = experiment.runs.filter(|runs| (*runs as usize) < FEWEST) {
        return Err(UserError::new(
            format!("--runs {runs} proves nothing: it takes {FEWEST} runs each way for an interval"),
            format!("--runs {FEWEST} or more, or leave it out"),
        ));
    }
    let (command, budget, json) = (args.command, args.budget, args.json);
    Ok(FixOptions { command, budget, experiment, json, common })
}

fn watch(args: WatchArgs, common: Common) -> Request {
    Request::Watch(WatchOptions {
        duration: args.duration,
        record: args.record,
        pids: args.pid.into_iter().map(Pid).collect(),
        all_go: args.all_go,
        output: match args.output {
            None => WatchOutput::Auto,
            Some(args::Output::Text) => WatchOutput::Text,
            Some(args::Output::Jsonl) => WatchOutput::Jsonl,
        },
        hold_exec: args.hold_exec,
        export: ExportOptions { otlp: args.otlp, metrics: args.metrics, textfile: args.metrics_textfile },
        common,
    })
}

/// What `--color` says, before the rest is understood: help and complaints follow it too.
fn color_of(args: &[OsString]) -> ColorChoice {
    let mut words = args.iter().skip(1).take_while(|word| *word != "--").filter_map(|word| word.to_str());
    let mut color = ColorChoice::Auto;
    while let Some(word) = words.next() {
        let value = if word == "--color" { words.next() } else { word.strip_prefix("--color=") };
        color = match value {
            Some("always") => ColorChoice::Always,
            Some("never") => ColorChoice::Never,
            _ => color,
        };
    }
    color
}

/// clap's many lines as two: its first paragraph, and a tip or where the help is.
fn stop(error: &clap::Error, color: ColorChoice, args: &[OsString]) -> EarlyExit {
    let rendered = error.render();
    if error.kind() == ErrorKind::DisplayVersion && args.iter().any(|word| word == "--json") {
        return EarlyExit { status: 0, text: text::version_json(), hint: String::new(), color };
    }
    if error.exit_code() == 0 {
        let colored =
            color.decide(std::io::IsTerminal::is_terminal(&std::io::stdout()), no_color().as_deref());
        let text = if colored { rendered.ansi().to_string() } else { rendered.to_string() };
        return EarlyExit { status: 0, text, hint: String::new(), color };
    }
    let whole = match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        // A remedy may hold a password.
        (Some(name), Some(ContextValue::String(value)))
            if !value.is_empty()
                && ["--with", "--versus"].iter().any(|remedy| name.to_string().starts_with(remedy)) =>
        {
            rendered.to_string().replacen(value, &redact::remedy(value), 1)
        }
        _ => rendered.to_string(),
    };
    let paragraph: Vec<&str> = whole.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let text = paragraph.join(" ");
    let tip = whole.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let program = match error.get(ContextKind::Usage) {
        Some(usage) => usage.to_string(),
        None => whole.clone(),
    };
    // `goobserve go mod download`: nothing of ours is named so.
    let typed = args.get(1).filter(|_| error.kind() == ErrorKind::InvalidSubcommand);
    let command = typed.filter(|word| is_program(word)).map(|_| words_for_shell(&args[1..]));
    if let Some(command) = command {
        let word = typed.map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let text = format!("goobserve has no command {word:?}; run observes one");
        return EarlyExit { status: 2, text, hint: format!("sudo goobserve run -- {command}"), color };
    }
    let hint = match tip {
        Some(tip) => tip.to_owned(),
        None => format!("{} --help", command_in(&program)),
    };
    EarlyExit { status: 2, text: text.strip_prefix("error: ").unwrap_or(&text).to_owned(), hint, color }
}

/// Whether a word that is no command of ours is a program, such as go.
fn is_program(word: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_file = |path: std::path::PathBuf| path.is_file();
    match word.as_bytes() {
        b"go" => true,
        word if word.first() == Some(&b'-') => false,
        bytes if bytes.contains(&b'/') => is_file(word.into()),
        _ => std::env::split_paths(&path).any(|folder| is_file(folder.join(word))),
    }
}

/// A command line to paste; `CMD` where a part of it may be a password, which is repeated nowhere.
fn words_for_shell(words: &[OsString]) -> String {
    let words = redact::words(words);
    if redact::args(&words) != words {
        return "CMD".to_owned();
    }
    // The program with its folder, which a report leaves out.
    let line = model::words::argv(&[&["-".to_owned()], &words[..]].concat());
    line.strip_prefix("- ").unwrap_or(&line).to_owned()
}

fn no_color() -> Option<OsString> {
    std::env::var_os("NO_COLOR")
}

/// `goobserve run` of a usage line.
fn command_in(usage: &str) -> String {
    let words = usage.split_once("goobserve").map_or("", |(_, rest)| rest);
    let word = words.split_ascii_whitespace().next().unwrap_or_default();
    let is_command = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    if is_command { format!("goobserve {word}") } else { "goobserve".into() }
}

#[cfg(test)]
pub mod documents_tests;
#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
