//! Experiments: a command run several times, one way or two ways in turn, each run cold and
//! observed. In: a [`Plan`] and the user who called. Out: a report a run; go.mod, go.sum and every
//! cache of the user as they were, whatever happens; but what somebody else writes to go.mod or
//! go.sum meanwhile is left, and ends the experiment.
//!
//! A run is `goobserve run` in a process of its own: what fails there does not fail here. This
//! process has one thread, works on files with the user's rights only, and has a [`guardian`].
//!
//! # How everything is put back
//!
//! A run is `goobserve run` in a process of its own: what fails there fails alone. The process that
//! runs them has one thread, works on files with the caller's rights only (a user can change every
//! folder it works in), and has a guardian: a fork that waits at a pipe and, when the pipe closes
//! without a word, puts go.mod and go.sum back and removes the folders. Copies with a note lie in the
//! experiment's folder, beside the user's module cache, for the case that both are killed; the next
//! experiment finds them and refuses to go on. A private resolv.conf is a file in a tmpfs that is
//! mounted and let go inside the child's mount namespace, so it is never anywhere else. Folders have random
//! names, and go.mod and go.sum are reached by the descriptors of their folders; who wrote to them is known by
//! fanotify, and what was no process of a run stays, with the original beside it.
//!
//! Cold is a fresh GOMODCACHE and a fresh first folder of GOPATH, which has `pkg/sumdb`; the build
//! cache is the experiment's own and shared by its runs, so that the user's stays as it is and the run
//! that warms up fills it. Of two rounds the second runs in the reverse of the first's random order.

mod folders;
mod guardian;
pub mod modules;
mod originals;
mod place;
mod progress;
mod run;
mod timeout;
pub mod user;
mod writers;

use std::ffi::OsString;
use std::io;
use std::time::Instant;

use folders::Folders;
pub use folders::is_own;
use guardian::Guardian;
use model::remedy::Remedies;
use model::report::Report;
use model::user_error::UserError;
use modules::ModuleFiles;
use originals::{NotBack, Originals};
use progress::Progress;
use run::Ran;
use user::AsUser;
use writers::Writers;

use crate::cli::options::{Cache, Common};
use crate::goenv::{FILE_LIMIT, GoEnv, Source};
use crate::run::job::Signals;
use crate::run::{Invoker, program};
use crate::say;

/// One way to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arm {
    /// How it is called before the user
    pub name: String,
    /// The command and its arguments; not empty
    pub command: Vec<OsString>,
    /// What is changed for it
    pub remedies: Remedies,
}

/// What is to be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One way or several
    pub arms: Vec<Arm>,
    /// How many rounds are expected; the caller may ask for more or fewer
    pub rounds: usize,
    /// What the run of each arm is called that comes before and does not count
    pub warm_up: &'static str,
    /// Caches
    pub cache: Cache,
    /// When whatever runs is ended; `None`: never
    pub until: Option<Instant>,
    /// Common flags
    pub common: Common,
}

/// A run whose command failed.
#[derive(Clone, PartialEq, Debug)]
pub struct Ended {
    /// Which arm
    pub arm: usize,
    /// Its exit status, 128+N for signal N; 0 for an arm of the same round that did not fail
    pub status: i32,
    /// What was observed
    pub report: Report,
    /// The end of what it printed
    pub said: String,
}

/// One run of every arm.
#[derive(Clone, PartialEq, Debug)]
pub enum Round {
    /// Reports of the arms that run, by arm
    Measured(Vec<Report>),
    /// A command failed: the run of every arm that runs, by arm
    Failed(Vec<Ended>),
    /// Ctrl-C, or a signal that means the same
    Interrupted,
    /// [`Plan::until`] came
    TimedOut,
}

/// An experiment that goes on. Dropped, it puts everything back.
#[derive(Debug)]
pub struct Experiment<'a> {
    plan: Plan,
    invoker: &'a Invoker,
    signals: Signals,
    folders: Folders,
    originals: Originals,
    writers: Writers,
    /// By arm
    modules: Vec<Option<ModuleFiles>>,
    /// The arms that still run
    playing: Vec<usize>,
    go: GoEnv,
    guardian: Option<Guardian>,
    progress: Progress,
    order: Order,
    rounds: usize,
    warm: bool,
}

