//! Each detector on its fault, and silent on the healthy sibling.

use super::*;
use crate::model::event::{Body, CommandUpdate, Event, LockWait, Mark, WindowMark};
use crate::model::record::{
    Class, Command, Connection, ConnectionOutcome, Dns, Go, Local, Phase, Process, Protocol, Request,
    RequestOutcome, Transport,
};
use crate::model::report::Severity;
use crate::model::state::State;

const MS: Ns = 1_000_000;
const S: Ns = 1_000_000_000;

/// As the report has it; the page's test wants to know.
fn stalls(command: &CommandState, now: Ns) -> Vec<Stall> {
    let stalls = super::stalls(command, now);
    page_tests::seen(&stalls);
    stalls
}

/// A command of ten seconds that slept all the time, and what is told of it.
struct World(State, Command);

impl World {
    fn new() -> Self {
        let command = Command {
            id: 1,
            pid: 10,
            argv: vec!["go".into(), "mod".into(), "download".into()],
            wall_ns: Some(10 * S),
            exit_code: Some(0),
            go: Go { gosumdb: Some("sumdb.test".into()), gomaxprocs: Some(2), ..Go::default() },
            local: Some(Local::default()),
            ..Command::default()
        };
        Self(State::new(), command)
    }

    fn tell(mut self, at_ns: Ns, body: Body) -> Self {
        self.0.apply(&Event { at_ns, body });
        self
    }

