//! A command's settings and tables: phases, hosts, requests, queries, connections, processes.

use std::cmp::Reverse;
use std::fmt::Write as _;

use model::human::{bytes, count, duration, moment, percent};
use model::record::Process;
use model::report::{Command, Connection, Dns, Report, Request};
use model::time::Ns;
use model::words;

use super::draw::{self, swatch};
use super::table::Table;
use crate::compiled;
use crate::markup::escape;
use crate::waterfall::list::status;

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "<h2>{text}</h2>");
}

fn time(ns: Option<Ns>) -> String {
    ns.map_or_else(String::new, duration)
}

pub(super) fn settings(out: &mut String, command: &Command) {
    let go = &command.go;
    let ended = words::ending(command.ended, command.exit_code, command.signal);
    let rows = [
        ("took", Some(format!("{}, {ended}", duration(command.wall_ns)))),
        ("folder", command.cwd.clone()),
        ("go", go.version.clone()),
        ("GOPROXY", go.goproxy.clone()),
        ("GOSUMDB", go.gosumdb.clone()),
        ("GOFLAGS", go.goflags.clone()),
        ("GODEBUG", go.godebug.clone()),
        ("downloads at once", go.gomaxprocs.map(|n| n.to_string())),
    ];
    out.push_str("<dl>\n");
    let elsewhere = words::elsewhere(go).into_iter().map(|(name, value)| (name, Some(value)));
    for (name, value) in rows.into_iter().chain(elsewhere) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
        }
    }
    out.push_str("</dl>\n");
}

pub(super) fn phases(out: &mut String, command: &Command) {
    heading(out, "Where the time went");
    out.push_str(
        "<svg class=\"draw\" height=\"30\" role=\"img\" aria-label=\"Phases as parts of the whole\">\n",
    );
    draw::phases(out, command);
    out.push_str("</svg>\n");
    let columns = [
        "phase",
        "#blocked",
        "#share",
        "what",
        "#count",
        "#failed",
        "#median",
        "#p95",
        "#longest",
        "#received",
    ];
    let mut table = Table::new(&columns);
    for share in command.phases.iter().filter(|share| share.blocked_ns > 0 || share.count > 0) {
        let counted = |n: u64| if share.count == 0 { String::new() } else { n.to_string() };
        table
            .raw(&format!("{}{}", swatch(share.phase), share.phase.name()))
            .cell(&duration(share.blocked_ns))
            .cell(&percent(share.blocked_ns, command.wall_ns))
            .cell(words::phase(share.phase))
            .cell(&counted(share.count))
            .marked(&counted(share.errors), share.errors > 0)
            .cell(&time(share.p50_ns))
            .cell(&time(share.p95_ns))
            .cell(&time(share.max_ns))
            .cell(&share.bytes.map_or_else(String::new, bytes));
    }
    table.write(out, 0, "", "");
    let text = match &command.local {
        Some(local) => format!(
            "Of local: {} on a CPU, {} waiting for a free CPU, {} waiting for the disk.",
            duration(local.cpu_ns),
            duration(local.runqueue_ns),
            duration(local.disk_ns)
        ),
        None => {
            "The scheduler was not observed: time of this machine is not distinguished from waiting.".into()
        }
    };
    let _ = writeln!(out, "<p class=\"soft\">{text}</p>");
}

pub(super) fn hosts(out: &mut String, command: &Command, most: usize) {
    if command.waited_for().is_empty() {
        return;
    }
    heading(out, "Slowest hosts");
    let mut table = Table::new(&["host", "#blocked", "#share", "of it"]);
    for host in command.waited_for().iter().take(most) {
        let mut parts: Vec<_> = host.phases.iter().filter(|(_, ns)| **ns > 0).collect();
        parts.sort_by_key(|(phase, ns)| (Reverse(**ns), **phase));
        let parts: Vec<String> =
            parts.iter().map(|(phase, ns)| format!("{} {}", phase.name(), duration(**ns))).collect();
        table
            .text(&host.host)
            .cell(&duration(host.blocked_ns))
            .cell(&percent(host.blocked_ns, command.wall_ns))
            .text(&parts.join(", "));
    }
    table.write(out, command.waited_for().len(), "host", "hosts");
}

