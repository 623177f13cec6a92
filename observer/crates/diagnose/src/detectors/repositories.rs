//! Version control at work: what it was asked for, how often, and what each took.

use std::collections::{BTreeMap, BTreeSet};

use model::evidence::{Evidence, VcsWork};
use model::human::{count, duration};
use model::id::Pid;
use model::operations::{InFlight, Subject};
use model::record::{Class, Connection, Phase, Process, Request};
use model::roles::Role;
use model::stall::StallKind;
use model::time::{Ns, SinceStart};

use super::helpers::ssh_began;
use crate::case::{Case, Span, hull, whole};
use crate::finding::Finding;
use crate::private::matches;
use crate::thresholds as at;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    found.extend(unusable(case));
    found.extend(slow(case));
}

/// go got a module's page, and ended without starting a program for what it names.
fn unusable(case: &Case<'_>) -> Option<Finding> {
    if !case.failed() || case.record.wall_ns.is_none() {
        return None;
    }
    let ended = |request: &Request| request.end_ns.unwrap_or(case.wall.1);
    let pages = case.requests().filter(|request| request.class == Class::GoGet);
    let page = pages.filter(|request| request.status == Some(200)).max_by_key(|request| ended(request))?;
    let (host, path) = (page.authority.clone()?, page.path.as_deref()?);
    // What the page names is looked for at once, with a program or at the module proxy that it names.
    let fetches = |process: &Process| {
        case.roles.life(process.pid, process.start_ns).is_some_and(|l| l.role == Role::Fetcher)
    };
    let goes_on = case.requests().any(|request| request.start_ns > ended(page))
        || case.command.processes.values().any(fetches);
    let over = case.wall.1.saturating_sub(ended(page));
    if goes_on || over > at::SOON_NS {
        return None;
    }
    let module = format!("{host}{}", path.split('?').next().unwrap_or_default());
    let go = &case.record.go;
    let is_private = || go.goprivate.iter().flat_map(|list| list.split(',')).any(|one| matches(one, &module));
    let govcs = match go.govcs.as_deref() {
        Some("") if is_private() => String::new(),
        Some("") => "a kind of repository that GOVCS, which is not set, forbids for public modules (all but git and hg), ".to_owned(),
        Some(set) => format!("a kind of repository that GOVCS={set} forbids, "),
        None => "a kind of repository that GOVCS forbids, ".to_owned(),
    };
    let requests: Vec<&Request> = case.requests().filter(|request| request.class == Class::GoGet).collect();
    let curl = format!(
        "see what the page names: curl 'https://{module}?go-get=1'; then GOVCS (go help vcs), GOPRIVATE for your own, or the path"
    );
    Some(Finding {
        summary: format!(
            "go got the page of {module} (?go-get=1) and started nothing: it names {govcs}one whose program is not installed, or none for this path"
        ),
        evidence: vec![Evidence::RepositoryAsked {
            host: host.clone(),
            what: VcsWork::GoGet,
            times: requests.len() as u64,
            took_ns: together(&requests.iter().map(|one| (one.start_ns, ended(one))).collect::<Vec<_>>()),
        }],
        cost_ns: case.cost_of_requests(requests.iter().copied(), None),
        host: Some(host),
        fatal: true,
        advice_here: Some(curl).filter(|advice| advice.len() <= at::ADVICE),
        ..Finding::of(StallKind::RepositoryUnusable, Phase::Vcs, (page.start_ns, ended(page)))
    })
}

