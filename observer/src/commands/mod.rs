//! The commands, one file each. In: what was asked for. Out: pages and files, complaints, and an exit
//! status.

#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod compare;
#[cfg(target_os = "linux")]
mod doctor;
#[cfg(target_os = "linux")]
mod fix;
#[cfg(target_os = "linux")]
mod gate;
mod output;
mod recording;
mod replay;
mod report;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod serve_dns;
#[cfg(target_os = "linux")]
mod watch;

use std::ffi::OsString;

use model::id::Pid;
use model::user_error::UserError;
use output::{complain, page_options, refused, status_of, write_out};

use crate::cli::options::Common;
use crate::cli::{Request, explain, parse, text};

/// Parses the arguments (the program's name first), does what they ask for, and returns the
/// exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    match parse(args) {
        Ok((request, common)) => dispatch(&request, common),
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

/// Whether the terminal can only print lines.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

fn dispatch(request: &Request, common: Common) -> i32 {
    match request {
        Request::Explain { kind, common } => match explain::text(kind.as_deref(), page_options(*common)) {
            Ok(page) => status_of(write_out(page.as_bytes()), *common, 1),
            Err(user_error) => refused(*common, &user_error, 2),
        },
        Request::Schema(name) => status_of(write_out(text::schema(*name).as_bytes()), common, 1),
        Request::Completions(shell) => status_of(write_out(&text::completions(*shell)), common, 1),
        Request::Man(command) => match text::man(command.as_deref()) {
            Ok(page) => status_of(write_out(&page), common, 1),
            Err(user_error) => refused(common, &user_error, 2),
        },
        Request::Report(options) => match as_caller().and_then(|()| report::execute(options)) {
            Ok(()) => 0,
            Err(user_error) => refused(common, &user_error, 1),
        },
        Request::Replay(options) => match as_caller().and_then(|()| replay::execute(options)) {
            Ok(()) => 0,
            Err(user_error) => refused(common, &user_error, 1),
        },
        #[cfg(target_os = "linux")]
        Request::Watch(options) => watch::execute(options),
        #[cfg(target_os = "linux")]
        Request::Run(options) => run::execute(options),
        #[cfg(target_os = "linux")]
        Request::Compare(options) => compare::execute(options),
        #[cfg(target_os = "linux")]
        Request::Fix(options) => fix::execute(options),
        #[cfg(target_os = "linux")]
        Request::Gate(options) => gate::execute(options),
        #[cfg(target_os = "linux")]
        Request::Check => check::execute(common),
        #[cfg(target_os = "linux")]
        Request::Doctor(options) => doctor::execute(options),
        #[cfg(target_os = "linux")]
        Request::ServeGateway(options) => serve::gateway(options),
        #[cfg(target_os = "linux")]
        Request::ServeDns(options) => serve_dns::execute(options),
        #[cfg(not(target_os = "linux"))]
        Request::ServeGateway(_) | Request::ServeDns(_) => {
            refused(common, &UserError::new("serving takes Linux", "run it on a Linux machine"), 1)
        }
        #[cfg(not(target_os = "linux"))]
        Request::Watch(_)
        | Request::Run(_)
        | Request::Compare(_)
        | Request::Fix(_)
        | Request::Gate(_)
        | Request::Check
        | Request::Doctor(_) => {
            let status = match request {
                Request::Run(_) => 125,
                Request::Compare(_) | Request::Fix(_) | Request::Gate(_) => 4,
                Request::Check | Request::Doctor(_) => 3,
                _ => 1,
            };
            refused(common, &UserError::new("observing takes Linux", "run it on a Linux machine"), status)
        }
    }
}

/// Who called, before sudo.
#[cfg(target_os = "linux")]
fn caller() -> crate::run::Invoker {
    crate::run::invoker::find(&crate::run::procfs::Live, Pid(std::process::id()))
}

/// Gives up what sudo gave, for good: what needs no root reads files with the caller's rights.
#[cfg(target_os = "linux")]
fn as_caller() -> Result<(), UserError> {
    crate::experiment::user::become_caller(&caller())
}

/// Other systems have no use for root here.
#[cfg(not(target_os = "linux"))]
fn as_caller() -> Result<(), UserError> {
    Ok(())
}
