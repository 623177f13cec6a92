//! Sockets and the descriptors they hang on: the values of `SOCKS` and `FDS`.

use observer_common::Process;

use crate::FDS;
use crate::task::Task;

/// A TCP socket of a tree.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Sock {
    /// Its number
    pub conn: u64,
    /// When its counters were last sent
    pub told_ns: u64,
    /// The process that connected
    pub pid: u32,
    /// Its thread
    pub tid: u32,
    /// The tree
    pub root: u32,
    /// The descriptor, -1 when not seen
    pub fd: i32,
    /// Segments out of order when they were last sent
    pub out_of_order: u32,
    /// Bit 0: the peer's window was 0, bit 1: ours
    pub zero: u32,
}

/// A descriptor of a process.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct FdKey {
    pub pid: u32,
    pub fd: i32,
}

/// What a descriptor's bytes are watched for.
pub mod kind {
    /// A name server over UDP
    pub const DNS_UDP: u32 = 1;
    /// A name server over TCP
    pub const DNS_TCP: u32 = 2;
    /// The hellos at the beginning of a TCP connection
    pub const HELLO: u32 = 3;
    /// Nothing any more; still says which connection it is
    pub const QUIET: u32 = 4;
}

/// A descriptor whose bytes matter.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Fd {
    /// One of [`kind`]
    pub kind: u32,
    pub family: u16,
    /// The peer's, host order
    pub port: u16,
    /// 0 for UDP
    pub conn: u64,
    /// `Process::since_ns` of the process that opened it
    pub process_ns: u64,
    pub remote: [u8; 16],
    pub generation: u32,
    /// Bytes and calls looked at, for hellos
    pub sent: u32,
    pub received: u32,
    pub sends: u16,
    pub receives: u16,
}

impl FdKey {
    #[inline(always)]
    pub fn new(task: Task, fd: i32) -> Self {
        Self { pid: task.pid, fd }
    }
}

/// The entry of a descriptor, unless it is a former process's of the same pid.
#[inline(always)]
pub fn get(task: Task, process: *const Process, fd: i32) -> Option<*mut Fd> {
    let entry = FDS.get_ptr_mut(FdKey::new(task, fd))?;
    // SAFETY: values of the maps.
    let same = unsafe { (*entry).process_ns == (*process).since_ns };
    same.then_some(entry)
}
