//! What the screens need of one command, worked out now and then: its phases, its wait, its
//! stalls. In: a [`CommandState`] and the present. Out: a [`Digest`], kept until it is old.
//!
//! How old it may get grows with the command, so that the work stays below a few hundredths of a
//! core however many spans there are.

use std::collections::HashMap;
use std::rc::Rc;

use diagnose::Seen;
use model::event::Waiting;
use model::id::CommandId;
use model::operations::{InFlight, Threads};
use model::phases::Split;
use model::report::Stall;
use model::state::CommandState;
use model::time::{Ns, SinceStart};
use model::waiting::{EVERY_NS, oldest, waiting_for};

use super::background::{Background, Done, Job};
use super::explain;
use super::table::Order;
use super::timeline::lanes::{self, Lane};
use super::view::{Focus, Tab, View};
use crate::kinds::groups;

/// A digest is at least this old when it is made anew.
const AGE_NS: Ns = 30_000_000;
/// And this much older for each span of its command.
const AGE_A_SPAN_NS: Ns = 20_000;
/// From so many spans on a command is worked through beside the frames: here it would take longer
/// than half a frame.
const BACKGROUND_MIN: usize = 2_000;
/// Packages that are named of a kind of process.
const PACKAGES: usize = 12;
/// Spans that are worked through in one frame for commands that are not opened.
const SPANS_A_FRAME: usize = 4_000;

/// What a command waits for.
#[derive(Clone, PartialEq, Debug)]
pub struct Wait {
    /// What, whom, since when
    pub waiting: Waiting,
    /// What is known about it, a few words each
    pub why: Vec<String>,
    /// Something was retransmitted already: it is worth reporting at once
    pub retried: bool,
}

impl Wait {
    /// It has lasted long enough to be reported, or there is a sign that it will.
    pub fn reports(&self, now: SinceStart) -> bool {
        self.retried || now.saturating_sub(self.waiting.since_ns) >= EVERY_NS
    }
}

/// A command at one moment.
#[derive(Clone, Debug)]
pub struct Digest {
    /// When it was made
    at: SinceStart,
    changes: u64,
    /// Queries, connections, requests, locks
    pub spans: usize,
    /// Where its time went
    pub split: Split,
    /// What was found, the worst first
    pub stalls: Vec<Stall>,
    /// What it waits for
    pub wait: Option<Wait>,
    /// Operations in flight
    pub in_flight: usize,
    /// Requests that have ended
    pub requests_done: usize,
    /// Kinds of processes that it ran, the costliest first: what, how many and at what cost, and the costliest
    /// packages
    pub kinds: Vec<(String, String)>,
    /// The look that it was made of
    pub seen: Seen,
}

impl Digest {
    /// Works it out.
    pub fn new(command: &CommandState, id: CommandId, now: SinceStart, threads: Threads) -> Self {
        let ended = command.record.as_ref().is_some_and(|record| record.wall_ns.is_some());
        let in_flight = command.in_flight(command.wall(now).1);
        let found = if ended { None } else { oldest(&in_flight, now) };
        let open = |op: &&InFlight<'_>| !ended && op.open && op.operation.start_ns <= now;
        let seen = Seen::new(command, now, threads);
        let diagnosis = &seen.diagnosis;
        let split =
            diagnosis.split.clone().unwrap_or_else(|| command.split_in_flight(&in_flight, now, threads));
        Self {
            at: now,
            changes: command.changes,
            spans: spans(command),
            split,
            stalls: diagnosis.stalls.iter().map(|found| found.stall.clone()).collect(),
            wait: found.map(|op| Wait {
                waiting: Waiting { because: diagnosis.because.clone(), ..waiting_for(command, id, op, now) },
                why: explain::explain(command, op, now),
                retried: explain::retried(op),
            }),
            in_flight: in_flight.iter().filter(open).count(),
            requests_done: command.requests.values().filter(|request| request.end_ns.is_some()).count(),
            kinds: groups(command.processes.values(), command.wall(now).1)
                .iter()
                .map(|group| (group.words(), group.costliest(PACKAGES).join(", ")))
                .collect(),
            seen,
        }
    }

    fn is_old(&self, command: &CommandState, now: SinceStart, stands: bool) -> bool {
        let ended = command.record.as_ref().is_some_and(|record| record.wall_ns.is_some());
        if self.changes == command.changes && (ended || self.at == now) {
            return false;
        }
        let age = AGE_NS + AGE_A_SPAN_NS * self.spans as Ns;
        now < self.at || now - self.at >= age || ended || stands
    }
}

fn spans(command: &CommandState) -> usize {
    command.dns.len()
        + command.connections.len()
        + command.requests.len()
        + command.locks.len()
        + command.processes.len()
}

/// What makes the lanes of a timeline what they are.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct LanesKey {
    command: CommandId,
    changes: u64,
    /// What is singled out
    pub focus: Option<Focus>,
    /// What they contain
    pub filter: String,
}

impl LanesKey {
    /// The same is looked at, if not the same spans.
    fn like(&self, other: &Self) -> bool {
        (self.command, self.focus, &self.filter) == (other.command, other.focus, &other.filter)
    }
}

