//! Answers of which only the small segments arrive: something on the way carries less than both ends
//! think, and its ICMP is filtered.

use model::evidence::Evidence;
use model::human::count;
use model::record::{Connection, Phase};
use model::stall::StallKind;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::handshakes::{is_blackhole, tls_end, tls_took};
use crate::hosts;
use crate::index::ids;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, connections) in hosts::connections(case, |connection| is_blackhole(case, connection)) {
        found.push(blackhole(case, &host, &connections));
    }
}

fn blackhole(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let of = ids(connections.iter().map(|connection| connection.id));
    let six = connections.iter().filter(|connection| connection.remote.starts_with('[')).count();
    let family = match six {
        0 => "IPv4",
        n if n == connections.len() => "IPv6",
        _ => "IPv4 and IPv6",
    };
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_handshakes(true, |connection| of.contains(&connection.id)),
        summary: format!(
            "{host} acknowledged {} over {family}, and of its answers only the last, small segments arrived: those \
             of full size are lost on the way, whose MTU is smaller",
            count(connections.len() as u64, "ClientHello")
        ),
        evidence: connections
            .iter()
            .take(6)
            .map(|connection| Evidence::AnswerWithGaps {
                connection: connection.id,
                remote: connection.remote.clone(),
                hello_bytes: connection.hello_bytes,
                out_of_order: connection.received_out_of_order.unwrap_or(0),
                waited_ns: tls_took(case, connection),
            })
            .collect(),
        fatal: true,
        ..Finding::of(
            StallKind::MtuBlackhole,
            Phase::Tls,
            hull(connections.iter().map(|c| (c.tls_start_ns.unwrap_or(c.start_ns), tls_end(case, c))))
                .unwrap_or(case.wall),
        )
    }
}
