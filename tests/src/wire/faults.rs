//! What the way does wrong on purpose.

use std::net::IpAddr;
use std::time::Duration;

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the command
    ToServer,
    /// To the command
    ToClient,
}

/// Everything the way does; the default is to carry packets at once.
#[derive(Clone, Debug, Default)]
pub struct WireFaults {
    /// The round-trip time, half of it in each direction
    pub rtt: Duration,
    /// SYNs that never arrive
    pub lost_syns: Vec<LostSyns>,
    /// How much later than other packets a SYN arrives; from a second on it is retransmitted meanwhile
    pub delayed_syns: Duration,
    /// Hellos that never arrive, and all that is sent after them
    pub lost_hellos: Vec<HelloLoss>,
    /// Packets to the client with more payload than this never arrive: somewhere on the way less fits,
    /// and no ICMP comes back
    pub large_lost: Option<usize>,
    /// Packets lost at random
    pub loss: Vec<Loss>,
    /// Connections that end without a word
    pub deaths: Vec<Death>,
    /// Packets that are too large for somebody on the way, who says nothing
    pub large_losses: Vec<LargeLoss>,
    /// Windows that are closed for a while
    pub zero_windows: Vec<ZeroWindow>,
}

/// SYNs to an address.
#[derive(Clone, Debug)]
pub struct LostSyns {
    /// To whom
    pub to: IpAddr,
    /// The first so many of each connection; `None`: all
    pub first: Option<u32>,
}

/// TLS hellos of the client that are dropped; the rest of their connection is dropped with them,
/// while the server's packets still arrive.
#[derive(Clone, Debug)]
pub enum HelloLoss {
    /// Those that name this server
    Naming(String),
    /// Those that take more than one packet: the first packet arrives, none after it does
    LargerThanAPacket,
}

/// Random loss in established connections.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Of which packets
    pub direction: Direction,
    /// Of a hundred
    pub percent: u8,
    /// Not before a connection has brought the client so many bytes: past the handshake
    pub after_bytes: u64,
}

/// Packets of TCP that are larger.
#[derive(Clone, Debug)]
pub struct LargeLoss {
    /// Of which packets
    pub direction: Direction,
    /// What still passes, bytes
    pub bytes: usize,
}

/// A connection of which nothing arrives any more, in both directions.
#[derive(Clone, Debug)]
pub struct Death {
    /// With whom
    pub with: IpAddr,
    /// At the next that the client sends, once the connection has brought it so many bytes
    pub after_bytes: u64,
    /// So many connections die, then no more
    pub times: u32,
}

/// The server's receive window as the client sees it.
#[derive(Clone, Debug)]
pub struct ZeroWindow {
    /// Of whom
    pub of: IpAddr,
    /// From when a connection has brought the client so many bytes
    pub after_bytes: u64,
    /// For so long
    pub lasts: Duration,
}
