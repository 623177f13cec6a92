//! Commands that failed: what ended them comes first, and whom to blame.

use model::id::Pid;
use model::record::{NoWay, Side};
use model::report::Blame;

use super::*;

fn failed() -> World {
    World::new().command(|command| command.exit_code = Some(1))
}

/// Of a world as it is; other settings are not tried.
fn judged(mut world: World) -> (Vec<Stall>, Option<(Blame, String)>) {
    let stalls = world.judged();
    let diagnosis = diagnose(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S), Threads::Unknown);
    (stalls, diagnosis.blame)
}

fn blame(world: World) -> (Blame, String) {
    judged(world).1.unwrap()
}

fn status(status: u16) -> impl Fn(&mut Request) {
    move |request| {
        (request.status, request.outcome) = (Some(status), RequestOutcome::Error);
        (request.path, request.module) =
            (Some("/example.com/m/@v/v1.0.0.zip".into()), Some("example.com/m".into()));
    }
}

fn process(comm: &'static str, start_ns: SinceStart, exit_code: i32) -> Body {
    Body::Process(Process {
        command: CommandId(1),
        pid: Pid(30),
        ppid: Pid(10),
        comm: comm.into(),
        args: vec![format!("/usr/local/go/pkg/tool/linux_amd64/{comm}"), "-p".into(), "main".into()],
        start_ns,
        end_ns: Some(start_ns + S),
        exit_code: Some(exit_code),
        cpu_ns: Some(S),
        terminal_ns: Vec::new(),
        agent_waits: Vec::new(),
    })
}

#[test]
fn a_status_that_ended_the_command_comes_first_and_is_critical() {
    for (code, who) in
        [(401, Blame::Command), (403, Blame::Command), (404, Blame::Command), (502, Blame::Network)]
    {
        let world =
            || failed().connection(|_| {}).request(|_| {}).request(status(code)).request(status(code));
        let stall = world().finds(StallKind::RequestRefused, Phase::Proxy, Some("proxy.test"));
        assert_eq!((stall.severity, stall.fatal), (Severity::Critical, true));
        assert!(stall.summary.contains(&format!("{code} to 2 of 3 requests")), "{}", stall.summary);
        let (stalls, blame) = judged(world());
        assert_eq!(stalls[0].kind, StallKind::RequestRefused, "{stalls:?}");
        assert!(
            stalls.iter().all(|stall| stall.kind != StallKind::DuplicateRequest),
            "go asks twice by design"
        );
        let (whom, why) = blame.unwrap();
        assert_eq!((whom, why), (who, stalls[0].summary.clone()));
    }
    World::new().connection(|_| {}).request(|_| {}).finds_no(StallKind::RequestRefused);
}

#[test]
fn what_another_answers_or_nobody_needs_is_not_refused() {
    let missing = status(404);
    // Found at the next proxy, in the module's own repository, and by a path that is one.
    let next = |request: &mut Request| {
        status(200)(request);
        (request.authority, request.outcome) = (Some("mirror.test".into()), RequestOutcome::Ok);
    };
    failed().connection(|_| {}).request(&missing).request(next).finds_no(StallKind::RequestRefused);
    World::new().connection(|_| {}).request(&missing).finds_no(StallKind::RequestRefused);
    let parent = |request: &mut Request| {
        status(404)(request);
        (request.class, request.version) = (Class::List, None);
    };
    let child = |request: &mut Request| request.module = Some("example.com/m/sub".into());
    failed().connection(|_| {}).request(parent).request(child).finds_no(StallKind::RequestRefused);
    let supported = |request: &mut Request| {
        status(404)(request);
        request.class = Class::SumdbSupported;
    };
    judged(failed().connection(|_| {}).request(supported)).0.iter().for_each(|stall| {
        assert_ne!(stall.kind, StallKind::RequestRefused);
    });
    // What is compiled after it was there in the end.
    let compiled = failed()
        .connection(|_| {})
        .request(status(502))
        .report(SinceStart(5 * S), process("compile", SinceStart(5 * S), 1));
    let (stalls, blame) = judged(compiled);
    assert!(stalls.iter().all(|stall| !stall.fatal), "{stalls:?}");
    assert_eq!(blame.unwrap().0, Blame::Command);
}

