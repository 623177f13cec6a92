//! What is asked more often than once, pauses, connections for one request each, and answers that are many.

use super::*;

fn at(start_ns: Ns, took: Ns) -> impl FnOnce(&mut Request) {
    move |r: &mut Request| {
        let (start, end) = (SinceStart(start_ns), SinceStart(start_ns + took));
        (r.start_ns, r.first_byte_ns, r.end_ns) = (start, Some(end), Some(end));
    }
}

/// Refused before anything was done about it.
fn refused(path: &'static str, start_ns: Ns) -> impl FnOnce(&mut Request) {
    move |r: &mut Request| {
        at(start_ns, MS)(r);
        (r.path, r.status, r.first_byte_ns) = (Some(path.into()), None, None);
        (r.outcome, r.reset_code) = (RequestOutcome::Reset, Some("REFUSED_STREAM".into()));
    }
}

#[test]
fn pauses_behind_refused_streams_are_a_phase_of_their_own() {
    let same = |start_ns| {
        move |r: &mut Request| {
            at(start_ns, 10 * MS)(r);
            r.path = Some("/a".into());
        }
    };
    let world = || {
        World::new()
            .connection(|_| {})
            .request(refused("/a", S))
            .request(refused("/a", S + 2 * MS))
            .request(refused("/a", 2 * S + 50 * MS))
            .request(same(4 * S + 100 * MS))
    };
    let stall = world().finds(StallKind::RetryBackoff, Phase::Backoff, Some("proxy.test"));
    near(stall.cost_ns, 3 * S);
    assert!(stall.summary.contains("2 streams") && stall.summary.contains("up to 2.05 s"), "{stall:?}");
    // Asked once more at once, and what is asked later by somebody else, is no pause.
    let world = World::new().connection(|_| {}).request(refused("/a", S)).request(same(S + 2 * MS));
    world.finds_no(StallKind::RetryBackoff);
    let other = |r: &mut Request| (r.start_ns, r.path) = (SinceStart(5 * S), Some("/b".into()));
    World::new()
        .connection(|_| {})
        .request(refused("/a", S))
        .request(other)
        .finds_no(StallKind::RetryBackoff);
}

#[test]
fn connections_that_end_without_a_word_cost_what_is_retried() {
    let cut = |r: &mut Request| {
        at(2 * S, S)(r);
        (r.path, r.status, r.first_byte_ns) = (Some("/a".into()), None, None);
        (r.outcome, r.bytes) = (RequestOutcome::Error, None);
    };
    let retried = |r: &mut Request| {
        at(3 * S + 50 * MS, 10 * MS)(r);
        (r.path, r.connection) = (Some("/a".into()), Some(ConnectionId(2)));
    };
    let new = |c: &mut Connection| {
        (c.start_ns, c.tls_start_ns, c.server_hello_ns) =
            (SinceStart(3 * S), Some(SinceStart(3 * S + 20 * MS)), Some(SinceStart(3 * S + 40 * MS)));
    };
    let world = |goaway: Option<&'static str>| {
        let ends = move |c: &mut Connection| {
            (c.end_ns, c.goaway) = (Some(SinceStart(3 * S)), goaway.map(str::to_owned));
        };
        World::new().connection(ends).connection(new).request(cut)
    };
    let stall =
        world(None).request(retried).finds(StallKind::ConnectionDropped, Phase::Proxy, Some("proxy.test"));
    near(stall.cost_ns, S + 45 * MS);
    assert!(stall.summary.contains("1 connection without a GOAWAY: 1 request"), "{stall:?}");
    world(Some("NO_ERROR")).request(retried).finds_no(StallKind::ConnectionDropped);
    world(None).finds_no(StallKind::ConnectionDropped);
    World::new().connection(|_| {}).request(|_| {}).finds_no(StallKind::ConnectionDropped);
}

