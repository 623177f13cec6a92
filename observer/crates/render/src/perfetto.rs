//! A report and the state it was made of in, the JSON trace events of the Trace Event Format out,
//! as Perfetto and `chrome://tracing` open them.
//!
//! A process of the trace is a process of the command. Its tracks ("threads") are name servers,
//! locks, and of every connection one with its handshakes and marks and as many with requests as
//! were in flight at once: what is on one track never overlaps, as the format wants it. Beside
//! them, for each command, a process of the trace with its stalls and what it waited for.

use std::collections::{BTreeMap, BTreeSet};

use model::clean::clean;
use model::id::{ConnectionId, Pid};
use model::operations::{InFlight, Subject};
use model::record::Phase;
use model::report::{Command, Dns, Report};
use model::roles;
use model::state::{CommandState, Moment, State};
use model::time::{Ns, SinceStart};
use model::words;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::tracks::{Place, rows, tracks};

/// Tracks of one kind in one process.
const TRACKS: usize = 1_000;
/// Numbers of the commands' own processes, beyond what Linux gives (at most 2^22).
const COMMANDS: u64 = 1 << 23;

/// The whole file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    trace_events: Vec<Event>,
    display_time_unit: &'static str,
    other_data: Value,
}

/// One event. `ts` and `dur` are microseconds.
#[derive(Serialize)]
struct Event {
    name: String,
    ph: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'static str,
    pid: u64,
    tid: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    /// Scope of an instant event
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    /// Which flow
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// A flow ends in the slice that is there, not in the next
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

/// The report as a trace.
pub fn perfetto(report: &Report, state: &State) -> serde_json::Result<String> {
    let mut writer = Writer { events: Vec::new(), track: 0, left_out: 0, handshakes: BTreeMap::new() };
    writer.wall_clock(report.started_unix_ns);
    for command in &report.commands {
        if let Some(of) = state.command(command.id) {
            writer.command(command, of, SinceStart::ZERO + report.duration_ns);
        }
    }
    let machine = &report.machine;
    let trace = Trace {
        trace_events: writer.events,
        display_time_unit: "ms",
        other_data: json!({
            "tool": report.tool,
            "started_unix_ns": report.started_unix_ns.to_string(),
            "kernel": machine.kernel,
            "arch": machine.arch,
            "cpus": machine.cpus,
            "kernel_events_lost": report.loss.kernel_events_lost,
            "events_undecoded": report.loss.events_undecoded,
            "connections_joined_late": report.loss.connections_joined_late,
            "programs_unexamined": report.loss.programs_unexamined,
            "program_runs_skipped": report.loss.program_runs_skipped,
            "tracepoints_unattached": report.loss.tracepoints_unattached,
            "socket_lookups_failed": report.loss.socket_lookups_failed,
            "spans_not_drawn": writer.left_out,
        }),
    };
    model::json::line(&trace).map(|text| text + "\n")
}

struct Writer {
    events: Vec<Event>,
    /// The latest track's number; one is used once, whatever the process
    track: u64,
    left_out: usize,
    /// Where the last handshake of a connection is drawn, until a request follows it
    handshakes: BTreeMap<ConnectionId, (u64, u64, SinceStart)>,
}

/// What is known of a span beside its time.
type Args = Vec<(&'static str, Value)>;

/// Of a connection its requests have tracks of their own; all else is the first part.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Part {
    First,
    Streams,
}

impl Writer {
    fn command(&mut self, command: &Command, of: &CommandState, now: SinceStart) {
        let own = COMMANDS + u64::from(command.id);
        let line = words::argv(&command.argv);
        self.process(own, &format!("#{} {line}", command.id), 2 * u64::from(command.id));
        let end = command.start_ns.saturating_add(command.wall_ns);
        let track = self.track(own, "command", 0);
        let ended = words::ending(command.ended, command.exit_code, command.signal);
        let mut args: Args = vec![("ended", ended.into())];
        args.extend(
            command.phases.iter().map(|share| (BLOCKED[share.phase as usize], share.blocked_ns.into())),
        );
        self.complete(own, track, &line, "command", (command.start_ns, end), args);
        self.stalls(own, command);
        for process in of.processes.values() {
            let name =
                if process.args.is_empty() { process.comm.clone() } else { words::argv(&process.args) };
            let pid = u64::from(process.pid);
            self.process(pid, &name, 2 * u64::from(command.id) + 1);
            let track = self.track(pid, "process", 0);
            let end = process.end_ns.unwrap_or(end).max(process.start_ns);
            let args = vec![("exit_code", json!(process.exit_code)), ("cpu_ns", json!(process.cpu_ns))];
            self.complete(pid, track, &name, "process", (process.start_ns, end), args);
        }
        let in_flight = of.in_flight(of.wall(now).1);
        // Processes that are known by their operations only.
        let known: BTreeSet<Pid> = of.processes.values().map(|process| process.pid).collect();
        let others: BTreeSet<Pid> = in_flight.iter().map(|op| op.subject.pid()).collect();
        for pid in others.difference(&known) {
            self.process(u64::from(*pid), &format!("process {pid}"), 2 * u64::from(command.id) + 1);
        }
        self.in_flight(&in_flight, of);
        self.on_behalf(of, end);
        self.requests(own, of, end);
    }

