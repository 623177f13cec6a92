//! Forward proxies that let a tunnel wait, do not answer, or refuse it.

use std::collections::BTreeMap;

use model::evidence::Evidence;
use model::human::{count, duration};
use model::operations::Subject;
use model::record::{Connection, ConnectionOutcome, Phase};
use model::report::Blame;
use model::stall::StallKind;
use model::time::{Ns, SinceStart};
use model::tunnel::{Tunnel, TunnelOutcome};

use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::index::ids;
use crate::{thresholds as at, ways};

/// What went wrong with a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Trouble {
    Refused,
    Reset,
    Unanswered,
    Slow,
}

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut by: BTreeMap<(String, Trouble), Vec<(&Connection, &Tunnel)>> = BTreeMap::new();
    for connection in case.connections() {
        let Some(tunnel) = &connection.tunnel else { continue };
        if connection.answered_in.is_some() {
            continue;
        }
        if let Some(trouble) = trouble(case, connection, tunnel) {
            let proxy = connection.remote_host().unwrap_or("an unknown host").to_owned();
            by.entry((proxy, trouble)).or_default().push((connection, tunnel));
        }
    }
    found.extend(by.into_iter().map(|((proxy, trouble), tunnels)| finding(case, &proxy, trouble, &tunnels)));
}

/// When the proxy was connected to, as far as that was seen.
fn asked(connection: &Connection, tunnel: &Tunnel) -> SinceStart {
    let connected = connection.connect_ns.map(|took| connection.start_ns.saturating_add(took));
    connected.map_or(tunnel.start_ns, |at| at.min(tunnel.start_ns))
}

/// How long the proxy took, or was waited for.
fn took(case: &Case<'_>, connection: &Connection, tunnel: &Tunnel) -> Ns {
    let end = tunnel.end_ns.or(connection.end_ns).unwrap_or(case.wall.1);
    end.saturating_sub(asked(connection, tunnel))
}

fn trouble(case: &Case<'_>, connection: &Connection, tunnel: &Tunnel) -> Option<Trouble> {
    let took = took(case, connection, tunnel);
    match tunnel.outcome {
        TunnelOutcome::Refused => Some(Trouble::Refused),
        TunnelOutcome::Established if took >= at::TUNNEL_SLOW_NS => Some(Trouble::Slow),
        TunnelOutcome::Established => None,
        // Whoever closes without a word refuses, too; a client that gives up has waited.
        TunnelOutcome::Open if connection.outcome == ConnectionOutcome::Reset => Some(Trouble::Reset),
        TunnelOutcome::Open if took >= at::TUNNEL_UNANSWERED_NS => Some(Trouble::Unanswered),
        TunnelOutcome::Open if connection.end_ns.is_some() => Some(Trouble::Reset),
        TunnelOutcome::Open => None,
    }
}

fn finding(case: &Case<'_>, proxy: &str, trouble: Trouble, tunnels: &[(&Connection, &Tunnel)]) -> Finding {
    let spans = tunnels.iter().map(|(connection, tunnel)| {
        let start = asked(connection, tunnel);
        (start, start.saturating_add(took(case, connection, tunnel)))
    });
    let of = ids(tunnels.iter().map(|(connection, _)| connection.id));
    let kind = match trouble {
        Trouble::Slow => StallKind::TunnelSlow,
        Trouble::Unanswered => StallKind::TunnelUnanswered,
        Trouble::Refused | Trouble::Reset => StallKind::TunnelRefused,
    };
    Finding {
        host: Some(proxy.to_owned()),
        cost_ns: case.cost(|op| match op.subject {
            Subject::Tunnel(connection) if of.contains(&connection.id) => Some(whole(op)),
            _ => None,
        }),
        summary: summary(case, proxy, trouble, tunnels),
        evidence: tunnels.iter().take(6).map(|(c, tunnel)| evidence(case, c, tunnel)).collect(),
        advice: advice(case, trouble, tunnels),
        blame: asks_for_password(tunnels).then_some(Blame::Command),
        fatal: trouble != Trouble::Slow && !case.requests().any(|request| request.status.is_some()),
        ..Finding::of(kind, Phase::Tunnel, hull(spans).unwrap_or(case.wall))
    }
}

fn summary(case: &Case<'_>, proxy: &str, trouble: Trouble, tunnels: &[(&Connection, &Tunnel)]) -> String {
    let (_, first) = tunnels[0];
    let mut targets: Vec<&str> = tunnels.iter().filter_map(|(_, tunnel)| tunnel.target.as_deref()).collect();
    targets.sort_unstable();
    targets.dedup();
    let what = match (first.protocol.name(), &targets[..]) {
        (name, []) => name.to_owned(),
        (name, [target]) => format!("{name} {target}"),
        (name, [target, rest @ ..]) => {
            format!("{name} {target} and {}", count(rest.len() as u64, "more host"))
        }
    };
    let longest = tunnels.iter().map(|(c, tunnel)| took(case, c, tunnel)).max().unwrap_or(0);
    let times = match tunnels.len() {
        1 => String::new(),
        n => format!(", {n} times"),
    };
    match trouble {
        Trouble::Slow => {
            format!("the forward proxy {proxy} took up to {} to answer {what}{times}", duration(longest))
        }
        Trouble::Unanswered => format!(
            "the forward proxy {proxy} did not answer {what} for {}{times}: go gives up after a minute",
            duration(longest)
        ),
        Trouble::Reset => {
            format!("the forward proxy {proxy} ended the connection after {what}, without an answer{times}")
        }
        Trouble::Refused => {
            let how = match (first.status, first.reason.as_deref()) {
                (Some(status), Some(schemes)) => format!(" with {status} (it asks for {schemes})"),
                (Some(status), None) => format!(" with {status}"),
                (None, Some(reason)) => format!(": {reason}"),
                (None, None) => String::new(),
            };
            format!("the forward proxy {proxy} refused {what}{how}{times}")
        }
    }
}