#[test]
fn one_request_again_and_again_is_counted() {
    let world = |times: u64| {
        (0..times).fold(World::new().connection(|_| {}), |world, n| {
            world.request(move |r| {
                at(S + n * 10 * MS, 8 * MS)(r);
                (r.path, r.status, r.first_byte_ns) = (Some("/a/@v/v1.0.0.zip".into()), None, None);
                (r.outcome, r.reset_code) = (RequestOutcome::Reset, Some("INTERNAL_ERROR".into()));
            })
        })
    };
    let stall = world(200).finds(StallKind::RequestRepeated, Phase::Proxy, Some("proxy.test"));
    near(stall.cost_ns, 1_600 * MS);
    assert!(stall.summary.contains("v1.0.0.zip 200 times"), "{stall:?}");
    world(3).finds_no(StallKind::RequestRepeated);
}

/// As many lookups, connections and handshakes as requests; each part takes so long.
fn one_each(lookup: Ns, connect: Ns, handshake: Ns, requests: u32) -> World {
    (0..24_u64).fold(World::new(), |world, n| {
        let start = S + n * 300 * MS;
        let (dialled, done) = (start + lookup, start + lookup + connect + handshake);
        let end = done + u64::from(requests) * 10 * MS;
        let world = world
            .dns(move |dns| {
                (dns.start_ns, dns.end_ns) = (SinceStart(start), Some(SinceStart(start + lookup)));
            })
            .connection(move |c| {
                (c.start_ns, c.connect_ns, c.tls_start_ns) =
                    (SinceStart(dialled), Some(connect), Some(SinceStart(dialled + connect)));
                (c.tls_ns, c.server_hello_ns) =
                    (Some(handshake), Some(SinceStart(dialled + connect + handshake / 2)));
                (c.end_ns, c.requests, c.alpn) =
                    (Some(SinceStart(end + MS)), requests, Some("http/1.1".into()));
            });
        (0..requests).fold(world, |world, k| {
            world.request(move |r| {
                at(done + u64::from(k) * 10 * MS, 9 * MS)(r);
                (r.connection, r.protocol, r.stream) =
                    (Some(ConnectionId(n as u32 + 1)), Protocol::Http1, None);
            })
        })
    })
}

#[test]
fn a_connection_for_each_request_costs_lookups_and_handshakes() {
    let stall = one_each(60 * MS, MS, 5 * MS, 1).finds(
        StallKind::ConnectionPerRequest,
        Phase::Dns,
        Some("proxy.test"),
    );
    near(stall.cost_ns, 23 * 66 * MS);
    assert!(
        stall.summary.contains("24 connections for 24 requests, with 24 queries and 24 TLS"),
        "{stall:?}"
    );
    one_each(MS, 60 * MS, 5 * MS, 1).finds(
        StallKind::ConnectionPerRequest,
        Phase::Connect,
        Some("proxy.test"),
    );
    one_each(MS, MS, 60 * MS, 1).finds(StallKind::ConnectionPerRequest, Phase::Tls, Some("proxy.test"));
    // A server that closes after a hundred requests, and go that keeps two of sixteen.
    one_each(60 * MS, MS, 5 * MS, 10).finds_no(StallKind::ConnectionPerRequest);
    let idle = |c: &mut Connection| c.requests = 30;
    let kept = one_each(60 * MS, MS, 5 * MS, 1).connection(idle).connection(idle);
    kept.finds_no(StallKind::ConnectionPerRequest);
}

/// Answers one after the other: of `few` every third after another time.
fn answers(usual: Ns, few: Ns, rtt_ns: Ns) -> World {
    (0..60_u64).fold(World::new().connection(move |c| c.rtt_ns = Some(rtt_ns)), |world, n| {
        let took = if n % 3 == 0 { few } else { usual };
        world.request(move |r| at(S + n * 100 * MS, took + n * 20_000)(r))
    })
}

#[test]
fn answers_in_steps_of_the_delayed_acknowledgement_are_the_senders_doing() {
    let stall =
        answers(MS, 41 * MS, MS).finds(StallKind::SmallSegmentsDelayed, Phase::Proxy, Some("proxy.test"));
    near(stall.cost_ns, 20 * 41 * MS);
    let through = answers(MS, 41 * MS, MS)
        .command(|c| c.go.forward_proxy = Some(true))
        .connection(|c| {
            (c.server_name, c.requests, c.remote) = (None, 0, "192.0.2.3:1080".into());
        })
        .stalls();
    assert!(through.iter().any(|stall| stall.kind == StallKind::SmallSegmentsDelayed));
    // A server that always takes so long, any time between, a way that is as long.
    answers(41 * MS, 41 * MS, MS).finds_no(StallKind::SmallSegmentsDelayed);
    answers(15 * MS, 41 * MS, MS).finds_no(StallKind::SmallSegmentsDelayed);
    answers(MS, 41 * MS, 20 * MS).finds_no(StallKind::SmallSegmentsDelayed);
    answers(MS, 90 * MS, 45 * MS).finds_no(StallKind::SmallSegmentsDelayed);
    // A cache whose misses are fetched from not far away.
    answers(MS, 49 * MS, MS).finds_no(StallKind::SmallSegmentsDelayed);
}

