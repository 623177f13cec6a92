//! Children that fetch from version control and wait for something else than the network.

use std::collections::{BTreeSet, HashMap};

use model::evidence::Evidence;
use model::human::duration;
use model::id::Pid;
use model::record::{Phase, Process};
use model::stall::StallKind;
use model::time::SinceStart;

use crate::case::{Case, Span};
use crate::finding::Finding;
use crate::thresholds as at;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let fetcher = |process: &Process| case.command.fetcher(process);
    let of_go = |process: &Process| {
        !case.command.processes.values().any(|parent| parent.pid == process.ppid && fetcher(parent))
    };
    let mut in_flight: HashMap<Pid, Vec<Span>> = HashMap::new();
    for op in &case.in_flight {
        in_flight.entry(op.subject.pid()).or_default().push(crate::case::whole(op));
    }
    for process in case.command.processes.values() {
        if fetcher(process) && of_go(process) {
            found.extend(waiting(case, &tree(case, process), &in_flight));
        }
    }
}

/// A process with its children and theirs: ssh and credential helpers are among them.
fn tree<'a>(case: &Case<'a>, top: &'a Process) -> Vec<&'a Process> {
    let end = top.end_ns.unwrap_or(case.wall.1);
    let (mut tree, mut pids) = (vec![top], BTreeSet::from([top.pid]));
    let mut others: Vec<&Process> = case.command.processes.values().collect();
    others.retain(|other| (top.start_ns..=end).contains(&other.start_ns));
    // A parent is older than its child.
    others.sort_by_key(|other| other.start_ns);
    for other in others {
        if other.pid != top.pid && pids.contains(&other.ppid) {
            pids.insert(other.pid);
            tree.push(other);
        }
    }
    tree
}

/// The longest time in which it had nothing in flight.
fn waiting(case: &Case<'_>, tree: &[&Process], in_flight: &HashMap<Pid, Vec<Span>>) -> Option<Finding> {
    let top = tree.first()?;
    let (begin, end) = (top.start_ns, top.end_ns.unwrap_or(case.wall.1));
    let pids: BTreeSet<Pid> = tree.iter().map(|process| process.pid).collect();
    let mut busy: Vec<Span> = pids.iter().filter_map(|pid| in_flight.get(pid)).flatten().copied().collect();
    busy.sort_unstable();
    let (mut free, mut longest): (SinceStart, Span) = (begin, (begin, begin));
    for (from, to) in busy.into_iter().chain([(end, end)]) {
        if from.saturating_sub(free) > longest.1 - longest.0 {
            longest = (free, from);
        }
        free = free.max(to);
    }
    let cost_ns = case.unshared_within(longest);
    if cost_ns < at::VCS_SILENT_NS {
        return None;
    }
    let mut arguments = tree.iter().flat_map(|process| &process.args);
    let host =
        arguments.find(|argument| argument.contains("://") || is_scp(argument)).map(|url| host_of(url));
    let whom = host.as_deref().unwrap_or("an unknown host");
    // The youngest is what the others wait for.
    let last = tree.last().unwrap_or(top);
    Some(Finding {
        summary: format!(
            "{} for {whom} waited {} without any traffic: likely for somebody to type a password",
            top.comm,
            duration(cost_ns)
        ),
        evidence: vec![
            Evidence::ProcessIdle { comm: top.comm.clone(), pid: top.pid },
            Evidence::ProcessWaitedFor { args: last.args.clone(), pid: last.pid },
        ],
        host,
        cost_ns,
        fatal: true,
        about: u64::from(top.pid),
        ..Finding::of(StallKind::VcsWaiting, Phase::Vcs, longest)
    })
}

/// `user@host` or `user@host:path`, as ssh and git take them.
fn is_scp(argument: &str) -> bool {
    argument.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && !host.is_empty()
            && !argument.contains(char::is_whitespace)
            && !user.starts_with('-')
    })
}

/// The host of a URL or of `user@host:path`, without user and port.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_user_no_port_and_no_path() {
        for url in [
            "https://u:p@git.test:8443/a/b",
            "ssh://git@git.test/x",
            "git@git.test:team/lib.git",
            "git.test/x",
        ] {
            assert_eq!(host_of(url), "git.test", "{url}");
        }
    }
}
