//! The proxy's access log, in memory. Times are `CLOCK_MONOTONIC`, nanoseconds.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::monotonic_ns;
use crate::lock;

/// A TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The client
    pub peer: SocketAddr,
    /// Our end
    pub local: Option<SocketAddr>,
    /// When `accept` returned it; the kernel shook hands before
    pub accepted_ns: u64,
    /// When the TLS handshake was done; `None` when it was not
    pub tls_done_ns: Option<u64>,
    /// What was agreed on: `h2`, `http/1.1`
    pub alpn: Option<String>,
    /// When it was closed
    pub closed_ns: Option<u64>,
}

/// A request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Index of its connection in the log
    pub connection: usize,
    /// Which request of that connection, from 0, in the order of arrival
    pub sequence: u32,
    /// The host it is for
    pub authority: String,
    /// `GET`
    pub method: String,
    /// Path and query, as received
    pub path: String,
    /// Its `authorization` header
    pub authorization: Option<String>,
    /// The response's status
    pub status: u16,
    /// When its head had been read
    pub received_ns: u64,
    /// When the response's head was given to the connection; `None` while it is delayed
    pub first_byte_ns: Option<u64>,
    /// When the connection took the body's last chunk (16 KB at most), which is then written
    /// as flow control allows; `None` when it never did
    pub end_ns: Option<u64>,
    /// Bytes of the body that the connection took
    pub bytes: u64,
}

/// All connections and requests since the start or the last [`AccessLog::take`].
#[derive(Debug, Default)]
pub struct AccessLog {
    entries: Mutex<Entries>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Entries {
    /// Grows when the log is emptied: entries of before must not write to those of after.
    epoch: usize,
    connections: Vec<ConnectionRecord>,
    requests: Vec<RequestRecord>,
}

/// Where a response notes its progress.
#[derive(Debug)]
pub(super) struct Slot {
    log: Arc<AccessLog>,
    epoch: usize,
    index: usize,
}

impl AccessLog {
    /// The connections, in the order of their arrival.
    pub fn connections(&self) -> Vec<ConnectionRecord> {
        lock(&self.entries).connections.clone()
    }

    /// The requests, in the order of their arrival.
    pub fn requests(&self) -> Vec<RequestRecord> {
        lock(&self.entries).requests.clone()
    }

    /// Waits until every connection is closed, so that the log is complete; `false` when that
    /// took longer than `limit`.
    pub fn settled(&self, limit: Duration) -> bool {
        let open = |entries: &mut Entries| entries.connections.iter().any(|c| c.closed_ns.is_none());
        let waited = self.changed.wait_timeout_while(lock(&self.entries), limit, open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Empties the log. Call it when the log is settled: a connection that is still open is
    /// forgotten, and so is what it carries from now on.
    pub fn take(&self) -> (Vec<ConnectionRecord>, Vec<RequestRecord>) {
        let mut entries = lock(&self.entries);
        entries.epoch += 1 << 32;
        (std::mem::take(&mut entries.connections), std::mem::take(&mut entries.requests))
    }

    pub(super) fn accepted(&self, peer: SocketAddr, local: Option<SocketAddr>) -> usize {
        let mut entries = lock(&self.entries);
        entries.connections.push(ConnectionRecord {
            peer,
            local,
            accepted_ns: monotonic_ns(),
            tls_done_ns: None,
            alpn: None,
            closed_ns: None,
        });
        entries.epoch + entries.connections.len() - 1
    }

    pub(super) fn tls_done(&self, connection: usize, alpn: Option<String>) {
        self.connection(connection, |record| {
            record.tls_done_ns = Some(monotonic_ns());
            record.alpn = alpn;
        });
    }

    pub(super) fn closed(&self, connection: usize) {
        self.connection(connection, |record| record.closed_ns = Some(monotonic_ns()));
        self.changed.notify_all();
    }

    fn connection(&self, connection: usize, change: impl FnOnce(&mut ConnectionRecord)) {
        let mut entries = lock(&self.entries);
        let index = connection.checked_sub(entries.epoch);
        if let Some(record) = index.and_then(|index| entries.connections.get_mut(index)) {
            change(record);
        }
    }

    pub(super) fn received(log: &Arc<Self>, mut record: RequestRecord) -> Slot {
        let mut entries = lock(&log.entries);
        let (epoch, index) = (entries.epoch, entries.requests.len());
        if let Some(connection) = record.connection.checked_sub(epoch) {
            record.connection = connection;
            entries.requests.push(record);
            return Slot { log: Arc::clone(log), epoch, index };
        }
        Slot { log: Arc::clone(log), epoch, index: usize::MAX }
    }
}

impl Slot {
    pub(super) fn head_sent(&self) {
        self.change(|record| record.first_byte_ns = Some(monotonic_ns()));
    }

    pub(super) fn taken(&self, bytes: usize, last: bool) {
        self.change(|record| {
            record.bytes += bytes as u64;
            record.end_ns = last.then(monotonic_ns);
        });
    }

    fn change(&self, change: impl FnOnce(&mut RequestRecord)) {
        let mut entries = lock(&self.log.entries);
        if entries.epoch == self.epoch
            && let Some(record) = entries.requests.get_mut(self.index)
        {
            change(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_with_an_open_connection_is_not_settled() {
        let log = AccessLog::default();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let first = log.accepted(peer, None);
        assert!(!log.settled(Duration::ZERO));
        log.closed(first);
        assert!(log.settled(Duration::ZERO));
    }

    #[test]
    fn a_connection_of_before_the_log_was_taken_writes_nothing() {
        let log = AccessLog::default();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let old = log.accepted(peer, None);
        log.take();
        log.accepted(peer, None);
        log.tls_done(old, Some("h2".to_owned()));
        assert_eq!(log.connections()[0].alpn, None);
    }
}
