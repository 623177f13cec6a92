//! The checksum database: slow, out of reach, or broken behind a proxy.

use std::collections::HashMap;

use model::human::{count, duration, percent};
use model::operations::{Flight, Subject};
use model::record::{Class, Connection, ConnectionOutcome, Phase, Request};

use super::case::{Case, Span, hull, whole};
use super::connect::{authority, bare, handshake_end};
use super::finding::{Finding, explained};
use super::http2::what;
use super::index::ids;
use super::offer::Offer;
use super::proxy::{by_host, is_late, late};
use super::thresholds as at;

pub(crate) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let explained = explained(found);
    let is_slow = |request: &Request| {
        request.class.phase() == Phase::Sumdb && is_late(case, request) && !explained.contains(&request.id)
    };
    let slow = by_host(case, is_slow);
    let none = slow.is_empty();
    for (host, requests) in slow {
        found.push(late(case, "sumdb-slow", Phase::Sumdb, host, &requests));
    }
    if none {
        share(case, found);
    }
    unreachable(case, found);
    broken(case, found);
    stacked(case, found);
}

/// Name, with or without key, and URL of GOSUMDB: `name`, `name+key`, `name url`.
fn setting<'a>(case: &Case<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let mut words = case.record.go.gosumdb.as_deref()?.split_whitespace();
    Some((words.next()?, words.next()))
}

fn host_of_name(name: &str) -> &str {
    bare(name.split('+').next().unwrap_or_default())
}

/// Whether that host is the checksum database's own, by GOSUMDB.
pub(crate) fn is_database(case: &Case<'_>, host: &str) -> bool {
    let own = match setting(case) {
        Some((_, Some(url))) => bare(authority(url)),
        Some((name, None)) => host_of_name(name),
        None => return false,
    };
    !own.is_empty() && own == bare(host)
}

/// What is asked nothing costs nothing. Not where a module is unknown to the database: the command would
/// get past that, and ask the proxy for more of what may be private.
fn off(case: &Case<'_>) -> Option<Offer> {
    let unknown = |status: u16| matches!(status, 404 | 410);
    let lookup =
        |request: &Request| request.class == Class::SumdbLookup && request.status.is_some_and(unknown);
    let why = "shows what the checksum database costs; gives up its protection, so not to keep";
    (!case.requests().any(lookup)).then(|| Offer::new("sumdb=off", why))
}

/// Ways around the database's host.
pub(crate) fn around(case: &Case<'_>) -> Vec<Offer> {
    let mut ways = Vec::new();
    if let Some((name, Some(url))) = setting(case)
        && host_of_name(name) != bare(authority(url))
        && !name.contains('…')
        && answers_all(case, bare(authority(url)))
    {
        let why = "asks the database by its own name instead of that host";
        ways.push(Offer::new(format!("sumdb={name}"), why));
    }
    ways.extend(off(case));
    ways
}

/// Whether that mirror answered every lookup: what it answers the database knows. Of a name that it
/// did not answer for the database would hear for the first time.
fn answers_all(case: &Case<'_>, mirror: &str) -> bool {
    let mut lookups = case.requests().filter(|request| {
        request.class == Class::SumdbLookup
            && request.authority.as_deref().is_some_and(|authority| bare(authority) == mirror)
    });
    let first = lookups.next();
    first.into_iter().chain(lookups).all(|request| request.status == Some(200)) && first.is_some()
}

/// Ways around whoever serves the database: itself, or a proxy.
pub(crate) fn ways(case: &Case<'_>, host: &str) -> Vec<Offer> {
    let mut ways = super::connect::around(case, host);
    let off = off(case).filter(|off| !ways.contains(off));
    ways.extend(off);
    ways
}