    fn command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.1);
        self
    }

    fn dns(self, change: impl FnOnce(&mut Dns)) -> Self {
        let mut dns = Dns {
            command: 1,
            id: self.0.command(1).map_or(1, |command| command.dns.len() as u32 + 1),
            pid: 10,
            server: "192.0.2.53:53".into(),
            name: "proxy.test".into(),
            qtype: "A".into(),
            attempt: 1,
            rcode: Some("NOERROR".into()),
            answers: Some(1),
            start_ns: S,
            end_ns: Some(S + 10 * MS),
            ..Dns::default()
        };
        change(&mut dns);
        let given_up = dns.start_ns + 5 * S;
        self.tell(given_up, Body::Dns(dns))
    }

    /// An unanswered question that was given up after five seconds.
    fn unanswered(self, change: impl FnOnce(&mut Dns)) -> Self {
        self.dns(|dns| {
            (dns.rcode, dns.answers, dns.end_ns, dns.timed_out) = (None, None, None, true);
            change(dns);
        })
    }

    fn connection(self, change: impl FnOnce(&mut Connection)) -> Self {
        let mut connection = Connection {
            command: 1,
            id: self.0.command(1).map_or(1, |command| command.connections.len() as u32 + 1),
            pid: 10,
            local: "192.0.2.10:40000".into(),
            remote: "192.0.2.1:443".into(),
            server_name: Some("proxy.test".into()),
            alpn: Some("h2".into()),
            alpn_offered: Some(vec!["h2".into(), "http/1.1".into()]),
            tls_version: Some("1.3".into()),
            hello_bytes: Some(1500),
            start_ns: S,
            connect_ns: Some(20 * MS),
            tls_start_ns: Some(S + 20 * MS),
            server_hello_ns: Some(S + 40 * MS),
            tls_ns: Some(25 * MS),
            rtt_ns: Some(20 * MS),
            requests: 3,
            end_ns: Some(9 * S),
            outcome: ConnectionOutcome::Established,
            ..Connection::default()
        };
        change(&mut connection);
        self.tell(S, Body::Connection(connection))
    }

    fn request(self, change: impl FnOnce(&mut Request)) -> Self {
        let id = self.0.command(1).map_or(1, |command| command.requests.len() as u32 + 1);
        let mut request = Request {
            command: 1,
            id,
            pid: 10,
            connection: Some(1),
            protocol: Protocol::H2,
            stream: Some(2 * id + 1),
            method: Some("GET".into()),
            authority: Some("proxy.test".into()),
            path: Some(format!("/example.com/m{id}/@v/v1.0.0.zip")),
            class: Class::Zip,
            module: Some(format!("example.com/m{id}")),
            version: Some("v1.0.0".into()),
            status: Some(200),
            start_ns: 2 * S,
            first_byte_ns: Some(2 * S + 30 * MS),
            end_ns: Some(2 * S + 40 * MS),
            bytes: Some(10_000),
            outcome: RequestOutcome::Ok,
            reset_code: None,
        };
        change(&mut request);
        self.tell(2 * S, Body::Request(request))
    }

    fn retransmitted(self, times: &[Ns]) -> Self {
        times.iter().fold(self, |world, at_ns| {
            world.tell(*at_ns, Body::Retransmission(Mark { command: 1, connection: 1, syn: false }))
        })
    }

    fn stalls(mut self) -> Vec<Stall> {
        let stalls = self.judged();
        self.elsewhere();
        stalls
    }

    fn judged(&mut self) -> Vec<Stall> {
        let idle = vec![(self.1.start_ns, 10 * S)];
        let update = CommandUpdate { command: self.1.clone(), idle };
        self.0.apply(&Event { at_ns: 10 * S, body: Body::Command(update) });
        stalls(self.0.command(1).unwrap(), 10 * S)
    }

    /// The same with other settings, and with requests of other classes.
    fn elsewhere(mut self) {
        self.1.go.goproxy = Some("https://proxy.test|https://mirror.test,direct".into());
        self.judged();
        for sumdb in ["sumdb.example.test https://sumdb.test", "sumdb.test https://proxy.test"] {
            self.1.go.gosumdb = Some(sumdb.into());
            self.judged();
        }
        let requests: Vec<Request> =
            self.0.command(1).unwrap().requests.values().map(|request| Request::clone(request)).collect();
        for class in [Class::SumdbTile, Class::Toolchain, Class::GoGet] {
            for request in requests.iter().cloned() {
                self.0.apply(&Event { at_ns: 2 * S, body: Body::Request(Request { class, ..request }) });
            }
            self.judged();
        }
    }

    #[track_caller]
    fn finds(self, kind: &str, phase: Phase, host: Option<&str>) -> Stall {
        let stalls = self.stalls();
        let kinds: Vec<&str> = stalls.iter().map(|stall| stall.kind.as_str()).collect();
        let stall =
            stalls.iter().find(|stall| stall.kind == kind).unwrap_or_else(|| panic!("{kind} in {kinds:?}"));
        assert_eq!((stall.phase, stall.host.as_deref()), (phase, host), "{stall:?}");
        assert!(!stall.evidence.is_empty() && stall.start_ns <= stall.end_ns, "{stall:?}");
        stall.clone()
    }

    #[track_caller]
    fn finds_no(self, kind: &str) {
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
fn a_question_that_is_asked_again_after_five_seconds_is_a_timeout() {
    let world = World::new()
        .unanswered(|_| {})
        .dns(|dns| (dns.attempt, dns.start_ns, dns.end_ns) = (2, 6 * S, Some(6 * S + MS)));
    let stall = world.finds("dns-timeout", Phase::Dns, Some("192.0.2.53:53"));
    near(stall.cost_ns, 5 * S);
    assert_eq!(stall.severity, Severity::Critical);
    assert_eq!(
        stall.remedies[0].attempt,
        "goobserve compare --with 'resolv=options timeout:1 attempts:3' -- go mod download"
    );
    World::new().dns(|_| {}).finds_no("dns-timeout");
}

#[test]
fn a_question_that_is_asked_again_after_one_second_is_a_timeout_too() {
    let after = |ms: Ns| {
        let first = move |dns: &mut Dns| {
            (dns.rcode, dns.answers, dns.timed_out, dns.end_ns) = (None, None, true, Some(S + ms * MS));
        };
        World::new()
            .dns(first)
            .dns(move |dns| (dns.attempt, dns.start_ns, dns.end_ns) = (2, S + ms * MS, Some(3 * S)))
    };
    near(after(1000).finds("dns-timeout", Phase::Dns, Some("192.0.2.53:53")).cost_ns, S);
    // What was asked beside it had its answer in time, and bears nothing of it.
    let beside = |dns: &mut Dns| (dns.qtype, dns.end_ns) = ("AAAA".into(), Some(S + 140 * MS));
    let cost_ns = after(1000).dns(beside).finds("dns-timeout", Phase::Dns, Some("192.0.2.53:53")).cost_ns;
    assert_eq!(cost_ns, S);
    after(400).finds_no("dns-timeout");
}

#[test]
fn an_aaaa_that_never_comes_is_told_from_a_lost_answer() {
    let aaaa = |dns: &mut Dns| dns.qtype = "AAAA".into();
    near(
        World::new()
            .dns(|_| {})
            .unanswered(aaaa)
            .finds("dns-aaaa-silent", Phase::Dns, Some("192.0.2.53:53"))
            .cost_ns,
        5 * S,
    );
    World::new().unanswered(aaaa).finds_no("dns-aaaa-silent");
    let other = |dns: &mut Dns| (dns.qtype, dns.name) = ("AAAA".into(), "sumdb.test".into());
    World::new().dns(|_| {}).unanswered(aaaa).dns(other).finds_no("dns-aaaa-silent");
}

#[test]
fn a_late_answer_is_slow_and_an_early_one_is_not() {
    let after = |ms: Ns| World::new().dns(move |dns| dns.end_ns = Some(dns.start_ns + ms * MS));
    near(after(400).finds("dns-slow", Phase::Dns, Some("192.0.2.53:53")).cost_ns, 400 * MS);
    after(149).finds_no("dns-slow");
    let far = |ms| after(ms).connection(|c| c.rtt_ns = Some(200 * MS));
    far(349).finds_no("dns-slow");
    near(far(600).finds("dns-slow", Phase::Dns, Some("192.0.2.53:53")).cost_ns, 600 * MS);
}

#[test]
fn suffixes_of_the_search_list_are_seen_by_the_name_without_them() {
    let suffixed =
        |dns: &mut Dns| (dns.name, dns.rcode) = ("proxy.test.corp.test".into(), Some("NXDOMAIN".into()));
    World::new().dns(suffixed).dns(|_| {}).finds("dns-search", Phase::Dns, Some("192.0.2.53:53"));
    World::new().dns(|dns| dns.rcode = Some("NXDOMAIN".into())).finds_no("dns-search");
}

#[test]
fn failures_of_a_resolver_name_it() {
    World::new().dns(|dns| dns.rcode = Some("SERVFAIL".into())).finds(
        "dns-error",
        Phase::Dns,
        Some("192.0.2.53:53"),
    );
    World::new().dns(|dns| dns.transport = Transport::Tcp).finds(
        "dns-error",
        Phase::Dns,
        Some("192.0.2.53:53"),
    );
    World::new().dns(|dns| dns.rcode = Some("NXDOMAIN".into())).finds_no("dns-error");
}

#[test]
fn netdns_without_cgo_has_no_effect() {
    let with = |cgo| {
        World::new().command(move |command| {
            (command.go.godebug, command.go.cgo) = (Some("http2client=0,netdns=cgo".into()), cgo);
        })
    };
    with(Some(false)).finds("netdns-ignored", Phase::Dns, None);
    with(Some(true)).finds_no("netdns-ignored");
    with(None).finds_no("netdns-ignored");
}

#[test]
fn a_syn_that_is_sent_again_was_lost() {
    let lost = |c: &mut Connection| {
        (c.syn_retransmits, c.connect_ns, c.tls_start_ns) = (2, Some(3 * S), Some(4 * S));
    };
    near(World::new().connection(lost).finds("syn-lost", Phase::Connect, Some("proxy.test")).cost_ns, 3 * S);
    // … of which the way itself takes its part.
    let far = |c: &mut Connection| {
        lost(c);
        c.rtt_ns = Some(S);
    };
    near(World::new().connection(far).finds("syn-lost", Phase::Connect, Some("proxy.test")).cost_ns, 2 * S);
    World::new().connection(|_| {}).finds_no("syn-lost");
}

/// A connection that did not come to a hello.
fn no_hello(connection: &mut Connection) {
    (connection.server_name, connection.alpn, connection.alpn_offered) = (None, None, None);
    (connection.tls_version, connection.tls_start_ns, connection.tls_ns) = (None, None, None);
    (connection.connect_ns, connection.requests) = (None, 0);
}

#[test]
fn a_refused_connection_is_named_after_what_was_looked_up_before_it() {
    let refused = |c: &mut Connection| {
        no_hello(c);
        (c.outcome, c.start_ns, c.end_ns) = (ConnectionOutcome::Refused, 2 * S, Some(2 * S + MS));
    };
    World::new().dns(|_| {}).connection(refused).finds("connect-refused", Phase::Connect, Some("proxy.test"));
    World::new().connection(refused).finds("connect-refused", Phase::Connect, Some("192.0.2.1:443"));
    // A name server as far away as who refuses is not slow.
    let far = |c: &mut Connection| {
        refused(c);
        (c.rtt_ns, c.end_ns) = (None, Some(2 * S + 200 * MS));
    };
    let late = |dns: &mut Dns| dns.end_ns = Some(dns.start_ns + 200 * MS);
    World::new().dns(late).connection(far).finds_no("dns-slow");
    World::new().connection(|_| {}).finds_no("connect-refused");
}

#[test]
fn ipv6_that_leads_nowhere_is_seen_by_the_ipv4_after_it() {
    let v6 = |c: &mut Connection| {
        no_hello(c);
        (c.remote, c.outcome, c.end_ns) =
            ("[2001:db8::1]:443".into(), ConnectionOutcome::Unused, Some(S + 350 * MS));
    };
    let v4 = |c: &mut Connection| (c.start_ns, c.tls_start_ns) = (S + 300 * MS, Some(S + 320 * MS));
    near(
        World::new()
            .connection(v6)
            .connection(v4)
            .finds("ipv6-blackhole", Phase::Connect, Some("[2001:db8::1]:443"))
            .cost_ns,
        300 * MS,
    );
    World::new().connection(v6).finds_no("ipv6-blackhole");
}

/// No `ServerHello`.
fn hello_only(connection: &mut Connection) {
    (connection.tls_version, connection.server_hello_ns, connection.alpn) = (None, None, None);
    (connection.tls_ns, connection.tls_failed, connection.requests) = (Some(5 * S), true, 0);
}

#[test]
fn a_hello_without_an_answer_proposes_a_smaller_one_when_it_was_large() {
    let stall =
        World::new().connection(hello_only).finds("tls-hello-unanswered", Phase::Tls, Some("proxy.test"));
    near(stall.cost_ns, 5 * S);
    assert_eq!(stall.remedies[0].name, "no-mlkem");
    let small = |c: &mut Connection| {
        hello_only(c);
        c.hello_bytes = Some(300);
    };
    let stall = World::new().connection(small).finds("tls-hello-unanswered", Phase::Tls, Some("proxy.test"));
    assert!(stall.remedies.iter().all(|remedy| remedy.name != "no-mlkem"));
    World::new().connection(|c| c.tls_ns = Some(5 * S)).finds_no("tls-hello-unanswered");
}

#[test]
fn a_reset_after_the_hello_is_a_filter_by_name() {
    let reset = |c: &mut Connection| {
        hello_only(c);
        (c.outcome, c.tls_ns) = (ConnectionOutcome::Reset, Some(30 * MS));
    };
    World::new().connection(reset).finds("tls-reset-by-sni", Phase::Tls, Some("proxy.test"));
    World::new().connection(|c| c.outcome = ConnectionOutcome::Reset).finds_no("tls-reset-by-sni");
}

#[test]
fn a_handshake_of_many_round_trips_is_slow_and_a_far_one_is_not() {
    let took = |ms: Ns, rtt: Ns| {
        World::new().connection(move |c| (c.tls_ns, c.rtt_ns) = (Some(ms * MS), Some(rtt * MS)))
    };
    near(took(800, 20).finds("tls-slow", Phase::Tls, Some("proxy.test")).cost_ns, 800 * MS);
    took(800, 200).finds_no("tls-slow");
}

#[test]
fn http1_where_http2_was_offered_is_worth_knowing() {
    let stall = World::new().connection(|c| c.alpn = Some("http/1.1".into())).finds(
        "tls-intercepted",
        Phase::Tls,
        Some("proxy.test"),
    );
    assert_eq!(stall.severity, Severity::Info);
    let not_offered =
        |c: &mut Connection| (c.alpn, c.alpn_offered) = (Some("http/1.1".into()), Some(Vec::new()));
    World::new().connection(not_offered).finds_no("tls-intercepted");
}

#[test]
fn a_handshake_without_a_request_is_wasted() {
    let unused = |c: &mut Connection| (c.outcome, c.requests) = (ConnectionOutcome::Unused, 0);
    World::new().connection(unused).finds("handshake-wasted", Phase::Tls, Some("proxy.test"));
    World::new().connection(|_| {}).finds_no("handshake-wasted");
}

fn open(request: &mut Request) {
    (request.status, request.first_byte_ns, request.end_ns) = (None, None, None);
    (request.bytes, request.outcome) = (None, RequestOutcome::Open);
}

#[test]
fn silence_with_a_living_peer_and_a_dead_path_are_told_apart() {
    let silent = || World::new().connection(|_| {}).request(open);
    near(silent().finds("h2-silent", Phase::Proxy, Some("proxy.test")).cost_ns, 8 * S);
    let dead = || silent().retransmitted(&[2 * S + 200 * MS, 2 * S + 600 * MS, 3 * S + 400 * MS, 5 * S]);
    near(dead().finds("path-dead", Phase::Proxy, Some("proxy.test")).cost_ns, 8 * S);
    dead().finds_no("h2-silent");
    let late = |r: &mut Request| (r.first_byte_ns, r.end_ns) = (Some(4 * S), Some(4 * S + MS));
    World::new().connection(|_| {}).request(late).finds_no("h2-silent");
}

#[test]
fn a_body_that_stops_is_silence_from_its_head_on() {
    let stopped = |r: &mut Request| (r.end_ns, r.bytes, r.outcome) = (None, None, RequestOutcome::Open);
    near(
        World::new()
            .connection(|_| {})
            .request(stopped)
            .finds("h2-silent", Phase::Proxy, Some("proxy.test"))
            .cost_ns,
        8 * S,
    );
}

#[test]
fn a_body_that_goes_on_is_not_silent_however_long_it_takes() {
    let goes_on = |r: &mut Request| (r.end_ns, r.bytes, r.outcome) = (None, None, RequestOutcome::Open);
    let received = |at_ns| World::new().connection(move |c| c.received_ns = Some(at_ns)).request(goes_on);
    received(9 * S).finds_no("h2-silent");
    near(received(5 * S).finds("h2-silent", Phase::Proxy, Some("proxy.test")).cost_ns, 5 * S);
}

#[test]
fn a_loss_matters_when_several_streams_wait_behind_it() {
    let long =
        |r: &mut Request| (r.first_byte_ns, r.end_ns) = (Some(2 * S + 500 * MS), Some(2 * S + 600 * MS));
    let two = World::new().connection(|_| {}).request(long).request(long).retransmitted(&[2 * S + 300 * MS]);
    near(two.finds("h2-loss-blocks-all", Phase::Proxy, Some("proxy.test")).cost_ns, 200 * MS);
    World::new()
        .connection(|_| {})
        .request(long)
        .retransmitted(&[2 * S + 300 * MS])
        .finds_no("h2-loss-blocks-all");
    // What had arrived was not lost: the sender was impatient.
    let arrived = |c: &mut Connection| c.spurious_retransmits = Some(1);
    let of = |times: &[Ns]| World::new().connection(arrived).request(long).request(long).retransmitted(times);
    of(&[2 * S + 300 * MS]).finds_no("h2-loss-blocks-all");
    of(&[2 * S + 250 * MS, 2 * S + 300 * MS]).finds("h2-loss-blocks-all", Phase::Proxy, Some("proxy.test"));
}

#[test]
fn a_segment_that_was_overtaken_is_no_loss() {
    let out_of_order = |n| World::new().connection(move |c| c.received_out_of_order = Some(n));
    let two = |world: World| world.request(|_| {}).request(|_| {});
    two(out_of_order(2)).finds_no("h2-loss-blocks-all");
    two(out_of_order(3)).finds("h2-loss-blocks-all", Phase::Proxy, Some("proxy.test"));
}

#[test]
fn a_closed_window_costs_while_it_is_closed() {
    let window =
        |zero| Body::Window(WindowMark { command: 1, connection: 1, ours: true, zero, since_ns: None });
    let slow = |r: &mut Request| r.end_ns = Some(5 * S);
    let world =
        World::new().connection(|_| {}).request(slow).tell(3 * S, window(true)).tell(4 * S, window(false));
    near(world.finds("zero-window", Phase::Proxy, Some("proxy.test")).cost_ns, S);
    let late = |r: &mut Request| {
        (r.start_ns, r.first_byte_ns, r.end_ns) = (3 * S, Some(4 * S), Some(4 * S + 10 * MS));
    };
    let world =
        World::new().connection(|_| {}).request(late).tell(3 * S, window(true)).tell(4 * S, window(false));
    world.finds_no("proxy-slow");
    World::new().connection(|_| {}).request(late).finds("proxy-slow", Phase::Proxy, Some("proxy.test"));
    World::new().connection(|_| {}).request(slow).finds_no("zero-window");
}

#[test]
fn goaway_and_resets_are_told_with_their_codes() {
    let stall = World::new().connection(|c| c.goaway = Some("ENHANCE_YOUR_CALM".into())).request(|_| {});
    assert!(stall.finds("h2-goaway", Phase::Proxy, Some("proxy.test")).summary.contains("ENHANCE_YOUR_CALM"));
    let reset =
        |r: &mut Request| (r.outcome, r.reset_code) = (RequestOutcome::Reset, Some("REFUSED_STREAM".into()));
    let stall = World::new().connection(|_| {}).request(reset).finds(
        "h2-stream-reset",
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("REFUSED_STREAM"));
    let healthy = || World::new().connection(|_| {}).request(|_| {});
    healthy().finds_no("h2-goaway");
    healthy().finds_no("h2-stream-reset");
}

#[test]
fn a_small_limit_of_streams_matters_when_it_made_go_dial() {
    let limited = |c: &mut Connection| c.stream_limit = Some(2);
    World::new().connection(limited).connection(limited).finds(
        "h2-stream-limit",
        Phase::Proxy,
        Some("proxy.test"),
    );
    World::new().connection(limited).finds_no("h2-stream-limit");
    let usual = |c: &mut Connection| c.stream_limit = Some(200);
    World::new().connection(usual).connection(usual).finds_no("h2-stream-limit");
}

#[test]
fn a_head_far_above_the_round_trip_is_slow() {
    let after = |ms: Ns, rtt: Ns| {
        let world = World::new().connection(move |c| c.rtt_ns = Some(rtt * MS));
        world.request(move |r| (r.first_byte_ns, r.end_ns) = (Some(2 * S + ms * MS), Some(2 * S + ms * MS)))
    };
    near(after(900, 20).finds("proxy-slow", Phase::Proxy, Some("proxy.test")).cost_ns, 900 * MS);
    after(900, 200).finds_no("proxy-slow");
}

#[test]
fn a_crawling_body_is_told_with_what_it_is_not() {
    let body = |bytes| {
        World::new().connection(|_| {}).request(move |r| (r.end_ns, r.bytes) = (Some(4 * S), Some(bytes)))
    };
    near(body(100_000).finds("transfer-slow", Phase::Proxy, Some("proxy.test")).cost_ns, 2 * S);
    body(100_000_000).finds_no("transfer-slow");
    // A connection that begins needs a round trip for each doubling.
    let far = World::new().connection(|c| c.rtt_ns = Some(200 * MS));
    far.request(|r| (r.end_ns, r.bytes) = (Some(4 * S), Some(1_000_000))).finds_no("transfer-slow");
    // Ten at once share the line.
    let shared = (0..10).fold(World::new().connection(|_| {}), |world, _| {
        world.request(|r| (r.end_ns, r.bytes) = (Some(4 * S), Some(1_000_000)))
    });
    shared.finds_no("transfer-slow");
}

#[test]
fn slow_lookups_are_the_databases_and_fast_ones_are_information() {
    let lookup = |r: &mut Request| {
        (r.class, r.first_byte_ns, r.end_ns) = (Class::SumdbLookup, Some(3 * S), Some(3 * S));
    };
    near(
        World::new()
            .connection(|_| {})
            .request(lookup)
            .finds("sumdb-slow", Phase::Sumdb, Some("proxy.test"))
            .cost_ns,
        S,
    );
    let many = (0..20).fold(World::new().connection(|c| c.rtt_ns = Some(200 * MS)), |world, n| {
        world.request(move |r| {
            let start = S + n * 210 * MS;
            (r.class, r.start_ns, r.first_byte_ns, r.end_ns) =
                (Class::SumdbLookup, start, Some(start + 205 * MS), Some(start + 205 * MS));
        })
    });
    assert_eq!(many.finds("sumdb-slow", Phase::Sumdb, Some("proxy.test")).severity, Severity::Info);
    World::new().connection(|_| {}).request(|r| r.class = Class::SumdbLookup).finds_no("sumdb-slow");
}

#[test]
fn the_databases_host_is_known_from_gosumdb() {
    let dead = |c: &mut Connection| {
        hello_only(c);
        c.server_name = Some("sumdb.test".into());
    };
    near(
        World::new().connection(dead).finds("sumdb-unreachable", Phase::Tls, Some("sumdb.test")).cost_ns,
        5 * S,
    );
    World::new().connection(hello_only).finds_no("sumdb-unreachable");
    let url = |command: &mut Command| {
        command.go.gosumdb = Some("sum.example.test https://sumdb.test:8443/x".into());
    };
    World::new().command(url).connection(dead).finds("sumdb-unreachable", Phase::Tls, Some("sumdb.test"));
}

#[test]
fn a_proxy_that_says_it_serves_the_database_and_does_not_is_broken() {
    let supported = |r: &mut Request| r.class = Class::SumdbSupported;
    let lookup = |status| move |r: &mut Request| (r.class, r.status) = (Class::SumdbLookup, Some(status));
    let world = |status| World::new().connection(|_| {}).request(supported).request(lookup(status));
    world(500).finds("sumdb-proxy-broken", Phase::Sumdb, Some("proxy.test"));
    world(200).finds_no("sumdb-proxy-broken");
}

#[test]
fn timeouts_one_after_the_other_add_up() {
    let proxy = |c: &mut Connection| {
        hello_only(c);
        c.tls_ns = Some(3 * S);
    };
    let sumdb = |at_ns: Ns| {
        move |c: &mut Connection| {
            proxy(c);
            (c.server_name, c.start_ns, c.tls_start_ns) = (Some("sumdb.test".into()), at_ns, Some(at_ns));
        }
    };
    near(
        World::new()
            .connection(proxy)
            .connection(sumdb(5 * S))
            .finds("stacked-timeouts", Phase::Tls, None)
            .cost_ns,
        6 * S,
    );
    World::new().connection(proxy).connection(sumdb(S)).finds_no("stacked-timeouts");
}

#[test]
fn more_downloads_at_once_are_proposed_when_they_would_help() {
    let two_at_a_time = |modules: u64| {
        (0..modules).fold(World::new().connection(|_| {}), |world, n| {
            world.request(move |r| {
                let start = S + n / 2 * 400 * MS;
                (r.start_ns, r.first_byte_ns, r.end_ns) =
                    (start, Some(start + 90 * MS), Some(start + 395 * MS));
            })
        })
    };
    let stall = two_at_a_time(40).finds("concurrency-limited", Phase::Proxy, None);
    assert_eq!(stall.remedies[0].name, "concurrency=16");
    two_at_a_time(7).finds_no("concurrency-limited");
    let never = two_at_a_time(40).request(|r| {
        (r.start_ns, r.first_byte_ns, r.end_ns, r.outcome) = (0, None, None, RequestOutcome::Open);
    });
    near(never.finds("concurrency-limited", Phase::Proxy, None).cost_ns, stall.cost_ns);
    two_at_a_time(40).command(|c| c.go.gomaxprocs = Some(16)).finds_no("concurrency-limited");
}

#[test]
fn a_missing_module_that_git_then_fetches_was_asked_for_in_the_wrong_place() {
    let missing = |r: &mut Request| (r.status, r.outcome) = (Some(404), RequestOutcome::Error);
    let git = |c: &mut Connection| {
        (c.pid, c.comm, c.server_name) = (11, "git-remote-http".into(), Some("git.test".into()));
    };
    let process = Process {
        command: 1,
        pid: 11,
        ppid: 10,
        comm: "git-remote-http".into(),
        start_ns: S,
        end_ns: Some(9 * S),
        ..Process::default()
    };
    let world = || {
        World::new()
            .tell(S, Body::Process(process.clone()))
            .dns(|dns| (dns.pid, dns.comm) = (11, "git-remote-http".into()))
            .connection(|_| {})
            .connection(git)
            .request(missing)
    };
    let stall = world().finds("proxy-fallback-direct", Phase::Vcs, Some("git.test"));
    assert_eq!(stall.remedies[0].name, "env=GOPRIVATE=example.com/m1");
    world().finds("mirror-private", Phase::Proxy, Some("proxy.test"));
    World::new().connection(|_| {}).request(missing).finds_no("proxy-fallback-direct");
    World::new().connection(|_| {}).request(missing).finds_no("mirror-private");
}

#[test]
fn a_git_without_traffic_waits_for_a_person() {
    let git = |ppid, comm: &str| {
        Body::Process(Process {
            command: 1,
            pid: 11,
            ppid,
            comm: comm.into(),
            args: vec!["git".into(), "ls-remote".into(), "https://git.test/x".into()],
            start_ns: S,
            end_ns: Some(9 * S),
            ..Process::default()
        })
    };
    near(
        World::new().tell(S, git(10, "git")).finds("vcs-waiting", Phase::Vcs, Some("git.test")).cost_ns,
        8 * S,
    );
    World::new().tell(S, git(10, "compile")).finds_no("vcs-waiting");
    let asks = Body::Process(Process {
        command: 1,
        pid: 12,
        ppid: 11,
        comm: "credential-x".into(),
        args: vec!["credential-x".into(), "get".into()],
        start_ns: 2 * S,
        end_ns: Some(9 * S),
        ..Process::default()
    });
    let stall = World::new().tell(S, git(10, "git")).tell(2 * S, asks).stalls();
    let told: Vec<_> = stall.iter().filter(|stall| stall.kind == "vcs-waiting").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].evidence[1].contains("credential-x get (pid 12)"), "{told:?}");
    let busy = |c: &mut Connection| (c.pid, c.comm) = (11, "git".into());
    World::new().tell(S, git(10, "git")).connection(busy).finds_no("vcs-waiting");
}

