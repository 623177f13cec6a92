//! Names of private modules that leave.

use super::*;

fn of(path: &'static str, class: Class, status: u16) -> impl Fn(&mut Request) {
    move |r: &mut Request| {
        (r.class, r.status, r.module) = (class, Some(status), Some(path.to_owned()));
        r.outcome = if status == 200 { RequestOutcome::Ok } else { RequestOutcome::Error };
    }
}

const LIB: &str = "git.corp.test/team/lib";

/// git got it from its own host, at that address.
fn fetched(world: World, remote: &'static str) -> World {
    let process = Process {
        command: CommandId(1),
        pid: Pid(11),
        ppid: Pid(10),
        comm: "git-remote-http".into(),
        start_ns: SinceStart(S),
        end_ns: Some(SinceStart(9 * S)),
        ..Process::default()
    };
    world.report(SinceStart(S), Body::Process(process)).connection(move |c| {
        (c.pid, c.comm, c.requests) = (Pid(11), "git-remote-http".into(), 0);
        (c.server_name, c.remote) = (Some("git.corp.test".into()), remote.into());
        c.bytes_received = Some(5_000);
    })
}

fn set(world: World, private: &'static str, no_proxy: &'static str, no_sumdb: &'static str) -> World {
    world.command(move |command| {
        (command.go.goprivate, command.go.gonoproxy) = (Some(private.into()), Some(no_proxy.into()));
        command.go.gonosumdb = Some(no_sumdb.into());
    })
}

fn left(world: World) -> Vec<(Phase, String, Vec<String>)> {
    let stalls = world.stalls().into_iter().filter(|stall| stall.kind == StallKind::PrivateNameLeft);
    let mut left: Vec<_> = stalls
        .map(|stall| {
            assert!(stall.severity >= Severity::Warning, "{stall:?}");
            let names = names(&stall).into_iter().map(str::to_owned).collect();
            (stall.phase, stall.summary, names)
        })
        .collect();
    left.sort_by_key(|(phase, ..)| *phase as u8);
    left
}

#[test]
fn what_the_database_does_not_know_left_for_it_and_for_the_proxy() {
    let world = fetched(World::new().connection(|_| {}), "127.0.0.5:443");
    let world = world.request(of(LIB, Class::Mod, 404)).request(of(LIB, Class::SumdbLookup, 404));
    let found = left(world);
    assert_eq!(found.len(), 2, "{found:?}");
    for (_, summary, with) in &found {
        assert!(summary.starts_with("1 request with the name of a private module left for the"), "{summary}");
        assert!(summary.ends_with("proxy.test (git.corp.test/team/lib): GOPRIVATE is not set"), "{summary}");
        assert_eq!(with[..], ["env=GOPRIVATE=git.corp.test/team/lib"]);
    }
}

#[test]
fn a_setting_for_one_of_the_two_lets_the_name_out_to_the_other() {
    let world = set(World::new().connection(|_| {}), "", "", "git.corp.test");
    let found = left(world.request(of(LIB, Class::Mod, 404)).request(of(LIB, Class::Zip, 404)));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.starts_with("2 requests") && found[0].1.contains("GONOSUMDB alone"), "{found:?}");
    assert_eq!(found[0].2[..], ["env=GOPRIVATE=git.corp.test/team/lib"]);
    let world = set(World::new().connection(|_| {}), "", "git.corp.test", "");
    let found = left(world.request(of(LIB, Class::SumdbLookup, 404)));
    assert!(found[0].1.contains("GONOPROXY alone covers it: the checksum database"), "{found:?}");
}

#[test]
fn a_module_beside_the_main_one_is_the_companys() {
    let own = |path: &'static str| {
        World::new().connection(|_| {}).command(move |c| c.go.own_modules = Some(vec![path.into()]))
    };
    assert_eq!(left(own("git.corp.test/app").request(of(LIB, Class::Mod, 404))).len(), 1);
    assert_eq!(left(own("github.com/a/app").request(of("github.com/a/lib", Class::Mod, 404))).len(), 1);
    assert_eq!(left(own("github.com/a/app").request(of("github.com/b/lib", Class::Mod, 404))), []);
    assert_eq!(left(own("x").request(of(LIB, Class::Mod, 404))), []);
}

