//! Commands that run already: which processes `/proc` has, and how they get into the maps as if
//! their beginning had been seen.
//!
//! A process is entered first, then its threads are looked at, then once more: what begins in
//! between is told by the kernel side, which knows the process, and what ends in between is found
//! to be gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::Result;
use observer_common::{ARGS_MAX, FOUND_TREES, FoundSocket as Entry, ThreadState};

use super::{Agent, sockdiag};
use crate::correlate::found::{FoundLock, FoundProcess, FoundSocket, FoundSockets};
use crate::run::procfs::{Live, Machine as _};
use crate::seam::ToWorker;
use crate::source::kernel::{FoundTask, monotonic_ns};

/// Trees that are entered; the kernel side's maps have room for as many processes.
const TREES_MAX: usize = 1024;
/// Processes of one tree that are entered.
const PROCESSES_MAX: usize = 512;
/// Sockets of one tree that are told: what fits into a message.
const SOCKETS_MAX: usize = 96;
/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 16_384;
/// `/proc/locks` is read up to here, bytes; a line is about 60.
const LOCKS_MAX: usize = 1 << 20;
/// Looks at a tree's processes: those that one begins while they are entered are found by the next.
const ROUNDS: usize = 3;
/// Where a thread sleeps that waits for a file lock.
const LOCK_WAIT: &str = "locks_lock_inode_wait";

/// `/proc/PID/stat`, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stat {
    pid: u32,
    ppid: u32,
    comm: String,
    state: char,
    /// When it began, clock ticks since the machine was started
    started: u64,
}

impl Stat {
    fn of(path: &str) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&std::fs::read(path).ok()?))
    }

    /// `4121 (go) S 4100 …`: the name may have brackets and blanks of its own.
    fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.rsplit_once(") ")?;
        let (pid, comm) = head.split_once(" (")?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            pid: pid.parse().ok()?,
            ppid: words.get(1)?.parse().ok()?,
            comm: comm.to_owned(),
            state: words.first()?.chars().next()?,
            started: words.get(19)?.parse().ok()?,
        })
    }

    /// Of that process.
    pub fn of_process(pid: u32) -> Option<Self> {
        Self::of(&format!("/proc/{pid}/stat"))
    }

    /// Its number.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// When it began, which tells it from an earlier or later one of its number.
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// A program called `go`.
    pub fn is_go(&self) -> bool {
        self.comm == "go"
    }

    /// Its end has come, and its parent has not looked.
    pub fn gone(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Every process there is.
pub fn processes() -> Vec<Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(Stat::of_process).filter(|stat| !stat.gone()).collect()
}

/// A process and everything below it, itself first.
fn tree(of: u32, processes: &[Stat]) -> Vec<&Stat> {
    let mut found: Vec<&Stat> = processes.iter().filter(|stat| stat.pid == of).collect();
    let mut known: HashSet<u32> = HashSet::from([of]);
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|stat| stat.pid) {
        found.extend(processes.iter().filter(|stat| stat.ppid == parent && known.insert(stat.pid)));
        next += 1;
    }
    found
}

/// Processes that `wanted` says of and that have no such process above them.
pub fn topmost(processes: &[Stat], wanted: impl Fn(&Stat) -> bool) -> Vec<u32> {
    let by_pid: HashMap<u32, &Stat> = processes.iter().map(|stat| (stat.pid, stat)).collect();
    let above = |stat: &Stat| {
        let mut seen = HashSet::new();
        let mut at = by_pid.get(&stat.ppid);
        while let Some(parent) = at.filter(|parent| seen.insert(parent.pid)) {
            if wanted(parent) {
                return true;
            }
            at = by_pid.get(&parent.ppid);
        }
        false
    };
    processes.iter().filter(|stat| wanted(stat) && !above(stat)).map(|stat| stat.pid).collect()
}

/// Every process behind its parent.
pub fn parents_first(mut processes: Vec<Stat>) -> Vec<Stat> {
    processes.sort_by_key(|stat| (stat.started, stat.pid));
    processes
}

/// A tree that ran already.
struct Tree {
    top: u32,
    /// When its processes were entered, nanoseconds
    since_ns: u64,
    pids: Vec<u32>,
    /// Cookies of its sockets, and the connections' numbers
    sockets: HashMap<u64, u64>,
}

/// Every tree that ran already and has not been forgotten.
#[derive(Default)]
pub struct Running {
    trees: HashMap<u32, Tree>,
    /// Trees so far
    count: u32,
    /// Connections so far
    connections: u64,
}

