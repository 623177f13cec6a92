//! Sockets: the values of `SOCKS`, `CHANNELS` and `CONNECTIONS`.

use observer_common::Ip;

/// A TCP socket of a tree.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Sock {
    /// Its number
    pub conn: u64,
    /// When its counters were last sent
    pub emitted_ns: u64,
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
    /// The latest state, of `tcp_states.h`
    pub state: u32,
    pub pad: u32,
    /// When the latest segment came in
    pub segment_ns: u64,
}

/// A `connect` that looks for its way.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Attempt {
    /// When, nanoseconds
    pub at_ns: u64,
    /// To whom
    pub remote: Ip,
    pub family: u16,
    /// Host order
    pub port: u16,
    /// The descriptor
    pub fd: i32,
    /// The process
    pub pid: u32,
    /// The error of the last route that was looked up, positive; 0 where there is one
    pub error: u32,
    pub pad: u32,
}

/// What a socket's bytes are watched for.
pub mod kind {
    /// A name server over UDP
    pub const DNS_UDP: u32 = 1;
    /// A name server over TCP
    pub const DNS_TCP: u32 = 2;
    /// The hellos at the beginning of a TCP connection
    pub const HELLO: u32 = 3;
    /// What a forward proxy is asked for before the hellos (CONNECT, SOCKS)
    pub const TUNNEL: u32 = 5;
    /// systemd-resolved over its unix socket
    pub const VARLINK: u32 = 7;
    /// An ssh agent over its unix socket
    pub const AGENT: u32 = 8;
    /// HTTP/1 in plain text, all the connection's life
    pub const PLAIN: u32 = 6;
    /// Nothing any more
    pub const QUIET: u32 = 4;
}

/// A socket whose bytes matter.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Channel {
    /// One of [`kind`]
    pub kind: u32,
    /// The process that opened it
    pub pid: u32,
    /// 0 for UDP
    pub conn: u64,
    /// `Process::since_ns` of that process
    pub process_ns: u64,
    pub remote: Ip,
    pub generation: u32,
    pub family: u16,
    /// The peer's, host order
    pub port: u16,
    /// Bytes and calls looked at, for hellos
    pub sent: u32,
    pub received: u32,
    pub sends: u16,
    pub receives: u16,
}
