//! Many commands whose records come mixed, late or not at all: what is reported of each is its own.

use model::id::{CommandId, Pid, TreeId};
use model::record::{Process, Request, RequestOutcome};
use observer_common::http2::END_STREAM;
use observer_common::http2::frame::DATA;
use observer_common::{
    EXEC_ROOT, EXIT_ROOT, Exec, Exit, FRAME_EOF, FRAME_JOINED_LATE, FRAME_LAST, FRAME_READ, Fork, Frame,
    Handshake, Header, Ip, Payload,
};
use zerocopy::FromZeros as _;

use super::*;

/// HEADERS, and its flag `END_HEADERS` (RFC 9113, 6.2).
const HEADERS: (u8, u8) = (1, 4);
/// The newest entry of the header table (RFC 7541, 6.1).
const NEWEST: &[u8] = &[0xbe];

/// A correlator and what it reported.
struct Reported {
    correlator: Correlator,
    events: Vec<Event>,
    at_ns: u64,
}

impl Reported {
    fn new() -> Self {
        Self {
            correlator: Correlator::new(Monotonic(0), &Resolver { timeout_s: 5, ..Resolver::default() }),
            events: Vec::new(),
            at_ns: 0,
        }
    }

    fn record(&mut self, root: TreeId, pid: Pid, flags: u16, body: Wire<'_>) {
        self.at_ns += 1000;
        let header =
            Header { pid: pid.0, tid: pid.0, root: root.0, flags, at_ns: self.at_ns, ..Header::new_zeroed() };
        self.correlator.record(&Record { header, body }, &mut self.events);
    }

    fn exec(&mut self, root: TreeId, pid: Pid, flags: u16, args: &[u8]) {
        let exec = Exec { args_len: args.len() as u32, ..Exec::new_zeroed() };
        self.record(root, pid, flags, Wire::Exec(exec, args));
    }

    fn fork(&mut self, root: TreeId, pid: Pid, child: Pid) {
        self.record(root, pid, 0, Wire::Fork(Fork { child: child.0, pad: 0 }));
    }

    fn exit(&mut self, root: TreeId, pid: Pid, flags: u16) {
        self.record(root, pid, flags, Wire::Exit(Exit::new_zeroed()));
    }

    fn handshake(&mut self, root: TreeId, pid: Pid, conn: u64) {
        self.record(root, pid, 0, Wire::Handshake(Handshake { tls: 1, conn, ..Handshake::new_zeroed() }));
    }

    /// The headers of a request, on the connection of a process that has one.
    fn headers(&mut self, root: TreeId, pid: Pid, conn: u64, stream: u32, block: &[u8]) {
        let (frame_type, frame_flags) = HEADERS;
        let len = block.len() as u32;
        let frame = Frame { tls: 1, conn, stream, len, frame_type, frame_flags, ..Frame::new_zeroed() };
        self.record(root, pid, FRAME_LAST, Wire::Frame(frame, block));
    }

    /// A frame of a response without a body, or the last one of a body.
    fn received(&mut self, frame: (u8, u8), stream: u32, block: &[u8]) {
        let ((frame_type, frame_flags), len) = (frame, block.len() as u32);
        let frame = Frame { tls: 1, conn: 1, stream, len, frame_type, frame_flags, ..Frame::new_zeroed() };
        self.record(TreeId(2), Pid(101), FRAME_LAST | FRAME_READ, Wire::Frame(frame, block));
    }

    /// How a request turned out.
    fn outcome(&self, stream: u32) -> (Option<u16>, RequestOutcome) {
        let id = self.requests().into_iter().find(|request| request.stream == Some(stream)).unwrap().id;
        let updates = self.events.iter().filter_map(|event| match &event.body {
            Body::RequestUpdate(update) if update.id == id => Some(update),
            _ => None,
        });
        updates.fold((None, RequestOutcome::Open), |(status, _), update| {
            (update.status.or(status), update.outcome)
        })
    }

