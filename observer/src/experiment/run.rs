//! One run of an experiment: `goobserve run` in a process of its own, with fresh caches. In: an
//! arm. Out: how it ended, with the report that it wrote.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model::redact;
use model::report::Report;
use model::user_error::UserError;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::Pid;

use super::guardian::Guardian;
use super::modules::ModuleFiles;
use super::originals::NotBack;
use super::user::AsUser;
use super::{Ended, Experiment, folders, place, timeout};
use crate::run::inherited::{self, LAST_SIGNAL};
use crate::run::job::{Job, exit_status};

/// Name of a run's report, and of what it printed.
pub(super) const REPORT: &str = "report.json";
const OUTPUT: &str = "output";
/// Bytes of a report that are read.
const REPORT_MAX: u64 = 1 << 30;
/// Bytes of what a failed command printed that are looked at, and lines of it that are shown.
const SAID_MAX: u64 = 4096;
const SAID_LINES: usize = 5;
/// How often the progress line is drawn.
const TICK: Duration = Duration::from_secs(1);

/// What came of a run.
pub(super) enum Ran {
    /// The command has ended
    Ended(Box<Ended>),
    /// We were asked to stop
    Interrupted,
    /// The time is over
    TimedOut,
}

impl Experiment<'_> {
    /// Runs an arm once; those of `ran` ran before it in this round.
    pub(super) fn run(&mut self, round: Option<usize>, arm: usize, ran: &[usize]) -> Result<Ran, UserError> {
        let (report, output) = (self.folders.own().join(REPORT), self.folders.own().join(OUTPUT));
        let printed = {
            let _user = AsUser::take(self.invoker)?;
            self.put_back()?;
            let fresh = self
                .folders
                .fresh()
                .and_then(|()| folders::empty(&report))
                .and_then(|_| folders::empty(&output));
            fresh.map_err(|error| {
                let folder = self.folders.base().display();
                UserError::new(format!("cannot prepare a run in {folder}: {error}"), "check the disk")
            })?
        };
        let cannot =
            |error: io::Error| UserError::new(format!("cannot start a run: {error}"), "check ulimit -a");
        let child = self.start(arm, &self.folders.base().join(REPORT), printed).map_err(cannot)?;
        if let Some(guardian) = &mut self.guardian {
            guardian.running(model::id::Pid(child.id()));
        }
        let status = self.wait(&child, round, arm, ran)?;
        let _user = AsUser::take(self.invoker)?;
        let report = read(&report);
        self.writers.ran(Some(model::id::Pid(child.id())), report.as_ref().ok());
        if round.is_none() {
            self.see_modules(arm);
        }
        self.put_back()?;
        if self.interrupted()? {
            return Ok(Ran::Interrupted);
        }
        let Some(status) = status else { return Ok(Ran::TimedOut) };
        let said = tail(&output).unwrap_or_default();
        let report = report.map_err(|error| {
            let last = said.lines().last().unwrap_or_default().to_owned();
            let what = if last.is_empty() { error } else { redact::text(&last) };
            UserError::new(
                format!("a run could not be observed: {what}"),
                "try `goobserve run` with the same command",
            )
        })?;
        Ok(Ran::Ended(Box::new(Ended { arm, status, report, said })))
    }

    /// Makes go.mod and go.sum what they were; refuses to go on when somebody else changed one.
    fn put_back(&mut self) -> Result<(), UserError> {
        self.originals.put_back(|file| self.writers.stranger(file)).map_err(|why| match why {
            NotBack::Failed(what) => UserError::new(what, "check the disk"),
            NotBack::Edited(user_error) => user_error,
        })?;
        self.writers.forget();
        Ok(())
    }

    fn start(&self, arm: usize, report: &Path, printed: File) -> io::Result<Child> {
        let arm = &self.plan.arms[arm];
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("goobserve")
            .args(["-q", "--color", "never", "run", "--report", "none", "--json"])
            .arg(report);
        for remedy in arm.remedies.iter() {
            command.arg("--with").arg(remedy.typed());
        }
        for (name, value) in self.folders.variables() {
            let mut pair = std::ffi::OsString::from(name);
            pair.push("=");
            pair.push(value);
            command.arg("--set").arg(pair);
        }
        command.arg("--").args(&arm.command);
        command.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed);
        let inherited = inherited::Signals::at_start();
        #[expect(unsafe_code, reason = "the signal mask must be the caller's again before the exec")]
        // SAFETY: only system calls, and this process has one thread.
        unsafe {
            command.pre_exec(move || {
                let mut mask = SigSet::empty();
                let blocked = (1..=LAST_SIGNAL).filter(|signal| inherited.blocks(*signal));
                blocked
                    .filter_map(|signal| Signal::try_from(signal).ok())
                    .for_each(|signal| mask.add(signal));
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
                // Without us the run is of no use; it passes the signal on to its command.
                nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
                Ok(())
            });
        }
        command.spawn()
    }

    /// A command may change go.mod before it calls go (`git checkout`, `go get`): what it leaves is
    /// what it worked with. A go.sum alone was completed by go itself, and was not there before.
    fn see_modules(&mut self, arm: usize) {
        let Some(before) = self.modules[arm].as_mut() else { return };
        let argv: Vec<String> =
            self.plan.arms[arm].command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let Ok(cwd) = std::env::current_dir() else { return };
        let now = ModuleFiles::read(&place::place(&cwd, &argv), &argv, &self.go);
        if let Some(now) = now.filter(|now| now.modules != before.modules) {
            *before = now;
        }
    }

    /// Waits for the run, passing signals on to it; `None`: its time was over, and it was ended.
    fn wait(
        &mut self,
        child: &Child,
        round: Option<usize>,
        arm: usize,
        ran: &[usize],
    ) -> Result<Option<i32>, UserError> {
        let began = Instant::now();
        let job = Job::new(Pid::from_raw(child.id().cast_signed()), &self.signals);
        loop {
            self.progress.tick(round, arm, ran, began);
            let left = self.plan.until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                timeout::end(child, &job, self.guardian.as_ref().map(Guardian::pid));
                return Ok(None);
            }
            match job.wait(None, Some(left.map_or(TICK, |left| left.min(TICK)))) {
                Ok(Some(ended)) => return Ok(Some(exit_status(ended))),
                Ok(None) => {}
                Err(error) => return Err(UserError::new(format!("a run cannot be waited for: {error}"), "")),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Reads a run's report.
pub(super) fn read(path: &Path) -> Result<Report, String> {
    let mut bytes = Vec::new();
    open(path)
        .and_then(|file| file.take(REPORT_MAX).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return Err("it wrote no report".to_owned());
    }
    serde_json::from_slice(&bytes).map_err(|error| format!("its report is damaged: {error}"))
}

/// The last lines of what a run printed.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SAID_MAX)))?;
    let mut bytes = Vec::new();
    file.take(SAID_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(SAID_LINES)..].join("\n"))
}