impl<'a> Experiment<'a> {
    /// Prepares everything; nothing has run yet.
    pub fn begin(plan: Plan, invoker: &'a Invoker) -> Result<Self, UserError> {
        let names = plan.arms.iter().map(|arm| arm.name.clone()).collect();
        let progress = Progress::new(names, plan.warm_up, plan.rounds, plan.common.quiet);
        // From here on a Ctrl-C is ours to see to.
        let signals = Signals::take().map_err(|error| {
            UserError::new(
                format!("cannot take signals: {error}"),
                "check the limit on open files (ulimit -n)",
            )
        })?;
        let Prepared { folders, originals, modules, go } = prepare(&plan, invoker)?;
        let writers = Writers::of(originals.folders());
        let mut experiment = Self {
            order: Order::new(),
            warm: false,
            playing: (0..plan.arms.len()).collect(),
            plan,
            invoker,
            signals,
            folders,
            originals,
            writers,
            modules,
            go,
            guardian: None,
            progress,
            rounds: 0,
        };
        // It has a copy of everything as it is now; what was written it asks the kernel itself.
        let clean = || match experiment.clean() {
            Ok(()) => {
                say::line("ended too early; go.mod, go.sum and all caches are as they were");
            }
            Err(user_error) => say::user_error(&user_error),
        };
        let guardian = match Guardian::start(clean) {
            Ok(guardian) => guardian,
            Err(errno) => {
                experiment.clean()?;
                let what = format!("cannot start a process: {}", errno.desc());
                return Err(UserError::new(what, "check the limit on processes (ulimit -u)"));
            }
        };
        experiment.guardian = Some(guardian);
        if experiment.plan.until.is_some() {
            timeout::adopt();
        }
        Ok(experiment)
    }

    /// Runs every arm that was not given up once, in random order; before the first round that counts, one that does not.
    pub fn round(&mut self) -> Result<Round, UserError> {
        if let Some(round) = self.warm_up()? {
            match round {
                Round::Measured(_) => {}
                other => return Ok(other),
            }
        }
        let round = self.runs(Some(self.rounds))?;
        self.rounds += 1;
        Ok(round)
    }

    /// Makes a round that does not count, also where one was made: it had failed.
    pub fn warm_up_once_more(&mut self) -> Result<Round, UserError> {
        self.warm = true;
        self.runs(None)
    }

    /// Makes the round that does not count, where none was made yet.
    pub fn warm_up(&mut self) -> Result<Option<Round>, UserError> {
        if std::mem::replace(&mut self.warm, true) {
            return Ok(None);
        }
        self.runs(None).map(Some)
    }

    /// Ways to run that come later, of the first arm's command, and how many rounds are expected from now on.
    /// They get no run that does not count.
    pub fn add(&mut self, ways: Vec<Arm>, rounds: usize) {
        let modules = self.modules.first().cloned().flatten();
        for arm in ways {
            self.progress.add(arm.name.clone());
            self.playing.push(self.plan.arms.len());
            self.modules.push(modules.clone());
            self.plan.arms.push(arm);
        }
        self.plan.rounds = rounds;
        self.progress.expect(rounds);
    }

    /// An arm runs no more.
    pub fn give_up(&mut self, arm: usize) {
        self.playing.retain(|other| *other != arm);
        self.progress.give_up(arm);
    }

    /// The arms that run, in order.
    pub fn playing(&self) -> &[usize] {
        &self.playing
    }

    /// In how many ways is run.
    pub fn arms(&self) -> usize {
        self.plan.arms.len()
    }

    /// The module files that an arm's go finds; `None` when its words do not say where it works.
    pub fn modules(&self, arm: usize) -> Option<&ModuleFiles> {
        self.modules.get(arm)?.as_ref()
    }

