//! What user space enters in the kernel side's maps about processes that run already: theirs are
//! the same entries as if their beginning had been seen.

use anyhow::{Context as _, Result};
use aya::maps::{HashMap as BpfHashMap, Map};
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _};
use observer_common::{
    Connected, FdKey, PreexistingSocket, Process, ProgramKey, SINCE_SHIFT, THREAD_GONE, ThreadState, Tree,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{Kernel, insert};
use model::id::{Pid, Tid, TreeId};
use model::time::Monotonic;

/// A thread that was there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PreexistingTask {
    /// Its tree
    pub root: TreeId,
    /// Its process
    pub pid: Pid,
    /// Its number
    pub tid: Tid,
}

/// `BPF_NOEXIST`: only what is not there.
const NEW: u64 = 1;

impl Kernel {
    /// Begins a tree with no thread in it yet.
    pub fn begin_tree(&mut self, root: TreeId, pid: Pid, now: Monotonic) -> Result<()> {
        let tree = Tree { since: now.0 << SINCE_SHIFT, pid: u64::from(pid), ..Tree::default() };
        let map = self.ebpf.map_mut("TREES").context("the object has no map TREES")?;
        insert::<{ size_of::<Tree>() }>(map, root.0, tree.as_bytes()).context("there is no room for it")
    }

    /// Follows a process. False when it is followed already, or there is no room.
    pub fn enter(&mut self, pid: Pid, root: TreeId, now: Monotonic) -> bool {
        let process = Process { root: root.0, since_ns: now.0, ..Process::default() };
        self.put_new("PROCESSES", pid.0.to_ne_bytes(), process.as_bytes())
    }

    /// Takes back what [`Kernel::enter`] did.
    pub fn leave(&mut self, pid: Pid) {
        if let Some(map) = self.ebpf.map_mut("PROCESSES") {
            let _ = super::remove::<{ size_of::<Process>() }>(map, pid.0); // it may have ended
        }
    }

    /// Whether a tree has not ended.
    pub fn has_tree(&self, root: TreeId) -> bool {
        let map = self.ebpf.map("TREES");
        let map = map.and_then(|map| BpfHashMap::<_, u32, [u8; size_of::<Tree>()]>::try_from(map).ok());
        map.is_some_and(|map| map.get(&root.0, 0).is_ok())
    }

    /// Ends a tree that has no process.
    pub fn forget_tree(&mut self, root: TreeId) {
        if let Some(map) = self.ebpf.map_mut("TREES") {
            let _ = super::remove::<{ size_of::<Tree>() }>(map, root.0); // its last process took it along
        }
    }

    /// A thread of a process that was entered, and the inode of the file lock it waits for.
    pub fn thread(&self, task: PreexistingTask, state: ThreadState, lock: Option<u64>) -> Result<()> {
        self.run_preexisting_thread(task, [state as u64, lock.unwrap_or(0), THREAD_GONE])
    }

    /// A thread that was entered in the state `before` does something else now.
    pub fn thread_changed(&self, task: PreexistingTask, before: ThreadState, now: ThreadState) -> Result<()> {
        self.run_preexisting_thread(task, [now as u64, 0, before as u64])
    }

    /// A thread has gone without a trace.
    pub fn thread_gone(&self, task: PreexistingTask) -> Result<()> {
        self.run_preexisting_thread(task, [THREAD_GONE, 0, 0])
    }

    fn run_preexisting_thread(&self, task: PreexistingTask, what: [u64; 3]) -> Result<()> {
        let PreexistingTask { root, pid, tid } = task;
        let [state, lock, before] = what;
        let mut options = RawTracePointRunOptions::new();
        options.args[..6].copy_from_slice(&[root.into(), pid.into(), tid.into(), state, lock, before]);
        let program = self
            .ebpf
            .program("preexisting_thread")
            .context("the object has no program preexisting_thread")?;
        let program: &RawTracePoint = program.try_into()?;
        program.test_run(options).context("cannot enter a thread that runs already")?;
        Ok(())
    }

    /// A TCP socket that was there before its process was followed. False when the kernel side has
    /// seen its beginning after all.
    pub fn preexisting_connection(&mut self, cookie: u64, socket: &PreexistingSocket) -> bool {
        let key = FdKey { pid: socket.pid, fd: socket.fd };
        let value = Connected { conn: socket.conn, process_ns: socket.process_ns };
        let seen = self.connected(key).is_some_and(|known| known.process_ns == socket.process_ns);
        !seen
            && self.put_any("CONNECTIONS", key.as_bytes(), value.as_bytes())
            && self.preexisting_socket(cookie, socket)
    }

    fn connected(&self, key: FdKey) -> Option<Connected> {
        let map = BpfHashMap::<_, [u8; 8], [u8; 16]>::try_from(self.ebpf.map("CONNECTIONS")?).ok()?;
        Connected::read_from_bytes(&map.get(&key.as_bytes().try_into().ok()?, 0).ok()?).ok()
    }

    /// A socket whose next event is to be taken for its own. False when there is no room.
    pub fn preexisting_socket(&mut self, cookie: u64, socket: &PreexistingSocket) -> bool {
        self.put_any("PREEXISTING", &cookie.to_ne_bytes(), socket.as_bytes())
    }

    /// The socket was closed before it had an event, or has had one.
    pub fn forget_socket(&mut self, cookie: u64) {
        let map = self.ebpf.map_mut("PREEXISTING");
        let map = map
            .and_then(|map| BpfHashMap::<_, u64, [u8; size_of::<PreexistingSocket>()]>::try_from(map).ok());
        if let Some(mut map) = map {
            let _ = map.remove(&cookie); // its first event took the entry along
        }
    }

    /// What is known of a program: to be followed, or until when it is not asked about again.
    pub fn program(&mut self, program: ProgramKey, not_until: Option<Monotonic>) {
        // Without room it is asked about again.
        let _ = self.put_any("PROGRAMS", program.as_bytes(), &not_until.unwrap_or_default().0.to_ne_bytes());
    }

    fn put_new(&mut self, name: &str, key: [u8; 4], value: &[u8]) -> bool {
        put::<4, { size_of::<Process>() }>(self.ebpf.map_mut(name), &key, value, NEW)
    }

    fn put_any(&mut self, name: &str, key: &[u8], value: &[u8]) -> bool {
        let map = self.ebpf.map_mut(name);
        match name {
            "PREEXISTING" => put::<8, { size_of::<PreexistingSocket>() }>(map, key, value, 0),
            "CONNECTIONS" => put::<8, { size_of::<Connected>() }>(map, key, value, 0),
            _ => put::<16, 8>(map, key, value, 0),
        }
    }
}

fn put<const K: usize, const V: usize>(map: Option<&mut Map>, key: &[u8], value: &[u8], flags: u64) -> bool {
    let map = map.and_then(|map| BpfHashMap::<_, [u8; K], [u8; V]>::try_from(map).ok());
    match (map, <[u8; K]>::try_from(key), <[u8; V]>::try_from(value)) {
        (Some(mut map), Ok(key), Ok(value)) => map.insert(&key, &value, flags).is_ok(),
        _ => false,
    }
}
