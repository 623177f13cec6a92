//! The exporter beside an observation. In: where it is exported to, and the user. Out: a pipe that takes the lines of a
//! recording; dropped, the process ends.
//!
//! It is this program again ([`super::server`]), as that user, without privileges: it alone opens sockets. The worker
//! writes into the pipe, and what does not fit waits there, or is left out and counted, so that nobody waits for a
//! collector. When the pipe ends it delivers what is left, for as long as its time-out says.

use std::ffi::OsString;
use std::io::{self, BufReader, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use export::deliver::Endpoint;
use model::user_error::UserError;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::Invoker;
use super::server::Server;
use crate::cli::options::ExportOptions;
use crate::say;

/// The hidden subcommand that it is.
pub const EXPORTER: &str = "__exporter";
/// What it prints when it may be written to.
const READY: &str = "ready";
/// Bytes that the pipe is to hold; as many as any user may have by default.
const PIPE: i32 = 1 << 20;
/// How much longer than any time-out that makes sense it may take to end.
const END_MAX: Duration = Duration::from_secs(60);

/// A running exporter.
#[derive(Debug)]
pub struct Exporter {
    server: Server,
    feed: Option<OwnedFd>,
}

impl Exporter {
    /// Starts it. Refused is what it cannot listen at.
    pub fn start(invoker: &Invoker, options: &ExportOptions) -> Result<Self, UserError> {
        let cannot = |error: io::Error| {
            UserError::new(
                format!("cannot start the exporter: {error}"),
                "check the limits on processes and open files (ulimit -u, ulimit -n)",
            )
        };
        let (read, feed) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| cannot(errno.into()))?;
        fcntl(&feed, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| cannot(errno.into()))?;
        let _ = fcntl(&feed, FcntlArg::F_SETPIPE_SZ(PIPE)); // less is as good
        let options = serde_json::to_string(options).map_err(|error| cannot(error.into()))?;
        let arguments: Vec<OsString> = vec![EXPORTER.into(), options.into()];
        let mut server =
            Server::start(invoker, &invoker.env, &arguments, Stdio::from(read), &[]).map_err(cannot)?;
        match server.line("") {
            Some(line) if line == READY => Ok(Self { server, feed: Some(feed) }),
            Some(line) => Err(UserError::new(line, "name another address, or another file")),
            None => Err(cannot(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Where the worker writes.
    ///
    /// # Panics
    /// When it was handed over before.
    pub fn feed(&self) -> BorrowedFd<'_> {
        self.feed.as_ref().expect("not handed over yet").as_fd()
    }

    /// The worker has the pipe: its end is the recording's.
    pub fn handed_over(&mut self) {
        self.feed = None;
    }

    /// Waits until what is left is delivered, or given up; or until somebody has enough of waiting.
    pub fn finish(mut self, enough: impl Fn() -> bool) {
        self.feed = None;
        if !self.server.wait(END_MAX, enough) {
            say::line("not everything was exported: its end was not waited for");
        }
    }
}

/// The exporter's whole life; its exit status.
pub fn main() -> i32 {
    let options = std::env::args().nth(2).and_then(|text| serde_json::from_str(&text).ok());
    let Some(options) = options else {
        say::line("this is a part of goobserve; it is not to be called");
        return 2;
    };
    let print = |line: &str| writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush());
    let options = match open(options) {
        Ok(options) => options,
        Err(line) => return i32::from(print(&line).is_err()),
    };
    if print(READY).is_err() {
        return 1;
    }
    match export::run(options, BufReader::new(io::stdin())) {
        Ok(None) => 0,
        Ok(Some(line)) => {
            say::line(&line);
            0
        }
        Err(error) => {
            say::line(&format!("the export failed: {error}"));
            1
        }
    }
}

fn open(options: ExportOptions) -> Result<export::Options, String> {
    let ExportOptions { otlp, metrics, textfile } = options;
    let otlp = otlp.map(|url| Endpoint::new(&url, |name| std::env::var(name).ok()));
    let listener = metrics.map(|address| {
        TcpListener::bind(address).map_err(|error| format!("cannot serve metrics at {address}: {error}"))
    });
    if let Some(file) = &textfile
        && let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty())
        && !folder.is_dir()
    {
        return Err(format!("cannot write {}: there is no such folder", file.display()));
    }
    let otlp = otlp.transpose().map_err(|why| format!("no collector: {why}"))?;
    Ok(export::Options { otlp, listener: listener.transpose()?, textfile })
}
