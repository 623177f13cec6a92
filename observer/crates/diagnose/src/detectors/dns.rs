//! Queries that were answered late, wrongly or never.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use model::evidence::Evidence;
use model::human::{count, duration};
use model::id::DnsId;
use model::operations::Subject;
use model::record::{Connection, ConnectionOutcome, Dns, Phase, Transport};
use model::stall::StallKind;
use model::time::{Ns, SinceStart};

use crate::case::{Case, hull, whole};
use crate::fallback::{Owners, fell_back};
use crate::finding::Finding;
use crate::index::{ids, is_suffixed};
use crate::lookups::{Lookups, seen};
use crate::offer::Offer;
use crate::{thresholds as at, waits};

/// What to do where a resolver on this machine stands between: systemd-resolved, or another.
const OF_RESOLVED: &str =
    "give systemd-resolved a better server (`resolvectl dns`): go waits for as long as it does";
const OF_LOCAL: &str = "give the resolver at that address on this machine a better server, or name another one in \
                        /etc/resolv.conf: go waits for it";

/// What to do in a container, whose resolv.conf nobody there has written.
const OF_CONTAINER: &str = "the engine put that server into the container, perhaps in place of one on this machine's \
                            loopback: give the container another (--dns)";

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    unanswered(case, found);
    slow(case, found);
    search(case, found);
    errors(case, found);
    ignored(case, found);
}

/// Queries by server, each list in order.
fn by_server<'a>(
    case: &Case<'a>,
    which: impl Fn(&Dns, Option<SinceStart>) -> bool,
) -> BTreeMap<&'a str, Vec<(&'a Dns, Option<SinceStart>)>> {
    let mut servers: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (dns, end) in case.queries().filter(|(dns, end)| which(dns, *end)) {
        servers.entry(dns.server.as_str()).or_default().push((dns, end));
    }
    servers
}

fn finding(
    case: &Case<'_>,
    kind: StallKind,
    server: &str,
    queries: &[(&Dns, Option<SinceStart>)],
    summary: String,
) -> Finding {
    let ids: BTreeSet<DnsId> = queries.iter().map(|(dns, _)| dns.id).collect();
    let cost_ns = case.cost(|op| match op.subject {
        Subject::Dns(query) if ids.contains(&query.record.id) => Some(whole(op)),
        _ => None,
    });
    let spans = queries.iter().map(|(dns, end)| (dns.start_ns, end.unwrap_or(case.wall.1)));
    Finding {
        host: Some(server.to_owned()),
        cost_ns,
        summary,
        evidence: queries.iter().take(6).map(|(dns, end)| seen(case, dns, *end)).collect(),
        ..Finding::of(kind, Phase::Dns, hull(spans).unwrap_or(case.wall))
    }
}

/// Not answered, and retried, or for long enough that it will not be.
fn is_unanswered(case: &Case<'_>, dns: &Dns, end: Option<SinceStart>) -> bool {
    let again = dns.timed_out || dns.attempt > 1;
    let enough = if again { at::DNS_RETRIED_NS } else { at::DNS_UNANSWERED_NS };
    dns.rcode.is_none()
        && dns.unusable.is_none()
        && !dns.refused
        && end.unwrap_or(case.wall.1).saturating_sub(dns.start_ns) >= enough
}

fn unanswered(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (server, queries) in by_server(case, |dns, end| is_unanswered(case, dns, end)) {
        // Some server's AAAA never comes although its A does.
        let a_answered = |dns: &Dns| {
            case.queries().any(|(other, _)| {
                other.server == dns.server
                    && other.qtype == "A"
                    && other.name.eq_ignore_ascii_case(&dns.name)
                    && other.rcode.as_deref() == Some("NOERROR")
            })
        };
        let aaaa_answered = case
            .queries()
            .any(|(other, _)| other.server == server && other.qtype == "AAAA" && other.rcode.is_some());
        let silent = !aaaa_answered && queries.iter().all(|(dns, _)| dns.qtype == "AAAA" && a_answered(dns));
        let names = names(&queries);
        let how_many = count(queries.len() as u64, "query");
        let gave_up = gave_up(case, &queries);
        let then = match () {
            () if gave_up => ": the lookup failed",
            () if answered_later(case, &queries) => ", and answered when retried",
            () => "",
        };
        let (kind, summary) = if silent {
            (
                StallKind::DnsAaaaSilent,
                format!("{server} answers A and never AAAA for {names}: go waits for both"),
            )
        } else {
            (StallKind::DnsTimeout, format!("{server} left {how_many} for {names} unanswered{then}"))
        };
        let mut finding = finding(case, kind, server, &queries, summary);
        finding.cost_ns = cost_of_unanswered(case, &queries);
        finding.fatal = case.connections().next().is_none() || gave_up;
        let behind = behind(case, &queries);
        if is_local(server) || !behind.is_empty() {
            // It asks others by itself, and takes the time that takes.
            blame_server_behind(&mut finding, &behind);
            finding.advice = Some(of_local(server, &behind));
        } else {
            finding.advice = case.record.container.as_ref().map(|_| OF_CONTAINER);
            finding.remedies.extend(waits::remedies(case, &queries, silent));
        }
        finding.remedies.extend(other_server(case, server));
        found.push(finding);
    }
}

