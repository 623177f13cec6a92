//! A request, opened: what was asked and answered, how long each part of it took, behind what it waited.

use model::human::{bytes, count, duration};
use model::id::{ConnectionId, RequestId};
use model::record::{Class, Connection, Protocol, Request};
use model::time::SinceStart;
use model::{roles, words};
use ratatui::style::Style;

use super::{Of, Page, Target, step};
use crate::tui::timeline::lanes::{self, label};

/// Why go asks that.
const fn why(class: Class) -> &'static str {
    match class {
        Class::List => "go needs the list of the module's versions, to choose one",
        Class::Latest => "go needs the module's latest version, for it has no tagged one",
        Class::Info => "go needs the commit and the time of a version",
        Class::Mod => "go needs the module's go.mod, to know what it requires in turn",
        Class::Zip => "go needs the module's files: they are not in the module cache",
        Class::SumdbSupported => "go asks whether this proxy passes on the checksum database",
        Class::SumdbLatest => "go needs the checksum database's latest tree, to compare with its own",
        Class::SumdbLookup => "go.sum has no checksum of this module",
        Class::SumdbTile => "go proves that the checksum database's answer is in its log",
        Class::Toolchain => "go.mod or go.work asks for a toolchain that is not installed",
        Class::GoGet => "go looks for the repository of an import path",
        Class::Other => "why is not known",
    }
}

pub(super) fn describe(page: &mut Page, of: Of<'_>, id: RequestId) {
    let Some(request) = of.command.requests.get(&id).map(|request| &**request) else { return };
    let theme = of.theme;
    let plain = Style::new();
    let connection = request.connection.and_then(|id| of.command.connections.get(&id));
    let phase = request.class.phase();
    siblings(page, of, id);
    page.say("", &label(of.command, lanes::Id::Request(id)), theme.bold());
    page.say("request", &url(request, connection), plain);
    let status =
        request.status.map_or_else(|| "no status yet".to_owned(), |status| format!("status {status}"));
    let size = request.bytes.map_or_else(|| "size not known".to_owned(), bytes);
    let stream = request.stream.map_or_else(String::new, |stream| format!(" stream {stream}"));
    let spoken = format!("{}{stream}", words::protocol(request.protocol));
    let mut parts = vec![status, words::request_outcome(request.outcome).to_owned(), size, spoken];
    parts.extend(request.reset_code.as_ref().map(|code| format!("reset with {code}")));
    parts.extend(request.retry_after_s.map(|s| format!("asked to wait {s} s (Retry-After)")));
    page.say("answer", &parts.join(" · "), plain);
    page.say(
        "when",
        &format!(
            "{}, {}",
            of.lasted(request.start_ns, request.end_ns),
            of.interval(request.start_ns, request.end_ns)
        ),
        plain,
    );
    phases(page, of, request, connection);
    let attempts: Vec<&Request> = attempts(of, request);
    let which = attempts.iter().position(|other| other.id == id).unwrap_or(0) + 1;
    page.say("attempts", &format!("{which} of {}", attempts.len()), plain);
    if let (Some(module), version) = (&request.module, &request.version) {
        let version = version.as_deref().map_or_else(String::new, |version| format!("@{version}"));
        page.say("module", &format!("{module}{version}"), plain);
    }
    page.say("why", why(request.class), plain);
    behind(page, of, request, connection);
    if let Some(connection) = connection {
        let name = connection.server_name.as_deref().unwrap_or("no server name (SNI) seen");
        let rtt = connection.rtt_ns.map_or_else(String::new, |rtt| format!(", RTT {}", duration(rtt)));
        let text = format!("#{} to {}, {name}{rtt}", connection.id, words::remote(connection));
        page.link("connection", &text, plain, Target::Connection(connection.id));
    } else {
        page.say("connection", "its socket was not seen", theme.dim());
    }
    if let Some(host) = &request.authority {
        page.link("host", host, plain, Target::Host(host.clone()));
    }
    let process = of.command.processes.values().rfind(|process| process.pid == request.pid);
    if let Some(process) = process {
        let text = format!("{} (pid {})", roles::short(process), process.pid);
        page.link("process", &text, plain, Target::Process(process.start_ns, process.pid));
    }
    of.findings(page, (request.start_ns, request.end_ns), request.authority.as_deref());
    for other in attempts.iter().filter(|other| other.id != id) {
        let text = format!("at {} s, {}", of.moment(other.start_ns), of.lasted(other.start_ns, other.end_ns));
        page.link("attempt", &text, theme.phase(phase), Target::Request(other.id));
    }
}

