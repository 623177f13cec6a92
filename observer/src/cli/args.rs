//! The arguments as they are typed: what clap knows. [`super`] says what they mean.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  sudo goobserve                              every go command on this machine, as it happens
  sudo goobserve run -- go mod download       one command, and where its time went
  goobserve report slow.jsonl --format json   a recording again, on any machine
  goobserve replay slow.jsonl                 the dashboard over a recording
  goobserve check                             what can be observed here, and what is missing";

const WATCH_EXAMPLES: &str = "\
Examples:
  sudo goobserve watch --duration 10m --record ci.jsonl
  sudo goobserve watch --output jsonl | jq .        for machines";

const RUN_EXAMPLES: &str = "\
The command runs as the user who called sudo, with that user's environment. Its exit status is
goobserve's; 125: goobserve failed before it started, 126: it cannot be executed, 127: not found.

Examples:
  sudo goobserve run -- go mod download
  sudo goobserve run --json report.json --report none -- go build ./...
  sudo goobserve run --report markdown -- go mod download 2>> \"$GITHUB_STEP_SUMMARY\"
  sudo goobserve run --record slow.jsonl --anonymize -- go mod download -x";

const REPORT_EXAMPLES: &str = "\
Examples:
  goobserve report slow.jsonl
  goobserve report slow.jsonl --format html > slow.html            one page, opens anywhere
  goobserve report slow.jsonl --format json --anonymize > report.json
  goobserve report slow.jsonl --format perfetto > slow.trace.json  for ui.perfetto.dev";

const REPLAY_EXAMPLES: &str = "\
Keys: space plays and pauses, < and > change the speed, , and . seek, ? helps, q ends.

Examples:
  goobserve replay slow.jsonl
  NO_COLOR=1 goobserve replay slow.jsonl";

const CHECK_EXAMPLES: &str = "\
Exit status: 0 nothing wrong, 1 something wrong, 3 any other failure.

Examples:
  sudo goobserve check
  goobserve check -q || echo 'not here'";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  goobserve completions bash > /etc/bash_completion.d/goobserve
  goobserve completions zsh > ~/.zfunc/_goobserve";

const MAN_EXAMPLES: &str = "\
Examples:
  goobserve man | man -l -
  goobserve man run > goobserve-run.1";

/// Says why `go mod download` is slow: name service, connections, TLS, module proxy, checksum
/// database, locks, or the machine itself.
#[derive(Parser, Debug)]
#[command(name = "goobserve", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Args {
    /// Common flags
    #[command(flatten)]
    pub common: CommonArgs,
    /// `watch` is the default
    #[command(flatten)]
    pub watch: WatchArgs,
    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags of every command.
#[derive(clap::Args, Debug)]
pub struct CommonArgs {
    /// When to write in colours (`NO_COLOR` is respected by `auto`)
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Common options"
    )]
    pub color: Color,
    /// Say nothing that is no error
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    pub quiet: bool,
    /// Say more; with `RUST_BACKTRACE` set, also where an error came from
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Watch every go command on the machine, with its child processes (the default)
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Run a command and say where its time went
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Show the report of a recording
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Play a recording on the dashboard
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        /// The recording
        file: PathBuf,
    },
    /// Say what can be observed on this machine, what cannot, and how to mend that
    #[command(after_help = CHECK_EXAMPLES)]
    Check,
    /// Print a completion script
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The command whose page it is; goobserve's own when left out
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
}

/// Arguments of `watch`.
#[derive(clap::Args, Debug, Default, PartialEq, Eq)]
pub struct WatchArgs {
    /// End after this time: 30s, 10m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Write a recording
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// What to print [default: the dashboard on a terminal, text elsewhere]
    #[arg(long, value_enum, value_name = "FORM")]
    pub output: Option<Output>,
    /// Make a go binary that was never seen wait until it is attached to, 20 ms at most
    #[arg(long)]
    pub hold_exec: bool,
}

/// Arguments of `run`.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a recording
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Show the dashboard while it runs, with the last lines of what it prints; all of that is
    /// printed when the dashboard is left. The command reads nothing from the terminal then
    #[arg(long)]
    pub tui: bool,
    /// What to print on stderr at the end
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub report: RunReport,
    /// Replace module paths and private hosts by pseudonyms, in all that is written
    #[arg(long)]
    pub anonymize: bool,
    /// The command to run, with its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// Arguments of `report`.
#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// The recording
    pub file: PathBuf,
    /// As what to show it
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub format: Format,
    /// Replace module paths and private hosts by pseudonyms
    #[arg(long)]
    pub anonymize: bool,
}

/// `--color`
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `watch --output`
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A line an event, for people
    Text,
    /// The recording's lines, for machines
    Jsonl,
}

/// `run --report`
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub enum RunReport {
    /// For people
    #[default]
    Text,
    /// For a CI step's summary or an issue
    Markdown,
    /// Nothing
    None,
}

/// `report --format`
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For machines: the schema goobserve.report/1
    Json,
    /// For a CI step's summary or an issue
    Markdown,
    /// One self-contained page with the waterfall
    Html,
    /// Trace events that the Perfetto UI opens
    Perfetto,
}

/// A time with its unit, or a number of seconds; more than nothing.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let other = || Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok();
    match seconds.or_else(other) {
        Some(time) if !time.is_zero() => Ok(time),
        _ => Err("expected a time such as 30s, 10m or 1h30m".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn claps_own_rules_are_kept() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-5s", "0s", "soon", "5 parsecs"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
