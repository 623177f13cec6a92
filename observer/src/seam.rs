//! Between agent and worker: one message a datagram, JSON, with the descriptors it is about.
//!
//! The agent (root) opens and attaches, the worker (nobody) reads and parses. What
//! the worker asks for is checked by the agent: it may name processes, but only offsets of files
//! that the agent itself opened.

mod socket;

use std::path::PathBuf;

use pipeline::correlate::preexisting::{
    LocalResolver, PreexistingLock, PreexistingProcess, PreexistingSockets,
};
use serde::{Deserialize, Serialize};
pub(crate) use socket::Seam;

use crate::cli::options::RunReport;
use crate::kernel::Probes;
use model::id::{CommandId, Pid, TreeId};
use model::time::{Monotonic, SinceStart};

/// What the worker is to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Task {
    /// `run`: the pid that CMD will have; `None` with `watch`
    pub child: Option<Pid>,
    /// CMD and its arguments as typed
    pub argv: Vec<String>,
    /// `run`: of CMD's environment, what settings of go come from: `NAME=value`, NUL behind each
    pub environ: String,
    /// `run`: CMD's working folder
    pub cwd: Option<String>,
    /// Remedies in force, as they may be shown
    pub remedies: Vec<String>,
    /// `run`: the resolv.conf that CMD sees, where it is not the machine's
    pub resolv_conf: Option<String>,
    /// `run`: CPUs CMD may use
    pub cpus: Option<u32>,
    /// The user who called
    pub caller: u32,
    /// `watch`: programs other than the go command are followed too
    pub programs: Programs,
    /// Try behind the locks what they are there for, in that folder: see `worker/sandbox.rs`
    #[serde(with = "any_path")]
    pub try_in: Option<PathBuf>,
    /// Start of the observation, `CLOCK_MONOTONIC`, nanoseconds
    pub start_ns: Monotonic,
    /// The same moment by the wall clock
    pub started_unix_ns: u64,
    /// Where results go
    pub output: Output,
}

/// Which programs a command may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Programs {
    /// The go command
    #[default]
    Go,
    /// Any Go program of the user's own (`--all-go`)
    Own,
    /// Any Go program: its process was named (`--pid`)
    Any,
}

/// Where results go, and how they look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// `--json FILE`
    #[serde(with = "any_path")]
    pub json: Option<PathBuf>,
    /// `--record FILE`
    #[serde(with = "any_path")]
    pub record: Option<PathBuf>,
    /// Which of the two mean descriptors; those come with the task, in this order
    pub passed: [bool; 2],
    /// Events go to an exporter as well, whose pipe comes after those
    pub export: bool,
    /// What is reported on stderr in the end
    pub report: RunReport,
    /// `--output jsonl` of `watch`
    pub jsonl: bool,
    /// Replace module paths and private hosts
    pub anonymize: bool,
    /// Colours on stderr
    pub color: bool,
    /// Progress on stderr
    pub progress: bool,
    /// Warnings beside the report
    pub quiet: bool,
    /// Width of the terminal
    pub columns: u16,
    /// Lines of that terminal
    pub rows: u16,
    /// The dashboard instead of lines and progress
    pub dashboard: bool,
}

/// A path of any bytes: JSON has text only.
mod any_path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| path.as_os_str().as_bytes()).serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let bytes = Option::<Vec<u8>>::deserialize(from)?;
        Ok(bytes.map(|bytes| OsString::from_vec(bytes).into()))
    }
}

/// Where the paths of a process begin.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Root {
    /// Where the agent's do: it has the same mount namespace and root
    Ours,
    /// At a root of its own, whose descriptor comes last. Paths that the kernel gives (of its program,
    /// of its working folder) begin with this, which is `/` as a rule
    Own(String),
    /// Nobody knows
    Unknown,
}

/// A binary that the agent opened: device and inode name it from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Device
    pub dev: u64,
    /// Inode
    pub ino: u64,
}