fn siblings(page: &mut Page, of: Of<'_>, id: RequestId) {
    use std::ops::Bound::{Excluded, Unbounded};
    let all = &of.command.requests;
    page.prev = all.range(..id).next_back().map(|(id, _)| Target::Request(*id));
    page.next = all.range((Excluded(id), Unbounded)).next().map(|(id, _)| Target::Request(*id));
    let longest = all
        .values()
        .max_by_key(|request| (of.took(request.start_ns, request.end_ns), std::cmp::Reverse(request.id)));
    page.longest = longest.map(|request| Target::Request(request.id));
}

fn url(request: &Request, connection: Option<&Connection>) -> String {
    let method = request.method.as_deref().unwrap_or("method not known");
    let host = request.authority.as_deref().unwrap_or("host not known");
    let path = request.path.as_deref().unwrap_or(" (path not known)");
    // Of a connection that was joined late it is not known whether it is encrypted.
    let scheme = match connection {
        Some(connection) if connection.tls_start_ns.is_some() || connection.tls_ns.is_some() => "https://",
        Some(connection) if !connection.joined_late && request.protocol == Protocol::Http1 => "http://",
        _ => "",
    };
    format!("{method} {scheme}{host}{path}")
}

/// What it took, one after the other: of the first on its connection the handshakes too.
fn phases(page: &mut Page, of: Of<'_>, request: &Request, connection: Option<&Connection>) {
    use model::record::Phase;
    let phase = request.class.phase();
    let mut parts = Vec::new();
    if let Some(connection) = connection.filter(|connection| is_first(of, request, connection.id)) {
        parts.extend(connection.connect_ns.map(|took| step(of.theme, Phase::Connect, "tcp", took)));
        parts.extend(connection.tls_ns.map(|took| step(of.theme, Phase::Tls, "tls", took)));
    }
    let first = request.first_byte_ns.filter(|at| *at <= of.now);
    let waited = of.took(request.start_ns, first.or(request.end_ns));
    let what = if first.is_some() { "first byte" } else { "no byte yet" };
    parts.push(step(of.theme, phase, what, waited));
    if let Some(first) = first {
        let what = if request.end_ns.is_some() { "body" } else { "body so far" };
        parts.push(step(of.theme, phase, what, of.took(first, request.end_ns)));
    }
    page.parts("phases", parts);
}

fn is_first(of: Of<'_>, request: &Request, connection: ConnectionId) -> bool {
    let mut own = of.command.requests.values().filter(|other| other.connection == Some(connection));
    own.next().is_some_and(|first| first.id == request.id)
}

/// Requests for the same, in order.
fn attempts<'a>(of: Of<'a>, request: &Request) -> Vec<&'a Request> {
    let same = |other: &&Request| {
        (&other.method, &other.authority, &other.path) == (&request.method, &request.authority, &request.path)
    };
    let known = request.path.is_some();
    let all = of.command.requests.values().map(|request| &**request);
    all.filter(|other| if known { same(other) } else { other.id == request.id }).collect()
}

/// What was in flight on its connection when it was sent.
fn behind(page: &mut Page, of: Of<'_>, request: &Request, connection: Option<&Connection>) {
    let Some(connection) = connection else { return };
    let at = request.start_ns;
    let then = |other: &&Request| {
        other.connection == Some(connection.id)
            && other.id != request.id
            && other.start_ns <= at
            && other.end_ns.is_none_or(|end: SinceStart| end > at)
    };
    let others: Vec<&Request> = of.command.requests.values().map(|request| &**request).filter(then).collect();
    let Some(longest) = others.iter().max_by_key(|other| of.took(other.start_ns, other.end_ns)) else {
        page.say("behind", "nothing was in flight on its connection when it was sent", of.theme.dim());
        return;
    };
    let n = count(others.len() as u64, "request");
    let what = label(of.command, lanes::Id::Request(longest.id));
    let text = format!("{n} in flight on its connection when it was sent, the longest {what}");
    page.link("behind", &text, Style::new(), Target::Request(longest.id));
}
