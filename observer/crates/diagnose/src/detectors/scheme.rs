//! Ports that speak TLS where they were asked in plain text, or the other way around.

use std::collections::BTreeMap;

use model::evidence::Evidence;
use model::human::count;
use model::operations::Subject;
use model::record::{AnsweredIn, Connection, Go, Phase};
use model::stall::StallKind;

use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::hosts::authority;
use crate::index::ids;
use crate::requests::{phase_of, seen};
use crate::{hosts, schemes, thresholds as at, ways};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut by: BTreeMap<(String, bool), Vec<&Connection>> = BTreeMap::new();
    for connection in case.connections() {
        if let Some(spoken) = connection.answered_in {
            let plain = spoken != AnsweredIn::Tls;
            by.entry((case.remote_host(connection), plain)).or_default().push(connection);
        }
    }
    found.extend(by.into_iter().map(|((host, plain), connections)| wrong(case, &host, plain, &connections)));
    bad_requests(case, found);
}

fn wrong(case: &Case<'_>, host: &str, plain: bool, connections: &[&Connection]) -> Finding {
    let of = ids(connections.iter().map(|connection| connection.id));
    let first = connections[0];
    let phase = match (plain, &first.tunnel) {
        (true, _) => Phase::Tls,
        (false, Some(_)) => Phase::Tunnel,
        (false, None) => phase_of(case.index.requests(first.id)),
    };
    let (asked, spoken) = match first.answered_in {
        Some(AnsweredIn::Tls) => ("plain HTTP", "TLS"),
        Some(AnsweredIn::Http) => ("TLS", "plain HTTP"),
        _ => ("TLS", "plain text"),
    };
    let times = count(connections.len() as u64, "time");
    Finding {
        host: Some(host.to_owned()),
        cost_ns: case.cost(|op| match op.subject {
            Subject::Tls(connection) | Subject::Tunnel(connection) if of.contains(&connection.id) => {
                Some(whole(op))
            }
            Subject::Request(request) if request.connection.is_some_and(|id| of.contains(&id)) => {
                Some(whole(op))
            }
            _ => None,
        }),
        summary: format!(
            "{host} was asked in {asked} and answered in {spoken}, {times}: the scheme is wrong"
        ),
        evidence: connections
            .iter()
            .take(4)
            .filter_map(|connection| {
                Some(Evidence::AnsweredIn {
                    connection: connection.id,
                    remote: connection.remote.clone(),
                    answered_in: connection.answered_in?,
                })
            })
            .collect(),
        advice_here: setting(&case.record.go, host, &first.remote, plain),
        fatal: true,
        explains: connections.iter().flat_map(|c| case.index.requests(c.id)).map(|r| r.id).collect(),
        ..Finding::of(
            StallKind::WrongScheme,
            phase,
            hull(connections.iter().map(|c| (c.start_ns, c.end_ns.unwrap_or(case.wall.1))))
                .unwrap_or(case.wall),
        )
    }
}

/// The setting that names that host, and what has to stand there.
fn setting(go: &Go, host: &str, remote: &str, plain: bool) -> Option<String> {
    let (scheme, other) = if plain { ("http", "TLS") } else { ("https", "plain HTTP") };
    let variable = ways::forward_variable(go, host).or_else(|| ways::forward_variable(go, remote));
    let (variable, list) = match variable {
        Some("HTTPS_PROXY") => ("HTTPS_PROXY", &go.https_proxy),
        Some("HTTP_PROXY") => ("HTTP_PROXY", &go.http_proxy),
        Some(_) => ("ALL_PROXY", &go.all_proxy),
        None => ("GOPROXY", &go.goproxy),
    };
    let mut all = list.as_deref()?.split([',', '|']).map(authority).filter(|named| !named.is_empty());
    let same = |named: &&str| [host, remote].iter().any(|one| hosts::bare(named) == hosts::bare(one));
    let named = all.find(same)?;
    let text = format!("write {scheme}://{named} in {variable}, or name the port there that speaks {other}");
    (text.len() <= at::ADVICE).then_some(text)
}

/// A server that expects TLS and says so in plain text.
fn bad_requests(case: &Case<'_>, found: &mut Vec<Finding>) {
    for (host, requests) in schemes::bad_requests(case) {
        let span = hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1))));
        found.push(Finding {
            host: Some(host.to_owned()),
            cost_ns: case.cost_of_requests(requests.iter().copied(), None),
            summary: format!(
                "{host} answered 400 to all {} in plain HTTP, as a port does that expects TLS",
                count(requests.len() as u64, "request")
            ),
            evidence: requests.iter().take(4).map(|request| seen(request)).collect(),
            advice_here: setting(&case.record.go, host, host, false),
            fatal: true,
            explains: requests.iter().map(|request| request.id).collect(),
            ..Finding::of(StallKind::WrongScheme, phase_of(&requests), span.unwrap_or(case.wall))
        });
    }
}
