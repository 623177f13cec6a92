//! A command's spans in, stalls out: what cost time, why, and what may help. Pure, the same live
//! and from a recording. One file a family; every threshold is in [`thresholds`]. [`live`] says
//! which of them are to be told while the command runs.

pub mod advice;
mod case;
mod connect;
mod cost;
mod dns;
mod finding;
mod http2;
pub mod live;
mod machine;
mod offer;
mod private;
mod proxy;
mod sumdb;
mod thresholds;
mod tls;
mod vcs;
mod waits;

use case::Case;
use finding::Finding;
pub use offer::from_here;

use crate::model::operations::{Flight, Subject};
use crate::model::record::Ns;
use crate::model::report::Stall;
use crate::model::state::CommandState;
use crate::model::waiting::oldest;

/// A family of detectors.
type Family = fn(&Case<'_>, &mut Vec<Finding>);

const FAMILIES: [Family; 8] =
    [dns::find, connect::find, tls::find, http2::find, proxy::find, sumdb::find, machine::find, vcs::find];

/// What slowed a command down, seen at `now`; the worst first, then the costliest.
pub fn stalls(command: &CommandState, now: Ns) -> Vec<Stall> {
    look(command, now, None).found.into_iter().map(|found| found.stall).collect()
}

/// A command at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Look {
    /// The worst first, then the costliest
    pub found: Vec<Found>,
    /// Why it waits for what it waits for now, in words; `None` when it does not wait, or no
    /// detector knows
    pub because: Option<String>,
}

/// A stall that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Which one it is, of several of a kind and host
    pub about: u64,
    /// Nothing is wrong: it is never more than information
    pub info: bool,
    /// The stall
    pub stall: Stall,
}

/// Looks at a command at `now`. `asleep_since`: since when every thread sleeps, for a live view that
/// can read the spell that has not ended yet.
pub fn look(command: &CommandState, now: Ns, asleep_since: Option<Ns>) -> Look {
    let Some(case) = Case::new(command, now, asleep_since) else { return Look::default() };
    let mut findings = Vec::new();
    FAMILIES.iter().for_each(|find| find(&case, &mut findings));
    let found = findings.into_iter().map(|finding| Found {
        about: finding.about,
        info: finding.info,
        stall: finding.stall(&case),
    });
    let mut found: Vec<Found> = found.collect();
    found.sort_by(|a, b| {
        let rank = |found: &Found| (found.stall.severity, found.stall.cost_ns);
        let name = |found: &Found| (found.stall.kind.clone(), found.stall.host.clone(), found.about);
        rank(b).cmp(&rank(a)).then_with(|| name(a).cmp(&name(b)))
    });
    let because = because(&case, &found);
    Look { found, because }
}

/// The summary of what was found about the wait that lasts.
fn because(case: &Case<'_>, found: &[Found]) -> Option<String> {
    if case.record.wall_ns.is_some() {
        return None;
    }
    let flight = oldest(&case.flights, case.wall.1)?;
    let whom = whom(case, flight);
    let explains = |stall: &Stall| {
        let of_it = stall.host.as_ref().is_none_or(|host| whom.contains(host));
        stall.end_ns >= case.wall.1 && stall.phase == flight.operation.phase && of_it
    };
    let why = found.iter().find(|found| !found.info && explains(&found.stall))?;
    Some(why.stall.summary.clone())
}

/// The names by which findings are about the operation's peer.
fn whom(case: &Case<'_>, flight: &Flight<'_>) -> Vec<String> {
    match flight.subject {
        Subject::Dns(question) => vec![question.record.server.clone()],
        Subject::DnsWait(wait) => vec![wait.server.clone()],
        Subject::Connect(connection)
        | Subject::Tls(connection)
        | Subject::Helper(connection)
        | Subject::Late(connection) => vec![case.host(connection)],
        Subject::Request(request) => {
            let connection = request.connection.and_then(|id| case.command.connections.get(&id));
            let connection = connection.map(|connection| case.host(connection));
            request.authority.clone().into_iter().chain(connection).collect()
        }
        Subject::Lock(_) => Vec::new(),
    }
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