#[test]
fn what_a_host_refuses_behind_a_redirect_names_who_sent_go_there() {
    let redirect = |request: &mut Request| {
        (request.status, request.end_ns) = (Some(302), Some(SinceStart(2 * S + 40 * MS)));
        (request.module, request.path) =
            (Some("example.com/m".into()), Some("/example.com/m/@v/v1.0.0.zip".into()));
    };
    let storage = |request: &mut Request| {
        status(403)(request);
        (request.authority, request.start_ns) = (Some("storage.test".into()), SinceStart(2 * S + 45 * MS));
        (request.first_byte_ns, request.end_ns) =
            (Some(SinceStart(2 * S + 50 * MS)), Some(SinceStart(2 * S + 60 * MS)));
    };
    let world =
        || failed().connection(|_| {}).request(redirect).request(storage).request(redirect).request(storage);
    let (stalls, blame) = judged(world());
    assert!(stalls[0].summary.contains("storage.test answered 403 to all 2 requests"), "{stalls:?}");
    assert!(stalls[0].summary.contains("sent there by proxy.test"), "{stalls:?}");
    assert!(stalls.iter().all(|stall| stall.kind != StallKind::DuplicateRequest), "{stalls:?}");
    assert_eq!(blame.unwrap().0, Blame::Network);
}

