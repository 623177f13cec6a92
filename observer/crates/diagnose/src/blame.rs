//! Why a command failed, by what was seen of it: the network, this machine, or what it was asked to do.
//! In: a command and what was found. Out: whom to blame, and one sentence with the evidence. What is not
//! known is said to be unknown.

use std::net::IpAddr;

use model::human::duration;
use model::operations::is_go;
use model::record::{Connection, ConnectionOutcome, Process, Request, RequestOutcome, Side};
use model::report::{Blame, Severity};
use model::time::{Ns, SinceStart};
use model::words;

use crate::Diagnosed;
use crate::case::Case;
use crate::fallback::{Owners, builds, went_on};
use crate::hosts::{authority, bare};

/// A wait that ended so shortly before the command did was going on.
const GOING_ON_NS: Ns = 200_000_000;
/// Bytes on a connection without a request that was seen: those that it carried were not.
const UNSEEN: u64 = 20_000;

/// Whom to blame, and why; `None` of a command that did not fail, or still runs.
pub(crate) fn blame(case: &Case<'_>, found: &[Diagnosed]) -> Option<(Blame, String)> {
    if !case.failed() || case.record.wall_ns.is_none() {
        return None;
    }
    Some(
        cut_short(case, found)
            .or_else(|| by_finding(found))
            .or_else(|| {
                from_outside(case).map(|end| (Blame::Unknown, format!("{end}, and nothing was seen to hang")))
            })
            .or_else(|| off(case))
            .or_else(|| by_build(case))
            .unwrap_or_else(|| by_what_worked(case)),
    )
}

/// What ended it.
fn by_finding(found: &[Diagnosed]) -> Option<(Blame, String)> {
    let first = found.iter().find(|found| found.stall.fatal)?;
    Some((first.blame, first.stall.summary.clone()))
}

/// Somebody ended it while it waited.
fn cut_short(case: &Case<'_>, found: &[Diagnosed]) -> Option<(Blame, String)> {
    let end = from_outside(case)?;
    let wait = found
        .iter()
        .find(|found| found.stall.severity > Severity::Info && lasted_to_the_end(case, found.stall.end_ns))?;
    Some((wait.blame, format!("{end} while this went on: {}", wait.stall.summary)))
}

/// It was going on when the command ended.
pub(crate) fn lasted_to_the_end(case: &Case<'_>, end_ns: SinceStart) -> bool {
    end_ns.saturating_add(GOING_ON_NS) >= case.wall.1
}

/// That somebody else ended it, in words.
pub(crate) fn from_outside(case: &Case<'_>) -> Option<String> {
    let record = case.record;
    let program = record.argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program));
    let after = duration(case.wall_ns());
    match (record.signal, record.exit_code) {
        (Some(signal), _) => Some(format!("signal {signal} ended it after {after}")),
        (None, Some(124)) if program == "timeout" => Some(format!("timeout ended it after {after}")),
        (None, Some(code @ (130 | 137 | 143))) => {
            Some(format!("signal {} ended it after {after}", code - 128))
        }
        _ => None,
    }
}

/// It is not allowed to download, and nothing shows that it had no need to.
fn off(case: &Case<'_>) -> Option<(Blame, String)> {
    let proxies = case.record.go.goproxy.as_deref()?;
    let none = case.requests().next().is_none() && case.connections().next().is_none();
    let off = proxies.split([',', '|']).next().is_some_and(|first| first.trim() == "off");
    (off && none && !went_on(case, case.wall.0)).then(|| {
        let why = "GOPROXY=off forbids every download: a module that it needs is not in the module cache";
        (Blame::Command, why.to_owned())
    })
}

/// A compiler, a linker, vet or a test ended with an error.
fn by_build(case: &Case<'_>) -> Option<(Blame, String)> {
    let failed = |process: &&Process| process.exit_code.is_some_and(|code| code != 0);
    let all = || case.command.processes.values().filter(failed);
    let tool = all().filter(|process| builds(process)).max_by_key(|process| process.end_ns);
    let test = all()
        .filter(|process| process.comm.strip_suffix(".test").is_some())
        .max_by_key(|process| process.end_ns);
    let process = tool.or(test)?;
    let how = words::ending(true, process.exit_code, None);
    let blame =
        if tool.is_none() && any_failed(case, false).is_some() { Blame::Unknown } else { Blame::Command };
    Some((blame, format!("{} ended with {how}: what it was given, not the network", process.comm)))
}

