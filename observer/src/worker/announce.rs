//! What is reported of a command while it waits: that it does, and what was found. In: the state, now
//! and then. Out: events.

use std::collections::BTreeMap;

use diagnose::Seen;
use diagnose::live::Reporter;
use model::State;
use model::event::Body;
use model::id::CommandId;
use model::time::{Monotonic, Ns, SinceStart};
use model::waiting::Announcer;

/// Waits are looked for at every third tick: it takes a walk over what is in flight.
const WAITS_TICKS: u32 = 3;
/// Detectors run twice a second at most: a threshold is reported half a second later at the latest …
const DIAGNOSE_EVERY_NS: Ns = 450_000_000;
/// … or as much later as keeps them below so many hundredths of a core.
const LOAD_PERCENT: Ns = 2;

/// What was reported.
#[derive(Default)]
pub(super) struct Announcements {
    waits: Announcer,
    stalls: Reporter,
    ticks: u32,
    /// When the detectors run next
    next_ns: SinceStart,
}

impl Announcements {
    /// A tick, ten times a second: what is to be reported at `now`. `asleep`, as for the dashboard, is
    /// asked only when the detectors run. `clock` shows what they cost. `seen`: a look that was had for
    /// the dashboard.
    pub(super) fn tick(
        &mut self,
        state: &State,
        now: SinceStart,
        asleep: impl FnOnce() -> BTreeMap<CommandId, Option<SinceStart>>,
        clock: impl Fn() -> Monotonic,
        seen: impl Fn(CommandId) -> Option<Seen>,
    ) -> Vec<Body> {
        self.ticks = self.ticks.wrapping_add(1);
        let waits =
            if self.ticks.is_multiple_of(WAITS_TICKS) { self.waits.due(state, now) } else { Vec::new() };
        let mut bodies = Vec::new();
        if now >= self.next_ns {
            let begun = clock();
            bodies.extend(self.diagnose(state, now, &asleep(), seen));
            let took = clock().saturating_sub(begun);
            self.next_ns = now + DIAGNOSE_EVERY_NS.max(took * 100 / LOAD_PERCENT);
        }
        for mut waiting in waits {
            waiting.because = self.because(waiting.command).map(str::to_owned);
            bodies.push(Body::Waiting(waiting));
        }
        bodies
    }

    /// What was found by now.
    pub(super) fn diagnose(
        &mut self,
        state: &State,
        now: SinceStart,
        asleep: &BTreeMap<CommandId, Option<SinceStart>>,
        seen: impl Fn(CommandId) -> Option<Seen>,
    ) -> Vec<Body> {
        let Self { waits, stalls, .. } = self;
        let reported = stalls.due(state, now, asleep, |command| waits.since(command), seen);
        reported.into_iter().map(Body::Stall).collect()
    }

    /// The last look at that command.
    pub(super) fn seen(&self, command: CommandId) -> Option<&Seen> {
        self.stalls.seen(command)
    }

    /// Why that command waits for what it waits for.
    pub(super) fn because(&self, command: CommandId) -> Option<&str> {
        self.stalls.because(command)
    }
}
