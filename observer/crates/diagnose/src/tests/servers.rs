//! Module proxies and the checksum database.

use super::*;
use model::id::{CommandId, Pid};
use model::time::{Ns, SinceStart};

#[test]
fn a_head_far_above_the_round_trip_is_slow() {
    let after = |ms: Ns, rtt: Ns| {
        let world = World::new().connection(move |c| c.rtt_ns = Some(rtt * MS));
        world.request(move |r| {
            (r.first_byte_ns, r.end_ns) =
                (Some(SinceStart(2 * S + ms * MS)), Some(SinceStart(2 * S + ms * MS)));
        })
    };
    near(after(900, 20).finds(StallKind::ProxySlow, Phase::Proxy, Some("proxy.test")).cost_ns, 900 * MS);
    after(900, 200).finds_no(StallKind::ProxySlow);
}

#[test]
fn a_crawling_body_is_reported_with_what_it_is_not() {
    let body = |bytes| {
        World::new()
            .connection(|_| {})
            .request(move |r| (r.end_ns, r.bytes) = (Some(SinceStart(4 * S)), Some(bytes)))
    };
    let one = body(100_000).finds(StallKind::TransferSlow, Phase::Proxy, Some("proxy.test"));
    near(one.cost_ns, 2 * S);
    assert_eq!(names(&one), ["proxy=direct"], "one download gains nothing from more connections");
    let two = body(100_000).request(|r| (r.end_ns, r.bytes) = (Some(SinceStart(4 * S)), Some(100_000)));
    let two = two.finds(StallKind::TransferSlow, Phase::Proxy, Some("proxy.test"));
    assert_eq!(names(&two), ["http1"], "{}", two.summary);
    body(100_000_000).finds_no(StallKind::TransferSlow);
    // A connection that begins needs a round trip for each doubling.
    let far = World::new().connection(|c| c.rtt_ns = Some(200 * MS));
    far.request(|r| (r.end_ns, r.bytes) = (Some(SinceStart(4 * S)), Some(1_000_000)))
        .finds_no(StallKind::TransferSlow);
    // Ten at once share the line.
    let shared = (0..10).fold(World::new().connection(|_| {}), |world, _| {
        world.request(|r| (r.end_ns, r.bytes) = (Some(SinceStart(4 * S)), Some(1_000_000)))
    });
    shared.finds_no(StallKind::TransferSlow);
}

#[test]
fn slow_lookups_are_the_databases_and_fast_ones_are_information() {
    let lookup = |r: &mut Request| {
        (r.class, r.first_byte_ns, r.end_ns) =
            (Class::SumdbLookup, Some(SinceStart(3 * S)), Some(SinceStart(3 * S)));
    };
    near(
        World::new()
            .connection(|_| {})
            .request(lookup)
            .finds(StallKind::SumdbSlow, Phase::Sumdb, Some("proxy.test"))
            .cost_ns,
        S,
    );
    let many = (0..20).fold(World::new().connection(|c| c.rtt_ns = Some(200 * MS)), |world, n| {
        world.request(move |r| {
            let start = S + n * 210 * MS;
            (r.class, r.start_ns, r.first_byte_ns, r.end_ns) = (
                Class::SumdbLookup,
                SinceStart(start),
                Some(SinceStart(start + 205 * MS)),
                Some(SinceStart(start + 205 * MS)),
            );
        })
    });
    assert_eq!(many.finds(StallKind::SumdbShare, Phase::Sumdb, Some("proxy.test")).severity, Severity::Info);
    World::new().connection(|_| {}).request(|r| r.class = Class::SumdbLookup).finds_no(StallKind::SumdbSlow);
}

#[test]
fn switching_the_database_off_is_not_offered_past_a_refused_lookup() {
    let slow = |r: &mut Request| {
        (r.class, r.first_byte_ns, r.end_ns) =
            (Class::SumdbLookup, Some(SinceStart(3 * S)), Some(SinceStart(3 * S)));
    };
    let offers = |world: World| {
        let found = world.finds(StallKind::SumdbSlow, Phase::Sumdb, Some("proxy.test"));
        names(&found).contains(&"sumdb=off")
    };
    assert!(offers(World::new().connection(|_| {}).request(slow)));
    let refused = World::new().connection(|_| {}).request(slow).request(|r| {
        (r.class, r.status) = (Class::SumdbLookup, Some(404));
    });
    assert!(!offers(refused));
}