/// The names asked for, the first few.
fn names(queries: &[(&Dns, Option<SinceStart>)]) -> String {
    let names: BTreeSet<&str> = queries.iter().map(|(dns, _)| dns.name.as_str()).collect();
    names.into_iter().take(3).collect::<Vec<_>>().join(", ")
}

/// go itself gave the lookup of one of those names up: the query after it begins another lookup of that name. What
/// waited for its address failed, for go asks for nothing again.
fn gave_up(case: &Case<'_>, queries: &[(&Dns, Option<SinceStart>)]) -> bool {
    let owners = Owners::new(case);
    queries.iter().filter(|(dns, _)| owners.is_own(dns.pid, dns.start_ns)).any(|(dns, end)| {
        let next = case
            .queries()
            .map(|(other, _)| other)
            .filter(|other| {
                other.start_ns >= end.unwrap_or(case.wall.1)
                    && other.pid == dns.pid
                    && other.qtype == dns.qtype
            })
            .filter(|other| other.name.eq_ignore_ascii_case(&dns.name))
            .min_by_key(|other| other.start_ns);
        let restarted = next.is_some_and(|next| next.attempt == 1);
        dns.timed_out && restarted && !fell_back(case, &dns.name, dns.start_ns)
    })
}

/// Each of them had its answer from the same server in the end.
fn answered_later(case: &Case<'_>, queries: &[(&Dns, Option<SinceStart>)]) -> bool {
    queries.iter().all(|(dns, _)| {
        case.queries().any(|(other, _)| {
            other.server == dns.server
                && other.qtype == dns.qtype
                && other.name.eq_ignore_ascii_case(&dns.name)
                && other.attempt > dns.attempt
                && other.rcode.is_some()
        })
    })
}

/// A resolver on this machine, or on this machine's own link: it asks others by itself.
/// What to do about it. systemd-resolved is known by its own address (systemd-resolved.service(8)) and its name.
fn of_local(server: &str, behind: &[&Dns]) -> &'static str {
    let resolved = ["127.0.0.53:53", "systemd-resolved"].contains(&server);
    let by_resolved = |dns: &&Dns| dns.comm.starts_with("systemd-resolve");
    let known = if behind.is_empty() { resolved } else { behind.iter().any(by_resolved) };
    if known { OF_RESOLVED } else { OF_LOCAL }
}

fn is_local(server: &str) -> bool {
    server.parse::<SocketAddr>().is_ok_and(|server| match server.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    })
}

/// What a local resolver asked on behalf of those queries.
fn behind<'a>(case: &Case<'a>, queries: &[(&Dns, Option<SinceStart>)]) -> Vec<&'a Dns> {
    let asked = ids(queries.iter().map(|(dns, _)| dns.id));
    let of = |dns: &&Dns| dns.on_behalf_of.is_some_and(|id| asked.contains(&id));
    case.command.dns.values().map(|query| &query.record).filter(of).collect()
}

/// Says whom a local resolver waited for, the longest of all: that server is to blame, not who passed it on.
fn blame_server_behind(finding: &mut Finding, behind: &[&Dns]) {
    let took = |dns: &Dns| match dns.end_ns {
        Some(end) if dns.rcode.is_some() => end.saturating_sub(dns.start_ns),
        _ => Ns::MAX,
    };
    let Some(worst) = behind.iter().max_by_key(|dns| took(dns)) else { return };
    finding.summary.push_str(&match took(worst) {
        Ns::MAX => format!(": it asked {}, which did not answer", worst.server),
        took => format!(": it asked {}, which took {}", worst.server, duration(took)),
    });
    finding.host = Some(worst.server.clone());
}

