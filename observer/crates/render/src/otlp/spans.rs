//! One command in, its spans and log records out.

use std::collections::{BTreeMap, HashMap};

use model::id::ConnectionId;
use model::operations::{InFlight, Subject};
use model::record::{Connection, Phase};
use model::report::{Command, Report};
use model::roles;
use model::state::CommandState;
use model::time::SinceStart;

use super::ids::{Ids, Of};
use super::wire::{AnyValue, Attributes, CLIENT, Happened, INTERNAL, Link, LogRecord, Span, Status};
use super::{COMMAND_SPANS_MAX, attributes};

/// What a command becomes.
pub(super) struct Exported {
    pub spans: Vec<Span>,
    pub logs: Vec<LogRecord>,
}

struct Writer<'a> {
    ids: Ids,
    started_unix_ns: u64,
    command: &'a Command,
    of: &'a CommandState,
    spans: Vec<Span>,
    dropped: u64,
}

/// Every span of the command, its own first.
pub(super) fn spans(report: &Report, command: &Command, of: &CommandState) -> Exported {
    let ids = Ids::new(report, command);
    let started_unix_ns = report.started_unix_ns;
    let mut writer = Writer { ids, started_unix_ns, command, of, spans: Vec::new(), dropped: 0 };
    let end = command.start_ns.saturating_add(command.wall_ns);
    let in_flight = of.in_flight(end);
    let whole = writer.whole();
    writer.spans.push(whole);
    writer.setups(end);
    writer.in_flight(&in_flight);
    writer.on_behalf(end);
    let mut dropped = Attributes::default();
    dropped.int("goobserve.spans_dropped", Some(writer.dropped).filter(|dropped| *dropped > 0));
    let logs = command.stalls.iter().map(|stall| writer.log(stall)).collect();
    if let Some(whole) = writer.spans.first_mut() {
        whole.attributes.extend(dropped.0);
    }
    Exported { spans: writer.spans, logs }
}

impl<'a> Writer<'a> {
    fn at(&self, at: SinceStart) -> u64 {
        self.started_unix_ns.saturating_add(at.0)
    }

    fn span(
        &self,
        of: Of,
        parent: Of,
        name: String,
        kind: u8,
        time: (SinceStart, SinceStart),
        has: Attributes,
    ) -> Span {
        Span {
            trace_id: self.ids.trace.clone(),
            span_id: self.ids.span(of),
            trace_state: self.ids.trace_state.clone(),
            parent_span_id: Some(self.ids.span(parent)),
            flags: self.ids.span_flags(of),
            name,
            kind,
            start_time_unix_nano: self.at(time.0),
            end_time_unix_nano: self.at(time.1.max(time.0)),
            attributes: has.0,
            events: Vec::new(),
            links: Vec::new(),
            status: Status::default(),
        }
    }

    fn push(&mut self, span: Span) {
        if self.spans.len() < COMMAND_SPANS_MAX {
            self.spans.push(span);
        } else {
            self.dropped += 1;
        }
    }

    /// The command's own span.
    fn whole(&self) -> Span {
        let command = self.command;
        let time = (command.start_ns, command.start_ns.saturating_add(command.wall_ns));
        let mut has = Attributes::default();
        attributes::command(&mut has, command, self.of.record.as_ref().map(|record| record.pid.0));
        let failed = has.0.iter().any(|attribute| attribute.key == "error.type");
        let events = command.stalls.iter().map(|stall| Happened {
            time_unix_nano: self.at(stall.start_ns),
            name: "goobserve.stall".to_owned(),
            attributes: attributes::stall(stall),
        });
        let message = command.blame_why.clone().unwrap_or_default();
        Span {
            parent_span_id: self.ids.parent.clone(),
            events: events.collect(),
            status: if failed { Status { message, code: 2 } } else { Status::default() },
            ..self.span(Of::Command, Of::Command, name(&command.argv), INTERNAL, time, has)
        }
    }

