//! From what was asked for to an exit status. In: a [`Request`] and the [`Services`]. Out: the
//! status; text on stdout, complaints on stderr.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};

use model::refusal::Refusal;

use super::options::Common;
use super::services::Services;
use super::{Request, parse, text};
use crate::say;

/// Parses the arguments (the program's name first), does what they ask for, and returns the
/// exit status.
pub fn main(args: impl IntoIterator<Item = OsString>, services: &dyn Services) -> i32 {
    match parse(args) {
        Ok((request, common)) => dispatch(&request, common, services),
        Err(stop) => {
            if stop.status == 0 {
                // Help and version, coloured for the terminal by clap when it may be.
                return status_of(write_out(stop.text.as_bytes()), Common::default(), 1);
            }
            complain(Common { color: stop.color, ..Common::default() }, &stop.text, &stop.hint);
            stop.status
        }
    }
}

fn dispatch(request: &Request, common: Common, services: &dyn Services) -> i32 {
    match request {
        Request::Completions(shell) => status_of(write_out(&text::completions(*shell)), common, 1),
        Request::Man(command) => match text::man(command.as_deref()) {
            Ok(page) => status_of(write_out(&page), common, 1),
            Err(refusal) => refused(common, &refusal, 2),
        },
        Request::Report(options) => match as_caller().and_then(|()| services.report(options)) {
            Ok(()) => 0,
            Err(refusal) => refused(common, &refusal, 1),
        },
        Request::Replay(options) => match as_caller().and_then(|()| services.replay(options)) {
            Ok(()) => 0,
            Err(refusal) => refused(common, &refusal, 1),
        },
        #[cfg(target_os = "linux")]
        Request::Watch(options) => linux::watch(options, services),
        #[cfg(target_os = "linux")]
        Request::Run(options) => linux::run(options, services),
        #[cfg(target_os = "linux")]
        Request::Compare(options) => linux::compare(options, services),
        #[cfg(target_os = "linux")]
        Request::Gate(options) => linux::gate(options, services),
        #[cfg(target_os = "linux")]
        Request::Check => linux::check(common, services),
        #[cfg(not(target_os = "linux"))]
        Request::Watch(_) | Request::Run(_) | Request::Compare(_) | Request::Gate(_) | Request::Check => {
            let status = match request {
                Request::Run(_) => 125,
                Request::Compare(_) | Request::Gate(_) => 4,
                Request::Check => 3,
                _ => 1,
            };
            refused(common, &Refusal::new("observing takes Linux", "run it on a Linux machine"), status)
        }
    }
}

#[cfg(target_os = "linux")]
use linux::as_caller;

/// Other systems have no use for root here.
#[cfg(not(target_os = "linux"))]
fn as_caller() -> Result<(), Refusal> {
    Ok(())
}

/// Whether a stream gets colours.
fn colored(common: Common, is_terminal: bool) -> bool {
    common.color.decide(is_terminal, std::env::var_os("NO_COLOR").as_deref())
}

/// Two lines on stderr: what went wrong, what to do.
fn complain(common: Common, what: &str, hint: &str) {
    let color = colored(common, io::stderr().is_terminal());
    say::put(&say::complaint(what, hint, color));
}

fn refused(common: Common, refusal: &Refusal, status: i32) -> i32 {
    complain(common, &refusal.what, &refusal.mend);
    // Captured only when RUST_BACKTRACE asks for it.
    let trace = std::backtrace::Backtrace::capture();
    if common.verbose > 0 && trace.status() == std::backtrace::BacktraceStatus::Captured {
        say::put(&format!("{trace}\n"));
    }
    status
}

