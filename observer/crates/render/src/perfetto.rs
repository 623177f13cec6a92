//! A report and the state it was made of in, the JSON trace events of the Trace Event Format out,
//! as Perfetto and `chrome://tracing` open them.
//!
//! A process of the trace is a process of the command. Its tracks ("threads") are name servers,
//! locks, and of every connection one with its handshakes and marks and as many with requests as
//! were in flight at once: what is on one track never overlaps, as the format wants it. Beside
//! them, for each command, a process of the trace with its stalls and what it waited for.

use std::collections::{BTreeMap, BTreeSet};

use model::clean::clean;
use model::id::Pid;
use model::operations::{InFlight, Subject};
use model::report::{Command, Report};
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
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

/// The report as a trace.
pub fn perfetto(report: &Report, state: &State) -> serde_json::Result<String> {
    let mut writer = Writer { events: Vec::new(), track: 0, left_out: 0 };
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
        args.extend(command.phases.iter().map(|share| (share.phase.name(), share.blocked_ns.into())));
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
            name: name.to_owned(),
            ph: "M",
            cat: "__metadata",
            pid,
            tid,
            ts: None,
            dur: None,
            s: None,
            args,
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
        self.events.push(Event {
            name: text(name),
            ph: "X",
            cat,
            pid,
            tid,
            ts: Some(micros(start - SinceStart::ZERO)),
            dur: Some(micros(end.saturating_sub(start))),
            s: None,
            args: args.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        });
    }

    fn instant(&mut self, pid: u64, tid: u64, name: &'static str, at: SinceStart) {
        self.events.push(Event {
            name: name.to_owned(),
            ph: "i",
            cat: "tcp",
            pid,
            tid,
            ts: Some(micros(at - SinceStart::ZERO)),
            dur: None,
            s: Some("t"),
            args: Map::new(),
        });
    }
}

fn micros(ns: Ns) -> f64 {
    ns as f64 / 1e3
}

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

fn about(op: &InFlight<'_>) -> Args {
    let mut args = match op.subject {
        Subject::Dns(query) => vec![
            ("server", text(&query.record.server).into()),
            ("attempt", query.record.attempt.into()),
            ("rcode", json!(query.record.rcode.as_deref().map(text))),
            ("answers", json!(query.record.answers)),
        ],
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
