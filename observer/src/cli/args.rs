//! The arguments as they are typed: what clap knows. [`super`] says what they mean.
//!
//! A paragraph below the options is one line, which clap wraps: the terminal is as wide as it is.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{ArgAction, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use model::record::Phase;
use model::remedy::Remedy;
use model::stall::StallKind;
use model::user_error::UserError;

const EXAMPLES: &str = "\
Examples:
  sudo goobserve                              every go command on this machine, as it happens
  sudo goobserve run -- go mod download       one command, and where its time went
  goobserve report slow.jsonl --format json   a recording again, on any machine
  goobserve replay slow.jsonl                 the dashboard over a recording
  goobserve explain dns-timeout               what a name in a report means, and what to do
  goobserve help run                          the help of one command
  goobserve check                             what can be observed here, and what is missing";

const WATCH_EXAMPLES: &str = "\
Examples:
  sudo goobserve watch --duration 10m --record ci.jsonl
  sudo goobserve watch --output jsonl | jq .        for machines
  sudo goobserve watch --pid 4121                   one that hangs: what it waits for";

const RUN_EXAMPLES: &str = "\
The command runs as the user who called sudo, with that user's environment. Its exit status is \
goobserve's; 124: the remedy deadline gave up, 125: goobserve failed before it started, 126: it cannot \
be executed, 127: not found.

Examples:
  sudo goobserve run -- go mod download
  sudo goobserve run --json report.json --report none -- go build ./...
  sudo goobserve run --report markdown -- go mod download 2>> \"$GITHUB_STEP_SUMMARY\"
  sudo goobserve run --record slow.jsonl --anonymize -- go mod download -x";

const REPORT_EXAMPLES: &str = "\
Examples:
  goobserve report slow.jsonl
  zcat slow.jsonl.gz | goobserve report -
  goobserve report slow.jsonl --format html > slow.html            one page, opens anywhere
  goobserve report before.jsonl after.jsonl --format html > two.html
  goobserve report slow.jsonl --format json --anonymize > report.json
  goobserve report slow.jsonl --format perfetto > slow.trace.json  for ui.perfetto.dev";

const COMPARE_EXAMPLES: &str = "\
CMD runs --runs times without the remedies (the baseline) and as often with them, in random order, each time with \
cold caches that are removed again; go.mod and go.sum are put back. Several --with are tried \
together; --versus begins what they are compared with, instead of CMD alone.

Exit status: 0 answered, whatever the answer; 2 wrong use; 4 any failure, CMD's own included.

Examples:
  sudo goobserve compare --with concurrency=16 -- go mod download
  sudo goobserve compare --with http1 --with concurrency=16 --versus concurrency=16 -- go mod download
  sudo goobserve compare --with 'resolv=options timeout:2 attempts:5' --runs 10 -- go mod download";

const FIX_EXAMPLES: &str = "\
CMD is observed once. The remedies that its report offers are then tried in random order beside CMD alone, \
each time with cold caches that are removed again; go.mod and go.sum are put back, and no setting is \
changed. Given up is what cannot be shown to help any more; all of it ends within --budget.

Printed is the line to keep, with what it brings. Nothing is recommended that was not proven: the \
intervals of all remedies tried hold together with 95 % confidence.

Exit status: 0 answered: something helps, nothing does, or there is nothing to fix; 2 wrong use; 4 any \
failure, CMD's own included, and a budget that was too short for an answer.

Examples:
  sudo goobserve fix -- go mod download
  sudo goobserve fix --budget 10m --json fix.json -- go build ./...
  sudo goobserve fix -q --cache memory -- go mod download";

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

const DOCTOR_EXAMPLES: &str = "\
It looks at go's settings, the module cache and this kernel; asks each name server of resolv.conf by itself; \
and goes to each proxy of GOPROXY, to the checksum database and through forward proxies: TCP, tunnel, TLS, HTTP. \
What is wrong comes with what shows it and what to do. Nobody else is asked, private names are sent to nobody, \
and it ends within 15 s.

Exit status: 0 nothing wrong, 1 something wrong, 3 any other failure.

Examples:
  sudo goobserve doctor
  goobserve doctor -q                        only what is not as it should be
  goobserve doctor --json doctor.json        for scripts";