/// Writes to stdout. A reader that has gone (`| head`) is no failure.
fn write_out(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn status_of(written: io::Result<()>, common: Common, failure: i32) -> i32 {
    match written {
        Ok(()) => 0,
        Err(error) => {
            let refusal =
                Refusal::new(format!("cannot write to stdout: {error}"), "check where stdout leads");
            refused(common, &refusal, failure)
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsStr;
    use std::io::{self, IsTerminal as _};
    use std::path::Path;

    use super::{Common, Refusal, Services, colored, complain, refused, status_of, write_out};
    use crate::check::{self, Check};
    use crate::cli::options::{CompareOptions, GateAction, GateOptions, RunOptions, WatchOptions};
    use crate::commands::{compare, gate};
    use crate::experiment::user;
    use crate::run::procfs::Live;
    use crate::run::session::Note;
    use crate::run::{Invoker, child::NEVER_STARTED, invoker};
    use crate::worker::distinct;

    /// Gives up what sudo gave, for good: what needs no root reads files with the caller's rights.
    pub fn as_caller() -> Result<(), Refusal> {
        user::become_caller(&me())
    }

    fn me() -> Invoker {
        invoker::find(&Live, std::process::id())
    }

    /// Checks this machine; `go_in`: and the go command in this PATH.
    fn look(services: &dyn Services, go_in: Option<Option<&OsStr>>) -> Result<Vec<Check>, Refusal> {
        let uname = nix::sys::utsname::uname().map_err(|errno| {
            Refusal::new(format!("the kernel's release is not known: uname: {}", errno.desc()), "")
        })?;
        let release = uname.release().to_string_lossy();
        let (needed, optional) = services.tracepoints();
        let root = check::Root {
            root: Path::new("/"),
            release: &release,
            tracepoints: needed,
            optional,
            path: go_in.flatten(),
        };
        let plan = |binary: &Path| services.plan(binary);
        Ok(check::checks(&root, go_in.map(|_| &plan as check::machine::Plan<'_>)))
    }

    fn preflight(services: &dyn Services) -> Result<(), Refusal> {
        check::preflight(&look(services, None)?)
    }

    pub fn check(common: Common, services: &dyn Services) -> i32 {
        match look(services, Some(me().var("PATH"))) {
            Ok(mut checks) => {
                checks.push(check::programs(&checks, services.verify()));
                let text =
                    check::view::text(&checks, colored(common, io::stdout().is_terminal()), common.quiet);
                match status_of(write_out(text.as_bytes()), common, 3) {
                    0 => check::status(&checks),
                    failed => failed,
                }
            }
            Err(refusal) => refused(common, &refusal, 3),
        }
    }

    pub fn watch(options: &WatchOptions, services: &dyn Services) -> i32 {
        match preflight(services).and_then(|()| services.watch(options)) {
            Ok(()) => 0,
            Err(refusal) => refused(options.common, &refusal, 1),
        }
    }

    pub fn compare(options: &CompareOptions, services: &dyn Services) -> i32 {
        let common = options.common;
        if let Err(refusal) = distinct(&[options.json.as_deref(), options.markdown.as_deref()]) {
            return refused(common, &refusal, 2);
        }
        let invoker = me();
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
        match preflight(services).and_then(|()| compare::compare(options, &invoker)) {
            Ok(answered) => {
                match (status_of(write_out(answered.page.as_bytes()), common, 4), answered.refusal) {
                    (_, Some(refusal)) => refused(common, &refusal, 4),
                    (status, None) => status,
                }
            }
            Err(refusal) => refused(common, &refusal, 4),
        }
    }

    pub fn gate(options: &GateOptions, services: &dyn Services) -> i32 {
        let common = options.common;
        let outputs = &options.outputs;
        let out = match &options.action {
            GateAction::Record { out, .. } => Some(out),
            GateAction::Run { out, .. } => out.as_ref(),
            GateAction::Compare { .. } | GateAction::Ab { .. } => None,
        };
        let files = [&outputs.json, &outputs.markdown, &outputs.junit].map(Option::as_deref);
        if let Err(refusal) = distinct(&[&files[..], &[out.map(AsRef::as_ref)]].concat()) {
            return refused(common, &refusal, 2);
        }
        let invoker = me();
        if matches!(options.action, GateAction::Compare { .. })
            && let Err(refusal) = user::become_caller(&invoker)
        {
            return refused(common, &refusal, 4);
        }
        if !common.quiet {
            invoker
                .not_restored
                .iter()
                .for_each(|what| complain(common, &format!("not restored: {what}"), ""));
        }
        let answered = gate::gate(options, &invoker, &|| preflight(services));
        match (status_of(write_out(answered.page.as_bytes()), common, 4), answered.refusal) {
            (0, None) => answered.status,
            (failed, None) => failed,
            (_, Some(refusal)) => refused(common, &refusal, 4),
        }
    }

    pub fn run(options: &RunOptions, services: &dyn Services) -> i32 {
        let common = options.common;
        if let Err(refusal) = distinct(&[options.json.as_deref(), options.record.as_deref()]) {
            return refused(common, &refusal, 2);
        }
        if let Err(refusal) = preflight(services) {
            return refused(common, &refusal, NEVER_STARTED);
        }
        let mut say = |note, what: &str, hint: &str| {
            if note == Note::Error || !common.quiet {
                complain(common, what, hint);
            }
        };
        crate::run::execute(options, &me(), services.attach(), &mut say)
    }
}
