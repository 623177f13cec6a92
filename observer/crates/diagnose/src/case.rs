//! A command as detectors look at it, and what a set of its operations cost.

use std::cell::OnceCell;

use model::id::Pid;
use model::operations::{InFlight, Subject, Tail, Threads};
use model::phases::Split;
use model::record::{Command, Connection, Dns, Process, Request};
use model::state::CommandState;
use model::time::{Ns, SinceStart};
use model::tunnel::without_default_port;

use super::cost::Timeline;
use super::index::Index;
use model::roles::{Role, Roles};

/// What detectors look at.
pub(crate) struct Case<'a> {
    /// Everything that is known
    pub command: &'a CommandState,
    /// The command itself
    pub record: &'a Command,
    /// Begin and end, or `now`
    pub wall: (SinceStart, SinceStart),
    /// Everything that was in flight
    pub in_flight: Vec<InFlight<'a>>,
    /// Where the time went, once somebody asked
    split: OnceCell<Split>,
    threads: Threads,
    /// When it slept
    idle: Vec<(SinceStart, SinceStart)>,
    timeline: Timeline,
    /// What its processes are to go
    pub roles: Roles<'a>,
    /// Records by number
    pub index: Index<'a>,
}

/// Programs that go fetches from version control with, without what they start.
const FETCHERS: [&str; 5] = ["git", "hg", "svn", "bzr", "fossil"];

/// A part of time.
pub(crate) type Span = (SinceStart, SinceStart);

impl<'a> Case<'a> {
    /// `None` while only spans of the command are known.
    pub(crate) fn new(command: &'a CommandState, now: SinceStart, threads: Threads) -> Option<Self> {
        let record = command.record.as_ref()?;
        let wall = command.wall(now);
        let in_flight = command.in_flight(wall.1);
        let mut idle = command.idle.clone();
        if let Some(Tail::Sleeps(since)) = command.tail(&in_flight, wall, threads) {
            idle.push((since, wall.1));
        }
        if record.local.is_none() {
            // The scheduler was not observed: by the rule, all time counts as sleep.
            idle = vec![wall];
        }
        let timeline = Timeline::new(wall, &in_flight, &idle);
        let index = Index::new(command, &in_flight);
        let split = OnceCell::new();
        let roles = command.roles();
        Some(Self { command, record, wall, in_flight, split, threads, idle, timeline, roles, index })
    }

    /// Where the time went.
    pub(crate) fn split(&self) -> &Split {
        self.split.get_or_init(|| self.command.split_in_flight(&self.in_flight, self.wall.1, self.threads))
    }

    /// How long the command has run.
    pub(crate) fn wall_ns(&self) -> Ns {
        self.wall.1 - self.wall.0
    }

    /// It ended and failed.
    pub(crate) fn failed(&self) -> bool {
        self.record.signal.is_some() || self.record.exit_code.is_some_and(|code| code != 0)
    }

    /// Blocked time, by the phases' rule, that is due to the part of each operation that `part`
    /// names. What else of the same phase was in flight bears its half.
    pub(crate) fn cost(&self, part: impl Fn(&InFlight<'a>) -> Option<Span>) -> Ns {
        let parts = self.in_flight.iter().filter_map(|op| {
            let operation = &op.operation;
            let (from, to) = part(op)?;
            Some((op.into(), from.max(operation.start_ns), to.min(operation.end_ns)))
        });
        self.timeline.cost(parts)
    }

    /// Idle time within a span, whatever was in flight.
    pub(crate) fn idle_within(&self, span: Span) -> Ns {
        let first = self.idle.partition_point(|interval| interval.1 <= span.0);
        let intervals = self.idle[first..].iter().take_while(|interval| interval.0 < span.1);
        intervals.map(|&(from, to)| to.min(span.1).saturating_sub(from.max(span.0))).sum()
    }

    /// Of that, with nothing in flight.
    pub(crate) fn unshared_within(&self, span: Span) -> Ns {
        self.timeline.unshared(span)
    }

    /// A program that go fetches from version control with, run by go or beside it.
    pub(crate) fn fetches(&self, process: &Process) -> bool {
        FETCHERS.contains(&process.comm.as_str())
            && self.roles.role(process.pid, &process.comm, process.start_ns) == Role::Fetcher
    }

    /// Whether what that process did is go's or what it fetches with, and not another child's own.
    fn is_gos(&self, pid: Pid, comm: &str, at: SinceStart) -> bool {
        matches!(self.roles.role(pid, comm, at), Role::Go | Role::Wrapper | Role::Fetcher)
    }

    /// Queries of the command's own processes, with when they ended or were given up.
    pub(crate) fn queries(&self) -> impl Iterator<Item = (&'a Dns, Option<SinceStart>)> {
        let own = self.command.dns.values().filter(|query| {
            let dns = &query.record;
            dns.on_behalf_of.is_none() && self.is_gos(dns.pid, &dns.comm, dns.start_ns)
        });
        own.map(|query| (&query.record, query.record.end_ns.or(query.given_up_ns)))
    }

    /// Its connections, but for those of children that have a network of their own.
    pub(crate) fn connections(&self) -> impl Iterator<Item = &'a Connection> {
        let gos = |of: &&Connection| self.is_gos(of.pid, &of.comm, of.start_ns);
        self.command.connections.values().filter(gos)
    }