/// Much of the time went there although each answer came as fast as the way allows.
fn share(case: &Case<'_>, found: &mut Vec<Finding>) {
    if case.requests().all(|request| request.class.phase() != Phase::Sumdb) {
        return;
    }
    let of = case.split().phase(Phase::Sumdb);
    if of.blocked_ns < at::WARNING_NS || of.blocked_ns * 100 < case.wall_ns() * at::CRITICAL_PERCENT {
        return;
    }
    let host = by_host(case, |request| request.class.phase() == Phase::Sumdb)
        .into_iter()
        .max_by_key(|(_, requests)| requests.len());
    let Some((host, requests)) = host else { return };
    found.push(Finding {
        host: Some(host.to_owned()),
        cost_ns: of.blocked_ns,
        summary: format!(
            "{} of the time was waiting for the checksum database: a complete go.sum asks it nothing",
            percent(of.blocked_ns, case.wall_ns())
        ),
        evidence: vec![format!(
            "{} to {host}, half of them within {}",
            count(of.count, "request"),
            of.durations.map_or_else(|| "?".to_owned(), |durations| duration(durations.p50_ns))
        )],
        remedies: ways(case, host),
        // Each answer was as fast as the way there: nothing is wrong.
        info: true,
        ..Finding::of(
            "sumdb-slow",
            Phase::Sumdb,
            hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    });
}

/// A handshake with that host that came to nothing, or was not answered for long.
fn in_vain(case: &Case<'_>, connection: &Connection) -> bool {
    let tcp = connection.connect_ns.is_none()
        || matches!(connection.outcome, ConnectionOutcome::TimedOut | ConnectionOutcome::Refused);
    let long = handshake_end(case, connection) - connection.start_ns >= at::TIMED_OUT_NS;
    let refused = connection.outcome == ConnectionOutcome::Refused;
    connection.tls_start_ns.is_none() && tcp && (long || refused)
        || super::tls::is_unanswered(case, connection)
        || connection.tls_start_ns.is_some()
            && connection.tls_version.is_none()
            && connection.outcome == ConnectionOutcome::Reset
}

fn of_connection(flight: &Flight<'_>, which: impl Fn(&Connection) -> bool) -> Option<Span> {
    match flight.subject {
        Subject::Connect(connection) | Subject::Tls(connection) if which(connection) => Some(whole(flight)),
        _ => None,
    }
}

fn unreachable(case: &Case<'_>, found: &mut Vec<Finding>) {
    let failed: Vec<&Connection> = case
        .connections()
        .filter(|connection| is_database(case, &case.host(connection)) && in_vain(case, connection))
        .collect();
    let Some(first) = failed.first() else { return };
    let failed_ids = ids(failed.iter().map(|connection| connection.id));
    let of = |connection: &Connection| failed_ids.contains(&connection.id);
    let span = hull(case.flights.iter().filter_map(|flight| of_connection(flight, of))).unwrap_or(case.wall);
    let tls = failed.iter().any(|connection| connection.tls_start_ns.is_some());
    let refused = failed.iter().all(|connection| {
        matches!(connection.outcome, ConnectionOutcome::Refused | ConnectionOutcome::Reset)
    });
    found.push(Finding {
        host: Some(case.host(first)),
        // As the other findings about these handshakes count it: what is the same is seen to be.
        cost_ns: case.cost_of_handshakes(tls, of),
        summary: format!(
            "the checksum database at {} cannot be reached: {} {}",
            case.host(first),
            count(failed.len() as u64, if tls { "TLS handshake" } else { "TCP handshake" }),
            if refused { "refused" } else { "unanswered" }
        ),
        evidence: failed
            .iter()
            .take(5)
            .map(|c| {
                let what = if c.tls_start_ns.is_some() { "ClientHello" } else { "SYN" };
                format!(
                    "{what} to {} unanswered, {} retransmitted",
                    c.remote,
                    c.syn_retransmits + c.retransmits
                )
            })
            .collect(),
        remedies: around(case),
        fatal: true,
        ..Finding::of("sumdb-unreachable", if tls { Phase::Tls } else { Phase::Connect }, span)
    });
}

fn broken(case: &Case<'_>, found: &mut Vec<Finding>) {
    let good =
        case.requests().find(|request| request.class == Class::SumdbSupported && request.status == Some(200));
    let Some(good) = good else { return };
    let failed: Vec<_> = case
        .requests()
        .filter(|request| {
            matches!(request.class, Class::SumdbLookup | Class::SumdbTile | Class::SumdbLatest)
                && request.authority == good.authority
                && request.status.is_some_and(|status| status >= 400)
        })
        .collect();
    let Some(first) = failed.first() else { return };
    let host = good.authority.as_deref().unwrap_or("the proxy");
    found.push(Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost_of_requests(failed.iter().copied(), None),
        summary: format!(
            "{host} says that it serves the checksum database, and answers its requests with {}",
            first.status.unwrap_or_default()
        ),
        evidence: failed
            .iter()
            .take(5)
            .map(|r| format!("{} {}", r.status.unwrap_or_default(), what(r)))
            .collect(),
        remedies: super::connect::other_proxy(case, host),
        fatal: true,
        ..Finding::of(
            "sumdb-proxy-broken",
            Phase::Sumdb,
            hull(failed.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall),
        )
    });
}

/// Proxy and checksum database each ran into a time-out, one after the other.
fn stacked(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut handshakes: HashMap<u32, Span> = HashMap::new();
    for flight in &case.flights {
        if let Subject::Connect(connection) | Subject::Tls(connection) = flight.subject {
            let known = handshakes.entry(connection.id).or_insert_with(|| whole(flight));
            *known = (known.0.min(flight.operation.start_ns), known.1.max(flight.operation.end_ns));
        }
    }
    let failed = |connection: &Connection| {
        let span = *handshakes.get(&connection.id)?;
        (in_vain(case, connection) && span.1 - span.0 >= at::TIMED_OUT_NS).then_some(span)
    };
    let (mut proxy, mut sumdb) = (Vec::new(), Vec::new());
    for connection in case.connections() {
        if let Some(span) = failed(connection) {
            let list = if is_database(case, &case.host(connection)) { &mut sumdb } else { &mut proxy };
            list.push((connection, span));
        }
    }
    let (Some(first), Some(second)) =
        (hull(proxy.iter().map(|(_, span)| *span)), hull(sumdb.iter().map(|(_, span)| *span)))
    else {
        return;
    };
    let cost = |list: &[(&Connection, Span)]| {
        let of = ids(list.iter().map(|(connection, _)| connection.id));
        case.cost(|flight| of_connection(flight, |connection| of.contains(&connection.id)))
    };
    let (of_proxy, of_sumdb) = (cost(&proxy), cost(&sumdb));
    let overlap = first.1.min(second.1).saturating_sub(first.0.max(second.0));
    if overlap * 2 > (first.1 - first.0).min(second.1 - second.0) {
        return; // side by side
    }
    found.push(Finding {
        cost_ns: of_proxy + of_sumdb,
        summary: format!(
            "the proxy's time-outs ({}) and the checksum database's ({}) came one after the other",
            duration(of_proxy),
            duration(of_sumdb)
        ),
        evidence: vec![
            format!("{}: {} unanswered", case.host(proxy[0].0), count(proxy.len() as u64, "handshake")),
            format!("{}: {} unanswered", case.host(sumdb[0].0), count(sumdb.len() as u64, "handshake")),
        ],
        remedies: ways(case, &case.host(proxy[0].0)),
        fatal: true,
        ..Finding::of("stacked-timeouts", Phase::Tls, (first.0.min(second.0), first.1.max(second.1)))
    });
}
