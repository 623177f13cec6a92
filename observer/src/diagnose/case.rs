//! A command as detectors look at it, and what a set of its operations cost.

use std::cell::OnceCell;

use super::cost::Timeline;
use crate::model::operations::{Flight, Subject};
use crate::model::phases::{Input, Operation, Split, split};
use crate::model::record::{Command, Connection, Dns, Ns, Request};
use crate::model::state::CommandState;

/// What detectors look at.
pub struct Case<'a> {
    /// Everything that is known
    pub command: &'a CommandState,
    /// The command itself
    pub record: &'a Command,
    /// Begin and end, or `now`
    pub wall: (Ns, Ns),
    /// Everything that was in flight
    pub flights: Vec<Flight<'a>>,
    /// Where the time went, once somebody asked
    split: OnceCell<Split>,
    /// Spells of sleep as they were told, and as costs see them
    told_idle: Vec<(Ns, Ns)>,
    idle: Vec<(Ns, Ns)>,
    timeline: Timeline,
}

/// A part of time.
pub type Span = (Ns, Ns);

impl<'a> Case<'a> {
    /// `None` while only spans of the command are known. `asleep_since`: since when every thread
    /// sleeps, for a live view that can read the spell that has not ended yet.
    pub fn new(command: &'a CommandState, now: Ns, asleep_since: Option<Ns>) -> Option<Self> {
        let record = command.record.as_ref()?;
        let wall = command.wall(now);
        let flights = command.flights(wall.1);
        let mut idle = command.idle.clone();
        // The spell that goes on is told when it ends; until then a command with something open and
        // no sign of life sleeps.
        let told = idle.last().map_or(wall.0, |spell| spell.1);
        let life = flights.iter().fold(told, |latest, flight| {
            let end = if flight.open { 0 } else { flight.operation.end_ns };
            latest.max(flight.operation.start_ns).max(end)
        });
        let waits = flights.iter().any(|flight| flight.open);
        let since = asleep_since.map(|since| since.max(told)).or(waits.then_some(life));
        if let Some(since) = since.filter(|since| record.wall_ns.is_none() && *since < wall.1) {
            idle.push((since, wall.1));
        }
        let told_idle = idle.clone();
        if record.local.is_none() {
            // The scheduler was not observed: by the rule, all time counts as sleep.
            idle = vec![wall];
        }
        let timeline = Timeline::new(wall, &flights, &idle);
        let split = OnceCell::new();
        Some(Self { command, record, wall, flights, split, told_idle, idle, timeline })
    }

    /// Where the time went.
    pub fn split(&self) -> &Split {
        self.split.get_or_init(|| {
            let operations: Vec<Operation<'_>> = self.flights.iter().map(|flight| flight.operation).collect();
            let (wall, local) = (self.wall, self.record.local);
            split(&Input { wall, idle: &self.told_idle, local, operations: &operations })
        })
    }

    /// How long the command has run.
    pub fn wall_ns(&self) -> Ns {
        self.wall.1 - self.wall.0
    }

    /// It ended and failed.
    pub fn failed(&self) -> bool {
        self.record.signal.is_some() || self.record.exit_code.is_some_and(|code| code != 0)
    }

    /// Blocked time, by the phases' rule, that is due to the part of each operation that `part`
    /// names. What else of the same phase was in flight bears its half.
    pub fn cost(&self, part: impl Fn(&Flight<'a>) -> Option<Span>) -> Ns {
        let parts = self.flights.iter().filter_map(|flight| {
            let operation = &flight.operation;
            let (from, to) = part(flight)?;
            Some((operation.phase, from.max(operation.start_ns), to.min(operation.end_ns)))
        });
        self.timeline.cost(parts)
    }

    /// Idle time within a span, whatever was in flight.
    pub fn idle_within(&self, span: Span) -> Ns {
        let first = self.idle.partition_point(|spell| spell.1 <= span.0);
        let spells = self.idle[first..].iter().take_while(|spell| spell.0 < span.1);
        spells.map(|&(from, to)| to.min(span.1).saturating_sub(from.max(span.0))).sum()
    }

    /// Of that, with nothing in flight.
    pub fn unexplained_within(&self, span: Span) -> Ns {
        self.timeline.unexplained(span)
    }

    /// Questions of the command's own processes, with when they ended or were given up.
    pub fn questions(&self) -> impl Iterator<Item = (&'a Dns, Option<Ns>)> {
        let own = self.command.dns.values().filter(|question| question.record.on_behalf_of.is_none());
        own.map(|question| (&question.record, question.record.end_ns.or(question.given_up_ns)))
    }

    /// Its connections.
    pub fn connections(&self) -> impl Iterator<Item = &'a Connection> {
        self.command.connections.values()
    }

    /// Its requests.
    pub fn requests(&self) -> impl Iterator<Item = &'a Request> {
        self.command.requests.values().map(|request| &**request)
    }

    /// Blocked time of whole requests.
    pub fn cost_of_requests(&self, which: impl Fn(&Request) -> bool) -> Ns {
        self.cost(|flight| match flight.subject {
            Subject::Request(request) if which(request) => Some(whole(flight)),
            _ => None,
        })
    }

    /// Blocked time of whole handshakes, of TCP or TLS.
    pub fn cost_of_handshakes(&self, tls: bool, which: impl Fn(&Connection) -> bool) -> Ns {
        self.cost(|flight| match flight.subject {
            Subject::Connect(connection) if !tls && which(connection) => Some(whole(flight)),
            Subject::Tls(connection) if tls && which(connection) => Some(whole(flight)),
            _ => None,
        })
    }

    /// The name that was looked up last by that process before it connected: whom a connection is
    /// for, when it did not come far enough to say so itself.
    pub fn name_of(&self, connection: &Connection) -> Option<&'a str> {
        let own = self.command.connections.get(&connection.id)?;
        if let Some(name) = &own.server_name {
            return Some(name);
        }
        let before = self.questions().filter(|(dns, end)| {
            dns.pid == own.pid
                && dns.rcode.as_deref() == Some("NOERROR")
                && dns.answers.is_some_and(|answers| answers > 0)
                && end.is_some_and(|end| end <= own.start_ns)
        });
        before.max_by_key(|(_, end)| *end).map(|(dns, _)| dns.name.as_str())
    }

    /// The name, with the address where there is one, or else the address.
    pub fn host(&self, connection: &Connection) -> String {
        self.name_of(connection).map_or_else(|| connection.remote.clone(), str::to_owned)
    }
}

/// All of an operation.
pub fn whole(flight: &Flight<'_>) -> Span {
    (flight.operation.start_ns, flight.operation.end_ns)
}

/// From the first start to the last end; `None` of nothing.
pub fn hull(spans: impl IntoIterator<Item = Span>) -> Option<Span> {
    spans.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