#[test]
fn parts_of_a_private_path_are_private_and_what_is_public_is_not() {
    let world = set(World::new().connection(|_| {}), "", "", "git.corp.test");
    let world = world.request(of("git.corp.test/team", Class::List, 404)).request(of(LIB, Class::List, 404));
    assert!(left(world)[0].1.starts_with("2 requests"));
    // Typing errors, a version that is not there, a database that answers nothing.
    let typo = World::new().connection(|_| {}).request(of("github.com/a/typo", Class::Mod, 404));
    assert_eq!(left(typo), []);
    let world = World::new().connection(|_| {}).request(of(LIB, Class::Mod, 200));
    assert_eq!(left(world.request(of(LIB, Class::SumdbLookup, 404))), []);
    // The proxy has not what is public and its own host serves.
    let public = fetched(World::new().connection(|_| {}), "192.0.2.9:443");
    assert_eq!(left(public.request(of(LIB, Class::Mod, 404)).request(of(LIB, Class::SumdbLookup, 200))), []);
    let unknown = fetched(World::new().connection(|_| {}), "192.0.2.9:443");
    assert_eq!(left(unknown.request(of(LIB, Class::Mod, 404))), []);
    let everything = set(World::new().connection(|_| {}), "", "", "*");
    assert_eq!(left(everything.request(of("github.com/a/typo", Class::Mod, 404))), []);
}

#[test]
fn a_proxy_of_the_company_is_not_outside() {
    let by_address =
        set(World::new().connection(|c| c.remote = "10.0.0.7:443".into()), "", "", "git.corp.test");
    assert_eq!(left(by_address.request(of(LIB, Class::Mod, 404))), []);
    let by_name = set(World::new().connection(|_| {}), "", "", "git.corp.test").request(|r| {
        of(LIB, Class::Mod, 404)(r);
        r.authority = Some("goproxy.corp.test".into());
    });
    assert_eq!(left(by_name), []);
    let has_it = set(World::new().connection(|_| {}), "", "", "git.corp.test");
    let has_it = has_it.request(of(LIB, Class::Mod, 200)).request(of(LIB, Class::Mod, 404));
    assert_eq!(left(has_it), []);
}

#[test]
fn a_page_that_names_a_repository_or_a_proxy_lets_nothing_out() {
    let page = fetched(set(World::new().connection(|_| {}), "git.corp.test", "", ""), "127.0.0.5:443");
    let stalls = page.request(|r| {
        of(LIB, Class::GoGet, 404)(r);
        r.authority = Some("git.corp.test".into());
    });
    for stall in stalls.stalls() {
        let bad = [StallKind::PrivateNameLeft, StallKind::MirrorPrivate, StallKind::ProxyFallbackDirect];
        assert!(bad.iter().all(|kind| stall.kind != *kind), "{stall:?}");
    }
    let named = set(World::new().connection(|_| {}), "git.corp.test", "", "");
    assert_eq!(left(named.request(of(LIB, Class::Mod, 404))), []);
}

#[test]
fn a_private_name_is_no_fault_of_a_proxy_that_serves_the_database() {
    let supported = |r: &mut Request| {
        (r.class, r.module) = (Class::SumdbSupported, None);
    };
    let world = || World::new().connection(|_| {}).command(|c| c.exit_code = Some(1)).request(supported);
    world().request(of(LIB, Class::SumdbLookup, 404)).finds_no(StallKind::SumdbProxyBroken);
    let stall = world().request(of(LIB, Class::SumdbLookup, 404)).finds(
        StallKind::PrivateNameLeft,
        Phase::Sumdb,
        Some("proxy.test"),
    );
    assert!(stall.fatal, "{stall:?}");
}
