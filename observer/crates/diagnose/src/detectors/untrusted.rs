//! TLS handshakes that this side ended, for it did not accept the server's certificate.

use std::ops::RangeInclusive;

use model::evidence::Evidence;
use model::human::count;
use model::record::{Connection, ConnectionOutcome, Phase, Side};
use model::stall::StallKind;
use model::time::Ns;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::handshakes::tls_end;
use crate::index::ids;
use crate::{hosts, thresholds as at};

/// Bytes that hold more than an alert or a forward proxy's answer: a certificate.
const CERTIFICATE: u64 = 700;

/// Bytes of an alert (RFC 8446, 5.1 and 6), alone or sealed, with the record that the middlebox mode of
/// TLS 1.3 puts before it (D.4), to those of a seal with padding.
const ALERT: RangeInclusive<u64> = 7..=64;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, connections) in hosts::connections(case, |connection| is_untrusted(case, connection)) {
        found.push(untrusted(case, &host, &connections));
    }
}

fn is_untrusted(case: &Case<'_>, connection: &Connection) -> bool {
    let (Some(start), true) = (connection.tls_start_ns, connection.tls_failed) else { return false };
    let came = connection.server_hello_ns.is_some()
        || connection.bytes_received.is_some_and(|bytes| bytes >= CERTIFICATE);
    // What takes long was given up, for part of the server's answer did not come.
    let since = connection.server_hello_ns.unwrap_or(start);
    came && connection.alert.is_none()
        && connection.answered_in.is_none()
        && connection.outcome != ConnectionOutcome::Reset
        && (connection.closed_by != Some(Side::Peer) || complained(connection))
        && tls_end(case, connection).saturating_sub(since) < at::HELLO_UNANSWERED_NS
}

/// Whether this side sent an alert and no more behind its hello: a peer that has it may close first.
fn complained(connection: &Connection) -> bool {
    let behind = connection.bytes_sent.zip(connection.hello_bytes);
    behind.and_then(|(sent, hello)| sent.checked_sub(hello.into())).is_some_and(|more| ALERT.contains(&more))
}

/// The line that says which it is: TLS 1.3 hides the certificate, and go's alert is the same for all.
fn ask_doctor(host: &str) -> Option<String> {
    let text = format!(
        "goobserve doctor https://{host} says which of CA, name and date it is; an unknown CA: SSL_CERT_FILE, or install it"
    );
    (text.len() <= at::ADVICE).then_some(text)
}

fn untrusted(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let of = ids(connections.iter().map(|connection| connection.id));
    let times = match connections.len() {
        1 => String::new(),
        n => format!(", {}", count(n as u64, "time")),
    };
    let accepted = |connection: &Connection| {
        connection.tls_ns.is_some() && !connection.tls_failed && case.host(connection) == host
    };
    let after = |connection: &Connection| -> Option<Ns> {
        Some(tls_end(case, connection).saturating_sub(connection.server_hello_ns?))
    };
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_handshakes(true, |connection| of.contains(&connection.id)),
        summary: format!(
            "this machine does not trust the certificate of {host} and ended the handshake{times}: an unknown CA, \
             another name or a date that does not fit, which of them is not seen"
        ),
        evidence: connections
            .iter()
            .take(6)
            .map(|connection| Evidence::CertificateRefused {
                connection: connection.id,
                remote: connection.remote.clone(),
                server_name: connection.server_name.clone(),
                after_ns: after(connection),
            })
            .collect(),
        advice_here: ask_doctor(host),
        fatal: !case.connections().any(accepted),
        ..Finding::of(
            StallKind::TlsUntrusted,
            Phase::Tls,
            hull(connections.iter().map(|c| (c.tls_start_ns.unwrap_or(c.start_ns), tls_end(case, c))))
                .unwrap_or(case.wall),
        )
    }
}
