//! Questions that were answered late, wrongly or never.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::case::{Case, hull, whole};
use super::finding::Finding;
use super::index::{ids, is_suffixed};
use super::thresholds as at;
use crate::model::operations::Subject;
use crate::model::record::{Connection, ConnectionOutcome, Dns, Ns, Phase, Transport};
use crate::view::human::{count, duration};

const AGAIN: (&str, &str) =
    ("resolv=options timeout:1 attempts:3", "asks again after one second instead of five");

/// Where go asks again after a second already.
const ONCE: (&str, &str) = ("resolv=options attempts:1", "waits once for what never comes");
const MORE: (&str, &str) =
    ("resolv=options attempts:4", "asks more often before it gives up, where answers are lost");

const ONE_BY_ONE: (&str, &str) =
    ("resolv=options single-request", "asks for A, then for AAAA: something may drop one of two at once");

pub fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    unanswered(case, found);
    slow(case, found);
    search(case, found);
    errors(case, found);
    ignored(case, found);
}

/// Questions by server, each list in order.
fn by_server<'a>(
    case: &Case<'a>,
    which: impl Fn(&Dns, Option<Ns>) -> bool,
) -> BTreeMap<&'a str, Vec<(&'a Dns, Option<Ns>)>> {
    let mut servers: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (dns, end) in case.questions().filter(|(dns, end)| which(dns, *end)) {
        servers.entry(dns.server.as_str()).or_default().push((dns, end));
    }
    servers
}

fn finding(
    case: &Case<'_>,
    kind: &'static str,
    server: &str,
    questions: &[(&Dns, Option<Ns>)],
    summary: String,
) -> Finding {
    let ids: BTreeSet<u32> = questions.iter().map(|(dns, _)| dns.id).collect();
    let cost_ns = case.cost(|flight| match flight.subject {
        Subject::Dns(question) if ids.contains(&question.record.id) => Some(whole(flight)),
        _ => None,
    });
    let spans = questions.iter().map(|(dns, end)| (dns.start_ns, end.unwrap_or(case.wall.1)));
    Finding {
        host: Some(server.to_owned()),
        cost_ns,
        summary,
        evidence: questions.iter().take(6).map(|(dns, end)| evidence(case, dns, *end)).collect(),
        ..Finding::of(kind, Phase::Dns, hull(spans).unwrap_or(case.wall))
    }
}

fn evidence(case: &Case<'_>, dns: &Dns, end: Option<Ns>) -> String {
    let took = duration(end.unwrap_or(case.wall.1).saturating_sub(dns.start_ns));
    let what = match (&dns.rcode, end) {
        (Some(rcode), _) => format!("{rcode} after {took}"),
        (None, Some(_)) => format!("no answer, given up after {took}"),
        (None, None) => format!("no answer for {took}"),
    };
    format!("{} ({}), attempt {}, asked {}: {what}", dns.name, dns.qtype, dns.attempt, dns.server)
}

/// Not answered, and asked again, or for long enough that it will not be.
fn is_unanswered(case: &Case<'_>, dns: &Dns, end: Option<Ns>) -> bool {
    let again = dns.timed_out || dns.attempt > 1;
    let enough = if again { at::DNS_AGAIN_NS } else { at::DNS_UNANSWERED_NS };
    dns.rcode.is_none() && end.unwrap_or(case.wall.1).saturating_sub(dns.start_ns) >= enough
}

