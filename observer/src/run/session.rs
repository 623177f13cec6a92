//! One `goobserve run`, from the caller to the exit status. In: [`RunOptions`] and something
//! that can attach ([`Attach`]). Out: an exit status; what a user must know goes to `say`.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use model::id::Pid;
use model::remedy::container::{self, Client};
use model::remedy::{self, RESOLV_CONF, Remedies};
use model::user_error::UserError;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFd;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::child::{HeldChild, NEVER_STARTED};
use super::exporter::Exporter;
use super::gateway::Gateway;
use super::invoker::Invoker;
use super::job::{Job, Signals, exit_status};
use super::program;
use super::resolver::Resolver;
use super::stuck::{RESTARTS, Stuck, Watch};
use crate::cli::options::RunOptions;

/// Of a build file so much is looked through, bytes.
const BUILD_FILE_MAX: u64 = 1 << 20;
/// Longest resolv.conf that is made private, bytes: it goes to the worker in one message.
const RESOLV_CONF_MAX: usize = 16 * 1024;

/// Status of a command that was started as often as it may be, and hung each time.
const GAVE_UP: i32 = 124;

/// A command that waits to be attached to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its pid, the user's already, before its exec
    pub pid: Pid,
    /// The program it will execute, as found in the user's PATH; perhaps relative to the working
    /// folder
    pub program: &'a Path,
    /// The user, with the environment that the command gets; output files are to be this user's
    pub invoker: &'a Invoker,
    /// The command's own resolv.conf, where it is not the machine's
    pub resolv_conf: Option<&'a str>,
    /// With the dashboard: the file that it prints into
    pub output: Option<BorrowedFd<'a>>,
    /// Where its events go besides
    pub export: Option<BorrowedFd<'a>>,
}

/// What can observe: the agent, or in tests nothing at all.
pub trait Attach {
    /// Attaches to a command that waits. When this returns, everything the command does from
    /// its first instruction on is seen. May fork and start threads: the command exists already.
    fn attach(&self, options: &RunOptions, target: &Target<'_>) -> Result<Box<dyn Observation>, UserError>;
}

/// An observation that goes on.
pub trait Observation {
    /// Ready when [`Observation::serve`] has something to do; `None` when it never has.
    fn descriptor(&self) -> Option<PollFd<'_>>;

    /// Does what there is to do, without blocking. A user error ends the observation, never the
    /// command.
    fn serve(&mut self) -> Result<(), UserError>;

    /// The command has ended so: sees to it that files are written and the report
    /// is printed, detaches, and waits for all that. `ended` is `None` when the command was
    /// never started: nothing is written then.
    fn finish(self: Box<Self>, ended: Option<ExitStatus>) -> Result<(), UserError>;
}

/// How much a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// What went wrong, and what to do
    Error,
    /// Something that a user should know, and `-q` leaves out
    Warning,
}

