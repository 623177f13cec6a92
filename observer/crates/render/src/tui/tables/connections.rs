//! Connections, as they were opened.

use model::human::{bytes, duration, duration_or_unknown};
use model::id::ConnectionId;
use model::record::{Connection, ConnectionOutcome};
use model::time::SinceStart;
use model::words;
use ratatui::style::Style;

use super::Subject;
use crate::tui::canvas::sparkline;
use crate::tui::table::{Column, Key, Source, number, text};
use crate::tui::view::Target;

const COLUMNS: [Column; 14] = [
    number("start s", 8, 70),
    text("host", 0, 0),
    text("remote", 22, 120),
    text("spoken", 8, 50),
    number("tcp", 8, 76),
    number("tls", 8, 76),
    number("rtt", 8, 0),
    number("sent", 8, 130),
    number("received", 8, 100),
    number("lost", 4, 0),
    number("late", 5, 140),
    number("reqs", 5, 0),
    text("how", 10, 50),
    text("received over time", 0, 120),
];

/// A command's connections.
pub(super) struct Connections<'a>(pub Subject<'a>);

impl Connections<'_> {
    fn get(&self, row: u64) -> Option<&Connection> {
        self.0.command.connections.get(&ConnectionId(row as u32))
    }

    /// Bytes of bodies that ended in each part of the command's time.
    fn received(&self, id: ConnectionId, parts: u16) -> String {
        if parts == 0 {
            return String::new();
        }
        let (from, until) = self.0.command.wall(self.0.now);
        let length = u128::from(until.saturating_sub(from).max(1));
        let mut values = vec![0u64; usize::from(parts)];
        let own = self.0.command.requests.values().filter(|request| request.connection == Some(id));
        for (end, bytes) in own.filter_map(|request| Some((request.end_ns?, request.bytes?))) {
            let part = u128::from(end.saturating_sub(from)) * u128::from(parts) / length;
            let part = (part as usize).min(values.len() - 1);
            values[part] = values[part].saturating_add(bytes.max(1));
        }
        sparkline(&values)
    }
}

fn lost(connection: &Connection) -> u64 {
    u64::from(connection.retransmits) + u64::from(connection.syn_retransmits)
}

fn outcome(connection: &Connection) -> &'static str {
    match connection.outcome {
        ConnectionOutcome::Established => "closed",
        ConnectionOutcome::Open if connection.connect_ns.is_none() && !connection.joined_late => "connecting",
        ConnectionOutcome::Open => "open",
        outcome => words::outcome(outcome),
    }
}

impl Source for Connections<'_> {
    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn usual(&self) -> (usize, bool) {
        (0, false)
    }

    fn rows(&self) -> Vec<u64> {
        self.0.command.connections.keys().map(|id| u64::from(*id)).collect()
    }

    fn key(&self, row: u64, column: usize) -> Key {
        let Some(connection) = self.get(row) else { return Key::Unknown };
        match column {
            1 => connection.host().unwrap_or_default().into(),
            2 => connection.remote.as_str().into(),
            3 => connection.alpn.as_deref().unwrap_or_default().into(),
            4 => connection.connect_ns.into(),
            5 => connection.tls_ns.into(),
            6 => connection.rtt_ns.into(),
            7 => connection.bytes_sent.into(),
            8 | 13 => connection.bytes_received.into(),
            9 => Key::Number(lost(connection)),
            10 => connection.received_out_of_order.map(u64::from).into(),
            11 => Key::Number(u64::from(connection.requests)),
            12 => outcome(connection).into(),
            _ => Key::Number(connection.start_ns.0),
        }
    }

    fn haystack(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |connection| {
            let host = connection.host().unwrap_or_default();
            let alpn = connection.alpn.as_deref().unwrap_or_default();
            let (remote, comm) = (&connection.remote, &connection.comm);
            format!("host:{host} {remote} {alpn} {comm} status:{}", outcome(connection))
        })
    }

    fn end(&self, row: u64) -> Option<SinceStart> {
        self.get(row).and_then(|connection| connection.end_ns)
    }

    fn target(&self, row: u64) -> Option<Target> {
        Some(Target::Connection(ConnectionId(row as u32)))
    }

    fn took(&self) -> usize {
        5
    }

    fn cells(&self, row: u64, widths: &[u16]) -> Vec<(String, Style)> {
        let Some(connection) = self.get(row) else { return Vec::new() };
        let (theme, plain) = (self.0.theme, Style::new());
        let unknown = || "?".to_owned();
        let bad = |bad: bool| if bad { theme.bad() } else { plain };
        let failed = matches!(
            connection.outcome,
            ConnectionOutcome::Refused
                | ConnectionOutcome::TimedOut
                | ConnectionOutcome::Unreachable
                | ConnectionOutcome::Reset
        );
        let late = connection.received_out_of_order;
        vec![
            (self.0.moment(connection.start_ns), theme.dim()),
            (connection.host().unwrap_or("unknown host").to_owned(), plain),
            (connection.remote.clone(), theme.dim()),
            (connection.alpn.clone().unwrap_or_else(unknown), plain),
            (duration_or_unknown(connection.connect_ns), plain),
            (duration_or_unknown(connection.tls_ns), bad(connection.tls_failed)),
            (duration_or_unknown(connection.rtt_ns), plain),
            (connection.bytes_sent.map_or_else(unknown, bytes), plain),
            (connection.bytes_received.map_or_else(unknown, bytes), plain),
            (lost(connection).to_string(), bad(lost(connection) > 0)),
            (late.map_or_else(unknown, |late| late.to_string()), bad(late.unwrap_or(0) > 0)),
            (connection.requests.to_string(), plain),
            (outcome(connection).to_owned(), bad(failed)),
            (self.received(connection.id, widths[13]), theme.phase(model::record::Phase::Proxy)),
        ]
    }

    fn detail(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |connection| {
            let mut parts = vec![format!("{} → {}", connection.local, words::remote(connection))];
            parts.push(format!("{} ({})", connection.comm, connection.pid));
            parts.extend(connection.tls_version.as_ref().map(|version| format!("TLS {version}")));
            parts.extend(connection.rtt_ns.map(|rtt| format!("RTT {}", duration(rtt))));
            parts.extend(connection.bytes_received.map(|n| format!("{} received", bytes(n))));
            parts.push(format!("{} retransmitted, {} resets", lost(connection), connection.resets));
            if connection.zero_windows > 0 {
                parts.push(format!("window closed {}×", connection.zero_windows));
            }
            if connection.joined_late {
                parts.push("joined late: its beginning was not seen".to_owned());
            }
            parts.join(" · ")
        })
    }

    fn none(&self) -> &'static str {
        "no connection was seen"
    }
}
