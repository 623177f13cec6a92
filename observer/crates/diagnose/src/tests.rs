//! Each detector on its fault, and silent on the healthy sibling.

mod children;
mod dns;
mod failures;
mod handshakes;
mod machine;
mod private;
mod repositories;
mod retries;
mod schemes;
mod servers;
mod ssh;
mod streams;
mod tunnels;

use model::event::{Body, CommandUpdate, Event, LockWait, Mark, WindowMark};
use model::id::{CommandId, ConnectionId, DnsId, Pid, RequestId};
use model::record::{
    Class, Command, Connection, ConnectionOutcome, CpuQuota, Dns, Go, Local, Phase, Process, Protocol,
    Request, RequestOutcome, Transport,
};
use model::report::Severity;
use model::stall::{StallKind, StallName};
use model::state::State;
use model::time::{Ns, SinceStart};

use super::*;

const MS: Ns = 1_000_000;
const S: Ns = 1_000_000_000;

/// As the report has it; the page's test wants to know.
fn stalls(command: &CommandState, now: SinceStart) -> Vec<Stall> {
    let stalls = super::stalls(command, now);
    let reversed = diagnose_by(command, now, Threads::Unknown, detectors::find_reversed).stalls;
    let reversed: Vec<Stall> = reversed.into_iter().map(|found| found.stall).collect();
    assert_eq!(stalls, reversed, "the order of detectors matters");
    page_tests::seen(&stalls);
    stalls
}

/// A command of ten seconds that slept all the time, and what is reported of it.
struct World(State, Command);

impl World {
    fn new() -> Self {
        let command = Command {
            id: CommandId(1),
            pid: Pid(10),
            argv: vec!["go".into(), "mod".into(), "download".into()],
            wall_ns: Some(10 * S),
            exit_code: Some(0),
            go: Go {
                goproxy: Some("https://proxy.test,direct".into()),
                gosumdb: Some("sumdb.test".into()),
                gomaxprocs: Some(2),
                goprivate: Some(String::new()),
                gonoproxy: Some(String::new()),
                gonosumdb: Some(String::new()),
                ..Go::default()
            },
            local: Some(Local::default()),
            ..Command::default()
        };
        Self(State::new(), command)
    }

    fn report(mut self, at_ns: SinceStart, body: Body) -> Self {
        self.0.apply(&Event { at_ns, body });
        self
    }

