//! Tunnels through forward proxies: the first bytes of a connection in, its record's `tunnel` out.

use model::record::{AnsweredIn, Connection};
use model::time::SinceStart;
use model::tunnel::{Tunnel, TunnelOutcome, TunnelProtocol};

use super::Live;
use crate::decode::tls_hello::HelloBuffer;
use crate::decode::tunnel::{self, Protocol, Refused, Step};

/// Bytes of a connection, sent or received; whether its record has news.
pub(super) fn bytes(live: &mut Live, received: bool, bytes: &[u8], at_ns: SinceStart) -> bool {
    let first = !received && live.tunnel.is_none() && live.sent.is_empty() && live.received.is_empty();
    if first {
        live.tunnel = tunnel::Tunnel::begins(bytes);
    }
    let Some(tunnel) = live.tunnel.as_mut().filter(|tunnel| !tunnel.is_over()) else { return false };
    if received && matches!(bytes, [21 | 22, 3, ..]) && tunnel.protocol() == Protocol::Connect {
        // A TLS record (RFC 8446, 5.1), to CONNECT in plain text.
        live.record.answered_in = Some(AnsweredIn::Tls);
        return true;
    }
    let protocol = match tunnel.protocol() {
        Protocol::Connect => TunnelProtocol::Connect,
        Protocol::Socks5 => TunnelProtocol::Socks5,
    };
    let step = if received { tunnel.received(bytes) } else { tunnel.sent(bytes) };
    if tunnel.is_over() {
        // What follows is whatever the target speaks.
        (live.sent, live.received) = <(HelloBuffer, HelloBuffer)>::default();
    }
    let record = &mut live.record;
    match step {
        None if first => asked(record, protocol, None, at_ns),
        None => return false,
        Some(Step::Asked(target)) => asked(record, protocol, target, at_ns),
        Some(Step::Stands) => ended(record, TunnelOutcome::Established, None, None, at_ns),
        Some(Step::Refused(Refused { status, reason })) => {
            ended(record, TunnelOutcome::Refused, status, reason, at_ns);
        }
    }
    true
}

/// The proxy was asked, for a target where that is known.
pub(super) fn asked(
    record: &mut Connection,
    protocol: TunnelProtocol,
    target: Option<String>,
    at_ns: SinceStart,
) {
    let over_tls = record.tls_ns.is_some();
    let (name, tls_ns) = (record.server_name.clone(), record.tls_ns);
    let tunnel = record.tunnel.get_or_insert_with(|| Tunnel {
        protocol,
        start_ns: at_ns,
        proxy_name: name.filter(|_| over_tls),
        proxy_tls_ns: tls_ns,
        ..Tunnel::default()
    });
    // SOCKS is asked in two or three messages, CONNECT once more after it was refused.
    let anew = tunnel.outcome == TunnelOutcome::Refused || tunnel.attempts == 0;
    tunnel.attempts += u32::from(anew);
    tunnel.target = target.or(tunnel.target.take());
    (tunnel.outcome, tunnel.end_ns) = (TunnelOutcome::Open, None);
}

/// The proxy has answered `CONNECT`; without a status that answer could not be read.
pub(super) fn answered(record: &mut Connection, status: Option<u16>, at_ns: SinceStart) {
    let stands = status.is_some_and(|status| (200..300).contains(&status));
    let outcome = if stands { TunnelOutcome::Established } else { TunnelOutcome::Refused };
    ended(record, outcome, status, None, at_ns);
}

fn ended(
    record: &mut Connection,
    outcome: TunnelOutcome,
    status: Option<u16>,
    reason: Option<String>,
    at_ns: SinceStart,
) {
    if let Some(tunnel) = &mut record.tunnel {
        (tunnel.outcome, tunnel.end_ns) = (outcome, Some(at_ns));
        (tunnel.status, tunnel.reason) = (status, reason);
    }
}

/// A handshake begins on a connection that had one: the former was the proxy's, and this one is inside
/// the tunnel. What was said in its hello nobody sees.
pub(super) fn second_handshake(record: &mut Connection) {
    let stands = record.tunnel.as_ref().is_some_and(|tunnel| tunnel.outcome == TunnelOutcome::Established);
    if !stands || record.tls_ns.is_none() {
        return;
    }
    (record.server_name, record.alpn, record.tls_version) = (None, None, None);
    (record.alpn_offered, record.hello_bytes) = (None, None);
    (record.tls_ns, record.server_hello_ns, record.tls_failed) = (None, None, false);
}