    /// Puts everything back.
    pub fn end(mut self) -> Result<(), UserError> {
        self.finish()
    }

    fn runs(&mut self, round: Option<usize>) -> Result<Round, UserError> {
        let mut ended: Vec<Ended> = Vec::new();
        let mut ran = Vec::new();
        for place in self.order.next(self.playing.len()) {
            let arm = self.playing[place];
            let began = Instant::now();
            if self.interrupted()? {
                return Ok(Round::Interrupted);
            }
            match self.run(round, arm, &ran)? {
                Ran::Ended(run) => ended.push(*run),
                Ran::Interrupted => return Ok(Round::Interrupted),
                Ran::TimedOut => return Ok(Round::TimedOut),
            }
            self.progress.ran(arm, began.elapsed());
            ran.push(arm);
        }
        ended.sort_by_key(|run| run.arm);
        if ended.iter().any(|run| run.status != 0) {
            self.progress.clear();
            return Ok(Round::Failed(ended));
        }
        let reports: Vec<Report> = ended.into_iter().map(|run| run.report).collect();
        let walls: Vec<u64> = reports.iter().map(wall_ns).collect();
        self.progress.round_ended(round, &walls);
        Ok(Round::Measured(reports))
    }

    fn interrupted(&self) -> Result<bool, UserError> {
        self.signals
            .interrupted()
            .map_err(|error| UserError::new(format!("cannot take signals: {error}"), ""))
    }

    fn finish(&mut self) -> Result<(), UserError> {
        let Some(guardian) = self.guardian.take() else { return Ok(()) };
        self.progress.clear();
        let cleaned = self.clean();
        guardian.done();
        cleaned
    }

    /// Puts go.mod and go.sum back and removes every folder; but the copies stay when the files
    /// cannot be put back.
    fn clean(&mut self) -> Result<(), UserError> {
        let _user = AsUser::take(self.invoker)?;
        // Of a run that was cut off nobody has asked yet.
        let report = run::read(&self.folders.own().join(run::REPORT)).ok();
        self.writers.ran(None, report.as_ref());
        let edited = match self.originals.put_back(|file| self.writers.stranger(file)) {
            Ok(()) => Ok(()),
            Err(NotBack::Edited(user_error)) => Err(user_error),
            Err(NotBack::Failed(what)) => {
                let kept = self.folders.base().join(ORIGINALS);
                return Err(UserError::new(what, format!("copies and a note are in {}", kept.display())));
            }
        };
        let removed = self.folders.remove().map_err(|error| {
            UserError::new(
                format!("cannot remove all of {}: {error}", self.folders.base().display()),
                "remove it: it holds nothing that is needed",
            )
        });
        edited.and(removed)
    }
}

impl Drop for Experiment<'_> {
    fn drop(&mut self) {
        if let Err(user_error) = self.finish() {
            say::user_error(&user_error);
        }
    }
}

/// What most call the runs that do not count.
pub const WARMING_UP: &str = "warming up";

/// Where copies of go.mod and go.sum are kept.
const ORIGINALS: &str = "originals";

/// How long the command of a report took; with `run` there is one command.
pub fn wall_ns(report: &Report) -> u64 {
    report.commands.first().map_or(0, |command| command.wall_ns)
}

struct Prepared {
    folders: Folders,
    originals: Originals,
    modules: Vec<Option<ModuleFiles>>,
    go: GoEnv,
}