    fn command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.1);
        self
    }

    fn dns(self, change: impl FnOnce(&mut Dns)) -> Self {
        let mut dns = Dns {
            command: CommandId(1),
            id: DnsId(self.0.command(CommandId(1)).map_or(1, |command| command.dns.len() as u32 + 1)),
            pid: Pid(10),
            server: "192.0.2.53:53".into(),
            name: "proxy.test".into(),
            qtype: "A".into(),
            attempt: 1,
            rcode: Some("NOERROR".into()),
            answers: Some(1),
            start_ns: SinceStart(S),
            end_ns: Some(SinceStart(S + 10 * MS)),
            ..Dns::default()
        };
        change(&mut dns);
        let given_up = dns.start_ns + 5 * S;
        self.report(given_up, Body::Dns(dns))
    }

    /// An unanswered query that was given up after five seconds.
    fn unanswered(self, change: impl FnOnce(&mut Dns)) -> Self {
        self.dns(|dns| {
            (dns.rcode, dns.answers, dns.end_ns, dns.timed_out) = (None, None, None, true);
            change(dns);
        })
    }

    fn connection(self, change: impl FnOnce(&mut Connection)) -> Self {
        let mut connection = Connection {
            command: CommandId(1),
            id: ConnectionId(
                self.0.command(CommandId(1)).map_or(1, |command| command.connections.len() as u32 + 1),
            ),
            pid: Pid(10),
            local: "192.0.2.10:40000".into(),
            remote: "192.0.2.1:443".into(),
            server_name: Some("proxy.test".into()),
            alpn: Some("h2".into()),
            alpn_offered: Some(vec!["h2".into(), "http/1.1".into()]),
            tls_version: Some("1.3".into()),
            hello_bytes: Some(1500),
            start_ns: SinceStart(S),
            connect_ns: Some(20 * MS),
            tls_start_ns: Some(SinceStart(S + 20 * MS)),
            server_hello_ns: Some(SinceStart(S + 40 * MS)),
            tls_ns: Some(25 * MS),
            rtt_ns: Some(20 * MS),
            requests: 3,
            end_ns: Some(SinceStart(9 * S)),
            outcome: ConnectionOutcome::Established,
            ..Connection::default()
        };
        change(&mut connection);
        self.report(SinceStart(S), Body::Connection(connection))
    }

    fn request(self, change: impl FnOnce(&mut Request)) -> Self {
        let id = self.0.command(CommandId(1)).map_or(1, |command| command.requests.len() as u32 + 1);
        let mut request = Request {
            command: CommandId(1),
            id: RequestId(id),
            pid: Pid(10),
            connection: Some(ConnectionId(1)),
            protocol: Protocol::H2,
            stream: Some(2 * id + 1),
            method: Some("GET".into()),
            authority: Some("proxy.test".into()),
            path: Some(format!("/example.com/m{id}/@v/v1.0.0.zip")),
            class: Class::Zip,
            module: Some(format!("example.com/m{id}")),
            version: Some("v1.0.0".into()),
            status: Some(200),
            start_ns: SinceStart(2 * S),
            first_byte_ns: Some(SinceStart(2 * S + 30 * MS)),
            end_ns: Some(SinceStart(2 * S + 40 * MS)),
            bytes: Some(10_000),
            outcome: RequestOutcome::Ok,
            ..Request::default()
        };
        change(&mut request);
        self.report(SinceStart(2 * S), Body::Request(request))
    }

    fn retransmitted(self, times: &[Ns]) -> Self {
        times.iter().fold(self, |world, at_ns| {
            world.report(
                SinceStart(*at_ns),
                Body::Retransmission(Mark { command: CommandId(1), connection: ConnectionId(1), syn: false }),
            )
        })
    }

    fn stalls(mut self) -> Vec<Stall> {
        let stalls = self.judged();
        self.elsewhere();
        stalls
    }

    fn judged(&mut self) -> Vec<Stall> {
        let idle = vec![(self.1.start_ns, SinceStart(10 * S))];
        let update = CommandUpdate { command: self.1.clone(), idle, gaps: Vec::new() };
        self.0.apply(&Event { at_ns: SinceStart(10 * S), body: Body::Command(update) });
        stalls(self.0.command(CommandId(1)).unwrap(), SinceStart(10 * S))
    }

    fn requests(&self) -> Vec<Request> {
        let requests = self.0.command(CommandId(1)).unwrap().requests.values();
        requests.map(|request| Request::clone(request)).collect()
    }

    /// The same with other settings, and with requests of other classes.
    fn elsewhere(mut self) {
        self.1.go.goproxy = Some("https://proxy.test|https://mirror.test,direct".into());
        self.judged();
        // What failed there was asked of the next one, too.
        for (request, id) in self.requests().into_iter().zip(1_000..) {
            let mirror = Request { id: RequestId(id), authority: Some("mirror.test".into()), ..request };
            self.0.apply(&Event { at_ns: SinceStart(2 * S), body: Body::Request(mirror) });
        }
        self.judged();
        for sumdb in ["sumdb.example.test https://sumdb.test", "sumdb.test https://proxy.test"] {
            self.1.go.gosumdb = Some(sumdb.into());
            self.judged();
        }
        let requests = self.requests();
        for class in [Class::SumdbTile, Class::Toolchain, Class::GoGet] {
            for request in requests.iter().cloned() {
                self.0.apply(&Event {
                    at_ns: SinceStart(2 * S),
                    body: Body::Request(Request { class, ..request }),
                });
            }
            self.judged();
        }
        for request in requests {
            self.0.apply(&Event { at_ns: SinceStart(2 * S), body: Body::Request(request) });
        }
        self.1.go.gonoproxy = Some("corp.test".into());
        self.judged();
    }

    #[track_caller]
    fn finds(self, kind: StallKind, phase: Phase, host: Option<&str>) -> Stall {
        let stalls = self.stalls();
        let kinds: Vec<&str> = stalls.iter().map(|stall| stall.kind.as_str()).collect();
        let stall =
            stalls.iter().find(|stall| stall.kind == kind).unwrap_or_else(|| panic!("{kind} in {kinds:?}"));
        assert_eq!((stall.phase, stall.host.as_deref()), (phase, host), "{stall:?}");
        assert!(!stall.evidence.is_empty() && stall.start_ns <= stall.end_ns, "{stall:?}");
        stall.clone()
    }

    #[track_caller]
    fn finds_no(self, kind: StallKind) {
        let stalls = self.stalls();
        assert!(stalls.iter().all(|stall| stall.kind != kind), "{stalls:?}");
    }
}

