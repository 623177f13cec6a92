//! Name servers and settings of the resolver.

use super::*;
use model::id::Pid;
use model::time::{Ns, SinceStart};

#[test]
fn a_query_that_is_retried_after_five_seconds_is_a_timeout() {
    let world = World::new().unanswered(|_| {}).dns(|dns| {
        (dns.attempt, dns.start_ns, dns.end_ns) = (2, SinceStart(6 * S), Some(SinceStart(6 * S + MS)));
    });
    let stall = world.finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53"));
    near(stall.cost_ns, 5 * S);
    assert_eq!(stall.severity, Severity::Critical);
    assert_eq!(
        stall.remedies[0].attempt,
        "sudo goobserve compare --with 'resolv=options timeout:2 attempts:5' -- go mod download"
    );
    World::new().dns(|_| {}).finds_no(StallKind::DnsTimeout);
}

#[test]
fn a_lookup_that_failed_ended_the_command_although_one_after_it_did_not() {
    let lost = |attempt: u32| {
        move |dns: &mut Dns| {
            let start = u64::from(attempt) * 5 * S;
            (dns.attempt, dns.start_ns, dns.end_ns) =
                (attempt, SinceStart(start), Some(SinceStart(start + 5 * S)));
        }
    };
    let then = |attempt: u32| {
        move |dns: &mut Dns| {
            (dns.attempt, dns.start_ns, dns.end_ns) =
                (attempt, SinceStart(15 * S), Some(SinceStart(15 * S + MS)));
        }
    };
    let world = |attempt| {
        let two = World::new().unanswered(lost(1)).unanswered(lost(2)).dns(then(attempt)).connection(|_| {});
        two.command(|command| command.exit_code = Some(1))
    };
    let stall = world(1).finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53"));
    assert!(stall.fatal && stall.summary.ends_with("unanswered: the lookup failed"), "{stall:?}");
    let stall = world(3).finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53"));
    assert!(!stall.fatal, "it went on with the same lookup: {stall:?}");
}