    /// The moment by the wall clock from which all others are counted.
    fn wall_clock(&mut self, started_unix_ns: u64) {
        let Ok(at) = jiff::Timestamp::from_nanosecond(started_unix_ns.into()) else { return };
        if started_unix_ns == 0 {
            return;
        }
        self.process(COMMANDS, "observation", 0);
        let track = self.track(COMMANDS, "wall clock", 0);
        self.instant(COMMANDS, track, &format!("observation began at {at}"), SinceStart::ZERO);
    }

    /// Queries of local resolvers on behalf of the command's own, beside the processes that made them.
    fn on_behalf(&mut self, of: &CommandState, end: SinceStart) {
        let mut servers: BTreeMap<(Pid, &str), Vec<&Dns>> = BTreeMap::new();
        for dns in of.dns.values().map(|query| &query.record).filter(|dns| dns.on_behalf_of.is_some()) {
            servers.entry((dns.pid, &dns.server)).or_default().push(dns);
        }
        let known: BTreeSet<Pid> = of.processes.values().map(|process| process.pid).collect();
        for ((pid, server), queries) in servers {
            let own = u64::from(pid);
            if !known.contains(&pid) {
                let comm = queries.first().map_or("", |dns| &*dns.comm);
                self.process(own, &format!("local resolver {comm} ({pid})"), own);
            }
            let time = |dns: &Dns| (dns.start_ns, dns.end_ns.unwrap_or(end).max(dns.start_ns));
            let places = rows(queries.iter().map(|dns| (time(dns).0, Some(time(dns).1))), TRACKS);
            let mut tracks = BTreeMap::new();
            for (dns, row) in queries.iter().zip(places) {
                let Some(row) = row else {
                    self.left_out += 1;
                    continue;
                };
                let track = *tracks
                    .entry(row)
                    .or_insert_with(|| self.track(own, &format!("name server {server}"), 1));
                let mut args = about_query(dns);
                args.push(("on_behalf_of", json!(dns.on_behalf_of)));
                self.complete(own, track, &format!("{} {}", dns.name, dns.qtype), "dns", time(dns), args);
            }
        }
    }

    /// How many requests are in flight, whenever that changes.
    fn requests(&mut self, pid: u64, of: &CommandState, end: SinceStart) {
        let mut changes: BTreeMap<SinceStart, i64> = BTreeMap::new();
        for request in of.requests.values() {
            *changes.entry(request.start_ns).or_default() += 1;
            *changes.entry(request.end_ns.unwrap_or(end).max(request.start_ns)).or_default() -= 1;
        }
        let mut in_flight = 0;
        for (at, change) in changes.into_iter().filter(|(_, change)| *change != 0) {
            in_flight += change;
            let args = Map::from_iter([("requests".to_owned(), in_flight.into())]);
            self.events.push(Event { args, ..event("requests in flight", "C", "requests", (pid, 0), at) });
        }
    }

