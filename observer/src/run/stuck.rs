//! The remedy `deadline`: whether anything of a command still moves. In: its process, looked at once a second through
//! `/proc`. Out: that it is stuck, and for how long nothing moved.
//!
//! # What moves
//!
//! A command moves when a process of its tree begins or ends, reads or writes (files, pipes and TCP alike:
//! `/proc/PID/io`), or computes. So that one that moves is never killed, what may only seem to rest counts as moving,
//! too: a thread that is ready for a CPU, waits for the disk or is stopped, a wait for a file lock of another command
//! or for somebody at a terminal, and a tree that has no connection: `deadline` is about the network.
//!
//! # How long it may rest
//!
//! Four times as long as the longest rest of this command that ended by itself, and at least 35 s: go gives up
//! connecting after 30 s and a TLS handshake after 10 s, so what is killed is what go itself would have waited
//! for without end: a response that never begins or goes on. What a rest takes has in it the round-trip time, the
//! server's work and the resolver's repetitions, as this command meets them; a time-out made from round trips alone
//! would know nothing of a proxy that works on an answer for 20 s.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::id::Pid;
use nix::sys::signal::{Signal, kill};

use super::progress::any_reads_terminal;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often a command is started again.
pub(super) const RESTARTS: u32 = 3;
/// How much longer than the longest rest.
const TIMES: u32 = 4;
/// No rest is waited for longer than this.
const MOST: Duration = Duration::from_mins(10);
/// How long a process may take to end.
const END_WITHIN: Duration = Duration::from_secs(3);
/// Ticks of CPU time that are work, not the bookkeeping of a process that rests: 50 ms.
const TICKS: u64 = 5;
/// Processes and threads of a tree that are looked at; more than that moves for certain.
const PROCESSES_MAX: usize = 4096;
const THREADS_MAX: usize = 4096;
/// Descriptors of a process that are looked at.
const DESCRIPTORS_MAX: usize = 4096;

/// How long a command may rest, by how long it has.
#[derive(Clone, Copy, Debug)]
struct Patience {
    least: Duration,
    longest_rest: Duration,
}

impl Patience {
    fn now(self) -> Duration {
        (self.longest_rest * TIMES).clamp(self.least, MOST.max(self.least))
    }

    /// A rest ended by itself.
    fn ended(&mut self, rest: Duration) {
        self.longest_rest = self.longest_rest.max(rest);
    }
}

/// Nothing moves any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stuck {
    /// For how long
    pub rest: Duration,
    /// How long it might have
    pub patience: Duration,
}

/// A command that is looked after.
#[derive(Debug)]
pub(super) struct Watch {
    root: Pid,
    proc: PathBuf,
    patience: Patience,
    moved: Instant,
    last: Option<Sample>,
    looked: Option<Instant>,
    /// Whom it was ended with, by pid and begin
    ended: BTreeMap<(u32, u64), Instant>,
}

impl Watch {
    /// Looks after a command that has just begun. It may rest for `least` at least.
    pub(super) fn new(root: Pid, least: Duration) -> Self {
        let patience = Patience { least, longest_rest: Duration::ZERO };
        Self {
            root,
            proc: "/proc".into(),
            patience,
            moved: Instant::now(),
            last: None,
            looked: None,
            ended: BTreeMap::new(),
        }
    }

    /// How long to wait until the next look.
    pub(super) fn wait(&self) -> Duration {
        self.looked.map_or(EVERY, |looked| EVERY.saturating_sub(looked.elapsed()))
    }

    /// Looks when it is time, and asks what is stuck to end.
    pub(super) fn turn(&mut self) -> Option<Stuck> {
        if self.looked.is_some_and(|looked| looked.elapsed() < EVERY) {
            return None;
        }
        let stuck = self.check();
        self.looked = Some(Instant::now());
        if stuck.is_some() {
            self.end(Signal::SIGTERM);
        }
        stuck
    }

    /// Kills what was asked to end and has not, after a while.
    pub(super) fn insist(&mut self) {
        if self.ended.values().any(|asked| asked.elapsed() > END_WITHIN) {
            self.looked = Some(Instant::now());
            self.sweep();
        }
    }