impl Agent {
    /// Follows a process that runs, with all that it has started. It is said to the worker before
    /// anything can be told of it.
    pub fn follow_running(&mut self, top: u32) -> Result<()> {
        let over: Vec<u32> =
            self.running.trees.keys().copied().filter(|root| !self.kernel.has_tree(*root)).collect();
        over.into_iter().for_each(|root| self.forget_running(root));
        if self.kernel.process(top).is_some() || self.running.trees.len() >= TREES_MAX {
            return Ok(());
        }
        let root = FOUND_TREES + self.running.count % (FOUND_TREES - 1);
        self.running.count += 1;
        let since_ns = monotonic_ns();
        self.kernel.begin_tree(root, top, since_ns)?;
        let mut of = Tree { top, since_ns, pids: Vec::new(), sockets: HashMap::new() };
        let mut locks = Vec::new();
        for _ in 0..ROUNDS {
            let now = processes();
            let new: Vec<&Stat> =
                tree(top, &now).into_iter().filter(|stat| !of.pids.contains(&stat.pid)).collect();
            let before = of.pids.len();
            for stat in new {
                if of.pids.len() < PROCESSES_MAX
                    && self.enter(root, stat.pid == top, since_ns, stat, &mut locks)?
                {
                    of.pids.push(stat.pid);
                }
            }
            if of.pids.len() == before {
                break;
            }
        }
        if of.pids.first() != Some(&top) {
            // It ended meanwhile, and its children are nobody's.
            of.pids.iter().for_each(|pid| self.kernel.leave(*pid));
            self.kernel.forget_tree(root);
            return Ok(());
        }
        self.enter_sockets(root, &mut of);
        self.running.trees.insert(root, of);
        if !locks.is_empty() {
            self.tell(&ToWorker::FoundLocks { at_ns: monotonic_ns(), root, locks })?;
        }
        self.tell_sockets(root)
    }

    /// Enters one process and its threads; false when the kernel side has seen its beginning.
    fn enter(
        &mut self,
        root: u32,
        topmost: bool,
        since_ns: u64,
        stat: &Stat,
        locks: &mut Vec<FoundLock>,
    ) -> Result<bool> {
        let pid = stat.pid;
        if self.kernel.process(pid).is_some() {
            return Ok(false);
        }
        // Before its first event.
        self.tell(&ToWorker::Found(Box::new(found(root, topmost, since_ns, stat))))?;
        if !self.kernel.enter(pid, root, since_ns) {
            self.tell(&ToWorker::FoundGone { root, pid })?;
            return Ok(false);
        }
        let task = |tid| FoundTask { root, pid, tid };
        // The first thread comes first and goes last: the process does not seem to end meanwhile.
        let before = threads(pid);
        for (tid, state) in &before {
            let lock = lock_of(pid, *tid);
            self.kernel.thread(task(*tid), *state, lock.map(|lock| lock.ino))?;
            locks.extend(lock);
        }
        let now = threads(pid);
        for (tid, state) in &now {
            match before.get(tid) {
                Some(former) if former == state => {}
                Some(former) => self.kernel.thread_changed(task(*tid), *former, *state)?,
                // Begun since then, or overlooked: what is known already stays as it is.
                None => self.kernel.thread(task(*tid), *state, None)?,
            }
        }
        for tid in before.keys().filter(|tid| !now.contains_key(tid)) {
            self.kernel.thread_gone(task(*tid))?;
        }
        if now.is_empty() {
            self.kernel.leave(pid);
            self.tell(&ToWorker::FoundGone { root, pid })?;
        }
        Ok(!now.is_empty())
    }

    /// Gives the sockets of a tree their numbers; those that are closed meanwhile are forgotten.
    fn enter_sockets(&mut self, root: u32, of: &mut Tree) {
        for (owner, socket) in sockets_of(of) {
            let udp = socket.udp;
            if udp && socket.remote.port() != 53 {
                continue;
            }
            self.running.connections += 1;
            // The kernel side makes numbers of time and CPU; there is no CPU 1023 but here.
            let conn = if udp { 0 } else { (of.since_ns - self.running.connections) << 10 | 0x3ff };
            let (pid, fd) = owner;
            let entry =
                Entry { conn, process_ns: of.since_ns, pid, root, fd, state: u32::from(socket.state) };
            let entered = if udp {
                self.kernel.found_socket(socket.cookie, &entry)
            } else {
                self.kernel.found_connection(socket.cookie, &entry)
            };
            if entered {
                of.sockets.insert(socket.cookie, conn);
            }
        }
    }