    fn requests(&self) -> Vec<&Request> {
        let requests = self.events.iter().filter_map(|event| match &event.body {
            Body::Request(request) => Some(request),
            _ => None,
        });
        requests.collect()
    }

    fn processes(&self) -> Vec<&Process> {
        let processes = self.events.iter().filter_map(|event| match &event.body {
            Body::Process(process) => Some(process),
            _ => None,
        });
        processes.collect()
    }
}

/// `:path` as a literal that goes into the header table.
fn path(path: &str) -> Vec<u8> {
    [&[0x44, path.len() as u8][..], path.as_bytes()].concat()
}

/// Command `n` (from 1) has tree `n + 1`, process `n + 100` and connection `n`.
fn ids(n: u32) -> (TreeId, Pid, u64) {
    (TreeId(n + 1), Pid(n + 100), u64::from(n))
}

fn two_hundred() -> Reported {
    let mut reported = Reported::new();
    (1..=200).for_each(|n| reported.exec(ids(n).0, ids(n).1, EXEC_ROOT, b"go\0"));
    (1..=200).for_each(|n| reported.handshake(ids(n).0, ids(n).1, ids(n).2));
    (1..=200).for_each(|n| reported.headers(ids(n).0, ids(n).1, ids(n).2, 1, &path(&format!("/u{n}"))));
    reported
}

#[test]
fn two_hundred_commands_with_equal_addresses_do_not_mix() {
    let mut reported = two_hundred();
    (1..=200).rev().for_each(|n| reported.headers(ids(n).0, ids(n).1, ids(n).2, 3, NEWEST));
    let requests = reported.requests();
    assert_eq!(requests.len(), 400);
    for request in requests {
        let n = request.command.0;
        assert_eq!((request.pid, request.path.clone()), (ids(n).1, Some(format!("/u{n}"))));
    }
}

#[test]
fn after_a_gap_two_hundred_commands_have_unknown_paths_and_never_wrong_ones() {
    let mut reported = two_hundred();
    reported.correlator.gap(Monotonic(0), Monotonic(0));
    (1..=200).for_each(|n| reported.headers(ids(n).0, ids(n).1, ids(n).2, 3, NEWEST));
    let after: Vec<_> = reported.requests().into_iter().filter(|request| request.stream == Some(3)).collect();
    assert_eq!(after.len(), 200);
    assert!(after.iter().all(|request| request.path.is_none()), "{after:?}");
}

#[test]
fn a_connection_whose_beginning_was_lost_is_not_taken_for_the_former_at_its_address() {
    let mut reported = Reported::new();
    reported.exec(TreeId(2), Pid(10), EXEC_ROOT, b"go\0");
    reported.handshake(TreeId(2), Pid(10), 7);
    reported.headers(TreeId(2), Pid(10), 7, 1, &path("/former"));
    reported.correlator.gap(Monotonic(0), Monotonic(0));
    reported.headers(TreeId(2), Pid(10), 8, 3, &path("/its-own"));
    reported.headers(TreeId(2), Pid(10), 8, 5, NEWEST);
    let paths: Vec<_> = reported.requests().iter().map(|request| request.path.as_deref()).collect();
    assert_eq!(paths, [Some("/former"), Some("/its-own"), Some("/its-own")]);
}