#[test]
fn another_toolchain_and_repeated_requests_are_told() {
    let toolchain = |r: &mut Request| (r.class, r.end_ns) = (Class::Toolchain, Some(4 * S));
    near(
        World::new()
            .connection(|_| {})
            .request(toolchain)
            .finds("toolchain-download", Phase::Toolchain, Some("proxy.test"))
            .cost_ns,
        2 * S,
    );
    let same = |r: &mut Request| r.path = Some("/same".into());
    World::new().connection(|_| {}).request(same).request(same).finds(
        "duplicate-request",
        Phase::Proxy,
        Some("proxy.test"),
    );
    let healthy = || World::new().connection(|_| {}).request(|_| {}).request(|_| {});
    healthy().finds_no("toolchain-download");
    healthy().finds_no("duplicate-request");
}

#[test]
fn a_lock_is_told_with_its_holder() {
    let lock = |end_ns| {
        Body::Lock(LockWait {
            command: 1,
            id: 1,
            pid: 10,
            path: Some("/m/cache/lock".into()),
            holder: Some(77),
            start_ns: S,
            end_ns: Some(end_ns),
            joined_late: false,
        })
    };
    let stall = World::new().tell(S, lock(4 * S)).finds("cache-lock-wait", Phase::Lock, None);
    near(stall.cost_ns, 3 * S);
    assert!(stall.summary.contains("pid 77"));
    World::new().tell(S, lock(S + MS)).finds_no("cache-lock-wait");
}