/// Neither a finding nor a process says why: the network is not to blame where all that was asked of it
/// was answered.
fn by_what_worked(case: &Case<'_>) -> (Blame, String) {
    if let Some(what) = any_failed(case, true) {
        return (Blame::Unknown, format!("{what}, and nothing shows whether that ended it"));
    }
    let helper = |process: &&Process| {
        process.exit_code.is_some_and(|code| code != 0)
            && process.pid != case.record.pid
            && !is_go(&process.comm)
            && process.comm != "timeout"
    };
    if let Some(process) = case.command.processes.values().filter(helper).max_by_key(|process| process.end_ns)
    {
        let how = words::ending(true, process.exit_code, None);
        return (
            Blame::Unknown,
            format!("{} ended with {how}; no connection that was seen failed", process.comm),
        );
    }
    let unseen = |connection: &&Connection| {
        connection.requests == 0 && connection.bytes_received.is_some_and(|bytes| bytes > UNSEEN)
    };
    if case.requests().next().is_none() && case.connections().next().is_some() {
        return (Blame::Unknown, "no request was seen on the connections that it made".to_owned());
    }
    if !case.command.gaps.is_empty() || case.connections().any(|connection| unseen(&connection)) {
        return (Blame::Unknown, "not all that it asked of the network was seen".to_owned());
    }
    if case.connections().next().is_none() && (has_address(case) || has_proxys_address(case)) {
        let why = "it knew an address and no connection to it was seen: what a sandbox forbids (seccomp, Landlock, \
                   a control group's rules) fails at once, without a trace";
        return (Blame::Unknown, why.to_owned());
    }
    let why = if case.queries().next().is_none() && case.connections().next().is_none() {
        "it asked nothing of the network"
    } else {
        "every lookup, connection and request that it made was answered"
    };
    (Blame::Command, why.to_owned())
}

/// Whether a name that go itself asked for has an address.
fn has_address(case: &Case<'_>) -> bool {
    let owners = Owners::new(case);
    case.queries().any(|(dns, _)| {
        matches!(dns.qtype.as_str(), "A" | "AAAA" | "A/AAAA")
            && dns.answers.is_some_and(|answers| answers > 0)
            && owners.is_own(dns.pid, dns.start_ns)
    })
}

/// Whether the settings name a forward proxy by its address: then nobody need be asked for it.
fn has_proxys_address(case: &Case<'_>) -> bool {
    let go = &case.record.go;
    let is_address =
        |value: &String| bare(authority(value)).trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    [&go.https_proxy, &go.http_proxy, &go.all_proxy].into_iter().flatten().any(is_address)
}

/// Another connection to the same host carried requests.
fn works(case: &Case<'_>, connection: &Connection) -> bool {
    let host = case.host(connection);
    case.connections().any(|other| other.requests > 0 && !other.tls_failed && case.host(other) == host)
}

/// The first thing that failed on the network; `own`: of go commands alone.
fn any_failed(case: &Case<'_>, own: bool) -> Option<String> {
    let owners = Owners::new(case);
    let mine = |pid, at| !own || owners.is_own(pid, at);
    let query = case.queries().map(|(dns, _)| dns).find(|dns| {
        mine(dns.pid, dns.start_ns)
            && !dns.rcode.as_deref().is_some_and(|rcode| matches!(rcode, "NOERROR" | "NXDOMAIN"))
    });
    let connection = case.connections().find(|connection| {
        let failed = matches!(
            connection.outcome,
            ConnectionOutcome::Refused
                | ConnectionOutcome::TimedOut
                | ConnectionOutcome::Unreachable
                | ConnectionOutcome::Reset
        );
        // A dial that go gave up because another one was there first is no failure.
        let given_up = connection.closed_by == Some(Side::Here) && works(case, connection);
        mine(connection.pid, connection.start_ns) && (failed || connection.tls_failed && !given_up)
    });
    let request = case.requests().find(|request: &&Request| {
        mine(request.pid, request.start_ns)
            && matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset)
            && !matches!(request.status, Some(404 | 410))
    });
    query
        .map(|dns| format!("a lookup of {} failed", dns.name))
        .or_else(|| connection.map(|connection| format!("a connection to {} failed", case.host(connection))))
        .or_else(|| {
            request.map(|request| {
                format!("a request to {} failed", request.authority.as_deref().unwrap_or("a host"))
            })
        })
}
