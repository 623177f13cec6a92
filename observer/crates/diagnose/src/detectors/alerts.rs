//! TLS that the peer refused by an alert, in the handshake or right behind it.

use model::evidence::Evidence;
use model::human::count;
use model::operations::Subject;
use model::record::{Connection, Phase};
use model::report::Blame;
use model::stall::StallKind;

use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::hosts;
use crate::index::ids;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, connections) in hosts::connections(case, |connection| connection.alert.is_some()) {
        found.push(refused(case, &host, &connections));
    }
}

/// What the alert means, and what to do about it. Behind a server's hello a failure is one of certificates: the
/// hellos had agreed on all else.
fn meaning(connection: &Connection) -> (&'static str, Option<&'static str>, bool) {
    const CERTIFICATE: Option<&str> = Some(
        "go has no setting for a client's certificate: use a proxy or gateway that has one, or one that asks for none",
    );
    let greeted = connection.tls_version.is_some();
    match connection.alert.as_deref() {
        Some("certificate_required") => {
            ("it wants a client's certificate, which go has none of", CERTIFICATE, true)
        }
        Some("handshake_failure" | "bad_certificate") if greeted => {
            ("most likely it wants a client's certificate, which go has none of", CERTIFICATE, true)
        }
        Some("protocol_version" | "handshake_failure" | "insufficient_security") => (
            "it speaks no version or cipher of TLS that go offers",
            Some(
                "have TLS 1.2 or newer switched on at that server, with a cipher that go offers; go asks for no older one",
            ),
            false,
        ),
        Some("unrecognized_name") => (
            "it does not know that name",
            Some("see whether GOPROXY has the right name for that server"),
            true,
        ),
        Some("internal_error") => ("something failed there", None, false),
        _ => ("why is not known", None, false),
    }
}

fn refused(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let of = ids(connections.iter().map(|connection| connection.id));
    let first = connections[0];
    let (why, advice, setting) = meaning(first);
    let times = match connections.len() {
        1 => String::new(),
        n => format!(", {}", count(n as u64, "time")),
    };
    let requests = connections.iter().flat_map(|connection| case.index.requests(connection.id));
    let accepted =
        |other: &Connection| other.requests > 0 && other.alert.is_none() && case.host(other) == host;
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost(|op| match op.subject {
            Subject::Tls(connection) if of.contains(&connection.id) => Some(whole(op)),
            Subject::Request(request) if request.connection.is_some_and(|id| of.contains(&id)) => {
                Some(whole(op))
            }
            _ => None,
        }),
        summary: format!(
            "{host} refused TLS by the alert {}{times}: {why}",
            first.alert.as_deref().unwrap_or_default()
        ),
        evidence: connections
            .iter()
            .take(6)
            .filter_map(|connection| {
                Some(Evidence::TlsAlert {
                    connection: connection.id,
                    remote: connection.remote.clone(),
                    alert: connection.alert.clone()?,
                    tls_version: connection.tls_version.clone(),
                })
            })
            .collect(),
        advice,
        blame: setting.then_some(Blame::Command),
        fatal: !case.connections().any(accepted),
        explains: requests.map(|request| request.id).collect(),
        ..Finding::of(
            StallKind::TlsRefused,
            Phase::Tls,
            hull(
                connections
                    .iter()
                    .map(|c| (c.tls_start_ns.unwrap_or(c.start_ns), c.end_ns.unwrap_or(case.wall.1))),
            )
            .unwrap_or(case.wall),
        )
    }
}