/// Runs the command and observes it. `say` gets a kind, a line, and a line of advice (perhaps
/// empty). The result is goobserve's exit status.
pub fn execute(
    options: &RunOptions,
    invoker: &Invoker,
    attach: &dyn Attach,
    say: &mut dyn FnMut(Note, &str, &str),
) -> i32 {
    let Some(command) = options.command.first() else {
        say(Note::Error, "no command to run", "goobserve run -- go mod download");
        return 2;
    };
    let mut invoker = invoker.clone();
    for (name, value) in &options.set {
        remedy::set(&mut invoker.env, name, value);
    }
    options.with.change(&mut invoker.env);
    let in_container = match in_container(&options.command, &options.with) {
        Ok(words) => words.map(|command| RunOptions { command, ..options.clone() }),
        Err(user_error) => {
            say(Note::Error, &user_error.what, &user_error.hint);
            return NEVER_STARTED;
        }
    };
    let options = in_container.as_ref().unwrap_or(options);
    let resolv_conf = match private_resolv_conf(&options.with) {
        Ok(text) => text,
        Err(user_error) => {
            say(Note::Error, &user_error.what, &user_error.hint);
            return NEVER_STARTED;
        }
    };
    let program = match program::resolve(command, invoker.var("PATH"), program::presence) {
        Ok(program) => program,
        Err(error) => {
            say(Note::Error, &error.to_string(), &error.advice());
            return error.status();
        }
    };
    for what in &invoker.not_restored {
        say(Note::Warning, &format!("not restored: {what}"), "");
    }
    for warning in options.with.iter().filter_map(|remedy| Some((remedy, remedy.warning()?))) {
        say(Note::Warning, &format!("{}: {}", warning.0, warning.1), "");
    }
    // Ends when this function does: behind the command.
    let gateway = options.with.has_gateway().then(|| Gateway::start(&options.command, &mut invoker));
    let _gateway = match gateway.transpose() {
        Ok(gateway) => gateway,
        Err(error) => {
            say(Note::Error, &error.what, &error.hint);
            return NEVER_STARTED;
        }
    };
    // The same.
    let resolver = options.with.has_dns_cache().then(|| {
        let text = resolv_conf.clone().map_or_else(machine_resolv_conf, Ok)?;
        Resolver::start(&invoker, &text)
    });
    let (_resolver, resolv_conf) = match resolver.transpose() {
        Ok(Some((resolver, text))) => (Some(resolver), Some(text)),
        Ok(None) => (None, resolv_conf),
        Err(error) => {
            say(Note::Error, &error.what, &error.hint);
            return NEVER_STARTED;
        }
    };
    let resolv_conf = resolv_conf.as_deref();
    let invoker = &invoker;
    // Before the fork: from here on a Ctrl-C ends the command, not us.
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => {
            say(
                Note::Error,
                &format!("cannot take signals: {error}"),
                "check the limit on open files (ulimit -n)",
            );
            return NEVER_STARTED;
        }
    };
    let output = match options.tui.then(output).transpose() {
        Ok(output) => output.flatten(),
        Err(errno) => {
            say(
                Note::Error,
                &format!("cannot keep the command's output: {}", errno.desc()),
                "leave out --tui",
            );
            return NEVER_STARTED;
        }
    };
    if options.tui && output.is_none() {
        say(
            Note::Warning,
            "--tui takes a terminal that can be drawn on, and there is none: the report follows in lines",
            "",
        );
    }
    let output = output.as_ref().map(AsFd::as_fd);
    let mut restarts = 0;
    loop {
        let child = match HeldChild::spawn(&program, &options.command, invoker, resolv_conf, output) {
            Ok(child) => child,
            Err(failure) => {
                say(Note::Error, &failure.to_string(), failure.advice());
                return failure.status();
            }
        };
        let exporter = options.export.any().then(|| Exporter::start(invoker, &options.export)).transpose();
        let mut exporter = match exporter {
            Ok(exporter) => exporter,
            Err(user_error) => {
                drop(child);
                say(Note::Error, &user_error.what, &user_error.hint);
                return NEVER_STARTED;
            }
        };
        let export = exporter.as_ref().map(Exporter::feed);
        let target = Target { pid: child.pid(), program: &program, invoker, resolv_conf, output, export };
        let observation = match attach.attach(options, &target) {
            Ok(observation) => observation,
            Err(user_error) => {
                drop(child);
                say(Note::Error, &user_error.what, &user_error.hint);
                return NEVER_STARTED;
            }
        };
        let watch = options.with.deadline().map(|least| Watch::new(target.pid, least));
        if let Some(exporter) = &mut exporter {
            exporter.handed_over();
        }
        let pid = match child.release() {
            Ok(pid) => pid,
            Err(failure) => {
                say(Note::Error, &failure.to_string(), failure.advice());
                let _ = observation.finish(None);
                return failure.status();
            }
        };
        let (status, stuck) = observe(&Job::new(pid, &signals), observation, watch, say);
        if let Some(exporter) = exporter {
            exporter.finish(|| signals.interrupted().unwrap_or(true));
        }
        let Some(stuck) = stuck.filter(|_| !signals.interrupted().unwrap_or(true)) else { return status };
        let what = format!(
            "deadline: nothing moved for {} s, and it may rest for {} s",
            stuck.rest.as_secs(),
            stuck.patience.as_secs()
        );
        if restarts == RESTARTS {
            say(
                Note::Error,
                &format!("{what}: given up after {} starts", RESTARTS + 1),
                "what each of them waited for is above; goobserve doctor looks at the way there",
            );
            return GAVE_UP;
        }
        restarts += 1;
        say(
            Note::Warning,
            &format!("{what}: it was ended and is started again, {restarts} of {RESTARTS}"),
            "",
        );
    }
}