#[test]
fn the_databases_host_is_known_from_gosumdb() {
    let dead = |c: &mut Connection| {
        hello_only(c);
        c.server_name = Some("sumdb.test".into());
    };
    near(
        World::new()
            .connection(dead)
            .finds(StallKind::SumdbUnreachable, Phase::Tls, Some("sumdb.test"))
            .cost_ns,
        5 * S,
    );
    World::new().connection(hello_only).finds_no(StallKind::SumdbUnreachable);
    let url = |command: &mut Command| {
        command.go.gosumdb = Some("sum.example.test https://sumdb.test:8443/x".into());
    };
    World::new().command(url).connection(dead).finds(
        StallKind::SumdbUnreachable,
        Phase::Tls,
        Some("sumdb.test"),
    );
}

#[test]
fn a_proxy_that_says_it_serves_the_database_and_does_not_is_broken() {
    let supported = |r: &mut Request| r.class = Class::SumdbSupported;
    let lookup = |status| move |r: &mut Request| (r.class, r.status) = (Class::SumdbLookup, Some(status));
    let world = |status| World::new().connection(|_| {}).request(supported).request(lookup(status));
    world(500).finds(StallKind::SumdbProxyBroken, Phase::Sumdb, Some("proxy.test"));
    world(200).finds_no(StallKind::SumdbProxyBroken);
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
            (c.server_name, c.start_ns, c.tls_start_ns) =
                (Some("sumdb.test".into()), SinceStart(at_ns), Some(SinceStart(at_ns)));
        }
    };
    near(
        World::new()
            .connection(proxy)
            .connection(sumdb(5 * S))
            .finds(StallKind::StackedTimeouts, Phase::Tls, None)
            .cost_ns,
        6 * S,
    );
    World::new().connection(proxy).connection(sumdb(S)).finds_no(StallKind::StackedTimeouts);
}

#[test]
fn a_missing_module_that_git_then_fetches_was_asked_for_in_the_wrong_place() {
    let missing = |r: &mut Request| (r.status, r.outcome) = (Some(404), RequestOutcome::Error);
    let git = |c: &mut Connection| {
        (c.pid, c.comm, c.server_name) = (Pid(11), "git-remote-http".into(), Some("git.test".into()));
    };
    let process = Process {
        command: CommandId(1),
        pid: Pid(11),
        ppid: Pid(10),
        comm: "git-remote-http".into(),
        start_ns: SinceStart(S),
        end_ns: Some(SinceStart(9 * S)),
        ..Process::default()
    };
    let world = || {
        World::new()
            .report(SinceStart(S), Body::Process(process.clone()))
            .dns(|dns| (dns.pid, dns.comm) = (Pid(11), "git-remote-http".into()))
            .connection(|_| {})
            .connection(git)
            .request(missing)
    };
    let stall = world().finds(StallKind::ProxyFallbackDirect, Phase::Vcs, Some("git.test"));
    assert_eq!(stall.remedies[0].name, "env=GOPRIVATE=example.com/m1");
    let with = |private: Option<&'static str>| {
        let world = world().command(move |command| command.go.goprivate = private.map(str::to_owned));
        names(&world.finds(StallKind::MirrorPrivate, Phase::Proxy, Some("proxy.test"))).join(" ")
    };
    assert_eq!(with(Some("git.corp.test")), "env=GOPRIVATE=git.corp.test,example.com/m1");
    assert_eq!(with(None), "", "what it holds is not known");
    let served = world().request(|r| r.module = Some("example.com/m1".into()));
    let stall = served.finds(StallKind::MirrorPrivate, Phase::Proxy, Some("proxy.test"));
    assert_eq!(names(&stall), [""; 0], "the proxy has it in another version");
    World::new().connection(|_| {}).request(missing).finds_no(StallKind::ProxyFallbackDirect);
    World::new().connection(|_| {}).request(missing).finds_no(StallKind::MirrorPrivate);
}