/// A server that answered well in this run, instead of that one.
fn other_server(case: &Case<'_>, server: &str) -> Option<Offer> {
    let answered = |dns: &Dns| dns.rcode.as_deref() == Some("NOERROR") && dns.answers.is_some_and(|n| n > 0);
    let of_name = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    // Name servers differ in what they know: the other one has to know every name that any of them did.
    let names: BTreeSet<&str> =
        case.queries().filter(|(dns, _)| answered(dns)).map(|(dns, _)| dns.name.as_str()).collect();
    let knows = |other: &str, name: &&str| {
        case.queries().any(|(dns, _)| dns.server == other && answered(dns) && of_name(&dns.name, name))
    };
    let well = |dns: &Dns, end: Option<SinceStart>| {
        dns.rcode.as_deref() == Some("NOERROR")
            && end.is_some_and(|end| end.saturating_sub(dns.start_ns) <= at::DNS_SLOW_NS)
    };
    let all_well = |other: &str| case.queries().all(|(dns, end)| dns.server != other || well(dns, end));
    let others: BTreeSet<&str> = case.queries().map(|(dns, _)| dns.server.as_str()).collect();
    let other = others.into_iter().find(|other| {
        *other != server
            && !names.is_empty()
            && all_well(other)
            && names.iter().all(|name| knows(other, name))
    });
    let address = other?.strip_suffix(":53")?;
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    let why = "asks only the server that answered well in this run";
    Some(Offer::new(format!("resolv=nameserver {address}"), why))
}

/// What queries cost that had no answer. What else was asked for the same name meanwhile, A beside
/// AAAA, had its answer in time and bears nothing, unless it was slow itself.
fn cost_of_unanswered(case: &Case<'_>, queries: &[(&Dns, Option<SinceStart>)]) -> Ns {
    let enough = slow_from(case);
    case.cost(|op| {
        let Subject::Dns(query) = op.subject else { return None };
        let dns = &query.record;
        if queries.iter().any(|(unanswered, _)| unanswered.id == dns.id) {
            return Some(whole(op));
        }
        let (start, end) = whole(op);
        if end - start > enough {
            return None;
        }
        let beside = queries.iter().find(|(unanswered, given_up)| {
            unanswered.pid == dns.pid
                && unanswered.name.eq_ignore_ascii_case(&dns.name)
                && unanswered.start_ns < end
                && start < given_up.unwrap_or(case.wall.1)
        });
        beside.map(|(unanswered, given_up)| {
            (start.max(unanswered.start_ns), end.min(given_up.unwrap_or(case.wall.1)))
        })
    })
}

/// Later than this is slow. Where everything is far, the name server may be, too.
fn slow_from(case: &Case<'_>) -> Ns {
    let refused = |c: &Connection| {
        let end = c.end_ns.filter(|_| c.outcome == ConnectionOutcome::Refused && c.syn_retransmits == 0);
        end.map(|end| end - c.start_ns)
    };
    let rtt = case.connections().filter_map(|c| c.rtt_ns.or_else(|| refused(c))).min().unwrap_or(0);
    at::DNS_SLOW_NS + rtt
}

fn slow(case: &Case<'_>, found: &mut Vec<Finding>) {
    let enough = slow_from(case);
    let is_slow = |dns: &Dns, end: Option<SinceStart>| {
        dns.rcode.is_some() && end.is_some_and(|end| end.saturating_sub(dns.start_ns) > enough)
    };
    for (server, queries) in by_server(case, is_slow) {
        let longest = queries.iter().filter_map(|(dns, end)| end.map(|end| end - dns.start_ns)).max();
        let summary = format!(
            "{server} took up to {} to answer {} for {}",
            duration(longest.unwrap_or_default()),
            count(queries.len() as u64, "query"),
            names(&queries)
        );
        let mut finding = finding(case, StallKind::DnsSlow, server, &queries, summary);
        let behind = behind(case, &queries);
        blame_server_behind(&mut finding, &behind);
        if is_local(server) || !behind.is_empty() {
            finding.advice = Some(of_local(server, &behind));
        }
        finding.evidence.extend(behind.iter().take(3).map(|dns| Evidence::QueryForwarded {
            query: dns.id,
            comm: dns.comm.clone(),
            server: dns.server.clone(),
            took_ns: dns.end_ns.map(|end| end.saturating_sub(dns.start_ns)),
        }));
        finding.remedies.extend(other_server(case, server));
        found.push(finding);
    }
}

fn search(case: &Case<'_>, found: &mut Vec<Finding>) {
    let names: BTreeSet<String> = case.queries().map(|(dns, _)| dns.name.to_ascii_lowercase()).collect();
    // A name with something of the search list behind it.
    let suffixed = |dns: &Dns| is_suffixed(&dns.name.to_ascii_lowercase(), &names);
    let in_vain =
        |dns: &Dns, _: Option<SinceStart>| dns.rcode.as_deref() == Some("NXDOMAIN") && suffixed(dns);
    for (server, queries) in by_server(case, in_vain) {
        let summary = format!(
            "{} with a suffix of the search list came first: {server} knows no such name",
            count(queries.len() as u64, "query")
        );
        let mut finding = finding(case, StallKind::DnsSearch, server, &queries, summary);
        if first_helps(case, &queries) {
            finding.remedies.push(Offer::new("resolv=options ndots:1", "asks for the name as it is first"));
        }
        found.push(finding);
    }
}

