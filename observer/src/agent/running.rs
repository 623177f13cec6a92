//! Commands that run already: how they get into the maps as if their beginning had been seen.
//!
//! A process is entered first, then its threads are looked at, then once more: what begins in
//! between is reported by the kernel side, which knows the process, and what ends in between is found
//! to be gone.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use anyhow::Result;
use observer_common::{ARGS_MAX, PREEXISTING_TREES, PreexistingSocket as Entry};
use pipeline::correlate::preexisting::{
    PreexistingLock, PreexistingProcess, PreexistingSocket, PreexistingSockets,
};

use super::processes::{Stat, age, descriptors, lock_of, processes, space, threads, tree};
use super::{Agent, quota, sockdiag};
use crate::kernel::{PreexistingTask, monotonic_ns};
use crate::run::procfs::{Live, Machine as _};
use crate::seam::ToWorker;
use model::id::{Pid, TreeId};
use model::time::Monotonic;

/// Trees that are entered; the kernel side's maps have room for as many processes.
const TREES_MAX: usize = 1024;
/// Processes of one tree that are entered.
const PROCESSES_MAX: usize = 512;
/// Sockets of one tree that are reported: what fits into a message.
const SOCKETS_MAX: usize = 96;
/// Waits for file locks that are reported of one tree: what each waits for takes a look at all locks.
const LOCKS_MAX: usize = 512;
/// Of them in one message.
const LOCKS_IN_MESSAGE: usize = 128;
/// Looks at a tree's processes: those that one begins while they are entered are found by the next.
const ROUNDS: usize = 3;

/// A tree that ran already.
struct Tree {
    top: Pid,
    /// Whose it is
    uid: u32,
    /// When its processes were entered, nanoseconds
    since_ns: Monotonic,
    pids: Vec<Pid>,
    /// Cookies of its sockets, and the connections' numbers
    sockets: HashMap<u64, u64>,
}

/// Every tree that ran already and has not been forgotten.
#[derive(Default)]
pub(super) struct Running {
    trees: HashMap<TreeId, Tree>,
    /// Trees so far
    count: u32,
    /// Connections so far
    connections: u64,
    /// It was said that the kernel does not report sockets
    complained: Cell<bool>,
}

impl Agent {
    /// Follows a process that runs, with all that it has started. It is said to the worker before
    /// anything can be reported of it.
    pub(super) fn follow_running(&mut self, top: Pid) -> Result<()> {
        let over: Vec<TreeId> =
            self.running.trees.keys().copied().filter(|root| !self.kernel.has_tree(*root)).collect();
        over.into_iter().for_each(|root| self.forget_running(root));
        if self.kernel.process(top).is_some() {
            return Ok(());
        }
        let uid = Live.status(top).map_or(u32::MAX, |status| status.uid);
        if !quota::has_room(self.running.trees.values().map(|tree| tree.uid), uid, TREES_MAX) {
            return self.report(&ToWorker::Overlooked { processes: 1 });
        }
        let root = TreeId(PREEXISTING_TREES + self.running.count % (PREEXISTING_TREES - 1));
        self.running.count += 1;
        let since_ns = monotonic_ns();
        self.kernel.begin_tree(root, top, since_ns)?;
        let mut of = Tree { top, uid, since_ns, pids: Vec::new(), sockets: HashMap::new() };
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
        if of.pids.len() >= PROCESSES_MAX {
            let overlooked = tree(top, &processes()).len().saturating_sub(of.pids.len()) as u32;
            self.report(&ToWorker::Overlooked { processes: overlooked })?;
        }
        self.enter_sockets(root, &mut of);
        self.running.trees.insert(root, of);
        let at_ns = monotonic_ns();
        for locks in locks.chunks(LOCKS_IN_MESSAGE) {
            self.report(&ToWorker::PreexistingLocks { at_ns, root, locks: locks.to_vec() })?;
        }
        self.emit_sockets(root)
    }

    /// Enters one process and its threads; false when the kernel side has seen its beginning.
    fn enter(
        &mut self,
        root: TreeId,
        topmost: bool,
        since_ns: Monotonic,
        stat: &Stat,
        locks: &mut Vec<PreexistingLock>,
    ) -> Result<bool> {
        let pid = stat.pid;
        if self.kernel.process(pid).is_some() {
            return Ok(false);
        }
        // Before its first event.
        self.report(&ToWorker::Process(Box::new(preexisting(root, topmost, since_ns, stat))))?;
        if !self.kernel.enter(pid, root, since_ns) {
            self.report(&ToWorker::PreexistingGone { root, pid })?;
            return Ok(false);
        }
        let task = |tid| PreexistingTask { root, pid, tid };
        // The first thread comes first and goes last: the process does not seem to end meanwhile.
        let before = threads(pid);
        for (tid, state) in &before {
            let lock = (locks.len() < LOCKS_MAX).then(|| lock_of(pid, *tid)).flatten();
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
            self.report(&ToWorker::PreexistingGone { root, pid })?;
        }
        Ok(!now.is_empty())
    }

