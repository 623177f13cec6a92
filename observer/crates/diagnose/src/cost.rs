//! Parts of operations in, what they cost out: blocked time by the phases' rule
//! ([`model::phases`]), so that costs can be added and compared.
//!
//! Everything in flight is sorted once; a query about some parts is then one walk over it.

use model::operations::InFlight;
use model::phases::WAITED_FOR;
use model::record::Phase;
use model::time::{Ns, SinceStart};

/// Phases that operations can belong to.
const IN_FLIGHT: usize = Phase::Local as usize;
/// What is reported of idle intervals in the place of a phase.
const IDLE: usize = IN_FLIGHT;
/// Where the children that are waited for begin, by rank in [`WAITED_FOR`].
const CHILDREN: usize = IDLE + 1;
/// All that is counted.
const SLOTS: usize = CHILDREN + WAITED_FOR.len();
/// Units of a nanosecond: divisible by every number of phases (up to 13), and then by two.
const UNIT: u128 = 360_360 * 2;

/// Something begins or ends: when, in which phase, and whether it begins.
type Edge = (SinceStart, usize, bool);

/// A part of an operation: its place, from when, to when.
pub(crate) type Part = (Slot, SinceStart, SinceStart);

/// What of a timeline an operation is counted in: its phase, or children of that phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(usize);

impl From<Phase> for Slot {
    fn from(phase: Phase) -> Self {
        Self(phase as usize)
    }
}

impl From<&InFlight<'_>> for Slot {
    fn from(op: &InFlight<'_>) -> Self {
        let phase = op.operation.phase;
        match WAITED_FOR.iter().position(|one| *one == phase).filter(|_| op.is_child()) {
            Some(rank) => Self(CHILDREN + rank),
            None => Self(phase as usize),
        }
    }
}

/// Neither what is no operation's, nor what is asleep.
const fn counts(slot: usize) -> bool {
    slot != IDLE && slot < SLOTS
}

/// Everything that was in flight, and when the command slept.
pub(crate) struct Timeline {
    edges: Vec<Edge>,
    /// What is in flight before each [`EVERY`]th edge, so that a walk can begin anywhere
    before: Vec<[i32; SLOTS]>,
}

/// Edges from one note of what is in flight to the next.
const EVERY: usize = 256;

impl Timeline {
    /// Of what was in flight within `wall`, and the intervals in which every thread slept.
    pub(crate) fn new(
        wall: (SinceStart, SinceStart),
        in_flight: &[InFlight<'_>],
        idle: &[(SinceStart, SinceStart)],
    ) -> Self {
        let operations = in_flight.iter().map(|op| {
            let operation = op.operation;
            (Slot::from(op).0, operation.start_ns, operation.end_ns)
        });
        let idle = idle.iter().map(|&(from, to)| (IDLE, from, to));
        Self::of(edges(wall, operations.filter(|part| counts(part.0)).chain(idle)))
    }

    fn of(edges: Vec<Edge>) -> Self {
        let (mut all, mut before) = ([0; SLOTS], Vec::new());
        for part in edges.chunks(EVERY) {
            before.push(all);
            part.iter().for_each(|edge| turn(&mut all, edge));
        }
        Self { edges, before }
    }

    /// The first edge at `at` or behind, and what is in flight before it.
    fn from(&self, at: SinceStart) -> (usize, [i32; SLOTS]) {
        let begin = self.edges.partition_point(|edge| edge.0 < at);
        let noted = (begin / EVERY).min(self.before.len().saturating_sub(1));
        let mut all = self.before.get(noted).copied().unwrap_or_default();
        self.edges[noted * EVERY..begin].iter().for_each(|edge| turn(&mut all, edge));
        (begin, all)
    }

    /// Sleep within a span, with nothing in flight.
    pub(crate) fn unshared(&self, span: (SinceStart, SinceStart)) -> Ns {
        let (begin, mut all) = self.from(span.0);
        let (mut at, mut total) = (span.0, 0);
        for edge in self.edges[begin..].iter().take_while(|edge| edge.0 < span.1) {
            if edge.0 > at && all[IDLE] > 0 && all[..IDLE] == [0; IDLE] {
                total += edge.0 - at;
            }
            at = at.max(edge.0);
            turn(&mut all, edge);
        }
        if all[IDLE] > 0 && all[..IDLE] == [0; IDLE] { total + span.1.saturating_sub(at) } else { total }
    }

    /// Blocked time that is due to `parts`, each within an operation in flight. What else of the
    /// same phase was in flight bears half of it.
    pub(crate) fn cost(&self, parts: impl IntoIterator<Item = Part>) -> Ns {
        let parts = parts.into_iter().map(|(slot, from, to)| (slot.0, from, to));
        let wall = (SinceStart::ZERO, SinceStart::MAX);
        let marked = edges(wall, parts.filter(|part| counts(part.0)));
        let (Some(first), Some(last)) = (marked.first(), marked.last()) else { return 0 };
        let (begin, all) = self.from(first.0);
        let mut sweep = Sweep { all, ..Sweep::default() };
        let mut at = first.0;
        let mut ours = marked.iter().peekable();
        let mut all = self.edges[begin..].iter().take_while(|edge| edge.0 <= last.0).peekable();
        loop {
            let time = match (ours.peek(), all.peek()) {
                (Some(a), Some(b)) => a.0.min(b.0),
                (Some(a), None) => a.0,
                (None, _) => break,
            };
            sweep.advance(time - at);
            at = time;
            while let Some(edge) = all.next_if(|edge| edge.0 == time) {
                turn(&mut sweep.all, edge);
            }
            while let Some(edge) = ours.next_if(|edge| edge.0 == time) {
                turn(&mut sweep.marked, edge);
            }
        }
        Ns::try_from((sweep.units + UNIT / 2) / UNIT).unwrap_or(Ns::MAX)
    }
}

fn edges(
    wall: (SinceStart, SinceStart),
    parts: impl Iterator<Item = (usize, SinceStart, SinceStart)>,
) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (what, from, to) in parts {
        let (from, to) = (from.clamp(wall.0, wall.1), to.clamp(wall.0, wall.1));
        if from < to {
            edges.push((from, what, true));
            edges.push((to, what, false));
        }
    }
    edges.sort_unstable_by_key(|edge| edge.0);
    edges
}

