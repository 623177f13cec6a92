//! Requests that servers refused: without credentials, for good, for now, or for being too many.

use std::collections::BTreeSet;

use model::evidence::{Evidence, RequestSeen};
use model::human::count;
use model::record::Request;
use model::report::Blame;
use model::stall::StallKind;

use crate::case::{Case, Span, hull};
use crate::finding::Finding;
use crate::refused::{Group, groups};
use crate::ways;

/// What the gateway does about a server that has a bad moment.
const ASKS: &str = "asks again by itself, with pauses, before go gets to see such a status";
/// What it does about one that is asked too much.
const WAITS: &str = "pauses before it asks again, as Retry-After says, up to 30 s";

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    found.extend(groups(case).iter().map(|group| refused(case, group)));
}

fn refused(case: &Case<'_>, group: &Group<'_>) -> Finding {
    let Group { host, status, limited, requests, redirects, unanswered } = group;
    let phase = requests[0].class.phase();
    let modules: BTreeSet<String> = requests.iter().filter_map(|request| module(request)).collect();
    let of_host = |request: &&Request| request.authority.as_deref() == Some(*host);
    let all = case.requests().filter(of_host).count() as u64;
    let by: BTreeSet<&str> =
        redirects.iter().flatten().filter_map(|from| from.authority.as_deref()).collect();
    let redirected_by = (!by.is_empty()).then(|| by.into_iter().collect::<Vec<_>>().join(", "));
    let kind = if *limited { StallKind::RateLimited } else { StallKind::RequestRefused };
    let (refused, modules_count) = (requests.len() as u64, modules.len() as u64);
    let of = if refused == all && all > 1 { format!("all {all} requests") } else { of_all(refused, all) };
    let whom = match modules.len() {
        0 => String::new(),
        1 | 2 => format!(" ({})", modules.into_iter().collect::<Vec<_>>().join(", ")),
        n => format!(" ({})", count(n as u64, "module")),
    };
    let by = redirected_by.as_ref().map_or_else(String::new, |other| format!(", sent there by {other}"));
    let why = if *limited { ": it is asked too much; go asks again at once, without a pause" } else { "" };
    let counted = Evidence::RequestsRefused {
        host: (*host).to_owned(),
        status: *status,
        refused,
        requests: all,
        modules: modules_count,
        redirected_by: redirected_by.clone(),
    };
    let some = requests.iter().take(5).map(|request| Evidence::RequestRefused(RequestSeen::from(*request)));
    let again = matches!(status, 500..);
    Finding {
        host: Some((*host).to_owned()),
        cost_ns: case.cost_of_requests(requests.iter().copied(), None),
        summary: format!("{host} answered {status} to {of}{whom}{by}{why}"),
        evidence: std::iter::once(counted).chain(some).collect(),
        advice: if *limited { None } else { advice(*status, redirected_by.is_some()) },
        remedies: match (limited, again) {
            (true, _) => ways::gateway(case, host, WAITS).into_iter().collect(),
            (false, true) => {
                ways::gateway(case, host, ASKS).into_iter().chain(ways::other_proxy(case, host)).collect()
            }
            (false, false) => Vec::new(),
        },
        fatal: *unanswered,
        blame: (!limited && !again && redirected_by.is_none()).then_some(Blame::Command),
        ..Finding::of(kind, phase, span(case, requests))
    }
}

fn of_all(refused: u64, all: u64) -> String {
    format!("{refused} of {}", count(all, "request"))
}

/// Module and version, as far as they are known.
fn module(request: &Request) -> Option<String> {
    let module = request.module.as_deref()?;
    Some(
        request.version.as_deref().map_or_else(|| module.to_owned(), |version| format!("{module}@{version}")),
    )
}

fn span(case: &Case<'_>, requests: &[&Request]) -> Span {
    hull(requests.iter().map(|r| (r.start_ns, r.end_ns.unwrap_or(case.wall.1)))).unwrap_or(case.wall)
}

/// What to do about a status.
const fn advice(status: u16, redirected: bool) -> Option<&'static str> {
    Some(match status {
        400..500 if redirected => {
            "ask the owner of the proxy that sent go there: its storage refuses what it hands out"
        }
        401 => {
            "give go a user and password for that host: a line in ~/.netrc, or GOAUTH; a token may have run out"
        }
        403 => "ask that host's owner for access; with credentials: a line in ~/.netrc, or GOAUTH",
        404 | 410 => {
            "see whether module and version are right in go.mod; a private module: append its prefix to GOPRIVATE"
        }
        407 => "put user and password of the forward proxy where HTTPS_PROXY or HTTP_PROXY names it",
        500.. => "run it again; if it happens again, look into that server's log, or use another proxy",
        _ => return None,
    })
}