pub(super) fn requests(out: &mut String, report: &Report, command: &Command, most: usize) {
    let end = command.start_ns.saturating_add(command.wall_ns);
    let took = |request: &Request| request.end_ns.unwrap_or(end).saturating_sub(request.start_ns);
    let mut of: Vec<&Request> =
        report.requests.iter().filter(|request| request.command == command.id).collect();
    if of.is_empty() {
        return;
    }
    let all = of.len();
    of.sort_by_key(|request| (Reverse(took(request)), request.start_ns));
    heading(out, &format!("Slowest of {}", count(all as u64, "request")));
    let mut table = Table::new(&[
        "kind",
        "of what",
        "#took",
        "#first byte",
        "status",
        "#bytes",
        "#from, s",
        "host",
        "connection",
    ]);
    for request in of.into_iter().take(most) {
        let Request { module, version, authority, path, .. } = request;
        let subject =
            words::subject(module.as_deref(), version.as_deref(), authority.as_deref(), path.as_deref());
        let first = request.first_byte_ns.map(|first| first.saturating_sub(request.start_ns));
        let (status, bad) = status(request);
        let via = match (request.connection, request.stream) {
            (Some(id), Some(stream)) => format!("#{id}, stream {stream}"),
            (Some(id), None) => format!("#{id}"),
            (None, _) => "not seen".to_owned(),
        };
        table
            .cell(words::class(request.class))
            .text(&subject)
            .cell(&duration(took(request)))
            .cell(&first.map_or_else(|| "none".to_owned(), duration))
            .marked(&status, bad)
            .cell(&request.bytes.map_or_else(String::new, bytes))
            .cell(&moment(request.start_ns.saturating_sub(command.start_ns)))
            .cell(authority.as_deref().unwrap_or(""))
            .cell(&via);
    }
    table.write(out, all, "request", "requests");
}

pub(super) fn dns(out: &mut String, report: &Report, command: &Command, most: usize) {
    let mut of: Vec<&Dns> = report.dns.iter().filter(|dns| dns.command == command.id).collect();
    if of.is_empty() {
        return;
    }
    let all = of.len();
    heading(out, &count(all as u64, "DNS query"));
    if all > most {
        // The slow ones and those without an answer are worth the room.
        of.sort_by_key(|dns| Reverse(dns.end_ns.map_or(Ns::MAX, |end| end.saturating_sub(dns.start_ns))));
        of.truncate(most);
        of.sort_by_key(|dns| (dns.start_ns, dns.id));
    }
    let mut table =
        Table::new(&["name", "type", "answer", "#took", "#attempt", "server", "asked by", "#from, s"]);
    for dns in of {
        let lost = dns.end_ns.is_none() && !dns.timed_out && command.may_miss_end(dns.start_ns);
        let (answer, bad) = match (&dns.rcode, dns.answers) {
            (Some(_), _) if dns.truncated => ("cut short".to_owned(), true),
            (None, _) if dns.refused => ("refused".to_owned(), true),
            (Some(rcode), Some(0)) if rcode == "NOERROR" => ("no address".to_owned(), false),
            (Some(rcode), Some(n)) if rcode == "NOERROR" => (count(u64::from(n), "answer"), false),
            (Some(rcode), _) => (rcode.clone(), rcode != "NOERROR"),
            (None, _) if lost => ("not seen".to_owned(), false),
            (None, _) => ("no answer".to_owned(), true),
        };
        let took = dns.end_ns.map(|end| end.saturating_sub(dns.start_ns));
        let by = match dns.on_behalf_of {
            Some(_) => format!("{}, for the command", dns.comm),
            None => dns.comm.clone(),
        };
        table
            .text(&dns.name)
            .cell(&dns.qtype)
            .marked(&answer, bad)
            .cell(&took.map_or_else(|| if lost { "?" } else { "given up" }.to_owned(), duration))
            .marked(&dns.attempt.to_string(), dns.attempt > 1)
            .cell(&dns.server)
            .cell(&by)
            .cell(&moment(dns.start_ns.saturating_sub(command.start_ns)));
    }
    table.write(out, all, "query", "queries");
}

