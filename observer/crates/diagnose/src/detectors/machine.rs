//! This machine: how many downloads at once, locks, caches in one folder, its own work.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use model::evidence::{Cache, Evidence, LocalPart, Work};
use model::human::{count, duration, percent};
use model::id::Pid;
use model::operations::{InFlight, Subject};
use model::record::{Class, Connection, Phase, Request, RequestOutcome};
use model::remedy::container::Client;
use model::roles::{Role, program};
use model::stall::StallKind;
use model::time::{Ns, SinceStart};

use crate::case::{Case, Span, hull, whole};
use crate::chain::Chain;
use crate::fallback::{builds, is_well};
use crate::finding::Finding;
use crate::index::ids;
use crate::offer::Offer;
use crate::thresholds as at;
use crate::ways;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    found.extend(concurrency(case));
    found.extend(locks(case));
    found.extend(shared(case));
    let quota = quota(case);
    // What the limit took nobody else did.
    found.extend(local(case).filter(|_| quota.is_none()));
    found.extend(quota);
}

/// The command used up its control group's share of CPU time, and waited for the next period.
fn quota(case: &Case<'_>) -> Option<Finding> {
    let quota = case.record.cpu_quota.filter(|quota| quota.throttled_periods > 0)?;
    let waited = case.split().local?.runqueue_ns;
    let cost_ns = quota.throttled_ns.min(waited);
    if cost_ns < at::QUOTA_NS && cost_ns * 100 < case.wall_ns() * at::WARNING_PERCENT {
        return None;
    }
    let limit = f64::from(quota.limit_millicpus) / 1000.0;
    Some(Finding {
        cost_ns,
        summary: format!(
            "the control group's limit of {limit} CPU held the command up in {} of {} periods, {} in all",
            quota.throttled_periods,
            quota.periods,
            duration(quota.throttled_ns)
        ),
        evidence: vec![Evidence::CpuLimit {
            limit_millicpus: quota.limit_millicpus,
            periods: quota.periods,
            throttled_periods: quota.throttled_periods,
            throttled_ns: quota.throttled_ns,
            gomaxprocs: case.record.go.gomaxprocs,
        }],
        ..Finding::of(StallKind::CpuQuota, Phase::Local, case.wall)
    })
}

/// As many downloads in flight as go allows itself, while this machine had nothing to do.
fn concurrency(case: &Case<'_>) -> Option<Finding> {
    let limit = u64::from(case.record.go.gomaxprocs?);
    // A server that refuses for being asked too much is not to be asked more.
    let refused = |request: &Request| {
        matches!(request.status, Some(429 | 503)) || request.reset_code.as_deref() == Some("REFUSED_STREAM")
    };
    // A prediction is of a whole command, and not of time that a sender's own delays took.
    if super::segments::any(case) {
        return None;
    }
    if case.record.wall_ns.is_none()
        || limit >= at::CONCURRENCY
        || case.failed()
        || case.requests().any(refused)
    {
        return None;
    }
    let download = |class: Class| !matches!(class, Class::Toolchain | Class::GoGet | Class::Other);
    // What never came is another finding's, not a download that others wait for.
    let came = |request: &&Request| download(request.class) && request.outcome == RequestOutcome::Ok;
    let requests: Vec<&Request> = case.requests().filter(came).collect();
    let mut modules: Vec<&str> = requests.iter().filter_map(|r| r.module.as_deref()).collect();
    modules.sort_unstable();
    modules.dedup();
    // Fewer modules than could be asked for at once would not gain what is predicted.
    let possible = at::CONCURRENCY.min(modules.len() as u64);
    if possible <= limit || possible < at::CONCURRENCY_MODULES {
        return None;
    }
    let chain = Chain::new(case.wall.0, limit, case.requests())?;
    let full = full(case, &requests, limit);
    let idle = within(case, &full);
    if is_crowded(case, idle) {
        return None;
    }
    // What the rest of the chain waits for is not had sooner by more at once.
    let gain = chain.saves(at::CONCURRENCY)?.min(idle - idle * limit / possible);
    if gain * 100 < case.wall_ns() * at::CONCURRENCY_GAIN_PERCENT {
        return None;
    }
    Some(Finding {
        cost_ns: gain,
        summary: format!(
            "only {} at once while this machine was idle: {possible} might save {}",
            count(limit, "download"),
            duration(gain)
        ),
        evidence: vec![
            Evidence::DownloadsAllowed { gomaxprocs: limit, modules: modules.len() as u64 },
            Evidence::DownloadsFull { in_flight: limit, idle_ns: idle, wall_ns: case.wall_ns() },
        ],
        remedies: [Offer::new(format!("concurrency={}", at::CONCURRENCY), "downloads 16 modules at once")]
            .into_iter()
            .chain(ahead(case, &requests))
            .collect(),
        advice_here: with_more_at_once(case),
        ..Finding::of(StallKind::ConcurrencyLimited, Phase::Proxy, hull(full.iter().copied())?)
    })
}

