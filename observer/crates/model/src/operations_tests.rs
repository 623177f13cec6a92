//! Which record becomes which operation.

use super::*;
use crate::event::{Body, CommandUpdate, Event};
use crate::id::{CommandId, ConnectionId, DnsId, LockId, Pid, RequestId};
use crate::record::{Class, Command, Dns, Process};
use crate::state::State;
use crate::time::{Ns, SinceStart};

const TOP: Pid = Pid(10);

fn command(bodies: impl IntoIterator<Item = Body>) -> CommandState {
    let mut state = State::new();
    let record = Command { id: CommandId(1), pid: TOP, wall_ns: Some(100), ..Command::default() };
    let first = Body::Command(CommandUpdate { command: record, idle: Vec::new(), gaps: Vec::new() });
    for body in std::iter::once(first).chain(bodies) {
        state.apply(&Event { at_ns: SinceStart(70), body });
    }
    state.command(CommandId(1)).unwrap().clone()
}

fn connection() -> Connection {
    Connection {
        command: CommandId(1),
        id: ConnectionId(1),
        pid: TOP,
        comm: "go".into(),
        remote: "192.0.2.1:443".into(),
        start_ns: SinceStart(10),
        ..Connection::default()
    }
}

fn git() -> Connection {
    Connection { pid: Pid(11), comm: "git-remote-http".into(), ..connection() }
}

/// Phase, host, start, end, failed, open.
type Row = (Phase, Option<String>, Ns, Ns, bool, bool);

fn rows(bodies: impl IntoIterator<Item = Body>) -> Vec<Row> {
    let state = command(bodies);
    let row = |one: InFlight<'_>| {
        let op = one.operation;
        (op.phase, op.host.map(str::to_owned), op.start_ns.0, op.end_ns.0, op.error, one.open)
    };
    state.in_flight(SinceStart(100)).into_iter().map(row).collect()
}

fn address() -> Option<String> {
    Some("192.0.2.1:443".into())
}

#[test]
fn a_go_command_is_known_by_its_name() {
    for name in ["go", "go1.26.8", "gotip"] {
        assert!(is_go(name), "{name}");
    }
    for name in ["git", "gofmt", "goobserve", "git-remote-http", ""] {
        assert!(!is_go(name), "{name}");
    }
}

#[test]
fn a_connection_is_a_tcp_and_a_tls_handshake_with_the_name_asked_for() {
    let connection = Connection {
        server_name: Some("proxy.test".into()),
        connect_ns: Some(5),
        tls_start_ns: Some(SinceStart(16)),
        tls_ns: Some(4),
        ..connection()
    };
    let name = Some("proxy.test".to_owned());
    assert_eq!(
        rows([Body::Connection(connection)]),
        [(Phase::Connect, name.clone(), 10, 15, false, false), (Phase::Tls, name, 16, 20, false, false)]
    );
}

#[test]
fn a_handshake_still_going_on_is_open() {
    assert_eq!(rows([Body::Connection(connection())]), [(Phase::Connect, address(), 10, 100, false, true)]);
    let greeted = Connection { connect_ns: Some(1), tls_start_ns: Some(SinceStart(11)), ..connection() };
    assert_eq!(rows([Body::Connection(greeted)])[1], (Phase::Tls, address(), 11, 100, false, true));
}

#[test]
fn handshakes_that_failed_are_errors_and_end_with_their_connection() {
    let refused = Connection { connect_ns: Some(1), outcome: ConnectionOutcome::Refused, ..connection() };
    assert_eq!(rows([Body::Connection(refused)]), [(Phase::Connect, address(), 10, 11, true, false)]);
    let cut = Connection {
        connect_ns: Some(1),
        tls_start_ns: Some(SinceStart(11)),
        end_ns: Some(SinceStart(30)),
        outcome: ConnectionOutcome::Reset,
        ..connection()
    };
    assert_eq!(
        rows([Body::Connection(cut)]),
        [(Phase::Connect, address(), 10, 11, false, false), (Phase::Tls, address(), 11, 30, true, false)]
    );
}

#[test]
fn a_connection_joined_late_had_no_handshake_to_see() {
    assert_eq!(rows([Body::Connection(Connection { joined_late: true, ..connection() })]), []);
}

#[test]
fn a_handshake_of_gits_that_nobody_answered_is_one_and_no_work_of_a_repositorys() {
    let dead = Connection {
        connect_ns: Some(20),
        end_ns: Some(SinceStart(30)),
        outcome: ConnectionOutcome::TimedOut,
        ..git()
    };
    assert_eq!(rows([Body::Connection(dead)]), [(Phase::Connect, address(), 10, 30, true, false)]);
}