const GATEWAY_EXAMPLES: &str = "\
It prints the GOPROXY to set: the caller's own list with the gateway in each proxy's place, so that `,`, \
`|`, `direct` and `off` mean what they meant. /healthz says ok, /metrics counts. SIGHUP has it read settings, \
.netrc and certificates anew; no request is dropped.

Examples:
  goobserve serve gateway
  goobserve serve gateway --upstream 'https://proxy.test|https://mirror.test,direct'
  goobserve serve gateway --listen 10.0.0.5:8799 --allow-remote --cache /srv/modules --cache-size 50G
  goobserve serve gateway --listen 10.0.0.5:8799 --allow-remote --host mods.test --tls-cert a.pem --tls-key a.key
  GOPROXY=http://127.0.0.1:8799/0,direct go mod download";

const DNS_EXAMPLES: &str = "\
It prints the line for /etc/resolv.conf, and when it ends what it did. Nobody is asked but the servers that \
/etc/resolv.conf names, or --server. Answers are kept for as long as they say, and given for an hour longer \
while they are asked for anew.

Examples:
  sudo goobserve serve dns --listen 127.0.0.54:53
  goobserve serve dns --listen 127.0.0.1:5353 --server 10.0.0.2:53 --server 10.0.0.3:53 --name git.corp.test";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  goobserve explain                          every kind of stall, a line each, and every phase
  goobserve explain dns-timeout
  goobserve explain dns                      a phase, with the stalls that it may have";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  goobserve schema > report.schema.json
  goobserve schema recording";

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
#[command(name = "goobserve", version, after_help = EXAMPLES)]
pub(super) struct Args {
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
pub(super) struct CommonArgs {
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
    /// Say on stderr what `watch` and `run` do; twice, also every message between their two halves. With
    /// `RUST_BACKTRACE` set, also where an error came from
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Watch every go command on the machine, with its child processes (the default)
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Run a command and say where its time went
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Say whether a remedy helps, by how much, and what it changes
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Find out what makes a command faster: observe it, try the remedies of what was found, print what to keep
    #[command(after_help = FIX_EXAMPLES)]
    Fix(FixArgs),
    /// Say whether a command got slower, for CI: record, run, compare, ab
    #[command(subcommand, after_help = super::gate_args::EXAMPLES)]
    Gate(super::gate_args::Gate),
    /// Show the report of a recording
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Play a recording on the dashboard
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        /// The recording
        #[arg(value_name = "RECORDING", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Say what can be observed on this machine, what cannot, and how to fix that
    #[command(after_help = CHECK_EXAMPLES)]
    Check,
    /// Check this machine's way to its module proxies and checksum database, before anything is slow
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor {
        /// Write what was found as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Keep a server running that speeds go commands up
    #[command(subcommand)]
    Serve(Serve),
    /// Say what a stall or a phase is, how it is recognised, and what to do
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        /// The name, as a report has it; all of them when left out
        #[arg(value_name = "KIND", value_parser = Named(kinds), hide_possible_values = true)]
        kind: Option<String>,
    },
    /// Print the JSON schema of what goobserve writes
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t)]
        name: SchemaName,
    },
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
pub(super) struct WatchArgs {
    /// End after this time: 30s, 10m, 1h30m [default: at Ctrl-C]
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
    /// Only this process and all that it starts, from now on until it ends (repeatable)
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,
    /// Also every other Go program of yours that speaks TLS; another user's takes --pid
    #[arg(long, conflicts_with = "pid")]
    pub all_go: bool,
    /// Send each command's spans to an OpenTelemetry collector (its base URL, OTLP/HTTP) when it has ended.
    /// A command with TRACEPARENT in its environment is part of that trace
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub otlp: Option<String>,
    /// Serve metrics to Prometheus at this address: 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// Write metrics into a file every 15 s, for the textfile collector of Prometheus' node exporter
    #[arg(long, value_name = "FILE")]
    pub metrics_textfile: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(clap::Args, Debug)]