pub(super) fn connections(out: &mut String, report: &Report, command: &Command, most: usize) {
    let of = report.connections.iter().filter(|connection| connection.command == command.id);
    let mut of: Vec<&Connection> = of.collect();
    if of.is_empty() {
        return;
    }
    let all = of.len();
    heading(out, &count(all as u64, "TCP connection"));
    // Those that carried most are worth the room.
    of.sort_by_key(|connection| Reverse((connection.requests, connection.bytes_received)));
    of.truncate(most);
    of.sort_by_key(|connection| connection.id);
    let mut table = Table::new(&[
        "#no",
        "host",
        "address",
        "spoken",
        "ended",
        "#requests",
        "#received",
        "#round trip",
        "#TCP",
        "#TLS",
        "trouble",
    ]);
    for connection in of {
        let spoken = match (&connection.alpn, &connection.tls_version) {
            (Some(alpn), Some(version)) => format!("{alpn}, TLS {version}"),
            (Some(alpn), None) => alpn.clone(),
            (None, Some(version)) => format!("TLS {version}"),
            (None, None) => "not known".to_owned(),
        };
        table
            .cell(&connection.id.to_string())
            .text(connection.host().unwrap_or("not known"))
            .text(&words::remote(connection))
            .cell(&spoken)
            .cell(words::outcome(connection.outcome))
            .cell(&connection.requests.to_string())
            .cell(&connection.bytes_received.map_or_else(String::new, bytes))
            .cell(&time(connection.rtt_ns))
            .cell(&time(connection.connect_ns))
            .cell(&time(connection.tls_ns))
            .trouble(&words::trouble(connection).join(", "));
    }
    table.write(out, all, "connection", "connections");
}

pub(super) fn packages(out: &mut String, report: &Report, command: &Command, most: usize) {
    let of = compiled::packages(report, command);
    if of.is_empty() {
        return;
    }
    let chain = compiled::chain(&of);
    heading(out, "What was compiled");
    let mut table =
        Table::new(&["step", "package", "#took", "#CPU", "#from, s", "back to back until the end"]);
    for work in of.iter().take(most) {
        table
            .text(work.what)
            .text(work.package)
            .cell(&duration(work.took_ns()))
            .cell(&duration(work.cpu_ns))
            .cell(&moment(work.start_ns.saturating_sub(command.start_ns)))
            .text(if chain.contains(&work) { "yes" } else { "" });
    }
    table.write(out, of.len(), "step", "steps");
}

pub(super) fn processes(out: &mut String, report: &Report, command: &Command, most: usize) {
    let mut of: Vec<&Process> =
        report.processes.iter().filter(|process| process.command == command.id).collect();
    of.sort_by_key(|process| (Reverse(compiled::took(process, command)), process.start_ns, process.pid));
    if of.is_empty() {
        return;
    }
    heading(out, &if of.len() == 1 { "1 process".to_owned() } else { format!("{} processes", of.len()) });
    let mut table = Table::new(&["#pid", "command", "#took", "ended", "#CPU", "#from, s"]);
    for process in of.iter().take(most) {
        let ended = words::process_ending(process, command);
        let line = if process.args.is_empty() { process.comm.clone() } else { words::argv(&process.args) };
        table
            .cell(&process.pid.to_string())
            .text(&line)
            .cell(&time(process.end_ns.map(|end| end.saturating_sub(process.start_ns))))
            .marked(&ended, process.exit_code.is_some_and(|code| code != 0))
            .cell(&time(process.cpu_ns))
            .cell(&moment(process.start_ns.saturating_sub(command.start_ns)));
    }
    table.write(out, of.len(), "process", "processes");
}
