//! Addresses to which there is no way: `connect` failed at once.

use std::collections::BTreeSet;

use model::evidence::{Evidence, HandshakeEnd};
use model::human::count;
use model::operations::Subject;
use model::record::{Connection, ConnectionOutcome, NoWay, Phase};
use model::report::Blame;
use model::stall::StallKind;

use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::handshakes::tcp_end;
use crate::index::ids;
use crate::{hosts, thresholds as at, ways};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, connections) in hosts::connections(case, is_given_up) {
        if connections.len() == case.connections().filter(|other| case.host(other) == host).count() {
            found.extend(refused_here(case, &host, &connections));
        }
    }
    for (host, connections) in hosts::connections(case, |c| c.outcome == ConnectionOutcome::Unreachable) {
        let connections: Vec<&Connection> =
            connections.into_iter().filter(|connection| !has_another_way(case, &host, connection)).collect();
        if !connections.is_empty() {
            found.push(unreachable(case, &host, &connections));
        }
    }
}

/// Where there is no IPv6, go tries IPv4, before or after it: what became of that is what matters. A connection
/// from long before says nothing of the way now.
fn has_another_way(case: &Case<'_>, host: &str, connection: &Connection) -> bool {
    case.connections().any(|other| {
        other.outcome != ConnectionOutcome::Unreachable
            && tcp_end(case, other) + at::FAMILY_NS >= connection.start_ns
            && case.host(other) == host
    })
}

/// Its SYN was sent, and it was given up at once, before anything came back.
fn is_given_up(connection: &Connection) -> bool {
    connection.outcome == ConnectionOutcome::Unused
        && (connection.syn_retransmits, connection.rtt_ns, connection.tls_start_ns) == (0, None, None)
        && connection.connect_ns.is_some_and(|took| took < at::TOGETHER_NS)
}

/// What a rule of this machine's answers a SYN is read by the process and leaves nothing on the socket. A dial
/// that go gave up because another was there first looks the same: here there was no other, and it failed.
fn refused_here(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Option<Finding> {
    case.failed().then(|| Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_handshakes(false, |one| connections.iter().any(|c| c.id == one.id)),
        summary: format!(
            "{} to {host} failed at once, with no answer from there: most likely a rule of this machine refuses it",
            count(connections.len() as u64, "connection")
        ),
        evidence: connections
            .iter()
            .take(6)
            .map(|connection| Evidence::TcpHandshake {
                connection: connection.id,
                remote: connection.remote.clone(),
                retransmits: 0,
                end: HandshakeEnd::GivenUp,
                took_ns: tcp_end(case, connection).saturating_sub(connection.start_ns),
            })
            .collect(),
        advice: Some(
            "see whether this machine's firewall rejects it (nft list ruleset, iptables -S OUTPUT), and let that address through",
        ),
        blame: Some(Blame::Machine),
        fatal: true,
        ..Finding::of(
            StallKind::Unreachable,
            Phase::Connect,
            hull(connections.iter().map(|c| (c.start_ns, tcp_end(case, c)))).unwrap_or(case.wall),
        )
    })
}

fn unreachable(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let of = ids(connections.iter().map(|connection| connection.id));
    let error = connections.iter().find_map(|connection| connection.no_way).unwrap_or(NoWay::Network);
    let addresses: BTreeSet<&str> = connections.iter().map(|connection| connection.remote.as_str()).collect();
    let addresses = addresses.into_iter().take(3).collect::<Vec<_>>().join(", ");
    let permission = error == NoWay::Permission;
    let only_v6 = connections.iter().all(|connection| connection.remote.starts_with('['));
    let at = if addresses == host { String::new() } else { format!(" at {addresses}") };
    let go = &case.record.go;
    let forward =
        ways::forward_variable(go, host).or_else(|| ways::forward_variable(go, &connections[0].remote));
    let named = forward.map_or_else(String::new, |variable| format!(" (the {variable})"));
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost(|op| match op.subject {
            Subject::Connect(connection) if of.contains(&connection.id) => Some(whole(op)),
            _ => None,
        }),
        summary: format!(
            "{} to {host}{at}{named} failed at once: {}",
            count(connections.len() as u64, "connection"),
            error.words()
        ),
        evidence: connections
            .iter()
            .take(6)
            .map(|connection| Evidence::ConnectFailed {
                connection: connection.id,
                remote: connection.remote.clone(),
                error: connection.no_way.unwrap_or(error),
                took_ns: tcp_end(case, connection).saturating_sub(connection.start_ns),
            })
            .collect(),
        remedies: if forward.is_some() { Vec::new() } else { ways::around(case, host) },
        advice: match error {
            NoWay::Permission => Some(
                "have this machine's firewall, routes or sandbox (nft, ip route, container policy) let that address through",
            ),
            _ if only_v6 => Some(
                "that host was tried by IPv6 alone, to which this machine has no way: give it IPv6, or the host an IPv4 address",
            ),
            NoWay::Address => Some(
                "see whether this machine has an address that leads there (ip route get ADDRESS), and local ports left (ss -s)",
            ),
            NoWay::Network | NoWay::Host => None,
        },
        blame: (permission || error == NoWay::Address).then_some(Blame::Machine),
        fatal: true,
        ..Finding::of(
            StallKind::Unreachable,
            Phase::Connect,
            hull(connections.iter().map(|c| (c.start_ns, tcp_end(case, c)))).unwrap_or(case.wall),
        )
    }
}
