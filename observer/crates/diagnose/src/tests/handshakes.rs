//! TCP and TLS handshakes.

use super::*;
use model::time::{Ns, SinceStart};
use model::tunnel::Tunnel;

#[test]
fn a_syn_that_is_retransmitted_was_lost() {
    let lost = |c: &mut Connection| {
        (c.syn_retransmits, c.connect_ns, c.tls_start_ns) = (2, Some(3 * S), Some(SinceStart(4 * S)));
    };
    let stall = World::new().connection(lost).finds(StallKind::SynLost, Phase::Connect, Some("proxy.test"));
    near(stall.cost_ns, 3 * S);
    assert_eq!(names(&stall), [""; 0], "what is lost now and then is lost on every way");
    // … of which the way itself takes its part.
    let far = |c: &mut Connection| {
        lost(c);
        c.rtt_ns = Some(S);
    };
    near(
        World::new().connection(far).finds(StallKind::SynLost, Phase::Connect, Some("proxy.test")).cost_ns,
        2 * S,
    );
    World::new().connection(|_| {}).finds_no(StallKind::SynLost);
}

#[test]
fn a_refused_connection_is_named_after_what_was_looked_up_before_it() {
    let refused = |c: &mut Connection| {
        no_hello(c);
        (c.outcome, c.start_ns, c.end_ns) =
            (ConnectionOutcome::Refused, SinceStart(2 * S), Some(SinceStart(2 * S + MS)));
    };
    World::new().dns(|_| {}).connection(refused).finds(
        StallKind::ConnectRefused,
        Phase::Connect,
        Some("proxy.test"),
    );
    World::new().connection(refused).finds(StallKind::ConnectRefused, Phase::Connect, Some("192.0.2.1:443"));
    // A name server as far away as who refuses is not slow.
    let far = |c: &mut Connection| {
        refused(c);
        (c.rtt_ns, c.end_ns) = (None, Some(SinceStart(2 * S + 200 * MS)));
    };
    let late = |dns: &mut Dns| dns.end_ns = Some(dns.start_ns + 200 * MS);
    World::new().dns(late).connection(far).finds_no(StallKind::DnsSlow);
    World::new().connection(|_| {}).finds_no(StallKind::ConnectRefused);
}

#[test]
fn ipv6_that_leads_nowhere_is_seen_by_the_ipv4_after_it() {
    let v6 = |c: &mut Connection| {
        no_hello(c);
        (c.remote, c.outcome, c.end_ns) =
            ("[2001:db8::1]:443".into(), ConnectionOutcome::Unused, Some(SinceStart(S + 350 * MS)));
    };
    let v4 = |c: &mut Connection| {
        (c.start_ns, c.tls_start_ns) = (SinceStart(S + 300 * MS), Some(SinceStart(S + 320 * MS)));
    };
    near(
        World::new()
            .connection(v6)
            .connection(v4)
            .finds(StallKind::Ipv6Blackhole, Phase::Connect, Some("[2001:db8::1]:443"))
            .cost_ns,
        300 * MS,
    );
    World::new().connection(v6).finds_no(StallKind::Ipv6Blackhole);
}

#[test]
fn a_hello_without_an_answer_proposes_a_smaller_one_unless_it_was_small() {
    let stall = World::new().connection(hello_only).finds(
        StallKind::TlsHelloUnanswered,
        Phase::Tls,
        Some("proxy.test"),
    );
    near(stall.cost_ns, 5 * S);
    assert_eq!(stall.remedies[0].name, "no-mlkem");
    let small = |c: &mut Connection| {
        hello_only(c);
        c.hello_bytes = Some(300);
    };
    let stall =
        World::new().connection(small).finds(StallKind::TlsHelloUnanswered, Phase::Tls, Some("proxy.test"));
    assert!(stall.remedies.iter().all(|remedy| remedy.name != "no-mlkem"));
    assert!(stall.summary.ends_with("did not answer 1 ClientHello: likely filtered by name"));
    let unknown = |c: &mut Connection| {
        hello_only(c);
        c.hello_bytes = None;
    };
    let stall =
        World::new().connection(unknown).finds(StallKind::TlsHelloUnanswered, Phase::Tls, Some("proxy.test"));
    assert_eq!(stall.remedies[0].name, "no-mlkem");
    World::new().connection(|c| c.tls_ns = Some(5 * S)).finds_no(StallKind::TlsHelloUnanswered);
}

