//! Children that fetch from version control and wait for something else than the network.

use super::case::{Case, Span};
use super::finding::Finding;
use super::thresholds as at;
use crate::model::operations::Subject;
use crate::model::record::{Phase, Process};
use crate::view::human::duration;

/// Programs that a go command fetches with.
const FETCHERS: [&str; 6] = ["git", "git-remote-http", "ssh", "hg", "svn", "bzr"];

pub fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    let children: Vec<&Process> = case.command.processes.values().collect();
    for child in &children {
        let is_fetcher =
            FETCHERS.contains(&child.comm.as_str()) && case.command.helper(child.pid, &child.comm);
        // A parent that waits for its child is not the one.
        let has_child = children.iter().any(|other| other.ppid == child.pid && other.pid != child.pid);
        if is_fetcher
            && !has_child
            && let Some(finding) = waiting(case, child)
        {
            found.push(finding);
        }
    }
}

/// The longest time in which it had nothing in flight.
fn waiting(case: &Case<'_>, child: &Process) -> Option<Finding> {
    let mut busy: Vec<Span> = case
        .flights
        .iter()
        .filter(|flight| flight.subject.pid() == child.pid)
        .map(|flight| match flight.subject {
            // An open connection without a byte for seconds is not told apart from a busy one here.
            Subject::Helper(connection) => (connection.start_ns, connection.end_ns.unwrap_or(case.wall.1)),
            _ => (flight.operation.start_ns, flight.operation.end_ns),
        })
        .collect();
    busy.sort_unstable();
    let end = child.end_ns.unwrap_or(case.wall.1);
    let (mut free, mut longest): (u64, Span) = (child.start_ns, (0, 0));
    for (from, to) in busy.into_iter().chain([(end, end)]) {
        if from.saturating_sub(free) > longest.1 - longest.0 {
            longest = (free, from);
        }
        free = free.max(to);
    }
    let cost_ns = case.idle_within(longest);
    if cost_ns < at::VCS_SILENT_NS {
        return None;
    }
    let url = child.args.iter().find(|argument| argument.contains("://") || argument.contains('@'));
    let host = url.map(|url| host_of(url));
    let whom = host.as_deref().unwrap_or("an unknown host");
    Some(Finding {
        kind: "vcs-waiting",
        phase: Phase::Vcs,
        host: host.clone(),
        span: longest,
        cost_ns,
        summary: format!(
            "{} for {whom} waited {} without any traffic: for credentials, or a prompt",
            child.comm,
            duration(cost_ns)
        ),
        evidence: vec![format!("{} (pid {}), no connection in flight", child.comm, child.pid)],
        remedies: vec![("env=GIT_TERMINAL_PROMPT=0".to_owned(), "fails at once instead of asking")],
        fatal: true,
        info: false,
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
