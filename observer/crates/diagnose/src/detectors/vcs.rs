//! Children that fetch from version control and wait for something else than the network.

use std::collections::{BTreeSet, HashMap};

use model::evidence::Evidence;
use model::human::duration;
use model::id::Pid;
use model::record::{Phase, Process};
use model::roles::Role;
use model::stall::StallKind;
use model::time::SinceStart;

use crate::case::{Case, Span};
use crate::finding::Finding;
use crate::thresholds as at;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut in_flight: HashMap<Pid, Vec<Span>> = HashMap::new();
    for op in case.in_flight.iter().filter(|op| !op.is_child()) {
        in_flight.entry(op.subject.pid()).or_default().push(crate::case::whole(op));
    }
    let mut waits: Vec<Wait<'_>> = Vec::new();
    for process in case.command.processes.values() {
        if case.fetches(process) && is_of_go(case, process) {
            waits.extend(waiting(case, &tree(case, process), &in_flight));
        }
    }
    // Several at once that wait for the same are one wait.
    let mut groups: Vec<Vec<Wait<'_>>> = Vec::new();
    for wait in waits {
        match groups.iter_mut().find(|group| group[0].is_same(&wait)) {
            Some(group) => group.push(wait),
            None => groups.push(vec![wait]),
        }
    }
    found.extend(groups.iter().map(|group| finding(case, group)));
}

/// go itself started it: none of those above it is one that go fetches with.
fn is_of_go(case: &Case<'_>, process: &Process) -> bool {
    let (mut pid, mut at_ns) = (process.ppid, process.start_ns);
    for _ in 0..ANCESTORS_MAX {
        let lived = |parent: &&Process| parent.pid == pid && parent.start_ns <= at_ns;
        let parent = case.command.processes.values().filter(lived).max_by_key(|parent| parent.start_ns);
        let Some(parent) = parent else { return true };
        if case.fetches(parent) {
            return false;
        }
        (pid, at_ns) = (parent.ppid, parent.start_ns);
    }
    true
}

/// Processes above one another that are looked at.
const ANCESTORS_MAX: usize = 16;

/// A child of go's that waits.
struct Wait<'a> {
    top: &'a Process,
    /// The process that the others wait for
    last: &'a Process,
    /// What is between the two, and that process, by the kernel's names
    below: Vec<String>,
    host: Option<String>,
    span: Span,
}

impl Wait<'_> {
    fn is_same(&self, other: &Self) -> bool {
        let overlap = self.span.1.min(other.span.1).saturating_sub(self.span.0.max(other.span.0));
        let longer = (self.span.1 - self.span.0).max(other.span.1 - other.span.0);
        self.host == other.host && self.last.args == other.last.args && overlap * 5 >= longer * 4
    }
}

fn finding(case: &Case<'_>, waits: &[Wait<'_>]) -> Finding {
    let first = &waits[0];
    let span = crate::case::hull(waits.iter().map(|wait| wait.span)).unwrap_or(first.span);
    let cost_ns = case.unshared_within(span);
    let whom = first.host.as_deref().map_or_else(String::new, |host| format!(" for {host}"));
    let who = match waits.len() {
        1 => format!("{}{whom}", first.top.comm),
        many => format!("{many} processes {} at once{whom}", first.top.comm),
    };
    let is_itself = first.last.pid == first.top.pid;
    let why =
        if is_itself { String::new() } else { format!(", for {}", first.below.join(" and its child ")) };
    let mut evidence = Vec::new();
    for wait in waits.iter().take(4) {
        evidence.push(Evidence::ProcessIdle { comm: wait.top.comm.clone(), pid: wait.top.pid });
        evidence.push(Evidence::ProcessWaitedFor { args: wait.last.args.clone(), pid: wait.last.pid });
    }
    Finding {
        summary: format!("{who} waited {} without any traffic{why}", duration(cost_ns)),
        evidence,
        host: first.host.clone(),
        cost_ns,
        fatal: true,
        about: u64::from(first.top.pid),
        ..Finding::of(StallKind::VcsWaiting, Phase::Vcs, span)
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
fn waiting<'a>(
    case: &Case<'_>,
    tree: &[&'a Process],
    in_flight: &HashMap<Pid, Vec<Span>>,
) -> Option<Wait<'a>> {
    let top = *tree.first()?;
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
    if case.unshared_within(longest) < at::VCS_SILENT_NS {
        return None;
    }
    let mut arguments = tree.iter().flat_map(|process| &process.args);
    let host =
        arguments.find(|argument| argument.contains("://") || is_scp(argument)).map(|url| host_of(url));
    // The youngest of those that were there for much of it is what the others wait for.
    let much = (longest.1 - longest.0) / 4;
    let there = |process: &Process| {
        let end = process.end_ns.unwrap_or(case.wall.1).min(longest.1);
        end.saturating_sub(process.start_ns.max(longest.0)) >= much
    };
    // A helper for credentials is a finding of its own.
    let helper = |process: &Process| {
        case.roles.role(process.pid, &process.comm, process.start_ns) == Role::Credentials
    };
    let asks = |process: &Process| {
        let agent = process.agent_waits.iter().map(|wait| wait.start_ns);
        process.terminal_ns.iter().copied().chain(agent).any(|at| (longest.0..=longest.1).contains(&at))
    };
    if tree.iter().any(|process| there(process) && (helper(process) || asks(process))) {
        return None;
    }
    let last = tree.iter().rev().find(|process| there(process)).copied().unwrap_or(top);
    let mut below = Vec::new();
    let mut process = last;
    while process.pid != top.pid && below.len() < ANCESTORS_MAX {
        below.insert(0, process.comm.clone());
        let parent = tree.iter().find(|parent| parent.pid == process.ppid);
        process = parent.copied().unwrap_or(top);
    }
    Some(Wait { top, last, below, host, span: longest })
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