#[test]
fn a_reset_after_the_hello_is_a_filter_by_name() {
    let reset = |c: &mut Connection| {
        hello_only(c);
        (c.outcome, c.tls_ns) = (ConnectionOutcome::Reset, Some(30 * MS));
    };
    World::new().connection(reset).finds(StallKind::TlsResetBySni, Phase::Tls, Some("proxy.test"));
    World::new().connection(|c| c.outcome = ConnectionOutcome::Reset).finds_no(StallKind::TlsResetBySni);
}

#[test]
fn a_handshake_of_many_round_trips_is_slow_and_a_far_one_is_not() {
    let took = |ms: Ns, rtt: Ns| {
        World::new().connection(move |c| (c.tls_ns, c.rtt_ns) = (Some(ms * MS), Some(rtt * MS)))
    };
    near(took(800, 20).finds(StallKind::TlsSlow, Phase::Tls, Some("proxy.test")).cost_ns, 800 * MS);
    took(800, 200).finds_no(StallKind::TlsSlow);
}

#[test]
fn http1_where_http2_was_offered_is_worth_knowing_where_something_is_in_between() {
    let http1 = |c: &mut Connection| c.alpn = Some("http/1.1".into());
    let tunnel = |c: &mut Connection| c.tunnel = Some(Tunnel::default());
    let found = |world: World| world.finds(StallKind::TlsIntercepted, Phase::Tls, Some("proxy.test"));
    let through = |c: &mut Connection| {
        http1(c);
        tunnel(c);
    };
    assert_eq!(found(World::new().connection(through)).severity, Severity::Info);
    found(World::new().connection(http1).connection(|_| {}));
    // An honest server that speaks HTTP/1.1.
    World::new().connection(http1).finds_no(StallKind::TlsIntercepted);
    let not_offered = |c: &mut Connection| {
        through(c);
        c.alpn_offered = Some(Vec::new());
    };
    World::new().connection(not_offered).finds_no(StallKind::TlsIntercepted);
}

#[test]
fn wasted_handshakes_are_counted_and_distinguished_by_protocol_and_place() {
    let unused = |start_ns: Ns| {
        move |c: &mut Connection| {
            (c.start_ns, c.tls_start_ns) = (SinceStart(start_ns), Some(SinceStart(start_ns + 20 * MS)));
            (c.outcome, c.requests, c.alpn) = (ConnectionOutcome::Unused, 0, None);
        }
    };
    let words =
        |world: World| world.finds(StallKind::HandshakeWasted, Phase::Tls, Some("proxy.test")).summary;
    let http2 = words(World::new().connection(|_| {}).connection(unused(S)).connection(unused(S)));
    assert!(http2.starts_with("2 connections with proxy.test carried no request (90.0 ms"), "{http2}");
    assert!(http2.ends_with("HTTP/2 needs one"), "{http2}");
    let ended =
        |c: &mut Connection| (c.goaway, c.end_ns) = (Some("NO_ERROR".into()), Some(SinceStart(5 * S)));
    let world = World::new().connection(ended).connection(unused(S)).connection(unused(5 * S + MS));
    assert!(words(world).ends_with("dialled behind a GOAWAY: 1"));
    let http1 = |c: &mut Connection| c.alpn = Some("http/1.1".into());
    let http1 = words(World::new().connection(http1).connection(unused(S)));
    assert!(http1.ends_with("finds none free, and takes what is free first"), "{http1}");
}

#[test]
fn a_handshake_without_a_request_is_wasted() {
    let unused = |c: &mut Connection| (c.outcome, c.requests) = (ConnectionOutcome::Unused, 0);
    World::new().connection(unused).finds(StallKind::HandshakeWasted, Phase::Tls, Some("proxy.test"));
    World::new().connection(|_| {}).finds_no(StallKind::HandshakeWasted);
}

#[test]
fn a_smaller_hello_is_not_offered_where_size_is_not_the_cause() {
    let of = |world: World| {
        let stall = world.finds(StallKind::TlsHelloUnanswered, Phase::Tls, Some("proxy.test"));
        names(&stall).contains(&"no-mlkem")
    };
    let dead = || World::new().connection(hello_only);
    assert!(of(dead()));
    let small = |c: &mut Connection| {
        hello_only(c);
        c.hello_bytes = Some(300);
    };
    assert!(!of(dead().connection(small)), "a small one was unanswered, too");
    assert!(!of(dead().connection(|_| {})), "a large one was answered");
    let other = |c: &mut Connection| c.server_name = Some("sumdb.test".into());
    assert!(of(dead().connection(other)), "… by another host");
    let version =
        |version: &'static str| of(dead().command(move |command| command.go.version = Some(version.into())));
    assert!(version("go1.24.3") && version("go1.26.8") && !version("go1.23.9"));
    assert!(!of(dead().command(|command| command.go.godebug = Some("netdns=go,tlsmlkem=0".into()))));
}
