//! This machine: how many downloads at once, locks, caches in one folder, its own work.

use std::net::SocketAddr;

use model::evidence::{Cache, Evidence, LocalPart, Work};
use model::human::{count, duration, percent};
use model::operations::Subject;
use model::record::{Class, Connection, Phase, Request, RequestOutcome};
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
    let lock = longest
        .path
        .as_deref()
        .map_or_else(|| "the file lock".to_owned(), |path| format!("the lock of {path}"));
    Some(Finding {
        cost_ns: case.cost(|op| match op.subject {
            Subject::Lock(wait) if of.contains(&wait.id) => Some(whole(op)),
            _ => None,
        }),
        summary: format!("{holder} {has} {lock}"),
        evidence: waits
            .iter()
            .take(5)
            .map(|wait| Evidence::LockWait {
                pid: wait.pid,
                path: wait.path.clone(),
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
    let most = parts.iter().max_by_key(|part| part.0)?;
    Some(Finding {
        cost_ns: share,
        summary: format!(
            "{} of the time was this machine's own work, most of it {}",
            percent(share, case.wall_ns()),
            most.1.words(work)
        ),
        evidence: parts.map(|(took_ns, part)| Evidence::LocalTime { part, took_ns, work }).to_vec(),
        info: true,
        ..Finding::of(StallKind::LocalBound, Phase::Local, case.wall)
    })
}