#[test]
fn what_a_connection_joined_late_answers_is_known_from_its_first_frame_on() {
    let (root, pid, conn) = ids(1);
    let mut reported = Reported::new();
    reported.exec(root, pid, EXEC_ROOT, b"go\0");
    let joined = Frame { tls: 1, conn, ..Frame::new_zeroed() };
    reported.record(root, pid, FRAME_JOINED_LATE, Wire::Frame(joined, &[]));
    for stream in [7, 9, 11, 13] {
        reported.headers(root, pid, conn, stream, &path(&format!("/{stream}")));
    }
    // The head of 7 went by before frames were found again, and that of 9 with all its body.
    reported.received((DATA, END_STREAM), 7, b"x");
    reported.received(HEADERS, 11, &[0x88]);
    reported.received((DATA, END_STREAM), 11, b"x");
    // An answer whose status is an entry of the table that was not seen.
    reported.received(HEADERS, 13, &[0xbe]);
    reported.received((DATA, END_STREAM), 13, b"x");
    reported.record(root, pid, FRAME_READ | FRAME_EOF, Wire::Frame(joined, &[]));
    let paths: Vec<_> = reported.requests().iter().map(|request| request.path.clone().unwrap()).collect();
    assert_eq!(paths, ["/7", "/9", "/11", "/13"]);
    assert_eq!(reported.outcome(7), (None, RequestOutcome::Unknown));
    assert_eq!(reported.outcome(9), (None, RequestOutcome::Unknown), "its answer may have gone by");
    assert_eq!(reported.outcome(11), (Some(200), RequestOutcome::Ok));
    assert_eq!(reported.outcome(13), (None, RequestOutcome::Ok));
    assert_eq!(reported.correlator.loss(0).connections_joined_late, 1);
}

#[test]
fn a_name_server_that_the_command_itself_started_asks_on_behalf_of_its_queries() {
    let (root, pid, _) = ids(1);
    let server = Pid(7);
    let mut reported = Reported::new();
    reported.exec(root, pid, EXEC_ROOT, b"podman\0");
    let comm = *b"aardvark-dns\0\0\0\0";
    reported.record(root, server, 0, Wire::Exec(Exec { comm, ..Exec::new_zeroed() }, b"aardvark-dns\0"));
    reported.correlator.local_resolver(LocalResolver {
        pid: server,
        comm: "aardvark-dns".into(),
        addresses: vec!["10.89.0.1".parse().unwrap()],
    });
    let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    let asked = |remote: [u8; 4], generation| {
        let remote = Ip::v4(u32::from_le_bytes(remote));
        Payload { family: 2, remote_port: 53, generation, remote, ..Payload::new_zeroed() }
    };
    reported.record(root, pid, 0, Wire::Dns(asked([10, 89, 0, 1], 1), query));
    reported.record(root, server, 0, Wire::Dns(asked([192, 0, 2, 1], 2), query));
    let queries: Vec<_> = reported
        .events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Dns(dns) => Some((dns.server.clone(), dns.on_behalf_of.map(|id| id.0))),
            _ => None,
        })
        .collect();
    assert_eq!(queries, [("10.89.0.1:53".to_owned(), None), ("192.0.2.1:53".to_owned(), Some(1))]);
}

#[test]
fn a_child_that_outlives_its_command_is_the_commands_until_that_is_forgotten() {
    let mut reported = Reported::new();
    reported.exec(TreeId(2), Pid(10), EXEC_ROOT, b"go\0run\0");
    reported.fork(TreeId(2), Pid(10), Pid(11));
    reported.exit(TreeId(2), Pid(10), EXIT_ROOT);
    reported.exec(TreeId(2), Pid(11), 0, b"server\0");
    let last = reported.processes().pop().unwrap();
    assert_eq!((last.command, last.pid, &*last.args), (CommandId(1), Pid(11), &["server".to_owned()][..]));
    assert_eq!(
        (reported.correlator.pids(CommandId(1)), reported.correlator.running()),
        (vec![Pid(11)], false)
    );

    reported.correlator.forget(CommandId(1));
    let reported_before = reported.events.len();
    reported.fork(TreeId(2), Pid(11), Pid(12));
    reported.handshake(TreeId(2), Pid(11), 7);
    reported.headers(TreeId(2), Pid(11), 7, 1, &path("/later"));
    reported.exit(TreeId(2), Pid(11), 0);
    assert_eq!(reported.events.len(), reported_before, "nobody's");
}

