//! What a forward proxy was asked for. Times are `CLOCK_MONOTONIC`, nanoseconds.

use std::net::SocketAddr;
use std::sync::Mutex;

use crate::clock::monotonic_ns;
use crate::lock;

/// A request for a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelRecord {
    /// The client
    pub peer: SocketAddr,
    /// `host:port` that was asked for
    pub target: String,
    /// When it had been read whole
    pub asked_ns: u64,
    /// Just before the answer was written; `None` when there was none
    pub answered_ns: Option<u64>,
    /// Status or SOCKS reply of one that was refused
    pub refused: Option<u16>,
}

/// All requests since the start or the last [`Log::take`].
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<TunnelRecord>>);

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(usize);

impl Log {
    pub(super) fn records(&self) -> Vec<TunnelRecord> {
        lock(&self.0).clone()
    }

    pub(super) fn take(&self) -> Vec<TunnelRecord> {
        std::mem::take(&mut lock(&self.0))
    }

    pub(super) fn asked(&self, peer: SocketAddr, target: &str) -> Slot {
        let mut log = lock(&self.0);
        let (target, asked_ns) = (target.to_owned(), monotonic_ns());
        log.push(TunnelRecord { peer, target, asked_ns, answered_ns: None, refused: None });
        Slot(log.len() - 1)
    }

    pub(super) fn answered(&self, slot: Slot, refused: Option<u16>) {
        if let Some(record) = lock(&self.0).get_mut(slot.0) {
            (record.answered_ns, record.refused) = (Some(monotonic_ns()), refused);
        }
    }
}