/// Milliseconds, as measured behind tinyproxy on a machine whose two CPUs ten processes wanted.
const BUSY: &[Ns] = &[
    1, 1, 2, 1, 3, 1, 6, 2, 1, 4, 1, 2, 14, 24, 37, 41, 42, 43, 43, 44, 44, 45, 46, 47, 48, 48, 50, 51, 53,
    55, 58, 62, 68, 86, 91, 97,
];
/// What a cache takes whose misses are fetched from not far away.
const MISSES: &[Ns] = &[1, 1, 2, 1, 3, 1, 6, 2, 1, 4, 36, 37, 38, 40, 42, 44, 45, 48, 49, 50, 52, 55, 60];

#[test]
fn steps_are_seen_on_a_busy_machine_and_some_spread_of_misses_is_none() {
    let spread = |took: &'static [Ns], rtt_ns: Ns| {
        (0..120).fold(World::new().connection(move |c| c.rtt_ns = Some(rtt_ns)), |world, n| {
            let took = took[n as usize % took.len()] * MS;
            world.request(move |r| at(S + n * 70 * MS, took)(r))
        })
    };
    spread(BUSY, 11 * MS).finds(StallKind::SmallSegmentsDelayed, Phase::Proxy, Some("proxy.test"));
    spread(MISSES, MS).finds_no(StallKind::SmallSegmentsDelayed);
}

#[test]
fn a_forward_proxy_that_delays_is_named_and_more_downloads_are_not_promised() {
    let world = || {
        let through = |c: &mut Connection| {
            (c.server_name, c.remote, c.rtt_ns) = (None, "192.0.2.3:1080".into(), Some(MS));
        };
        let world = World::new()
            .command(|c| c.go.forward_proxy = Some(true))
            .dns(|dns| {
                (dns.start_ns, dns.end_ns, dns.name) =
                    (SinceStart::ZERO, Some(SinceStart(MS)), "corp-proxy.test".into());
            })
            .connection(through);
        (0..60_u64).fold(world, |world, n| {
            let took = if n % 4 < 2 { 42 * MS } else { MS };
            world.request(move |r| at(S + n / 2 * 50 * MS, took)(r))
        })
    };
    let stall = world().finds(StallKind::SmallSegmentsDelayed, Phase::Proxy, Some("corp-proxy.test:1080"));
    assert!(stall.advice.contains("NO_PROXY"), "{stall:?}");
    world().finds_no(StallKind::ConcurrencyLimited);
}

#[test]
fn many_answers_that_are_not_slow_are_a_share() {
    let many = |class: Class, took: Ns, rtt_ns: Ns, n: u64| {
        (0..n).fold(World::new().connection(move |c| c.rtt_ns = Some(rtt_ns)), |world, k| {
            world.request(move |r| {
                at(S + k * 80 * MS, took)(r);
                r.class = class;
            })
        })
    };
    let stall = many(Class::SumdbLookup, 60 * MS, MS, 56).finds(
        StallKind::SumdbShare,
        Phase::Sumdb,
        Some("proxy.test"),
    );
    near(stall.cost_ns, 56 * 60 * MS);
    assert_eq!(stall.severity, Severity::Critical);
    let far = many(Class::SumdbLookup, 60 * MS, 58 * MS, 50).finds(
        StallKind::SumdbShare,
        Phase::Sumdb,
        Some("proxy.test"),
    );
    assert_eq!(far.severity, Severity::Info, "as fast as the way allows");
    many(Class::Mod, 60 * MS, MS, 56).finds(StallKind::ProxyShare, Phase::Proxy, Some("proxy.test"));
    many(Class::Mod, 2 * MS, MS, 50).finds_no(StallKind::ProxyShare);
    // What is slow by itself is not said twice.
    many(Class::Mod, 900 * MS, MS, 9).finds_no(StallKind::ProxyShare);
    many(Class::SumdbLookup, 900 * MS, MS, 9).finds_no(StallKind::SumdbShare);
    let asked = |took: Ns, n: u64| {
        (0..n).fold(World::new(), |world, k| {
            world.dns(move |dns| {
                (dns.start_ns, dns.end_ns) =
                    (SinceStart(S + k * 100 * MS), Some(SinceStart(S + k * 100 * MS + took)));
            })
        })
    };
    let stall = asked(60 * MS, 48).finds(StallKind::DnsShare, Phase::Dns, Some("192.0.2.53:53"));
    near(stall.cost_ns, 48 * 60 * MS);
    asked(2 * MS, 48).finds_no(StallKind::DnsShare);
    asked(900 * MS, 9).finds_no(StallKind::DnsShare);
}

