//! TCP handshakes that were lost, refused or sent into nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::human::{count, duration};
use model::operations::Subject;
use model::record::{Class, Connection, ConnectionOutcome, Ns, Phase, Request};

use super::case::{Case, Span, hull};
use super::finding::Finding;
use super::index::ids;
use super::offer::Offer;
use super::thresholds as at;

pub(crate) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let holes: Vec<&Connection> = case.connections().filter(|hole| blackhole(case, hole)).collect();
    if !holes.is_empty() {
        ipv6(case, &holes, found);
    }
    let hole_ids = ids(holes.iter().map(|hole| hole.id));
    let is_hole = |connection: &Connection| hole_ids.contains(&connection.id);
    for (host, connections) in by_host(case, |c| c.syn_retransmits > 0 && !is_hole(c)) {
        found.push(lost(case, &host, &connections));
    }
    for (host, connections) in
        by_host(case, |c| c.outcome == ConnectionOutcome::Refused && c.syn_retransmits == 0)
    {
        found.push(refused(case, &host, &connections));
    }
}

/// Connections by whom they were for.
pub(crate) fn by_host<'a>(
    case: &Case<'a>,
    which: impl Fn(&Connection) -> bool,
) -> BTreeMap<String, Vec<&'a Connection>> {
    let mut hosts: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for connection in case.connections().filter(|connection| which(connection)) {
        hosts.entry(case.host(connection)).or_default().push(connection);
    }
    hosts
}

/// When the TCP handshake ended, however.
pub(crate) fn handshake_end(case: &Case<'_>, connection: &Connection) -> Ns {
    let took = connection.connect_ns.map(|took| connection.start_ns + took);
    took.or(connection.end_ns).unwrap_or(case.wall.1)
}

/// The part of a handshake that a fault is to blame for.
type Fault<'a> = &'a dyn Fn(&Connection) -> Span;