#[test]
fn a_limit_is_distinguished_from_what_is_refused_for_good() {
    let stall = failed().connection(|_| {}).request(|_| {}).request(status(429)).request(status(429)).finds(
        StallKind::RateLimited,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert_eq!((stall.severity, stall.fatal), (Severity::Critical, true));
    let busy = || failed().connection(|_| {}).request(status(503)).request(status(503));
    busy().request(|_| {}).finds(StallKind::RateLimited, Phase::Proxy, Some("proxy.test"));
    busy().finds(StallKind::RequestRefused, Phase::Proxy, Some("proxy.test"));
    World::new().connection(|_| {}).request(|_| {}).finds_no(StallKind::RateLimited);
}

#[test]
fn what_a_closed_or_reset_connection_took_with_it_is_cut() {
    let cut = |request: &mut Request| {
        (request.outcome, request.bytes, request.end_ns) =
            (RequestOutcome::Error, None, Some(SinceStart(3 * S)));
    };
    let closed = |connection: &mut Connection| {
        (connection.end_ns, connection.closed_by) = (Some(SinceStart(3 * S)), Some(Side::Peer));
        connection.bytes_received = Some(60_000);
    };
    let reset = |connection: &mut Connection| {
        closed(connection);
        connection.outcome = ConnectionOutcome::Reset;
    };
    let stall = failed().connection(closed).request(cut).finds(
        StallKind::TransferCut,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("closed the connection after 60.0 kB"), "{}", stall.summary);
    assert!(stall.fatal);
    let (stalls, blame) = judged(failed().connection(reset).request(cut).request(cut));
    assert!(stalls[0].summary.contains("reset the connection after 60.0 kB"), "{stalls:?}");
    assert!(stalls[0].summary.contains("2 requests open"), "{stalls:?}");
    assert_eq!(blame.unwrap().0, Blame::Network);
    // We closed it, or it ended later than what failed on it.
    let ours = |connection: &mut Connection| {
        closed(connection);
        connection.closed_by = Some(Side::Here);
    };
    failed().connection(ours).request(cut).finds_no(StallKind::TransferCut);
    failed().connection(|_| {}).request(cut).finds_no(StallKind::TransferCut);
    World::new().connection(closed).request(|_| {}).finds_no(StallKind::TransferCut);
}

#[test]
fn a_stream_that_is_reset_in_its_body_is_cut_and_before_it_reset() {
    let reset = |request: &mut Request| {
        (request.outcome, request.reset_code) = (RequestOutcome::Reset, Some("INTERNAL_ERROR".into()));
        request.bytes = Some(3_000);
    };
    let stall = failed().connection(|_| {}).request(reset).finds(
        StallKind::TransferCut,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("cut off 1 response after 3.00 kB (INTERNAL_ERROR)"), "{}", stall.summary);
    failed().connection(|_| {}).request(reset).finds_no(StallKind::H2StreamReset);
    let head = |request: &mut Request| {
        reset(request);
        (request.first_byte_ns, request.status) = (None, None);
    };
    failed().connection(|_| {}).request(head).finds_no(StallKind::TransferCut);
    // Asked for again, and whole.
    let again = |request: &mut Request| {
        (request.path, request.start_ns) = (Some("/example.com/m1/@v/v1.0.0.zip".into()), SinceStart(3 * S));
    };
    let (stalls, _) = judged(failed().connection(|_| {}).request(reset).request(again));
    assert!(stalls.iter().all(|stall| !stall.fatal), "{stalls:?}");
}

#[test]
fn a_certificate_that_is_not_accepted_ends_the_handshake_from_here() {
    let untrusted = |connection: &mut Connection| {
        (connection.tls_failed, connection.requests) = (true, 0);
        (connection.outcome, connection.alpn) = (ConnectionOutcome::Unused, None);
        (connection.end_ns, connection.closed_by) = (Some(SinceStart(S + 50 * MS)), Some(Side::Here));
    };
    let stall = failed().connection(untrusted).finds(StallKind::TlsUntrusted, Phase::Tls, Some("proxy.test"));
    assert_eq!((stall.severity, stall.fatal), (Severity::Critical, true));
    assert_eq!(blame(failed().connection(untrusted)).0, Blame::Machine);
    // Through a forward proxy the hello is not the first that is sent.
    let behind = |connection: &mut Connection| {
        untrusted(connection);
        (connection.server_hello_ns, connection.bytes_received) = (None, Some(1_400));
    };
    failed().connection(behind).finds(StallKind::TlsUntrusted, Phase::Tls, Some("proxy.test"));
    let by_peer = |connection: &mut Connection| {
        untrusted(connection);
        connection.closed_by = Some(Side::Peer);
    };
    failed().connection(by_peer).finds_no(StallKind::TlsUntrusted);
    // It was sent an alert, and closed first.
    let complained = |connection: &mut Connection| {
        by_peer(connection);
        (connection.hello_bytes, connection.bytes_sent) = (Some(1520), Some(1550));
    };
    failed().connection(complained).finds(StallKind::TlsUntrusted, Phase::Tls, Some("proxy.test"));
    World::new().connection(|_| {}).finds_no(StallKind::TlsUntrusted);
}

#[test]
fn an_answer_with_gaps_is_a_smaller_mtu_and_no_filter() {
    let gaps = |connection: &mut Connection| {
        hello_only(connection);
        (connection.received_out_of_order, connection.bytes_received) = (Some(1), Some(0));
    };
    let stall = failed().connection(gaps).finds(StallKind::MtuBlackhole, Phase::Tls, Some("proxy.test"));
    near(stall.cost_ns, 5 * S);
    assert!(stall.summary.contains("IPv4") && stall.remedies.is_empty(), "{stall:?}");
    let six = |connection: &mut Connection| {
        gaps(connection);
        connection.remote = "[2001:db8::1]:443".into();
    };
    let stall = failed().connection(six).finds(StallKind::MtuBlackhole, Phase::Tls, Some("proxy.test"));
    assert!(stall.summary.contains("IPv6"), "{}", stall.summary);
    failed().connection(gaps).finds_no(StallKind::TlsHelloUnanswered);
    failed().connection(hello_only).finds_no(StallKind::MtuBlackhole);
    let overtaken = |connection: &mut Connection| connection.received_out_of_order = Some(1);
    World::new().connection(overtaken).finds_no(StallKind::MtuBlackhole);
}

#[test]
fn an_address_without_a_way_is_unreachable_unless_another_is_reached() {
    let no_way = |error: NoWay| {
        move |connection: &mut Connection| {
            no_hello(connection);
            (connection.outcome, connection.no_way) = (ConnectionOutcome::Unreachable, Some(error));
            (connection.connect_ns, connection.end_ns) = (Some(MS), Some(SinceStart(S + MS)));
        }
    };
    let world = |error| failed().dns(|dns| dns.end_ns = Some(SinceStart(S))).connection(no_way(error));
    let stall = world(NoWay::Network).finds(StallKind::Unreachable, Phase::Connect, Some("proxy.test"));
    assert!(
        stall.summary.contains("192.0.2.1:443 failed at once: network is unreachable"),
        "{}",
        stall.summary
    );
    assert_eq!(blame(world(NoWay::Address)).0, Blame::Machine);
    assert_eq!(blame(world(NoWay::Host)).0, Blame::Network);
    assert_eq!(blame(world(NoWay::Permission)).0, Blame::Machine);
    let v4 = |connection: &mut Connection| connection.start_ns = SinceStart(S + 2 * MS);
    world(NoWay::Network).connection(v4).finds_no(StallKind::Unreachable);
    World::new().connection(|_| {}).finds_no(StallKind::Unreachable);
}

#[test]
fn a_name_that_does_not_exist_or_has_no_address_ended_the_command() {
    let answer = |rcode: &'static str, qtype: &'static str| {
        move |dns: &mut Dns| (dns.rcode, dns.answers, dns.qtype) = (Some(rcode.into()), Some(0), qtype.into())
    };
    let world = |rcode| failed().dns(answer(rcode, "A")).dns(answer(rcode, "AAAA"));
    let server = Some("192.0.2.53:53");
    let stall = world("NXDOMAIN").finds(StallKind::DnsNxdomain, Phase::Dns, server);
    assert!(stall.summary.contains("proxy.test does not exist") && stall.fatal, "{stall:?}");
    let stall = world("NOERROR").finds(StallKind::DnsNxdomain, Phase::Dns, server);
    assert!(stall.summary.contains("neither A nor AAAA"), "{}", stall.summary);
    assert_eq!(blame(world("NXDOMAIN")).0, Blame::Network);
    let stall = |change: fn(&mut Command)| {
        world("NXDOMAIN").command(change).finds(StallKind::DnsNxdomain, Phase::Dns, server)
    };
    let forward = stall(|command| command.go.https_proxy = Some("http://proxy.test:3128".into()));
    assert!(forward.advice.contains("HTTPS_PROXY"), "{}", forward.advice);
    let own = stall(|command| command.go.goproxy = Some("direct".into()));
    assert!(own.advice.contains("a module path, a redirect or git"), "{}", own.advice);
    // Without IPv6, and with a suffix of the search list.
    World::new().dns(|_| {}).dns(answer("NOERROR", "AAAA")).finds_no(StallKind::DnsNxdomain);
    let suffixed = |dns: &mut Dns| {
        answer("NXDOMAIN", "A")(dns);
        dns.name = "proxy.test.corp.test".into();
    };
    failed().dns(suffixed).dns(|_| {}).finds_no(StallKind::DnsNxdomain);
    let found = |dns: &mut Dns| dns.name = "proxy.test.corp.test".into();
    failed().dns(answer("NXDOMAIN", "A")).dns(found).finds_no(StallKind::DnsNxdomain);
    failed()
        .dns(answer("NOERROR", "A"))
        .unanswered(|dns| dns.qtype = "AAAA".into())
        .finds_no(StallKind::DnsNxdomain);
}

#[test]
fn a_name_server_that_nobody_is_at_refuses() {
    let refused = |dns: &mut Dns| (dns.refused, dns.end_ns) = (true, Some(dns.start_ns + MS));
    let stall = failed().unanswered(refused).finds(StallKind::DnsRefused, Phase::Dns, Some("192.0.2.53:53"));
    assert!(stall.fatal && stall.severity == Severity::Critical);
    // Where the ICMP message was not seen, but that nobody waited.
    let at_once = |dns: &mut Dns| dns.end_ns = Some(dns.start_ns + MS);
    failed().unanswered(at_once).finds(StallKind::DnsRefused, Phase::Dns, Some("192.0.2.53:53"));
    failed().unanswered(|_| {}).finds_no(StallKind::DnsRefused);
    World::new().unanswered(at_once).dns(|_| {}).finds_no(StallKind::DnsRefused);
    failed().unanswered(refused).finds_no(StallKind::DnsTimeout);
}

#[test]
fn answers_cut_short_where_tcp_is_refused_are_the_name_servers() {
    let cut = |dns: &mut Dns| (dns.answers, dns.truncated) = (Some(0), true);
    let tcp = |connection: &mut Connection| {
        no_hello(connection);
        (connection.remote, connection.outcome) = ("192.0.2.53:53".into(), ConnectionOutcome::Refused);
        (connection.start_ns, connection.end_ns) = (SinceStart(S + 11 * MS), Some(SinceStart(S + 12 * MS)));
    };
    let stall =
        failed().dns(cut).connection(tcp).finds(StallKind::DnsError, Phase::Dns, Some("192.0.2.53:53"));
    assert!(stall.summary.contains("refuses TCP") && stall.fatal, "{stall:?}");
    failed().dns(cut).connection(tcp).finds_no(StallKind::ConnectRefused);
    failed().dns(cut).connection(tcp).finds_no(StallKind::DnsNxdomain);
    // As a recording of an earlier version has it.
    let silent = |dns: &mut Dns| dns.answers = Some(0);
    failed().dns(silent).connection(tcp).finds(StallKind::DnsError, Phase::Dns, Some("192.0.2.53:53"));
    World::new().dns(|dns| dns.transport = Transport::Tcp).finds_no(StallKind::DnsError);
}

#[test]
fn parts_of_tiles_that_are_not_made_yet_are_nobodys_fault() {
    let supported = |request: &mut Request| request.class = Class::SumdbSupported;
    let tile = |path: &'static str, code: u16| {
        move |request: &mut Request| {
            (request.class, request.path, request.status) = (Class::SumdbTile, Some(path.into()), Some(code));
            request.module = None;
        }
    };
    let part = tile("/sumdb/sumdb.test/tile/8/1/001.p/40", 404);
    let whole = tile("/sumdb/sumdb.test/tile/8/1/001", 200);
    let world = World::new()
        .connection(|_| {})
        .request(supported)
        .request(part)
        .request(part)
        .request(whole)
        .request(whole);
    let (stalls, _) = judged(world);
    assert_eq!(stalls, [], "as go is made");
    for code in [429, 503] {
        let lookup = move |request: &mut Request| {
            (request.class, request.status) = (Class::SumdbLookup, Some(code));
        };
        let (stalls, _) = judged(failed().connection(|_| {}).request(supported).request(lookup));
        assert!(stalls.iter().all(|stall| stall.kind != StallKind::SumdbProxyBroken), "{stalls:?}");
    }
}

