//! Requests of a command in; pauses of go's own between one that was refused to begin with and the same
//! once more, out. Go's HTTP/2 client makes such a request once more at once, then after 1, 2, 4 … 32 s,
//! with nothing in flight: the connection is open and idle meanwhile.

use std::collections::HashMap;

use super::record::{Connection, Request, RequestOutcome};
use super::state::CommandState;
use super::time::{Ns, SinceStart};
use crate::id::Pid;

/// Less is no pause, but what go and the machine take.
const LEAST_NS: Ns = 500_000_000;
/// More is no pause of go's: its longest is 32 s and a tenth.
const MOST_NS: Ns = 40_000_000_000;
/// How often go makes a request once more.
const RETRIES: usize = 6;

/// A request that was refused, from when, and until when go paused; `None` while it does.
pub(crate) type Pause<'a> = (&'a Request, SinceStart, Option<SinceStart>);

/// The server says that it did nothing about it: go may make it once more.
fn is_refused(request: &Request, connection: Option<&Connection>) -> bool {
    let goaway = || connection.is_some_and(|connection| connection.goaway.is_some());
    match request.reset_code.as_deref() {
        Some(code) => code == "REFUSED_STREAM",
        None => request.outcome == RequestOutcome::Error && request.status.is_none() && goaway(),
    }
}

/// All pauses of a command, as of `now`.
pub(crate) fn pauses(command: &CommandState, now: SinceStart) -> Vec<Pause<'_>> {
    let refused = |request: &&Request| {
        let connection = request.connection.and_then(|id| command.connections.get(&id));
        request.end_ns.is_some() && is_refused(request, connection)
    };
    let requests = || command.requests.values().map(|request| &**request);
    let mut by_path: HashMap<_, Vec<&Request>> = HashMap::new();
    for request in requests().filter(refused) {
        by_path.entry(key(request)).or_default();
    }
    if by_path.is_empty() {
        return Vec::new();
    }
    for request in requests() {
        if let Some(list) = by_path.get_mut(&key(request)) {
            list.push(request);
        }
    }
    let runs = command.record.as_ref().is_some_and(|record| record.wall_ns.is_none());
    let mut pauses = Vec::new();
    for mut list in by_path.into_values() {
        list.sort_by_key(|request| request.start_ns);
        for (at, request) in list.iter().enumerate().filter(|(_, request)| refused(request)) {
            let Some(from) = request.end_ns else { continue };
            let next = list[at + 1..].iter().map(|next| next.start_ns).find(|next| *next >= from);
            let until = next.unwrap_or(now);
            let pause = until.saturating_sub(from);
            let may = next.is_some() || runs && at < RETRIES;
            if may && (LEAST_NS..=MOST_NS).contains(&pause) {
                pauses.push((*request, from, next));
            }
        }
    }
    pauses.sort_by_key(|(request, from, _)| (*from, request.id));
    pauses
}

fn key(request: &Request) -> (Pid, Option<&str>, Option<&str>) {
    (request.pid, request.authority.as_deref(), request.path.as_deref())
}
