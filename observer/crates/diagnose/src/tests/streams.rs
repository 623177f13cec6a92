//! Streams that share a connection.

use super::*;
use model::id::{CommandId, ConnectionId};
use model::time::{Ns, SinceStart};

#[test]
fn silence_with_a_living_peer_and_a_dead_path_are_distinguished() {
    let silent = || World::new().connection(|_| {}).request(open);
    let stall = silent().finds(StallKind::H2Silent, Phase::Proxy, Some("proxy.test"));
    near(stall.cost_ns, 8 * S);
    let attempt = &stall.remedies[0].attempt;
    assert!(
        attempt.contains(" -- timeout 300 go mod download"),
        "what hangs is tried with a limit: {attempt}"
    );
    let dead = || silent().retransmitted(&[2 * S + 200 * MS, 2 * S + 600 * MS, 3 * S + 400 * MS, 5 * S]);
    near(dead().finds(StallKind::PathDead, Phase::Proxy, Some("proxy.test")).cost_ns, 8 * S);
    dead().finds_no(StallKind::H2Silent);
    let late = |r: &mut Request| {
        (r.first_byte_ns, r.end_ns) = (Some(SinceStart(4 * S)), Some(SinceStart(4 * S + MS)));
    };
    World::new().connection(|_| {}).request(late).finds_no(StallKind::H2Silent);
}

#[test]
fn what_hangs_to_the_end_may_be_started_again() {
    let hung = |wall: Ns, kind, lost: &[Ns]| {
        let ended = move |command: &mut Command| {
            (command.wall_ns, command.exit_code) = (Some(wall), Some(143)); // by a signal
        };
        let world = World::new().connection(|_| {}).request(open).retransmitted(lost).command(ended);
        let stall = world.finds(kind, Phase::Proxy, Some("proxy.test"));
        stall.remedies.into_iter().find(|remedy| remedy.name == "deadline").map(|remedy| remedy.attempt)
    };
    let line = Some("sudo goobserve run --with deadline -- go mod download");
    let lost = [2 * S + 200 * MS, 2 * S + 600 * MS, 3 * S + 400 * MS, 5 * S];
    assert_eq!(hung(50 * S, StallKind::H2Silent, &[]).as_deref(), line);
    assert_eq!(hung(50 * S, StallKind::PathDead, &lost).as_deref(), line);
    assert_eq!(hung(30 * S, StallKind::H2Silent, &[]), None, "it waits for longer than that");
}

#[test]
fn a_body_that_stops_is_silence_from_its_head_on() {
    let stopped = |r: &mut Request| (r.end_ns, r.bytes, r.outcome) = (None, None, RequestOutcome::Open);
    near(
        World::new()
            .connection(|_| {})
            .request(stopped)
            .finds(StallKind::H2Silent, Phase::Proxy, Some("proxy.test"))
            .cost_ns,
        8 * S,
    );
}

#[test]
fn a_body_that_goes_on_is_not_silent_however_long_it_takes() {
    let goes_on = |r: &mut Request| (r.end_ns, r.bytes, r.outcome) = (None, None, RequestOutcome::Open);
    let received = |at_ns| World::new().connection(move |c| c.received_ns = Some(at_ns)).request(goes_on);
    received(SinceStart(9 * S)).finds_no(StallKind::H2Silent);
    near(
        received(SinceStart(5 * S)).finds(StallKind::H2Silent, Phase::Proxy, Some("proxy.test")).cost_ns,
        5 * S,
    );
}

#[test]
fn a_loss_matters_when_several_streams_wait_behind_it() {
    let long = |r: &mut Request| {
        (r.first_byte_ns, r.end_ns) =
            (Some(SinceStart(2 * S + 500 * MS)), Some(SinceStart(2 * S + 600 * MS)));
    };
    let two = World::new().connection(|_| {}).request(long).request(long).retransmitted(&[2 * S + 300 * MS]);
    near(two.finds(StallKind::H2LossBlocksAll, Phase::Proxy, Some("proxy.test")).cost_ns, 200 * MS);
    World::new()
        .connection(|_| {})
        .request(long)
        .retransmitted(&[2 * S + 300 * MS])
        .finds_no(StallKind::H2LossBlocksAll);
    // What had arrived was not lost: the sender was impatient.
    let arrived = |c: &mut Connection| c.spurious_retransmits = Some(1);
    let of = |times: &[Ns]| World::new().connection(arrived).request(long).request(long).retransmitted(times);
    of(&[2 * S + 300 * MS]).finds_no(StallKind::H2LossBlocksAll);
    of(&[2 * S + 250 * MS, 2 * S + 300 * MS]).finds(
        StallKind::H2LossBlocksAll,
        Phase::Proxy,
        Some("proxy.test"),
    );
}

