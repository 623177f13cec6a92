//! Answers in another language than they were asked in, alerts, circles and pages.

use model::record::AnsweredIn;
use model::report::Blame;

use super::*;
use model::tunnel::{Tunnel, TunnelOutcome};

fn failed() -> World {
    World::new().command(|command| command.exit_code = Some(1))
}

/// A hello that was answered in something else.
fn answered(spoken: AnsweredIn) -> impl Fn(&mut Connection) {
    move |connection| {
        hello_only(connection);
        (connection.answered_in, connection.bytes_received) = (Some(spoken), Some(100));
        (connection.closed_by, connection.tls_ns) = (Some(model::record::Side::Here), Some(30 * MS));
    }
}

/// In plain text.
fn plain(connection: &mut Connection) {
    (connection.tls_start_ns, connection.tls_ns, connection.tls_version) = (None, None, None);
    (connection.server_name, connection.server_hello_ns, connection.hello_bytes) = (None, None, None);
    (connection.alpn, connection.alpn_offered) = (Some("http/1.1".into()), None);
    connection.remote_name = Some("proxy.test:80".into());
}

fn bad(request: &mut Request) {
    (request.protocol, request.status, request.outcome) = (Protocol::Http1, Some(400), RequestOutcome::Error);
}

#[test]
fn a_hello_that_is_answered_in_plain_text_names_the_scheme_and_the_setting() {
    let stall = failed().connection(answered(AnsweredIn::Http)).finds(
        StallKind::WrongScheme,
        Phase::Tls,
        Some("proxy.test"),
    );
    assert!(stall.fatal && stall.summary.contains("asked in TLS and answered in plain HTTP"), "{stall:?}");
    assert!(stall.advice.starts_with("write http://proxy.test in GOPROXY"), "{}", stall.advice);
    let world = failed().connection(answered(AnsweredIn::Http));
    world.finds_no(StallKind::TlsUntrusted);
    let forward = |command: &mut Command| {
        command.exit_code = Some(1);
        (command.go.https_proxy, command.go.forward_proxy) =
            (Some("https://fwd.test:3128".into()), Some(true));
    };
    let to_forward = |connection: &mut Connection| {
        answered(AnsweredIn::Http)(connection);
        (connection.server_name, connection.remote_name) =
            (Some("fwd.test".into()), Some("fwd.test:3128".into()));
    };
    let stall = World::new().command(forward).connection(to_forward).finds(
        StallKind::WrongScheme,
        Phase::Tls,
        Some("fwd.test"),
    );
    assert!(
        stall.advice.contains("http://fwd.test in HTTPS_PROXY")
            || stall.advice.contains("http://fwd.test:3128"),
        "{}",
        stall.advice
    );
    World::new().connection(|_| {}).request(|_| {}).finds_no(StallKind::WrongScheme);
}

#[test]
fn what_is_asked_in_plain_text_and_answered_by_tls_is_reported() {
    let by_tls = |connection: &mut Connection| {
        plain(connection);
        connection.answered_in = Some(AnsweredIn::Tls);
    };
    let open = |request: &mut Request| {
        open(request);
        request.protocol = Protocol::Http1;
        (request.end_ns, request.outcome) = (Some(SinceStart(3 * S)), RequestOutcome::Error);
    };
    let stall = failed().connection(by_tls).request(open).finds(
        StallKind::WrongScheme,
        Phase::Proxy,
        Some("proxy.test:80"),
    );
    assert!(stall.advice.starts_with("write https://proxy.test in GOPROXY"), "{}", stall.advice);
    near(stall.cost_ns, S);
    let tunnel = |connection: &mut Connection| {
        by_tls(connection);
        connection.remote_name = Some("fwd.test:3128".into());
        connection.tunnel = Some(Tunnel {
            target: Some("proxy.test:443".into()),
            start_ns: SinceStart(S),
            attempts: 1,
            outcome: TunnelOutcome::Open,
            ..Tunnel::default()
        });
    };
    failed().connection(tunnel).finds(StallKind::WrongScheme, Phase::Tunnel, Some("fwd.test:3128"));
    failed().connection(tunnel).finds_no(StallKind::TunnelRefused);
    // 400 to everything, as nginx and go's own server answer plain text where they expect TLS.
    let stall = failed().connection(plain).request(bad).request(bad).finds(
        StallKind::WrongScheme,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("400 to all 2 requests"), "{}", stall.summary);
    let fine = |request: &mut Request| request.protocol = Protocol::Http1;
    failed().connection(plain).request(bad).request(fine).finds_no(StallKind::WrongScheme);
    failed().connection(|_| {}).request(bad).finds_no(StallKind::WrongScheme);
}