/// Makes the folders and keeps the files, with the user's rights.
fn prepare(plan: &Plan, invoker: &Invoker) -> Result<Prepared, UserError> {
    let _user = AsUser::take(invoker)?;
    let command = plan.arms.first().and_then(|arm| arm.command.first());
    let go = go_env(command, invoker);
    if let Some(left) = folders::left_behind(&go).first() {
        return Err(UserError::new(
            format!("an experiment was killed and left {}", left.display()),
            format!(
                "{} there says how to put go.mod and go.sum back; then remove the folder",
                originals::NOTE
            ),
        ));
    }
    let cwd = std::env::current_dir().map_err(|error| {
        UserError::new(format!("the working folder is not known: {error}"), "go to a folder that is there")
    })?;
    let (mut kept, mut modules) = (Originals::default(), Vec::new());
    for arm in &plan.arms {
        let argv: Vec<String> = arm.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let place = place::place(&cwd, &argv);
        kept.add(&place.folder, &argv, &go).map_err(|error| {
            UserError::new(format!("cannot read {error}"), "check that the calling user may read it")
        })?;
        modules.push(ModuleFiles::read(&place, &argv, &go));
    }
    if let Some(other) = folders::in_use(&go, &kept) {
        return Err(UserError::new(
            format!("another experiment runs with the same go.mod (its folder is {})", other.display()),
            "wait for its end: each would take the other's changes for the files as they were",
        ));
    }
    let folders = Folders::create(&go, plan.cache)?;
    let (copies, shown) = (folders.own().join(ORIGINALS), folders.base().join(ORIGINALS));
    let written: io::Result<()> = std::fs::create_dir(&copies).and_then(|()| kept.keep(&copies, &shown));
    if let Err(error) = written {
        let _ = folders.remove();
        return Err(UserError::new(
            format!("cannot write to {}: {error}", shown.display()),
            "check that the disk is not full",
        ));
    }
    Ok(Prepared { folders, originals: kept, modules, go })
}

/// The user's settings of go: those of the go that the command is, or else of the one in PATH.
pub fn go_env(command: Option<&OsString>, invoker: &Invoker) -> GoEnv {
    let environ: Vec<u8> = invoker
        .env
        .iter()
        .flat_map(|(name, value)| [name.as_encoded_bytes(), b"=", value.as_encoded_bytes(), b"\0"].concat())
        .collect();
    let is_go =
        |command: &&OsString| std::path::Path::new(command).file_name().is_some_and(|name| name == "go");
    let go = command.filter(is_go).cloned().unwrap_or_else(|| "go".into());
    let binary = program::resolve(&go, invoker.var("PATH"), program::presence).ok();
    let binary = binary.and_then(|path| path.canonicalize().ok());
    let source = Source { environ: &environ, binary: binary.as_deref(), cpus: None };
    GoEnv::gather(&source, |path| {
        let mut bytes = originals::read(path).ok()?.0;
        bytes.truncate(FILE_LIMIT);
        Some(bytes)
    })
}

/// Random orders of a round's runs; every second round goes the other way round, so that a drift
/// of the machine or the network falls on every arm alike.
#[derive(Debug)]
struct Order {
    state: u64,
    last: Option<Vec<usize>>,
}

impl Order {
    fn new() -> Self {
        let mut bytes = [0; 8];
        // Any seed will do.
        let read = std::fs::File::open("/dev/urandom")
            .and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
        let seed = read.map_or(0, |()| u64::from_ne_bytes(bytes));
        Self { state: seed | 1, last: None }
    }

    fn next(&mut self, arms: usize) -> Vec<usize> {
        if let Some(mut order) = self.last.take().filter(|order| order.len() == arms) {
            order.reverse();
            return order;
        }
        let mut order: Vec<usize> = (0..arms).collect();
        for upper in (1..arms).rev() {
            // xorshift64*
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
            order.swap(upper, (random % (upper as u64 + 1)) as usize);
        }
        self.last = Some(order.clone());
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_random_and_every_arm_is_first_as_often() {
        let mut order = Order { state: 1, last: None };
        let rounds: Vec<Vec<usize>> = (0..200).map(|_| order.next(2)).collect();
        assert_eq!(rounds.iter().filter(|round| round[0] == 0).count(), 100);
        let of_two: Vec<usize> = rounds.iter().step_by(2).map(|round| round[0]).collect();
        let first = of_two.iter().filter(|first| **first == 0).count();
        assert!((30..=70).contains(&first), "{first} of 100");
        assert!(rounds.iter().all(|round| round.len() == 2 && round[0] != round[1]));
    }
}