    /// Tells how the sockets are that were there already.
    pub fn tell_sockets(&mut self, root: u32) -> Result<()> {
        let Some(of) = self.running.trees.get(&root) else { return Ok(()) };
        let at_ns = monotonic_ns();
        let mut sockets = Vec::new();
        for ((pid, _), socket) in sockets_of(of) {
            let Some(conn) = of.sockets.get(&socket.cookie) else { continue };
            let sockdiag::Socket { cookie, state, local, remote, tcp, .. } = socket;
            sockets.push(FoundSocket { conn: *conn, cookie, pid, state, local, remote, tcp });
        }
        let untold = sockets.len().saturating_sub(SOCKETS_MAX) as u32;
        let there: HashSet<u64> = sockets.iter().map(|socket| socket.cookie).collect();
        sockets.truncate(SOCKETS_MAX);
        let told = FoundSockets { root, at_ns, sockets, untold };
        if let Some(of) = self.running.trees.get_mut(&root) {
            for (cookie, _) in of.sockets.extract_if(|cookie, _| !there.contains(cookie)) {
                self.kernel.forget_socket(cookie);
            }
        }
        self.tell(&ToWorker::FoundSockets(told))?;
        self.ended_unseen(root)
    }

    /// Processes that ended while they were entered, so that nothing told their end.
    fn ended_unseen(&mut self, root: u32) -> Result<()> {
        let Some(of) = self.running.trees.get(&root) else { return Ok(()) };
        let gone = |pid: &u32| Stat::of_process(*pid).is_none_or(|stat| stat.gone());
        let (gone, alive): (Vec<u32>, Vec<u32>) = of.pids.iter().copied().partition(gone);
        let top_gone = gone.contains(&of.top);
        for pid in gone {
            // The kernel side has told the end of one that it does not know any more.
            if self.kernel.process(pid).is_some_and(|process| process.root == root) {
                self.kernel.leave(pid);
                self.tell(&ToWorker::FoundGone { root, pid })?;
            }
        }
        if top_gone {
            self.kernel.forget_tree(root);
            self.forget_running(root);
        } else if let Some(of) = self.running.trees.get_mut(&root) {
            of.pids = alive;
        }
        Ok(())
    }

    /// Nothing more is to be told of a tree that ran already.
    pub fn forget_running(&mut self, root: u32) {
        if let Some(of) = self.running.trees.remove(&root) {
            of.sockets.keys().for_each(|cookie| self.kernel.forget_socket(*cookie));
        }
    }
}

/// A process and a descriptor of its.
type Place = (u32, i32);

/// The sockets of a tree as the kernel has them now, each with one of its places.
fn sockets_of(of: &Tree) -> Vec<(Place, sockdiag::Socket)> {
    // Processes of one tree may be in several network namespaces.
    let mut spaces: HashMap<u64, u32> = HashMap::new();
    let mut inodes: HashMap<u64, HashMap<u32, Place>> = HashMap::new();
    for pid in &of.pids {
        let Some(space) = space(*pid) else { continue };
        spaces.entry(space).or_insert(*pid);
        let places = inodes.entry(space).or_default();
        places.extend(descriptors(*pid).into_iter().map(|(inode, fd)| (inode, (*pid, fd))));
    }
    let asked = inodes.into_iter().filter(|(_, inodes)| !inodes.is_empty());
    // A namespace that cannot be asked has no sockets that are known.
    asked.flat_map(|(space, inodes)| sockdiag::of(spaces[&space], &inodes).unwrap_or_default()).collect()
}

fn found(root: u32, topmost: bool, at_ns: u64, stat: &Stat) -> FoundProcess {
    let mut args = std::fs::read(format!("/proc/{}/cmdline", stat.pid)).unwrap_or_default();
    let len = args.len();
    args.truncate(ARGS_MAX);
    FoundProcess {
        root,
        topmost,
        at_ns,
        pid: stat.pid,
        ppid: stat.ppid,
        uid: Live.status(stat.pid).map(|status| status.uid),
        comm: stat.comm.clone(),
        args: (args, len),
        age_ns: age(stat.started),
    }
}

