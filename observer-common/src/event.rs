//! Events on the ring. Each begins with [`Header`]; `Header::kind` names the struct that follows
//! it, and `Header::data` bytes after that struct are its variable part. A record may be longer
//! than that: what lies behind has no meaning.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What kind of event a record holds. On the wire it is a plain `u16`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// [`Fork`]
    Fork = 1,
    /// [`Exec`], then the argument block (NUL separated)
    Exec = 2,
    /// [`Exit`]
    Exit = 3,
    /// [`Interval`]
    Interval = 4,
    /// [`SockState`]
    SockState = 5,
    /// [`SockMark`]
    SockMark = 6,
    /// [`TcpInfo`]
    TcpInfo = 7,
    /// [`Payload`], then bytes of a DNS message
    Dns = 8,
    /// [`Payload`], then bytes of a TLS hello
    Hello = 9,
    /// [`Handshake`]
    Handshake = 10,
    /// [`Frame`], then the payload of a copied frame or a slice of it
    Frame = 11,
    /// [`Http1`], then bytes of a head
    Http1 = 12,
    /// [`Lock`]
    Lock = 13,
    /// [`Began`], then a part of the environment (NUL behind each variable)
    Began = 14,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Fork,
        Self::Exec,
        Self::Exit,
        Self::Interval,
        Self::SockState,
        Self::SockMark,
        Self::TcpInfo,
        Self::Dns,
        Self::Hello,
        Self::Handshake,
        Self::Frame,
        Self::Http1,
        Self::Lock,
        Self::Began,
    ];

    /// The kind of that number, from 1 on without a gap.
    pub const fn of(raw: u16) -> Option<Self> {
        match raw.checked_sub(1) {
            Some(at) if (at as usize) < Self::ALL.len() => Some(Self::ALL[at as usize]),
            _ => None,
        }
    }

    /// Bytes of the struct that follows the header.
    pub const fn size(self) -> usize {
        match self {
            Self::Fork => size_of::<Fork>(),
            Self::Exec => size_of::<Exec>(),
            Self::Exit => size_of::<Exit>(),
            Self::Interval => size_of::<Interval>(),
            Self::SockState => size_of::<SockState>(),
            Self::SockMark => size_of::<SockMark>(),
            Self::TcpInfo => size_of::<TcpInfo>(),
            Self::Dns | Self::Hello => size_of::<Payload>(),
            Self::Handshake => size_of::<Handshake>(),
            Self::Frame => size_of::<Frame>(),
            Self::Http1 => size_of::<Http1>(),
            Self::Lock => size_of::<Lock>(),
            Self::Began => size_of::<Began>(),
        }
    }
}

/// Leads every event.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// A [`Kind`]
    pub kind: u16,
    /// Bits that belong to the kind
    pub flags: u16,
    /// The process (user space's pid) in the initial pid namespace
    pub pid: u32,
    /// Its thread
    pub tid: u32,
    /// The tree it belongs to: a number that is never used again
    pub root: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds
    pub at_ns: u64,
    /// Bytes of the variable part
    pub data: u32,
    /// Zero
    pub pad: u32,
}

/// A new process (threads are not reported) in a tree.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Fork {
    /// The new process; `Header::pid` is its parent
    pub child: u32,
    /// Zero
    pub pad: u32,
}

/// A process of a tree has a new program. `Header::flags` bit 0: it began a tree.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exec {
    /// Device of the program file, as in the kernel's `s_dev` (major << 20 | minor)
    pub dev: u32,
    /// Effective user
    pub uid: u32,
    /// Inode of the program file
    pub ino: u64,
    /// Parent process
    pub ppid: u32,
    /// Bytes of the argument block in all; fewer follow when it was cut
    pub args_len: u32,
    /// The kernel's name of the task
    pub comm: [u8; 16],
}
/// `Exec`: this exec began a tree of its own.
pub const EXEC_ROOT: u16 = 1;

/// Where and with what a go command began, reported behind its [`Exec`]: a short command has gone before anybody
/// can look at it. One for each part of its environment, in order; the other members are the same in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Began {
    /// Its control group of version 2: the inode of that folder
    pub cgroup: u64,
    /// Inode of its working folder; 0 when it is not known
    pub cwd_ino: u64,
    /// Device of its working folder, as in the kernel's `s_dev`
    pub cwd_dev: u32,
    /// Its mount namespace: the inode that `/proc/PID/ns/mnt` names; 0 when it is not known
    pub mounts: u32,
    /// Inode of its root; 0 when it is not known. On some file systems (overlayfs, btrfs) it is another
    /// number than stat's
    pub root_ino: u64,
    /// CPUs it may use; 0 when it is not known
    pub cpus: u32,
    /// Bytes of the environment in all
    pub len: u32,
    /// Where in it this part begins
    pub at: u32,
    /// Zero
    pub pad: u32,
}

/// The last thread of a process ended.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exit {
    /// As `waitpid` says it: status << 8, or the signal in the low seven bits
    pub code: u32,
    /// Zero
    pub pad: u32,
    /// CPU time of all its threads, nanoseconds
    pub cpu_ns: u64,
    /// The tree's accounts when its topmost process ended; zero otherwise
    pub times: TreeTimes,
}
/// `Exit`: it was the topmost process of its tree.
pub const EXIT_ROOT: u16 = 1;