    /// Its requests, likewise.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &'a Request> {
        let all = self.command.requests.values().map(|request| &**request);
        all.filter(|request| self.is_gos(request.pid, "", request.start_ns))
    }

    /// Blocked time of these requests, or of the part of them within a span.
    pub(crate) fn cost_of_requests<'r>(
        &self,
        requests: impl IntoIterator<Item = &'r Request>,
        within: Option<Span>,
    ) -> Ns {
        let in_flight = requests.into_iter().filter_map(|request| self.index.op(request.id));
        let parts = in_flight.map(|at| {
            let operation = &self.in_flight[at].operation;
            let (from, to) = within.unwrap_or((operation.start_ns, operation.end_ns));
            (operation.phase.into(), from.max(operation.start_ns), to.min(operation.end_ns))
        });
        self.timeline.cost(parts)
    }

    /// Blocked time of whole handshakes, of TCP or TLS.
    pub(crate) fn cost_of_handshakes(&self, tls: bool, which: impl Fn(&Connection) -> bool) -> Ns {
        self.cost(|op| match op.subject {
            Subject::Connect(connection) if !tls && which(connection) => Some(whole(op)),
            Subject::Tls(connection) if tls && which(connection) => Some(whole(op)),
            _ => None,
        })
    }

    /// The name that was looked up last by that process before it connected: whom a connection is
    /// for, when it did not come far enough to say so itself.
    pub(crate) fn name_of(&self, connection: &Connection) -> Option<&'a str> {
        let own = self.command.connections.get(&connection.id)?;
        let target = own.tunnel.as_ref().and_then(|tunnel| tunnel.target.as_deref());
        let name = own.server_name.as_deref().or(target.map(without_default_port));
        if let Some(name) = name.or(own.remote_name.as_deref()) {
            return Some(name);
        }
        self.index.name(own.pid, own.start_ns)
    }

    /// Whom it is connected to: a forward proxy with its port, where there is one in between.
    pub(crate) fn remote_host(&self, connection: &Connection) -> String {
        if connection.tunnel.is_some() {
            return connection.remote_host().unwrap_or_default().to_owned();
        }
        if connection.server_name.is_some() || self.record.go.forward_proxy != Some(true) {
            return self.host(connection);
        }
        let own = self.command.connections.get(&connection.id);
        let name = own.and_then(|own| self.index.name(own.pid, own.start_ns));
        let port = connection.remote.rsplit_once(':').map_or("", |(_, port)| port);
        name.map_or_else(|| connection.remote.clone(), |name| format!("{name}:{port}"))
    }

    /// That host is a forward proxy: others are asked through it.
    pub(crate) fn is_forward_proxy(&self, host: &str) -> bool {
        let is =
            |connection: &Connection| connection.tunnel.is_some() && connection.remote_host() == Some(host);
        self.connections().any(is)
            || self.record.go.forward_proxy == Some(true)
                && self.requests().all(|request| request.authority.as_deref() != Some(host))
    }

    /// The name, with the address where there is one, or else the address.
    pub(crate) fn host(&self, connection: &Connection) -> String {
        self.name_of(connection).map_or_else(|| connection.remote.clone(), str::to_owned)
    }
}

/// All of an operation.
pub(crate) fn whole(op: &InFlight<'_>) -> Span {
    (op.operation.start_ns, op.operation.end_ns)
}

/// From the first start to the last end; `None` of nothing.
pub(crate) fn hull(spans: impl IntoIterator<Item = Span>) -> Option<Span> {
    spans.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