/// The command's threads waited for CPUs as long as for answers, or half as long where whoever answers needs the
/// same CPUs: nobody can say that the machine had nothing to do.
fn is_crowded(case: &Case<'_>, idle: Ns) -> bool {
    let Some(local) = &case.record.local else { return false };
    let mut used = case.connections().filter(|connection| connection.requests > 0).peekable();
    let here = used.peek().is_some() && used.all(is_here);
    local.runqueue_ns > idle || here && local.runqueue_ns * 2 > idle
}

/// Its other end is on this machine, as far as addresses say so.
fn is_here(connection: &Connection) -> bool {
    let ip = |address: &str| address.parse::<SocketAddr>().ok().map(|address| address.ip());
    let remote = ip(&connection.remote);
    remote.is_some_and(|remote| remote.is_loopback() || ip(&connection.local) == Some(remote))
}

/// The gateway asks ahead, for a command of which it knows what comes next.
fn ahead(case: &Case<'_>, requests: &[&Request]) -> Option<Offer> {
    let [_, verb, noun, flags @ ..] = case.record.argv.as_slice() else { return None };
    let is_plain = flags.iter().all(|flag| matches!(flag.as_str(), "-x" | "-json" | "-modcacherw"));
    let host = requests.iter().find_map(|request| request.authority.as_deref())?;
    let why = "asks ahead for what go.mod names, whatever GOMAXPROCS is (from `go 1.17` in go.mod on)";
    (verb == "mod" && noun == "download" && is_plain).then(|| ways::gateway(case, host, why)).flatten()
}

/// When as many requests were in flight as there may be downloads, or more.
fn full(case: &Case<'_>, requests: &[&Request], limit: u64) -> Vec<Span> {
    let of = |r: &&Request| [(r.start_ns, true), (r.end_ns.unwrap_or(case.wall.1), false)];
    let mut edges: Vec<(SinceStart, bool)> = requests.iter().flat_map(of).collect();
    edges.sort_unstable();
    let (mut open, mut since, mut full): (u64, SinceStart, Vec<Span>) = (0, SinceStart::ZERO, Vec::new());
    for (time, begins) in edges {
        if begins {
            open += 1;
            if open == limit {
                since = time;
            }
        } else {
            if open == limit && since < time {
                full.push((since, time));
            }
            open = open.saturating_sub(1);
        }
    }
    full
}

/// `GOMAXPROCS=16 go mod tidy`: how to do that with this command.
fn with_more_at_once(case: &Case<'_>) -> Option<String> {
    let line = crate::offer::command_line(case.record)?;
    let line = format!("set GOMAXPROCS for this command: GOMAXPROCS={} {line}", at::CONCURRENCY);
    (line.len() <= at::ADVICE).then_some(line)
}

/// Idle time within spans that are in order.
fn within(case: &Case<'_>, spans: &[Span]) -> Ns {
    spans.iter().map(|span| case.idle_within(*span)).sum()
}

