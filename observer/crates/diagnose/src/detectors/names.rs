//! Names that do not exist, or have no address, and name servers that nobody is at.

use std::collections::{BTreeMap, BTreeSet};

use model::evidence::Evidence;
use model::human::count;
use model::id::DnsId;
use model::operations::Subject;
use model::record::{Connection, Dns, Go, Phase};
use model::stall::StallKind;
use model::time::SinceStart;

use crate::case::{Case, hull, whole};
use crate::fallback::fell_back;
use crate::finding::Finding;
use crate::index::is_suffixed;
use crate::lookups::{Lookups, seen};
use crate::ways;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let lookups = Lookups::new(case);
    unknown(case, &lookups, found);
    refused(case, &lookups, found);
}

type Query<'a> = (&'a Dns, Option<SinceStart>);

fn finding(
    case: &Case<'_>,
    kind: StallKind,
    server: &str,
    queries: &[Query<'_>],
    summary: String,
) -> Finding {
    let ids: BTreeSet<DnsId> = queries.iter().map(|(dns, _)| dns.id).collect();
    Finding {
        host: Some(server.to_owned()),
        cost_ns: case.cost(|op| match op.subject {
            Subject::Dns(query) if ids.contains(&query.record.id) => Some(whole(op)),
            _ => None,
        }),
        summary,
        ..Finding::of(
            kind,
            Phase::Dns,
            hull(queries.iter().map(|(dns, end)| (dns.start_ns, end.unwrap_or(dns.start_ns))))
                .unwrap_or(case.wall),
        )
    }
}

/// Names that nobody gave an address for.
fn unknown(case: &Case<'_>, lookups: &Lookups<'_>, found: &mut Vec<Finding>) {
    let names: BTreeSet<String> = case.queries().map(|(dns, _)| dns.name.to_ascii_lowercase()).collect();
    let mut asked: BTreeMap<(&str, String), Vec<Query<'_>>> = BTreeMap::new();
    for (dns, end) in case.queries() {
        let name = dns.name.to_ascii_lowercase();
        let own = case.failed() || case.roles.role(dns.pid, &dns.comm, dns.start_ns).phase().is_none();
        if own && matches!(dns.qtype.as_str(), "A" | "AAAA") && !is_suffixed(&name, &names) {
            asked.entry((dns.server.as_str(), name)).or_default().push((dns, end));
        }
    }
    for ((server, name), queries) in asked {
        let code = |dns: &Dns| dns.rcode.as_deref().unwrap_or_default().to_owned();
        let empty =
            |dns: &Dns| code(dns) == "NOERROR" && dns.answers == Some(0) && !lookups.is_truncated(dns);
        let answered: Vec<Query<'_>> =
            queries.iter().copied().filter(|(dns, _)| code(dns) == "NXDOMAIN" || empty(dns)).collect();
        let none = answered.iter().any(|(dns, _)| code(dns) == "NXDOMAIN");
        let of = |qtype: &str| answered.iter().any(|(dns, _)| dns.qtype == qtype);
        let asked_for = |qtype: &str| queries.iter().any(|(dns, _)| dns.qtype == qtype);
        // With one of the two types unanswered, the other is not the reason.
        let no_address = ["A", "AAAA"].into_iter().all(|qtype| of(qtype) || !asked_for(qtype));
        if answered.is_empty() || !(none || no_address) || lookups.resolves(&name) {
            continue;
        }
        // Known from elsewhere, as a file of hosts.
        let reached = |connection: &Connection| connection.server_name.as_deref() == Some(name.as_str());
        if case.connections().any(reached) {
            continue;
        }
        let times = match answered.len() {
            1 => String::new(),
            n => format!("{} ", count(n as u64, "time")),
        };
        let shown = &answered[0].0.name;
        let summary = if none {
            format!("{server} says {times}that {shown} does not exist")
        } else {
            format!("{server} says {times}that {shown} has no address: neither A nor AAAA")
        };
        let mut finding = finding(case, StallKind::DnsNxdomain, server, &answered, summary);
        finding.evidence = answered.iter().take(6).map(|(dns, end)| seen(case, dns, *end)).collect();
        finding.fatal = !fell_back(case, &name, finding.span.1);
        finding.info = !case.failed() && !finding.fatal;
        (finding.advice, finding.advice_here) = advice(&case.record.go, &name);
        found.push(finding);
    }
}

/// What to do about a name that is not there, by what has it.
fn advice(go: &Go, name: &str) -> (Option<&'static str>, Option<String>) {
    if let Some(variable) = ways::forward_variable(go, name) {
        return (None, Some(format!("see whether {variable} has the forward proxy's name right")));
    }
    let elsewhere = go.goproxy.is_some() && !ways::is_in_settings(go, name);
    let advice = "see whether that name is right: a module path, a redirect or git has it, neither GOPROXY nor GOSUMDB";
    (elsewhere.then_some(advice), None)
}

/// Name servers that nobody is at.
fn refused(case: &Case<'_>, lookups: &Lookups<'_>, found: &mut Vec<Finding>) {
    let mut servers: BTreeMap<&str, Vec<Query<'_>>> = BTreeMap::new();
    for (dns, end) in case.queries().filter(|(dns, end)| lookups.is_refused(dns, *end)) {
        servers.entry(dns.server.as_str()).or_default().push((dns, end));
    }
    for (server, queries) in servers {
        let names: BTreeSet<&str> = queries.iter().map(|(dns, _)| dns.name.as_str()).collect();
        let unresolved = names.iter().any(|name| !lookups.resolves(name));
        let list = names.into_iter().take(3).collect::<Vec<_>>().join(", ");
        let summary = format!(
            "the name server {server} refused {} for {list}: nothing listens there",
            count(queries.len() as u64, "query")
        );
        let mut finding = finding(case, StallKind::DnsRefused, server, &queries, summary);
        finding.evidence = queries
            .iter()
            .take(6)
            .map(|(dns, _)| Evidence::QueryRefused {
                query: dns.id,
                name: dns.name.clone(),
                qtype: dns.qtype.clone(),
                server: dns.server.clone(),
            })
            .collect();
        finding.fatal = unresolved;
        found.push(finding);
    }
}