/// What it lacks is a setting of the command.
fn asks_for_password(tunnels: &[(&Connection, &Tunnel)]) -> bool {
    let password = |reason: &str| reason.contains("password") || reason.contains("authenticate");
    tunnels.iter().any(|(_, tunnel)| {
        tunnel.outcome == TunnelOutcome::Refused
            && (tunnel.status == Some(407) || tunnel.reason.as_deref().is_some_and(password))
    })
}

/// Whether the settings have a user for the forward proxy at the end of that connection.
fn has_password(case: &Case<'_>, connection: &Connection) -> bool {
    let go = &case.record.go;
    let with_user = |value: &Option<String>| value.as_deref().is_some_and(|value| value.contains('@'));
    let variable = connection.remote_name.as_deref().and_then(|name| ways::forward_variable(go, name));
    match variable.or_else(|| ways::forward_variable(go, &connection.remote)) {
        Some("HTTP_PROXY") => with_user(&go.http_proxy),
        Some("ALL_PROXY") => with_user(&go.all_proxy),
        Some(_) => with_user(&go.https_proxy),
        None => false,
    }
}

fn advice(case: &Case<'_>, trouble: Trouble, tunnels: &[(&Connection, &Tunnel)]) -> Option<&'static str> {
    let (connection, tunnel) = tunnels[0];
    match (trouble, tunnel.status, tunnel.reason.as_deref()) {
        (Trouble::Refused, Some(407), Some(schemes)) if !schemes.contains("Basic") => Some(
            "go knows Basic authentication alone: run a local proxy that speaks that one's, and name it in HTTPS_PROXY",
        ),
        (Trouble::Refused, Some(407), _) if has_password(case, connection) => Some(
            "correct user and password of the forward proxy where HTTPS_PROXY names it: it does not accept them",
        ),
        (Trouble::Refused, Some(407), _) => Some(
            "put user and password of the forward proxy into HTTPS_PROXY (http://user:password@host:port)",
        ),
        (Trouble::Refused, Some(403), _) => {
            Some("have the forward proxy's owner allow that host, or name in GOPROXY one that is allowed")
        }
        (Trouble::Refused, Some(400 | 404 | 405 | 501), _) => Some(
            "see whether HTTPS_PROXY has the right host, port and scheme: that is no forward proxy, or one that expects TLS",
        ),
        (Trouble::Refused, Some(429), _) => {
            Some("run fewer jobs at once through that forward proxy, or ask its owner for more")
        }
        (Trouble::Refused, Some(503), _) => Some(
            "the forward proxy refuses for now (overloaded, or its way out is down): ask its owner, or NO_PROXY if this machine can",
        ),
        (Trouble::Refused, Some(504), _) => Some(
            "the forward proxy waited in vain for that host: ask its owner, or name it in NO_PROXY if this machine can",
        ),
        (Trouble::Refused, Some(500..), _) => Some(
            "the forward proxy cannot reach or look up that host: ask its owner, or name it in NO_PROXY if this machine can",
        ),
        (Trouble::Reset, _, _) => Some(
            "ask the forward proxy's owner; a port that expects TLS ends it so, too: then write https:// in HTTPS_PROXY",
        ),
        (Trouble::Refused, None, Some(reason)) if reason.contains("not SOCKS5") => Some(
            "see whether HTTPS_PROXY or ALL_PROXY has the right port and scheme: a proxy for HTTP is named by http://",
        ),
        (Trouble::Refused, None, Some(reason)) if reason.contains("authenticate") => Some(
            "put user and password of the forward proxy where HTTPS_PROXY or ALL_PROXY names it (socks5://user:password@host:port)",
        ),
        (Trouble::Refused, None, Some(reason)) if reason.contains("password") => {
            Some("correct user and password of the forward proxy where HTTPS_PROXY or ALL_PROXY names it")
        }
        _ => None,
    }
}

fn evidence(case: &Case<'_>, connection: &Connection, tunnel: &Tunnel) -> Evidence {
    Evidence::Tunnel {
        connection: connection.id,
        remote: connection.remote.clone(),
        protocol: tunnel.protocol,
        target: tunnel.target.clone(),
        outcome: tunnel.outcome,
        status: tunnel.status,
        reason: tunnel.reason.clone(),
        rtt_ns: connection.rtt_ns,
        took_ns: took(case, connection, tunnel),
    }
}
