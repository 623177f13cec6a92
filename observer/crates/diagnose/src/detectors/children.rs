//! Children with a life of their own: tests and other programs that wait, and those that failed and ended
//! the command with it.

use std::collections::BTreeMap;

use model::human::{count, duration};
use model::operations::{Subject, is_go};
use model::record::{Connection, Phase, Process, Side};
use model::report::Blame;
use model::roles::{Life, Role, is_test, package, program, short, subcommand};
use model::stall::StallKind;

use super::helpers::{HOST_KEY, is_silent_helper, ssh_began};
use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::processes::{Group, groups, ran};
use crate::thresholds as at;

/// What git is asked that needs its host: others fail in healthy commands, to see what is there.
const NETWORK: [&str; 5] = ["ls-remote", "fetch", "clone", "pull", "submodule"];

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    // Where no go command ran nothing waited beside it.
    let any_go = case.command.processes.values().any(|process| is_go(&process.comm));
    let groups = if any_go { groups(case, Phase::Child) } else { Vec::new() };
    found.extend(groups.iter().filter_map(|group| slow(case, group)));
    failed(case, found);
}

fn slow(case: &Case<'_>, group: &Group<'_>) -> Option<Finding> {
    let (cost_ns, longest) = (group.cost(case), group.longest()?);
    if cost_ns < at::CHILD_NS || is_silent_helper(case, group) {
        return None;
    }
    let name = program(longest.helper);
    let who = match name.strip_suffix(".test") {
        Some(stem) => {
            let of =
                of_package(case, stem).map_or_else(String::new, |package| format!(" of package {package}"));
            format!("the test binary {name}{of}")
        }
        None if case.roles.is_of_go(longest.child.process) => format!("{name}, run by go,"),
        None => format!("{name}, which runs beside go,"),
    };
    let hosts = group.hosts(case);
    let (host, whom) = match hosts.first() {
        Some((host, took)) if took * 2 >= cost_ns => {
            (Some(host.clone()), format!(", most of it with {host}: its own requests, not go's"))
        }
        Some((host, took)) => (None, format!(", {} of that with {host}", duration(*took))),
        None => (None, ", and talked to nobody that was seen".to_owned()),
    };
    let times = match group.waits.len() {
        1 => String::new(),
        many => format!(" in {}", count(many as u64, "run")),
    };
    Some(Finding {
        summary: format!("{who} waited {}{times}{whom}", duration(cost_ns)),
        evidence: group.evidence(case),
        host,
        cost_ns,
        about: u64::from(longest.helper.pid),
        ..Finding::of(StallKind::ChildSlow, Phase::Child, group.span())
    })
}

/// The package that a test binary is of: the one of that name that was compiled, where it is one.
fn of_package<'a>(case: &Case<'a>, stem: &str) -> Option<&'a str> {
    let is_it = |path: &&str| path.rsplit('/').next() == Some(stem);
    let mut of: Vec<&str> = case.command.processes.values().filter_map(package).filter(is_it).collect();
    of.sort_unstable();
    of.dedup();
    match of[..] {
        [one] => Some(one),
        _ => None,
    }
}