#[test]
fn a_redirect_names_both_hosts_and_what_the_second_one_took() {
    let redirect = |n: u64| {
        move |r: &mut Request| {
            at(S + n * 2 * S, 5 * MS)(r);
            r.status = Some(302);
            r.path = Some(format!("/example.com/m{n}/@v/v1.0.0.zip"));
        }
    };
    let stored = |n: u64, took: Ns| {
        move |r: &mut Request| {
            at(S + n * 2 * S + 10 * MS, took)(r);
            r.authority = Some("storage.test".into());
            r.path = Some(format!("/bucket/m{n}/v1.0.0.zip"));
        }
    };
    let world = |took: Ns| {
        (0..4_u64).fold(World::new().connection(|_| {}), |world, n| {
            world.request(redirect(n)).request(stored(n, took))
        })
    };
    let stall = world(1_500 * MS).finds(StallKind::Redirect, Phase::Proxy, Some("storage.test"));
    near(stall.cost_ns, 4 * 1_505 * MS);
    assert!(stall.summary.starts_with("proxy.test answered 4 requests with the address of storage.test"));
    let slow = world(1_500 * MS).finds(StallKind::ProxySlow, Phase::Proxy, Some("storage.test"));
    assert!(slow.advice.contains("have proxy.test, which redirects there"), "{}", slow.advice);
    assert_eq!(
        world(2 * MS).finds(StallKind::Redirect, Phase::Proxy, Some("storage.test")).severity,
        Severity::Info
    );
    let other = |r: &mut Request| r.authority = Some("sumdb.test".into());
    World::new().connection(|_| {}).request(|_| {}).request(other).finds_no(StallKind::Redirect);
}

#[test]
fn prefixes_of_import_paths_that_are_no_modules_are_counted() {
    let asked = |module: &'static str, status: u16, start_ns: Ns| {
        move |r: &mut Request| {
            at(start_ns, 300 * MS)(r);
            (r.class, r.module, r.version, r.status) = (Class::List, Some(module.into()), None, Some(status));
            r.path = Some(format!("/{module}/@v/list"));
            if status != 200 {
                r.outcome = RequestOutcome::Error;
            }
        }
    };
    let world = World::new()
        .connection(|_| {})
        .request(asked("example.com/a/lib", 200, S))
        .request(asked("example.com/a", 404, S))
        .request(asked("example.com", 404, S))
        .request(asked("example.com/a/lib/cmd", 404, 2 * S));
    let stall = world.finds(StallKind::PathProbing, Phase::Proxy, Some("proxy.test"));
    near(stall.cost_ns, 450 * MS);
    assert!(stall.summary.contains("3 times for 3 paths"), "{stall:?}");
    // Modules that are not there are something else.
    let missing = World::new()
        .connection(|_| {})
        .request(asked("example.com/a", 404, S))
        .request(asked("example.com/b", 404, S))
        .request(asked("example.com/ab", 404, S));
    missing.finds_no(StallKind::PathProbing);
    // What lies above a module, asked for its version, its list and its newest, is one path.
    let mut above = World::new().connection(|_| {}).request(asked("example.com/a/lib", 200, S));
    for n in 1..4 {
        above = above.request(asked("example.com/a", 404, n * S));
    }
    above.finds_no(StallKind::PathProbing);
}