/// Agent to worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// First message
    Task(Box<Task>),
    /// A binary that may run soon; with its descriptor
    Binary {
        /// The file
        file: FileId,
        /// Where it was found
        path: String,
    },
    /// A process that is to be followed when its program is understood; with that
    Candidate {
        /// The process
        pid: Pid,
        /// Its program
        file: FileId,
        /// Where that is
        path: String,
    },
    /// No more binaries come unasked: `Ready` may be sent when they are probed
    BinariesEnd,
    /// Ring, trees and counters; with their descriptors
    Maps,
    /// What a process is; with its program, its environment where that could be opened, and its root
    /// where that is another one
    Facts {
        /// The process
        pid: Pid,
        /// Its program
        file: FileId,
        /// Path of its program
        path: String,
        /// Working folder
        cwd: Option<String>,
        /// `/proc/PID/cgroup`
        cgroup: Option<String>,
        /// CPUs it may use
        cpus: Option<u32>,
        /// Where its paths begin
        root: Root,
    },
    /// The process has gone, or may not be looked at
    NoFacts {
        /// The process
        pid: Pid,
    },
    /// A binary is probed, or why it is not
    Probed {
        /// The file
        file: FileId,
        /// `None`: it is
        error: Option<String>,
    },
    /// The agent keeps a binary open no longer: its number may become another file's
    Forgotten {
        /// The file
        file: FileId,
    },
    /// The service that a process asks to run its containers
    Service {
        /// The process
        pid: Pid,
        /// Whose children are followed from now on, and what they are called
        services: Vec<(Pid, String)>,
    },
    /// Local stub resolvers that are followed from now on
    LocalResolvers {
        /// Their processes
        local_resolvers: Vec<LocalResolver>,
    },
    /// A process that runs already, and is followed from now on
    Process(Box<PreexistingProcess>),
    /// Threads of such processes wait for these
    PreexistingLocks {
        /// Their tree
        root: TreeId,
        /// When they were looked at, `CLOCK_MONOTONIC`, nanoseconds
        at_ns: Monotonic,
        /// The waits
        locks: Vec<PreexistingLock>,
    },
    /// How the sockets are that such processes had
    PreexistingSockets(PreexistingSockets),
    /// So many processes of a tree that runs already are not followed: there are too many
    Overlooked {
        /// How many
        processes: u32,
    },
    /// What the kernel did not do, so far
    NotDone(NotDone),
    /// So many programs were not looked at: there are too many, or they cannot be
    Unexamined {
        /// How many
        programs: u32,
    },
    /// Such a process has ended unseen, or is followed as what it is
    PreexistingGone {
        /// Its tree
        root: TreeId,
        /// The process
        pid: Pid,
    },
    /// Whether one of the processes reads the terminal
    Terminal {
        /// It does
        read: bool,
    },
    /// Which of the processes of a command that sleeps read a terminal
    AtTerminal {
        /// The command
        command: CommandId,
        /// Since when it slept, as it was asked
        since: SinceStart,
        /// Those that do
        pids: Vec<Pid>,
    },
    /// Where CMD prints while the dashboard is shown; with the file's descriptor
    Output,
    /// CMD has ended, or watching has
    Ended {
        /// CMD's status, as `waitpid` gives it
        status: Option<i32>,
    },
    /// CMD could not be started: nothing is to be reported
    Abandoned,
}

/// What the kernel did not do that something of the observation relied on: it is not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotDone {
    /// Runs of BPF programs that it skipped
    pub runs_skipped: u64,
    /// Tracepoints that it does not have
    pub unattached: u64,
    /// Socket diagnostics that it did not give
    pub lookups_failed: u64,
}

/// Worker to agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToAgent {
    /// First message: no process of the user can look into the worker any more
    Hardened,
    /// What is this process?
    Inspect {
        /// The process
        pid: Pid,
    },
    /// Which program is it? Answered by a [`ToWorker::Binary`] when the agent has not sent that yet
    Program {
        /// The process
        pid: Pid,
    },
    /// Does one of these processes read the terminal?
    Terminal {
        /// The processes
        pids: Vec<Pid>,
    },
    /// Which of these processes of a command that sleeps read a terminal?
    AtTerminal {
        /// The command
        command: CommandId,
        /// Since when it sleeps
        since: SinceStart,
        /// The processes
        pids: Vec<Pid>,
    },
    /// Probe a binary that the agent sent
    Probe {
        /// The file
        file: FileId,
        /// Where
        probes: Probes,
    },
    /// A binary that the agent sent is not to be probed
    Unwanted {
        /// The file
        file: FileId,
    },
    /// Which local stub resolvers are there, where that process is?
    LocalResolvers {
        /// The process
        pid: Pid,
        /// It asks a name server already. One that only may is looked at if it is in a container: its
        /// first query would be too early to look then
        asks: bool,
    },
    /// A process of CMD's asks a service to run its containers: what that starts belongs to CMD
    Service {
        /// The process
        pid: Pid,
        /// The program that it runs: `docker`
        client: String,
    },
    /// A candidate's program
    Judged {
        /// The process
        pid: Pid,
        /// Why it is not to be followed; `None`: it is
        why: Option<String>,
    },
    /// A process of nobody's runs a program that is not known yet
    Unjudged {
        /// The process
        pid: Pid,
        /// Device of the program, as in the kernel's `s_dev`
        dev: u32,
        /// Its inode
        ino: u64,
    },
    /// How are the sockets of a tree that ran already?
    Sockets {
        /// The tree
        root: TreeId,
    },
    /// It is no go command: follow it no longer
    Unfollow {
        /// Root of its tree
        pid: Pid,
    },
    /// Everything asked for is attached and every output is open: CMD may begin
    Ready,
    /// The dashboard was left: watching is over
    Leave,
    /// It has heard [`ToWorker::Ended`], and writes what there is to write
    Ending,
    /// The user still reads the dashboard: it ends when that is left
    Read,
    /// It cannot begin
    Refused {
        /// Why
        what: String,
        /// What to do; empty when there is nothing
        hint: String,
    },
}
