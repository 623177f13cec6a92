//! A command's DNS queries and TCP connections.

use anstyle::Style;
use model::human::{bytes, count, duration, duration_or_unknown};
use model::record::{ConnectionOutcome, Side};
use model::report::{Command, Connection, Dns, Report};
use model::words;

use crate::page::{BAD, DIM, PLAIN, Page};
use crate::table::{Column, Table};

/// Rows shown of each.
const MOST: usize = 10;
/// Rows shown of what a stub resolver asked for one query.
const MOST_PASSED_ON: usize = 3;

pub(super) fn dns(page: &mut Page, report: &Report, command: &Command) {
    let of: Vec<&Dns> = report.dns.iter().filter(|dns| dns.command == command.id).collect();
    let mut queries: Vec<&Dns> = of.iter().copied().filter(|dns| dns.on_behalf_of.is_none()).collect();
    if queries.is_empty() {
        return;
    }
    let all = queries.len();
    page.heading(&count(all as u64, "DNS query"));
    if all > MOST {
        // The slow ones and those without an answer are worth the room.
        let took = |dns: &Dns| dns.end_ns.map_or(u64::MAX, |end| end.saturating_sub(dns.start_ns));
        queries.sort_by_key(|dns| std::cmp::Reverse(took(dns)));
        queries.truncate(MOST);
        queries.sort_by_key(|dns| dns.start_ns);
    }
    let mut table = Table::new(&[
        Column::Flexible,
        Column::Left,
        Column::Left,
        Column::Right,
        Column::Flexible,
        Column::Left,
    ]);
    for dns in queries {
        let whole = dns.end_ns.map(|end| end.saturating_sub(dns.start_ns));
        query(&mut table, (dns, command), dns.name.clone(), retried(dns));
        // What its server, a local resolver, asked for it.
        let passed_on: Vec<&Dns> =
            of.iter().copied().filter(|passed_on| passed_on.on_behalf_of == Some(dns.id)).collect();
        for (index, dns) in passed_on.iter().take(MOST_PASSED_ON).enumerate() {
            let by = if dns.comm.is_empty() { "its server" } else { &dns.comm };
            let left = passed_on.len() - MOST_PASSED_ON.min(passed_on.len());
            let note = match whole {
                _ if left > 0 && index + 1 == MOST_PASSED_ON => format!("and {left} more"),
                Some(whole) => format!("of {}", duration(whole)),
                None => String::new(),
            };
            query(&mut table, (dns, command), format!("  {by} asked"), (note, DIM));
        }
    }
    page.table(&table);
    super::rest(page, all, MOST, "query", "queries");
}

fn retried(dns: &Dns) -> (String, Style) {
    (if dns.attempt > 1 { format!("attempt {}", dns.attempt) } else { String::new() }, BAD)
}

fn query(table: &mut Table, (dns, command): (&Dns, &Command), name: String, note: (String, Style)) {
    let lost = dns.end_ns.is_none() && !dns.timed_out && command.may_miss_end(dns.start_ns);
    let took = dns.end_ns.map(|end| end.saturating_sub(dns.start_ns));
    let (answer, style) = match (&dns.rcode, dns.timed_out) {
        (Some(_), _) if dns.truncated => ("cut short".to_owned(), BAD),
        (Some(rcode), _) if rcode == "NOERROR" => (answers(dns), PLAIN),
        (Some(rcode), _) => (rcode.clone(), BAD),
        (None, _) if dns.refused => ("refused".to_owned(), BAD),
        (None, true) => ("no answer".to_owned(), BAD),
        (None, false) if lost => ("answer not seen".to_owned(), DIM),
        (None, false) => ("unanswered".to_owned(), BAD),
    };
    table.styled([
        (name, PLAIN),
        (dns.qtype.clone(), PLAIN),
        (answer, style),
        (took.map_or_else(|| if lost { "?" } else { "given up" }.to_owned(), duration), PLAIN),
        (format!("from {}", dns.server), DIM),
        note,
    ]);
}

fn answers(dns: &Dns) -> String {
    match dns.answers {
        Some(0) => "no address".to_owned(),
        Some(n) => count(u64::from(n), "answer"),
        None => "answered".to_owned(),
    }
}

fn is_bad(connection: &Connection) -> bool {
    matches!(
        connection.outcome,
        ConnectionOutcome::Refused
            | ConnectionOutcome::TimedOut
            | ConnectionOutcome::Unreachable
            | ConnectionOutcome::Reset
    )
}

/// Whether anything could be said on it: its TCP handshake did not fail.
const fn is_through(connection: &Connection) -> bool {
    !matches!(
        connection.outcome,
        ConnectionOutcome::Refused | ConnectionOutcome::TimedOut | ConnectionOutcome::Unreachable
    )
}

pub(super) fn connections(page: &mut Page, report: &Report, command: &Command) {
    let of = report.connections.iter().filter(|connection| connection.command == command.id);
    let mut connections: Vec<&Connection> = of.collect();
    if connections.is_empty() {
        return;
    }
    let all = connections.len();
    page.heading(&count(all as u64, "TCP connection"));
    if all > MOST {
        // Those that failed are worth the room.
        connections.sort_by_key(|connection| (!is_bad(connection), connection.id));
    }
    connections.truncate(MOST);
    for connection in connections {
        let host = connection.host().unwrap_or("unknown host");
        let mut parts = Vec::new();
        if is_through(connection) {
            parts.push(match (&connection.alpn, &connection.tls_version) {
                (Some(alpn), Some(version)) => format!("{alpn} over TLS {version}"),
                (Some(alpn), None) => alpn.clone(),
                (None, Some(version)) => format!("TLS {version}"),
                (None, None) => "protocol unknown".to_owned(),
            });
            parts.push(count(u64::from(connection.requests), "request"));
            parts.extend(connection.bytes_received.map(|n| format!("{} received", bytes(n))));
            parts.extend(connection.rtt_ns.map(|rtt| format!("round trip {}", duration(rtt))));
        }
        parts.push(format!("TCP {}", duration_or_unknown(connection.connect_ns)));
        let plain = connection.tls_start_ns.is_none() && connection.alpn.is_some() && !connection.joined_late;
        if is_through(connection) && !plain {
            parts.push(format!("TLS {}", duration_or_unknown(connection.tls_ns)));
        }
        let ended = match (connection.outcome, connection.closed_by) {
            (ConnectionOutcome::Established, Some(Side::Peer)) => "closed by the peer",
            (outcome, _) => words::outcome(outcome),
        };
        let remote = words::remote(connection);
        page.line(2, PLAIN, &format!("{host} ({remote}), {ended}"));
        page.line(4, DIM, &parts.join(", "));
        let trouble = words::trouble(connection);
        if !trouble.is_empty() {
            page.line(4, BAD, &trouble.join(", "));
        }
    }
    super::rest(page, all, MOST, "connection", "connections");
}