pub(super) struct RunArgs {
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
    /// Send the command's spans to an OpenTelemetry collector when it has ended, as a part of the trace in
    /// TRACEPARENT. What was not delivered within 10 s is said
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub otlp: Option<String>,
    /// Change something for this command alone: concurrency=N, http1, no-mlkem, proxy=URL,
    /// sumdb=VALUE, env=NAME=VALUE, resolv=LINE, gateway, dns-cache; deadline or deadline=TIME ends a command in
    /// which nothing moves for so long (and for four times its longest rest) and starts it again, three times at
    /// most; may be given several times
    #[arg(long, value_name = "REMEDY", value_parser = Remedies, hide_possible_values = true)]
    pub with: Vec<Remedy>,
    /// A variable of an experiment, NAME=VALUE
    #[arg(long, hide = true, value_name = "NAME=VALUE")]
    pub set: Vec<OsString>,
    /// The command to run, with its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// How CMD is run several times.
#[derive(clap::Args, Debug)]
pub(super) struct ExperimentArgs {
    /// How often CMD runs, each way [default: 6 with compare, 10 with gate; fix as often as it takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: Option<u32>,
    /// Use the caller's own caches as they are
    #[arg(long, conflicts_with = "cache")]
    pub warm: bool,
    /// Where the cold caches of a run are [default: disk, beside the caller's own]
    #[arg(long, value_enum, value_name = "WHERE")]
    pub cache: Option<CacheArg>,
}

/// `--cache`
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum CacheArg {
    /// Beside the caller's own module cache
    Disk,
    /// In memory (/dev/shm): steadier times
    Memory,
}

/// Arguments of `compare`.
#[derive(clap::Args, Debug)]
pub(super) struct CompareArgs {
    /// Try this: concurrency=N, http1, no-mlkem, proxy=URL, sumdb=VALUE, env=NAME=VALUE,
    /// resolv=LINE, gateway, dns-cache; several are tried together
    #[arg(long, required = true, value_name = "REMEDY", value_parser = Remedies, hide_possible_values = true)]
    pub with: Vec<Remedy>,
    /// Compare with this, not with CMD alone; what follows belongs to it
    #[arg(long, value_name = "REMEDY", value_parser = Remedies, hide_possible_values = true)]
    pub versus: Vec<Remedy>,
    /// How many of `with` stand behind the first `versus`
    #[arg(skip)]
    pub with_behind_versus: usize,
    /// Runs and caches
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Write the answer as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the answer as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// The command to run, with its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

impl CompareArgs {
    /// Sees which `--with` stand behind `--versus`; `found` is what clap found.
    pub(super) fn order(&mut self, found: &clap::ArgMatches) {
        let first = found.indices_of("versus").and_then(|mut indices| indices.next());
        let behind = |index: &usize| first.is_some_and(|first| *index > first);
        self.with_behind_versus =
            found.indices_of("with").map_or(0, |indices| indices.filter(behind).count());
    }
}

/// Arguments of `fix`.
#[derive(clap::Args, Debug)]
pub(super) struct FixArgs {
    /// How long all of it may take: 90s, 10m
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = duration)]
    pub budget: Duration,
    /// Runs and caches
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Write what was found out as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The command to run, with its arguments
    #[arg(value_name = "CMD", required = true, num_args = 1.., trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// Arguments of `report`.
#[derive(clap::Args, Debug)]
pub(super) struct ReportArgs {
    /// The recording; - is stdin. Two are set side by side, with --format html: the longest command of each recording
    #[arg(required = true, num_args = 1..=2, value_name = "RECORDING", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// As what to show it
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub format: Format,
    /// Replace module paths and private hosts by pseudonyms
    #[arg(long)]
    pub anonymize: bool,
}

/// Servers.
#[derive(Subcommand, Debug)]
pub(super) enum Serve {
    /// A module proxy in front of those that GOPROXY names: pooled connections, retries, a cache
    #[command(after_help = GATEWAY_EXAMPLES)]
    Gateway(GatewayArgs),
    /// A caching name server in front of those of resolv.conf: asked side by side, lost packets soon repeated
    #[command(after_help = DNS_EXAMPLES)]
    Dns(DnsArgs),
}

/// Arguments of `serve dns`.
#[derive(clap::Args, Debug)]
pub(super) struct DnsArgs {
    /// Where to listen: a loopback address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:53")]
    pub listen: SocketAddr,
    /// A name server to ask, instead of those of /etc/resolv.conf; several are asked side by side
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub server: Vec<SocketAddr>,
    /// A name to have ready, beside the hosts of go's settings
    #[arg(long, value_name = "HOST")]
    pub name: Vec<String>,
    /// Sockets that are open already, UDP and TCP
    #[arg(long, hide = true, value_delimiter = ',', num_args = 1)]
    pub sockets: Vec<i32>,
    /// For one command: ends with stdin, in the caller's environment
    #[arg(long, hide = true)]
    pub for_command: bool,
}

/// Arguments of `serve gateway`.
#[derive(clap::Args, Debug)]
pub(super) struct GatewayArgs {
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8799")]
    pub listen: SocketAddr,
    /// Listen where other machines reach it: whoever does has modules fetched, with your credentials
    #[arg(long)]
    pub allow_remote: bool,
    /// Certificates in PEM, the gateway's own first: serve TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// What go commands call this machine, in the GOPROXY that is printed [default: the address]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The proxies to ask, as in GOPROXY [default: the GOPROXY that go would use]
    #[arg(long, value_name = "LIST")]
    pub upstream: Option<OsString>,
    /// The folder of the cache [default: goobserve/gateway in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// How large the cache may be: 500M, 10G; 0 keeps nothing on disk
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = size)]
    pub cache_size: u64,
    /// Have what `go mod download` in this folder asks for ready once it begins to ask, and keep no file of which
    /// its go.sum has another hash
    #[arg(long, value_name = "DIR")]
    pub module_dir: Option<PathBuf>,
    /// For one command: ends with stdin, in the caller's environment, at an address nobody guesses
    #[arg(long, hide = true)]
    pub for_command: bool,
}