fn unanswered(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (server, questions) in by_server(case, |dns, end| is_unanswered(case, dns, end)) {
        // Some server's AAAA never comes although its A does.
        let a_answered = |dns: &Dns| {
            case.questions().any(|(other, _)| {
                other.server == dns.server
                    && other.qtype == "A"
                    && other.name.eq_ignore_ascii_case(&dns.name)
                    && other.rcode.as_deref() == Some("NOERROR")
            })
        };
        let aaaa_answered = case
            .questions()
            .any(|(other, _)| other.server == server && other.qtype == "AAAA" && other.rcode.is_some());
        let silent =
            !aaaa_answered && questions.iter().all(|(dns, _)| dns.qtype == "AAAA" && a_answered(dns));
        let names = names(&questions);
        let how_many = count(questions.len() as u64, "question");
        let then = if answered_later(case, &questions) { ", and answered when asked again" } else { "" };
        let (kind, summary) = if silent {
            ("dns-aaaa-silent", format!("{server} answers A and never AAAA for {names}: go waits for both"))
        } else {
            ("dns-timeout", format!("{server} left {how_many} for {names} unanswered{then}"))
        };
        let mut finding = finding(case, kind, server, &questions, summary);
        finding.cost_ns = cost_of_unanswered(case, &questions);
        finding.fatal = case.connections().next().is_none();
        let remedy = match (asks_soon(&questions), silent) {
            (false, _) => Some(AGAIN),
            (true, true) => Some(ONCE),
            (true, false) => Some(MORE).filter(|_| finding.fatal && case.failed()),
        };
        finding.remedies = remedy.map(|(name, why)| (name.to_owned(), why)).into_iter().collect();
        // Of two questions sent at once, one was answered.
        if !silent && questions.iter().any(|(dns, _)| other_type_answered(case, dns)) {
            finding.remedies.push((ONE_BY_ONE.0.to_owned(), ONE_BY_ONE.1));
        }
        finding.remedies.extend(other_server(case, server));
        found.push(finding);
    }
}

/// The names asked for, the first few.
fn names(questions: &[(&Dns, Option<Ns>)]) -> String {
    let names: BTreeSet<&str> = questions.iter().map(|(dns, _)| dns.name.as_str()).collect();
    names.into_iter().take(3).collect::<Vec<_>>().join(", ")
}

/// Each of them had its answer from the same server in the end.
fn answered_later(case: &Case<'_>, questions: &[(&Dns, Option<Ns>)]) -> bool {
    questions.iter().all(|(dns, _)| {
        case.questions().any(|(other, _)| {
            other.server == dns.server
                && other.qtype == dns.qtype
                && other.name.eq_ignore_ascii_case(&dns.name)
                && other.attempt > dns.attempt
                && other.rcode.is_some()
        })
    })
}

/// The time-out is a second already: that is how long questions were waited for.
fn asks_soon(questions: &[(&Dns, Option<Ns>)]) -> bool {
    let waited = questions.iter().filter(|(dns, _)| dns.timed_out);
    let longest = waited.filter_map(|(dns, end)| Some((*end)?.saturating_sub(dns.start_ns))).max();
    longest.is_some_and(|longest| longest < at::DNS_UNANSWERED_NS)
}

/// The same name was asked of the same server for the other type, at the same time, with success.
fn other_type_answered(case: &Case<'_>, dns: &Dns) -> bool {
    case.questions().any(|(other, _)| {
        other.server == dns.server
            && other.qtype != dns.qtype
            && other.name.eq_ignore_ascii_case(&dns.name)
            && other.attempt == dns.attempt
            && other.rcode.is_some()
    })
}

/// A server that answered well in this run, instead of that one.
fn other_server(case: &Case<'_>, server: &str) -> Option<(String, &'static str)> {
    let good = case.questions().find(|(dns, end)| {
        dns.server != server
            && dns.rcode.as_deref() == Some("NOERROR")
            && end.is_some_and(|end| end.saturating_sub(dns.start_ns) <= at::DNS_SLOW_NS)
    });
    let address = good?.0.server.strip_suffix(":53")?;
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some((format!("resolv=nameserver {address}"), "asks only the server that answered well in this run"))
}