#[test]
fn another_toolchain_and_repeated_requests_are_reported() {
    let toolchain = |r: &mut Request| (r.class, r.end_ns) = (Class::Toolchain, Some(SinceStart(4 * S)));
    near(
        World::new()
            .connection(|_| {})
            .request(toolchain)
            .finds(StallKind::ToolchainDownload, Phase::Toolchain, Some("proxy.test"))
            .cost_ns,
        2 * S,
    );
    let same = |r: &mut Request| r.path = Some("/same".into());
    World::new().connection(|_| {}).request(same).request(same).finds(
        StallKind::DuplicateRequest,
        Phase::Proxy,
        Some("proxy.test"),
    );
    let healthy = || World::new().connection(|_| {}).request(|_| {}).request(|_| {});
    healthy().finds_no(StallKind::ToolchainDownload);
    healthy().finds_no(StallKind::DuplicateRequest);
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
        let stall = world.finds(StallKind::SynLost, Phase::Connect, Some(host));
        names(&stall).join(" ")
    };
    assert_eq!(offered(Some("https://proxy.test,direct"), "proxy.test"), "proxy=direct");
    // Nothing that the user did not name, and nobody who would hear of names for the first time.
    assert_eq!(offered(None, "proxy.test"), "");
    assert_eq!(offered(Some("https://proxy.test"), "proxy.test"), "");
    assert_eq!(offered(Some("https://proxy.test:8443/x,off"), "proxy.test"), "");
    assert_eq!(offered(Some("https://proxy.test,https://…@b.test"), "proxy.test"), "");
    assert_eq!(offered(Some("https://proxy.test|https://b.test,direct"), "proxy.test"), "");
    // Neither is there a proxy to leave out.
    assert_eq!(offered(Some("https://proxy.test,direct"), "git.test"), "");
    assert_eq!(offered(Some("direct"), "git.test"), "");
}

#[test]
fn the_next_proxy_is_offered_where_it_was_asked_the_same() {
    let list = |command: &mut Command| {
        command.go.goproxy = Some("https://a.test|https://proxy.test/x|https://b.test,direct".into());
    };
    let slow =
        |r: &mut Request| (r.first_byte_ns, r.end_ns) = (Some(SinceStart(4 * S)), Some(SinceStart(4 * S)));
    let of = |at: &'static str, module: &'static str| {
        let next = move |r: &mut Request| {
            (r.authority, r.module) = (Some(at.into()), Some(module.into()));
        };
        let world = World::new().command(list).connection(|_| {}).request(slow).request(next);
        names(&world.finds(StallKind::ProxySlow, Phase::Proxy, Some("proxy.test"))).join(" ")
    };
    assert_eq!(of("a.test", "example.com/m1"), "proxy=https://a.test|https://b.test,direct");
    assert_eq!(of("a.test", "example.com/m2"), "", "it was asked for something else");
    assert_eq!(of("b.test", "example.com/m1"), "", "the one in front was not asked");
}

#[test]
fn the_modules_own_hosts_are_not_offered_through_a_forward_proxy_or_past_a_refused_lookup() {
    let slow =
        |r: &mut Request| (r.first_byte_ns, r.end_ns) = (Some(SinceStart(4 * S)), Some(SinceStart(4 * S)));
    let world = || World::new().connection(|_| {}).request(slow);
    let of =
        |world: World| names(&world.finds(StallKind::ProxySlow, Phase::Proxy, Some("proxy.test"))).join(" ");
    assert_eq!(of(world()), "proxy=direct");
    assert_eq!(of(world().command(|command| command.go.forward_proxy = Some(true))), "");
    let refused = |r: &mut Request| {
        (r.class, r.status, r.outcome) = (Class::SumdbLookup, Some(403), RequestOutcome::Error);
    };
    assert_eq!(of(world().request(refused)), "", "it keeps names from the database");
}

#[test]
fn a_toolchain_that_comes_is_not_refused() {
    let toolchain = |r: &mut Request| (r.class, r.end_ns) = (Class::Toolchain, Some(SinceStart(4 * S)));
    let of = |world: World| {
        names(&world.finds(StallKind::ToolchainDownload, Phase::Toolchain, Some("proxy.test"))).join(" ")
    };
    assert_eq!(of(World::new().connection(|_| {}).request(toolchain)), "");
    let refused = move |r: &mut Request| {
        toolchain(r);
        (r.status, r.outcome) = (Some(404), RequestOutcome::Error);
    };
    let failed = World::new().command(|command| command.exit_code = Some(1)).connection(|_| {});
    assert_eq!(of(failed.request(refused)), "env=GOTOOLCHAIN=local");
}

#[test]
fn a_private_module_of_a_proxy_is_only_kept_from_the_database() {
    let lookup = |r: &mut Request| {
        (r.class, r.status, r.outcome) = (Class::SumdbLookup, Some(404), RequestOutcome::Error);
        (r.authority, r.module) = (Some("sumdb.test".into()), Some("example.com/m1".into()));
    };
    let stall = World::new().connection(|_| {}).request(|_| {}).request(lookup).finds(
        StallKind::MirrorPrivate,
        Phase::Sumdb,
        Some("sumdb.test"),
    );
    assert_eq!(names(&stall), ["env=GONOSUMDB=example.com/m1"]);
}

