//! Forward proxies.

use model::record::Side;
use model::tunnel::{Tunnel, TunnelOutcome, TunnelProtocol};

use super::*;

/// A tunnel that took so long, on a connection whose handshake with the proxy took 20 ms.
fn through(c: &mut Connection, took: Option<Ns>, outcome: TunnelOutcome) {
    (c.remote, c.remote_name) = ("192.0.2.8:3128".into(), Some("corp-proxy.test:3128".into()));
    let asked = SinceStart(S + 20 * MS);
    c.tunnel = Some(Tunnel {
        target: Some("proxy.test:443".into()),
        start_ns: asked,
        end_ns: took.map(|took| asked + took),
        outcome,
        attempts: 1,
        ..Tunnel::default()
    });
    if outcome == TunnelOutcome::Established {
        c.tls_start_ns = took.map(|took| asked + took);
        c.server_hello_ns = c.tls_start_ns.map(|at| at + 20 * MS);
    } else {
        (c.tls_start_ns, c.tls_ns, c.server_hello_ns, c.server_name) = (None, None, None, None);
        (c.tls_version, c.alpn, c.hello_bytes, c.alpn_offered, c.requests) = (None, None, None, None, 0);
    }
}

const PROXY: Option<&str> = Some("corp-proxy.test:3128");

#[test]
fn a_forward_proxy_that_takes_long_is_named_and_the_module_proxy_is_not() {
    let slow = |c: &mut Connection| through(c, Some(3 * S), TunnelOutcome::Established);
    let world = || World::new().connection(slow).request(|_| {});
    let stall = world().finds(StallKind::TunnelSlow, Phase::Tunnel, PROXY);
    near(stall.cost_ns, 3 * S);
    assert!(stall.summary.contains("CONNECT proxy.test:443"), "{}", stall.summary);
    for kind in [StallKind::ProxySlow, StallKind::TlsSlow, StallKind::TlsHelloUnanswered] {
        world().finds_no(kind);
    }
    let quick = |c: &mut Connection| through(c, Some(100 * MS), TunnelOutcome::Established);
    World::new().connection(quick).request(|_| {}).finds_no(StallKind::TunnelSlow);
    World::new().connection(|_| {}).finds_no(StallKind::TunnelSlow);
}

/// The kernel's round trip ends at the forward proxy; the one of hellos does not.
#[test]
fn behind_a_forward_proxy_the_way_to_the_server_takes_its_time() {
    let far = |way: Ns| {
        move |c: &mut Connection| {
            through(c, Some(way), TunnelOutcome::Established);
            (c.rtt_ns, c.tls_ns) = (Some(MS), Some(way + 5 * MS));
            c.server_hello_ns = c.tls_start_ns.map(|at| at + way);
        }
    };
    let after = |took: Ns| move |r: &mut Request| r.first_byte_ns = Some(SinceStart(2 * S + took));
    let one = |way, took| World::new().connection(far(way)).request(after(took));
    one(280 * MS, 300 * MS).finds_no(StallKind::ProxySlow);
    one(280 * MS, 300 * MS).finds_no(StallKind::TlsSlow);
    let late = one(MS, 900 * MS).finds(StallKind::ProxySlow, Phase::Proxy, Some("proxy.test"));
    assert!(
        late.summary.starts_with("proxy.test, asked through corp-proxy.test:3128, took"),
        "{}",
        late.summary
    );
    assert!(late.advice.contains("proxy.test and corp-proxy.test:3128"), "{}", late.advice);
    let many = |way: Ns| {
        (0..20).fold(World::new().connection(far(way)), |world, n| {
            world.request(move |r| {
                let start = 2 * S + n * 250 * MS;
                let end = SinceStart(start + 210 * MS);
                (r.start_ns, r.first_byte_ns, r.end_ns) = (SinceStart(start), Some(end), Some(end));
            })
        })
    };
    let share = |way| many(way).finds(StallKind::ProxyShare, Phase::Proxy, Some("proxy.test")).severity;
    assert_eq!((share(200 * MS), share(MS)), (Severity::Info, Severity::Critical));
    // Behind a SOCKS proxy, or one that is spoken to over TLS, the server's hello is not seen.
    let unseen = |c: &mut Connection| {
        far(280 * MS)(c);
        c.server_hello_ns = None;
    };
    World::new().connection(unseen).request(after(300 * MS)).finds_no(StallKind::ProxySlow);
}