/// Where the wall time of a tree went so far, nanoseconds; the four add up to the time since
/// the tree began, up to the last change of state.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TreeTimes {
    /// At least one thread on a CPU
    pub cpu_ns: u64,
    /// None on a CPU, one ready
    pub runqueue_ns: u64,
    /// Neither, one in uninterruptible sleep
    pub disk_ns: u64,
    /// All asleep
    pub idle_ns: u64,
}

/// An idle interval of a tree of at least [`crate::IDLE_MIN_NS`] has ended.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Interval {
    /// When the last thread went to sleep
    pub start_ns: u64,
    /// When the first one woke
    pub end_ns: u64,
    /// The tree's accounts up to `end_ns`
    pub times: TreeTimes,
}

/// What the kernel knows of a TCP connection. A field that this kernel does not have is
/// [`UNKNOWN32`] or [`UNKNOWN64`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TcpStats {
    /// Payload bytes sent, retransmissions included once
    pub bytes_sent: u64,
    /// Payload bytes received
    pub bytes_received: u64,
    /// Smoothed round-trip time, microseconds
    pub srtt_us: u32,
    /// Segments retransmitted
    pub retransmits: u32,
    /// Segments received out of order
    pub out_of_order: u32,
    /// The peer's window, bytes
    pub snd_wnd: u32,
    /// Our window, bytes
    pub rcv_wnd: u32,
    /// Segments that the peer said it had already (D-SACK)
    pub duplicates: u32,
}

impl TcpStats {
    /// Nothing is known
    pub const UNKNOWN: Self = Self {
        bytes_sent: UNKNOWN64,
        bytes_received: UNKNOWN64,
        srtt_us: UNKNOWN32,
        retransmits: UNKNOWN32,
        out_of_order: UNKNOWN32,
        snd_wnd: UNKNOWN32,
        rcv_wnd: UNKNOWN32,
        duplicates: UNKNOWN32,
    };
}

/// A 32-bit field the kernel does not have.
pub const UNKNOWN32: u32 = u32::MAX;
/// A 64-bit field the kernel does not have.
pub const UNKNOWN64: u64 = u64::MAX;

/// A TCP socket of a tree changed its state.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockState {
    /// The connection's number: unique while goobserve runs
    pub conn: u64,
    /// The descriptor it was connected with, -1 when not seen
    pub fd: i32,
    /// The kernel's `AF_INET` (2) or `AF_INET6` (10)
    pub family: u16,
    /// Local port, host order
    pub local_port: u16,
    /// Remote port, host order
    pub remote_port: u16,
    /// State before, the kernel's `TCP_*` numbers
    pub old: u8,
    /// State after
    pub new: u8,
    /// `sk_err` when the state became CLOSE (an errno), else 0
    pub error: u32,
    /// Local address
    pub local: Ip,
    /// Remote address
    pub remote: Ip,
    /// The connection's counters at this moment
    pub stats: TcpStats,
}

/// An IP address as it crosses the wire; IPv4 in the first four bytes. In words, because the verifier goes through
/// each move of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ip([u64; 2]);

impl Ip {
    /// None
    pub const NONE: Self = Self([0; 2]);

    /// IPv4, its bytes in network order as the kernel keeps them; both targets are little-endian.
    #[inline]
    pub const fn v4(address: u32) -> Self {
        Self([address as u64, 0])
    }

    /// The 16 bytes.
    #[inline]
    pub const fn bytes(self) -> [u8; 16] {
        zerocopy::transmute!(self.0)
    }
}

impl From<[u8; 16]> for Ip {
    fn from(bytes: [u8; 16]) -> Self {
        Self(zerocopy::transmute!(bytes))
    }
}

/// Something happened to a connection that is one point in time.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockMark {
    /// The connection's number
    pub conn: u64,
    /// A [`Mark`]
    pub mark: u32,
    /// TCP state at that moment (2 is `SYN_SENT`)
    pub state: u32,
}

/// What a [`SockMark`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Mark {
    /// A segment was retransmitted
    Retransmit = 1,
    /// A reset came in
    ResetReceived = 2,
    /// A reset was sent
    ResetSent = 3,
    /// What was asked in plain text was answered by a TLS record
    AnsweredInTls = 4,
}

/// Counters of a live connection, at most every [`crate::TCP_INFO_EVERY_NS`], at once when a
/// window closes or opens or a segment came out of order.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TcpInfo {
    /// The connection's number
    pub conn: u64,
    /// Since the segment before this one; [`UNKNOWN64`] when it is the first that was seen
    pub gap_ns: u64,
    /// The counters
    pub stats: TcpStats,
}

