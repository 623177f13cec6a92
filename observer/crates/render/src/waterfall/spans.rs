//! A command's tracks in, groups of spans out, each as a bar that says what it is.

use model::human::{bytes, count, duration, moment};
use model::operations::{InFlight, Subject};
use model::record::{Connection, Phase, Request};
use model::roles;
use model::state::{CommandState, Moment, Query};
use model::time::{Ns, SinceStart};
use model::words;

use super::{Bar, Group, Pin, ROWS, Sign};
use crate::tracks::{Place, Track, rows, tracks};

/// A group whose spans have no rows yet.
pub(super) struct Raw {
    /// This machine first, then all others
    pub order: u8,
    group: Group,
    bars: Vec<Bar>,
}

/// Everything of the command, by what it belongs to.
pub(super) fn groups(command: &CommandState, start: SinceStart, end: SinceStart) -> Vec<Raw> {
    let tracks = tracks(command, command.in_flight(end));
    let groups = tracks.iter().map(|track| raw(command, track, start, end));
    groups.chain(machine(command, start, end)).collect()
}

/// What this machine did: all but the idle intervals. There may be millions; neighbours join at once.
fn machine(command: &CommandState, start: SinceStart, end: SinceStart) -> Option<Raw> {
    command.record.as_ref()?.local?;
    let near = (end - start) / 2000;
    let mut bars: Vec<Bar> = Vec::new();
    let mut since = start;
    for &(from, to) in command.idle.iter().chain([&(end, end)]) {
        let (from, to) = (from.clamp(since, end), to.clamp(since, end));
        let busy = Bar { label: "busy".to_owned(), ..plain(Phase::Local, since, from) };
        match bars.last_mut().filter(|last| since - last.end_ns < near) {
            Some(last) => {
                last.end_ns = from;
                last.busy_ns += busy.busy_ns;
            }
            None if from > since => bars.push(busy),
            None => {}
        }
        since = to;
    }
    for bar in &mut bars {
        let begun = moment(bar.start_ns - start);
        bar.note = format!("busy for {}, from {begun} s", duration(bar.busy_ns));
    }
    let group = Group {
        title: "this machine".to_owned(),
        detail: "busy: a thread on a CPU, ready for one, or waiting for the disk".to_owned(),
        ..Group::default()
    };
    Some(Raw { order: 0, group, bars })
}

/// A group without spans: what they belong to.
fn empty(command: &CommandState, track: &Track<'_>, end: SinceStart) -> Group {
    match track.place {
        Place::Locks => Group { title: "file locks".to_owned(), ..Group::default() },
        Place::Children => Group {
            title: "children".to_owned(),
            detail: "what go runs, from start to end".to_owned(),
            ..Group::default()
        },
        Place::Server(server) => Group { title: format!("name server {server}"), ..Group::default() },
        Place::Connection(id) => {
            command.connections.get(&id).map(|of| connection(of, end)).unwrap_or_default()
        }
        Place::Nowhere(host) => Group {
            title: if host.is_empty() { "requests".to_owned() } else { format!("requests to {host}") },
            detail: "their connection was not seen".to_owned(),
            ..Group::default()
        },
    }
}

/// What spans belong to, and more of it.
pub(super) fn title(command: &CommandState, track: &Track<'_>, end: SinceStart) -> (String, String) {
    let group = empty(command, track, end);
    (group.title, group.detail)
}

fn raw(command: &CommandState, track: &Track<'_>, start: SinceStart, end: SinceStart) -> Raw {
    let mut group = empty(command, track, end);
    group.pins.extend(track.moments.iter().filter_map(|(at_ns, moment)| {
        let sign = match moment {
            Moment::Retransmission(mark) if mark.syn => Sign::Syn,
            Moment::Retransmission(_) => Sign::Retransmission,
            Moment::Reset(_) => Sign::Reset,
            Moment::Window(mark) if mark.zero => Sign::ZeroWindow,
            Moment::Window(_) => return None,
        };
        Some(Pin { sign, at_ns: *at_ns, count: 1, note: String::new() })
    }));
    Raw { order: 1, group, bars: track.in_flight.iter().map(|op| bar(op, start)).collect() }
}

fn connection(of: &Connection, end: SinceStart) -> Group {
    let mut detail = vec![format!("#{}", of.id), of.remote.clone()];
    detail.extend(of.alpn.clone());
    detail.push(words::outcome(of.outcome).to_owned());
    detail.push(count(u64::from(of.requests), "request"));
    detail.extend(of.rtt_ns.map(|rtt| format!("round trip {}", duration(rtt))));
    Group {
        title: host(of).to_owned(),
        detail: detail.join(", "),
        life: Some((of.start_ns, of.end_ns.unwrap_or(end).max(of.start_ns))),
        ..Group::default()
    }
}

fn plain(phase: Phase, start_ns: SinceStart, end_ns: SinceStart) -> Bar {
    Bar {
        phase,
        start_ns,
        end_ns,
        first_byte_ns: None,
        error: false,
        open: false,
        count: 1,
        busy_ns: end_ns - start_ns,
        label: String::new(),
        note: String::new(),
    }
}

