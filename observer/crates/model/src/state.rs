//! Events in, everything that is known out. The same events give the same state, live or not.
//! Every history has a limit; what does not fit is counted as loss.
//!
//! # Bounds
//!
//! Maps, ring, histories and parsers have limits (`observer-common/src/limits.rs`,
//! `model/state.rs::Limits`, constants beside each parser). What does not fit is counted in `loss`.
//! Of a table that users can fill, one user gets as much as is left for the others (`agent/quota.rs`).
//! Of one ELF file at most 80 MB are read.
//! When the ring overflows, every HTTP/2 header table is given up before the records behind the gap
//! are decoded: a path is then unknown, never wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Body, DnsWait, Event, LockWait, Mark, ResetMark, Session, Waiting, WindowMark};
use super::record::{
    Command, Connection, ConnectionOutcome, Dns, Gap, Loss, Process, Request, RequestOutcome,
};
use crate::id::{CommandId, ConnectionId, DnsId, DnsWaitId, LockId, Pid, RequestId};
use crate::time::{Ns, SinceStart};

/// How much is kept, over all commands together. The last quarter of each is for commands that
/// have less than a quarter themselves: one that runs away does not take the others' room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Commands
    pub commands: usize,
    /// Idle intervals (16 bytes each)
    pub idle: usize,
    /// Processes
    pub processes: usize,
    /// DNS queries
    pub dns: usize,
    /// Connections
    pub connections: usize,
    /// Requests
    pub requests: usize,
    /// Lock waits
    pub locks: usize,
    /// Retransmissions, resets and window changes
    pub marks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commands: 10_000,
            idle: 4_000_000,
            processes: 50_000,
            dns: 50_000,
            connections: 50_000,
            requests: 200_000,
            locks: 50_000,
            marks: 200_000,
        }
    }
}

/// How many commands' numbers are remembered after they were cleared, so that a late event
/// about one does not bring it back.
const CLEARED_MAX: usize = 1024;

/// Gaps kept of one command; later ones lengthen the last.
const GAPS_MAX: usize = 1024;

/// A query and when it was given up.
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// The latest record
    pub record: Dns,
    /// When an event first said that it was given up
    pub given_up_ns: Option<SinceStart>,
}

/// Something that is one moment at a connection.
#[derive(Clone, PartialEq, Debug)]
pub enum Moment {
    /// A segment was retransmitted
    Retransmission(Mark),
    /// A reset
    Reset(ResetMark),
    /// A window closed or opened
    Window(WindowMark),
}

/// What is known of one command.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CommandState {
    /// The command itself; `None` while only its spans were reported
    pub record: Option<Command>,
    /// Intervals in which every thread slept, in order, disjoint
    pub idle: Vec<(SinceStart, SinceStart)>,
    /// Gaps in what is known of it, in order, disjoint
    pub gaps: Vec<Gap>,
    /// Its processes by start and pid
    pub processes: BTreeMap<(SinceStart, Pid), Process>,
    /// Its queries by number
    pub dns: BTreeMap<DnsId, Query>,
    /// Its waits for name servers that were there when it was found, by number
    pub dns_waits: BTreeMap<DnsWaitId, DnsWait>,
    /// Its connections by number. How many requests one carries is counted here
    pub connections: BTreeMap<ConnectionId, Connection>,
    /// Its requests by number; shared, so that a copy of a large command is cheap
    pub requests: BTreeMap<RequestId, Arc<Request>>,
    /// Its lock waits by number
    pub locks: BTreeMap<LockId, LockWait>,
    /// What happened at its connections, as it came
    pub moments: Vec<(SinceStart, Moment)>,
    /// The latest announcement of a wait, and when it was made
    pub waiting: Option<(SinceStart, Waiting)>,
    /// How many events it has taken in: whoever keeps something made of it sees that it is old
    pub changes: u64,
    /// Requests that were reported of a connection
    carried: BTreeMap<ConnectionId, u32>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Held {
    idle: usize,
    processes: usize,
    dns: usize,
    connections: usize,
    requests: usize,
    locks: usize,
    marks: usize,
}

