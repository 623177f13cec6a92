//! Queries to name servers, the longest first.

use model::human::duration;
use model::id::DnsId;
use model::record::{Phase, Transport};
use model::state::Query;
use model::time::SinceStart;
use ratatui::style::Style;

use super::Subject;
use crate::tui::table::{Column, Key, Source, number, text};
use crate::tui::view::Target;

const COLUMNS: [Column; 9] = [
    number("start s", 8, 60),
    text("server", 18, 56),
    text("name", 0, 0),
    text("type", 5, 0),
    number("try", 3, 48),
    text("answer", 10, 48),
    number("took", 11, 0),
    text("asked by", 20, 120),
    text("when", 0, 110),
];

/// A command's queries.
pub(super) struct Queries<'a>(pub Subject<'a>);

impl Queries<'_> {
    fn get(&self, row: u64) -> Option<&Query> {
        self.0.command.dns.get(&DnsId(row as u32))
    }
}

fn end(query: &Query) -> Option<SinceStart> {
    query.record.end_ns.or(query.given_up_ns)
}

fn answer(query: &Query) -> String {
    let dns = &query.record;
    match (dns.rcode.as_deref(), dns.answers) {
        (Some(_), _) if dns.truncated => "cut short".to_owned(),
        (None, _) if dns.refused => "refused".to_owned(),
        (Some("NOERROR"), Some(n)) => format!("{n} found"),
        (Some(rcode), _) => rcode.to_owned(),
        (None, _) if dns.timed_out => "given up".to_owned(),
        (None, _) if dns.end_ns.is_some() => "answered".to_owned(),
        (None, _) => "none yet".to_owned(),
    }
}

fn asker(query: &Query) -> String {
    let dns = &query.record;
    let own = format!("{} ({})", dns.comm, dns.pid);
    if dns.on_behalf_of.is_some() { format!("{own}, passed on") } else { own }
}

impl Source for Queries<'_> {
    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn usual(&self) -> (usize, bool) {
        (6, true)
    }

    fn rows(&self) -> Vec<u64> {
        self.0.command.dns.keys().map(|id| u64::from(*id)).collect()
    }

    fn key(&self, row: u64, column: usize) -> Key {
        let Some(query) = self.get(row) else { return Key::Unknown };
        let dns = &query.record;
        match column {
            1 => dns.server.as_str().into(),
            2 => dns.name.as_str().into(),
            3 => dns.qtype.as_str().into(),
            4 => Key::Number(u64::from(dns.attempt)),
            5 => Key::Text(answer(query)),
            6 => Key::Number(self.0.took(dns.start_ns, end(query))),
            7 => Key::Text(asker(query)),
            _ => Key::Number(dns.start_ns.0),
        }
    }

    fn haystack(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |query| {
            let dns = &query.record;
            let (server, name, qtype) = (&dns.server, &dns.name, &dns.qtype);
            let status = dns.rcode.as_deref().unwrap_or_default();
            format!(
                "host:{server} {name} {qtype} phase:dns status:{status} {} {}",
                answer(query),
                asker(query)
            )
        })
    }

    fn end(&self, row: u64) -> Option<SinceStart> {
        self.get(row).and_then(end)
    }

    fn target(&self, row: u64) -> Option<Target> {
        Some(Target::Query(DnsId(row as u32)))
    }

    fn took(&self) -> usize {
        6
    }

    fn cells(&self, row: u64, widths: &[u16]) -> Vec<(String, Style)> {
        let Some(query) = self.get(row) else { return Vec::new() };
        let (dns, theme, plain) = (&query.record, self.0.theme, Style::new());
        let failed = dns.timed_out || dns.rcode.as_deref().is_some_and(|rcode| rcode != "NOERROR");
        let over = if dns.transport == Transport::Tcp { " tcp" } else { "" };
        let open = end(query).is_none();
        let took = duration(self.0.took(dns.start_ns, end(query)));
        vec![
            (self.0.moment(dns.start_ns), theme.dim()),
            (format!("{}{over}", dns.server), plain),
            (dns.name.clone(), plain),
            (dns.qtype.clone(), plain),
            (dns.attempt.to_string(), if dns.attempt > 1 { theme.bad() } else { theme.dim() }),
            (answer(query), if failed { theme.bad() } else { plain }),
            (if open { format!("{took} ▶") } else { took }, if open { theme.bold() } else { plain }),
            (asker(query), theme.dim()),
            (self.0.strip(widths[8], dns.start_ns, None, end(query), Phase::Dns), theme.phase(Phase::Dns)),
        ]
    }

    fn detail(&self, row: u64) -> String {
        self.get(row).map_or_else(String::new, |query| {
            format!("{} asked {} · {}", asker(query), query.record.server, answer(query))
        })
    }

    fn none(&self) -> &'static str {
        "no query to a name server was seen"
    }
}
