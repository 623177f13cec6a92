//! TCP handshakes that were lost, refused or sent into nothing.

use model::evidence::{Evidence, HandshakeEnd};
use model::human::count;
use model::operations::Subject;
use model::record::{Connection, ConnectionOutcome, Phase};
use model::stall::StallKind;
use model::time::SinceStart;

use crate::case::{Case, Span, hull};
use crate::finding::Finding;
use crate::handshakes::tcp_end;
use crate::index::ids;
use crate::{hosts, thresholds as at, ways};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let holes: Vec<&Connection> = case.connections().filter(|hole| blackhole(case, hole)).collect();
    if !holes.is_empty() {
        ipv6(case, &holes, found);
    }
    let hole_ids = ids(holes.iter().map(|hole| hole.id));
    let is_hole = |connection: &Connection| hole_ids.contains(&connection.id);
    for (host, connections) in hosts::connections(case, |c| c.syn_retransmits > 0 && !is_hole(c)) {
        found.push(lost(case, &host, &connections));
    }
    for (host, connections) in hosts::connections(case, |c| {
        // What a name server refuses is reported with its answers.
        let name_server = c.remote.ends_with(":53");
        c.outcome == ConnectionOutcome::Refused && c.syn_retransmits == 0 && !name_server
    }) {
        found.push(refused(case, &host, &connections));
    }
}

/// The part of a handshake that a fault is to blame for.
type Fault<'a> = &'a dyn Fn(&Connection) -> Span;

fn finding(
    case: &Case<'_>,
    kind: StallKind,
    host: &str,
    connections: &[&Connection],
    fault: Fault<'_>,
    summary: String,
) -> Finding {
    let spans = connections.iter().map(|c| (c.start_ns, tcp_end(case, c)));
    let of = ids(connections.iter().map(|c| c.id));
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost(|op| match op.subject {
            Subject::Connect(c) if of.contains(&c.id) => Some(fault(c)),
            _ => None,
        }),
        summary,
        evidence: connections.iter().take(6).map(|c| evidence(case, c)).collect(),
        fatal: connections
            .iter()
            .all(|c| matches!(c.outcome, ConnectionOutcome::TimedOut | ConnectionOutcome::Refused)),
        ..Finding::of(kind, Phase::Connect, hull(spans).unwrap_or(case.wall))
    }
}

fn evidence(case: &Case<'_>, connection: &Connection) -> Evidence {
    let end = match connection.outcome {
        ConnectionOutcome::Refused => HandshakeEnd::Refused,
        ConnectionOutcome::TimedOut => HandshakeEnd::GivenUp,
        _ if connection.connect_ns.is_some() => HandshakeEnd::Established,
        _ => HandshakeEnd::Unanswered,
    };
    Evidence::TcpHandshake {
        connection: connection.id,
        remote: connection.remote.clone(),
        retransmits: connection.syn_retransmits,
        end,
        took_ns: tcp_end(case, connection) - connection.start_ns,
    }
}

fn times(n: u32) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

fn lost(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let sent: u32 = connections.iter().map(|c| c.syn_retransmits).sum();
    let through = connections
        .iter()
        .filter(|c| c.connect_ns.is_some() && c.outcome != ConnectionOutcome::TimedOut)
        .count();
    let came = through == connections.len();
    let again = times(sent);
    let summary = if came {
        format!("{host} answered only after the SYN was retransmitted {again}: lost on the way")
    } else {
        format!(
            "{host} did not answer the SYN, retransmitted {again}: a firewall drops it, or the host is down"
        )
    };
    // The SYN that arrived takes a round trip like any other.
    let fault = |c: &Connection| {
        let way = c.connect_ns.and(c.rtt_ns).unwrap_or(0);
        (c.start_ns, tcp_end(case, c).earlier_by(way))
    };
    let mut finding = finding(case, StallKind::SynLost, host, connections, &fault, summary);
    // A SYN that is lost now and then is lost on the way to another proxy, too.
    finding.remedies = if came { Vec::new() } else { ways::around(case, host) };
    finding.advice =
        came.then_some("run it again; if it happens again, look for loss on the way to that host");
    finding
}