fn locks(case: &Case<'_>) -> Option<Finding> {
    let end = |wait: &model::event::LockWait| wait.end_ns.unwrap_or(case.wall.1);
    let waits: Vec<_> = case
        .command
        .locks
        .values()
        .filter(|wait| end(wait).saturating_sub(wait.start_ns) >= at::LOCK_NS)
        .collect();
    let of = ids(waits.iter().map(|wait| wait.id));
    let longest = waits.iter().max_by_key(|wait| end(wait) - wait.start_ns)?;
    let holder = longest.holder.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"));
    let has = if longest.end_ns.is_none() { "has" } else { "had" };
    let lock = match (&longest.repository, &longest.path) {
        (Some(repository), _) => format!("the module cache's lock of the repository {repository}"),
        (None, Some(path)) => format!("the lock of {path}"),
        (None, None) => "the file lock".to_owned(),
    };
    let meanwhile = longest.holder.and_then(|pid| busy_with(case, pid, (longest.start_ns, end(longest))));
    let meanwhile = meanwhile.map_or_else(String::new, |whom| format!(", and waited for {whom} meanwhile"));
    Some(Finding {
        cost_ns: case.cost(|op| match op.subject {
            Subject::Lock(wait) if of.contains(&wait.id) => Some(whole(op)),
            _ => None,
        }),
        summary: format!("{holder} {has} {lock}{meanwhile}"),
        evidence: waits
            .iter()
            .take(5)
            .map(|wait| Evidence::LockWait {
                pid: wait.pid,
                path: wait.path.clone(),
                repository: wait.repository.clone(),
                holder_pid: wait.holder,
                waited_ns: end(wait) - wait.start_ns,
            })
            .collect(),
        ..Finding::of(
            StallKind::CacheLockWait,
            Phase::Lock,
            hull(waits.iter().map(|wait| (wait.start_ns, end(wait))))?,
        )
    })
}

/// Whom that process, with all that it started, waited for longest within a span.
fn busy_with(case: &Case<'_>, pid: Pid, span: Span) -> Option<String> {
    let life = case.roles.life(pid, span.0).filter(|life| life.process.pid == pid)?;
    let tree: Vec<Pid> = case.roles.tree(life.process).iter().map(|life| life.process.pid).collect();
    let within =
        |op: &InFlight<'_>| op.operation.end_ns.min(span.1).saturating_sub(op.operation.start_ns.max(span.0));
    let network = case.in_flight.iter().filter(|op| !op.is_child() && tree.contains(&op.subject.pid()));
    let longest = network.filter(|op| op.operation.host.is_some()).max_by_key(|op| within(op))?;
    let much = within(longest) * 4 >= span.1 - span.0;
    longest.operation.host.filter(|_| much).map(str::to_owned)
}

fn shared(case: &Case<'_>) -> Option<Finding> {
    let go = &case.record.go;
    let trim = |path: &str| path.trim_end_matches('/').to_owned();
    let (modules, builds) = (trim(go.gomodcache.as_deref()?), trim(go.gocache.as_deref()?));
    if modules.is_empty() || !(modules == builds || go.caches_shared == Some(true)) {
        return None;
    }
    Some(Finding {
        summary: "GOCACHE and GOMODCACHE are one folder: cleaning the modules deletes the builds, too"
            .to_owned(),
        evidence: vec![
            Evidence::Folder { name: Cache::Modules, path: modules },
            Evidence::Folder { name: Cache::Builds, path: builds },
        ],
        info: true,
        ..Finding::of(StallKind::CacheShared, Phase::Local, case.wall)
    })
}

/// What the CPU was needed for.
fn work(case: &Case<'_>) -> Option<Work> {
    let unpacks = case.requests().any(|request| request.class == Class::Zip && is_well(request));
    let compiles = case.command.processes.values().any(builds);
    match (unpacks, compiles) {
        (true, true) => Some(Work::Both),
        (true, false) => Some(Work::Unpacking),
        (false, true) => Some(Work::Compiling),
        (false, false) => None,
    }
}

/// The program that took most of the CPU time, where it is none of go's own: what git, ssh or another child
/// runs.
fn others<'a>(case: &Case<'a>, of_ns: Ns) -> Option<(&'a str, Ns)> {
    let mut programs: BTreeMap<&str, Ns> = BTreeMap::new();
    for life in case.roles.all().filter(|life| !matches!(life.role, Role::Go | Role::Tool | Role::Wrapper)) {
        *programs.entry(program(life.process)).or_default() += life.process.cpu_ns.unwrap_or(0);
    }
    let most = programs.into_iter().max_by_key(|(_, cpu_ns)| *cpu_ns)?;
    (most.1 > of_ns / 2).then_some(most)
}

