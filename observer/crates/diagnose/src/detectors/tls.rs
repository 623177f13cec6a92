//! TLS handshakes that went unanswered, were reset, or took long.

use std::net::SocketAddr;

use model::evidence::Evidence;
use model::human::{count, duration, duration_or_unknown};
use model::operations::Subject;
use model::record::{Connection, ConnectionOutcome, Phase, Side};
use model::stall::StallKind;
use model::time::SinceStart;

use crate::case::{Case, hull};
use crate::finding::Finding;
use crate::handshakes::{answered, tls_end, tls_took};
use crate::index::ids;
use crate::offer::Offer;
use crate::{handshakes, hosts, thresholds as at, ways};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, connections) in hosts::connections(case, |c| is_unanswered(case, c)) {
        found.push(unanswered(case, &host, &connections));
    }
    for (host, connections) in hosts::connections(case, is_reset) {
        found.push(reset(case, &host, &connections));
    }
    for (host, connections) in hosts::connections(case, |c| is_slow(case, c)) {
        found.push(slow(case, &host, &connections));
    }
    for (host, connections) in hosts::connections(case, |c| is_intercepted(case, c)) {
        found.push(intercepted(case, &host, &connections));
    }
    for (host, connections) in hosts::connections(case, |c| {
        c.outcome == ConnectionOutcome::Unused && c.tls_ns.is_some() && !c.tls_failed
    }) {
        found.push(wasted(case, &host, &connections));
    }
}

/// What answers with gaps is another finding's.
fn is_unanswered(case: &Case<'_>, connection: &Connection) -> bool {
    handshakes::tls_unanswered(case, connection) && !handshakes::is_blackhole(case, connection)
}

fn is_reset(connection: &Connection) -> bool {
    connection.tls_start_ns.is_some()
        && connection.tls_version.is_none()
        && connection.alert.is_none()
        && connection.answered_in.is_none()
        && (connection.outcome == ConnectionOutcome::Reset || is_hung_up(connection))
}

/// The peer closed it behind the hello without a byte.
fn is_hung_up(connection: &Connection) -> bool {
    connection.tls_failed && connection.closed_by == Some(Side::Peer) && connection.bytes_received == Some(0)
}

fn is_slow(case: &Case<'_>, connection: &Connection) -> bool {
    let (Some(took), Some(rtt)) = (connection.tls_ns, case.index.tcp_round_trip(connection)) else {
        return false;
    };
    !connection.tls_failed && took > at::TLS_ROUND_TRIPS * rtt + at::TLS_COMPUTE_NS
}

/// HTTP/1.1 where HTTP/2 was offered, of a host that speaks HTTP/2: it did so in this run, or is known to,
/// or a forward proxy is in between. A server that speaks HTTP/1.1 is nothing to report.
fn is_intercepted(case: &Case<'_>, connection: &Connection) -> bool {
    let offered = |offers: &Vec<String>| offers.iter().any(|offer| offer == "h2");
    connection.alpn.as_deref() == Some("http/1.1")
        && connection.alpn_offered.as_ref().is_some_and(offered)
        && (connection.tunnel.is_some() || speaks_http2(case, connection))
}

/// Hosts that speak HTTP/2 to everybody.
const HTTP2_HOSTS: [&str; 2] = ["proxy.golang.org", "sum.golang.org"];

fn speaks_http2(case: &Case<'_>, connection: &Connection) -> bool {
    let Some(name) = connection.server_name.as_deref() else { return false };
    let same = |other: &Connection| {
        other.alpn.as_deref() == Some("h2") && other.server_name.as_deref() == Some(name)
    };
    HTTP2_HOSTS.contains(&name) || case.connections().any(same)
}

fn finding(
    case: &Case<'_>,
    kind: StallKind,
    host: &str,
    connections: &[&Connection],
    summary: String,
) -> Finding {
    let of = ids(connections.iter().map(|c| c.id));
    let spans = connections.iter().map(|c| (c.tls_start_ns.unwrap_or(c.start_ns), tls_end(case, c)));
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_handshakes(true, |c| of.contains(&c.id)),
        summary,
        ..Finding::of(kind, Phase::Tls, hull(spans).unwrap_or(case.wall))
    }
}

/// Bytes of a hello that surely fits one packet.
const HELLO_FITS: u32 = 1_400;

/// A hello that is not known to fit one packet of 1,500 bytes.
fn may_be_large(connection: &Connection) -> bool {
    connection.hello_bytes.is_none_or(|bytes| bytes > HELLO_FITS)
}

