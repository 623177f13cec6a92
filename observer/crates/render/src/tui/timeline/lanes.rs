//! A command's tracks in, lanes out: one for the name servers, one a connection with its TCP and
//! TLS handshakes and its requests, one for locks. Within a lane spans that overlap are on rows
//! of their own.

use std::collections::{BTreeMap, HashMap, HashSet};

use model::human::count;
use model::id::{ConnectionId, DnsId, DnsWaitId, LockId, Pid, RequestId};
use model::operations::{InFlight, Subject};
use model::record::{Class, Connection, Phase, Protocol};
use model::roles;
use model::state::{CommandState, Moment};
use model::time::SinceStart;
use model::words;

use super::super::view::{Focus, Narrow, Target};
use crate::kinds;
use crate::tracks::{Place, Track, rows, tracks};

/// Rows of a lane; spans that find none free lie over others on the last.
const ROWS_MAX: usize = 12;
/// The same when a family is singled out.
const FOCUSED_ROWS_MAX: usize = 48;

/// What a bar is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Id {
    /// A query
    Dns(DnsId),
    /// A TCP handshake
    Connect(ConnectionId),
    /// A TLS handshake
    Tls(ConnectionId),
    /// A tunnel through a forward proxy
    Tunnel(ConnectionId),
    /// A helper's connection
    Helper(ConnectionId),
    /// A request
    Request(RequestId),
    /// A lock
    Lock(LockId),
    /// A child
    Child(SinceStart, Pid),
    /// A query that was asked before it could be seen
    DnsWait(DnsWaitId),
}

impl Id {
    /// What it opens.
    pub const fn target(self) -> Option<Target> {
        Some(match self {
            Self::Dns(id) => Target::Query(id),
            Self::Connect(id) | Self::Tls(id) | Self::Tunnel(id) | Self::Helper(id) => Target::Connection(id),
            Self::Request(id) => Target::Request(id),
            Self::Child(start, pid) => Target::Process(start, pid),
            Self::Lock(_) | Self::DnsWait(_) => return None,
        })
    }
}

/// A span on a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bar {
    /// Begin
    pub start: SinceStart,
    /// End; `None` while it is open
    pub end: Option<SinceStart>,
    /// When the answer began
    pub answered: Option<SinceStart>,
    /// Whose colour it has
    pub phase: Phase,
    /// It failed
    pub failed: bool,
    /// Where it comes from
    pub id: Id,
}

/// One moment at a connection. The later in this order, the more it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mark {
    /// A window opened
    Open,
    /// A window closed
    Zero,
    /// A segment was retransmitted
    Retransmission,
    /// A reset
    Reset,
}

impl Mark {
    /// Its sign.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Open => "o",
            Self::Zero => "0",
            Self::Retransmission => "×",
            Self::Reset => "!",
        }
    }

    /// What it means.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Open => "window opened",
            Self::Zero => "window closed",
            Self::Retransmission => "retransmitted",
            Self::Reset => "reset",
        }
    }
}

/// Rows that belong together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lane {
    /// What it is
    pub title: String,
    /// More about it, shown under the title where there is a second row
    pub note: String,
    /// A name for each row, where rows have one
    pub names: Vec<String>,
    /// Its rows; within one, bars are in order
    pub rows: Vec<Vec<Bar>>,
    /// What happened, in order of time
    pub marks: Vec<(SinceStart, Mark)>,
}

impl Lane {
    /// Lines it takes: marks have one of their own above the bars, and the note is below the title.
    pub fn height(&self) -> usize {
        let least = if self.names.is_empty() { 2 } else { 1 };
        (self.rows.len() + usize::from(!self.marks.is_empty())).max(least)
    }

    /// Whether a bar is of that phase.
    pub(super) fn has(&self, phase: Phase) -> bool {
        self.rows.iter().flatten().any(|bar| bar.phase == phase)
    }

