//! The wait-state rule: a command's wall interval, its idle intervals and its operations in; time
//! by phase and by host out. A sweep over the sorted ends, O(n log n).
//!
//! An instant outside every idle interval is `local`. An idle one is split evenly over the phases
//! with an operation in flight, and a phase's share evenly over the hosts of its operations;
//! with none in flight it is the phase of the child that is waited for ([`WAITED_FOR`]), and else
//! `unexplained`.
//!
//! In a gap records were lost: nobody knows what its time went to, but for idle intervals that are
//! known whole. It is `unexplained`, and counted as unknown; where the kernel's accounts say how much
//! of it was sleep, the rest of it is `local`. Sleep behind a gap with nothing known in flight is
//! unknown, too: what began in the gap was not seen.
//!
//! Shares are added up as exact fractions and rounded
//! once at the end: whole nanoseconds that are left over go to the phases (hosts) with a
//! fraction, in table order (by name). So the parts always add up to the whole.
//! ```
//! use model::phases::{Input, Operation, split};
//! use model::record::{Local, Phase};
//! use model::time::SinceStart;
//!
//! // Ten seconds, asleep from the second on; a request to a proxy takes five of them.
//! let request = Operation {
//!     phase: Phase::Proxy,
//!     host: Some("proxy.test"),
//!     start_ns: SinceStart(2),
//!     end_ns: SinceStart(7),
//!     error: false,
//!     bytes: None,
//! };
//! let split = split(&Input {
//!     wall: (SinceStart(0), SinceStart(10)),
//!     idle: &[(SinceStart(2), SinceStart(10))],
//!     operations: &[request],
//!     local: Some(Local::default()),
//!     ..Input::default()
//! });
//! let blocked = |phase| split.phase(phase).blocked_ns;
//! assert_eq!(blocked(Phase::Proxy), 5);
//! assert_eq!(blocked(Phase::Local), 2);
//! assert_eq!(blocked(Phase::Unexplained), 3);
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Gap, Local, Phase};
use crate::time::{Ns, SinceStart};

/// One thing that was in flight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Operation<'a> {
    /// The phase it belongs to
    pub phase: Phase,
    /// Whom it was waiting for, when that is known
    pub host: Option<&'a str>,
    /// When it began
    pub start_ns: SinceStart,
    /// When it ended; for one still open, the end of what is looked at
    pub end_ns: SinceStart,
    /// It failed
    pub error: bool,
    /// Payload bytes it brought, where that means something and is known
    pub bytes: Option<u64>,
}

/// What the rule is applied to.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Input<'a> {
    /// Begin and end of the command, or of what is seen of it
    pub wall: (SinceStart, SinceStart),
    /// Intervals in which every thread slept
    pub idle: &'a [(SinceStart, SinceStart)],
    /// The kernel's accounts. `None`: the scheduler was not observed, all time counts as idle
    pub local: Option<Local>,
    /// What was in flight
    pub operations: &'a [Operation<'a>],
    /// Children that are waited for while nothing else is in flight: their phase is one of [`WAITED_FOR`]
    pub children: &'a [Operation<'a>],
    /// Gaps in what is known, in order, disjoint
    pub gaps: &'a [Gap],
}

/// One phase's part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Share {
    /// Wall time it is answerable for
    pub blocked_ns: Ns,
    /// Union of its operations within the wall interval; of `local`, its blocked time
    pub busy_ns: Ns,
    /// Operations
    pub count: u64,
    /// Of them, failed
    pub errors: u64,
    /// Operations' durations
    pub durations: Option<Durations>,
    /// Payload bytes received by its operations. `None` where bytes mean nothing or are unknown
    pub bytes: Option<u64>,
}

/// Durations of operations, nearest rank, nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Durations {
    pub p50_ns: Ns,
    pub p95_ns: Ns,
    pub p99_ns: Ns,
    pub max_ns: Ns,
}