/// How long ago something was, of which `/proc` says when it was in clock ticks.
fn age(started: u64) -> Option<u64> {
    use nix::time::{ClockId, clock_gettime};
    use nix::unistd::{SysconfVar, sysconf};
    let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    now.checked_sub(started.checked_mul(1_000_000_000)? / ticks)
}

/// What a process's threads do.
fn threads(pid: u32) -> BTreeMap<u32, ThreadState> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| Stat::of(entry.path().join("stat").to_str()?));
    let state = |stat: &Stat| match stat.state {
        // On a CPU or ready for one: the next switch tells which.
        'R' => ThreadState::Running,
        'D' => ThreadState::Disk,
        _ => ThreadState::Asleep,
    };
    stats.filter(|stat| !stat.gone()).map(|stat| (stat.pid, state(&stat))).collect()
}

/// The file lock that a thread sleeps in.
fn lock_of(pid: u32, tid: u32) -> Option<FoundLock> {
    let sleeps_in = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/wchan")).ok()?;
    if sleeps_in != LOCK_WAIT {
        return None;
    }
    let locks = std::fs::read(Path::new("/proc/locks")).ok()?;
    let text = String::from_utf8_lossy(&locks[..locks.len().min(LOCKS_MAX)]).into_owned();
    let (dev, ino) = text.lines().find_map(|line| waits(line, pid))?;
    Some(FoundLock { pid, tid, dev, ino })
}

/// The file of a line about a process that waits: `1: -> FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF`
fn waits(line: &str, waiter: u32) -> Option<(u32, u64)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "->", "FLOCK", _, _, pid, file, ..] = words[..] else { return None };
    if pid.parse() != Ok(waiter) {
        return None;
    }
    let mut parts = file.split(':');
    let mut number = |radix| u64::from_str_radix(parts.next()?, radix).ok();
    let (major, minor, ino) = (number(16)?, number(16)?, number(10)?);
    Some(((major << 20 | minor) as u32, ino))
}

/// The inodes of a process's sockets, and their descriptors.
fn descriptors(pid: u32) -> Vec<(u32, i32)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let socket = |entry: std::fs::DirEntry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((inode, entry.file_name().to_str()?.parse().ok()?))
    };
    entries.take(DESCRIPTORS_MAX).filter_map(socket).collect()
}

/// A process's network namespace.
fn space(pid: u32) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|space| space.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, ppid: u32, comm: &str) -> Stat {
        Stat { pid, ppid, comm: comm.to_owned(), state: 'S', started: 0 }
    }

    #[test]
    fn a_name_with_brackets_is_read() {
        let line = format!("77 (a) b (c)) D 5 {}123 0", "0 ".repeat(17));
        let stat = Stat::parse(&line).unwrap();
        assert_eq!((stat.pid, stat.ppid, stat.state, stat.started), (77, 5, 'D', 123));
        assert_eq!(stat.comm, "a) b (c)");
        assert_eq!(Stat::parse("77 (go) S 5 0"), None);
    }

    #[test]
    fn a_go_command_below_another_is_no_topmost_one() {
        let all =
            [stat(1, 0, "init"), stat(5, 1, "go"), stat(6, 5, "sh"), stat(7, 6, "go"), stat(8, 1, "go")];
        assert_eq!(topmost(&all, Stat::is_go), [5, 8]);
        let pids: Vec<u32> = tree(5, &all).iter().map(|stat| stat.pid).collect();
        assert_eq!(pids, [5, 6, 7]);
    }

    #[test]
    fn processes_that_are_each_others_parents_end_the_search() {
        let all = [stat(5, 6, "a"), stat(6, 5, "b")];
        assert!(topmost(&all, Stat::is_go).is_empty());
        assert_eq!(tree(5, &all).len(), 2);
    }

    #[test]
    fn the_file_that_is_waited_for_is_found_and_the_holders_line_is_not_taken() {
        let line = "1: -> FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF";
        assert_eq!(waits(line, 88), Some((0xfe << 20 | 1, 131)));
        assert_eq!(waits(line, 89), None);
        assert_eq!(waits("1: FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF", 88), None);
        assert_eq!(waits("nonsense", 88), None);
    }

    #[test]
    fn this_process_is_there_with_its_threads_and_age() {
        let own = processes().into_iter().find(|stat| stat.pid == std::process::id()).unwrap();
        assert!(threads(own.pid).values().any(|state| *state == ThreadState::Running));
        assert!(age(own.started).is_some_and(|age| age < 3600 * 1_000_000_000));
    }
}
