//! A command's spans in, a list of all of them out, none joined with another: what a reader sorts, searches
//! and zooms. The waterfall is for the eye, this is for the question about one request.

use model::human::count;
use model::operations::{InFlight, Subject};
use model::record::{Phase, Request, RequestOutcome};
use model::state::CommandState;
use model::time::{Ns, SinceStart};
use model::words;

use super::spans;
use crate::tracks::tracks;

/// All spans of a command.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct List {
    /// How long the command took
    pub wall_ns: Ns,
    /// What spans belong to: what it is, and more of it
    pub places: Vec<(String, String)>,
    /// By start
    pub rows: Vec<Row>,
    /// Rows that were left out
    pub more: usize,
}

/// One span.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its phase
    pub phase: Phase,
    /// What it is, in a word or two: `zip`, `dns A`, `TLS`
    pub kind: String,
    /// Of what: a module, a name, a host
    pub name: String,
    /// From the command's start
    pub start_ns: Ns,
    /// How long; of one that is open, so far
    pub took_ns: Ns,
    /// From its start to the first byte of its answer
    pub first_byte_ns: Option<Ns>,
    /// How it ended
    pub status: String,
    /// It failed
    pub error: bool,
    /// It had not ended
    pub open: bool,
    /// Bytes of the answer's body
    pub bytes: Option<u64>,
    /// Which of the places
    pub place: usize,
    /// The host, of a request
    pub host: String,
    /// Method, host and path, of a request
    pub url: String,
    /// What else is known of it, in a sentence
    pub note: String,
}

/// All that a command did up to `now`: the first `most` of its spans.
pub fn list(command: &CommandState, now: SinceStart, most: usize) -> List {
    let (start, end) = command.wall(now);
    let tracks = tracks(command, command.in_flight(end));
    let mut list = List { wall_ns: end.saturating_sub(start), ..List::default() };
    for (place, track) in tracks.iter().enumerate() {
        list.places.push(spans::title(command, track, end));
        list.rows.extend(track.in_flight.iter().map(|op| row(op, start, place)));
    }
    list.rows.sort_by_key(|row| (row.start_ns, row.took_ns));
    list.more = list.rows.len().saturating_sub(most);
    list.rows.truncate(most);
    list
}

fn row(op: &InFlight<'_>, start: SinceStart, place: usize) -> Row {
    let operation = &op.operation;
    let bar = spans::bar(op, start);
    let mut row = Row {
        phase: operation.phase,
        kind: operation.phase.name().to_owned(),
        name: bar.label,
        start_ns: operation.start_ns.saturating_sub(start),
        took_ns: operation.end_ns - operation.start_ns,
        first_byte_ns: bar.first_byte_ns.map(|at| at.saturating_sub(operation.start_ns)),
        status: if op.open { "unfinished".to_owned() } else { String::new() },
        error: operation.error,
        open: op.open,
        bytes: None,
        place,
        host: String::new(),
        url: String::new(),
        note: bar.note,
    };
    match op.subject {
        Subject::Request(of) => request(&mut row, of),
        Subject::Dns(query) => {
            row.kind = format!("dns {}", query.record.qtype);
            row.name.clone_from(&query.record.name);
            row.host.clone_from(&query.record.server);
            if let Some(rcode) = &query.record.rcode {
                row.status = match query.record.answers {
                    Some(0) if rcode == "NOERROR" => "no address".to_owned(),
                    Some(n) if rcode == "NOERROR" => count(u64::from(n), "answer"),
                    _ => rcode.clone(),
                };
            } else if query.record.timed_out {
                "no answer".clone_into(&mut row.status);
            }
        }
        Subject::Connect(of) | Subject::Tls(of) | Subject::Tunnel(of) => {
            row.kind = std::mem::take(&mut row.name);
            of.host().unwrap_or("unknown").clone_into(&mut row.name);
            row.host.clone_from(&row.name);
            if operation.error && !op.open {
                words::outcome(of.outcome).clone_into(&mut row.status);
            }
        }
        _ => {}
    }
    row
}

fn request(row: &mut Row, of: &Request) {
    let (module, version) = (of.module.as_deref(), of.version.as_deref());
    row.name = words::subject(module, version, of.authority.as_deref(), of.path.as_deref());
    words::class(of.class).clone_into(&mut row.kind);
    row.host = of.authority.clone().unwrap_or_default();
    let path = of.path.as_deref().unwrap_or("");
    row.url = format!("{} {}{path}", of.method.as_deref().unwrap_or("?"), row.host);
    row.bytes = of.bytes;
    (row.status, row.error) = status(of);
    row.note = of.stream.map_or_else(String::new, |stream| format!("stream {stream}"));
    row.note.extend(of.reset_code.as_deref().map(|code| format!(", reset with {code}")));
}

/// How a request ended, and whether that is trouble.
pub(crate) fn status(request: &Request) -> (String, bool) {
    let code = request.status.map(|status| status.to_string());
    match request.outcome {
        RequestOutcome::Ok => (code.unwrap_or_else(|| "ok".to_owned()), false),
        RequestOutcome::Error => (code.unwrap_or_else(|| "no answer".to_owned()), true),
        RequestOutcome::Reset => ("reset".to_owned(), true),
        RequestOutcome::Cancelled => ("cancelled".to_owned(), false),
        RequestOutcome::Open => ("unfinished".to_owned(), true),
        RequestOutcome::Unknown => (code.unwrap_or_else(|| "answer not seen".to_owned()), false),
    }
}