#[test]
fn a_number_that_comes_again_is_another_process() {
    let mut reported = Reported::new();
    reported.exec(TreeId(2), Pid(10), EXEC_ROOT, b"go\0");
    reported.fork(TreeId(2), Pid(10), Pid(11));
    reported.handshake(TreeId(2), Pid(11), 7);
    reported.headers(TreeId(2), Pid(11), 7, 1, &path("/first"));
    reported.exit(TreeId(2), Pid(11), 0);
    reported.fork(TreeId(2), Pid(10), Pid(11));
    reported.headers(TreeId(2), Pid(11), 8, 1, NEWEST);
    let starts: Vec<_> =
        reported.processes().iter().filter(|p| p.pid == Pid(11)).map(|p| (p.start_ns, p.end_ns)).collect();
    assert_eq!(starts.len(), 3);
    assert!(starts[0].0 == starts[1].0 && starts[1].1.is_some() && starts[2].0 > starts[1].0, "{starts:?}");
    let second = reported.requests().pop().unwrap();
    assert_eq!((second.command, second.path.as_deref()), (CommandId(1), None));
}

#[test]
fn a_process_whose_predecessors_end_was_lost_belongs_to_its_own_command() {
    let mut reported = Reported::new();
    reported.exec(TreeId(2), Pid(10), EXEC_ROOT, b"go\0");
    reported.fork(TreeId(2), Pid(10), Pid(11));
    reported.exec(TreeId(3), Pid(20), EXEC_ROOT, b"go\0");
    reported.correlator.gap(Monotonic(0), Monotonic(0)); // 11 ended, and 20 forked another 11
    reported.exec(TreeId(3), Pid(11), 0, b"git\0");
    reported.exit(TreeId(3), Pid(11), 0);
    let commands: Vec<_> =
        reported.processes().iter().filter(|p| p.pid == Pid(11)).map(|p| p.command).collect();
    assert_eq!(commands, [1, 2, 2].map(CommandId));
}

#[test]
fn ten_thousand_commands_leave_nothing_behind() {
    let mut reported = Reported::new();
    for n in 1..=10_000 {
        let (root, pid, conn) = ids(n);
        reported.exec(root, pid, EXEC_ROOT, b"go\0version\0");
        reported.fork(root, pid, Pid(pid.0 + 1));
        reported.handshake(root, pid, conn);
        reported.headers(root, pid, conn, 1, &path("/a"));
        reported.exit(root, Pid(pid.0 + 1), 0);
        reported.exit(root, pid, EXIT_ROOT);
        reported.correlator.forget(CommandId(n));
        reported.events.clear();
    }
    assert!(reported.correlator.is_empty());
}

#[test]
fn what_an_agent_answers_late_is_a_wait_and_what_it_answers_at_once_none() {
    use model::record::AgentWait;
    use observer_common::{PAYLOAD_AGENT, PAYLOAD_RECEIVED, Payload};

    const MS: u64 = 1_000_000;
    let mut reported = Reported::new();
    let (root, ssh) = (TreeId(1), Pid(8));
    reported.exec(root, Pid(7), EXEC_ROOT, b"go\0mod\0download\0");
    reported.fork(root, Pid(7), ssh);
    let agent = |reported: &mut Reported, flags: u16, at_ms: u64| {
        reported.at_ns = at_ms * MS;
        reported.record(root, ssh, PAYLOAD_AGENT | flags, Wire::Dns(Payload::new_zeroed(), &[]));
        reported.processes().last().unwrap().agent_waits.clone()
    };
    let wait = |from: u64, to: Option<u64>| AgentWait {
        start_ns: SinceStart(from * MS + 1000),
        end_ns: to.map(|to| SinceStart(to * MS + 1000)),
    };
    assert_eq!(agent(&mut reported, 0, 10), [wait(10, None)], "while it lasts");
    assert_eq!(agent(&mut reported, PAYLOAD_RECEIVED, 12), [], "it had the keys at hand");
    agent(&mut reported, 0, 20);
    assert_eq!(agent(&mut reported, PAYLOAD_RECEIVED, 900), [wait(20, Some(900))]);
    assert_eq!(agent(&mut reported, PAYLOAD_RECEIVED, 910), [wait(20, Some(900))], "the rest of the answer");
}