/// Whether a smaller hello may be answered. It is not where a small one was unanswered too or a
/// large one was answered, where what is missing is the answer's large segments, and where this go
/// sends a small one already or does not know the setting.
fn smaller_may_help(case: &Case<'_>, host: &str, unanswered: &[&Connection]) -> bool {
    let go = &case.record.go;
    let knows = go.version.as_deref().and_then(minor).is_none_or(|minor| minor >= at::TLSMLKEM_MINOR);
    let off = go.godebug.as_deref().is_some_and(|debug| debug.split(',').any(|pair| pair == "tlsmlkem=0"));
    let answer_cut = |c: &&Connection| c.bytes_received.is_some_and(|bytes| bytes > 0);
    let large_came =
        |c: &Connection| c.tls_version.is_some() && c.hello_bytes.is_some_and(|bytes| bytes > HELLO_FITS);
    knows
        && !off
        && unanswered.iter().all(|c| may_be_large(c) && !answer_cut(c))
        && !case.connections().any(|c| large_came(c) && case.host(c) == host)
}

/// `26` of `go1.26.8`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn unanswered(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let may_be_size = smaller_may_help(case, host, connections);
    // Nothing stands between on this machine.
    let here = connections.iter().all(|connection| is_loopback(&connection.remote));
    let why = if here {
        "what listens there takes connections and says nothing"
    } else if may_be_size {
        "filtered by name, or dropped for being larger than one packet"
    } else {
        "likely filtered by name"
    };
    let summary = format!("{host} did not answer {}: {why}", count(connections.len() as u64, "ClientHello"));
    let mut finding = finding(case, StallKind::TlsHelloUnanswered, host, connections, summary);
    finding.evidence = connections
        .iter()
        .take(6)
        .map(|c| Evidence::ClientHelloUnanswered {
            connection: c.id,
            remote: c.remote.clone(),
            hello_bytes: c.hello_bytes,
            retransmits: c.retransmits,
            waited_ns: tls_took(case, c),
        })
        .collect();
    if here {
        finding.advice =
            Some("look at the process that listens there (ss -ltnp): it hangs, or speaks no TLS");
    } else if may_be_size {
        finding.remedies.push(Offer::new("no-mlkem", "sends a ClientHello that fits one packet"));
        finding.advice = Some(
            "if no-mlkem helps, have the firewall fixed; else have the host let through, or use a mirror",
        );
    }
    if connections.iter().all(|connection| connection.tunnel.is_some()) {
        let forward = case.remote_host(connections[0]);
        finding.summary =
            format!("{} (through the forward proxy {forward}, which lets nothing pass)", finding.summary);
        finding.advice = Some(
            "ask the forward proxy's owner to let that host through, or name it in NO_PROXY if this machine can reach it",
        );
    }
    // A forward proxy that is spoken to over TLS, and has not been asked for anything yet.
    let go = &case.record.go;
    let named =
        ways::forward_variable(go, host).or_else(|| ways::forward_variable(go, &connections[0].remote));
    let named = named.or_else(|| {
        let remote = connections[0].remote_name.as_deref()?;
        ways::forward_variable(go, remote)
    });
    if let Some(variable) = named.filter(|_| connections[0].tunnel.is_none()) {
        finding.summary = format!("the forward proxy {}", finding.summary);
        finding.advice_here = Some(format!(
            "see whether that forward proxy speaks TLS at that port; if not, write http:// in {variable} instead of https://"
        ));
        finding.remedies.clear();
    }
    finding.remedies.extend(ways::around(case, host));
    finding.fatal = true;
    finding
}

/// An address of this machine's own loopback.
fn is_loopback(remote: &str) -> bool {
    remote.parse::<SocketAddr>().is_ok_and(|remote| remote.ip().to_canonical().is_loopback())
}

fn reset(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let hung_up = connections.iter().all(|connection| is_hung_up(connection));
    let (how, why) = if hung_up {
        ("closed", "a filter by name, or that port speaks no TLS")
    } else {
        ("reset", "likely a filter by name")
    };
    let summary = format!("the connection to {host} was {how} as soon as its name was sent: {why}");
    let mut finding = finding(case, StallKind::TlsResetBySni, host, connections, summary);
    finding.evidence = connections
        .iter()
        .take(6)
        .map(|c| {
            let (connection, remote) = (c.id, c.remote.clone());
            if is_hung_up(c) {
                let received_bytes = c.bytes_received;
                return Evidence::ConnectionCut { connection, remote, reset: false, received_bytes, open: 0 };
            }
            let (server_name, after_ns) = (c.server_name.clone(), tls_took(case, c));
            Evidence::ResetAfterHello { connection, remote, server_name, after_ns }
        })
        .collect();
    if hung_up {
        finding.advice = Some(
            "see whether that port speaks TLS; if it does, have the host let through, or use a mirror that is",
        );
    }
    finding.remedies = ways::around(case, host);
    finding.fatal = true;
    finding
}

