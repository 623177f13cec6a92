//! Addresses to which there is no way: `connect` failed at once.

use std::collections::BTreeSet;

use model::evidence::Evidence;
use model::human::count;
use model::operations::Subject;
use model::record::{Connection, ConnectionOutcome, NoWay, Phase};
use model::report::Blame;
use model::stall::StallKind;

use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::handshakes::tcp_end;
use crate::index::ids;
use crate::{hosts, ways};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, connections) in hosts::connections(case, |c| c.outcome == ConnectionOutcome::Unreachable) {
        // Where there is no IPv6, go tries IPv4: nothing is wrong.
        if !case.connections().any(|other| is_through(other) && case.host(other) == host) {
            found.push(unreachable(case, &host, &connections));
        }
    }
}

/// Its TCP handshake came through.
const fn is_through(connection: &Connection) -> bool {
    connection.connect_ns.is_some()
        && !matches!(
            connection.outcome,
            ConnectionOutcome::Unreachable | ConnectionOutcome::Refused | ConnectionOutcome::TimedOut
        )
}

fn unreachable(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let of = ids(connections.iter().map(|connection| connection.id));
    let error = connections.iter().find_map(|connection| connection.no_way).unwrap_or(NoWay::Network);
    let addresses: BTreeSet<&str> = connections.iter().map(|connection| connection.remote.as_str()).collect();
    let addresses = addresses.into_iter().take(3).collect::<Vec<_>>().join(", ");
    let permission = error == NoWay::Permission;
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost(|op| match op.subject {
            Subject::Connect(connection) if of.contains(&connection.id) => Some(whole(op)),
            _ => None,
        }),
        summary: format!(
            "{} to {host} at {addresses} failed at once: {}",
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
        remedies: ways::around(case, host),
        advice: permission.then_some(
            "have this machine's firewall or sandbox (nft, seccomp, AppArmor, container policy) let that address through",
        ),
        blame: permission.then_some(Blame::Machine),
        fatal: true,
        ..Finding::of(
            StallKind::Unreachable,
            Phase::Connect,
            hull(connections.iter().map(|c| (c.start_ns, tcp_end(case, c)))).unwrap_or(case.wall),
        )
    }
}