    /// The bars on a line.
    pub fn bars(&self, line: usize) -> &[Bar] {
        let row = line.checked_sub(usize::from(!self.marks.is_empty()));
        row.and_then(|row| self.rows.get(row)).map_or(&[], Vec::as_slice)
    }
}

/// All lanes, in the order in which they began.
pub(crate) fn lanes(
    command: &CommandState,
    now: SinceStart,
    focus: Option<Focus>,
    filter: &str,
) -> Vec<Lane> {
    let narrow = Narrow { filter, ..Narrow::default() };
    let carried = carried(command);
    let mut in_flight = command.in_flight(command.wall(now).1);
    in_flight.retain(|op| {
        op.operation.start_ns <= now
            && shown(focus, op, &carried)
            && narrow.text(|| haystack(command, &bar(op)))
    });
    let tracks = tracks(command, in_flight);
    let lanes = tracks.iter().filter_map(|track| match focus {
        Some(Focus::Dns) => queries(track, command),
        _ => Some(lane(track, command, &carried, focus)),
    });
    lanes.chain(build(command, now, narrow).filter(|_| focus.is_none())).collect()
}

/// What the filter is matched with.
fn haystack(command: &CommandState, bar: &Bar) -> String {
    let host = super::detail::host(command, bar.id).unwrap_or_default();
    format!("{} host:{host} phase:{}", label(command, bar.id), bar.phase.name())
}

/// The steps of a build: the tools that go runs, as many rows as ran at once.
fn build(command: &CommandState, now: SinceStart, narrow: Narrow<'_>) -> Option<Lane> {
    let tools = command.processes.values().filter(|process| {
        process.start_ns <= now && kinds::tool(process).is_some_and(|tool| tool != "versions")
    });
    // What a compiler for C starts is its own affair.
    let pids: HashSet<Pid> = tools.clone().map(|process| process.pid).collect();
    let bars = tools.filter(|process| !pids.contains(&process.ppid)).map(|process| Bar {
        start: process.start_ns,
        end: process.end_ns.filter(|end| *end <= now),
        answered: None,
        phase: Phase::Local,
        failed: process.exit_code.is_some_and(|code| code != 0)
            && process.end_ns.is_some_and(|end| end <= now),
        id: Id::Child(process.start_ns, process.pid),
    });
    let bars: Vec<Bar> = bars.filter(|bar| narrow.text(|| haystack(command, bar))).collect();
    if bars.is_empty() {
        return None;
    }
    let note = count(bars.len() as u64, "step");
    let mut lane = Lane { title: "build".to_owned(), note, ..Lane::default() };
    place(&mut lane, bars, ROWS_MAX);
    Some(lane)
}

/// Puts bars onto rows.
fn place(lane: &mut Lane, bars: Vec<Bar>, rows_max: usize) {
    let places = rows(bars.iter().map(|bar| (bar.start, bar.end)), rows_max);
    for (bar, row) in bars.into_iter().zip(places) {
        // What finds no room lies over others.
        let row = row.unwrap_or(rows_max - 1);
        if row == lane.rows.len() {
            lane.rows.push(Vec::new());
        }
        lane.rows[row].push(bar);
    }
}

fn bar(op: &InFlight<'_>) -> Bar {
    let operation = &op.operation;
    let (id, answered) = match op.subject {
        Subject::Dns(query) => (Id::Dns(query.record.id), None),
        Subject::Connect(connection) => (Id::Connect(connection.id), None),
        Subject::Tls(connection) => (Id::Tls(connection.id), None),
        Subject::Tunnel(connection) => (Id::Tunnel(connection.id), None),
        Subject::Helper(connection) | Subject::Preexisting(connection) => (Id::Helper(connection.id), None),
        Subject::DnsWait(wait) => (Id::DnsWait(wait.id), None),
        Subject::Request(request) => (Id::Request(request.id), request.first_byte_ns),
        Subject::Backoff(request) => (Id::Request(request.id), None),
        Subject::Lock(wait) => (Id::Lock(wait.id), None),
        Subject::Child(child) => (Id::Child(child.process.start_ns, child.process.pid), None),
    };
    Bar {
        start: operation.start_ns,
        end: (!op.open).then_some(operation.end_ns),
        answered,
        phase: operation.phase,
        failed: operation.error,
        id,
    }
}