#[test]
fn caches_in_one_folder_are_told_by_path_and_by_inode() {
    let caches = |modules: &'static str, builds: &'static str, shared| {
        World::new().command(move |command| {
            (command.go.gomodcache, command.go.gocache, command.go.caches_shared) =
                (Some(modules.into()), Some(builds.into()), shared);
        })
    };
    caches("/c", "/c/", None).finds("cache-shared", Phase::Local, None);
    caches("/c", "/link", Some(true)).finds("cache-shared", Phase::Local, None);
    caches("/c", "/d", None).finds_no("cache-shared");
}

#[test]
fn a_busy_machine_is_information() {
    let mut world =
        World::new().command(|command| command.local = Some(Local { cpu_ns: 8 * S, ..Local::default() }));
    let update = CommandUpdate { command: world.1.clone(), idle: vec![(0, 2 * S)] };
    world.0.apply(&Event { at_ns: 10 * S, body: Body::Command(update) });
    let stalls = stalls(world.0.command(1).unwrap(), 10 * S);
    let stall = stalls.iter().find(|stall| stall.kind == "local-bound").unwrap();
    assert_eq!((stall.severity, stall.cost_ns), (Severity::Info, 8 * S));
    World::new().finds_no("local-bound");
}

#[test]
fn what_lasts_is_found_and_costs_while_it_lasts() {
    let mut world = World::new()
        .command(|command| (command.wall_ns, command.exit_code) = (None, None))
        .connection(|_| {})
        .request(open);
    let update = CommandUpdate { command: world.1.clone(), idle: vec![(0, S)] };
    world.0.apply(&Event { at_ns: 2 * S, body: Body::Command(update) });
    let at = |now| stalls(world.0.command(1).unwrap(), now);
    assert!(at(4 * S).iter().all(|stall| stall.kind != "h2-silent"));
    let stall = at(8 * S).into_iter().find(|stall| stall.kind == "h2-silent").unwrap();
    near(stall.cost_ns, 6 * S);
}