fn slow(case: &Case<'_>) -> Option<Finding> {
    let network = |op: &InFlight<'_>| {
        op.operation.phase == Phase::Vcs && matches!(op.subject, Subject::Helper(_) | Subject::Request(_))
    };
    let cost_ns = case.cost(|op| network(op).then_some(whole(op)));
    if cost_ns < at::WARNING_NS
        || u128::from(cost_ns) * 100 < u128::from(case.wall_ns()) * u128::from(at::SHARE_PERCENT)
    {
        return None;
    }
    // By host, what was done, how often, and when.
    let mut work: BTreeMap<(String, VcsWork), Work> = BTreeMap::new();
    for op in case.in_flight.iter().filter(|op| network(op)) {
        let (host, what, start_ns) = match op.subject {
            Subject::Request(request) => {
                let what = if request.class == Class::GoGet { VcsWork::GoGet } else { VcsWork::Other };
                let host = request.authority.clone().unwrap_or_else(|| "an unknown host".to_owned());
                (host, what, request.start_ns)
            }
            Subject::Helper(connection) => {
                let what = of_process(case, connection.pid, connection.start_ns);
                (case.host(connection), what, connection.start_ns)
            }
            _ => continue,
        };
        let work = work.entry((host, what)).or_default();
        work.spans.push(whole(op));
        work.visits.insert((op.subject.pid(), start_ns));
    }
    let ((host, _), _) = work.iter().max_by_key(|(_, work)| together(&work.spans))?;
    let host = host.clone();
    let parts: Vec<String> = work
        .iter()
        .filter(|((of, _), _)| *of == host)
        .map(|((_, what), work)| {
            let times = count(work.visits.len() as u64, "time");
            format!("{} {times} in {}", what.words(), duration(together(&work.spans)))
        })
        .collect();
    // Of that, until ssh servers greeted.
    let ssh: Vec<(&Connection, Ns)> = case
        .connections()
        .filter(|connection| case.host(connection) == host)
        .filter_map(|connection| Some((connection, greeted_after(connection)?)))
        .filter(|(_, took)| *took >= at::GREETING_NS)
        .collect();
    let greeting_ns: Ns = ssh.iter().map(|(_, took)| *took).sum();
    let all_ns: Ns =
        work.iter().filter(|((of, _), _)| *of == host).map(|(_, work)| together(&work.spans)).sum();
    let greeted = match (ssh.len() as u64, ssh.iter().map(|(_, took)| *took).max()) {
        (times @ 1.., Some(took)) => {
            format!("; its ssh server greeted after {}, {}", duration(took), count(times, "time"))
        }
        _ => String::new(),
    };
    let evidence = work.iter().map(|((host, what), work)| Evidence::RepositoryAsked {
        host: host.clone(),
        what: *what,
        times: work.visits.len() as u64,
        took_ns: together(&work.spans),
    });
    let evidence = evidence.take(8).chain(ssh.iter().take(4).filter_map(|(of, _)| ssh_began(of)));
    let span = hull(work.values().flat_map(|work| &work.spans).copied()).unwrap_or(case.wall);
    Some(Finding {
        cost_ns,
        summary: format!("{host} was asked for {}{greeted}", parts.join(", ")),
        evidence: evidence.collect(),
        advice: Some(advice(case, &work, &host, greeting_ns.saturating_mul(2) >= all_ns)),
        host: Some(host),
        ..Finding::of(StallKind::VcsSlow, Phase::Vcs, span)
    })
}

/// What a host was asked for.
#[derive(Default)]
struct Work {
    /// When; a visit in which somebody else was waited for is in parts
    spans: Vec<Span>,
    /// Each connection or request once: whose, and when it began
    visits: BTreeSet<(Pid, SinceStart)>,
}

/// How long they took, what overlaps counted once.
fn together(spans: &[Span]) -> Ns {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let (mut until, mut took) = (SinceStart::ZERO, 0);
    for (from, to) in spans {
        took += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    took
}

/// How long an ssh server left a connection without its greeting.
fn greeted_after(connection: &Connection) -> Option<Ns> {
    match ssh_began(connection)? {
        Evidence::SshBegan { greeting_ns, .. } => greeting_ns,
        _ => None,
    }
}

/// What to do about a slow repository, by what of it took longest. `greeting`: that its ssh server greeted late.
fn advice(
    case: &Case<'_>,
    work: &BTreeMap<(String, VcsWork), Work>,
    host: &str,
    greeting: bool,
) -> &'static str {
    if greeting {
        return "ask the host's owner why sshd greets late (MaxStartups, load, UseDNS); one connection for all: ControlMaster";
    }
    let took = |what: VcsWork| work.get(&(host.to_owned(), what)).map_or(0, |work| together(&work.spans));
    let others = took(VcsWork::References) + took(VcsWork::Pack) + took(VcsWork::Other);
    if took(VcsWork::LargeFiles) > took(VcsWork::GoGet) + others {
        return "set GIT_LFS_SKIP_SMUDGE=1 for go: what git-lfs fetches changes the module's hash, too; or publish it without large files";
    }
    if took(VcsWork::GoGet) > others {
        return "ask the owner of that host why the page that names the repository (?go-get=1) comes late";
    }
    // A tag alone is what costs least already.
    let fetches =
        case.command.processes.values().filter(|process| process.args.iter().any(|word| word == "fetch"));
    let (mut tags, mut others) = (0, 0);
    for process in fetches {
        let of_tag = process.args.iter().any(|word| word.contains("refs/tags/"));
        (tags, others) = if of_tag { (tags + 1, others) } else { (tags, others + 1) };
    }
    if tags > 0 && others == 0 {
        return "have a module proxy serve it, or keep the module cache between runs: git then is not needed";
    }
    StallKind::VcsSlow.advice()
}

/// What the connection of a helper was for: git's own words for it, in its arguments or its parents'.
fn of_process(case: &Case<'_>, pid: Pid, at_ns: SinceStart) -> VcsWork {
    let mut pid = pid;
    for _ in 0..8 {
        let lived = |process: &&Process| process.pid == pid && process.start_ns <= at_ns;
        let Some(process) = case.command.processes.values().filter(lived).max_by_key(|p| p.start_ns) else {
            return VcsWork::Other;
        };
        if process.comm == "git-lfs" {
            return VcsWork::LargeFiles;
        }
        for argument in &process.args {
            match argument.as_str() {
                "ls-remote" => return VcsWork::References,
                "fetch" | "fetch-pack" | "clone" | "pull" | "update" | "checkout" | "co" | "export"
                | "cat" => {
                    return VcsWork::Pack;
                }
                "identify" | "info" | "log" | "list" | "tags" | "branches" => return VcsWork::References,
                _ => {}
            }
        }
        pid = process.ppid;
    }
    VcsWork::Other
}