/// What questions cost that had no answer. What else was asked for the same name meanwhile, A beside
/// AAAA, had its answer in time and bears nothing, unless it was slow itself.
fn cost_of_unanswered(case: &Case<'_>, questions: &[(&Dns, Option<Ns>)]) -> Ns {
    let enough = slow_from(case);
    case.cost(|flight| {
        let Subject::Dns(question) = flight.subject else { return None };
        let dns = &question.record;
        if questions.iter().any(|(unanswered, _)| unanswered.id == dns.id) {
            return Some(whole(flight));
        }
        let (start, end) = whole(flight);
        if end - start > enough {
            return None;
        }
        let beside = questions.iter().find(|(unanswered, given_up)| {
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
    let is_slow = |dns: &Dns, end: Option<Ns>| {
        dns.rcode.is_some() && end.is_some_and(|end| end.saturating_sub(dns.start_ns) > enough)
    };
    for (server, questions) in by_server(case, is_slow) {
        let longest = questions.iter().filter_map(|(dns, end)| end.map(|end| end - dns.start_ns)).max();
        let summary = format!(
            "{server} took up to {} to answer {} for {}",
            duration(longest.unwrap_or_default()),
            count(questions.len() as u64, "question"),
            names(&questions)
        );
        let mut finding = finding(case, "dns-slow", server, &questions, summary);
        let of = ids(questions.iter().map(|(dns, _)| dns.id));
        let behind = case.command.dns.values().map(|question| &question.record);
        let behind = behind.filter(|dns| dns.on_behalf_of.is_some_and(|id| of.contains(&id)));
        let behind: Vec<&Dns> = behind.collect();
        if let Some(first) = behind.first() {
            let took = first.end_ns.map(|end| format!(", which took {}", duration(end - first.start_ns)));
            finding.summary =
                format!("{}: it asked {}{}", finding.summary, first.server, took.unwrap_or_default());
            finding.advice =
                Some("give that stub another server: `resolvectl status` shows them, `resolvectl dns` sets");
        }
        finding.evidence.extend(behind.iter().take(3).map(|dns| {
            let took = dns
                .end_ns
                .map_or_else(|| "not".to_owned(), |end| format!("after {}", duration(end - dns.start_ns)));
            format!("{} passed it on to {}, which answered {took}", dns.comm, dns.server)
        }));
        finding.remedies.extend(other_server(case, server));
        found.push(finding);
    }
}

fn search(case: &Case<'_>, found: &mut Vec<Finding>) {
    let names: BTreeSet<String> = case.questions().map(|(dns, _)| dns.name.to_ascii_lowercase()).collect();
    // A name with something of the search list behind it.
    let suffixed = |dns: &Dns| is_suffixed(&dns.name.to_ascii_lowercase(), &names);
    let in_vain = |dns: &Dns, _: Option<Ns>| dns.rcode.as_deref() == Some("NXDOMAIN") && suffixed(dns);
    for (server, questions) in by_server(case, in_vain) {
        let summary = format!(
            "{} with a suffix of the search list came first: {server} knows no such name",
            count(questions.len() as u64, "question")
        );
        let mut finding = finding(case, "dns-search", server, &questions, summary);
        finding.remedies = vec![("resolv=options ndots:1".to_owned(), "asks for the name as it is first")];
        found.push(finding);
    }
}

fn errors(case: &Case<'_>, found: &mut Vec<Finding>) {
    let failed = |dns: &Dns, _: Option<Ns>| {
        dns.rcode.as_deref().is_some_and(|rcode| !matches!(rcode, "NOERROR" | "NXDOMAIN"))
            || dns.transport == Transport::Tcp
    };
    for (server, questions) in by_server(case, failed) {
        let codes: BTreeSet<&str> = questions
            .iter()
            .filter_map(|(dns, _)| dns.rcode.as_deref().filter(|rcode| *rcode != "NOERROR"))
            .collect();
        let again = questions.iter().filter(|(dns, _)| dns.transport == Transport::Tcp).count() as u64;
        let names = names(&questions);
        let mut what: Vec<String> = codes.iter().map(|code| format!("answered {code} for {names}")).collect();
        if again > 0 {
            let asked = count(again, "more question");
            what.push(format!("cut answers for {names} short, so that go asked {asked} over TCP"));
        }
        let summary = format!("{server} {}", what.join(" and "));
        let mut finding = finding(case, "dns-error", server, &questions, summary);
        finding.remedies.extend(other_server(case, server));
        finding.fatal = !codes.is_empty() && case.connections().next().is_none();
        if codes.is_empty() {
            finding.advice =
                Some("have that server send answers of 1,232 bytes over UDP (EDNS), or ask another one");
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
        evidence: vec![format!(
            "{} is built with CGO_ENABLED=0 and has its own resolver only",
            go.binary.as_deref().unwrap_or("the binary")
        )],
        info: true,
        ..Finding::of("netdns-ignored", Phase::Dns, case.wall)
    });
}
