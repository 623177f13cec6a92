//! Requests, the longest first.

use model::human::{bytes, duration};
use model::id::RequestId;
use model::record::{Phase, Request, RequestOutcome};
use model::time::SinceStart;
use model::words;
use ratatui::style::Style;

use super::Subject;
use crate::tui::table::{Column, Key, Source, number, text};
use crate::tui::theme::letter;
use crate::tui::view::Target;

const COLUMNS: [Column; 10] = [
    number("start s", 8, 60),
    text("class", 10, 0),
    text("module", 0, 0),
    text("host", 20, 110),
    number("status", 7, 48),
    number("size", 8, 60),
    number("1st byte", 9, 70),
    number("took", 11, 0),
    number("stream", 7, 130),
    text("when", 0, 110),
];

/// A command's requests.
pub(super) struct Requests<'a>(pub Subject<'a>);

impl Requests<'_> {
    fn get(&self, row: u64) -> Option<&Request> {
        self.0.command.requests.get(&RequestId(row as u32)).map(|request| &**request)
    }

    fn phase(request: &Request) -> Phase {
        request.class.phase()
    }
}

fn class(request: &Request) -> &'static str {
    let name = words::class(request.class);
    name.strip_prefix("sumdb-").unwrap_or(name)
}

fn what(request: &Request) -> String {
    match (&request.module, &request.version, &request.path) {
        (Some(module), Some(version), _) => format!("{module}@{version}"),
        (Some(module), None, _) => module.clone(),
        (None, _, Some(path)) => path.clone(),
        (None, ..) => "path unknown".to_owned(),
    }
}

fn ending(request: &Request) -> String {
    match (request.outcome, request.status) {
        (RequestOutcome::Reset | RequestOutcome::Cancelled, _) => {
            words::request_outcome(request.outcome).to_owned()
        }
        (_, Some(status)) => status.to_string(),
        (outcome, _) => words::request_outcome(outcome).to_owned(),
    }
}

impl Source for Requests<'_> {
    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn usual(&self) -> (usize, bool) {
        (7, true)
    }

    fn rows(&self) -> Vec<u64> {
        self.0.command.requests.keys().map(|id| u64::from(*id)).collect()
    }

    fn key(&self, row: u64, column: usize) -> Key {
        let Some(request) = self.get(row) else { return Key::Unknown };
        match column {
            1 => class(request).into(),
            2 => Key::Text(what(request)),
            3 => request.authority.as_deref().unwrap_or_default().into(),
            4 => request.status.map(u64::from).into(),
            5 => request.bytes.into(),
            6 => request.first_byte_ns.map(|at| at.saturating_sub(request.start_ns)).into(),
            7 => Key::Number(self.0.took(request.start_ns, request.end_ns)),
            8 => request.stream.map(u64::from).into(),
            _ => Key::Number(request.start_ns.0),
        }
    }

    fn haystack(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |request| {
            let host = request.authority.as_deref().unwrap_or_default();
            let status = request.status.map_or_else(String::new, |status| status.to_string());
            format!(
                "{} {} host:{host} phase:{} status:{status} {}",
                words::class(request.class),
                what(request),
                request.class.phase().name(),
                ending(request)
            )
        })
    }

    fn end(&self, row: u64) -> Option<SinceStart> {
        self.get(row).and_then(|request| request.end_ns)
    }

    fn target(&self, row: u64) -> Option<Target> {
        Some(Target::Request(RequestId(row as u32)))
    }

    fn took(&self) -> usize {
        7
    }

    fn cells(&self, row: u64, widths: &[u16]) -> Vec<(String, Style)> {
        let Some(request) = self.get(row) else { return Vec::new() };
        let (theme, phase) = (self.0.theme, Self::phase(request));
        let failed = matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset);
        let plain = Style::new();
        let unknown = || "-".to_owned();
        let first = request.first_byte_ns.filter(|at| *at <= self.0.now);
        let strip = self.0.strip(widths[9], request.start_ns, first, request.end_ns, phase);
        let took = duration(self.0.took(request.start_ns, request.end_ns));
        let open = request.end_ns.is_none();
        vec![
            (self.0.moment(request.start_ns), theme.dim()),
            (format!("{} {}", letter(phase), class(request)), theme.phase(phase)),
            (what(request), plain),
            (request.authority.clone().unwrap_or_else(unknown), plain),
            (ending(request), if failed { theme.bad() } else { plain }),
            (request.bytes.map_or_else(unknown, bytes), plain),
            (first.map_or_else(unknown, |at| duration(at.saturating_sub(request.start_ns))), plain),
            (if open { format!("{took} ▶") } else { took }, if open { theme.bold() } else { plain }),
            (request.stream.map_or_else(unknown, |stream| stream.to_string()), theme.dim()),
            (strip, theme.phase(phase)),
        ]
    }

    fn detail(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |request| {
            let method = request.method.as_deref().unwrap_or("?");
            let host = request.authority.as_deref().unwrap_or("unknown host");
            let path = request.path.as_deref().unwrap_or(" path unknown");
            format!("{method} {host}{path} · {} · {}", words::protocol(request.protocol), ending(request))
        })
    }

    fn none(&self) -> &'static str {
        "no request was seen yet"
    }
}