#[test]
fn while_ssh_asks_whether_to_trust_a_host_that_host_waits() {
    const S: Ns = 1_000_000_000;
    let at = |seconds: Ns| Some(SinceStart(seconds * S));
    let ssh = |accepted_ns| Connection {
        comm: "ssh".into(),
        connect_ns: Some(5),
        ssh: Some(crate::ssh::Ssh { greeting_ns: at(1), host_key_ns: at(2), accepted_ns }),
        end_ns: at(9),
        ..git()
    };
    let phases = |connection| {
        let rows = rows([Body::Connection(connection)]);
        rows.into_iter().map(|row| (row.0, row.1, row.2 / S, row.3 / S)).collect::<Vec<_>>()
    };
    let asked = [(Phase::Auth, None, 2, 5), (Phase::Vcs, address(), 0, 2), (Phase::Vcs, address(), 5, 9)];
    assert_eq!(phases(ssh(at(5))), asked);
    // It did not go on.
    assert_eq!(phases(ssh(None)), [(Phase::Auth, None, 2, 9), (Phase::Vcs, address(), 0, 2)]);
    let soon = Some(SinceStart(2 * S + 20_000_000));
    assert_eq!(phases(ssh(soon)), [(Phase::Vcs, address(), 0, 9)]);
}

#[test]
fn a_helpers_connection_is_vcs_all_its_life() {
    let git = Connection { connect_ns: Some(1), end_ns: Some(SinceStart(40)), ..git() };
    assert_eq!(rows([Body::Connection(git)]), [(Phase::Vcs, address(), 10, 40, false, false)]);
}

#[test]
fn what_the_observed_program_does_itself_is_never_vcs() {
    let curl = Connection { comm: "curl".into(), connect_ns: Some(1), ..connection() };
    assert_eq!(rows([Body::Connection(curl)])[0].0, Phase::Connect);
}

#[test]
fn a_query_ends_with_its_answer_or_when_it_was_given_up() {
    let dns = Dns {
        command: CommandId(1),
        id: DnsId(1),
        pid: TOP,
        server: "192.0.2.1:443".into(),
        start_ns: SinceStart(5),
        ..Dns::default()
    };
    let answered = Dns { end_ns: Some(SinceStart(9)), rcode: Some("NXDOMAIN".into()), ..dns.clone() };
    assert_eq!(rows([Body::Dns(answered)]), [(Phase::Dns, address(), 5, 9, true, false)]);
    let given_up = Dns { timed_out: true, ..dns.clone() };
    assert_eq!(rows([Body::Dns(given_up)]), [(Phase::Dns, address(), 5, 70, true, false)]);
    assert_eq!(rows([Body::Dns(dns.clone())]), [(Phase::Dns, address(), 5, 100, false, true)]);
    let helper = Dns { pid: Pid(11), comm: "git-remote-http".into(), ..dns };
    assert_eq!(rows([Body::Dns(helper)])[0].0, Phase::Dns);
}

#[test]
fn what_a_local_resolver_asks_on_behalf_is_inside_the_commands_query() {
    let own = Dns {
        command: CommandId(1),
        id: DnsId(1),
        pid: TOP,
        start_ns: SinceStart(5),
        end_ns: Some(SinceStart(9)),
        ..Dns::default()
    };
    let local_resolver = Dns {
        id: DnsId(2),
        pid: Pid(90),
        on_behalf_of: Some(DnsId(1)),
        start_ns: SinceStart(6),
        end_ns: Some(SinceStart(8)),
        ..own.clone()
    };
    assert_eq!(rows([Body::Dns(own), Body::Dns(local_resolver)]), [(Phase::Dns, None, 5, 9, false, false)]);
}

#[test]
fn a_request_is_its_classes_phase_unless_a_helper_made_it() {
    let request = |pid: Pid| {
        Body::Request(Request {
            command: CommandId(1),
            id: RequestId(pid.0),
            pid,
            class: Class::SumdbTile,
            ..Request::default()
        })
    };
    let process = |pid, comm: &str| {
        Body::Process(Process { command: CommandId(1), pid, comm: comm.into(), ..Process::default() })
    };
    let rows = rows([
        process(Pid(11), "git-lfs"),
        process(Pid(12), "go"),
        request(TOP),
        request(Pid(11)),
        request(Pid(12)),
    ]);
    // The last is git itself.
    let phases = [Phase::Sumdb, Phase::Vcs, Phase::Sumdb, Phase::Vcs];
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), phases);
}

#[test]
fn a_lock_wait_is_lock() {
    let wait = LockWait {
        command: CommandId(1),
        id: LockId(1),
        start_ns: SinceStart(3),
        end_ns: Some(SinceStart(8)),
        ..LockWait::default()
    };
    assert_eq!(rows([Body::Lock(wait)]), [(Phase::Lock, None, 3, 8, false, false)]);
}

#[test]
fn a_live_view_can_count_the_interval_that_has_not_ended() {
    let mut state = State::new();
    let local = Some(crate::record::Local::default());
    let record = Command { id: CommandId(1), local, ..Command::default() };
    let update =
        CommandUpdate { command: record, idle: vec![(SinceStart(10), SinceStart(20))], gaps: Vec::new() };
    state.apply(&Event { at_ns: SinceStart(20), body: Body::Command(update) });
    let command = state.command(CommandId(1)).unwrap();
    let idle = |threads| command.split(SinceStart(100), threads).phase(Phase::Unexplained).blocked_ns;
    let since = Threads::AsleepSince;
    assert_eq!(
        (idle(Threads::Awake), idle(since(SinceStart(30))), idle(since(SinceStart(100)))),
        (10, 80, 10)
    );
    let unknown = command.split(SinceStart(100), Threads::Unknown);
    assert_eq!((unknown.phase(Phase::Local).blocked_ns, unknown.unknown_ns), (10, 80));
}