/// Everything that is known of an observation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    session: Option<Session>,
    commands: BTreeMap<CommandId, CommandState>,
    loss: Loss,
    overflow: u64,
    end: Option<SinceStart>,
    latest_ns: SinceStart,
    cleared: BTreeSet<CommandId>,
    held: Held,
    limits: Limits,
}

impl State {
    /// Nothing known yet, ordinary limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing known yet, limits of the caller's.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes one event in.
    pub fn apply(&mut self, event: &Event) {
        self.latest_ns = self.latest_ns.max(event.at_ns);
        if !self.take(event) {
            self.overflow = self.overflow.saturating_add(1);
        }
    }

    /// Forgets an ended command with all that belongs to it. Later events about it are ignored.
    pub fn clear_command(&mut self, id: CommandId) {
        if let Some(gone) = self.commands.remove(&id) {
            self.held.idle -= gone.idle.len();
            self.held.processes -= gone.processes.len();
            self.held.dns -= gone.dns.len() + gone.dns_waits.len();
            self.held.connections -= gone.connections.len();
            self.held.requests -= gone.requests.len();
            self.held.locks -= gone.locks.len();
            self.held.marks -= gone.moments.len();
        }
        self.cleared.insert(id);
        if self.cleared.len() > CLEARED_MAX {
            self.cleared.pop_first(); // numbers grow: the oldest
        }
    }

    /// What was known before the first event.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Commands by number; those of which only spans are known have no record.
    pub fn commands(&self) -> impl Iterator<Item = (CommandId, &CommandState)> {
        self.commands.iter().map(|(id, command)| (*id, command))
    }

    /// One command.
    pub fn command(&self, id: CommandId) -> Option<&CommandState> {
        self.commands.get(&id)
    }

    /// What was not seen. Updates that did not fit into the histories are counted among the
    /// events that were not understood.
    pub fn loss(&self) -> Loss {
        let events_undecoded = self.loss.events_undecoded.saturating_add(self.overflow);
        Loss { events_undecoded, ..self.loss }
    }

    /// Updates that did not fit into the histories.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// The end of the observation when it ended in order.
    pub fn ended(&self) -> Option<SinceStart> {
        self.end
    }

    /// The time of the latest event: the end of an observation that was cut off.
    pub fn latest_ns(&self) -> SinceStart {
        self.latest_ns
    }

    /// Until when was observed: to the end, or to the latest event.
    pub fn until(&self) -> SinceStart {
        self.end.unwrap_or(self.latest_ns)
    }

    /// How long was observed: to [`State::until`].
    pub fn duration_ns(&self) -> Ns {
        self.until() - SinceStart::ZERO
    }

    /// False when it did not fit.
    fn take(&mut self, event: &Event) -> bool {
        let id = match &event.body {
            Body::Session(session) => {
                self.session = Some(session.clone());
                return true;
            }
            Body::Loss(loss) => {
                self.loss = *loss;
                return true;
            }
            Body::End(end) => {
                self.end = Some(SinceStart::ZERO + end.duration_ns);
                return true;
            }
            // The detectors find it anew in what else is reported.
            Body::Stall(_) | Body::Blocked(_) => return true,
            Body::Command(update) => update.command.id,
            Body::Idle(idle) => idle.command,
            Body::Process(process) => process.command,
            Body::Dns(dns) => dns.command,
            Body::Connection(connection) => connection.command,
            Body::Request(request) => request.command,
            Body::RequestUpdate(update) => update.command,
            Body::Retransmission(mark) => mark.command,
            Body::Reset(mark) => mark.command,
            Body::Window(mark) => mark.command,
            Body::Lock(wait) => wait.command,
            Body::DnsWait(wait) => wait.command,
            Body::Waiting(waiting) => waiting.command,
        };
        if self.cleared.contains(&id) {
            return true;
        }
        if !self.commands.contains_key(&id) && self.commands.len() >= self.limits.commands {
            return false;
        }
        let command = self.commands.entry(id).or_default();
        command.take(event, &mut self.held, &self.limits)
    }
}