fn names(stall: &Stall) -> Vec<&str> {
    stall.remedies.iter().map(|remedy| remedy.name.as_str()).collect()
}

#[test]
fn a_server_that_answered_in_the_same_run_is_offered_instead_of_a_bad_one() {
    let good = |dns: &mut Dns| dns.server = "[2001:db8::53]:53".into();
    let offers = |world: World, kind| {
        let stall = world.dns(good).finds(kind, Phase::Dns, Some("192.0.2.53:53"));
        assert_eq!(names(&stall).last(), Some(&"resolv=nameserver 2001:db8::53"), "{stall:?}");
    };
    offers(World::new().unanswered(|_| {}), "dns-timeout");
    offers(World::new().dns(|_| {}).unanswered(|dns| dns.qtype = "AAAA".into()), "dns-aaaa-silent");
    offers(World::new().dns(|dns| dns.end_ns = Some(2 * S)), "dns-slow");
    offers(World::new().dns(|dns| dns.rcode = Some("SERVFAIL".into())), "dns-error");
    let slow = |dns: &mut Dns| (dns.server, dns.end_ns) = ("192.0.2.54:53".into(), Some(2 * S));
    let stall =
        World::new().unanswered(|_| {}).dns(slow).finds("dns-timeout", Phase::Dns, Some("192.0.2.53:53"));
    assert_eq!(names(&stall), ["resolv=options timeout:1 attempts:3"]);
}

