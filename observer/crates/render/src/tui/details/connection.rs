//! A connection, opened, and everything with one host.

use std::cmp::Reverse;

use model::human::{bytes, count, duration};
use model::id::ConnectionId;
use model::record::{Connection, Phase, Request};
use model::{roles, words};
use ratatui::style::Style;

use super::{LINKS, Of, Page, Target, step};
use crate::tui::timeline::lanes::{self, label};

pub(super) fn describe(page: &mut Page, of: Of<'_>, id: ConnectionId) {
    let Some(connection) = of.command.connections.get(&id) else { return };
    let (theme, plain) = (of.theme, Style::new());
    siblings(page, of, id);
    let host = connection.host().unwrap_or("unknown host");
    page.say("", &format!("connection #{id} to {host}"), theme.bold());
    page.say("ends", &format!("{} from {}", words::remote(connection), connection.local), plain);
    let name = connection.server_name.as_deref().unwrap_or("none seen");
    page.say("server name", name, plain);
    let tls = connection.tls_version.as_deref().map(|version| format!("TLS {version}"));
    let spoken = connection.alpn.clone().unwrap_or_else(|| "protocol not known".to_owned());
    let how = words::outcome(connection.outcome).to_owned();
    let spoken: Vec<String> = std::iter::once(spoken).chain(tls).chain([how]).collect();
    page.say("spoken", &spoken.join(" · "), plain);
    page.say(
        "when",
        &format!(
            "{}, {}",
            of.lasted(connection.start_ns, connection.end_ns),
            of.interval(connection.start_ns, connection.end_ns)
        ),
        plain,
    );
    let mut parts = Vec::new();
    parts.extend(connection.connect_ns.map(|took| step(theme, Phase::Connect, "tcp", took)));
    parts.extend(connection.tls_ns.map(|took| step(theme, Phase::Tls, "tls", took)));
    if !parts.is_empty() {
        page.parts("phases", parts);
    }
    let known = |bytes_of: Option<u64>| bytes_of.map_or_else(|| "not known".to_owned(), bytes);
    let sizes =
        format!("sent {}, received {}", known(connection.bytes_sent), known(connection.bytes_received));
    page.say("bytes", &sizes, plain);
    let rtt = connection.rtt_ns.map_or_else(|| "not known".to_owned(), duration);
    let trouble = words::trouble(connection).join(", ");
    let trouble = if trouble.is_empty() { "nothing retransmitted, no reset".to_owned() } else { trouble };
    page.say("path", &format!("RTT {rtt} · {trouble}"), plain);
    page.link("host", host, plain, Target::Host(host.to_owned()));
    if let Some(process) = of.command.processes.values().rfind(|process| process.pid == connection.pid) {
        let text = format!("{} (pid {})", roles::short(process), process.pid);
        page.link("process", &text, plain, Target::Process(process.start_ns, process.pid));
    }
    of.findings(page, (connection.start_ns, connection.end_ns), Some(host));
    requests(page, of, |request| request.connection == Some(id));
}

fn siblings(page: &mut Page, of: Of<'_>, id: ConnectionId) {
    use std::ops::Bound::{Excluded, Unbounded};
    let all = &of.command.connections;
    page.prev = all.range(..id).next_back().map(|(id, _)| Target::Connection(*id));
    page.next = all.range((Excluded(id), Unbounded)).next().map(|(id, _)| Target::Connection(*id));
    let opening =
        |connection: &Connection| connection.connect_ns.unwrap_or(0) + connection.tls_ns.unwrap_or(0);
    let longest = all.values().max_by_key(|connection| (opening(connection), Reverse(connection.id)));
    page.longest = longest.map(|connection| Target::Connection(connection.id));
}

/// Everything with a host: what it cost, its connections, its requests.
pub(super) fn host(page: &mut Page, of: Of<'_>, host: &str) {
    let (theme, plain) = (of.theme, Style::new());
    page.say("", host, theme.bold());
    let own = || {
        let all = of.command.requests.values();
        all.filter(|request| request.authority.as_deref() == Some(host))
    };
    let size = own().filter_map(|request| request.bytes).sum();
    let failed = own().filter(|request| request.status.is_some_and(|status| status >= 400)).count();
    let text = format!(
        "{}, {} received in bodies, {failed} with status 400 or more",
        count(own().count() as u64, "request"),
        bytes(size)
    );
    page.say("requests", &text, plain);
    for connection in
        of.command.connections.values().filter(|connection| connection.host() == Some(host)).take(LINKS)
    {
        let text = format!(
            "#{} {}, {}, {}",
            connection.id,
            connection.alpn.as_deref().unwrap_or("tcp"),
            words::outcome(connection.outcome),
            count(u64::from(connection.requests), "request")
        );
        page.link("connection", &text, plain, Target::Connection(connection.id));
    }
    for query in of
        .command
        .dns
        .values()
        .filter(|query| query.record.name == host || query.record.server == host)
        .take(LINKS)
    {
        let dns = &query.record;
        let text = format!(
            "{} {} of {}, {}",
            dns.qtype,
            dns.name,
            dns.server,
            of.lasted(dns.start_ns, dns.end_ns.or(query.given_up_ns))
        );
        page.link("query", &text, plain, Target::Query(dns.id));
    }
    let (begin, until) = of.command.wall(of.now);
    of.findings(page, (begin, Some(until)), Some(host));
    requests(page, of, |request| request.authority.as_deref() == Some(host));
}

/// The longest of these requests.
pub(super) fn requests(page: &mut Page, of: Of<'_>, wanted: impl Fn(&Request) -> bool) {
    let all = of.command.requests.values().map(|request| &**request);
    let mut own: Vec<&Request> = all.filter(|request| wanted(request)).collect();
    own.sort_by_key(|request| (Reverse(of.took(request.start_ns, request.end_ns)), request.id));
    for request in own.iter().take(LINKS) {
        let took = of.lasted(request.start_ns, request.end_ns);
        let text = format!("{}, {took}", label(of.command, lanes::Id::Request(request.id)));
        page.link("requests", &text, of.theme.phase(request.class.phase()), Target::Request(request.id));
    }
    if own.len() > LINKS {
        page.say("", &format!("{} more, which are shorter", own.len() - LINKS), of.theme.dim());
    }
}