    /// From a connection's handshakes to the first request that they were made for.
    fn flow(&mut self, op: &InFlight<'_>, place: (u64, u64)) {
        let at = op.operation.start_ns;
        match op.subject {
            Subject::Connect(of) | Subject::Tls(of) => {
                self.handshakes.insert(of.id, (place.0, place.1, at));
            }
            Subject::Request(of) => {
                let Some(id) = of.connection else { return };
                let Some((pid, tid, began)) = self.handshakes.remove(&id) else { return };
                let id = Some(id.0.into());
                let flow = |ph, place, at| event("carried by", ph, "flow", place, at);
                self.events.push(Event { id, ..flow("s", (pid, tid), began) });
                self.events.push(Event { id, bp: Some("e"), ..flow("f", place, at) });
            }
            _ => {}
        }
    }

    fn stalls(&mut self, pid: u64, command: &Command) {
        let mut stalls: Vec<_> = command.stalls.iter().collect();
        stalls.sort_by_key(|stall| (stall.start_ns, stall.end_ns));
        let places = rows(stalls.iter().map(|stall| (stall.start_ns, Some(stall.end_ns))), TRACKS);
        let mut tracks = BTreeMap::new();
        for (stall, place) in stalls.into_iter().zip(places) {
            let Some(place) = place else {
                self.left_out += 1;
                continue;
            };
            let track = *tracks.entry(place).or_insert_with(|| self.track(pid, "stalls", 1));
            let attempt = stall.remedies.first().map(|remedy| text(&remedy.attempt));
            let args = vec![
                ("summary", text(&stall.summary).into()),
                ("cost_ns", stall.cost_ns.into()),
                ("evidence", stall.evidence.iter().map(|fact| text(&fact.to_string())).collect()),
                ("try", json!(attempt)),
            ];
            self.complete(pid, track, stall.kind.as_str(), "stall", (stall.start_ns, stall.end_ns), args);
        }
    }