/// Bytes of a DNS message or of a hello, as a process sent or received them.
/// `Header::flags`: [`PAYLOAD_RECEIVED`], [`PAYLOAD_TCP`], [`PAYLOAD_FAILED`], [`PAYLOAD_VARLINK`],
/// [`PAYLOAD_AGENT`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Payload {
    /// The connection's number, 0 for UDP
    pub conn: u64,
    /// Bytes of the call in all; fewer follow when it was cut. The error number of one that failed
    pub len: u32,
    /// Which socket of that process: the low bits of the time of its connect
    pub generation: u32,
    /// `AF_INET` or `AF_INET6` of the peer
    pub family: u16,
    /// The peer's port, host order
    pub remote_port: u16,
    /// Zero
    pub pad: u32,
    /// The peer's address
    pub remote: Ip,
}
/// `Payload`: received, not sent.
pub const PAYLOAD_RECEIVED: u16 = 1;
/// `Payload`: over TCP, not UDP.
pub const PAYLOAD_TCP: u16 = 2;
/// `Payload`: the call failed, nothing was sent or received (a name server that ICMP says is not there).
pub const PAYLOAD_FAILED: u16 = 4;
/// `Payload`: a call of systemd-resolved over its unix socket, or its reply (Varlink: JSON up to a NUL).
pub const PAYLOAD_VARLINK: u16 = 8;
/// `Payload`: ssh asked its agent over a unix socket, or was answered; no bytes of that follow.
pub const PAYLOAD_AGENT: u16 = 16;

/// Go's `crypto/tls.(*Conn).clientHandshake` began or ended (`Header::flags` [`HANDSHAKE_END`]).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Handshake {
    /// The TLS connection: address of the `tls.Conn`
    pub tls: u64,
    /// The TCP connection's number, 0 when it is not known
    pub conn: u64,
    /// The descriptor, -1 when it is not known
    pub fd: i32,
    /// At the end: 0 success, 1 an error was returned. With an alert: its description
    pub failed: u32,
}
/// `Handshake`: its end, not its beginning.
pub const HANDSHAKE_END: u16 = 1;
/// `Handshake`: neither: the peer sent an alert, during the handshake or behind it.
pub const HANDSHAKE_ALERT: u16 = 2;

/// One HTTP/2 frame, or the preface, or a slice of a copied frame's payload.
/// `Header::flags`: the `FRAME_*` bits of this module.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Frame {
    /// The TLS connection: address of the `tls.Conn`
    pub tls: u64,
    /// The TCP connection's number, 0 when it is not known
    pub conn: u64,
    /// The frame's stream
    pub stream: u32,
    /// The frame's payload length, as its header says
    pub len: u32,
    /// Frame type (RFC 9113, 6)
    pub frame_type: u8,
    /// Frame flags
    pub frame_flags: u8,
    /// Zero
    pub pad: [u8; 2],
    /// Where in the payload the slice that follows begins
    pub offset: u32,
    /// DATA only: payload bytes of this stream and direction so far, this frame included
    pub stream_bytes: u64,
    /// When the frame's first byte was read or written; `Header::at_ns` is its last one's
    pub start_ns: u64,
}
/// Read by the process, not written.
pub const FRAME_READ: u16 = 1;
/// The client's connection preface; no frame.
pub const FRAME_PREFACE: u16 = 2;
/// The payload's last byte is in this slice, or the frame is not copied and has ended.
pub const FRAME_LAST: u16 = 4;
/// Bytes of the payload could not be copied: the connection's HPACK table is lost.
pub const FRAME_CUT: u16 = 8;
/// The walk lost its place (a gap, or more frames than it may walk): nothing more of this
/// direction is known.
pub const FRAME_LOST: u16 = 16;
/// The peer closed: a Read returned no bytes and an error.
pub const FRAME_EOF: u16 = 32;
/// The connection's beginning was not seen.
pub const FRAME_JOINED_LATE: u16 = 64;

/// A Read or Write on a connection that speaks HTTP/1.1, inside TLS or in plain text. The bytes that follow are of a head
/// and never go beyond it. `Header::flags`: the `HTTP1_*` bits.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Http1 {
    /// The TLS connection: address of the `tls.Conn`; in plain text the same as `conn`
    pub tls: u64,
    /// The TCP connection's number, 0 when it is not known
    pub conn: u64,
    /// Bytes of this call
    pub len: u32,
    /// Of them, bytes that belong to a head
    pub head: u32,
}
/// Read by the process, not written.
pub const HTTP1_READ: u16 = 1;
/// A head begins with the first byte.
pub const HTTP1_HEAD_START: u16 = 2;
/// The head ends in this call.
pub const HTTP1_HEAD_END: u16 = 4;
/// The call's last bytes are `0\r\n\r\n`, the end of a chunked body.
pub const HTTP1_LAST_CHUNK: u16 = 8;
/// The peer closed: a Read returned no bytes and an error.
pub const HTTP1_EOF: u16 = 16;
/// The connection's beginning was not seen.
pub const HTTP1_JOINED_LATE: u16 = 32;

/// A thread waits for a file lock (`Header::flags` 0) or has it ([`LOCK_TAKEN`]).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lock {
    /// Inode of the file
    pub ino: u64,
    /// Device of the file, as in the kernel's `s_dev`
    pub dev: u32,
    /// Zero
    pub pad: u32,
}
/// `Lock`: the wait is over.
pub const LOCK_TAKEN: u16 = 1;