fn refused(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let summary = format!(
        "{host} refused {}: nothing listens at {}, or a firewall refuses",
        count(connections.len() as u64, "connection"),
        connections[0].remote
    );
    let fault = |c: &Connection| (c.start_ns, tcp_end(case, c));
    let mut finding = finding(case, StallKind::ConnectRefused, host, connections, &fault, summary);
    finding.remedies = ways::around(case, host);
    let go = &case.record.go;
    let in_settings = ways::is_in_settings(go, host);
    let named =
        ways::forward_variable(go, host).or_else(|| ways::forward_variable(go, &connections[0].remote));
    if let Some(variable) = named {
        finding.summary = format!("{}: it is the {variable}", finding.summary);
        finding.advice_here = Some(format!("fix {variable}, which names it, or start that forward proxy"));
        finding.remedies.clear();
    } else if go.forward_proxy == Some(true) && !in_settings {
        finding.advice =
            Some("fix HTTPS_PROXY (or HTTP_PROXY, ALL_PROXY), which names it, or start that proxy");
    } else if !in_settings && go.goproxy.is_some() {
        finding.advice = Some(
            "start that server, or ask its owner: a module path, a redirect or git leads there, neither GOPROXY nor GOSUMDB",
        );
    }
    finding
}

fn is_v6(connection: &Connection) -> bool {
    connection.remote.starts_with('[')
}

/// When IPv4 was tried after it: beside it, or by a program that tries one address after the other once it had
/// given up.
fn fallback_ns(case: &Case<'_>, connection: &Connection) -> Option<SinceStart> {
    let others = case.connections().filter(|other| !is_v6(other) && other.pid == connection.pid);
    let after = |other: &Connection| other.start_ns.saturating_sub(connection.start_ns);
    let over = tcp_end(case, connection);
    let next = |other: &Connection| {
        other.start_ns >= over
            && other.start_ns.saturating_sub(over) < at::AT_ONCE_NS
            && is_in_turn(connection)
    };
    let others =
        others.filter(|other| (at::FALLBACK_NS..at::FALLBACK_MAX_NS).contains(&after(other)) || next(other));
    others.map(|other| other.start_ns).min()
}

/// Of a program that tries one address after the other.
fn is_in_turn(connection: &Connection) -> bool {
    matches!(connection.comm.as_str(), "ssh" | "svn" | "plink")
}

/// No answer over IPv6, and IPv4 tried after it.
fn blackhole(case: &Case<'_>, connection: &Connection) -> bool {
    let end = tcp_end(case, connection);
    let unanswered = connection.connect_ns.is_none()
        || matches!(connection.outcome, ConnectionOutcome::TimedOut | ConnectionOutcome::Unused);
    is_v6(connection)
        && unanswered
        && connection.tls_start_ns.is_none()
        && end - connection.start_ns >= at::FALLBACK_NS
        && fallback_ns(case, connection).is_some()
}

fn ipv6(case: &Case<'_>, holes: &[&Connection], found: &mut Vec<Finding>) {
    let host = case.host(holes[0]);
    let in_turn = holes.iter().all(|hole| is_in_turn(hole));
    let program = &holes[0].comm;
    let summary = if in_turn {
        format!(
            "nothing comes back from {host} over IPv6, {}; {program} tries IPv4 only when it has given up",
            count(holes.len() as u64, "time")
        )
    } else {
        format!("nothing comes back from {host} over IPv6; go tried IPv4 after 300 ms")
    };
    // From then on IPv4 takes the time that it takes.
    let fault = |c: &Connection| (c.start_ns, fallback_ns(case, c).unwrap_or(c.start_ns));
    found.push(Finding {
        fatal: false,
        advice: (in_turn && program == "ssh").then_some(
            "have ssh use IPv4 for that host: AddressFamily inet in ~/.ssh/config, or GIT_SSH_COMMAND='ssh -4'; or fix IPv6",
        ),
        ..finding(case, StallKind::Ipv6Blackhole, &host, holes, &fault, summary)
    });
}
