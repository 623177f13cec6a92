//! Values of the maps that user space reads or fills.

use crate::TreeTimes;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A tree of processes, by the pid of its root.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tree {
    /// Threads by state, packed so that one atomic addition moves a thread: on a CPU in bits
    /// 0 to 20, ready in 21 to 41, in uninterruptible sleep in 42 to 62
    pub threads: u64,
    /// When the state last changed, nanoseconds
    pub since_ns: u64,
    /// Accounts up to `since_ns`
    pub times: TreeTimes,
    /// Processes alive
    pub processes: u64,
}

/// Why events were lost; index of the `LOST` counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Lost {
    /// The ring was full
    Ring = 0,
    /// A map was full: threads, processes
    Tasks = 1,
    /// A map was full: sockets, descriptors
    Sockets = 2,
    /// A map was full: TLS connections, streams
    Streams = 3,
    /// User memory could not be read
    Memory = 4,
}
/// How many [`Lost`] counters there are.
pub const LOST_COUNTERS: u32 = 5;

/// Offsets in kernel structures, from BTF. [`crate::UNKNOWN32`] where this kernel has no such
/// member.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "each is named after structure and member")]
pub struct Offsets {
    pub task_pid: u32,
    pub task_tgid: u32,
    pub task_exit_code: u32,
    pub task_real_parent: u32,
    pub task_mm: u32,
    pub task_signal: u32,
    pub task_se_sum_exec_runtime: u32,
    pub signal_live: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub binprm_file: u32,
    pub file_inode: u32,
    pub inode_ino: u32,
    pub inode_sb: u32,
    pub super_dev: u32,
    pub sock_family: u32,
    pub sock_dport: u32,
    pub sock_num: u32,
    pub sock_daddr: u32,
    pub sock_rcv_saddr: u32,
    pub sock_v6_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_state: u32,
    pub sock_err: u32,
    pub tcp_srtt_us: u32,
    pub tcp_snd_wnd: u32,
    pub tcp_rcv_wnd: u32,
    pub tcp_bytes_sent: u32,
    pub tcp_bytes_received: u32,
    pub tcp_total_retrans: u32,
    pub tcp_rcv_ooopack: u32,
    /// `filelock:flock_lock_inode` record: from its tracefs format
    pub flock_ino: u32,
    pub flock_dev: u32,
    pub flock_blocker: u32,
    pub flock_ret: u32,
}