#[test]
fn where_time_went_is_no_answer_to_a_failure_and_local_work_has_its_name() {
    let busy = |world: World| {
        let mut world =
            world.command(|command| command.local = Some(Local { cpu_ns: 8 * S, ..Local::default() }));
        let update = CommandUpdate {
            command: world.1.clone(),
            idle: vec![(SinceStart::ZERO, SinceStart(2 * S))],
            gaps: Vec::new(),
        };
        world.0.apply(&Event { at_ns: SinceStart(10 * S), body: Body::Command(update) });
        let stalls = stalls(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S));
        stalls.into_iter().find(|stall| stall.kind == StallKind::LocalBound).map(|stall| stall.summary)
    };
    let of = |world: World| busy(world.connection(|_| {})).unwrap();
    let zip = |world: World| world.request(|_| {});
    let compile = |world: World| world.report(SinceStart(S), process("compile", SinceStart(3 * S), 0));
    assert!(of(zip(World::new())).ends_with("on a CPU: unpacking and hashing"));
    assert!(of(compile(World::new())).ends_with("on a CPU: compiling and linking"));
    assert!(of(compile(zip(World::new()))).ends_with("on a CPU: unpacking, compiling and linking"));
    assert!(of(World::new()).ends_with("on a CPU"));
    assert_eq!(busy(zip(failed())), None);
}

