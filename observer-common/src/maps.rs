//! Values of the maps that user space reads or fills.

use crate::TreeTimes;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A tree of processes, by its number (`Header::root`).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tree {
    /// Threads by state, packed so that one atomic addition moves a thread: on a CPU in bits
    /// 0 to 20, ready in 21 to 41, in uninterruptible sleep in 42 to 62
    pub threads: u64,
    /// What the tree does since when: nanoseconds shifted left by [`SINCE_SHIFT`], and a
    /// [`ThreadState`]. One word, so that one swap closes one account and opens the next
    pub since: u64,
    /// Accounts up to then
    pub times: TreeTimes,
    /// Its topmost process
    pub pid: u64,
}
/// Bits of [`Tree::since`] that are the state.
pub const SINCE_SHIFT: u32 = 2;

/// A process that is followed, by pid.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Process {
    /// The tree it belongs to
    pub root: u32,
    /// [`PROCESS_HELD`]
    pub flags: u32,
    /// When it was first followed, or last called exec (which closes descriptors silently),
    /// nanoseconds; reports former descriptors of the same number apart
    pub since_ns: u64,
    /// Threads that are followed
    pub threads: u64,
    /// CPU time of its threads that ended, nanoseconds
    pub cpu_ns: u64,
}
/// `Process`: held before its first exec; the tree's accounts begin with that exec.
pub const PROCESS_HELD: u32 = 1;

/// [`Process::root`] of a local stub resolver: no tree, only what it sends to and receives from
/// name servers is reported.
pub const LOCAL_RESOLVERS: u32 = u32::MAX;

/// Whether a program, by the kernel's name of it, answers the queries of containers: the name server of
/// podman's networks, and those that carry the packets of a container without privileges. It is followed
/// from its start on: what goes through it first is the first query of a container.
#[inline]
pub const fn is_containers_resolver(comm: &[u8; 16]) -> bool {
    matches!(comm, [b'a', b'a', b'r', b'd', b'v', b'a', b'r', b'k', b'-', b'd', b'n', b's', 0, ..])
        || matches!(comm, [b's', b'l', b'i', b'r', b'p', b'4', b'n', b'e', b't', b'n', b's', 0, ..])
        || matches!(comm, [b'p', b'a', b's', b't', b'a', 0 | b'.', ..])
        || matches!(comm, [b'p', b'a', b's', b's', b't', 0 | b'.', ..])
}

/// A thread that is followed, by tid.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Thread {
    /// The tree it belongs to
    pub root: u32,
    /// Its process
    pub pid: u32,
    /// A [`ThreadState`]
    pub state: u32,
    /// Zero
    pub pad: u32,
    /// Inode of the file lock it waits for, 0 when it waits for none
    pub lock_ino: u64,
    /// When it was last put on a CPU, nanoseconds
    pub on_cpu_ns: u64,
    /// CPU time so far, nanoseconds
    pub cpu_ns: u64,
}

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ThreadState {
    /// Waits for an event
    Asleep = 0,
    /// On a CPU
    Running = 1,
    /// Waits for a CPU
    Ready = 2,
    /// In uninterruptible sleep
    Disk = 3,
}

impl ThreadState {
    /// What a thread in this state adds to [`Tree::threads`].
    pub const fn weight(self) -> u64 {
        match self {
            Self::Asleep => 0,
            Self::Running => 1,
            Self::Ready => 1 << 21,
            Self::Disk => 1 << 42,
        }
    }

    /// From the number that [`Thread::state`] or [`Tree::since`] holds.
    pub const fn from_bits(bits: u64) -> Self {
        match bits {
            1 => Self::Running,
            2 => Self::Ready,
            3 => Self::Disk,
            _ => Self::Asleep,
        }
    }

    /// The state of a tree whose threads add up to `threads`: the busiest of theirs.
    pub const fn of_tree(threads: u64) -> Self {
        const FIELD: u64 = (1 << 21) - 1;
        if threads & FIELD != 0 {
            Self::Running
        } else if (threads >> 21) & FIELD != 0 {
            Self::Ready
        } else if (threads >> 42) & FIELD != 0 {
            Self::Disk
        } else {
            Self::Asleep
        }
    }
}

/// A socket that was there before its process was followed, by its cookie: the kernel side takes
/// it for its own with the first event that it has of it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PreexistingSocket {
    /// The connection's number; 0 for UDP to a name server
    pub conn: u64,
    /// `Process::since_ns` of the process
    pub process_ns: u64,
    /// The process
    pub pid: u32,
    /// Its tree
    pub root: u32,
    /// The descriptor
    pub fd: i32,
    /// The kernel's `TCP_*` number
    pub state: u32,
}

/// A file descriptor of a process.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FdKey {
    /// The process
    pub pid: u32,
    /// The descriptor
    pub fd: i32,
}