fn failed(case: &Case<'_>, found: &mut Vec<Finding>) {
    if !case.failed() || case.record.wall_ns.is_none() {
        return;
    }
    let mut groups: BTreeMap<(String, i32), Vec<(&Process, Role)>> = BTreeMap::new();
    for life in case.roles.all() {
        let process = life.process;
        let Some(code) = process.exit_code.filter(|code| *code != 0) else { continue };
        if life.role.waited_for().is_some() && case.roles.is_of_go(process) && ended_it(case, process) {
            groups.entry((short(process), code)).or_default().push((process, life.role));
        }
    }
    // What failed for want of its host ended the command, not what was asked of this machine beside it.
    let asks = |of: &[(&Process, Role)]| of.iter().any(|(process, _)| asks_host(process));
    if groups.values().any(|of| asks(of)) {
        groups.retain(|_, of| asks(of) || of.iter().any(|(_, role)| *role != Role::Fetcher));
    }
    for ((name, code), of) in groups {
        let Some(((first, role), phase)) = of.first().and_then(|first| Some((first, first.1.waited_for()?)))
        else {
            continue;
        };
        let host = host(case, first);
        let whom = host.as_deref().map_or_else(String::new, |host| format!(" for {host}"));
        let how = match code {
            129..=159 => format!("was ended by signal {}", code - 128),
            code => format!("ended with status {code}"),
        };
        let times = match of.len() {
            1 => String::new(),
            many => format!(", {}", count(many as u64, "time")),
        };
        let is_one = |process: &Process| of.iter().any(|(one, _)| *one == process);
        let ssh = (*role == Role::Fetcher).then(|| ssh_of(case, first)).flatten();
        let answered = *role == Role::Fetcher && ssh.is_none() && is_answered(case, first);
        let because = match ssh {
            None if answered => ", after its host had answered",
            Some(Refused::HostKey) => ", for ssh did not accept the host key (it ended with 255)",
            Some(Refused::Login) => ", for ssh ended with 255 behind the key exchange: the login was refused",
            None => "",
        };
        let advice = match role {
            Role::Fetcher if ssh == Some(Refused::HostKey) => HOST_KEY,
            Role::Fetcher if ssh == Some(Refused::Login) => {
                "see which key ssh offers, and whether the host knows it, as the same user: ssh -v HOST"
            }
            Role::Fetcher if answered => ANSWERED,
            Role::Fetcher => "run that command by hand as the same user: what it prints says why",
            Role::Credentials => "run that helper by hand as the same user: what it prints says why",
            _ => "read what it printed: it failed by itself, go only ran it",
        };
        let blame = match role {
            Role::Fetcher => by_network(case, first),
            _ => Blame::Command,
        };
        found.push(Finding {
            blame: Some(blame),
            cost_ns: case.cost(|op| match op.subject {
                Subject::Child(child) if is_one(child.process) => Some(whole(op)),
                _ => None,
            }),
            summary: format!("{name}{whom} {how}{times}{because}, and the command failed with it"),
            evidence: of
                .iter()
                .take(4)
                .map(|(process, _)| ran(process, case.wall.1))
                .chain(ssh.and_then(|_| ssh_began(ssh_connection(case, first)?)))
                .collect(),
            host,
            fatal: true,
            advice: Some(advice),
            about: u64::from(first.pid),
            ..Finding::of(
                StallKind::ChildFailed,
                phase,
                hull(of.iter().map(|(one, _)| (one.start_ns, one.end_ns.unwrap_or(case.wall.1))))
                    .unwrap_or(case.wall),
            )
        });
    }
}

/// What to do about a git whose host answered: over TLS its status is not seen.
const ANSWERED: &str = "GIT_TERMINAL_PROMPT=0 git ls-remote URL says which: 401, 403: credentials (a token in .netrc, expired?); 404: no such repository, or hidden";

/// Over http its host answered, and nothing of the network failed.
fn is_answered(case: &Case<'_>, process: &Process) -> bool {
    let tree = case.roles.tree(process);
    let is_http = |pid| {
        let mut of = tree.iter().filter(|life| life.process.pid == pid);
        of.any(|life| life.process.comm.starts_with("git-remote-http"))
    };
    let got = |of: &Connection| of.bytes_received.is_some_and(|bytes| bytes > 0);
    asks_host(process)
        && by_network(case, process) == Blame::Command
        && case.connections().any(|of| is_http(of.pid) && got(of))
}

/// What an ssh that ended with 255 was refused, or refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    HostKey,
    Login,
}

/// The last connection of an ssh below that process that ended with 255, which says that ssh itself failed.
fn ssh_connection<'a>(case: &Case<'a>, process: &Process) -> Option<&'a Connection> {
    let tree = case.roles.tree(process);
    let failed = |life: &&Life<'_>| life.process.comm == "ssh" && life.process.exit_code == Some(255);
    let ssh = tree.iter().rfind(failed)?.process.pid;
    case.connections().filter(|of| of.pid == ssh && of.ssh.is_some()).last()
}