impl CommandState {
    fn take(&mut self, event: &Event, held: &mut Held, limits: &Limits) -> bool {
        let at = event.at_ns;
        self.changes += 1;
        match &event.body {
            Body::Session(_) | Body::Loss(_) | Body::Stall(_) | Body::Blocked(_) | Body::End(_) => true,
            Body::Command(update) => {
                self.record = Some(update.command.clone());
                update.gaps.iter().for_each(|gap| self.gap(*gap));
                self.slept(&update.idle, &mut held.idle, limits.idle)
            }
            Body::Idle(update) => {
                if let Some(record) = &mut self.record {
                    record.local = update.local.or(record.local);
                }
                update.gaps.iter().for_each(|gap| self.gap(*gap));
                self.slept(&update.idle, &mut held.idle, limits.idle)
            }
            Body::Process(record) => {
                let key = (record.start_ns, record.pid);
                upsert(&mut self.processes, key, record, &mut held.processes, limits.processes)
            }
            Body::Dns(record) => {
                let former = self.dns.get(&record.id).and_then(|query| query.given_up_ns);
                let given_up_ns = former.or_else(|| record.timed_out.then_some(at));
                let query = Query { record: record.clone(), given_up_ns };
                upsert(&mut self.dns, record.id, &query, &mut held.dns, limits.dns)
            }
            Body::Connection(record) => {
                let mut record = record.clone();
                // A recording is exact where it ends; what carries requests meanwhile is not reported again.
                record.requests = record.requests.max(self.carried.get(&record.id).copied().unwrap_or(0));
                upsert(&mut self.connections, record.id, &record, &mut held.connections, limits.connections)
            }
            Body::Request(record) => {
                let new = !self.requests.contains_key(&record.id);
                let record = Arc::new(record.clone());
                let fits =
                    upsert(&mut self.requests, record.id, &record, &mut held.requests, limits.requests);
                if let Some(connection) = record.connection.filter(|_| new && fits) {
                    self.carries(connection);
                }
                fits
            }
            Body::RequestUpdate(update) => {
                let request = self.requests.get_mut(&update.id);
                let known = request.is_some();
                request.into_iter().for_each(|request| update.enter(Arc::make_mut(request)));
                known
            }
            Body::Lock(record) => upsert(&mut self.locks, record.id, record, &mut held.locks, limits.locks),
            Body::DnsWait(record) => {
                upsert(&mut self.dns_waits, record.id, record, &mut held.dns, limits.dns)
            }
            Body::Retransmission(mark) => self.moment(at, Moment::Retransmission(mark.clone()), held, limits),
            Body::Reset(mark) => self.moment(at, Moment::Reset(mark.clone()), held, limits),
            Body::Window(mark) => self.moment(at, Moment::Window(mark.clone()), held, limits),
            Body::Waiting(waiting) => {
                self.waiting = Some((at, waiting.clone()));
                true
            }
        }
    }

    /// A request more on that connection.
    fn carries(&mut self, connection: ConnectionId) {
        let carried = self.carried.entry(connection).or_default();
        *carried += 1;
        if let Some(record) = self.connections.get_mut(&connection) {
            record.requests = record.requests.max(*carried);
        }
    }

    /// Intervals come in order; one that overlaps the last is cut, one that touches it joins it.
    fn slept(&mut self, intervals: &[(SinceStart, SinceStart)], held: &mut usize, limit: usize) -> bool {
        let mut fits = true;
        for &(start, end) in intervals {
            let own = self.idle.len();
            let last = self.idle.last_mut();
            let start = last.as_ref().map_or(start, |last| start.max(last.1));
            match last {
                _ if start >= end => {}
                Some(last) if last.1 == start => last.1 = end,
                _ if fits_in(own, *held, limit) => {
                    self.idle.push((start, end));
                    *held += 1;
                }
                _ => fits = false,
            }
        }
        fits
    }

