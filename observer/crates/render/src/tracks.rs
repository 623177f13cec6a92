//! A command's spans in, tracks out: which belong together (a name server's, a connection's, the
//! locks'), in what order, what happened at the connection between them, and which of them share a
//! row. The dashboard's timeline, the page's waterfall and Perfetto's tracks are drawn from these.

use std::collections::BTreeMap;

use model::id::ConnectionId;
use model::operations::{InFlight, Subject};
use model::state::{CommandState, Moment};
use model::time::SinceStart;

/// What spans belong to; the order is that of the tracks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Place<'a> {
    /// Waits for file locks
    Locks,
    /// Children that are waited for
    Children,
    /// Queries to a name server
    Server(&'a str),
    /// A connection: its handshakes and requests
    Connection(ConnectionId),
    /// Requests to that host (empty: not known) whose connection was not seen
    Nowhere(&'a str),
}

/// Spans that belong together.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Track<'a> {
    /// What to
    pub place: Place<'a>,
    /// By start, then by end; at least one
    pub in_flight: Vec<InFlight<'a>>,
    /// Single moments of the connection, in order of time
    pub moments: Vec<(SinceStart, &'a Moment)>,
}

/// What that span of the command belongs to.
fn place<'a>(command: &CommandState, op: &InFlight<'a>) -> Place<'a> {
    match op.subject {
        Subject::Lock(_) => Place::Locks,
        Subject::Child(_) => Place::Children,
        Subject::Dns(query) => Place::Server(&query.record.server),
        Subject::DnsWait(wait) => Place::Server(&wait.server),
        Subject::Connect(of)
        | Subject::Tls(of)
        | Subject::Tunnel(of)
        | Subject::Helper(of)
        | Subject::Preexisting(of) => Place::Connection(of.id),
        Subject::Request(of) | Subject::Backoff(of) => match of.connection {
            Some(id) if command.connections.contains_key(&id) => Place::Connection(id),
            _ => Place::Nowhere(of.authority.as_deref().unwrap_or_default()),
        },
    }
}

/// The tracks of these spans of the command.
pub(crate) fn tracks<'a>(
    command: &'a CommandState,
    in_flight: impl IntoIterator<Item = InFlight<'a>>,
) -> Vec<Track<'a>> {
    let mut tracks: BTreeMap<Place<'_>, Track<'_>> = BTreeMap::new();
    for op in in_flight {
        let place = place(command, &op);
        let new = || Track { place, in_flight: Vec::new(), moments: Vec::new() };
        tracks.entry(place).or_insert_with(new).in_flight.push(op);
    }
    for (at, moment) in &command.moments {
        let connection = match moment {
            Moment::Retransmission(mark) => mark.connection,
            Moment::Reset(mark) => mark.connection,
            Moment::Window(mark) => mark.connection,
        };
        if let Some(track) = tracks.get_mut(&Place::Connection(connection)) {
            track.moments.push((*at, moment));
        }
    }
    for track in tracks.values_mut() {
        track.in_flight.sort_by_key(|op| (op.operation.start_ns, op.operation.end_ns));
    }
    tracks.into_values().collect()
}

/// Puts each span, in order of its start, on the first row where nothing is in its way; at most `most`
/// rows. One without an end takes its row for good. Out: the row of each span, `None` where there was
/// no room.
pub(crate) fn rows(
    spans: impl IntoIterator<Item = (SinceStart, Option<SinceStart>)>,
    most: usize,
) -> Vec<Option<usize>> {
    let mut free: Vec<SinceStart> = Vec::new();
    let mut place = |(start, end): (SinceStart, Option<SinceStart>)| {
        let end = end.map_or(SinceStart::MAX, |end| end.max(start));
        if let Some(row) = free.iter().position(|free| *free <= start) {
            free[row] = end;
            return Some(row);
        }
        (free.len() < most).then(|| {
            free.push(end);
            free.len() - 1
        })
    };
    spans.into_iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn closed(spans: impl IntoIterator<Item = (u64, u64)>, most: usize) -> Vec<Option<usize>> {
        rows(spans.into_iter().map(|(start, end)| (SinceStart(start), Some(SinceStart(end)))), most)
    }

    #[test]
    fn spans_share_a_row_when_they_do_not_overlap() {
        assert_eq!(closed([(0, 5), (5, 9), (6, 7), (7, 8)], 9), [Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!(closed([(0, 5), (1, 5), (2, 5), (5, 6)], 2), [Some(0), Some(1), None, Some(0)]);
        assert_eq!(
            rows([(SinceStart(0), None), (SinceStart(9), Some(SinceStart(10))), (SinceStart(11), None)], 2),
            [Some(0), Some(1), Some(1)]
        );
    }

    proptest! {
        #[test]
        fn no_two_spans_of_a_row_overlap(mut spans in prop::collection::vec((0..50u64, 0..9u64), 0..40), most in 0..6usize) {
            spans.sort_unstable();
            let spans: Vec<_> = spans.into_iter().map(|(start, length)| (start, start + length)).collect();
            let placed = closed(spans.iter().copied(), most);
            for row in 0..most {
                let of: Vec<_> = (0..spans.len()).filter(|span| placed[*span] == Some(row)).collect();
                prop_assert!(of.windows(2).all(|pair| spans[pair[0]].1 <= spans[pair[1]].0));
            }
            prop_assert!(placed.iter().flatten().all(|row| *row < most));
        }
    }
}
