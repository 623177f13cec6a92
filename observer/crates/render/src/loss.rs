//! What was not seen in, a sentence out.

use model::human::{count, duration, moment};
use model::id::CommandId;
use model::operations::is_go;
use model::record::{Gap, Loss, Service};
use model::report::{Command, Connection, Report};
use model::time::SinceStart;

/// Bytes received over TLS that no handshake has: certificates are a few kilobytes.
const NO_HANDSHAKE: u64 = 16 << 10;

/// To be said before anything else of a command: requests of it were not seen. Without a command,
/// of all of them.
pub(crate) fn missed(report: &Report, command: Option<CommandId>) -> Option<String> {
    let of = |connection: &&Connection| command.is_none_or(|id| connection.command == id);
    let silent =
        report.connections.iter().filter(of).filter(|connection| is_unseen(connection)).count() as u64;
    // Which command's these are is not in a report.
    let late =
        if command.is_none() || report.commands.len() == 1 { report.loss.connections_joined_late } else { 0 };
    let said = |n: u64, how: &str, which: &str| {
        let was = if n == 1 { "was" } else { "were" };
        format!("{} {was} {how}: {which} missing below", count(n, "connection"))
    };
    if silent > late {
        let whose = if silent == 1 { "its" } else { "their" };
        return Some(said(silent, "not seen into", &format!("{whose} requests are")));
    }
    let numbered: Vec<u32> = report.connections.iter().filter(of).filter_map(|c| c.requests_missed).collect();
    if (numbered.len() as u64) < late {
        return Some(said(late, "joined late", "what was asked before is"));
    }
    match numbered.iter().copied().map(u64::from).sum() {
        0 => None,
        1 => Some(said(late, "joined late", "1 request before that is")),
        n => Some(said(late, "joined late", &format!("{n} requests before that are"))),
    }
}

/// To be said before anything else of a command, too: a service runs its containers; whether what happens
/// there was followed.
pub(crate) fn service(command: &Command) -> Option<String> {
    let Service { client, pids, name } = command.service.as_ref()?;
    let Some(name) = name else {
        return Some(format!(
            "{client} has a service run its containers, which was not found on this machine: nothing of what go does \
             in them is below. Where they run, this sees it: sudo goobserve watch"
        ));
    };
    let process = if pids.len() == 1 { "process" } else { "processes" };
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    Some(format!(
        "{client} has a service run its containers ({name}, {process} {}): what it started meanwhile is counted below",
        pids.join(", ")
    ))
}

/// A TLS connection of go that carried something, of which nothing is known.
fn is_unseen(connection: &Connection) -> bool {
    let Connection { comm, tls_ns, alpn, requests, bytes_received, .. } = connection;
    let carried = bytes_received.is_some_and(|bytes| bytes > NO_HANDSHAKE);
    is_go(comm) && tls_ns.is_some() && alpn.is_none() && *requests == 0 && carried
}

/// In words; `None` when nothing was lost.
pub(crate) fn sentence(loss: &Loss) -> Option<String> {
    let parts = [
        (loss.kernel_events_lost, "kernel event", "lost"),
        (loss.events_undecoded, "event", "not understood or not kept"),
        (loss.connections_joined_late, "connection", "seen only after its beginning"),
        (loss.programs_unexamined, "program", "not examined"),
    ];
    let lost: Vec<String> = parts
        .into_iter()
        .chain(of_the_kernel(loss))
        .filter(|part| part.0 > 0)
        .map(|(n, what, how)| format!("{} {how}", count(n, what)))
        .collect();
    (!lost.is_empty()).then(|| format!("{}; figures above may be too low.", lost.join(", ")))
}

/// What the kernel did not do, in three parts: how often, what, and how that went.
pub(crate) const fn of_the_kernel(loss: &Loss) -> [(u64, &'static str, &'static str); 3] {
    [
        (
            loss.program_runs_skipped,
            "run",
            "of a BPF program skipped by this kernel, of this or another command",
        ),
        (loss.tracepoints_unattached, "tracepoint", "not there to attach to"),
        (loss.socket_lookups_failed, "look-up", "of sockets open before failed (module inet_diag)"),
    ]
}

/// When records of a command were lost, and how much of its time is not known because of it; `None`
/// when none were.
pub(crate) fn gaps(command: &Command) -> Option<String> {
    let at = |gap: &Gap| {
        let from = |at: SinceStart| moment(at.saturating_sub(command.start_ns));
        format!("{} s and {} s", from(gap.start_ns), from(gap.end_ns))
    };
    let first = command.gaps.first().map(at)?;
    let more = match command.gaps.len() {
        1 => String::new(),
        n => format!(", and {}", count(n as u64 - 1, "more time")),
    };
    let unknown = duration(command.unknown_ns);
    Some(format!("Records were lost between {first}{more}: what {unknown} of the time went to is not known."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(bytes_received: u64) -> Connection {
        Connection {
            command: CommandId(1),
            comm: "go".into(),
            tls_ns: Some(1),
            bytes_received: Some(bytes_received),
            ..Connection::default()
        }
    }

    fn report(connections: Vec<Connection>) -> Report {
        let commands = vec![Command { id: CommandId(1), ..Command::default() }];
        Report { commands, connections, ..Report::default() }
    }

    #[test]
    fn requests_that_were_not_seen_are_reported_of_the_command_that_made_them() {
        let mut report = report(vec![connection(900_000), connection(900_000), connection(2_000)]);
        let reported = missed(&report, Some(CommandId(1))).unwrap();
        assert_eq!(reported, "2 connections were not seen into: their requests are missing below");
        assert_eq!(missed(&report, Some(CommandId(2))), None);
        report.loss.connections_joined_late = 2;
        let reported = missed(&report, None).unwrap();
        assert_eq!(reported, "2 connections were joined late: what was asked before is missing below");
    }

    #[test]
    fn of_connections_joined_late_it_is_said_how_many_requests_are_missing() {
        let late = |missed| Connection { joined_late: true, requests_missed: missed, ..connection(2_000) };
        let said = |connections: Vec<Connection>| {
            let mut report = report(connections);
            report.loss.connections_joined_late = report.connections.len() as u64;
            missed(&report, None)
        };
        assert_eq!(
            said(vec![late(Some(3))]).unwrap(),
            "1 connection was joined late: 3 requests before that are missing below"
        );
        assert_eq!(
            said(vec![late(Some(1)), late(Some(0))]).unwrap(),
            "2 connections were joined late: 1 request before that is missing below"
        );
        assert_eq!(said(vec![late(Some(0))]), None, "none was missed");
        let unknown = "2 connections were joined late: what was asked before is missing below";
        assert_eq!(said(vec![late(Some(3)), late(None)]).unwrap(), unknown);
    }

    #[test]
    fn nothing_is_reported_of_connections_whose_requests_are_known_or_not_gos() {
        let git = Connection { comm: "git-remote-http".into(), ..connection(900_000) };
        let seen = Connection { alpn: Some("h2".into()), requests: 5, ..connection(900_000) };
        let plain = Connection { tls_ns: None, ..connection(900_000) };
        assert_eq!(missed(&report(vec![git, seen, plain, connection(2_000)]), Some(CommandId(1))), None);
    }
}
