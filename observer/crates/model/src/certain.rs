//! A command with gaps in, the same without what may be wrong because of them out: what detectors may
//! draw conclusions from.

use std::borrow::Cow;

use super::record::{Connection, ConnectionOutcome, RequestOutcome};
use super::state::{CommandState, Moment};
use crate::id::ConnectionId;
use crate::time::SinceStart;

impl CommandState {
    /// The command without the records whose end, or a step before it, may lie in a gap.
    pub fn certain(&self) -> Cow<'_, Self> {
        if self.gaps.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut certain = self.clone();
        certain.dns.retain(|_, query| {
            query.record.end_ns.is_some() || self.gap_behind(query.record.start_ns).is_none()
        });
        certain.dns_waits.retain(|_, wait| wait.end_ns.is_some() || self.gap_behind(wait.start_ns).is_none());
        certain.locks.retain(|_, wait| wait.end_ns.is_some() || self.gap_behind(wait.start_ns).is_none());
        certain.requests.retain(|_, request| {
            let gap = self.spans_gap(request.start_ns, request.end_ns);
            !gap || request.outcome == RequestOutcome::Ok && request.first_byte_ns.is_some()
        });
        certain.connections.retain(|_, connection| self.is_certain(connection));
        let gone: Vec<ConnectionId> =
            self.connections.keys().filter(|id| !certain.connections.contains_key(id)).copied().collect();
        certain.moments.retain(|(_, moment)| {
            let id = match moment {
                Moment::Retransmission(mark) => mark.connection,
                Moment::Reset(mark) => mark.connection,
                Moment::Window(mark) => mark.connection,
            };
            gone.binary_search(&id).is_err()
        });
        Cow::Owned(certain)
    }

    /// Whether something from `start` to `end`, or of which no end was seen, overlaps a gap.
    pub fn spans_gap(&self, start: SinceStart, end: Option<SinceStart>) -> bool {
        self.gap_behind(start).is_some_and(|gap| end.is_none_or(|end| gap.start_ns < end))
    }

    /// A connection that reached its end, or had its handshakes, with every step seen.
    fn is_certain(&self, connection: &Connection) -> bool {
        let greeted = connection.tls_start_ns.is_none_or(|_| connection.tls_ns.is_some());
        let connected = connection.connect_ns.is_some() || connection.joined_late;
        !self.spans_gap(connection.start_ns, connection.end_ns)
            || connected
                && greeted
                && matches!(connection.outcome, ConnectionOutcome::Established | ConnectionOutcome::Open)
    }
}