/// `--color`
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(super) enum Color {
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
pub(super) enum Output {
    /// Lines for people: a command that starts to hurt, and its end
    Text,
    /// The recording's lines, for machines
    Jsonl,
}

/// `run --report`
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(super) enum RunReport {
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
pub(super) enum Format {
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
    /// The recording itself, as this version writes it: for SQL, and to anonymize it
    Recording,
    /// Spans and log records for an OpenTelemetry collector: a message of OTLP/JSON a line
    Otlp,
}

/// A collector, or in one line why it is none.
fn endpoint(text: &str) -> Result<String, String> {
    export::deliver::Endpoint::new(text, |_| None).map(|_| text.to_owned())
}

/// `schema NAME`
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaName {
    /// `run --json`, `report --format json`
    #[default]
    Report,
    /// `run --record`, `watch --output jsonl`: each line
    Recording,
    /// `compare --json`
    Compare,
    /// `fix --json`
    Fix,
    /// `gate --json`
    Gate,
    /// `gate record --out`
    Baseline,
    /// `doctor --json`
    Doctor,
}

/// Any word; a completion offers those of the list.
#[derive(Clone)]
struct Named(fn() -> Vec<&'static str>);

impl TypedValueParser for Named {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

/// Every name that `explain` knows.
pub(super) fn kinds() -> Vec<&'static str> {
    let kinds = StallKind::ALL.iter().map(|kind| kind.name());
    kinds.chain(Phase::ALL.map(Phase::name)).collect()
}

/// A remedy; a completion offers those that are a word.
#[derive(Clone)]
struct Remedies;

impl TypedValueParser for Remedies {
    type Value = Remedy;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Remedy, clap::Error> {
        TypedValueParser::parse_ref(&remedy, command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(model::remedy::OFFERED.into_iter().map(PossibleValue::new)))
    }
}

/// A remedy, or in one line why it is none.
fn remedy(text: &str) -> Result<Remedy, String> {
    // As clap writes tips, so that it becomes the second of our two lines.
    text.parse().map_err(|user_error: UserError| format!("{}\n\n  tip: {}", user_error.what, user_error.hint))
}

/// A time with its unit, or a number of seconds; more than nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let other = || Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok();
    match seconds.or_else(other) {
        Some(time) if !time.is_zero() => Ok(time),
        _ => Err("expected a time such as 30s, 10m or 1h30m".into()),
    }
}

/// A number of bytes, perhaps with K, M, G or T.
fn size(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let power = match &text[number.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => 64,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1_u64.checked_shl(power)?));
    bytes.ok_or_else(|| "expected a size such as 500M or 10G".into())
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
    fn sizes_have_a_unit_or_are_bytes() {
        assert_eq!((size("0"), size("7"), size("10G")), (Ok(0), Ok(7), Ok(10 << 30)));
        for wrong in ["", "G", "-1", "1KM", "1.5G", "99999999T", "1g"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
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
