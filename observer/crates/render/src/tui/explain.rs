//! The operation that is waited for in; what is known about it out: a few words each, the most
//! reporting first.

use model::human::{count, duration};
use model::operations::{InFlight, Subject};
use model::record::{Connection, Protocol, Request, Transport};
use model::roles;
use model::state::CommandState;
use model::time::SinceStart;

/// What is known about an operation in flight.
pub(super) fn explain(command: &CommandState, op: &InFlight<'_>, now: SinceStart) -> Vec<String> {
    match op.subject {
        Subject::Dns(query) => {
            let dns = &query.record;
            let over = match dns.transport {
                Transport::Udp => "",
                Transport::Tcp => " over TCP",
                Transport::Unix => " over its unix socket",
            };
            vec![
                format!("asked {} for {} {}{over}", dns.server, dns.name, dns.qtype),
                format!("attempt {}", dns.attempt),
                "no answer".to_owned(),
            ]
        }
        Subject::Connect(connection) => vec![
            format!("SYN to {}", connection.remote),
            match connection.syn_retransmits {
                0 => "not retransmitted yet".to_owned(),
                n => format!("retransmitted {}", times(n)),
            },
            "no answer".to_owned(),
        ],
        Subject::Tls(connection) => {
            let mut why = vec![format!("hello to {}", connection.remote)];
            why.push(match connection.tls_version {
                Some(_) => "server's hello is here".to_owned(),
                None => "no answer".to_owned(),
            });
            why.extend(path(connection));
            why
        }
        Subject::Tunnel(connection) => {
            let tunnel = connection.tunnel.as_ref();
            let what = tunnel.map_or("a forward proxy", |tunnel| tunnel.protocol.name());
            let target = tunnel.and_then(|tunnel| tunnel.target.as_deref()).unwrap_or("a target not known");
            let proxy = connection.remote_host().unwrap_or("an unknown host");
            let mut why = vec![format!("{what} {target} sent to {proxy}"), "no answer".to_owned()];
            why.extend(path(connection));
            why
        }
        Subject::DnsWait(wait) => vec![format!("asked {} before it could be seen", wait.server)],
        Subject::Preexisting(connection) => {
            let mut why = vec!["there before it could be seen".to_owned()];
            why.extend(path(connection));
            why
        }
        Subject::Helper(connection) => {
            let mut why = vec![format!("{} to {}", connection.comm, connection.remote)];
            why.extend(path(connection));
            why
        }
        Subject::Request(request) => of_request(command, request, now),
        Subject::Backoff(request) => {
            let code = request.reset_code.clone();
            let mut why = vec!["the stream was refused, go asks once more after a pause".to_owned()];
            why.extend(code);
            why
        }
        Subject::Child(child) => {
            let mut why = vec![format!("pid {} runs", child.process.pid)];
            let below = command.roles().helper(child.process, now).and_then(|(_, leaf)| leaf);
            why.extend(below.map(|leaf| format!("{} (pid {}) below it", roles::program(leaf), leaf.pid)));
            why
        }
        Subject::Lock(wait) => {
            let mut why = vec![format!("pid {} waits", wait.pid)];
            why.extend(wait.path.clone());
            why
        }
    }
}

/// Something was retransmitted.
pub(super) fn retried(op: &InFlight<'_>) -> bool {
    match op.subject {
        Subject::Dns(query) => query.record.attempt > 1,
        Subject::Connect(connection) => connection.syn_retransmits > 0,
        _ => false,
    }
}

fn of_request(command: &CommandState, request: &Request, now: SinceStart) -> Vec<String> {
    let connection = request.connection.and_then(|id| command.connections.get(&id));
    let mut why = Vec::new();
    match (request.first_byte_ns.filter(|at| *at <= now), request.status) {
        (Some(at), status) => {
            let status = status.map_or_else(|| "head".to_owned(), |status| format!("head {status}"));
            let after = duration(at.saturating_sub(request.start_ns));
            why.push(format!("{status} after {after}, body not whole"));
        }
        (None, _) => why.push("no byte back".to_owned()),
    }
    match (request.protocol, request.stream) {
        (Protocol::H2, Some(stream)) => why.push(format!("stream {stream}")),
        (Protocol::H2, None) => why.push("h2".to_owned()),
        (Protocol::Http1, _) => why.push("http/1.1".to_owned()),
    }
    why.extend(connection.into_iter().flat_map(path));
    why
}

/// The connection's way: how far, how good.
fn path(connection: &Connection) -> Vec<String> {
    let mut path = Vec::new();
    path.extend(connection.rtt_ns.map(|rtt| format!("RTT {}", duration(rtt))));
    path.push(match connection.retransmits {
        0 => "nothing retransmitted".to_owned(),
        n => format!("retransmitted {}", times(n)),
    });
    let late = connection.received_out_of_order.unwrap_or(0);
    if late > 0 {
        path.push(format!("{late} received out of order"));
    }
    if connection.zero_windows > 0 {
        path.push(format!("window closed {}", times(connection.zero_windows)));
    }
    if connection.resets > 0 {
        path.push(count(u64::from(connection.resets), "reset"));
    }
    if connection.joined_late {
        path.push("joined late".to_owned());
    }
    path
}

fn times(n: u32) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}