#[test]
fn a_failure_without_a_finding_is_blamed_on_what_was_seen() {
    assert_eq!(judged(World::new()).1, None, "it did not fail");
    assert_eq!(blame(failed()).0, Blame::Command, "it asked nothing of the network");
    assert_eq!(blame(failed().dns(|_| {}).connection(|_| {}).request(|_| {})).0, Blame::Command);
    let off = |command: &mut Command| command.go.goproxy = Some("off".into());
    let (whom, why) = blame(failed().command(off));
    assert_eq!(whom, Blame::Command);
    assert!(why.contains("GOPROXY=off forbids every download"), "{why}");
    let (whom, why) =
        blame(failed().command(off).report(SinceStart(5 * S), process("compile", SinceStart(5 * S), 2)));
    assert_eq!(whom, Blame::Command);
    assert!(why.starts_with("compile ended with"), "{why}");
    let reset = |connection: &mut Connection| connection.outcome = ConnectionOutcome::Reset;
    assert_eq!(blame(failed().connection(reset).request(|_| {})).0, Blame::Unknown);
    assert_eq!(blame(failed().connection(|_| {})).0, Blame::Unknown, "no request was seen");
}

#[test]
fn who_is_ended_while_it_waits_is_blamed_on_what_it_waited_for() {
    let killed = || {
        World::new().command(|command| {
            (command.argv, command.exit_code) = (vec!["timeout".into(), "10".into(), "go".into()], Some(124));
        })
    };
    let slow = |request: &mut Request| {
        (request.first_byte_ns, request.end_ns) = (Some(SinceStart(9 * S)), Some(SinceStart(10 * S)));
    };
    let (whom, why) = blame(killed().connection(|_| {}).request(slow));
    assert_eq!(whom, Blame::Network);
    assert!(why.starts_with("timeout ended it after 10.0 s while this went on: "), "{why}");
    assert_eq!(blame(killed().connection(|_| {}).request(|_| {})).0, Blame::Unknown);
    let asked = killed().connection(|_| {}).request(status(401)).request(slow);
    let (stalls, _) = judged(asked);
    let refused = stalls.iter().find(|stall| stall.kind == StallKind::RequestRefused).unwrap();
    assert!(!refused.fatal, "it was asked for credentials, and waited for something else");
}