#[test]
fn a_handshake_in_a_tunnel_that_took_far_longer_than_the_tunnel_is_slow() {
    let slow = |c: &mut Connection| {
        through(c, Some(100 * MS), TunnelOutcome::Established);
        (c.rtt_ns, c.tls_ns) = (Some(MS), Some(2 * S));
        c.server_hello_ns = c.tls_start_ns.map(|at| at + 2 * S);
    };
    let stall = World::new().connection(slow).finds(StallKind::TlsSlow, Phase::Tls, Some("proxy.test"));
    near(stall.cost_ns, 2 * S - 100 * MS);
}

#[test]
fn a_crawling_body_is_not_put_on_the_server_alone_where_a_forward_proxy_is_in_between() {
    let body = |r: &mut Request| (r.end_ns, r.bytes) = (Some(SinceStart(4 * S)), Some(100_000));
    let established = |c: &mut Connection| through(c, Some(5 * MS), TunnelOutcome::Established);
    let stall = World::new().connection(established).request(body).finds(
        StallKind::TransferSlow,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("before corp-proxy.test:3128"), "{}", stall.summary);
}

#[test]
fn a_forward_proxy_that_never_answers_is_waited_for_until_the_end() {
    let silent = |c: &mut Connection| through(c, None, TunnelOutcome::Open);
    let stall = World::new().connection(silent).finds(StallKind::TunnelUnanswered, Phase::Tunnel, PROXY);
    near(stall.cost_ns, 8 * S - 20 * MS);
    World::new().connection(silent).finds_no(StallKind::TunnelRefused);
    let quick = |c: &mut Connection| through(c, Some(100 * MS), TunnelOutcome::Established);
    World::new().connection(quick).finds_no(StallKind::TunnelUnanswered);
}

#[test]
fn a_refused_tunnel_ends_the_command_and_says_what_to_do() {
    let refused = |status: Option<u16>, reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        let change = move |c: &mut Connection| {
            through(c, Some(5 * MS), TunnelOutcome::Refused);
            let tunnel = c.tunnel.as_mut().unwrap();
            (tunnel.status, tunnel.reason) = (status, reason);
            if status.is_none() {
                tunnel.protocol = TunnelProtocol::Socks5;
            }
        };
        World::new().command(|command| command.exit_code = Some(1)).connection(change).finds(
            StallKind::TunnelRefused,
            Phase::Tunnel,
            PROXY,
        )
    };
    let asked = refused(Some(407), Some("Basic"));
    assert!(asked.fatal && asked.severity == Severity::Critical, "{asked:?}");
    assert!(asked.summary.contains("407") && asked.advice.contains("HTTPS_PROXY"), "{asked:?}");
    assert!(refused(Some(407), Some("Negotiate, NTLM")).advice.contains("Basic authentication alone"));
    assert!(refused(Some(403), None).advice.contains("allow that host"));
    assert!(refused(None, Some("none of the ways to authenticate is accepted")).advice.contains("put user"));
    assert!(refused(None, Some("user and password are refused")).advice.contains("correct user"));
    let reset = |c: &mut Connection| {
        through(c, None, TunnelOutcome::Open);
        (c.outcome, c.end_ns) = (ConnectionOutcome::Reset, Some(SinceStart(S + 30 * MS)));
    };
    let failed = |command: &mut Command| command.exit_code = Some(1);
    let stall =
        World::new().command(failed).connection(reset).finds(StallKind::TunnelRefused, Phase::Tunnel, PROXY);
    assert!(stall.summary.contains("without an answer"), "{}", stall.summary);
    let fine = |c: &mut Connection| through(c, Some(5 * MS), TunnelOutcome::Established);
    World::new().connection(fine).request(|_| {}).finds_no(StallKind::TunnelRefused);
}

#[test]
fn what_a_forward_proxy_may_have_ended_or_held_back_names_it() {
    let failed = |command: &mut Command| command.exit_code = Some(1);
    let mute = |c: &mut Connection| {
        through(c, Some(5 * MS), TunnelOutcome::Established);
        hello_only(c);
    };
    let stall = World::new().command(failed).connection(mute).finds(
        StallKind::TlsHelloUnanswered,
        Phase::Tls,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("through the forward proxy corp-proxy.test:3128"), "{}", stall.summary);
    let closed = |c: &mut Connection| {
        through(c, Some(5 * MS), TunnelOutcome::Established);
        (c.end_ns, c.closed_by) = (Some(SinceStart(3 * S)), Some(Side::Peer));
    };
    let open = |request: &mut Request| {
        (request.end_ns, request.outcome, request.status) =
            (Some(SinceStart(3 * S)), RequestOutcome::Error, None);
    };
    let stall = World::new().command(failed).connection(closed).request(open).finds(
        StallKind::TransferCut,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("or corp-proxy.test:3128 in between"), "{}", stall.summary);
    assert!(stall.advice.contains("NO_PROXY"), "{}", stall.advice);
}
