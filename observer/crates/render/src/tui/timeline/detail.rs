//! One bar in, one line about it out.

use model::human::{bytes, duration, moment};
use model::state::CommandState;
use model::time::SinceStart;
use model::words;

use super::lanes::{Bar, Id, label};

/// What, whom, how long, when, how it ended.
pub(crate) fn detail(command: &CommandState, bar: &Bar, now: SinceStart) -> String {
    let mut parts = vec![label(command, bar.id)];
    parts.extend(host(command, bar.id));
    let took = duration(bar.end.unwrap_or(now).saturating_sub(bar.start));
    parts.push(if bar.end.is_some() { took } else { format!("open since {took}") });
    if let Some(answered) = bar.answered.filter(|at| *at <= now) {
        parts.push(format!("first byte after {}", duration(answered.saturating_sub(bar.start))));
    }
    parts.extend(ending(command, bar.id));
    let begin = command.wall(now).0;
    let moment = |at: SinceStart| moment(at.saturating_sub(begin));
    let end = bar.end.map_or_else(|| "now".to_owned(), moment);
    parts.push(format!("{} to {end}", moment(bar.start)));
    parts.join(" · ")
}

/// Whom it was with.
pub(super) fn host(command: &CommandState, id: Id) -> Option<String> {
    match id {
        Id::Dns(id) => command.dns.get(&id).map(|query| query.record.server.clone()),
        Id::Connect(id) | Id::Tls(id) | Id::Tunnel(id) | Id::Helper(id) => {
            command.connections.get(&id).and_then(|connection| connection.host().map(str::to_owned))
        }
        Id::Request(id) => command.requests.get(&id)?.authority.clone(),
        Id::Lock(id) => command.locks.get(&id)?.path.clone(),
        Id::DnsWait(id) => command.dns_waits.get(&id).map(|wait| wait.server.clone()),
        Id::Child(..) => None,
    }
}

fn ending(command: &CommandState, id: Id) -> Vec<String> {
    match id {
        Id::Dns(id) => command.dns.get(&id).map_or_else(Vec::new, |query| {
            let given_up = query.record.timed_out.then(|| "given up".to_owned());
            given_up.into_iter().chain(query.record.rcode.clone()).collect()
        }),
        Id::Connect(id) => command.connections.get(&id).map_or_else(Vec::new, |connection| {
            vec![connection.remote.clone(), format!("SYN retransmitted {}×", connection.syn_retransmits)]
        }),
        Id::Tunnel(id) => {
            command.connections.get(&id).map_or_else(Vec::new, |connection| vec![words::remote(connection)])
        }
        Id::Tls(id) => command.connections.get(&id).map_or_else(Vec::new, |connection| {
            let version = connection.tls_version.as_ref().map(|version| format!("TLS {version}"));
            let failed = connection.tls_failed.then(|| "failed".to_owned());
            version.into_iter().chain(connection.alpn.clone()).chain(failed).collect()
        }),
        Id::Request(id) => command.requests.get(&id).map_or_else(Vec::new, |request| {
            let mut parts: Vec<String> =
                request.status.map(|status| status.to_string()).into_iter().collect();
            parts.extend(request.bytes.map(bytes));
            parts.extend(request.stream.map(|stream| format!("stream {stream}")));
            if request.end_ns.is_some() && request.status.is_none() {
                parts.push(words::request_outcome(request.outcome).to_owned());
            }
            parts
        }),
        Id::Child(start, pid) => {
            let code = command.processes.get(&(start, pid)).and_then(|child| child.exit_code);
            let exit = code.map(|code| format!("exit {code}"));
            std::iter::once(format!("pid {pid}")).chain(exit).collect()
        }
        Id::Helper(_) | Id::Lock(_) | Id::DnsWait(_) => Vec::new(),
    }
}
