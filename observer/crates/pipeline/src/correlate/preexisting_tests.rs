//! What was there before it could be seen: reported with what the kernel knows, and never with more.

use model::event::{DnsWait, LockWait};
use model::id::{CommandId, DnsWaitId, LockId, Pid, Tid, TreeId};
use model::record::{Connection, TcpState};
use model::time::{Monotonic, SinceStart};
use observer_common::{EXIT_ROOT, Exit, Handshake, Ip, PAYLOAD_RECEIVED, Payload, SockState};
use zerocopy::FromZeros as _;

use super::preexisting::{PreexistingSocket, Tcp};
use super::*;

const ROOT: TreeId = TreeId(PREEXISTING_TREES + 7);
const PID: Pid = Pid(77);
const SYN_SENT: u8 = 2;
const ESTABLISHED: u8 = 1;
/// An answer to `a.test (A)`.
const ANSWER: &[u8] = b"\0\x07\x81\x80\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";

/// A correlator that knows a command which ran already, and what it reported.
struct Reported {
    correlator: Correlator,
    events: Vec<Event>,
}

impl Reported {
    fn new() -> Self {
        let mut reported = Self {
            correlator: Correlator::new(Monotonic(1000), &Resolver { timeout_s: 5, ..Resolver::default() }),
            events: Vec::new(),
        };
        let process = PreexistingProcess {
            root: ROOT,
            topmost: true,
            at_ns: Monotonic(2000),
            pid: PID,
            comm: "go".into(),
            args: (b"go\0mod\0download\0".to_vec(), 16),
            age_ns: Some(9),
            ..PreexistingProcess::default()
        };
        reported.correlator.preexisting(&process, &mut reported.events);
        reported
    }

    fn sockets(&mut self, at_ns: u64, sockets: Vec<PreexistingSocket>) {
        let reported = PreexistingSockets { root: ROOT, at_ns: Monotonic(at_ns), sockets, unreported: 0 };
        self.correlator.preexisting_sockets(&reported, &mut self.events);
    }

    fn record(&mut self, at_ns: u64, flags: u16, body: Wire<'_>) {
        let header = Header { pid: PID.0, tid: PID.0, root: ROOT.0, flags, at_ns, ..Header::new_zeroed() };
        self.correlator.record(&Record { header, body }, &mut self.events);
    }

    fn state(&mut self, at_ns: u64, old: u8, new: u8) {
        self.record(
            at_ns,
            0,
            Wire::SockState(SockState { conn: 5, family: 2, old, new, ..SockState::new_zeroed() }),
        );
    }

    fn connection(&self) -> &Connection {
        let of = |event: &Event| matches!(event.body, Body::Connection(_));
        match &self.events[self.events.iter().rposition(of).unwrap()].body {
            Body::Connection(connection) => connection,
            _ => unreachable!("it is one"),
        }
    }

    fn dns_waits(&self) -> Vec<&DnsWait> {
        self.events
            .iter()
            .filter_map(|event| match &event.body {
                Body::DnsWait(wait) => Some(wait),
                _ => None,
            })
            .collect()
    }
}

fn tcp(state: u8, tcp: Tcp) -> PreexistingSocket {
    let [local, remote] = ["192.0.2.10:40001", "192.0.2.2:443"].map(|address| address.parse().unwrap());
    PreexistingSocket { conn: 5, cookie: 1, pid: PID, state, local, remote, tcp }
}

fn udp(cookie: u64) -> PreexistingSocket {
    PreexistingSocket {
        conn: 0,
        cookie,
        remote: "192.0.2.1:53".parse().unwrap(),
        ..tcp(ESTABLISHED, Tcp::default())
    }
}

#[test]
fn a_command_that_ran_already_has_an_age_and_no_cpu_time() {
    let mut reported = Reported::new();
    let Body::Command(begun) = &reported.events[0].body else { panic!("a command first") };
    assert_eq!((begun.command.start_ns, begun.command.age_ns), (SinceStart(1000), Some(9)));
    assert_eq!(begun.command.argv, ["go", "mod", "download"]);
    reported.record(3000, EXIT_ROOT, Wire::Exit(Exit { cpu_ns: 5, ..Exit::new_zeroed() }));
    let ended = reported.events.iter().rev().find_map(|event| match &event.body {
        Body::Process(process) => Some(process),
        _ => None,
    });
    assert_eq!(ended.map(|process| (process.exit_code, process.cpu_ns)), Some((Some(0), None)));
    reported.correlator.forget(CommandId(1));
    assert!(reported.correlator.is_empty());
}