    /// Of each connection that was made in this time: from its SYN until it could be used.
    fn setups(&mut self, end: SinceStart) {
        let of = self.of;
        for connection in of.connections.values().filter(|connection| !connection.joined_late) {
            let tls = connection
                .tls_start_ns
                .and_then(|start| connection.tls_ns.map(|ns| start.saturating_add(ns)));
            let tunnel = connection.tunnel.as_ref().and_then(|tunnel| tunnel.end_ns);
            let tcp = connection.connect_ns.map(|ns| connection.start_ns.saturating_add(ns));
            let until = [tls, tunnel, tcp].into_iter().flatten().max().or(connection.end_ns).unwrap_or(end);
            let mut has = Attributes::default();
            attributes::connection(&mut has, connection);
            let failed = attributes::not_made(connection.outcome).or(connection.tls_failed.then_some("tls"));
            has.text("error.type", failed);
            let name = format!("HTTP connection_setup {}", connection.host().unwrap_or_default());
            let time = (connection.start_ns, until);
            let span = self.span(Of::Setup(connection.id.0), Of::Command, name, INTERNAL, time, has);
            self.push(Span { status: status(failed.is_some()), ..span });
        }
    }

    /// Phases, and below them what was in flight.
    fn in_flight(&mut self, in_flight: &[InFlight<'_>]) {
        let mut hulls: BTreeMap<Phase, (SinceStart, SinceStart)> = BTreeMap::new();
        for op in in_flight.iter().filter(|op| !has_setup(op)) {
            let span = (op.operation.start_ns, op.operation.end_ns);
            let hull = hulls.entry(op.operation.phase).or_insert(span);
            *hull = (hull.0.min(span.0), hull.1.max(span.1));
        }
        for (phase, time) in hulls {
            let mut has = Attributes::default();
            has.text("goobserve.phase", Some(phase.name()));
            if let Some(share) = self.command.phases.get(phase as usize) {
                has.int("goobserve.blocked_ns", Some(share.blocked_ns))
                    .int("goobserve.busy_ns", Some(share.busy_ns))
                    .int("goobserve.operations", Some(share.count))
                    .int("goobserve.errors", Some(share.errors));
            }
            let span =
                self.span(Of::Phase(phase as u8), Of::Command, phase.name().to_owned(), INTERNAL, time, has);
            self.push(span);
        }
        let mut asked: HashMap<(&str, &str, &str), u32> = HashMap::new();
        let mut ordered: Vec<&InFlight<'_>> = in_flight.iter().collect();
        ordered.sort_by_key(|op| op.operation.start_ns);
        for (place, op) in ordered.into_iter().enumerate() {
            let mut earlier = 0;
            if let Subject::Request(request) = op.subject {
                let key = (
                    request.method.as_deref().unwrap_or_default(),
                    request.authority.as_deref().unwrap_or_default(),
                    request.path.as_deref().unwrap_or_default(),
                );
                let count = asked.entry(key).or_default();
                earlier = *count;
                *count += 1;
            }
            self.operation(op, place as u32, earlier);
        }
    }

    fn operation(&mut self, op: &InFlight<'_>, place: u32, earlier: u32) {
        let phase = op.operation.phase;
        let mut has = Attributes::default();
        has.text("goobserve.phase", Some(phase.name())).flag("goobserve.unfinished", op.open);
        let mut parent = Of::Phase(phase as u8);
        let mut links = Vec::new();
        let setup = |of: &Connection, phase| if of.joined_late { phase } else { Of::Setup(of.id.0) };
        let peer = |has: &mut Attributes, of: &Connection| {
            has.text("network.peer.address", of.remote.rsplit_once(':').map(|(address, _)| address));
            has.int("goobserve.connection.id", Some(of.id.0));
        };
        let (of, name, kind) = match op.subject {
            Subject::Request(request) => {
                let on = request.connection.and_then(|id| self.connection(id));
                attributes::request(&mut has, request, on, earlier);
                links.extend(on.filter(|on| !on.joined_late).map(|on| Link {
                    trace_id: self.ids.trace.clone(),
                    span_id: self.ids.span(Of::Setup(on.id.0)),
                }));
                let name = request.method.clone().unwrap_or_else(|| "HTTP".to_owned());
                (Of::Request(request.id.0), name, CLIENT)
            }
            Subject::Dns(query) => {
                attributes::dns(&mut has, &query.record);
                (Of::Dns(query.record.id.0), format!("DNS lookup {}", query.record.name), CLIENT)
            }
            Subject::Connect(of) => {
                parent = setup(of, parent);
                peer(&mut has, of);
                has.text("error.type", attributes::not_made(of.outcome));
                (Of::Connect(of.id.0), format!("socket connect {}", of.remote), INTERNAL)
            }
            Subject::Tls(of) => {
                parent = setup(of, parent);
                peer(&mut has, of);
                has.text("tls.protocol.version", of.tls_version.as_deref())
                    .text("error.type", of.alert.as_deref().or(of.tls_failed.then_some("_OTHER")));
                let name = of.server_name.as_deref().unwrap_or(&of.remote);
                (Of::Tls(of.id.0), format!("TLS client handshake {name}"), INTERNAL)
            }
            Subject::Tunnel(of) => {
                parent = setup(of, parent);
                peer(&mut has, of);
                let target = of.tunnel.as_ref().and_then(|tunnel| tunnel.target.as_deref());
                has.int("http.response.status_code", of.tunnel.as_ref().and_then(|tunnel| tunnel.status));
                (Of::Tunnel(of.id.0), format!("proxy tunnel {}", target.unwrap_or_default()), CLIENT)
            }
            Subject::Helper(of) | Subject::Preexisting(of) => {
                attributes::connection(&mut has, of);
                (Of::Other(place), format!("{} {}", of.comm, of.host().unwrap_or_default()), CLIENT)
            }
            Subject::DnsWait(of) => (Of::Other(place), format!("wait for name server {}", of.server), CLIENT),
            Subject::Backoff(_) => (Of::Other(place), "backoff".to_owned(), INTERNAL),
            Subject::Lock(of) => {
                has.text("file.path", of.path.as_deref())
                    .int("goobserve.lock.holder", of.holder.map(|pid| pid.0));
                (Of::Other(place), "file lock".to_owned(), INTERNAL)
            }
            Subject::Child(child) => {
                attributes::process(&mut has, child.process);
                (Of::Other(place), roles::short(child.process), INTERNAL)
            }
        };
        if op.operation.error && !has.0.iter().any(|attribute| attribute.key == "error.type") {
            has.text("error.type", Some("_OTHER"));
        }
        let failed = has.0.iter().any(|attribute| attribute.key == "error.type");
        let time = (op.operation.start_ns, op.operation.end_ns);
        let span = self.span(of, parent, name, kind, time, has);
        self.push(Span { links, status: status(failed), ..span });
    }

    /// What a local resolver asked on behalf of a query lies inside that.
    fn on_behalf(&mut self, end: SinceStart) {
        let of = self.of;
        for query in of.dns.values() {
            let Some(own) = query.record.on_behalf_of else { continue };
            let dns = &query.record;
            let mut has = Attributes::default();
            has.text("goobserve.phase", Some(Phase::Dns.name()));
            attributes::dns(&mut has, dns);
            let failed = attributes::unanswered(dns).is_some();
            let time = (dns.start_ns, dns.end_ns.or(query.given_up_ns).unwrap_or(end));
            let parent = if of.dns.contains_key(&own) { Of::Dns(own.0) } else { Of::Command };
            let span =
                self.span(Of::Dns(dns.id.0), parent, format!("DNS lookup {}", dns.name), CLIENT, time, has);
            self.push(Span { status: status(failed), ..span });
        }
    }

    fn connection(&self, id: ConnectionId) -> Option<&'a Connection> {
        self.of.connections.get(&id)
    }