#[test]
fn an_address_to_which_nobody_connected_leaves_the_reason_unknown() {
    let (blamed, why) = blame(failed().dns(|_| {}));
    assert_eq!(blamed, Blame::Unknown, "{why}");
    assert!(why.contains("no connection to it was seen"), "{why}");
    let forward = |proxy: &'static str| {
        failed().command(move |command| {
            (command.go.https_proxy, command.go.forward_proxy) = (Some(proxy.into()), Some(true));
        })
    };
    assert_eq!(blame(forward("http://192.0.2.7:3128")).0, Blame::Unknown);
    assert_eq!(
        blame(forward("http://corp-proxy.test:3128")).0,
        Blame::Command,
        "that name would be asked for"
    );
    assert_eq!(blame(failed()).0, Blame::Command);
}

#[test]
fn what_a_rule_of_this_machine_refuses_is_reported_where_nothing_else_was_tried() {
    let given_up = |connection: &mut Connection| {
        no_hello(connection);
        (connection.outcome, connection.rtt_ns) = (ConnectionOutcome::Unused, None);
        (connection.connect_ns, connection.end_ns) = (Some(50_000), Some(SinceStart(S + 50_000)));
        connection.remote_name = Some("proxy.test".into());
    };
    let stall =
        failed().connection(given_up).finds(StallKind::Unreachable, Phase::Connect, Some("proxy.test"));
    assert!(stall.fatal && stall.summary.contains("a rule of this machine"), "{}", stall.summary);
    assert_eq!(blame(failed().connection(given_up)).0, Blame::Machine);
    // Another dial was there first, or nothing failed.
    failed().connection(given_up).connection(|_| {}).request(|_| {}).finds_no(StallKind::Unreachable);
    World::new().connection(given_up).finds_no(StallKind::Unreachable);
}