/// One host's part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostShare {
    /// The host
    pub host: String,
    /// Wall time it is answerable for
    pub blocked_ns: Ns,
    /// The same by phase; a phase in which it had no operation is absent
    pub phases: BTreeMap<Phase, Ns>,
}

/// Where the wall time went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// Length of the interval; the phases' `blocked_ns` add up to it
    pub wall_ns: Ns,
    /// By phase, in table order
    pub phases: [Share; Phase::ALL.len()],
    /// Of `unexplained`: time of which records were lost
    pub unknown_ns: Ns,
    /// `local` in parts that add up to it
    pub local: Option<Local>,
    /// By host, the largest part first
    pub hosts: Vec<HostShare>,
}

impl Split {
    /// The part of `phase`.
    pub fn phase(&self, phase: Phase) -> &Share {
        &self.phases[phase as usize]
    }
}

/// Phases that operations can belong to.
const IN_FLIGHT: usize = Phase::Local as usize;
/// Phases of children that are waited for, in the order in which they are answerable.
pub const WAITED_FOR: [Phase; 4] = [Phase::Auth, Phase::Vcs, Phase::Child, Phase::Cache];
/// Units of a nanosecond: divisible by every number of phases (up to 13) and then by every
/// number of hosts up to 12. More hosts at once cost less than a nanosecond a segment, in order.
const UNIT: u128 = 360_360 * 27_720;

/// Applies the rule.
pub fn split(input: &Input<'_>) -> Split {
    let (start, end) = (input.wall.0, input.wall.1.max(input.wall.0));
    let names: Vec<Option<&str>> =
        input.operations.iter().map(|op| op.host).collect::<BTreeSet<_>>().into_iter().collect();
    let mut sweep = Sweep {
        hosts: vec![[0; IN_FLIGHT]; names.len()],
        gaps: vec![0; input.gaps.len()],
        ..Sweep::default()
    };

    let clip = |at: SinceStart| at.clamp(start, end);
    let mut edges = Vec::with_capacity(2 * (input.operations.len() + input.idle.len()) + 2);
    let mut both = |from: SinceStart, to: SinceStart, what: What| {
        let (from, to) = (clip(from), clip(to));
        if from < to {
            edges.push((from, true, what));
            edges.push((to, false, what));
        }
    };
    for op in input.operations {
        let host = names.binary_search(&op.host).unwrap_or_default();
        if (op.phase as usize) < IN_FLIGHT {
            both(op.start_ns, op.end_ns, What::Operation(op.phase as usize, host));
        }
    }
    if input.local.is_some() {
        input.idle.iter().for_each(|&(from, to)| both(from, to, What::Idle));
    } else {
        both(start, end, What::Idle);
    }
    for child in input.children {
        if let Some(rank) = WAITED_FOR.iter().position(|phase| *phase == child.phase) {
            both(child.start_ns, child.end_ns, What::Child(rank));
        }
    }
    if input.local.is_some() {
        for (index, gap) in input.gaps.iter().enumerate() {
            both(gap.start_ns, gap.end_ns, What::Gap(index));
        }
    }
    if let Some(gap) = input.gaps.first() {
        both(gap.start_ns, end, What::Behind);
    }
    edges.sort_unstable_by_key(|edge| edge.0);
    let mut at = start;
    for (time, begins, what) in edges {
        sweep.advance(time - at);
        at = time;
        sweep.turn(begins, what);
    }

    let wall_ns = end - start;
    // What fetches is counted by its connections and requests; of the others there may be none to see.
    let counted = input.children.iter().filter(|child| child.phase != Phase::Vcs);
    let mut phases = statistics(input.operations.iter().chain(counted));
    let blocked = round(&sweep.blocked, sweep.explained_ns);
    for (index, share) in phases.iter_mut().enumerate().take(IN_FLIGHT) {
        share.blocked_ns = blocked[index];
        share.busy_ns = sweep.busy[index];
    }
    // What the kernel did not count as sleep, threads were at work in.
    let slept = |(gap, ns): (&Gap, &Ns)| gap.idle_ns.map_or(*ns, |idle_ns| idle_ns.min(*ns));
    let slept: Ns = input.gaps.iter().zip(&sweep.gaps).map(slept).sum();
    let local_ns = wall_ns - sweep.idle_ns - slept;
    phases[Phase::Local as usize].blocked_ns = local_ns;
    phases[Phase::Local as usize].busy_ns = local_ns;
    phases[Phase::Unexplained as usize].blocked_ns = sweep.idle_ns - sweep.explained_ns + slept;
    Split {
        wall_ns,
        unknown_ns: slept + sweep.behind_ns,
        local: input.local.map(|local| fit(local, local_ns)),
        hosts: hosts(&names, &sweep.hosts, &blocked, input.operations),
        phases,
    }
}