/// The TCP connection that a descriptor was connected as. What it became after it was closed does
/// not matter: it is asked for only when a TLS handshake begins on it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connected {
    /// The connection's number
    pub conn: u64,
    /// `Process::since_ns` of the process
    pub process_ns: u64,
}

/// A program file, as the kernel numbers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProgramKey {
    /// Inode
    pub ino: u64,
    /// Device, as in the kernel's `s_dev`
    pub dev: u32,
    /// Zero
    pub pad: u32,
}

/// Trees that user space begins are numbered from here, the kernel side's from 2.
pub const PREEXISTING_TREES: u32 = 1 << 31;

/// What the agent says of a thread that is not there any more, in place of a [`ThreadState`].
pub const THREAD_GONE: u64 = 255;

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
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub mm_env_start: u32,
    pub mm_env_end: u32,
    pub task_fs: u32,
    pub fs_pwd: u32,
    pub fs_root: u32,
    pub path_dentry: u32,
    pub dentry_inode: u32,
    pub task_nsproxy: u32,
    pub nsproxy_mounts: u32,
    pub mounts_ns: u32,
    pub ns_inum: u32,
    pub task_cpus: u32,
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
    pub sock_cookie: u32,
    pub tcp_srtt_us: u32,
    pub tcp_snd_wnd: u32,
    pub tcp_rcv_wnd: u32,
    pub tcp_bytes_sent: u32,
    pub tcp_bytes_received: u32,
    pub tcp_total_retrans: u32,
    pub tcp_rcv_ooopack: u32,
    pub tcp_dsack_dups: u32,
    pub skb_data: u32,
    pub sock_protocol: u32,
    pub task_files: u32,
    pub files_fdt: u32,
    pub fdtable_max: u32,
    pub fdtable_fd: u32,
    pub file_private: u32,
    pub inode_mode: u32,
    pub socket_sk: u32,
    pub fib6_type: u32,
    pub fib6_info: u32,
    pub fib6_metric: u32,
    /// Not an offset: how many arguments `tcp_retransmit_skb` has; the third is an error
    pub retransmit_args: u32,
}

impl Offsets {
    /// Nothing is known.
    pub const UNKNOWN: Self = {
        let u = crate::UNKNOWN32;
        Self {
            task_pid: u,
            task_tgid: u,
            task_exit_code: u,
            task_real_parent: u,
            task_mm: u,
            mm_arg_start: u,
            mm_arg_end: u,
            mm_env_start: u,
            mm_env_end: u,
            task_fs: u,
            fs_pwd: u,
            fs_root: u,
            path_dentry: u,
            dentry_inode: u,
            task_nsproxy: u,
            nsproxy_mounts: u,
            mounts_ns: u,
            ns_inum: u,
            task_cpus: u,
            binprm_file: u,
            file_inode: u,
            inode_ino: u,
            inode_sb: u,
            super_dev: u,
            sock_family: u,
            sock_dport: u,
            sock_num: u,
            sock_daddr: u,
            sock_rcv_saddr: u,
            sock_v6_daddr: u,
            sock_v6_rcv_saddr: u,
            sock_state: u,
            sock_err: u,
            sock_cookie: u,
            tcp_srtt_us: u,
            tcp_snd_wnd: u,
            tcp_rcv_wnd: u,
            tcp_bytes_sent: u,
            tcp_bytes_received: u,
            tcp_total_retrans: u,
            tcp_rcv_ooopack: u,
            tcp_dsack_dups: u,
            skb_data: u,
            sock_protocol: u,
            task_files: u,
            files_fdt: u,
            fdtable_max: u,
            fdtable_fd: u,
            file_private: u,
            inode_mode: u,
            socket_sk: u,
            fib6_type: u,
            fib6_info: u,
            fib6_metric: u,
            retransmit_args: u,
        }
    };
}

/// Upper half of the cookie of a probe on a Go binary: which place it is. `clientHandshake` begins.
pub const PLACE_HANDSHAKE: u32 = 1;
/// `clientHandshake` returns
pub const PLACE_HANDSHAKE_RETURN: u32 = 2;
/// `Write` begins
pub const PLACE_WRITE: u32 = 3;
/// A record was decrypted; the lower half says where from the stack pointer its connection lies
pub const PLACE_RECORD: u32 = 4;
/// `Close` begins
pub const PLACE_CLOSE: u32 = 5;
/// `Read` begins
pub const PLACE_READ: u32 = 6;
/// `Read` returns
pub const PLACE_READ_RETURN: u32 = 7;
/// In the lower half of the cookie of a place where something begins: it lies on the jump of the stack check
/// (arm64). Where connections lie is a multiple of 8.
pub const AT_STACK_CHECK: u32 = 1;