/// A command that starts containers, with what remedies set inside; `None` when it is none, or nothing
/// is set.
pub fn in_container(command: &[OsString], with: &Remedies) -> Result<Option<Vec<OsString>>, UserError> {
    if with.is_empty() {
        return Ok(None);
    }
    let Some(client) = Client::of(command) else { return Ok(None) };
    let file = build_file(command);
    let declares = |name: &str| file.as_deref().map(|file| container::declares(file, name));
    client.with(with, declares).map(Some)
}

/// The build file that a command's words lead to, where it is one of the usual ones.
fn build_file(words: &[OsString]) -> Option<String> {
    let named =
        words.windows(2).find(|pair| pair[0] == "-f" || pair[0] == "--file").map(|pair| pair[1].clone());
    let joined =
        || words.iter().find_map(|word| Some(OsString::from(word.to_str()?.strip_prefix("--file=")?)));
    let folder = Path::new(words.last()?);
    let usual = ["Containerfile", "Dockerfile"].into_iter().map(|name| folder.join(name));
    let paths = named.or_else(joined).map(PathBuf::from).into_iter().chain(usual);
    let text = paths.into_iter().find_map(|path| super::regular::read(&path, BUILD_FILE_MAX))?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The resolv.conf that remedies make of the machine's.
fn private_resolv_conf(remedies: &Remedies) -> Result<Option<String>, UserError> {
    if !remedies.iter().any(remedy::Remedy::is_resolv) {
        return Ok(None);
    }
    Ok(remedies.resolv_conf(&machine_resolv_conf()?))
}

/// The machine's resolv.conf, of which a private one is made.
fn machine_resolv_conf() -> Result<String, UserError> {
    let refused = |what: String| UserError::new(what, "leave resolv= and dns-cache out");
    let bytes =
        std::fs::read(RESOLV_CONF).map_err(|error| refused(format!("cannot read {RESOLV_CONF}: {error}")))?;
    if bytes.len() > RESOLV_CONF_MAX {
        return Err(refused(format!("{RESOLV_CONF} is longer than {RESOLV_CONF_MAX} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A file for what the command prints while the dashboard has the terminal. A file, not a pipe:
/// nobody has to read it for the command to go on, whatever becomes of the dashboard. `None`
/// without a terminal.
fn output() -> Result<Option<OwnedFd>, Errno> {
    let terminal = std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
    if !terminal || crate::commands::is_dumb() {
        return Ok(None);
    }
    let file = memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(Some(file))
}

/// Waits for the command while the observation is served. The observation may fail; the command
/// goes on, and its status stays the result.
///
/// With `watch` it is ended when nothing moves; then that is said, too.
fn observe(
    job: &Job<'_>,
    observation: Box<dyn Observation>,
    mut watch: Option<Watch>,
    say: &mut dyn FnMut(Note, &str, &str),
) -> (i32, Option<Stuck>) {
    let mut observation = Some(observation);
    let mut stuck = None;
    let ended = loop {
        let other = observation.as_ref().and_then(|observation| observation.descriptor());
        match job.wait(other, watch.as_ref().map(Watch::wait)) {
            Ok(Some(ended)) => break ended,
            Ok(None) => stuck = stuck.or_else(|| watch.as_mut().and_then(Watch::turn)),
            Err(error) => {
                say(
                    Note::Error,
                    &format!("the command cannot be waited for: {error}"),
                    "it goes on by itself",
                );
                break ExitStatus::from_raw(NEVER_STARTED << 8);
            }
        }
        if let Some(watch) = watch.as_mut().filter(|_| stuck.is_some()) {
            watch.insist();
        }
        if let Some(Err(user_error)) = observation.as_mut().map(|observation| observation.serve()) {
            say(Note::Warning, &format!("observation ended early: {}", user_error.what), &user_error.hint);
            observation = None;
        }
    };
    if let Some(watch) = watch.as_mut().filter(|_| stuck.is_some()) {
        watch.sweep();
    }
    if let Some(Err(user_error)) = observation.map(|observation| observation.finish(Some(ended))) {
        say(Note::Error, &user_error.what, &user_error.hint);
    }
    (exit_status(ended), stuck)
}