#[test]
fn a_segment_that_was_overtaken_is_no_loss() {
    let out_of_order = |n| World::new().connection(move |c| c.received_out_of_order = Some(n));
    let two = |world: World| world.request(|_| {}).request(|_| {});
    two(out_of_order(2)).finds_no(StallKind::H2LossBlocksAll);
    two(out_of_order(3)).finds(StallKind::H2LossBlocksAll, Phase::Proxy, Some("proxy.test"));
}

#[test]
fn a_closed_window_costs_while_it_is_closed() {
    let window = |zero| {
        Body::Window(WindowMark {
            command: CommandId(1),
            connection: ConnectionId(1),
            ours: true,
            zero,
            since_ns: None,
        })
    };
    let slow = |r: &mut Request| r.end_ns = Some(SinceStart(5 * S));
    let world = World::new()
        .connection(|_| {})
        .request(slow)
        .report(SinceStart(3 * S), window(true))
        .report(SinceStart(4 * S), window(false));
    near(world.finds(StallKind::ZeroWindow, Phase::Proxy, Some("proxy.test")).cost_ns, S);
    let late = |r: &mut Request| {
        (r.start_ns, r.first_byte_ns, r.end_ns) =
            (SinceStart(3 * S), Some(SinceStart(4 * S)), Some(SinceStart(4 * S + 10 * MS)));
    };
    let world = World::new()
        .connection(|_| {})
        .request(late)
        .report(SinceStart(3 * S), window(true))
        .report(SinceStart(4 * S), window(false));
    world.finds_no(StallKind::ProxySlow);
    World::new().connection(|_| {}).request(late).finds(
        StallKind::ProxySlow,
        Phase::Proxy,
        Some("proxy.test"),
    );
    World::new().connection(|_| {}).request(slow).finds_no(StallKind::ZeroWindow);
}