#[test]
fn an_alert_says_what_the_peer_wants() {
    let alert = |name: &'static str, version: Option<&'static str>| {
        move |connection: &mut Connection| {
            (connection.alert, connection.tls_version) = (Some(name.into()), version.map(str::to_owned));
            (connection.requests, connection.tls_failed) = (0, version.is_none());
        }
    };
    for (name, version, words, blame) in [
        ("certificate_required", Some("1.3"), "wants a client's certificate", Blame::Command),
        ("handshake_failure", Some("1.2"), "most likely it wants a client's", Blame::Command),
        ("handshake_failure", None, "no version or cipher", Blame::Network),
        ("unrecognized_name", None, "does not know that name", Blame::Command),
        ("internal_error", None, "something failed there", Blame::Network),
        ("unknown", None, "why is not known", Blame::Network),
    ] {
        let world = || failed().connection(alert(name, version));
        let stall = world().finds(StallKind::TlsRefused, Phase::Tls, Some("proxy.test"));
        assert!(stall.fatal && stall.summary.contains(words), "{}", stall.summary);
        let mut world = world();
        world.judged();
        let diagnosis =
            diagnose(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S), Threads::Unknown);
        assert_eq!(diagnosis.blame.unwrap().0, blame, "{name}");
    }
    World::new().connection(|_| {}).request(|_| {}).finds_no(StallKind::TlsRefused);
}

#[test]
fn redirects_that_lead_in_a_circle_are_one_finding() {
    let circle = |n: u64| {
        move |request: &mut Request| {
            (request.status, request.path) = (Some(302), Some("/example.com/m/@v/v1.0.0.info".into()));
            request.start_ns = SinceStart(2 * S + n * 50 * MS);
            request.first_byte_ns = Some(SinceStart(2 * S + n * 50 * MS + 40 * MS));
            request.end_ns = Some(SinceStart(2 * S + n * 50 * MS + 40 * MS));
        }
    };
    let world = |times| (0..times).fold(failed().connection(|_| {}), |world, n| world.request(circle(n)));
    let stall = world(10).finds(StallKind::RedirectLoop, Phase::Proxy, Some("proxy.test"));
    assert!(stall.fatal && stall.summary.contains("10 requests with redirects"), "{}", stall.summary);
    near(stall.cost_ns, 400 * MS);
    world(2).finds_no(StallKind::RedirectLoop);
}

#[test]
fn a_page_in_the_place_of_a_module_is_reported_where_the_command_failed() {
    let page = |request: &mut Request| request.page = true;
    let stall = failed().connection(|_| {}).request(page).finds(
        StallKind::PageAnswered,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.fatal, "{stall:?}");
    World::new().connection(|_| {}).request(page).finds_no(StallKind::PageAnswered);
    let go_get = |request: &mut Request| {
        page(request);
        request.class = Class::GoGet;
    };
    failed().connection(|_| {}).request(|_| {}).finds_no(StallKind::PageAnswered);
    let mut world = failed().connection(|_| {}).request(go_get);
    assert!(world.judged().iter().all(|stall| stall.kind != StallKind::PageAnswered));
}