/// Each of those names is known without its suffix, and was asked for that way later.
fn first_helps(case: &Case<'_>, suffixed: &[(&Dns, Option<SinceStart>)]) -> bool {
    suffixed.iter().all(|(dns, _)| {
        let name = dns.name.to_ascii_lowercase();
        case.queries().any(|(plain, _)| {
            let rest = name.strip_prefix(&plain.name.to_ascii_lowercase());
            rest.is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
                && plain.rcode.as_deref() == Some("NOERROR")
                && plain.answers.is_some_and(|answers| answers > 0)
                && plain.start_ns >= dns.start_ns
        })
    })
}

fn errors(case: &Case<'_>, found: &mut Vec<Finding>) {
    let lookups = Lookups::new(case);
    // Whoever asks over TCP alone (use-vc) was answered well.
    let over_udp: BTreeSet<(&str, String)> = case
        .queries()
        .filter(|(dns, _)| dns.transport == Transport::Udp)
        .map(|(dns, _)| (dns.server.as_str(), dns.name.to_ascii_lowercase()))
        .collect();
    let cut = |dns: &Dns| over_udp.contains(&(dns.server.as_str(), dns.name.to_ascii_lowercase()));
    let failed = |dns: &Dns, _: Option<SinceStart>| {
        dns.rcode.as_deref().is_some_and(|rcode| !matches!(rcode, "NOERROR" | "NXDOMAIN"))
            || dns.unusable.is_some()
            || (dns.transport == Transport::Tcp && cut(dns))
            || (lookups.is_truncated(dns) && lookups.refused_connections(&dns.server) > 0)
    };
    for (server, queries) in by_server(case, failed) {
        let codes: BTreeSet<&str> = queries
            .iter()
            .filter_map(|(dns, _)| dns.rcode.as_deref().filter(|rcode| *rcode != "NOERROR"))
            .collect();
        let again = queries.iter().filter(|(dns, _)| dns.transport == Transport::Tcp).count() as u64;
        let (refused, names) = (lookups.refused_connections(server), names(&queries));
        let truncated = queries.iter().filter(|(dns, _)| lookups.is_truncated(dns)).count() as u64;
        let mut what: Vec<String> = codes.iter().map(|code| format!("answered {code} for {names}")).collect();
        if again > 0 {
            let asked = count(again, "more query");
            what.push(format!("cut answers for {names} short, so that go asked {asked} over TCP"));
        } else if truncated > 0 && refused > 0 {
            let answers = count(truncated, "answer");
            what.push(format!(
                "cut {answers} for {names} short, and refuses TCP, over which go asks for the rest"
            ));
        }
        let unusable: BTreeSet<&str> =
            queries.iter().filter_map(|(dns, _)| dns.unusable.as_deref()).collect();
        if let Some(code) = unusable.first() {
            what.push(format!(
                "answered {code} for {names} without the query, which go does not take for an answer: it waits on"
            ));
        }
        let summary = format!("{server} {}", what.join(" and "));
        let mut finding = finding(case, StallKind::DnsError, server, &queries, summary);
        // A server that knows no EDNS refuses what it cannot read.
        if unusable.contains("FORMERR") {
            let why = "asks without EDNS, which that server refuses";
            finding.remedies.push(Offer::new("env=GODEBUG=netedns0=0", why));
            finding.advice = Some(
                "have that server answer queries with EDNS (RFC 6891), or set GODEBUG=netedns0=0 for go",
            );
        }
        finding.remedies.extend(other_server(case, server));
        if truncated > 0 {
            finding.evidence.insert(
                0,
                Evidence::AnswersTruncated { server: server.to_owned(), answers: truncated, refused },
            );
        }
        finding.fatal = queries.iter().any(|(dns, _)| !lookups.resolves(&dns.name));
        if codes.is_empty() && unusable.is_empty() {
            finding.advice =
                Some("have that server send answers of 1,232 bytes over UDP (EDNS), or use another one");
        }
        found.push(finding);
    }
}

fn ignored(case: &Case<'_>, found: &mut Vec<Finding>) {
    let go = &case.record.go;
    let set = go
        .godebug
        .as_deref()
        .and_then(|debug| debug.split(',').find(|setting| setting.starts_with("netdns=cgo")));
    let (Some(set), Some(false)) = (set, go.cgo) else { return };
    found.push(Finding {
        summary: format!("GODEBUG={set} has no effect: this go is built without cgo"),
        evidence: vec![Evidence::BuiltWithoutCgo { path: go.binary.clone() }],
        info: true,
        ..Finding::of(StallKind::NetdnsIgnored, Phase::Dns, case.wall)
    });
}