    /// What was open when records were lost may have ended: whatever is seen of it later says more.
    fn gap(&mut self, gap: Gap) {
        let full = self.gaps.len() >= GAPS_MAX;
        if let Some(last) = self.gaps.last_mut() {
            let same = last.start_ns == gap.start_ns;
            if same || full {
                last.end_ns = last.end_ns.max(gap.end_ns);
                last.idle_ns = gap.idle_ns.filter(|_| same);
                return;
            }
        }
        let start_ns = self.gaps.last().map_or(gap.start_ns, |last| gap.start_ns.max(last.end_ns));
        if start_ns >= gap.end_ns {
            return;
        }
        self.gaps.push(Gap { start_ns, ..gap });
        for request in self.requests.values_mut().filter(|request| request.end_ns.is_none()) {
            Arc::make_mut(request).outcome = RequestOutcome::Unknown;
        }
        for connection in self.connections.values_mut().filter(|connection| connection.end_ns.is_none()) {
            connection.outcome = ConnectionOutcome::Unknown;
        }
    }

    fn moment(&mut self, at: SinceStart, moment: Moment, held: &mut Held, limits: &Limits) -> bool {
        let fits = fits_in(self.moments.len(), held.marks, limits.marks);
        if fits {
            self.moments.push((at, moment));
            held.marks += 1;
        }
        fits
    }
}

/// Whether a command that has `own` of the `held` entries may have one more.
const fn fits_in(own: usize, held: usize, limit: usize) -> bool {
    held < limit && (own < limit.div_ceil(4) || held < limit - limit / 4)
}