/// What was worked out already.
#[derive(Debug, Default)]
pub struct Cache {
    digests: HashMap<CommandId, Rc<Digest>>,
    lanes: Option<(LanesKey, SinceStart, Rc<Vec<Lane>>)>,
    /// Rows of the table that was shown last
    pub(super) order: Option<(Tab, Order)>,
    spent: usize,
    background: Option<Background>,
}

impl Cache {
    /// One for which a thread works out what would take long. Its frames are a little late with large
    /// commands, where those of an ordinary one are made from nothing but their arguments.
    pub fn with_background() -> Self {
        Self { background: Background::start(), ..Self::default() }
    }

    /// Something is still being worked out: the next frame will show more.
    pub fn busy(&self) -> bool {
        self.background.as_ref().is_some_and(Background::busy)
    }

    /// Whether that command is worked through beside the frames.
    pub(super) fn is_in_background(&self, command: &CommandState) -> bool {
        self.background.is_some() && spans(command) >= BACKGROUND_MIN
    }

    /// The latest look at that command.
    pub fn seen(&self, command: CommandId) -> Option<&Seen> {
        self.digests.get(&command).map(|digest| &digest.seen)
    }

    /// A frame begins: commands that are gone are forgotten.
    pub fn begin(&mut self, known: impl Fn(CommandId) -> bool) {
        if let Some(Done { id, digest, lanes, order }) = self.background.as_mut().and_then(Background::take) {
            self.digests.insert(id, Rc::new(digest));
            if let Some((key, at, lanes)) = lanes
                && self.lanes.as_ref().is_some_and(|(known, ..)| known.like(&key))
            {
                self.lanes = Some((key, at, Rc::new(lanes)));
            }
            if let Some((tab, order)) = order
                && self.order.as_ref().is_some_and(|(known, rows)| *known == tab && rows.like(&order))
            {
                self.order = Some((tab, order));
            }
        }
        self.digests.retain(|id, _| known(*id));
        self.spent = 0;
    }

    /// What is looked at of that command.
    fn job(&self, command: &CommandState, id: CommandId, now: SinceStart, view: &View) -> Job {
        let lanes = self.lanes.as_ref().map(|(key, ..)| key).filter(|key| key.command == id);
        let lanes = lanes.filter(|_| view.tab == Tab::Timeline);
        let list = view.lists[view.tab as usize];
        let order = self.order.as_ref().filter(|(tab, _)| *tab == view.tab);
        Job {
            command: command.clone(),
            id,
            now,
            threads: view.asleep.get(&id).into(),
            lanes: lanes.map(|key| LanesKey { changes: command.changes, ..key.clone() }),
            order: order.map(|(tab, _)| {
                let narrow = view.narrow(now);
                (*tab, list, (view.filter.clone(), narrow.hide_ended, narrow.since))
            }),
        }
    }

    /// The digest of the command that is opened.
    pub fn digest(
        &mut self,
        command: &CommandState,
        id: CommandId,
        now: SinceStart,
        view: &View,
    ) -> Rc<Digest> {
        let known = self.digests.get(&id).cloned();
        if let Some(digest) = known.as_ref().filter(|digest| !digest.is_old(command, now, view.stands())) {
            return Rc::clone(digest);
        }
        if let Some(digest) = known.filter(|digest| self.is_in_background(command) && now >= digest.at) {
            if !self.busy() {
                let job = self.job(command, id, now, view);
                if let Some(beside) = &mut self.background {
                    beside.give(job);
                }
            }
            return digest;
        }
        let digest = Rc::new(Digest::new(command, id, now, view.asleep.get(&id).into()));
        self.digests.insert(id, Rc::clone(&digest));
        digest
    }

    /// The digest of one of many: an older one when this frame has worked enough.
    pub fn glance(
        &mut self,
        command: &CommandState,
        id: CommandId,
        now: SinceStart,
        view: &View,
    ) -> Rc<Digest> {
        let known = self.digests.get(&id);
        if let Some(digest) = known.filter(|digest| now >= digest.at && self.spent > SPANS_A_FRAME) {
            return Rc::clone(digest);
        }
        let before = known.map(|digest| digest.at);
        let digest = self.digest(command, id, now, view);
        if before != Some(digest.at) {
            self.spent += digest.spans + 20;
        }
        digest
    }

    /// The lanes of a command's timeline.
    pub fn lanes(
        &mut self,
        command: &CommandState,
        id: CommandId,
        now: SinceStart,
        view: &View,
    ) -> Rc<Vec<Lane>> {
        let key = LanesKey {
            command: id,
            changes: command.changes,
            focus: view.timeline.focus,
            filter: view.filter.clone(),
        };
        if let Some((known, at, lanes)) = &self.lanes {
            let young =
                !view.stands() && now >= *at && now - *at < AGE_NS + AGE_A_SPAN_NS * spans(command) as Ns;
            let fresh = known.changes == key.changes || young || self.is_in_background(command);
            if known.like(&key) && now >= *at && fresh {
                return Rc::clone(lanes);
            }
        }
        let lanes = Rc::new(lanes::lanes(command, now, view.timeline.focus, &view.filter));
        self.lanes = Some((key, now, Rc::clone(&lanes)));
        lanes
    }
}