#[derive(Clone, Copy)]
enum What {
    Idle,
    Operation(usize, usize),
    /// By its rank in [`WAITED_FOR`]
    Child(usize),
    Gap(usize),
    /// From the first gap on
    Behind,
}

#[derive(Default)]
struct Sweep {
    idle_depth: u32,
    /// By rank in [`WAITED_FOR`]
    children: [u32; WAITED_FOR.len()],
    gap: Option<usize>,
    behind: bool,
    /// Per phase, the hosts in flight with the number of their operations, by host
    active: [BTreeMap<usize, u32>; IN_FLIGHT],
    idle_ns: Ns,
    explained_ns: Ns,
    /// Idle time with nothing known in flight, behind a gap
    behind_ns: Ns,
    /// By gap, its time outside known idle intervals
    gaps: Vec<Ns>,
    busy: [Ns; IN_FLIGHT],
    blocked: [u128; IN_FLIGHT],
    hosts: Vec<[u128; IN_FLIGHT]>,
}

impl Sweep {
    fn advance(&mut self, length: Ns) {
        if length == 0 {
            return;
        }
        let in_flight = self.active.iter().filter(|hosts| !hosts.is_empty()).count() as u128;
        if self.idle_depth > 0 {
            self.idle_ns += length;
            if in_flight > 0 {
                self.explained_ns += length;
            } else if let Some(rank) = self.children.iter().position(|running| *running > 0) {
                self.explained_ns += length;
                self.blocked[WAITED_FOR[rank] as usize] += u128::from(length) * UNIT;
            } else if self.behind {
                self.behind_ns += length;
            }
        } else if let Some(gap) = self.gap {
            self.gaps[gap] += length;
        }
        for (running, phase) in self.children.iter().zip(WAITED_FOR) {
            if *running > 0 && self.active[phase as usize].is_empty() {
                self.busy[phase as usize] += length;
            }
        }
        for (phase, active) in self.active.iter().enumerate().filter(|(_, hosts)| !hosts.is_empty()) {
            self.busy[phase] += length;
            if self.idle_depth == 0 {
                continue;
            }
            let share = u128::from(length) * UNIT / in_flight;
            self.blocked[phase] += share;
            let hosts = active.len() as u128;
            for (rank, host) in active.keys().enumerate() {
                let remainder = u128::from((rank as u128) < share % hosts);
                self.hosts[*host][phase] += share / hosts + remainder;
            }
        }
    }

    fn turn(&mut self, begins: bool, what: What) {
        match what {
            What::Idle if begins => self.idle_depth += 1,
            What::Idle => self.idle_depth -= 1,
            What::Child(rank) if begins => self.children[rank] += 1,
            What::Child(rank) => self.children[rank] -= 1,
            What::Gap(index) if begins => self.gap = Some(index),
            // The next one may have begun at the same moment.
            What::Gap(index) => self.gap = self.gap.filter(|open| *open != index),
            What::Behind => self.behind = begins,
            What::Operation(phase, host) => {
                let count = self.active[phase].entry(host).or_default();
                if begins {
                    *count += 1;
                } else {
                    *count -= 1;
                    if *count == 0 {
                        self.active[phase].remove(&host);
                    }
                }
            }
        }
    }
}