#[test]
fn one_question_at_a_time_is_offered_when_one_of_two_was_answered() {
    let with = |qtype: &'static str| {
        World::new()
            .unanswered(|_| {})
            .dns(move |dns| (dns.qtype, dns.answers) = (qtype.into(), Some(0)))
            .finds("dns-timeout", Phase::Dns, Some("192.0.2.53:53"))
    };
    assert!(names(&with("AAAA")).contains(&"resolv=options single-request"));
    assert!(!names(&with("A")).contains(&"resolv=options single-request"));
}

#[test]
fn the_way_around_a_proxy_is_what_else_goproxy_has() {
    let offered = |list: Option<&str>, host: &'static str| {
        let list = list.map(str::to_owned);
        let lost = move |c: &mut Connection| {
            no_hello(c);
            (c.syn_retransmits, c.server_name) = (1, Some(host.into()));
        };
        let world = World::new().command(|command| command.go.goproxy = list).connection(lost);
        let stall = world.finds("syn-lost", Phase::Connect, Some(host));
        names(&stall).join(" ")
    };
    assert_eq!(offered(None, "proxy.test"), "proxy=direct");
    assert_eq!(offered(Some("https://proxy.test"), "proxy.test"), "proxy=direct");
    assert_eq!(offered(Some("https://proxy.test,direct"), "proxy.test"), "proxy=direct");
    assert_eq!(offered(Some("https://proxy.test:8443/x,off"), "proxy.test"), "proxy=direct");
    assert_eq!(
        offered(Some("https://a.test|https://proxy.test/x|https://b.test,direct"), "proxy.test"),
        "proxy=https://a.test|https://b.test,direct"
    );
    assert_eq!(offered(Some("https://proxy.test,https://…@b.test"), "proxy.test"), "proxy=direct");
    assert_eq!(offered(Some("https://proxy.test,,https://b.test,"), "proxy.test"), "proxy=https://b.test");
    // Neither is there a proxy to leave out.
    assert_eq!(offered(Some("https://proxy.test,direct"), "git.test"), "");
    assert_eq!(offered(Some("direct"), "git.test"), "");
}