#[test]
fn goaway_and_resets_are_reported_with_their_codes() {
    let stall = World::new().connection(|c| c.goaway = Some("ENHANCE_YOUR_CALM".into())).request(|_| {});
    assert!(
        stall
            .finds(StallKind::H2Goaway, Phase::Proxy, Some("proxy.test"))
            .summary
            .contains("ENHANCE_YOUR_CALM")
    );
    let reset =
        |r: &mut Request| (r.outcome, r.reset_code) = (RequestOutcome::Reset, Some("REFUSED_STREAM".into()));
    let stall = World::new().connection(|_| {}).request(reset).finds(
        StallKind::H2StreamReset,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.contains("REFUSED_STREAM"));
    assert_eq!(names(&stall), ["gateway", "proxy=direct"]);
    let again = |r: &mut Request| {
        (r.path, r.start_ns) = (Some("/example.com/m1/@v/v1.0.0.zip".into()), SinceStart(3 * S));
    };
    let stall = World::new().connection(|_| {}).request(reset).request(again).finds(
        StallKind::H2StreamReset,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert_eq!(names(&stall), [""; 0], "go retried by itself");
    let healthy = || World::new().connection(|_| {}).request(|_| {});
    healthy().finds_no(StallKind::H2Goaway);
    healthy().finds_no(StallKind::H2StreamReset);
}

#[test]
fn a_small_limit_of_streams_matters_when_it_made_go_dial() {
    let limited = |c: &mut Connection| c.stream_limit = Some(2);
    World::new().connection(limited).connection(limited).finds(
        StallKind::H2StreamLimit,
        Phase::Proxy,
        Some("proxy.test"),
    );
    World::new().connection(limited).finds_no(StallKind::H2StreamLimit);
    let two = || World::new().connection(limited).connection(limited);
    let of = |world: World| {
        names(&world.finds(StallKind::H2StreamLimit, Phase::Proxy, Some("proxy.test"))).join(" ")
    };
    assert_eq!(of(two().request(|_| {})), "http1");
    assert_eq!(of(two().request(|_| {}).request(|_| {})), "", "HTTP/1.1 would dial as many");
    let usual = |c: &mut Connection| c.stream_limit = Some(200);
    World::new().connection(usual).connection(usual).finds_no(StallKind::H2StreamLimit);
}

#[test]
fn a_goaway_that_cost_requests_offers_the_gateway_and_another_proxy() {
    let world = |outcome| {
        World::new().connection(|c| c.goaway = Some("NO_ERROR".into())).request(move |r| {
            (r.status, r.first_byte_ns, r.outcome) = (None, None, outcome);
        })
    };
    let stall = world(RequestOutcome::Error).finds(StallKind::H2Goaway, Phase::Proxy, Some("proxy.test"));
    assert_eq!(names(&stall), ["gateway", "proxy=direct"]);
    // It stands in for proxies that GOPROXY names, in front of `direct`, and not for one on this machine.
    for (goproxy, offered) in [
        ("https://…@proxy.test/go|off", true),
        ("a.test,proxy.test:443", true),
        ("direct,https://proxy.test", false),
        ("off", false),
        ("https://other.test", false),
    ] {
        let stall = world(RequestOutcome::Error).command(|c| c.go.goproxy = Some(goproxy.into()));
        let stall = stall.finds(StallKind::H2Goaway, Phase::Proxy, Some("proxy.test"));
        assert_eq!(names(&stall).contains(&"gateway"), offered, "{goproxy}");
    }
    let here = world(RequestOutcome::Error)
        .command(|c| c.go.goproxy = Some("http://127.0.0.1:8799/0,direct".into()))
        .connection(|c| {
            (c.goaway, c.remote_name, c.server_name) = (Some("NO_ERROR".into()), None, None);
            c.remote = "127.0.0.1:8799".into();
        });
    let offers = here.stalls();
    assert!(offers.iter().any(|stall| stall.host.as_deref().is_some_and(|host| host.starts_with("127."))));
    assert!(offers.iter().all(|stall| !names(stall).contains(&"gateway")), "{offers:?}");
    let stall = world(RequestOutcome::Ok).finds(StallKind::H2Goaway, Phase::Proxy, Some("proxy.test"));
    assert_eq!((names(&stall).len(), stall.severity), (0, Severity::Info));
}

#[test]
fn goaways_of_a_host_are_one_finding() {
    let ended = |c: &mut Connection| c.goaway = Some("NO_ERROR".into());
    let stalls = World::new().connection(ended).connection(ended).connection(ended).request(|_| {}).stalls();
    let of: Vec<&Stall> = stalls.iter().filter(|stall| stall.kind == StallKind::H2Goaway).collect();
    assert_eq!(of.len(), 1, "{of:?}");
    assert!(of[0].summary.starts_with("proxy.test ended 3 connections with GOAWAY (NO_ERROR): 0 requests"));
}

#[test]
fn silence_over_http1_is_said_to_be() {
    let http1 = |r: &mut Request| {
        open(r);
        (r.protocol, r.stream) = (Protocol::Http1, None);
    };
    let stall = World::new().connection(|c| c.end_ns = None).request(http1).finds(
        StallKind::H2Silent,
        Phase::Proxy,
        Some("proxy.test"),
    );
    assert!(stall.summary.starts_with("proxy.test fell silent over HTTP/1.1: "), "{stall:?}");
}

#[test]
fn a_window_that_was_closed_for_microseconds_is_no_stall() {
    let window = |at_ns: Ns, zero| {
        let mark = WindowMark {
            command: CommandId(1),
            connection: ConnectionId(1),
            ours: true,
            zero,
            since_ns: None,
        };
        (at_ns, Body::Window(mark))
    };
    let world = |until: Ns| {
        let (from, closed) = window(2 * S, true);
        let (to, opened) = window(until, false);
        World::new()
            .connection(|_| {})
            .request(|_| {})
            .report(SinceStart(from), closed)
            .report(SinceStart(to), opened)
    };
    world(2 * S + 700_000).finds_no(StallKind::ZeroWindow);
    world(2 * S + 30 * MS).finds(StallKind::ZeroWindow, Phase::Proxy, Some("proxy.test"));
}