    /// Gives the sockets of a tree their numbers; those that are closed meanwhile are forgotten.
    fn enter_sockets(&mut self, root: TreeId, of: &mut Tree) {
        for (owner, socket) in self.sockets_of(of) {
            let udp = socket.udp;
            if udp && socket.remote.port() != 53 {
                continue;
            }
            self.running.connections += 1;
            // The kernel side makes numbers of time and CPU; there is no CPU 1023 but here.
            let conn = if udp { 0 } else { (of.since_ns.0 - self.running.connections) << 10 | 0x3ff };
            let (pid, fd) = owner;
            let entry = Entry {
                conn,
                process_ns: of.since_ns.0,
                pid: pid.0,
                root: root.0,
                fd,
                state: u32::from(socket.state),
            };
            let entered = if udp {
                self.kernel.preexisting_socket(socket.cookie, &entry)
            } else {
                self.kernel.preexisting_connection(socket.cookie, &entry)
            };
            if entered {
                of.sockets.insert(socket.cookie, conn);
            }
        }
    }

    /// The sockets of a tree as the kernel has them now, each with one of its places.
    fn sockets_of(&self, of: &Tree) -> Vec<(Place, sockdiag::Socket)> {
        // Processes of one tree may be in several network namespaces.
        let mut spaces: HashMap<u64, (Pid, HashMap<u32, Place>)> = HashMap::new();
        for pid in &of.pids {
            let Some(space) = space(*pid) else { continue };
            let (_, places) = spaces.entry(space).or_insert_with(|| (*pid, HashMap::new()));
            places.extend(descriptors(*pid).into_iter().map(|(inode, fd)| (inode, (*pid, fd))));
        }
        let asked = spaces.into_values().filter(|(_, places)| !places.is_empty());
        let answer = |(pid, places): (Pid, HashMap<u32, Place>)| {
            sockdiag::of(pid, &places).unwrap_or_else(|error| {
                self.not_done.lookup_failed();
                if !self.running.complained.replace(true) {
                    crate::say::with_hint(
                        &format!("the sockets of commands that run already are not known: {error}"),
                        "load the kernel's socket diagnostics (modules tcp_diag, udp_diag)",
                    );
                }
                Vec::new()
            })
        };
        asked.flat_map(answer).collect()
    }

    /// Shows how the sockets are that were there already.
    pub(super) fn emit_sockets(&mut self, root: TreeId) -> Result<()> {
        let Some(of) = self.running.trees.get(&root) else { return Ok(()) };
        let at_ns = monotonic_ns();
        let mut sockets = Vec::new();
        for ((pid, _), socket) in self.sockets_of(of) {
            let Some(conn) = of.sockets.get(&socket.cookie) else { continue };
            let sockdiag::Socket { cookie, state, local, remote, tcp, .. } = socket;
            sockets.push(PreexistingSocket { conn: *conn, cookie, pid, state, local, remote, tcp });
        }
        let unreported = sockets.len().saturating_sub(SOCKETS_MAX) as u32;
        let there: HashSet<u64> = sockets.iter().map(|socket| socket.cookie).collect();
        sockets.truncate(SOCKETS_MAX);
        let reported = PreexistingSockets { root, at_ns, sockets, unreported };
        if let Some(of) = self.running.trees.get_mut(&root) {
            for (cookie, _) in of.sockets.extract_if(|cookie, _| !there.contains(cookie)) {
                self.kernel.forget_socket(cookie);
            }
        }
        self.report(&ToWorker::PreexistingSockets(reported))?;
        self.ended_unseen(root)
    }

    /// Processes that ended while they were entered, so that nothing reported their end.
    fn ended_unseen(&mut self, root: TreeId) -> Result<()> {
        let Some(of) = self.running.trees.get(&root) else { return Ok(()) };
        let gone = |pid: &Pid| Stat::of_process(*pid).is_none_or(|stat| stat.gone());
        let (gone, alive): (Vec<Pid>, Vec<Pid>) = of.pids.iter().copied().partition(gone);
        let top_gone = gone.contains(&of.top);
        for pid in gone {
            // The kernel side has reported the end of one that it does not know any more.
            if self.kernel.process(pid).is_some_and(|process| process.root == root.0) {
                self.kernel.leave(pid);
                self.report(&ToWorker::PreexistingGone { root, pid })?;
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

    /// Nothing more is to be reported of a tree that ran already.
    pub(super) fn forget_running(&mut self, root: TreeId) {
        if let Some(of) = self.running.trees.remove(&root) {
            of.sockets.keys().for_each(|cookie| self.kernel.forget_socket(*cookie));
        }
    }
}

/// A process and a descriptor of its.
type Place = (Pid, i32);

fn preexisting(root: TreeId, topmost: bool, at_ns: Monotonic, stat: &Stat) -> PreexistingProcess {
    let mut args = std::fs::read(format!("/proc/{}/cmdline", stat.pid)).unwrap_or_default();
    let len = args.len();
    args.truncate(ARGS_MAX);
    PreexistingProcess {
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