    /// Kills what is left.
    pub(super) fn sweep(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Looks whether it is stuck.
    fn check(&mut self) -> Option<Stuck> {
        let sample = Sample::take(&self.proc, self.root);
        let now = Instant::now();
        let rest = now.duration_since(self.moved);
        let is_moving = match (&self.last, &sample) {
            // What cannot be looked at is let alone.
            (_, None) | (None, Some(_)) => true,
            (Some(last), Some(sample)) => sample.has_moved_since(last),
        };
        if is_moving {
            self.patience.ended(rest);
            self.moved = now;
            self.last = sample;
            return None;
        }
        let patience = self.patience.now();
        if rest < patience {
            return None;
        }
        // The dearer looks come last, and once it matters.
        if !self.rests_for_the_network(sample.as_ref()?) {
            self.moved = now;
            return None;
        }
        Some(Stuck { rest, patience })
    }

    fn rests_for_the_network(&self, sample: &Sample) -> bool {
        let pids: Vec<Pid> = sample.processes.keys().copied().map(Pid).collect();
        let locks = fs::read_to_string(self.proc.join("locks")).unwrap_or_default();
        !waits_for_lock(&locks, &sample.processes)
            && !any_reads_terminal(&pids)
            && pids.iter().any(|pid| has_connection(&self.proc, *pid))
    }

    /// Signals the command and all that it started, those too that have lost their parent since they were asked.
    fn end(&mut self, signal: Signal) {
        for of_tree in Sample::tree(&self.proc, self.root) {
            self.ended.entry(of_tree).or_insert_with(Instant::now);
        }
        for &(pid, began) in self.ended.keys() {
            if Stat::of(&self.proc, pid).is_some_and(|stat| stat.began == began) {
                let _ = kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal);
            }
        }
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stat {
    state: u8,
    parent: u32,
    /// Ticks of user and system
    ticks: u64,
    began: u64,
}

impl Stat {
    fn of(proc: &Path, pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?)
    }

    /// The name, in parentheses, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        Some(Self {
            state: *words.first()?.as_bytes().first()?,
            parent: u32::try_from(number(1)?).ok()?,
            ticks: number(11)? + number(12)?,
            began: number(19)?,
        })
    }
}

/// One process as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Process {
    began: u64,
    ticks: u64,
    /// Bytes and calls, read and written
    io: u64,
}

/// A tree of processes as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sample {
    processes: BTreeMap<u32, Process>,
    /// A thread is ready, waits for the disk, or is stopped
    is_active: bool,
}

impl Sample {
    fn take(proc: &Path, root: Pid) -> Option<Self> {
        let tree = Self::tree(proc, root);
        let (mut processes, mut is_active, mut threads) = (BTreeMap::new(), false, 0);
        for (pid, began) in tree {
            let Some(stat) = Stat::of(proc, pid).filter(|stat| stat.began == began) else { continue };
            let folder = proc.join(pid.to_string());
            let io = match fs::read_to_string(folder.join("io")) {
                Ok(io) => io,
                // Nobody has a reason to look at what has ended.
                Err(_) if stat.state == b'Z' => String::new(),
                Err(_) => return None,
            };
            let numbers = io.lines().take(4).filter_map(|line| line.split_once(": ")?.1.parse::<u64>().ok());
            processes.insert(pid, Process { began, ticks: stat.ticks, io: numbers.sum() });
            for task in fs::read_dir(folder.join("task")).ok()?.flatten() {
                threads += 1;
                let stat = fs::read_to_string(task.path().join("stat")).ok();
                let state = stat.and_then(|text| Stat::parse(&text)).map(|stat| stat.state);
                is_active |= state.is_some_and(|state| !matches!(state, b'S' | b'Z' | b'X' | b'I'));
            }
        }
        is_active |= threads > THREADS_MAX || processes.len() >= PROCESSES_MAX;
        (!processes.is_empty()).then_some(Self { processes, is_active })
    }

    /// A process and all that descend from it, parents first, each with when it began.
    fn tree(proc: &Path, root: Pid) -> Vec<(u32, u64)> {
        let Some(stat) = Stat::of(proc, root.0) else { return Vec::new() };
        let mut children: BTreeMap<u32, Vec<(u32, u64)>> = BTreeMap::new();
        for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, Stat::of(proc, pid)?))) {
                children.entry(stat.parent).or_default().push((pid, stat.began));
            }
        }
        let (mut tree, mut at) = (vec![(root.0, stat.began)], 0);
        let mut seen = BTreeSet::from([root.0]);
        while let Some((pid, _)) = tree.get(at).copied().filter(|_| tree.len() < PROCESSES_MAX) {
            tree.extend(
                children.remove(&pid).unwrap_or_default().into_iter().filter(|(pid, _)| seen.insert(*pid)),
            );
            at += 1;
        }
        tree
    }

    fn has_moved_since(&self, last: &Self) -> bool {
        let ticks = |sample: &Self| sample.processes.values().map(|process| process.ticks).sum::<u64>();
        let shape = |sample: &Self| {
            sample
                .processes
                .iter()
                .map(|(pid, process)| (*pid, process.began, process.io))
                .collect::<Vec<_>>()
        };
        // Of the last movement, not of the last look: what computes little computes enough in time.
        self.is_active || shape(self) != shape(last) || ticks(self) >= ticks(last) + TICKS
    }
}

