//! Requests that servers refused: without credentials, for good, for now, or for being too many.

use std::collections::BTreeSet;

use model::evidence::{Evidence, RequestSeen};
use model::human::{count, duration};
use model::record::Request;
use model::report::Blame;
use model::stall::StallKind;
use model::time::Ns;

use crate::case::{Case, Span, hull};
use crate::finding::Finding;
use crate::refused::{Group, groups};
use crate::requests::through;
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
    let retry_after_s = requests.iter().filter_map(|request| request.retry_after_s).max();
    let mut paths: BTreeSet<Option<&str>> = BTreeSet::new();
    let again = requests.iter().any(|request| !paths.insert(request.path.as_deref()));
    let asked = retry_after_s.map(|seconds| format!("it asks to wait {}", wait(seconds)));
    let why = match (*limited, asked, again) {
        (true, Some(asked), true) => format!(": {asked}, and go retried at once"),
        (true, None, true) => ": it is asked too much; go asks again at once, without a pause".to_owned(),
        (true, None, false) => ": it is asked too much".to_owned(),
        (_, Some(asked), _) => format!(": {asked}"),
        (false, None, _) => String::new(),
    };
    // What a forward proxy answers in plain HTTP looks as if the host behind it had.
    let forward = through(case, requests);
    let whom_it_is = match (&forward, *status) {
        (None, _) => (*host).to_owned(),
        (Some(forward), 407) => format!("the forward proxy {forward}, asked for {host},"),
        (Some(forward), _) => format!("{host}, or the forward proxy {forward} in between,"),
    };
    let counted = Evidence::RequestsRefused {
        host: (*host).to_owned(),
        status: *status,
        refused,
        requests: all,
        modules: modules_count,
        redirected_by: redirected_by.clone(),
        retry_after_s,
    };
    let some = requests.iter().take(5).map(|request| Evidence::RequestRefused(RequestSeen::from(*request)));
    let server = matches!(status, 500..);
    Finding {
        host: Some((*host).to_owned()),
        cost_ns: case.cost_of_requests(requests.iter().copied(), None),
        summary: format!("{whom_it_is} answered {status} to {of}{whom}{by}{why}"),
        evidence: std::iter::once(counted).chain(some).collect(),
        advice: match (*limited, &forward, *status) {
            (true, ..) => None,
            (false, Some(_), 403) => Some(FORBIDDEN),
            (false, None, 404 | 410) if refused == all && modules_count > 1 => Some(NOTHING),
            (false, _, status) => advice(status, redirected_by.is_some()),
        },
        advice_here: retry_after_s.filter(|_| case.failed() && (*limited || server)).map(|seconds| {
            let else_what = if *limited {
                "fewer jobs at once, a module cache kept between runs, or a proxy of your own"
            } else {
                "if it happens again, look into that server's log, or use another proxy"
            };
            format!("wait {} before you run it again; {else_what}", wait(seconds))
        }),
        remedies: match (limited, server) {
            (true, _) => ways::gateway(case, host, WAITS).into_iter().collect(),
            (false, true) => {
                ways::gateway(case, host, ASKS).into_iter().chain(ways::other_proxy(case, host)).collect()
            }
            (false, false) => Vec::new(),
        },
        fatal: *unanswered,
        blame: (!limited && !server && redirected_by.is_none() && (forward.is_none() || *status == 407))
            .then_some(Blame::Command),
        ..Finding::of(kind, phase, span(case, requests))
    }
}

/// How long a server asks to wait.
fn wait(seconds: u32) -> String {
    duration(Ns::from(seconds) * 1_000_000_000)
}

/// What to do where a forward proxy may be who forbids it.
const FORBIDDEN: &str = "ask the owners of that host and of the forward proxy which of them forbids it; with credentials: a line in ~/.netrc";

/// What to do where a host has nothing of all that it was asked for.
const NOTHING: &str = "see whether GOPROXY has the right host and path: it has nothing of all that it was asked for; else versions in go.mod";

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