/// Also beside a healthy handshake, and whatever the TCP handshake before it took.
#[test]
fn one_wait_for_the_database_is_counted_once() {
    let dead = |c: &mut Connection| {
        hello_only(c);
        c.server_name = Some("sumdb.test".into());
    };
    let healthy = |c: &mut Connection| {
        (c.start_ns, c.tls_start_ns) = (SinceStart(7 * S), Some(SinceStart(7 * S + 20 * MS)));
        c.server_hello_ns = Some(SinceStart(7 * S + 40 * MS));
    };
    let stalls = World::new().connection(dead).connection(healthy).stalls();
    let cost = |kind: StallKind| stalls.iter().find(|stall| stall.kind == kind).map(|stall| stall.cost_ns);
    assert_eq!(
        (cost(StallKind::SumdbUnreachable), cost(StallKind::TlsHelloUnanswered)),
        (Some(5 * S), Some(0))
    );
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
        let stall = world.finds(StallKind::SumdbUnreachable, Phase::Tls, Some("mirror.test"));
        names(&stall).join(" ")
    };
    assert_eq!(offered("sumdb.test+key https://mirror.test/x"), "sumdb=off");
    assert_eq!(offered("mirror.test+key https://mirror.test"), "sumdb=off");
    assert_eq!(offered("mirror.test"), "sumdb=off");
    // What the mirror answered the database knows.
    let answered = |status| {
        let lookup = move |r: &mut Request| {
            (r.class, r.authority, r.status) = (Class::SumdbLookup, Some("mirror.test".into()), status);
            (r.first_byte_ns, r.end_ns) = (Some(SinceStart(4 * S)), Some(SinceStart(4 * S)));
        };
        let gosumdb = Some("sumdb.test+key https://mirror.test/x".to_owned());
        let world = World::new().command(|command| command.go.gosumdb = gosumdb).connection(|_| {});
        names(&world.request(lookup).finds(StallKind::SumdbSlow, Phase::Sumdb, Some("mirror.test"))).join(" ")
    };
    assert_eq!(answered(Some(200)), "sumdb=sumdb.test+key sumdb=off");
    assert_eq!(answered(Some(403)), "sumdb=off");
}

#[test]
fn lists_that_win_over_goprivate_are_appended_to_as_well() {
    let missing = |r: &mut Request| {
        (r.class, r.status, r.outcome) = (Class::SumdbLookup, Some(404), RequestOutcome::Error);
    };
    let lists = |command: &mut Command| {
        command.go.gonoproxy = Some("a.test".into());
        command.go.gonosumdb = Some("b.test".into());
    };
    let stall = World::new().command(lists).connection(|_| {}).request(missing).finds(
        StallKind::PrivateNameLeft,
        Phase::Sumdb,
        Some("proxy.test"),
    );
    let all = "env=GOPRIVATE=example.com/m1 + env=GONOPROXY=a.test,example.com/m1 + \
               env=GONOSUMDB=b.test,example.com/m1";
    assert_eq!(names(&stall), [all]);
    assert!(stall.remedies[0].why.contains("GONOSUMDB is b.test now, which is kept"), "{stall:?}");
}

#[test]
fn a_forward_proxy_that_refuses_is_named_by_its_variable() {
    let refused = |c: &mut Connection| {
        no_hello(c);
        (c.remote, c.outcome) = ("127.0.0.1:3001".into(), ConnectionOutcome::Refused);
        (c.connect_ns, c.end_ns) = (Some(MS), Some(SinceStart(S + MS)));
    };
    let of = |proxy: &str| {
        let proxy = proxy.to_owned();
        let set = move |command: &mut Command| command.go.https_proxy = Some(proxy);
        World::new().command(set).connection(refused).finds(
            StallKind::ConnectRefused,
            Phase::Connect,
            Some("127.0.0.1:3001"),
        )
    };
    let stall = of("http://u:p@127.0.0.1:3001");
    assert_eq!(stall.advice, "fix HTTPS_PROXY, which names it, or start that forward proxy");
    assert!(stall.summary.ends_with("it is the HTTPS_PROXY"), "{stall:?}");
    assert!(of("").advice.contains("GOPROXY"));
}