fn upsert<K: Ord, V: Clone>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: &V,
    held: &mut usize,
    limit: usize,
) -> bool {
    if let Some(known) = map.get_mut(&key) {
        *known = value.clone();
        return true;
    }
    let fits = fits_in(map.len(), *held, limit);
    if fits {
        map.insert(key, value.clone());
        *held += 1;
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CommandUpdate, End};

    fn at(at_ns: SinceStart, body: Body) -> Event {
        Event { at_ns, body }
    }

    fn request(command: CommandId, id: RequestId) -> Body {
        Body::Request(Request { command, id, ..Request::default() })
    }

    fn intervals(idle: &[(SinceStart, SinceStart)]) -> Body {
        let command = Command { id: CommandId(1), ..Command::default() };
        Body::Command(CommandUpdate { command, idle: idle.to_vec(), gaps: Vec::new() })
    }

    #[test]
    fn a_later_record_replaces_the_earlier() {
        let mut state = State::new();
        state.apply(&at(SinceStart(1), request(CommandId(1), RequestId(7))));
        state.apply(&at(
            SinceStart(2),
            Body::Request(Request {
                command: CommandId(1),
                id: RequestId(7),
                bytes: Some(9),
                ..Request::default()
            }),
        ));
        let requests = &state.command(CommandId(1)).unwrap().requests;
        assert_eq!((requests.len(), requests[&RequestId(7)].bytes), (1, Some(9)));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_updates_still_fit() {
        let mut state = State::with_limits(Limits { requests: 1, commands: 2, ..Limits::default() });
        state.apply(&at(SinceStart(1), request(CommandId(1), RequestId(1))));
        state.apply(&at(SinceStart(2), request(CommandId(1), RequestId(2))));
        state.apply(&at(SinceStart(3), request(CommandId(2), RequestId(3))));
        state.apply(&at(SinceStart(4), request(CommandId(3), RequestId(4))));
        state.apply(&at(SinceStart(5), request(CommandId(1), RequestId(1))));
        assert_eq!((state.overflow(), state.loss().events_undecoded), (3, 3));
        state.apply(&at(SinceStart(6), Body::Loss(Loss { events_undecoded: 2, ..Loss::default() })));
        assert_eq!(state.loss().events_undecoded, 5);
    }

    #[test]
    fn a_command_that_runs_away_leaves_room_for_the_others() {
        let mut state = State::with_limits(Limits { requests: 100, ..Limits::default() });
        for id in 0..1000 {
            state.apply(&at(SinceStart(1), request(CommandId(1), RequestId(id))));
        }
        assert_eq!((state.command(CommandId(1)).unwrap().requests.len(), state.overflow()), (75, 925));
        for id in 1000..1020 {
            state.apply(&at(SinceStart(1), request(CommandId(2), RequestId(id))));
        }
        assert_eq!((state.command(CommandId(2)).unwrap().requests.len(), state.overflow()), (20, 925));
    }

    #[test]
    fn clearing_a_command_makes_room_and_late_events_do_not_bring_it_back() {
        let mut state = State::with_limits(Limits { requests: 1, ..Limits::default() });
        for id in 1..=5000 {
            state.apply(&at(SinceStart(1), request(CommandId(id), RequestId(id))));
            state.clear_command(CommandId(id));
            state.apply(&at(SinceStart(2), request(CommandId(id), RequestId(id))));
        }
        assert_eq!((state.commands().count(), state.overflow()), (0, 0));
        assert!(state.cleared.len() <= CLEARED_MAX);
    }

    #[test]
    fn intervals_that_touch_or_overlap_become_one() {
        let mut state = State::with_limits(Limits { idle: 2, ..Limits::default() });
        state.apply(&at(
            SinceStart(9),
            intervals(&[
                (SinceStart(1), SinceStart(3)),
                (SinceStart(3), SinceStart(5)),
                (SinceStart(4), SinceStart(6)),
                (SinceStart(9), SinceStart(8)),
            ]),
        ));
        state.apply(&at(SinceStart(9), intervals(&[(SinceStart(7), SinceStart(9))])));
        assert_eq!(
            state.command(CommandId(1)).unwrap().idle,
            [(SinceStart(1), SinceStart(6)), (SinceStart(7), SinceStart(9))]
        );
        state.apply(&at(
            SinceStart(20),
            intervals(&[(SinceStart(9), SinceStart(10)), (SinceStart(12), SinceStart(13))]),
        ));
        assert_eq!(
            state.command(CommandId(1)).unwrap().idle,
            [(SinceStart(1), SinceStart(6)), (SinceStart(7), SinceStart(10))]
        );
        assert_eq!(state.overflow(), 1);
    }

    #[test]
    fn giving_up_is_dated_by_the_event_that_first_says_so() {
        let mut state = State::new();
        let query = Dns { command: CommandId(1), id: DnsId(1), timed_out: true, ..Dns::default() };
        state.apply(&at(SinceStart(5), Body::Dns(Dns { timed_out: false, ..query.clone() })));
        state.apply(&at(SinceStart(8), Body::Dns(query.clone())));
        state.apply(&at(SinceStart(9), Body::Dns(query)));
        assert_eq!(state.command(CommandId(1)).unwrap().dns[&DnsId(1)].given_up_ns, Some(SinceStart(8)));
    }

    #[test]
    fn the_length_is_the_end_or_the_latest_event() {
        let mut state = State::new();
        state.apply(&at(SinceStart(5), request(CommandId(1), RequestId(1))));
        state.apply(&at(SinceStart(4), request(CommandId(1), RequestId(2))));
        assert_eq!((state.ended(), state.duration_ns()), (None, 5));
        state.apply(&at(SinceStart(6), Body::End(End { duration_ns: 6 })));
        assert_eq!((state.ended(), state.duration_ns()), (Some(SinceStart(6)), 6));
    }
}