#[test]
fn times_of_what_never_was_are_unknown() {
    let mut reported = Reported::new();
    let since = Some(3);
    let ages =
        Tcp { since_sent_ns: since, since_received_ns: since, since_acked_ns: since, ..Tcp::default() };
    // The kernel dates all three to the start of the machine.
    let syn = Tcp { retransmits: 2, unacked_bytes: 1, ..ages };
    reported.sockets(3000, vec![tcp(SYN_SENT, syn)]);
    let connection = reported.connection();
    assert_eq!(
        (connection.joined_late, connection.syn_retransmits, connection.start_ns),
        (true, 2, SinceStart(2000))
    );
    let found = connection.preexisting.clone().unwrap();
    assert_eq!((found.state, found.unacked_bytes), (TcpState::SynSent, 0));
    assert_eq!((found.since_sent_ns, found.since_received_ns, found.since_acked_ns), (None, None, None));

    let hello = Tcp { bytes_sent: Some(1500), bytes_received: Some(0), ..ages };
    reported.sockets(4000, vec![tcp(ESTABLISHED, hello)]);
    let found = reported.connection().preexisting.clone().unwrap();
    assert_eq!((found.since_sent_ns, found.since_received_ns, found.since_acked_ns), (since, None, since));
    assert_eq!(reported.correlator.loss(0).connections_joined_late, 1);
}

#[test]
fn a_handshake_that_was_found_has_no_duration_and_what_follows_is_seen() {
    let mut reported = Reported::new();
    reported.sockets(3000, vec![tcp(SYN_SENT, Tcp::default())]);
    reported.state(5000, SYN_SENT, ESTABLISHED);
    assert_eq!(reported.connection().connect_ns, None);
    reported.record(6000, 0, Wire::Handshake(Handshake { conn: 5, ..Handshake::new_zeroed() }));
    assert_eq!(reported.connection().tls_start_ns, Some(SinceStart(5000)));
    reported.state(7000, ESTABLISHED, 7);
    assert_eq!(reported.connection().end_ns, Some(SinceStart(6000)));
    let before = reported.events.len();
    // A look that was taken before its end does not bring it back.
    reported.sockets(7500, vec![tcp(ESTABLISHED, Tcp::default())]);
    assert_eq!(reported.events.len(), before);
    assert_eq!(reported.correlator.preexisting_trees(), [] as [TreeId; 0]);
}

#[test]
fn a_wait_for_a_name_server_ends_with_an_answer_or_its_socket() {
    let mut reported = Reported::new();
    reported.sockets(3000, vec![udp(1), udp(2)]);
    assert_eq!(reported.correlator.preexisting_trees(), [ROOT]);
    let remote = Ip::v4(u32::from_le_bytes([192, 0, 2, 1]));
    let len = ANSWER.len() as u32;
    let payload = Payload { generation: 9, len, family: 2, remote_port: 53, remote, ..Payload::new_zeroed() };
    reported.record(4000, PAYLOAD_RECEIVED, Wire::Dns(payload, ANSWER));
    assert_eq!(reported.dns_waits().last().map(|wait| wait.end_ns), Some(Some(SinceStart(3000))));
    reported.sockets(5000, vec![udp(2)]);
    assert_eq!(reported.correlator.preexisting_trees(), [ROOT], "the other one goes on");
    reported.sockets(6000, Vec::new());
    let ends: Vec<_> = reported.dns_waits().iter().map(|wait| (wait.id, wait.end_ns)).collect();
    assert_eq!(
        ends,
        [
            (DnsWaitId(1), None),
            (DnsWaitId(2), None),
            (DnsWaitId(1), Some(SinceStart(3000))),
            (DnsWaitId(2), Some(SinceStart(5000)))
        ]
    );
    assert_eq!(reported.correlator.preexisting_trees(), [] as [TreeId; 0]);
}

#[test]
fn a_lock_that_was_waited_for_is_taken() {
    let mut reported = Reported::new();
    let lock = PreexistingLock { pid: PID, tid: Tid(PID.0), dev: 1, ino: 2 };
    reported.correlator.preexisting_lock(ROOT, Monotonic(3000), &lock, &mut reported.events);
    let taken = observer_common::Lock { ino: 2, dev: 1, pad: 0 };
    reported.record(4000, observer_common::LOCK_TAKEN, Wire::Lock(taken));
    let Some(Body::Lock(wait)) = reported.events.last().map(|event| &event.body) else {
        panic!("a lock last")
    };
    let expected = LockWait {
        command: CommandId(1),
        id: LockId(1),
        pid: PID,
        start_ns: SinceStart(2000),
        ..LockWait::default()
    };
    assert_eq!(*wait, LockWait { end_ns: Some(SinceStart(3000)), joined_late: true, ..expected });
}

#[test]
fn a_process_that_ended_unseen_ends_its_command_nobody_knows_how() {
    let mut reported = Reported::new();
    reported.sockets(3000, vec![udp(1)]);
    reported.correlator.preexisting_gone(ROOT, PID, &mut reported.events);
    let Some(Body::Command(ended)) = reported.events.last().map(|event| &event.body) else {
        panic!("its end")
    };
    assert_eq!((ended.command.wall_ns, ended.command.exit_code), (Some(1000), None));
    assert_eq!(reported.correlator.preexisting_trees(), [] as [TreeId; 0]);
    reported.correlator.forget(CommandId(1));
    assert!(reported.correlator.is_empty());
}