#[test]
fn a_query_that_is_retried_after_one_second_is_a_timeout_too() {
    let after = |ms: Ns| {
        let first = move |dns: &mut Dns| {
            (dns.rcode, dns.answers, dns.timed_out, dns.end_ns) =
                (None, None, true, Some(SinceStart(S + ms * MS)));
        };
        World::new().dns(first).dns(move |dns| {
            (dns.attempt, dns.start_ns, dns.end_ns) = (2, SinceStart(S + ms * MS), Some(SinceStart(3 * S)));
        })
    };
    near(after(1000).finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53")).cost_ns, S);
    // What was asked beside it had its answer in time, and bears nothing of it.
    let beside = |dns: &mut Dns| (dns.qtype, dns.end_ns) = ("AAAA".into(), Some(SinceStart(S + 140 * MS)));
    let cost_ns =
        after(1000).dns(beside).finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53")).cost_ns;
    assert_eq!(cost_ns, S);
    after(400).finds_no(StallKind::DnsTimeout);
}

#[test]
fn an_aaaa_that_never_comes_is_distinguished_from_a_lost_answer() {
    let aaaa = |dns: &mut Dns| dns.qtype = "AAAA".into();
    near(
        World::new()
            .dns(|_| {})
            .unanswered(aaaa)
            .finds(StallKind::DnsAaaaSilent, Phase::Dns, Some("192.0.2.53:53"))
            .cost_ns,
        5 * S,
    );
    World::new().unanswered(aaaa).finds_no(StallKind::DnsAaaaSilent);
    let other = |dns: &mut Dns| (dns.qtype, dns.name) = ("AAAA".into(), "sumdb.test".into());
    World::new().dns(|_| {}).unanswered(aaaa).dns(other).finds_no(StallKind::DnsAaaaSilent);
}

#[test]
fn a_late_answer_is_slow_and_an_early_one_is_not() {
    let after = |ms: Ns| World::new().dns(move |dns| dns.end_ns = Some(dns.start_ns + ms * MS));
    near(after(400).finds(StallKind::DnsSlow, Phase::Dns, Some("192.0.2.53:53")).cost_ns, 400 * MS);
    after(149).finds_no(StallKind::DnsSlow);
    let far = |ms| after(ms).connection(|c| c.rtt_ns = Some(200 * MS));
    far(349).finds_no(StallKind::DnsSlow);
    near(far(600).finds(StallKind::DnsSlow, Phase::Dns, Some("192.0.2.53:53")).cost_ns, 600 * MS);
}

#[test]
fn suffixes_of_the_search_list_are_seen_by_the_name_without_them() {
    let suffixed =
        |dns: &mut Dns| (dns.name, dns.rcode) = ("proxy.test.corp.test".into(), Some("NXDOMAIN".into()));
    World::new().dns(suffixed).dns(|_| {}).finds(StallKind::DnsSearch, Phase::Dns, Some("192.0.2.53:53"));
    World::new().dns(|dns| dns.rcode = Some("NXDOMAIN".into())).finds_no(StallKind::DnsSearch);
}

#[test]
fn failures_of_a_resolver_name_it() {
    World::new().dns(|dns| dns.rcode = Some("SERVFAIL".into())).finds(
        StallKind::DnsError,
        Phase::Dns,
        Some("192.0.2.53:53"),
    );
    let cut = |dns: &mut Dns| (dns.answers, dns.truncated) = (Some(0), true);
    let tcp = |dns: &mut Dns| {
        (dns.transport, dns.start_ns, dns.end_ns) =
            (Transport::Tcp, SinceStart(S + 20 * MS), Some(SinceStart(S + 30 * MS)));
    };
    World::new().dns(cut).dns(tcp).finds(StallKind::DnsError, Phase::Dns, Some("192.0.2.53:53"));
    World::new().dns(|dns| dns.rcode = Some("NXDOMAIN".into())).finds_no(StallKind::DnsError);
}

#[test]
fn netdns_without_cgo_has_no_effect() {
    let with = |cgo| {
        World::new().command(move |command| {
            (command.go.godebug, command.go.cgo) = (Some("http2client=0,netdns=cgo".into()), cgo);
        })
    };
    with(Some(false)).finds(StallKind::NetdnsIgnored, Phase::Dns, None);
    with(Some(true)).finds_no(StallKind::NetdnsIgnored);
    with(None).finds_no(StallKind::NetdnsIgnored);
}

#[test]
fn a_server_that_answered_in_the_same_run_is_offered_instead_of_a_bad_one() {
    let good = |dns: &mut Dns| dns.server = "[2001:db8::53]:53".into();
    let offers = |world: fn() -> World, kind: StallKind| {
        let stall = world().dns(good).finds(kind, Phase::Dns, Some("192.0.2.53:53"));
        assert_eq!(names(&stall).last(), Some(&"resolv=nameserver 2001:db8::53"), "{stall:?}");
        // A name that it was not asked for may be one that it does not know.
        let own = |dns: &mut Dns| dns.name = "git.corp.test".into();
        let stall = world().dns(good).dns(own).finds(kind, Phase::Dns, Some("192.0.2.53:53"));
        assert!(names(&stall).iter().all(|name| !name.contains("nameserver")), "{stall:?}");
    };
    offers(|| World::new().unanswered(|_| {}), StallKind::DnsTimeout);
    offers(|| World::new().dns(|_| {}).unanswered(|dns| dns.qtype = "AAAA".into()), StallKind::DnsAaaaSilent);
    offers(|| World::new().dns(|dns| dns.end_ns = Some(SinceStart(2 * S))), StallKind::DnsSlow);
    offers(|| World::new().dns(|dns| dns.rcode = Some("SERVFAIL".into())), StallKind::DnsError);
    let slow = |dns: &mut Dns| (dns.server, dns.end_ns) = ("192.0.2.54:53".into(), Some(SinceStart(2 * S)));
    let stall = World::new().unanswered(|_| {}).dns(slow).finds(
        StallKind::DnsTimeout,
        Phase::Dns,
        Some("192.0.2.53:53"),
    );
    assert_eq!(names(&stall), ["resolv=options timeout:2 attempts:5"]);
}

#[test]
fn one_query_at_a_time_is_offered_when_one_of_two_was_answered() {
    let with = |qtype: &'static str| {
        World::new()
            .unanswered(|_| {})
            .dns(move |dns| (dns.qtype, dns.answers) = (qtype.into(), Some(0)))
            .finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53"))
    };
    assert!(names(&with("AAAA")).contains(&"resolv=options single-request"));
    let aaaa = |dns: &mut Dns| (dns.qtype, dns.answers) = ("AAAA".into(), Some(0));
    let both = |name: &'static str| move |dns: &mut Dns| dns.name = name.into();
    let world = World::new().unanswered(|_| {}).dns(aaaa).dns(both("sumdb.test")).dns(move |dns| {
        aaaa(dns);
        both("sumdb.test")(dns);
    });
    let stall = world.finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53"));
    assert!(!names(&stall).contains(&"resolv=options single-request"), "two at once came through");
    assert!(!names(&with("A")).contains(&"resolv=options single-request"));
}

#[test]
fn a_time_out_that_is_short_already_is_not_offered() {
    let soon = |dns: &mut Dns| (dns.timed_out, dns.end_ns) = (true, Some(dns.start_ns + S));
    let aaaa = |dns: &mut Dns| {
        soon(dns);
        dns.qtype = "AAAA".into();
    };
    let once = || World::new().unanswered(soon);
    let of = |world: World| world.finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53"));
    assert_eq!(names(&of(once())), [""; 0], "it went on all the same");
    let failed = once().command(|command| command.exit_code = Some(1));
    assert_eq!(names(&of(failed)), ["resolv=options attempts:5"]);
    let often = once().unanswered(move |dns| {
        soon(dns);
        dns.attempt = 5;
    });
    let failed = often.command(|command| command.exit_code = Some(1));
    assert_eq!(names(&of(failed)), [""; 0], "it asks as often already");
    let silent = World::new().dns(|_| {}).unanswered(aaaa);
    let stall = silent.finds(StallKind::DnsAaaaSilent, Phase::Dns, Some("192.0.2.53:53"));
    assert_eq!(names(&stall), ["resolv=options attempts:1"]);
}