    fn in_flight(&mut self, in_flight: &[InFlight<'_>], of: &CommandState) {
        let tracks = tracks(of, in_flight.iter().copied());
        let mut groups: BTreeMap<(Pid, Place<'_>, Part), Vec<&InFlight<'_>>> = BTreeMap::new();
        for track in &tracks {
            for op in &track.in_flight {
                let is_stream =
                    matches!((track.place, op.subject), (Place::Connection(_), Subject::Request(_)));
                let part = if is_stream { Part::Streams } else { Part::First };
                groups.entry((op.subject.pid(), track.place, part)).or_default().push(op);
            }
        }
        let moments = tracks.iter().map(|track| (track.place, &track.moments));
        let mut moments: BTreeMap<Place<'_>, _> = moments.collect();
        for (order, ((pid, place, part), in_flight)) in groups.into_iter().enumerate() {
            let pid = u64::from(pid);
            let time = |op: &InFlight<'_>| (op.operation.start_ns, op.operation.end_ns);
            let times = in_flight.iter().map(|op| (time(op).0, Some(time(op).1)));
            let places = rows(times, TRACKS);
            let title = title(place, part, of);
            let mut tracks = BTreeMap::new();
            for (op, row) in in_flight.into_iter().zip(places) {
                let Some(row) = row else {
                    self.left_out += 1;
                    continue;
                };
                let track = *tracks.entry(row).or_insert_with(|| {
                    let more = if row == 0 { String::new() } else { format!(" ({})", row + 1) };
                    self.track(pid, &format!("{title}{more}"), order as u64 + 1)
                });
                let cat = op.operation.phase.name();
                self.complete(pid, track, &name(op), cat, time(op), about(op));
                self.flow(op, (pid, track));
                self.parts(pid, track, op);
            }
            let (Part::First, Some(track)) = (part, tracks.get(&0)) else { continue };
            for (at, moment) in moments.remove(&place).into_iter().flatten() {
                self.instant(pid, *track, mark(moment), *at);
            }
        }
    }

    /// Of a request: the wait for its first byte, and what it then received.
    fn parts(&mut self, pid: u64, track: u64, op: &InFlight<'_>) {
        let Subject::Request(request) = op.subject else { return };
        let (start, end) = (op.operation.start_ns, op.operation.end_ns);
        let cat = op.operation.phase.name();
        let first = request.first_byte_ns.map_or(end, |first| first.clamp(start, end));
        self.complete(pid, track, "waiting for the first byte", cat, (start, first), Vec::new());
        if first < end {
            self.complete(pid, track, "receiving", cat, (first, end), Vec::new());
        }
    }

    fn process(&mut self, pid: u64, name: &str, order: u64) {
        self.metadata(pid, 0, "process_name", "name", text(name).into());
        self.metadata(pid, 0, "process_sort_index", "sort_index", order.into());
    }

    fn track(&mut self, pid: u64, name: &str, order: u64) -> u64 {
        self.track += 1;
        self.metadata(pid, self.track, "thread_name", "name", text(name).into());
        self.metadata(pid, self.track, "thread_sort_index", "sort_index", order.into());
        self.track
    }

    fn metadata(&mut self, pid: u64, tid: u64, name: &str, key: &str, value: Value) {
        let args = Map::from_iter([(key.to_owned(), value)]);
        self.events.push(Event {
            ts: None,
            args,
            ..event(name, "M", "__metadata", (pid, tid), SinceStart::ZERO)
        });
    }

    fn complete(
        &mut self,
        pid: u64,
        tid: u64,
        name: &str,
        cat: &'static str,
        time: (SinceStart, SinceStart),
        args: Args,
    ) {
        let (start, end) = time;
        let args = args.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let dur = Some(micros(end.saturating_sub(start)));
        self.events.push(Event { dur, args, ..event(&text(name), "X", cat, (pid, tid), start) });
    }

    fn instant(&mut self, pid: u64, tid: u64, name: &str, at: SinceStart) {
        self.events.push(Event { s: Some("t"), ..event(name, "i", "tcp", (pid, tid), at) });
    }
}

/// An event on a track, with nothing more known of it.
fn event(name: &str, ph: &'static str, cat: &'static str, (pid, tid): (u64, u64), at: SinceStart) -> Event {
    let ts = Some(micros(at - SinceStart::ZERO));
    Event {
        name: name.to_owned(),
        ph,
        cat,
        pid,
        tid,
        ts,
        dur: None,
        s: None,
        id: None,
        bp: None,
        args: Map::new(),
    }
}

/// Readers multiply by 1,000 and cut: of two numbers next to each other that which is then whole is taken, or
/// something would end a nanosecond behind what it is part of.
pub fn micros(ns: Ns) -> f64 {
    let micros = ns as f64 / 1e3;
    if (micros * 1e3) as Ns == ns { micros } else { micros.next_up() }
}

/// A command's arguments, by phase, with their unit.
const BLOCKED: [&str; Phase::ALL.len()] = [
    "dns_ns",
    "connect_ns",
    "tls_ns",
    "tunnel_ns",
    "auth_ns",
    "proxy_ns",
    "sumdb_ns",
    "toolchain_ns",
    "vcs_ns",
    "cache_ns",
    "backoff_ns",
    "child_ns",
    "lock_ns",
    "local_ns",
    "unexplained_ns",
];

fn text(foreign: &str) -> String {
    clean(foreign).into_owned()
}

/// What happened at a connection, at a single moment.
const fn mark(moment: &Moment) -> &'static str {
    match moment {
        Moment::Retransmission(mark) if mark.syn => "SYN retransmitted",
        Moment::Retransmission(_) => "segment retransmitted",
        Moment::Reset(mark) if mark.received => "reset received",
        Moment::Reset(_) => "reset sent",
        Moment::Window(mark) => match (mark.ours, mark.zero) {
            (true, true) => "our window closed",
            (true, false) => "our window opened",
            (false, true) => "peer's window closed",
            (false, false) => "peer's window opened",
        },
    }
}

fn title(place: Place<'_>, part: Part, of: &CommandState) -> String {
    match (place, part) {
        (Place::Locks, _) => "file locks".to_owned(),
        (Place::Children, _) => "children".to_owned(),
        (Place::Server(server), _) => format!("name server {server}"),
        (Place::Connection(id), Part::First) => {
            let connection = of.connections.get(&id);
            let host = connection.and_then(|of| of.host().map(str::to_owned));
            let spoken = connection.and_then(|of| of.alpn.as_ref()).map(|alpn| format!(" {alpn}"));
            format!("connection {id} {}{}", host.unwrap_or_default(), spoken.unwrap_or_default())
        }
        (Place::Connection(id), Part::Streams) => format!("connection {id} streams"),
        (Place::Nowhere(""), _) => "requests, connection not seen".to_owned(),
        (Place::Nowhere(host), _) => format!("requests to {host}, connection not seen"),
    }
}

fn name(op: &InFlight<'_>) -> String {
    match op.subject {
        Subject::Dns(query) => format!("{} {}", query.record.name, query.record.qtype),
        Subject::Connect(_) => "TCP handshake".to_owned(),
        Subject::Tls(_) => "TLS handshake".to_owned(),
        Subject::Tunnel(of) => of.tunnel.as_ref().map_or("tunnel", |of| of.protocol.name()).to_owned(),
        Subject::Helper(connection) | Subject::Preexisting(connection) => connection.comm.clone(),
        Subject::DnsWait(_) => "asked before".to_owned(),
        Subject::Request(request) => {
            let (module, version) = (request.module.as_deref(), request.version.as_deref());
            let (authority, path) = (request.authority.as_deref(), request.path.as_deref());
            let subject = words::subject(module, version, authority, path);
            format!("{} {subject}", words::class(request.class))
        }
        Subject::Backoff(_) => "pause before it is asked once more".to_owned(),
        Subject::Lock(_) => "file lock".to_owned(),
        Subject::Child(child) => roles::short(child.process),
    }
}

fn about_query(dns: &Dns) -> Args {
    vec![
        ("server", text(&dns.server).into()),
        ("attempt", dns.attempt.into()),
        ("rcode", json!(dns.rcode.as_deref().map(text))),
        ("answers", json!(dns.answers)),
    ]
}

fn about(op: &InFlight<'_>) -> Args {
    let mut args = match op.subject {
        Subject::Dns(query) => about_query(&query.record),
        Subject::Connect(of)
        | Subject::Tls(of)
        | Subject::Tunnel(of)
        | Subject::Helper(of)
        | Subject::Preexisting(of) => vec![
            ("connection", of.id.0.into()),
            ("remote", text(&of.remote).into()),
            ("rtt_ns", json!(of.rtt_ns)),
            ("outcome", words::outcome(of.outcome).into()),
        ],
        Subject::Request(of) | Subject::Backoff(of) => vec![
            ("connection", json!(of.connection)),
            ("stream", json!(of.stream)),
            ("host", json!(of.authority.as_deref().map(text))),
            ("path", json!(of.path.as_deref().map(text))),
            ("status", json!(of.status)),
            ("bytes", json!(of.bytes)),
        ],
        Subject::DnsWait(of) => vec![("server", text(&of.server).into())],
        Subject::Lock(of) => {
            vec![("path", json!(of.path.as_deref().map(text))), ("holder", json!(of.holder))]
        }
        Subject::Child(child) => vec![("pid", json!(child.process.pid)), ("outlives", child.held.into())],
    };
    args.push(("failed", op.operation.error.into()));
    args.push(("unfinished", op.open.into()));
    args
}
