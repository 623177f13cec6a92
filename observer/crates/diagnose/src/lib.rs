//! A command's spans in, stalls out: what cost time, why, and what may help. Pure, the same live
//! and from a recording. One file a family; every threshold is in [`thresholds`]. [`live`] says
//! which of them are to be reported while the command runs.

pub mod advice;
mod blame;
mod case;
mod chain;
mod cost;
mod detectors;
mod explained;
mod fallback;
mod finding;
mod handshakes;
mod hosts;
mod index;
mod left;
pub mod live;
mod lookups;
mod offer;
mod private;
mod processes;
mod redirects;
mod refused;
pub mod report;
mod requests;
mod same;
mod schemes;
mod thresholds;
mod waits;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;

use case::Case;
use finding::Finding;
use model::operations::{InFlight, Subject, Threads};
use model::phases::Split;
use model::record::Phase;
use model::report::{Blame, Severity, Stall};
use model::stall::StallKind;
use model::state::CommandState;
use model::time::SinceStart;
use model::waiting::oldest;
pub use offer::from_here;

/// What slowed a command down, seen at `now`; what ended it first, then the worst, then the costliest.
pub fn stalls(command: &CommandState, now: SinceStart) -> Vec<Stall> {
    diagnose(command, now, Threads::Unknown).stalls.into_iter().map(|found| found.stall).collect()
}

/// A command at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Diagnosis {
    /// What ended the command first, then the worst, then the costliest
    pub stalls: Vec<Diagnosed>,
    /// Why it waits for what it waits for now, in words; `None` when it does not wait, or no
    /// detector knows
    pub because: Option<String>,
    /// Whom to blame for its failure, and by what evidence
    pub blame: Option<(Blame, String)>,
    /// Where its time went; `None` while only its spans are known
    pub split: Option<Split>,
}

/// A look that was had, for whoever needs one as well: it takes a walk over all of a command.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// When
    pub at: SinceStart,
    /// [`CommandState::changes`] at that time
    pub changes: u64,
    /// What was seen
    pub diagnosis: Arc<Diagnosis>,
}

impl Seen {
    /// Looks at a command at `now`.
    pub fn new(command: &CommandState, now: SinceStart, threads: Threads) -> Self {
        Self { at: now, changes: command.changes, diagnosis: Arc::new(diagnose(command, now, threads)) }
    }

    /// Whether a look at the command at `now` would see the same, unless it is known what its threads do.
    pub fn is_of(&self, command: &CommandState, now: SinceStart) -> bool {
        (self.at, self.changes) == (now, command.changes)
    }
}

/// A stall that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Diagnosed {
    /// Which one it is, of several of a kind and host
    pub about: u64,
    /// Nothing is wrong: it is never more than information
    pub info: bool,
    /// Whom to blame when the command failed because of it
    blame: Blame,
    /// The stall
    pub stall: Stall,
}

/// Looks at a command at `now`.
pub fn diagnose(command: &CommandState, now: SinceStart, threads: Threads) -> Diagnosis {
    diagnose_by(command, now, threads, detectors::find)
}

fn diagnose_by(
    command: &CommandState,
    now: SinceStart,
    threads: Threads,
    find: fn(&Case<'_>) -> Vec<Finding>,
) -> Diagnosis {
    let certain = command.certain();
    let Some(case) = Case::new(&certain, now, threads) else { return Diagnosis::default() };
    let mut findings = find(&case);
    findings.iter_mut().for_each(|finding| finding.mark_gaps(&case));
    let found = findings.into_iter().map(|finding| Diagnosed {
        about: finding.about,
        info: finding.info,
        blame: finding.blame.unwrap_or_else(|| finding.kind.blame()),
        stall: finding.stall(&case),
    });
    let mut found: Vec<Diagnosed> = found.collect();
    order(&mut found);
    let split = if command.gaps.is_empty() { case.split().clone() } else { command.split(now, threads) };
    within_phases(&split, &mut found);
    order(&mut found);
    let (because, blame) = (because(&case, &found), blame::blame(&case, &found));
    Diagnosis { stalls: found, because, blame, split: Some(split) }
}

/// Worst first.
fn order(found: &mut [Diagnosed]) {
    found.sort_by(|a, b| {
        // That a child failed is why the command did; what the child failed of is why it did.
        let of_child = |found: &Diagnosed| found.stall.kind == StallKind::ChildFailed;
        let rank = |found: &Diagnosed| {
            (found.stall.fatal, found.stall.severity, !of_child(found), found.stall.cost_ns)
        };
        let name = |found: &Diagnosed| (found.stall.kind.clone(), found.stall.host.clone(), found.about);
        rank(b).cmp(&rank(a)).then_with(|| name(a).cmp(&name(b)))
    });
}

/// What several findings explain costs once. Where those of a phase cost more than the phase, the small
/// ones, which say most exactly what it was, keep their cost, and the others share what is left. What is
/// worth knowing only, or is said over others, is no cost of its own; it is bounded by its phase alone.
/// What lies in several phases is bounded by none of them.
fn within_phases(split: &Split, found: &mut [Diagnosed]) {
    for stall in found.iter_mut().map(|found| &mut found.stall).filter(|stall| !stall.kind.is_across()) {
        stall.cost_ns = stall.cost_ns.min(split.phase(stall.phase).blocked_ns);
    }
    same::once(found);
    let mut by_phase: BTreeMap<Phase, Vec<&mut Stall>> = BTreeMap::new();
    for stall in found.iter_mut().map(|found| &mut found.stall) {
        if stall.severity > Severity::Info && !stall.kind.is_over_others() && !stall.kind.is_across() {
            by_phase.entry(stall.phase).or_default().push(stall);
        }
    }
    for (phase, mut stalls) in by_phase {
        stalls.sort_by_key(|stall| stall.cost_ns);
        let (mut left, mut others) = (split.phase(phase).blocked_ns, stalls.len() as u64);
        for stall in stalls {
            stall.cost_ns = stall.cost_ns.min(left / others);
            left -= stall.cost_ns;
            others -= 1;
        }
    }
}

/// The summary of what was found about the wait that lasts.
fn because(case: &Case<'_>, found: &[Diagnosed]) -> Option<String> {
    if case.record.wall_ns.is_some() {
        return None;
    }
    let op = oldest(&case.in_flight, case.wall.1)?;
    let whom = whom(case, op);
    let explains = |stall: &Stall| {
        let of_it = op.is_child() || stall.host.as_ref().is_none_or(|host| whom.contains(host));
        stall.end_ns >= case.wall.1 && stall.phase == op.operation.phase && of_it
    };
    let why = found.iter().find(|found| !found.info && explains(&found.stall))?;
    Some(why.stall.summary.clone())
}

/// The names by which findings are about the operation's peer.
fn whom(case: &Case<'_>, op: &InFlight<'_>) -> Vec<String> {
    match op.subject {
        Subject::Dns(query) => vec![query.record.server.clone()],
        Subject::DnsWait(wait) => vec![wait.server.clone()],
        Subject::Connect(connection)
        | Subject::Tls(connection)
        | Subject::Helper(connection)
        | Subject::Preexisting(connection) => vec![case.host(connection)],
        Subject::Tunnel(connection) => connection.remote_host().map(str::to_owned).into_iter().collect(),
        Subject::Request(request) | Subject::Backoff(request) => {
            let connection = request.connection.and_then(|id| case.command.connections.get(&id));
            let connection = connection.map(|connection| case.host(connection));
            request.authority.clone().into_iter().chain(connection).collect()
        }
        Subject::Lock(_) | Subject::Child(_) => Vec::new(),
    }
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