fn turn(counts: &mut [i32; SLOTS], edge: &Edge) {
    counts[edge.1] += if edge.2 { 1 } else { -1 };
}

#[derive(Default)]
struct Sweep {
    /// In in-flight operation, by phase, and whether it sleeps
    all: [i32; SLOTS],
    /// Of them, parts asked about
    marked: [i32; SLOTS],
    units: u128,
}

impl Sweep {
    fn advance(&mut self, length: Ns) {
        if length == 0 || self.all[IDLE] <= 0 {
            return;
        }
        let in_flight = self.all[..IN_FLIGHT].iter().filter(|count| **count > 0).count() as u128;
        if in_flight == 0 {
            let children = self.all[CHILDREN..].iter().zip(&self.marked[CHILDREN..]);
            if let Some((all, marked)) = children.into_iter().find(|(all, _)| **all > 0)
                && *marked > 0
            {
                let share = u128::from(length) * UNIT;
                self.units += if all > marked { share / 2 } else { share };
            }
            return;
        }
        for (all, marked) in self.all.iter().zip(&self.marked).take(IN_FLIGHT) {
            if *marked > 0 && *all > 0 {
                let share = u128::from(length) * UNIT / in_flight;
                self.units += if all > marked { share / 2 } else { share };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations of ten seconds of sleep.
    fn cost(operations: &[(Phase, SinceStart, SinceStart)], parts: &[(Phase, SinceStart, SinceStart)]) -> Ns {
        let all = operations.iter().map(|&(phase, from, to)| (phase as usize, from, to));
        let edges = edges(
            (SinceStart(0), SinceStart(100)),
            all.chain([(IDLE, SinceStart(0), SinceStart(50)), (IDLE, SinceStart(60), SinceStart(100))]),
        );
        Timeline::of(edges).cost(parts.iter().map(|&(phase, from, to)| (phase.into(), from, to)))
    }

    #[test]
    fn only_time_in_which_the_command_sleeps_costs() {
        let request = (Phase::Proxy, SinceStart(40), SinceStart(70));
        assert_eq!(cost(&[request], &[request]), 20);
        assert_eq!(cost(&[request], &[(Phase::Proxy, SinceStart(45), SinceStart(55))]), 5);
        assert_eq!(cost(&[request], &[]), 0);
    }

    #[test]
    fn sleep_with_nothing_in_flight_is_unexplained() {
        let all = [
            (Phase::Vcs as usize, SinceStart(10), SinceStart(20)),
            (IDLE, SinceStart(0), SinceStart(50)),
            (IDLE, SinceStart(60), SinceStart(100)),
        ];
        let timeline = Timeline::of(edges((SinceStart(0), SinceStart(100)), all.into_iter()));
        assert_eq!(timeline.unshared((SinceStart(0), SinceStart(100))), 80);
        assert_eq!(
            (
                timeline.unshared((SinceStart(5), SinceStart(15))),
                timeline.unshared((SinceStart(45), SinceStart(70)))
            ),
            (5, 15)
        );
    }

    #[test]
    fn phases_share_the_time_and_what_else_a_phase_has_in_flight_bears_half_of_its_part() {
        let (request, lookup) =
            ((Phase::Proxy, SinceStart(0), SinceStart(40)), (Phase::Sumdb, SinceStart(20), SinceStart(40)));
        assert_eq!(cost(&[request, lookup], &[request]), 30);
        assert_eq!(cost(&[request, request, lookup], &[request]), 15);
        assert_eq!(cost(&[request, request, lookup], &[request, request]), 30);
        assert_eq!(cost(&[request, lookup], &[request, lookup]), 40);
    }
}