/// The forward proxy that a program of that name waited for, and how long. One that asks the kernel again and
/// again whether there is an answer is never seen to wait.
fn polled<'a>(case: &'a Case<'_>, name: &str) -> Option<(&'a str, Ns)> {
    let is_its = |op: &&InFlight<'_>| {
        let life = case.roles.life(op.subject.pid(), op.operation.start_ns);
        matches!(op.subject, Subject::Tunnel(_)) && life.is_some_and(|life| program(life.process) == name)
    };
    let tunnels = || case.in_flight.iter().filter(is_its);
    let took = |op: &InFlight<'_>| op.operation.end_ns - op.operation.start_ns;
    let longest = tunnels().max_by_key(|op| took(op))?;
    Some((longest.operation.host?, tunnels().map(took).sum()))
}

/// A container engine whose own work most of the time was: go commands ran less than half of it. In a sentence,
/// and what is to be done: nothing of go's.
fn engine(case: &Case<'_>) -> Option<(String, String)> {
    let words: Vec<OsString> = case.record.argv.iter().map(OsString::from).collect();
    let client = Client::of(&words)?;
    let gos = case.roles.all().filter(|life| life.role == Role::Go).map(|life| life.process);
    let mut spans: Vec<Span> = gos.map(|go| (go.start_ns, go.end_ns.unwrap_or(case.wall.1))).collect();
    spans.sort_unstable();
    let (mut ran, mut until) = (0, SinceStart::ZERO);
    for (start, end) in spans {
        ran += end.saturating_sub(start.max(until));
        until = until.max(end);
    }
    (ran * 2 < case.wall_ns()).then(|| {
        let (program, rest) = (client.program(), duration(case.wall_ns().saturating_sub(ran)));
        (
            format!("go commands ran for {} of {}; the other {rest} were {program}'s own work: it makes, copies and commits layers", duration(ran), duration(case.wall_ns())),
            format!("see what {program} copies: fewer and smaller layers, a faster storage driver; no setting of go's changes it"),
        )
    })
}

fn local(case: &Case<'_>) -> Option<Finding> {
    case.record.wall_ns?;
    // Where time went is no answer to why it failed.
    if case.failed() {
        return None;
    }
    let share = case.split().phase(Phase::Local).blocked_ns;
    // A command that waited for nothing at all has nothing to be compared with.
    if share * 100 < case.wall_ns() * at::LOCAL_PERCENT || share == case.wall_ns() {
        return None;
    }
    let local = case.split().local?;
    let parts = [
        (local.cpu_ns, LocalPart::Cpu),
        (local.runqueue_ns, LocalPart::Runqueue),
        (local.disk_ns, LocalPart::Disk),
    ];
    let work = work(case);
    let other = others(case, local.cpu_ns);
    let polled = other.and_then(|(name, _)| polled(case, name)).filter(|(_, took_ns)| took_ns * 2 >= share);
    let others = other.map_or_else(String::new, |(name, cpu_ns)| {
        let whom = polled.map_or_else(String::new, |(proxy, took_ns)| {
            format!(", which polled while the forward proxy {proxy} took {} to answer", duration(took_ns))
        });
        format!(
            "; {} of the {} on a CPU were {name}'s, not go's{whom}",
            duration(cpu_ns),
            duration(local.cpu_ns)
        )
    });
    let work = if others.is_empty() { work } else { None };
    let most = parts.iter().max_by_key(|part| part.0)?;
    let summary = format!(
        "{} of the time was this machine's own work, most of it {}{others}",
        percent(share, case.wall_ns()),
        most.1.words(work)
    );
    let engine = engine(case);
    Some(Finding {
        cost_ns: share,
        summary: engine.as_ref().map_or(summary, |(summary, _)| summary.clone()),
        advice_here: engine.map(|(_, advice)| advice),
        evidence: parts.map(|(took_ns, part)| Evidence::LocalTime { part, took_ns, work }).to_vec(),
        // What polls waits for somebody.
        info: polled.is_none(),
        host: polled.map(|(proxy, _)| proxy.to_owned()),
        advice: polled.map(|_| {
            "ask the forward proxy's owner why CONNECT is slow; a ProxyCommand that sleeps until it is answered: nc -X connect -x PROXY %h %p"
        }),
        ..Finding::of(StallKind::LocalBound, Phase::Local, case.wall)
    })
}