    fn log(&self, stall: &model::report::Stall) -> LogRecord {
        let (severity_number, severity_text) = attributes::severity(stall.severity);
        LogRecord {
            time_unix_nano: self.at(stall.start_ns),
            observed_time_unix_nano: self.at(stall.end_ns),
            severity_number,
            severity_text,
            event_name: "goobserve.stall",
            body: AnyValue::StringValue(format!("{}: {}", stall.kind.as_str(), stall.summary)),
            attributes: attributes::stall(stall),
            trace_id: self.ids.trace.clone(),
            span_id: self.ids.span(Of::Command),
            flags: u32::from(self.ids.flags),
        }
    }
}

/// Its handshakes are drawn below a connection's set-up.
fn has_setup(op: &InFlight<'_>) -> bool {
    match op.subject {
        Subject::Connect(of) | Subject::Tls(of) | Subject::Tunnel(of) => !of.joined_late,
        _ => false,
    }
}

fn status(failed: bool) -> Status {
    Status { message: String::new(), code: if failed { 2 } else { 0 } }
}

/// What a command is called: its program and what go's own command is, but nothing of its arguments.
fn name(argv: &[String]) -> String {
    let mut words = argv.iter().map(String::as_str);
    let program = words.next().map_or("command", |program| program.rsplit('/').next().unwrap_or(program));
    let is_word = |word: &&str| word.len() < 16 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let Some(first) = words.next().filter(is_word).filter(|_| model::operations::is_go(program)) else {
        return program.to_owned();
    };
    match words.next().filter(is_word).filter(|_| ["mod", "work"].contains(&first)) {
        Some(second) => format!("{program} {first} {second}"),
        None => format!("{program} {first}"),
    }
}