fn lane(
    track: &Track<'_>,
    command: &CommandState,
    carried: &HashMap<ConnectionId, Carried>,
    focus: Option<Focus>,
) -> Lane {
    let rows_max = if focus.is_some() { FOCUSED_ROWS_MAX } else { ROWS_MAX };
    let mut lane = titled(track.place, command, carried);
    place(&mut lane, track.in_flight.iter().map(bar).collect(), rows_max);
    lane.marks.extend(track.moments.iter().map(|(at, moment)| {
        let mark = match moment {
            Moment::Retransmission(_) => Mark::Retransmission,
            Moment::Reset(_) => Mark::Reset,
            Moment::Window(mark) if mark.zero => Mark::Zero,
            Moment::Window(_) => Mark::Open,
        };
        (*at, mark)
    }));
    lane
}

/// What a connection carries.
#[derive(Clone, Copy, Default)]
struct Carried {
    /// HTTP/2
    h2: bool,
    /// Requests that have not ended
    open: usize,
}

fn carried(command: &CommandState) -> HashMap<ConnectionId, Carried> {
    let of = |connection: &Connection| Carried { h2: connection.alpn.as_deref() == Some("h2"), open: 0 };
    let mut carried: HashMap<ConnectionId, Carried> =
        command.connections.iter().map(|(id, connection)| (*id, of(connection))).collect();
    for request in command.requests.values() {
        if let Some(carried) = request.connection.and_then(|id| carried.get_mut(&id)) {
            carried.h2 |= request.protocol == Protocol::H2;
            carried.open += usize::from(request.end_ns.is_none());
        }
    }
    carried
}

fn shown(focus: Option<Focus>, op: &InFlight<'_>, carried: &HashMap<ConnectionId, Carried>) -> bool {
    let is_h2 = |id: &ConnectionId| carried.get(id).is_some_and(|carried| carried.h2);
    match (focus, op.subject) {
        (None | Some(Focus::Dns), _) => true,
        (Some(Focus::Streams), Subject::Request(request)) => request.protocol == Protocol::H2,
        (
            Some(Focus::Streams),
            Subject::Connect(connection) | Subject::Tls(connection) | Subject::Tunnel(connection),
        ) => is_h2(&connection.id),
        (Some(Focus::Sumdb), _) => op.operation.phase == Phase::Sumdb,
        (Some(Focus::Streams), _) => false,
    }
}

fn titled(place: Place<'_>, command: &CommandState, carried: &HashMap<ConnectionId, Carried>) -> Lane {
    let (title, note) = match place {
        Place::Locks => ("file locks".to_owned(), String::new()),
        Place::Children => ("children".to_owned(), "what go runs".to_owned()),
        Place::Server(server) => (format!("dns {server}"), "name server".to_owned()),
        Place::Nowhere("") => ("unknown host".to_owned(), "socket not seen".to_owned()),
        Place::Nowhere(host) => (host.to_owned(), "socket not seen".to_owned()),
        Place::Connection(id) => match command.connections.get(&id) {
            Some(connection) => (
                format!("{} {}", connection.alpn.as_deref().unwrap_or("tcp"), title(connection)),
                note(connection, carried.get(&id).map_or(0, |carried| carried.open)),
            ),
            None => (format!("connection {id}"), String::new()),
        },
    };
    Lane { title, note, ..Lane::default() }
}