/// A query of `server` that is answered when it is retried after five seconds.
fn lost_once(server: &'static str) -> World {
    World::new().unanswered(move |dns| dns.server = server.into()).dns(move |dns| {
        (dns.attempt, dns.start_ns, dns.end_ns) = (2, SinceStart(6 * S), Some(SinceStart(6 * S + MS)));
        dns.server = server.into();
    })
}

fn waits(stall: &Stall) -> bool {
    names(stall).iter().any(|name| name.starts_with("resolv=options"))
}

#[test]
fn no_wait_is_shortened_behind_a_resolver_of_this_machine() {
    for server in ["127.0.0.53:53", "127.0.0.1:53", "[::1]:53", "169.254.20.10:53"] {
        let stall = lost_once(server).finds(StallKind::DnsTimeout, Phase::Dns, Some(server));
        assert!(!waits(&stall), "{stall:?}");
        assert_eq!(stall.advice.contains("resolvectl"), server == "127.0.0.53:53", "{}", stall.advice);
    }
    assert!(waits(&lost_once("192.0.2.53:53").finds(
        StallKind::DnsTimeout,
        Phase::Dns,
        Some("192.0.2.53:53")
    )));
    // One with another address is known by what it asks.
    let upstream = |dns: &mut Dns| {
        (dns.on_behalf_of, dns.pid, dns.comm) = (Some(DnsId(1)), Pid(99), "unbound".into());
        dns.server = "192.0.2.61:53".into();
    };
    let stall = lost_once("192.0.2.53:53").unanswered(upstream).finds(
        StallKind::DnsTimeout,
        Phase::Dns,
        Some("192.0.2.61:53"),
    );
    assert!(!waits(&stall), "{stall:?}");
    assert!(stall.summary.ends_with(": it asked 192.0.2.61:53, which did not answer"), "{}", stall.summary);
}

#[test]
fn no_wait_is_shorter_than_an_answer_took() {
    let of = |world: World| waits(&world.finds(StallKind::DnsTimeout, Phase::Dns, Some("192.0.2.53:53")));
    assert!(of(lost_once("192.0.2.53:53")));
    // An answer that took longer than half the new time-out, of whatever name.
    let slow = |dns: &mut Dns| (dns.name, dns.end_ns) = ("git.test".into(), Some(dns.start_ns + 1_500 * MS));
    assert!(!of(lost_once("192.0.2.53:53").dns(slow)));
    // Answered after ten seconds, which is all that the setting allows; or never.
    let late = |dns: &mut Dns| {
        (dns.attempt, dns.start_ns, dns.end_ns) = (3, SinceStart(11 * S), Some(SinceStart(11 * S + MS)));
    };
    assert!(!of(World::new()
        .unanswered(|_| {})
        .unanswered(|dns| (dns.attempt, dns.start_ns) = (2, SinceStart(6 * S)))
        .dns(late)));
    assert!(!of(World::new().unanswered(|_| {})));
}

#[test]
fn a_silent_aaaa_is_waited_for_less_only_where_all_else_is_answered_soon() {
    let aaaa = |dns: &mut Dns| dns.qtype = "AAAA".into();
    let of = |ms: Ns| {
        let world = World::new().dns(move |dns| dns.end_ns = Some(dns.start_ns + ms * MS)).unanswered(aaaa);
        waits(&world.finds(StallKind::DnsAaaaSilent, Phase::Dns, Some("192.0.2.53:53")))
    };
    assert!(of(100) && !of(800));
}

#[test]
fn a_name_that_only_its_suffix_makes_known_keeps_the_search_list_first() {
    let suffixed =
        |dns: &mut Dns| (dns.name, dns.rcode) = ("proxy.test.corp.test".into(), Some("NXDOMAIN".into()));
    let with = |change: fn(&mut Dns)| {
        World::new().dns(suffixed).dns(change).finds(StallKind::DnsSearch, Phase::Dns, Some("192.0.2.53:53"))
    };
    assert_eq!(names(&with(|_| {})), ["resolv=options ndots:1"]);
    assert_eq!(names(&with(|dns| dns.answers = Some(0))), [""; 0]);
    assert_eq!(
        names(&with(|dns| (dns.start_ns, dns.end_ns) = (SinceStart(0), Some(SinceStart(MS))))),
        [""; 0],
        "it was asked first"
    );
}

#[test]
fn an_answer_without_the_query_is_waited_on_behind_and_edns_is_switched_off() {
    let unusable = |dns: &mut Dns| dns.unusable = Some("FORMERR".into());
    let world = || World::new().unanswered(unusable);
    let stall = world().finds(StallKind::DnsError, Phase::Dns, Some("192.0.2.53:53"));
    near(stall.cost_ns, 5 * S);
    assert_eq!(names(&stall), ["env=GODEBUG=netedns0=0"]);
    assert!(stall.summary.contains("FORMERR") && stall.summary.contains("waits on"), "{}", stall.summary);
    world().finds_no(StallKind::DnsTimeout);
    World::new().dns(|_| {}).finds_no(StallKind::DnsError);
}