#[test]
fn a_mirror_of_the_database_can_be_left_out() {
    let offered = |setting: &'static str| {
        let dead = |c: &mut Connection| {
            hello_only(c);
            c.server_name = Some("mirror.test".into());
        };
        let world =
            World::new().command(|command| command.go.gosumdb = Some(setting.into())).connection(dead);
        let stall = world.finds("sumdb-unreachable", Phase::Tls, Some("mirror.test"));
        names(&stall).join(" ")
    };
    assert_eq!(offered("sumdb.test+key https://mirror.test/x"), "sumdb=sumdb.test+key sumdb=off");
    assert_eq!(offered("mirror.test+key https://mirror.test"), "sumdb=off");
    assert_eq!(offered("mirror.test"), "sumdb=off");
}

#[test]
fn a_goaway_that_cost_requests_offers_another_proxy() {
    let world = |outcome| {
        World::new().connection(|c| c.goaway = Some("NO_ERROR".into())).request(move |r| {
            (r.status, r.first_byte_ns, r.outcome) = (None, None, outcome);
        })
    };
    let stall = world(RequestOutcome::Error).finds("h2-goaway", Phase::Proxy, Some("proxy.test"));
    assert_eq!(names(&stall), ["proxy=direct"]);
    let stall = world(RequestOutcome::Ok).finds("h2-goaway", Phase::Proxy, Some("proxy.test"));
    assert_eq!((names(&stall).len(), stall.severity), (0, Severity::Info));
}