#[track_caller]
fn near(cost: Ns, wanted: Ns) {
    assert!(cost.abs_diff(wanted) * 10 <= wanted, "{cost} is not {wanted}");
}

#[test]
fn a_healthy_command_has_no_finding_worth_a_warning() {
    let world = World::new().dns(|_| {}).connection(|_| {}).request(|_| {}).request(|_| {});
    let bad: Vec<_> = world.stalls().into_iter().filter(|stall| stall.severity > Severity::Info).collect();
    assert_eq!(bad, []);
}

#[test]
fn what_lasts_is_found_and_costs_while_it_lasts() {
    let mut world = World::new()
        .command(|command| (command.wall_ns, command.exit_code) = (None, None))
        .connection(|_| {})
        .request(open);
    let update = CommandUpdate {
        command: world.1.clone(),
        idle: vec![(SinceStart(0), SinceStart(S))],
        gaps: Vec::new(),
    };
    world.0.apply(&Event { at_ns: SinceStart(2 * S), body: Body::Command(update) });
    let at = |now| stalls(world.0.command(CommandId(1)).unwrap(), now);
    assert!(at(SinceStart(4 * S)).iter().all(|stall| stall.kind != StallKind::H2Silent));
    let stall = at(SinceStart(8 * S)).into_iter().find(|stall| stall.kind == StallKind::H2Silent).unwrap();
    near(stall.cost_ns, 6 * S);
}

fn names(stall: &Stall) -> Vec<&str> {
    stall.remedies.iter().map(|remedy| remedy.name.as_str()).collect()
}

/// A connection that did not come to a hello.
fn no_hello(connection: &mut Connection) {
    (connection.server_name, connection.alpn, connection.alpn_offered) = (None, None, None);
    (connection.tls_version, connection.tls_start_ns, connection.tls_ns) = (None, None, None);
    (connection.connect_ns, connection.requests) = (None, 0);
}

/// No `ServerHello`.
fn hello_only(connection: &mut Connection) {
    (connection.tls_version, connection.server_hello_ns, connection.alpn) = (None, None, None);
    (connection.tls_ns, connection.tls_failed, connection.requests) = (Some(5 * S), true, 0);
}

fn open(request: &mut Request) {
    (request.status, request.first_byte_ns, request.end_ns) = (None, None, None);
    (request.bytes, request.outcome) = (None, RequestOutcome::Open);
}

/// A stall without anything in it.
pub(crate) fn no_stall() -> Stall {
    Stall {
        kind: StallName::Unknown(String::new()),
        phase: Phase::Proxy,
        host: None,
        severity: Severity::Info,
        start_ns: SinceStart(0),
        end_ns: SinceStart(0),
        cost_ns: 0,
        summary: String::new(),
        evidence: Vec::new(),
        advice: String::new(),
        fatal: false,
        remedies: Vec::new(),
    }
}