pub(super) fn bar(op: &InFlight<'_>, origin: SinceStart) -> Bar {
    let operation = &op.operation;
    let (label, mut note) = match op.subject {
        Subject::Dns(query) => dns(query),
        Subject::Connect(of) => {
            ("TCP".to_owned(), format!("TCP handshake with {}{}", of.remote, retransmissions(of)))
        }
        Subject::Tls(of) => ("TLS".to_owned(), format!("TLS handshake with {}", host(of))),
        Subject::Tunnel(of) => {
            let what = of.tunnel.as_ref().map_or("tunnel", |of| of.protocol.name());
            let proxy = of.remote_host().unwrap_or("unknown");
            (what.to_owned(), format!("{what} to {} through the forward proxy {proxy}", host(of)))
        }
        Subject::DnsWait(wait) => {
            ("asked before".to_owned(), format!("query to {} that was not seen", wait.server))
        }
        Subject::Preexisting(of) => {
            (of.comm.clone(), format!("connection to {} that was there already", host(of)))
        }
        Subject::Helper(of) => (of.comm.clone(), format!("connection of {} to {}", of.comm, host(of))),
        Subject::Request(of) => request(of),
        Subject::Backoff(of) => {
            let whom = of.authority.as_deref().unwrap_or("a host not known");
            ("pause".to_owned(), format!("{whom} refused a stream, go pauses before it asks once more"))
        }
        Subject::Child(child) => {
            let name = roles::short(child.process);
            let note = format!("{name}, process {}", child.process.pid);
            (name, note)
        }
        Subject::Lock(wait) => {
            let holder = wait.holder.map_or_else(String::new, |pid| format!(", held by process {pid}"));
            let path = wait.path.as_deref().unwrap_or("a file not known");
            ("lock".to_owned(), format!("wait for the lock of {path}{holder}"))
        }
    };
    let took = duration(operation.end_ns - operation.start_ns);
    let so_far = if op.open { " so far" } else { "" };
    let begun = moment(operation.start_ns.saturating_sub(origin));
    note.push_str(&format!("; {took}{so_far}, from {begun} s"));
    let first_byte_ns = match op.subject {
        Subject::Request(request) => request.first_byte_ns,
        _ => None,
    };
    Bar {
        first_byte_ns: first_byte_ns.map(|at| at.clamp(operation.start_ns, operation.end_ns)),
        error: operation.error,
        open: op.open,
        label,
        note,
        ..plain(operation.phase, operation.start_ns, operation.end_ns)
    }
}

fn host(of: &Connection) -> &str {
    of.host().unwrap_or("unknown")
}

fn retransmissions(of: &Connection) -> String {
    match of.syn_retransmits {
        0 => String::new(),
        n => format!(", {} retransmitted", count(u64::from(n), "SYN")),
    }
}

fn dns(query: &Query) -> (String, String) {
    let dns = &query.record;
    let answer = match (&dns.rcode, dns.timed_out) {
        (Some(rcode), _) => rcode.as_str(),
        (None, true) => "no answer",
        (None, false) => "unanswered",
    };
    let attempt = if dns.attempt > 1 { format!(", attempt {}", dns.attempt) } else { String::new() };
    let label = format!("{} {}", dns.name, dns.qtype);
    (label, format!("DNS query {} {}{attempt}: {answer}", dns.name, dns.qtype))
}

fn request(of: &Request) -> (String, String) {
    let (module, version) = (of.module.as_deref(), of.version.as_deref());
    let subject = words::subject(module, version, of.authority.as_deref(), of.path.as_deref());
    let class = words::class(of.class);
    let status = of.status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
    let mut note = format!("{class} {subject}: {status}");
    if let Some(stream) = of.stream {
        note.push_str(&format!(", stream {stream}"));
    }
    match of.first_byte_ns {
        Some(first) => {
            let first = duration(first.saturating_sub(of.start_ns));
            note.push_str(&format!(", first byte after {first}"));
        }
        None => note.push_str(", no byte came"),
    }
    note.extend(of.bytes.filter(|size| *size > 0).map(|size| format!(", {}", bytes(size))));
    (format!("{class} {subject}"), note)
}

impl Raw {
    pub(super) fn busy(&self) -> Ns {
        // This machine always stays.
        if self.order == 0 { Ns::MAX } else { self.bars.iter().map(|bar| bar.busy_ns).sum() }
    }

    pub(super) fn start(&self) -> SinceStart {
        self.bars.iter().map(|bar| bar.start_ns).min().unwrap_or_default()
    }

    /// Deals the spans out to rows.
    pub(super) fn rows(mut self) -> Group {
        self.bars.sort_by_key(|bar| (bar.start_ns, bar.end_ns));
        let places = rows(self.bars.iter().map(|bar| (bar.start_ns, Some(bar.end_ns))), ROWS);
        for (bar, place) in self.bars.into_iter().zip(places) {
            match place {
                Some(row) if row < self.group.rows.len() => self.group.rows[row].push(bar),
                Some(_) => self.group.rows.push(vec![bar]),
                None => self.group.more += 1,
            }
        }
        self.group
    }
}