/// Units to whole nanoseconds that add up to `total`: rounded down, and what is then missing one
/// by one to those that had a fraction, in order.
fn round(units: &[u128], total: Ns) -> Vec<Ns> {
    let mut whole: Vec<Ns> = units.iter().map(|units| (units / UNIT) as Ns).collect();
    let mut missing = total.saturating_sub(whole.iter().sum());
    for (ns, units) in whole.iter_mut().zip(units) {
        if missing > 0 && units % UNIT > 0 {
            *ns += 1;
            missing -= 1;
        }
    }
    whole
}

fn hosts(
    names: &[Option<&str>],
    units: &[[u128; IN_FLIGHT]],
    blocked: &[Ns],
    operations: &[Operation<'_>],
) -> Vec<HostShare> {
    let mut shares: Vec<HostShare> = names
        .iter()
        .map(|name| HostShare {
            host: name.unwrap_or_default().to_owned(),
            blocked_ns: 0,
            phases: BTreeMap::new(),
        })
        .collect();
    for op in operations {
        if let Ok(host) = names.binary_search(&op.host) {
            shares[host].phases.insert(op.phase, 0);
        }
    }
    for (index, phase) in Phase::ALL.into_iter().enumerate().take(IN_FLIGHT) {
        let column: Vec<u128> = units.iter().map(|host| host[index]).collect();
        for (share, ns) in shares.iter_mut().zip(round(&column, blocked[index])) {
            share.blocked_ns += ns;
            if ns > 0 {
                share.phases.insert(phase, ns);
            }
        }
    }
    let mut named: Vec<HostShare> =
        shares.into_iter().zip(names).filter_map(|(share, name)| name.map(|_| share)).collect();
    named.sort_by(|a, b| b.blocked_ns.cmp(&a.blocked_ns).then_with(|| a.host.cmp(&b.host)));
    named
}

/// The kernel's accounts cut to the time that is `local`. What is neither waiting for a CPU nor
/// for the disk was on a CPU, intervals too short to be reported included.
fn fit(local: Local, local_ns: Ns) -> Local {
    let runqueue_ns = local.runqueue_ns.min(local_ns);
    let disk_ns = local.disk_ns.min(local_ns - runqueue_ns);
    Local { cpu_ns: local_ns - runqueue_ns - disk_ns, runqueue_ns, disk_ns }
}

fn statistics<'a>(operations: impl IntoIterator<Item = &'a Operation<'a>>) -> [Share; Phase::ALL.len()] {
    let mut durations: [Vec<Ns>; Phase::ALL.len()] = Default::default();
    let mut shares = [Share::default(); Phase::ALL.len()];
    for op in operations {
        let index = op.phase as usize;
        durations[index].push(op.end_ns.saturating_sub(op.start_ns));
        let share = &mut shares[index];
        share.count += 1;
        share.errors += u64::from(op.error);
        if let Some(bytes) = op.bytes {
            share.bytes = Some(share.bytes.unwrap_or(0).saturating_add(bytes));
        }
    }
    for (phase, (share, mut durations)) in Phase::ALL.into_iter().zip(shares.iter_mut().zip(durations)) {
        durations.sort_unstable();
        share.durations = ranks(&durations);
        let carries = matches!(phase, Phase::Proxy | Phase::Sumdb | Phase::Toolchain | Phase::Vcs);
        if carries && share.count == 0 {
            share.bytes = Some(0);
        }
    }
    shares
}

fn ranks(sorted: &[Ns]) -> Option<Durations> {
    let max_ns = *sorted.last()?;
    let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
    Some(Durations { p50_ns: rank(50), p95_ns: rank(95), p99_ns: rank(99), max_ns })
}

#[cfg(test)]
#[path = "phases_tests.rs"]
mod tests;