fn ssh_of(case: &Case<'_>, process: &Process) -> Option<Refused> {
    let connection = ssh_connection(case, process)?;
    let ssh = connection.ssh?;
    // Who was cut off was refused nothing.
    let here = connection.closed_by != Some(Side::Peer);
    match (ssh.host_key_ns, ssh.accepted_ns) {
        (Some(_), None) if here => Some(Refused::HostKey),
        (_, Some(_)) => Some(Refused::Login),
        _ => None,
    }
}

/// Whom to blame for a git that failed: it knows more than it is seen to, so that only what is seen counts.
fn by_network(case: &Case<'_>, process: &Process) -> Blame {
    let tree = case.roles.tree(process);
    let is_of = |pid| tree.iter().any(|life| life.process.pid == pid);
    let network = case.in_flight.iter().filter(|op| !op.is_child() && is_of(op.subject.pid()));
    let (mut any, mut failed) = (false, false);
    for op in network.filter(|op| !matches!(op.subject, Subject::Dns(_))) {
        any = true;
        failed |= op.operation.error;
    }
    match (any, failed) {
        (_, true) => Blame::Network,
        // It was answered.
        (true, false) => Blame::Command,
        (false, false) => Blame::Unknown,
    }
}

/// git that was asked for something of its host's.
fn asks_host(process: &Process) -> bool {
    process.comm == "git" && subcommand(&process.args).is_some_and(|word| NETWORK.contains(&word))
}

/// A child that failed, and that nothing made good: go ended after it, and did not ask the same again.
fn ended_it(case: &Case<'_>, process: &Process) -> bool {
    let Some(end) = process.end_ns else { return false };
    let go = case.roles.ancestors(process).find(|above| above.role == Role::Go);
    // What was ended with go did not end it.
    if go.is_none_or(|go| go.process.end_ns.is_some_and(|over| over < end))
        || process.exit_code.is_some_and(|code| code > 128) && case.record.signal.is_some()
    {
        return false;
    }
    // A setting that is not there.
    if process.exit_code == Some(1) && process.comm == "git" && subcommand(&process.args) == Some("config") {
        return false;
    }
    let name = short(process);
    let mut others = case.command.processes.values().filter(|other| other.pid != process.pid);
    if others
        .any(|other| other.start_ns >= process.start_ns && other.exit_code == Some(0) && short(other) == name)
    {
        return false;
    }
    asks_host(process) || is_test(&process.comm) || !goes_on(case, process)
}

/// Whether go did something else after that child.
fn goes_on(case: &Case<'_>, process: &Process) -> bool {
    let Some(end) = process.end_ns else { return true };
    let own = |op: &model::operations::InFlight<'_>| !op.is_child() && op.operation.start_ns > end;
    let next = |other: &Process| other.start_ns > end && case.roles.is_of_go(other);
    case.in_flight.iter().any(own) || case.command.processes.values().any(next)
}

/// Whom a child was for: what it or one of its own was connected to longest, or a URL in its arguments.
fn host(case: &Case<'_>, process: &Process) -> Option<String> {
    let tree = case.roles.tree(process);
    let is_of = |pid| tree.iter().any(|life| life.process.pid == pid);
    let connected = case.in_flight.iter().filter(|op| matches!(op.subject, Subject::Helper(_)));
    let longest = connected
        .filter(|op| is_of(op.subject.pid()))
        .max_by_key(|op| op.operation.end_ns - op.operation.start_ns);
    let named = || {
        let mut args = tree.iter().flat_map(|life| &life.process.args);
        args.find_map(|arg| {
            let rest = arg.split_once("://")?.1.split('/').next()?;
            let host = rest.rsplit('@').next()?.split(':').next()?;
            (!host.is_empty()).then(|| host.to_owned())
        })
    };
    longest.and_then(|op| op.operation.host).map(str::to_owned).or_else(named)
}