fn finding(
    case: &Case<'_>,
    kind: &'static str,
    host: &str,
    connections: &[&Connection],
    fault: Fault<'_>,
    summary: String,
) -> Finding {
    let spans = connections.iter().map(|c| (c.start_ns, handshake_end(case, c)));
    let of = ids(connections.iter().map(|c| c.id));
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost(|flight| match flight.subject {
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

fn evidence(case: &Case<'_>, connection: &Connection) -> String {
    let took = duration(handshake_end(case, connection) - connection.start_ns);
    let how = match connection.outcome {
        ConnectionOutcome::Refused => format!("reset after {took}"),
        ConnectionOutcome::TimedOut => format!("given up after {took}"),
        _ if connection.connect_ns.is_some() => format!("established after {took}"),
        _ => format!("unanswered for {took}"),
    };
    let again = match connection.syn_retransmits {
        0 => String::new(),
        n => format!(", sent again {}", times(n)),
    };
    format!("SYN to {}{again}: {how}", connection.remote)
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
        format!("{host} answered only after the SYN was sent again {again}: lost on the way")
    } else {
        format!("{host} did not answer the SYN, sent again {again}: a firewall drops it, or the host is down")
    };
    // The SYN that arrived takes a round trip like any other.
    let fault = |c: &Connection| {
        let way = c.connect_ns.and(c.rtt_ns).unwrap_or(0);
        (c.start_ns, handshake_end(case, c).saturating_sub(way))
    };
    let mut finding = finding(case, "syn-lost", host, connections, &fault, summary);
    // A SYN that is lost now and then is lost on the way to another proxy, too.
    finding.remedies = if came { Vec::new() } else { around(case, host) };
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
    let fault = |c: &Connection| (c.start_ns, handshake_end(case, c));
    let mut finding = finding(case, "connect-refused", host, connections, &fault, summary);
    finding.remedies = around(case, host);
    finding
}

/// Ways around a host that is slow or cannot be reached.
pub(crate) fn around(case: &Case<'_>, host: &str) -> Vec<Offer> {
    if super::sumdb::is_database(case, host) { super::sumdb::around(case) } else { other_proxy(case, host) }
}

/// GOPROXY without that host: what the user named to come after it, and nothing else. None where the
/// host is no proxy of it, where nothing is left, and where names would reach whom they did not reach.
pub(crate) fn other_proxy(case: &Case<'_>, host: &str) -> Vec<Offer> {
    let go = &case.record.go;
    let list = go.goproxy.as_deref().unwrap_or_default();
    let host = bare(host);
    let is_host = |item: &&str| bare(authority(url(item))) == host;
    let items = list.split_inclusive([',', '|']).filter(|item| !is_host(item) && !url(item).is_empty());
    let rest: String = items.collect();
    let rest = rest.trim_end_matches([',', '|']);
    let next = url(rest.split_inclusive([',', '|']).next().unwrap_or_default());
    let named = list.split_inclusive([',', '|']).any(|item| is_host(&item));
    // What was taken out before it was shown cannot be tried.
    if !named || rest.contains('…') {
        return Vec::new();
    }
    match next {
        "" | "off" => Vec::new(),
        // A forward proxy is in the way of the modules' own hosts as it is of this one.
        "direct" if go.forward_proxy == Some(true) || refused_lookup(case, host) => Vec::new(),
        "direct" => {
            let why = "asks the modules' own hosts and the checksum database instead of that proxy";
            vec![Offer::new("proxy=direct", why)]
        }
        next if shows_nothing_new(case, host, bare(authority(next))) => {
            let why = "asks what comes next in GOPROXY at once, where go asked in the end";
            vec![Offer::new(format!("proxy={rest}"), why)]
        }
        _ => Vec::new(),
    }
}

/// That proxy refused to ask the checksum database for something: it may keep private names in.
fn refused_lookup(case: &Case<'_>, host: &str) -> bool {
    case.requests().any(|request| {
        request.class.phase() == Phase::Sumdb
            && request.class != Class::SumdbSupported
            && request.status.is_some_and(|status| (400..500).contains(&status))
            && request.authority.as_deref().is_some_and(|authority| bare(authority) == host)
    })
}

/// Whether `next` was asked in this run, for every module that `host` was asked for, too.
fn shows_nothing_new(case: &Case<'_>, host: &str, next: &str) -> bool {
    let asked = |host: &str| -> BTreeSet<&str> {
        let of = |request: &&Request| request.authority.as_deref().is_some_and(|one| bare(one) == host);
        case.requests().filter(of).filter_map(|request| request.module.as_deref()).collect()
    };
    let next = asked(next);
    !next.is_empty() && asked(host).is_subset(&next)
}

/// An entry of GOPROXY without what parts it from the next.
fn url(item: &str) -> &str {
    item.trim_end_matches([',', '|']).trim()
}

/// Host and port of a URL.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// A host without its port, an IPv6 address without its brackets.
pub(crate) fn bare(host: &str) -> &str {
    let port = |(_, port): &(&str, &str)| port.bytes().all(|b| b.is_ascii_digit());
    let host = host.rsplit_once(':').filter(port).map_or(host, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_v6(connection: &Connection) -> bool {
    connection.remote.starts_with('[')
}

/// When IPv4 was tried after it.
fn fallback_ns(case: &Case<'_>, connection: &Connection) -> Option<Ns> {
    let others = case.connections().filter(|other| !is_v6(other) && other.pid == connection.pid);
    let after = |other: &Connection| other.start_ns.saturating_sub(connection.start_ns);
    let others = others.filter(|other| (at::FALLBACK_NS..at::FALLBACK_MAX_NS).contains(&after(other)));
    others.map(|other| other.start_ns).min()
}

/// No answer over IPv6, and IPv4 tried after it.
fn blackhole(case: &Case<'_>, connection: &Connection) -> bool {
    let end = handshake_end(case, connection);
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
    let summary = format!("nothing comes back from {host} over IPv6; go tried IPv4 after 300 ms");
    // From then on IPv4 takes the time that it takes.
    let fault = |c: &Connection| (c.start_ns, fallback_ns(case, c).unwrap_or(c.start_ns));
    found.push(Finding { fatal: false, ..finding(case, "ipv6-blackhole", &host, holes, &fault, summary) });
}
