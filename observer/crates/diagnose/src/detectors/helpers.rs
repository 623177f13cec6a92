//! Helpers that go, or git, waits for: credentials, a build cache, what -toolexec names; and what outlives
//! the child that go started and holds its output.

use std::collections::BTreeMap;

use model::evidence::Evidence;
use model::human::duration;
use model::operations::{InFlight, Subject};
use model::record::{Connection, Phase};
use model::roles::{Role, Waited, is_test, program, short, subcommand};
use model::stall::StallKind;
use model::time::{Ns, SinceStart};

use crate::case::{Case, hull, whole};
use crate::finding::Finding;
use crate::processes::{Group, Wait, groups, ran};
use crate::thresholds as at;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) {
    found.extend(groups(case, Phase::Auth).iter().filter_map(|group| credentials(case, group)));
    found.extend(groups(case, Phase::Child).iter().filter_map(|group| silent(case, group)));
    found.extend(groups(case, Phase::Cache).iter().filter_map(|group| cache(case, group)));
    found.extend(trust(case));
    held(case, found);
}

/// What to do about a host key that ssh does not know.
pub(super) const HOST_KEY: &str =
    "compare the host's key with the published one and add it (ssh-keyscan HOST >> ~/.ssh/known_hosts)";

/// What to do about an agent that answers late.
const AGENT: &str = "see what the agent does (SSH_AUTH_SOCK; a prompt, a token to touch): ssh-add -l; a key of its own: IdentityFile, IdentitiesOnly yes";

