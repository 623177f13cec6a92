//! What was there before it could be seen: processes that ran already, their sockets. The agent
//! finds it in `/proc` and the kernel's diagnostics; here it becomes records that say so.

use std::net::{IpAddr, SocketAddr};

use model::id::{Pid, Tid, TreeId};
use model::time::{Monotonic, Ns};
use serde::{Deserialize, Serialize};

/// A process that ran already.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PreexistingProcess {
    /// Its tree
    pub root: TreeId,
    /// It is the topmost one of its tree: a command
    pub topmost: bool,
    /// When it was found, `CLOCK_MONOTONIC`, nanoseconds
    pub at_ns: Monotonic,
    /// Pid
    pub pid: Pid,
    /// Parent
    pub ppid: Pid,
    /// Real user
    pub uid: Option<u32>,
    /// The kernel's name of it
    pub comm: String,
    /// Arguments: strings that end with NUL, and how many bytes there are in all
    pub args: (Vec<u8>, usize),
    /// How long it ran already; the kernel keeps that in hundredths of a second
    pub age_ns: Option<Ns>,
}

/// A socket that was there already.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PreexistingSocket {
    /// The connection's number; 0 for UDP, which has none
    pub conn: u64,
    /// Its number among all sockets of the machine
    pub cookie: u64,
    /// The process
    pub pid: Pid,
    /// The kernel's `TCP_*` number
    pub state: u8,
    /// Local address
    pub local: SocketAddr,
    /// Remote address
    pub remote: SocketAddr,
    /// What TCP knows
    pub tcp: Tcp,
}

/// What the kernel knows of a TCP connection. How long ago something was is `None` when it never
/// was, or is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tcp {
    /// Bytes that the peer has not acknowledged
    pub unacked_bytes: u64,
    /// How often the oldest of them was retransmitted so far
    pub retries: u32,
    /// Since the last byte was sent
    pub since_sent_ns: Option<Ns>,
    /// Since the last byte was received
    pub since_received_ns: Option<Ns>,
    /// Since the peer acknowledged anything, a keepalive included
    pub since_acked_ns: Option<Ns>,
    /// Smoothed round-trip time
    pub rtt_ns: Option<Ns>,
    /// Segments retransmitted in all
    pub retransmits: u32,
    /// Payload bytes sent
    pub bytes_sent: Option<u64>,
    /// Payload bytes received
    pub bytes_received: Option<u64>,
    /// Segments received out of order
    pub out_of_order: Option<u32>,
}

/// A thread that sleeps in a file lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PreexistingLock {
    /// The process
    pub pid: Pid,
    /// The thread
    pub tid: Tid,
    /// Device of the file, as in the kernel's `s_dev`
    pub dev: u32,
    /// Its inode
    pub ino: u64,
}

/// The sockets of a tree that were there before it was followed, as they are now.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PreexistingSockets {
    /// The tree
    pub root: TreeId,
    /// When the kernel was asked, `CLOCK_MONOTONIC`, nanoseconds
    pub at_ns: Monotonic,
    /// Every one of them that is still there
    pub sockets: Vec<PreexistingSocket>,
    /// Of so many nothing is reported: there are too many
    pub unreported: u32,
}

/// A local stub resolver's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalResolver {
    /// Pid
    pub pid: Pid,
    /// The kernel's name of it
    pub comm: String,
    /// Where it is asked; an unspecified one is any
    pub addresses: Vec<IpAddr>,
}