/// Whether one of the processes waits for a lock: `1: -> FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF`.
fn waits_for_lock(locks: &str, processes: &BTreeMap<u32, Process>) -> bool {
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "->", _, _, _, pid, ..] => pid.parse().is_ok_and(|pid: u32| processes.contains_key(&pid)),
            _ => false,
        }
    })
}

/// Whether a process has a socket of IP that is not just listening.
fn has_connection(proc: &Path, pid: Pid) -> bool {
    let folder = proc.join(pid.0.to_string());
    let entries = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten().take(DESCRIPTORS_MAX);
    let own: BTreeSet<String> = entries
        .filter_map(|entry| {
            let to = fs::read_link(entry.path()).ok()?;
            Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    ["tcp", "tcp6", "udp", "udp6"].iter().any(|table| {
        let text = fs::read_to_string(folder.join("net").join(table)).unwrap_or_default();
        text.lines().skip(1).any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_listening = words.get(3) == Some(&"0A");
            !is_listening && words.get(9).is_some_and(|inode| own.contains(*inode))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};

    use super::*;

    struct Ended(Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn started(script: &str) -> Ended {
        Ended(Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap())
    }

    #[test]
    fn patience_follows_the_longest_rest_that_ended_by_itself() {
        let mut patience = Patience { least: Duration::from_secs(35), longest_rest: Duration::ZERO };
        assert_eq!(patience.now(), Duration::from_secs(35));
        patience.ended(Duration::from_secs(2));
        assert_eq!(patience.now(), Duration::from_secs(35));
        patience.ended(Duration::from_secs(20));
        patience.ended(Duration::from_secs(1));
        assert_eq!(patience.now(), Duration::from_secs(80));
        patience.ended(Duration::from_mins(5));
        assert_eq!(patience.now(), MOST);
    }

    #[test]
    fn what_computes_reads_writes_or_starts_something_moves_and_what_rests_does_not() {
        let moved = |before: &Sample, after: &Sample| after.has_moved_since(before);
        let of = |io, ticks| Sample {
            processes: BTreeMap::from([(7, Process { began: 1, ticks, io })]),
            is_active: false,
        };
        assert!(!moved(&of(1, 1), &of(1, 1)) && !moved(&of(1, 1), &of(1, 4)));
        assert!(moved(&of(1, 1), &of(2, 1)) && moved(&of(1, 1), &of(1, 6)));
        let active = Sample { is_active: true, ..of(1, 1) };
        assert!(moved(&of(1, 1), &active));
        let mut more = of(1, 1);
        more.processes.insert(8, Process { began: 1, ticks: 0, io: 0 });
        assert!(moved(&of(1, 1), &more) && moved(&more, &of(1, 1)));
    }

    #[test]
    fn a_command_without_a_connection_is_never_stuck() {
        let child = started("sleep 1000 & wait");
        let mut watch = Watch::new(Pid(child.0.id()), Duration::ZERO);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            assert_eq!(watch.check(), None);
            std::thread::sleep(Duration::from_millis(50));
        }
        // And it can be ended with what it started.
        let tree = Sample::tree(Path::new("/proc"), Pid(child.0.id()));
        assert_eq!(tree.len(), 2, "{tree:?}");
        watch.sweep();
        drop(child);
        let gone = || {
            Stat::of(Path::new("/proc"), tree[1].0)
                .is_none_or(|stat| stat.state == b'Z' || stat.began != tree[1].1)
        };
        while !gone() {
            assert!(Instant::now() < until + Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn connections_and_waits_for_locks_are_recognised() {
        let own = Pid(std::process::id());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(has_connection(Path::new("/proc"), own));
        let processes = BTreeMap::from([(88, Process { began: 1, ticks: 1, io: 1 })]);
        let locks =
            "1: FLOCK  ADVISORY  WRITE 77 fe:01:131 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF\n";
        assert!(waits_for_lock(locks, &processes));
        assert!(!waits_for_lock(&locks.replace("88", "99"), &processes));
        assert!(!waits_for_lock("1: FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF\n", &processes));
    }

    #[test]
    fn a_name_of_any_bytes_hides_no_number() {
        let text = "12 (a) b (c) S 3 12 12 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 789 1 1\n";
        assert_eq!(Stat::parse(text), Some(Stat { state: b'S', parent: 3, ticks: 11, began: 789 }));
        assert_eq!(Stat::parse("12 (a S 3"), None);
    }
}