fn slow(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let longest = connections.iter().map(|c| (tls_took(case, c), answered(c))).max().unwrap_or_default();
    let (half, advice) = match longest {
        (all, Some(answered)) if answered < all / 2 => (
            format!(", {} of it after the server had answered", duration(all - answered)),
            Some("see what keeps this machine busy: the server answered in time"),
        ),
        (_, Some(answered)) => (format!(", {} of it until the server answered", duration(answered)), None),
        _ => (
            String::new(),
            Some("see in `local` whether this machine is busy; if not, ask the server's owner"),
        ),
    };
    let all = duration(longest.0);
    let rtt = duration_or_unknown(connections.iter().filter_map(|c| case.index.tcp_round_trip(c)).max());
    let summary = match connections.len() {
        1 => format!("the TLS handshake with {host} took {all}{half}, at an RTT of {rtt}"),
        many => format!("{many} TLS handshakes with {host} took up to {all}{half}, at an RTT of {rtt}"),
    };
    let mut finding = finding(case, StallKind::TlsSlow, host, connections, summary);
    finding.advice = advice;
    // A round trip is what a handshake takes at the least.
    finding.cost_ns = case.cost(|op| match op.subject {
        Subject::Tls(c) if connections.iter().any(|one| one.id == c.id) => {
            Some((op.operation.start_ns + case.index.tcp_round_trip(c).unwrap_or(0), op.operation.end_ns))
        }
        _ => None,
    });
    finding.evidence = connections
        .iter()
        .take(6)
        .map(|c| {
            let answered = answered(c);
            Evidence::TlsHandshake {
                connection: c.id,
                remote: c.remote.clone(),
                server_hello_ns: answered,
                rest_ns: answered.map(|answered| tls_took(case, c).saturating_sub(answered)),
                rtt_ns: case.index.tcp_round_trip(c),
            }
        })
        .collect();
    finding
}

fn intercepted(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    let summary = format!("{host} was offered HTTP/2 and spoke HTTP/1.1: something may stand in between");
    let mut finding = finding(case, StallKind::TlsIntercepted, host, connections, summary);
    finding.evidence = connections
        .iter()
        .take(3)
        .map(|c| Evidence::ProtocolDowngraded {
            connection: c.id,
            remote: c.remote.clone(),
            offered: c.alpn_offered.clone().unwrap_or_default(),
            spoken: c.alpn.clone().unwrap_or_default(),
            tls_version: c.tls_version.clone(),
        })
        .collect();
    finding.cost_ns = 0;
    finding.info = true;
    finding
}

/// A connection of that host that spoke, or would have spoken, HTTP/2.
fn is_http2(case: &Case<'_>, host: &str) -> bool {
    case.connections().any(|c| c.alpn.as_deref() == Some("h2") && case.host(c) == host)
}

fn wasted(case: &Case<'_>, host: &str, connections: &[&Connection]) -> Finding {
    // Dialled as another connection of that host was ended.
    let behind_goaway = |c: &&&Connection| {
        let near = |end: SinceStart| end.abs_diff(c.start_ns) <= at::GOAWAY_DIALS_NS;
        case.connections().any(|other| {
            let last = case.index.requests(other.id).iter().map(|request| request.start_ns).max();
            other.goaway.is_some()
                && case.host(other) == host
                && c.start_ns > other.start_ns
                && (last.is_some_and(near) || other.end_ns.is_some_and(near))
        })
    };
    let http2 = is_http2(case, host);
    let later = if http2 { connections.iter().filter(behind_goaway).count() as u64 } else { 0 };
    let all = connections.len() as u64;
    let dials = "go dials one for each request that waits, and HTTP/2 needs one";
    let why = match (http2, later) {
        (false, _) => {
            "go dials for each request that finds none free, and takes what is free first".to_owned()
        }
        (true, 0) => dials.to_owned(),
        (true, later) => format!("{dials}; dialled behind a GOAWAY: {later}"),
    };
    let took = connections.iter().map(|c| tls_took(case, c) + c.connect_ns.unwrap_or(0)).sum();
    let carried = count(all, "connection");
    let summary =
        format!("{carried} with {host} carried no request ({} of handshakes): {why}", duration(took));
    let mut finding = finding(case, StallKind::HandshakeWasted, host, connections, summary);
    finding.evidence = connections
        .iter()
        .take(3)
        .map(|c| Evidence::HandshakeUnused {
            connection: c.id,
            local: c.local.clone(),
            took_ns: tls_took(case, c),
        })
        .collect();
    finding.info = true;
    finding
}