/// The name asked for with the port, or the address.
fn title(connection: &Connection) -> String {
    // Through a tunnel the port is the forward proxy's.
    let name = connection.server_name.as_deref().filter(|_| connection.tunnel.is_none());
    match (name, connection.remote.rsplit_once(':')) {
        (Some(name), Some((_, "443"))) if !name.is_empty() => name.to_owned(),
        (Some(name), Some((_, port))) if !name.is_empty() => format!("{name}:{port}"),
        _ => connection.host().unwrap_or("unknown host").to_owned(),
    }
}

fn note(connection: &Connection, open: usize) -> String {
    let mut parts = Vec::new();
    if connection.joined_late {
        parts.push("joined late".to_owned());
    }
    let lost = connection.retransmits + connection.syn_retransmits;
    if lost > 0 {
        parts.push(format!("×{lost}"));
    }
    if open > 0 {
        parts.push(format!("{open} open"));
    }
    if parts.is_empty() {
        parts.push(match connection.rtt_ns {
            Some(rtt) => format!("RTT {}", model::human::duration(rtt)),
            None => count(u64::from(connection.requests), "request"),
        });
    }
    parts.join(" · ")
}

/// Name servers: a lane a server, a row a name and type.
fn queries(track: &Track<'_>, command: &CommandState) -> Option<Lane> {
    let of = |op: &InFlight<'_>| matches!(op.subject, Subject::Dns(_));
    if !track.in_flight.iter().any(of) {
        return None;
    }
    let mut lane = titled(track.place, command, &HashMap::new());
    // The server's name has a line of its own.
    (lane.names, lane.rows) = (vec![lane.title.clone()], vec![Vec::new()]);
    let mut rows: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for op in &track.in_flight {
        let Subject::Dns(query) = op.subject else { continue };
        let dns = &query.record;
        let row = *rows.entry((&dns.name, &dns.qtype)).or_insert(lane.rows.len().min(FOCUSED_ROWS_MAX - 1));
        if row == lane.rows.len() {
            lane.rows.push(Vec::new());
            lane.names.push(format!("{} {}", dns.qtype, dns.name));
        }
        lane.rows[row].push(bar(op));
    }
    Some(lane)
}

/// What a bar is, in a few words.
pub(crate) fn label(command: &CommandState, id: Id) -> String {
    match id {
        Id::Dns(id) => command.dns.get(&id).map_or_else(String::new, |query| {
            let dns = &query.record;
            let again = if dns.attempt > 1 { format!(" attempt {}", dns.attempt) } else { String::new() };
            format!("{} {}{again}", dns.qtype, dns.name)
        }),
        Id::Connect(_) => "tcp".to_owned(),
        Id::Tls(_) => "tls".to_owned(),
        Id::Tunnel(_) => "tunnel".to_owned(),
        Id::Helper(id) => command.connections.get(&id).map_or_else(String::new, |known| known.comm.clone()),
        Id::DnsWait(_) => "asked before".to_owned(),
        Id::Child(start, pid) => command.processes.get(&(start, pid)).map_or_else(String::new, |process| {
            let package = roles::package(process).map_or_else(String::new, |package| format!(" {package}"));
            format!("{}{package}", roles::short(process))
        }),
        Id::Lock(id) => command.locks.get(&id).map_or_else(String::new, |wait| {
            let holder = wait.holder.map_or_else(|| "unknown".to_owned(), |pid| format!("pid {pid}"));
            format!("lock held by {holder}")
        }),
        Id::Request(id) => command.requests.get(&id).map_or_else(String::new, |request| {
            let what = match request.class {
                Class::SumdbLookup => "lookup",
                Class::SumdbTile => "tile",
                Class::SumdbLatest => "latest tree",
                Class::SumdbSupported => "supported?",
                class => words::class(class),
            };
            let of = match (&request.module, &request.version, &request.path) {
                (Some(module), Some(version), _) => format!(" {module}@{version}"),
                (Some(module), None, _) => format!(" {module}"),
                (None, _, Some(path)) => format!(" {path}"),
                (None, ..) => " path unknown".to_owned(),
            };
            format!("{what}{of}")
        }),
    }
}
