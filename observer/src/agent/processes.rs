//! What `/proc` has of processes: which there are, how they hang together, what their threads do and
//! wait for, which sockets they have. The words are the kernel's own, no process's, but for the name.

use model::id::{Pid, Tid};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use observer_common::ThreadState;
use pipeline::correlate::preexisting::PreexistingLock;

/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 16_384;
/// `/proc/locks` is read up to here, bytes; a line is about 60.
const LOCKS_MAX: usize = 1 << 20;
/// Where a thread sleeps that waits for a file lock.
const LOCK_WAIT: &str = "locks_lock_inode_wait";

/// `/proc/PID/stat`, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    /// Its number
    pub pid: Pid,
    /// Its parent
    pub ppid: Pid,
    /// The kernel's name of it
    pub comm: String,
    state: char,
    /// When it began, clock ticks since the machine was started
    pub started: u64,
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
            pid: Pid(pid.parse().ok()?),
            ppid: Pid(words.get(1)?.parse().ok()?),
            comm: comm.to_owned(),
            state: words.first()?.chars().next()?,
            started: words.get(19)?.parse().ok()?,
        })
    }

    /// Of that process.
    pub(super) fn of_process(pid: Pid) -> Option<Self> {
        Self::of(&format!("/proc/{pid}/stat"))
    }

    /// A program called `go`.
    pub(super) fn is_go(&self) -> bool {
        self.comm == "go"
    }

    /// Its end has come, and its parent has not looked.
    pub(super) fn gone(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Every process there is.
pub(super) fn processes() -> Vec<Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid));
    pids.filter_map(Stat::of_process).filter(|stat| !stat.gone()).collect()
}

/// A process and everything below it, itself first.
pub(super) fn tree(of: Pid, processes: &[Stat]) -> Vec<&Stat> {
    let mut found: Vec<&Stat> = processes.iter().filter(|stat| stat.pid == of).collect();
    let mut known: HashSet<Pid> = HashSet::from([of]);
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|stat| stat.pid) {
        found.extend(processes.iter().filter(|stat| stat.ppid == parent && known.insert(stat.pid)));
        next += 1;
    }
    found
}

/// Processes that `wanted` says of and that have no such process above them.
pub(super) fn topmost(processes: &[Stat], wanted: impl Fn(&Stat) -> bool) -> Vec<Pid> {
    let by_pid: HashMap<Pid, &Stat> = processes.iter().map(|stat| (stat.pid, stat)).collect();
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
pub(super) fn parents_first(mut processes: Vec<Stat>) -> Vec<Stat> {
    processes.sort_by_key(|stat| (stat.started, stat.pid));
    processes
}

/// How long ago something was, of which `/proc` says when it was in clock ticks.
pub(super) fn age(started: u64) -> Option<u64> {
    use nix::time::{ClockId, clock_gettime};
    use nix::unistd::{SysconfVar, sysconf};
    let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    now.checked_sub(started.checked_mul(1_000_000_000)? / ticks)
}

/// What a process's threads do.
pub(super) fn threads(pid: Pid) -> BTreeMap<Tid, ThreadState> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| Stat::of(entry.path().join("stat").to_str()?));
    let state = |stat: &Stat| match stat.state {
        // On a CPU or ready for one: the next switch shows which.
        'R' => ThreadState::Running,
        'D' => ThreadState::Disk,
        _ => ThreadState::Asleep,
    };
    stats.filter(|stat| !stat.gone()).map(|stat| (Tid(stat.pid.0), state(&stat))).collect()
}

/// The file lock that a thread sleeps in.
pub(super) fn lock_of(pid: Pid, tid: Tid) -> Option<PreexistingLock> {
    let sleeps_in = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/wchan")).ok()?;
    if sleeps_in != LOCK_WAIT {
        return None;
    }
    let locks = std::fs::read(Path::new("/proc/locks")).ok()?;
    let text = String::from_utf8_lossy(&locks[..locks.len().min(LOCKS_MAX)]).into_owned();
    let (dev, ino) = text.lines().find_map(|line| waits(line, pid))?;
    Some(PreexistingLock { pid, tid, dev, ino })
}

/// The file of a line about a process that waits: `1: -> FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF`
fn waits(line: &str, waiter: Pid) -> Option<(u32, u64)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "->", "FLOCK", _, _, pid, file, ..] = words[..] else { return None };
    if pid.parse() != Ok(waiter.0) {
        return None;
    }
    let mut parts = file.split(':');
    let mut number = |radix| u64::from_str_radix(parts.next()?, radix).ok();
    let (major, minor, ino) = (number(16)?, number(16)?, number(10)?);
    Some(((major << 20 | minor) as u32, ino))
}

/// The inodes of a process's sockets, and their descriptors.
pub(super) fn descriptors(pid: Pid) -> Vec<(u32, i32)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let socket = |entry: std::fs::DirEntry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((inode, entry.file_name().to_str()?.parse().ok()?))
    };
    entries.take(DESCRIPTORS_MAX).filter_map(socket).collect()
}

/// A process's network namespace.
pub(super) fn space(pid: Pid) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|space| space.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: Pid, ppid: Pid, comm: &str) -> Stat {
        Stat { pid, ppid, comm: comm.to_owned(), state: 'S', started: 0 }
    }

    #[test]
    fn a_name_with_brackets_is_read() {
        let line = format!("77 (a) b (c)) D 5 {}123 0", "0 ".repeat(17));
        let stat = Stat::parse(&line).unwrap();
        assert_eq!((stat.pid, stat.ppid, stat.state, stat.started), (Pid(77), Pid(5), 'D', 123));
        assert_eq!(stat.comm, "a) b (c)");
        assert_eq!(Stat::parse("77 (go) S 5 0"), None);
    }

    #[test]
    fn a_go_command_below_another_is_no_topmost_one() {
        let all = [
            stat(Pid(1), Pid(0), "init"),
            stat(Pid(5), Pid(1), "go"),
            stat(Pid(6), Pid(5), "sh"),
            stat(Pid(7), Pid(6), "go"),
            stat(Pid(8), Pid(1), "go"),
        ];
        assert_eq!(topmost(&all, Stat::is_go), [5, 8].map(Pid));
        let pids: Vec<Pid> = tree(Pid(5), &all).iter().map(|stat| stat.pid).collect();
        assert_eq!(pids, [5, 6, 7].map(Pid));
    }

    #[test]
    fn processes_that_are_each_others_parents_end_the_search() {
        let all = [stat(Pid(5), Pid(6), "a"), stat(Pid(6), Pid(5), "b")];
        assert_eq!(topmost(&all, Stat::is_go).len(), 0);
        assert_eq!(tree(Pid(5), &all).len(), 2);
    }

    #[test]
    fn the_file_that_is_waited_for_is_found_and_the_holders_line_is_not_taken() {
        let line = "1: -> FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF";
        assert_eq!(waits(line, Pid(88)), Some((0xfe << 20 | 1, 131)));
        assert_eq!(waits(line, Pid(89)), None);
        assert_eq!(waits("1: FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF", Pid(88)), None);
        assert_eq!(waits("nonsense", Pid(88)), None);
    }

    #[test]
    fn this_process_is_there_with_its_threads_and_age() {
        let own = processes().into_iter().find(|stat| stat.pid == Pid(std::process::id())).unwrap();
        assert!(threads(own.pid).values().any(|state| *state == ThreadState::Running));
        assert!(age(own.started).is_some_and(|age| age < 3600 * 1_000_000_000));
    }
}