#[test]
fn one_wait_costs_once_and_what_failed_gives_its_cost_to_what_was_slow() {
    let late = |request: &mut Request| {
        status(502)(request);
        (request.first_byte_ns, request.end_ns) = (Some(SinceStart(5 * S)), Some(SinceStart(5 * S)));
    };
    let (stalls, _) = judged(failed().connection(|_| {}).request(late));
    let cost = |kind: StallKind| stalls.iter().find(|stall| stall.kind == kind).map(|stall| stall.cost_ns);
    assert_eq!(cost(StallKind::RequestRefused), Some(0), "{stalls:?}");
    near(cost(StallKind::ProxySlow).unwrap(), 3 * S);
    assert_eq!(stalls[0].kind, StallKind::RequestRefused, "it ended the command");
    assert!(stalls[0].evidence.iter().any(|fact| fact.to_string().contains("counted as proxy-slow")));
    // Two waits of one host, one after the other, cost what each takes.
    let elsewhere = |request: &mut Request| {
        (request.start_ns, request.first_byte_ns, request.end_ns) =
            (SinceStart(6 * S), Some(SinceStart(9 * S)), Some(SinceStart(9 * S)));
    };
    let quick = |request: &mut Request| {
        status(502)(request);
        (request.start_ns, request.end_ns) = (SinceStart(9 * S), Some(SinceStart(9 * S + 500 * MS)));
        request.first_byte_ns = request.end_ns;
    };
    let (stalls, _) = judged(failed().connection(|_| {}).request(elsewhere).request(quick));
    assert!(stalls.iter().all(|stall| stall.cost_ns > 0 || stall.severity == Severity::Info), "{stalls:?}");
}

#[test]
fn what_ended_well_need_not_be_repeated() {
    let advice = |code| {
        let world = World::new().command(move |command| command.exit_code = Some(code));
        let refused = |request: &mut Request| {
            status(502)(request);
            (request.first_byte_ns, request.end_ns) = (Some(SinceStart(4 * S)), Some(SinceStart(4 * S)));
        };
        let (stalls, _) = judged(world.connection(|_| {}).request(refused));
        stalls.into_iter().find(|stall| stall.kind == StallKind::RequestRefused).unwrap().advice
    };
    assert!(advice(1).starts_with("run it again; if it happens again, look into"), "{}", advice(1));
    assert!(advice(0).starts_with("look into that server's log"), "{}", advice(0));
}

#[test]
fn how_long_a_server_asks_to_wait_is_said() {
    let busy = |code: u16, seconds: Option<u32>| {
        move |request: &mut Request| {
            status(code)(request);
            request.retry_after_s = seconds;
        }
    };
    let world = |code, seconds| {
        failed().connection(|_| {}).request(busy(code, seconds)).request(busy(code, seconds)).request(|_| {})
    };
    let stall = world(429, Some(30)).finds(StallKind::RateLimited, Phase::Proxy, Some("proxy.test"));
    assert!(stall.summary.ends_with("it asks to wait 30.0 s, and go retried at once"), "{}", stall.summary);
    assert!(stall.advice.starts_with("wait 30.0 s before you run it again"), "{}", stall.advice);
    let stall = world(429, None).finds(StallKind::RateLimited, Phase::Proxy, Some("proxy.test"));
    assert!(!stall.summary.contains("to wait") && !stall.advice.contains("30"), "{stall:?}");
    let once = failed().connection(|_| {}).request(busy(503, Some(120)));
    let stall = once.finds(StallKind::RequestRefused, Phase::Proxy, Some("proxy.test"));
    assert!(stall.summary.ends_with("it asks to wait 2 min 00 s"), "{}", stall.summary);
    assert!(stall.advice.starts_with("wait 2 min 00 s"), "{}", stall.advice);
}