/// ssh has a host's key and asks somebody whether to trust it.
fn trust(case: &Case<'_>) -> Option<Finding> {
    let asks: Vec<(&InFlight<'_>, &Connection)> = case
        .in_flight
        .iter()
        .filter_map(|op| match op.subject {
            Subject::Helper(connection) if op.operation.phase == Phase::Auth && is_asked(op, connection) => {
                Some((op, connection))
            }
            _ => None,
        })
        .collect();
    let (op, connection) = asks.iter().max_by_key(|(op, _)| op.operation.end_ns - op.operation.start_ns)?;
    let cost_ns = case.cost(|one| asks.iter().any(|(of, _)| *of == one).then_some(whole(one)));
    if cost_ns < at::HELPER_NS {
        return None;
    }
    let host = case.host(connection);
    let accepted = connection.ssh.is_some_and(|ssh| ssh.accepted_ns.is_some());
    let life = case.roles.life(connection.pid, connection.start_ns);
    let by = life.and_then(|life| case.roles.started(life.process));
    let by = by.filter(|by| by.process.pid != connection.pid).map(|by| short(by.process));
    let waited = duration(op.operation.end_ns - op.operation.start_ns);
    let how = if accepted { format!("waited {waited}") } else { format!("has waited {waited}") };
    let mut evidence: Vec<Evidence> =
        asks.iter().take(4).filter_map(|(_, connection)| ssh_began(connection)).collect();
    evidence.extend(life.map(|life| ran(life.process, case.wall.1)));
    Some(Finding {
        summary: format!(
            "{}{} {how} before it accepted the host key of {host}: it asks somebody whether to trust it",
            connection.comm,
            by.map_or_else(String::new, |by| format!(", run by {by} for go,"))
        ),
        evidence,
        cost_ns,
        fatal: !accepted,
        advice: Some(HOST_KEY),
        about: u64::from(connection.pid),
        ..Finding::of(
            StallKind::HelperWaiting,
            Phase::Auth,
            hull(asks.iter().map(|(op, _)| whole(op))).unwrap_or(whole(op)),
        )
    })
}

fn is_asked(op: &InFlight<'_>, connection: &Connection) -> bool {
    let asks = connection.ssh.and_then(|ssh| ssh.asks(connection.end_ns));
    asks.is_some_and(|(from, _)| from == op.operation.start_ns)
}

/// How an ssh connection began, step by step.
pub(super) fn ssh_began(connection: &Connection) -> Option<Evidence> {
    let ssh = connection.ssh?;
    let open = connection.start_ns.saturating_add(connection.connect_ns.unwrap_or(0));
    let open = connection.tunnel.as_ref().and_then(|tunnel| tunnel.end_ns).unwrap_or(open);
    let step = |from: Option<SinceStart>, to: Option<SinceStart>| Some(to?.saturating_sub(from?));
    Some(Evidence::SshBegan {
        connection: connection.id,
        remote: connection.remote.clone(),
        greeting_ns: step(Some(open), ssh.greeting_ns),
        host_key_ns: step(ssh.greeting_ns, ssh.host_key_ns),
        accepted_ns: step(ssh.host_key_ns, ssh.accepted_ns),
    })
}

fn credentials(case: &Case<'_>, group: &Group<'_>) -> Option<Finding> {
    let longest = group.longest()?;
    let started = case.roles.started(longest.child.process)?.process;
    let by = if started.pid == longest.helper.pid {
        if case.roles.is_of_go(started) { " (GOAUTH)".to_owned() } else { String::new() }
    } else {
        format!(", run by {} for go,", short(started))
    };
    let name = program(longest.helper);
    if longest.child.asks_agent() {
        let name = program(longest.child.process);
        let finding =
            waiting(case, group, &format!("{name}{}, which asks its ssh agent,", by.trim_end_matches(',')))?;
        return Some(Finding {
            summary: format!("{}: the agent (SSH_AUTH_SOCK) answers late, or asks somebody", finding.summary),
            advice: Some(AGENT),
            ..finding
        });
    }
    if longest.child.reads_terminal() {
        // Of a host's key more is known.
        let asks = |of: &Connection| {
            of.pid == longest.child.process.pid && of.ssh.is_some_and(|ssh| ssh.asks(of.end_ns).is_some())
        };
        if case.connections().any(asks) {
            return None;
        }
        let name = program(longest.child.process);
        let finding =
            waiting(case, group, &format!("{name}{}, which reads the terminal,", by.trim_end_matches(',')))?;
        return Some(Finding {
            summary: format!("{}: it asks somebody for a name, a password or a passphrase", finding.summary),
            advice: Some(
                "give git its credentials (a token in .netrc, a key in the agent); GIT_TERMINAL_PROMPT=0 has it fail at once",
            ),
            ..finding
        });
    }
    let finding = waiting(case, group, &format!("the credential helper {name}{by}"))?;
    // What is started to ask a person for a secret.
    if ["askpass", "pinentry"].iter().any(|asker| name.contains(asker)) {
        return Some(Finding {
            summary: format!("{}: it asks somebody for a password", finding.summary),
            advice: Some(
                "give git its credentials (a key without a passphrase, a token in .netrc); ssh -oBatchMode=yes shows if it asks",
            ),
            ..finding
        });
    }
    Some(finding)
}

/// What go runs itself that talks to nobody: -toolexec's program, a generator.
fn silent(case: &Case<'_>, group: &Group<'_>) -> Option<Finding> {
    let longest = group.longest()?;
    if !is_silent_helper(case, group) {
        return None;
    }
    let started = case.roles.started(longest.child.process)?.process;
    let by =
        if started.pid == longest.helper.pid { String::new() } else { format!(" {} for", short(started)) };
    let finding = waiting(case, group, &format!("{}, run by{by} go,", program(longest.helper)))?;
    let advice =
        "run that program by hand as the same user, or go without it (-toolexec, CC): go waits until it ends";
    Some(Finding { advice: Some(advice), ..finding })
}

/// Commands that are there to run other programs: what these do is not go's wait for help.
const RUNS_OTHERS: [&str; 4] = ["run", "generate", "test", "tool"];

/// Whether a child of go's is waited for that is no test and talks to nobody.
pub(super) fn is_silent_helper(case: &Case<'_>, group: &Group<'_>) -> bool {
    let runs_others = subcommand(&case.record.argv).is_some_and(|word| RUNS_OTHERS.contains(&word));
    let of_compiler = || {
        let tool = |wait: &Wait<'_>| case.roles.ancestors(wait.helper).any(|above| above.role == Role::Tool);
        group.longest().is_some_and(tool)
    };
    if runs_others && !of_compiler() {
        return false;
    }
    let of_go = |child| {
        let mut above = case.roles.ancestors(child);
        above.find(|above| above.role != Role::Tool).is_some_and(|above| above.role == Role::Go)
    };
    group.longest().is_some_and(|longest| of_go(longest.child.process) && !is_test(program(longest.helper)))
        && group.hosts(case).is_empty()
}

fn waiting(case: &Case<'_>, group: &Group<'_>, who: &str) -> Option<Finding> {
    let cost_ns = group.cost(case);
    let (longest, span) = (group.longest()?, group.span());
    if cost_ns < at::HELPER_NS {
        return None;
    }
    // What was ended from outside had not come to its end.
    let killed = case.failed() && longest.helper.exit_code.is_some_and(|code| code > 128);
    let goes_on =
        killed || longest.child.end_ns.is_none() || case.record.wall_ns.is_none() && span.1 >= case.wall.1;
    let did = match (killed, goes_on) {
        (true, _) => "was ended after",
        (false, true) => "has not ended after",
        (false, false) => "took",
    };
    let took: Ns = longest.span.1 - longest.span.0;
    let times = match group.waits.len() {
        1 => String::new(),
        many => format!(", {many} at once or one after the other"),
    };
    let hosts = group.hosts(case);
    let host = hosts.first().map(|(host, _)| host.clone());
    let below = match (&host, longest.leaf) {
        (Some(host), _) => format!(" and talked to {host}"),
        (None, Some(leaf)) => format!(" and waits for its child {}", program(leaf)),
        (None, None) => " without any traffic".to_owned(),
    };
    Some(Finding {
        summary: format!("{who} {did} {}{below}{times}", duration(took)),
        evidence: group.evidence(case),
        host,
        cost_ns,
        fatal: goes_on,
        about: u64::from(longest.helper.pid),
        ..Finding::of(StallKind::HelperWaiting, group.phase, span)
    })
}

fn cache(case: &Case<'_>, group: &Group<'_>) -> Option<Finding> {
    let (cost_ns, longest) = (group.cost(case), group.longest()?);
    if cost_ns < at::HELPER_NS {
        return None;
    }
    let hosts = group.hosts(case);
    let host = hosts.first().map(|(host, _)| host.clone());
    let whom = host.as_deref().map_or_else(String::new, |host| format!(", which talks to {host}"));
    Some(Finding {
        summary: format!(
            "go waited {} for the build cache {}{whom}",
            duration(cost_ns),
            program(longest.helper)
        ),
        evidence: group.evidence(case),
        host,
        cost_ns,
        about: u64::from(longest.helper.pid),
        ..Finding::of(StallKind::CacheprogSlow, Phase::Cache, group.span())
    })
}

/// Descendants that outlive the child that go started.
fn held(case: &Case<'_>, found: &mut Vec<Finding>) {
    // Several of a program that are held at once are one wait.
    let mut groups: BTreeMap<(Phase, &str), Vec<(&InFlight<'_>, Waited<'_>)>> = BTreeMap::new();
    for op in &case.in_flight {
        if let Subject::Child(child) = op.subject
            && child.held
        {
            groups.entry((child.phase, program(child.process))).or_default().push((op, child));
        }
    }
    for group in groups.into_values() {
        let longest = group.iter().max_by_key(|(op, _)| op.operation.end_ns - op.operation.start_ns);
        let Some(&(op, child)) = longest else { continue };
        let holder = child.process;
        let mut above = case.roles.ancestors(holder);
        let Some(parent) = above.find(|above| above.process.end_ns.is_some_and(|end| end <= child.start_ns))
        else {
            continue;
        };
        let started = case.roles.started(holder).map_or(parent.process, |started| started.process);
        let waits = match started.end_ns {
            Some(end) if end <= child.start_ns + at::CHAIN_ENDS_NS => "go",
            _ => program(started),
        };
        let cost_ns = case.cost(|one| group.iter().any(|(of, _)| *of == one).then_some(whole(one)));
        if cost_ns < at::HELPER_NS {
            continue;
        }
        let span = hull(group.iter().map(|(op, _)| whole(op))).unwrap_or(whole(op));
        let left = parent.process;
        let held_ns = op.operation.end_ns - op.operation.start_ns;
        found.push(Finding {
            summary: format!(
                "{} (pid {}) had ended, and {waits} waited {} more for {} (pid {}), which it had left behind",
                short(left),
                left.pid,
                duration(held_ns),
                program(holder),
                holder.pid
            ),
            evidence: vec![
                ran(left, case.wall.1),
                Evidence::OutputHeld { comm: program(holder).to_owned(), pid: holder.pid, held_ns },
                Evidence::ProcessWaitedFor { args: holder.args.clone(), pid: holder.pid },
            ],
            cost_ns,
            fatal: op.open,
            about: u64::from(holder.pid),
            ..Finding::of(StallKind::PipeHeld, child.phase, span)
        });
    }
}
