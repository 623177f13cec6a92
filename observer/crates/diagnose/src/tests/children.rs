//! Helpers and other children, and their healthy siblings.

use super::machine::process;
use super::*;

fn world(processes: impl IntoIterator<Item = Process>) -> World {
    processes.into_iter().fold(World::new().report(SinceStart(0), go()), |world, one| {
        world.report(SinceStart(S), Body::Process(one))
    })
}

fn go() -> Body {
    process(10, 1, "go", &["go", "mod", "download"], 0)
}

/// From the second on, for so long.
fn ran(pid: u32, ppid: u32, comm: &str, args: &[&str], took: Ns) -> Process {
    let Body::Process(one) = process(pid, ppid, comm, args, S) else { panic!() };
    Process { end_ns: Some(SinceStart(S + took)), exit_code: Some(0), ..one }
}

fn from(start: Ns, one: Process) -> Process {
    let took = one.end_ns.map_or(0, |end| end - one.start_ns);
    Process { start_ns: SinceStart(start), end_ns: Some(SinceStart(start + took)), ..one }
}

fn helper(took: Ns) -> [Process; 2] {
    [
        ran(11, 10, "helper.sh", &["/bin/sh", "/opt/helper.sh"], took),
        ran(12, 11, "sleep", &["sleep", "4"], took),
    ]
}

#[test]
fn a_goauth_command_that_takes_its_time_is_named_with_what_it_waits_for() {
    let goauth = |command: &mut Command| command.go.goauth = Some("/opt/helper.sh …".into());
    let stall = world(helper(4 * S)).command(goauth).finds(StallKind::HelperWaiting, Phase::Auth, None);
    near(stall.cost_ns, 4 * S);
    assert_eq!(
        stall.summary,
        "the credential helper helper.sh (GOAUTH) took 4.00 s and waits for its child sleep"
    );
    assert!(stall.evidence[1].to_string().contains("sleep 4 (pid 12)"), "{stall:?}");
    world(helper(100 * MS)).command(goauth).finds_no(StallKind::HelperWaiting);
}

#[test]
fn a_token_that_comes_late_over_the_network_names_its_host() {
    let goauth = |command: &mut Command| command.go.goauth = Some("/opt/helper.sh".into());
    let idp = |c: &mut Connection| {
        (c.pid, c.comm, c.server_name) = (Pid(11), "helper.sh".into(), Some("idp.test".into()));
        (c.start_ns, c.end_ns) = (SinceStart(S), Some(SinceStart(5 * S)));
    };
    let stalls = world(helper(4 * S)).command(goauth).connection(idp).stalls();
    let stall = stalls.iter().find(|stall| stall.kind == StallKind::HelperWaiting).unwrap();
    assert_eq!((stall.phase, stall.host.as_deref()), (Phase::Auth, Some("idp.test")));
    near(stall.cost_ns, 4 * S);
}

#[test]
fn helpers_that_git_asks_at_once_are_one_wait() {
    let helper = |n: u32| {
        [
            ran(20 * n, 10, "git", &["git", "credential", "fill"], 8 * S),
            ran(20 * n + 1, 20 * n, "sh", &["sh", "-c", "git credential-slow get"], 8 * S),
            ran(20 * n + 2, 20 * n + 1, "git", &["git", "credential-slow", "get"], 8 * S),
            ran(
                20 * n + 3,
                20 * n + 2,
                "git-credential-",
                &["/bin/sh", "/h/git-credential-slow", "get"],
                8 * S,
            ),
            ran(20 * n + 4, 20 * n + 3, "sleep", &["sleep", "100"], 8 * S),
        ]
    };
    let stalls = world(helper(1).into_iter().chain(helper(2))).stalls();
    let waits: Vec<&Stall> = stalls.iter().filter(|stall| stall.kind == StallKind::HelperWaiting).collect();
    let [wait] = &waits[..] else { panic!("{stalls:?}") };
    near(wait.cost_ns, 8 * S);
    assert!(wait.summary.contains("git-credential-slow, run by git credential fill for go,"), "{wait:?}");
    assert!(wait.summary.contains("its child sleep, 2 at once"), "{wait:?}");
    assert!(stalls.iter().all(|stall| stall.kind != StallKind::VcsWaiting), "{stalls:?}");
}

#[test]
fn who_asks_a_person_is_said_to() {
    let stall = world([
        ran(11, 10, "git", &["git", "ls-remote", "https://git.test/x"], 8 * S),
        ran(12, 11, "ssh", &["ssh", "git.test"], 8 * S),
        ran(13, 12, "ssh-askpass", &["ssh-askpass"], 8 * S),
    ])
    .finds(StallKind::HelperWaiting, Phase::Auth, None);
    assert!(stall.summary.ends_with("it asks somebody for a password"), "{stall:?}");
    assert!(stall.advice.contains("passphrase"), "{stall:?}");
}

#[test]
fn what_go_runs_for_its_tools_is_named() {
    let of = |took| {
        world([
            ran(11, 10, "wrap", &["/opt/wrap", "/go/compile"], took),
            ran(12, 11, "sleep", &["sleep", "3"], took),
        ])
    };
    let stall = of(3 * S).finds(StallKind::HelperWaiting, Phase::Child, None);
    assert!(stall.summary.starts_with("wrap, run by go, took 3.00 s"), "{stall:?}");
    assert!(stall.advice.contains("-toolexec") && !stall.advice.contains("netrc"), "{stall:?}");
    of(50 * MS).finds_no(StallKind::HelperWaiting);
    // What a command is there to run is no help that it waits for.
    let generate = |command: &mut Command| {
        command.argv = ["go", "generate", "./..."].map(str::to_owned).to_vec();
    };
    let stall = of(3 * S).command(generate).finds(StallKind::ChildSlow, Phase::Child, None);
    assert!(stall.summary.contains("talked to nobody"), "{stall:?}");
}

#[test]
fn what_is_left_behind_and_holds_the_output_is_named() {
    let of = |left: &str, daemon: &str, next: Ns| {
        world([
            ran(11, 10, left, &[left, "fetch"], S),
            ran(12, 11, daemon, &[daemon, "--daemon"], 6 * S),
            from(next, ran(13, 10, "git", &["git", "cat-file"], MS)),
        ])
    };
    for (left, daemon, phase) in [
        ("git", "git-credential-", Phase::Auth),
        ("git", "keeper", Phase::Vcs),
        ("x.test", "server", Phase::Child),
    ] {
        let stall = of(left, daemon, 7 * S + MS).finds(StallKind::PipeHeld, phase, None);
        near(stall.cost_ns, 5 * S);
        assert!(stall.summary.contains(&format!("{daemon} (pid 12)")), "{stall:?}");
        assert!(stall.summary.contains("go waited 5.00 s more"), "{stall:?}");
        // It is there, and go goes on.
        of(left, daemon, 2 * S + MS).finds_no(StallKind::PipeHeld);
    }
}

#[test]
fn two_that_hold_the_output_at_once_are_one_wait() {
    let of = |n: u32| {
        [
            ran(20 * n, 10, "git", &["git", "credential", "fill"], S + MS),
            ran(20 * n + 1, 20 * n, "git-credential-", &["/h/git-credential-bg", "get"], S),
            ran(20 * n + 2, 20 * n + 1, "sleep", &["sleep", "5"], 6 * S),
        ]
    };
    let next = from(7 * S + MS, ran(13, 10, "git", &["git", "cat-file"], MS));
    let stalls = world(of(1).into_iter().chain(of(2)).chain([next])).stalls();
    let held: Vec<&Stall> = stalls.iter().filter(|stall| stall.kind == StallKind::PipeHeld).collect();
    let [held] = &held[..] else { panic!("{stalls:?}") };
    near(held.cost_ns, 5 * S);
    assert!(held.summary.contains("go waited 5.00 s more for sleep"), "{held:?}");
}

#[test]
fn a_child_that_failed_is_why_the_command_did() {
    let failed = |command: &mut Command| command.exit_code = Some(1);
    let status = |exit_code, one| Process { exit_code: Some(exit_code), ..one };
    let git = || ran(11, 10, "git", &["git", "ls-remote", "-q", "https://git.test/x"], 2 * S);
    let stall = world([status(128, git())]).command(failed).finds(
        StallKind::ChildFailed,
        Phase::Vcs,
        Some("git.test"),
    );
    assert_eq!((stall.severity, stall.fatal), (Severity::Critical, true));
    assert_eq!(
        stall.summary,
        "git ls-remote for git.test ended with status 128, and the command failed with it"
    );
    let test = status(1, ran(11, 10, "x.test", &["/tmp/x.test"], S));
    world([test]).command(failed).finds(StallKind::ChildFailed, Phase::Child, None);
    let goauth = |command: &mut Command| {
        (command.exit_code, command.go.goauth) = (Some(1), Some("/opt/helper.sh".into()));
    };
    let [helper, _] = helper(S);
    world([status(1, helper)]).command(goauth).finds(StallKind::ChildFailed, Phase::Auth, None);
    // Made good, of no consequence, or not at all.
    let again = Process { exit_code: Some(0), ..from(4 * S, git()) };
    world([status(128, git()), Process { pid: Pid(12), ..again }])
        .command(failed)
        .finds_no(StallKind::ChildFailed);
    world([status(128, git())]).finds_no(StallKind::ChildFailed);
    let looks = status(128, ran(11, 10, "git", &["git", "cat-file", "blob", "x:go.mod"], MS));
    let next = Process { pid: Pid(13), ..from(4 * S, git()) };
    world([looks, next]).command(failed).finds_no(StallKind::ChildFailed);
}

#[test]
fn a_test_that_waits_is_named_with_its_package_and_host() {
    let of = |took: Ns| {
        world([
            ran(11, 10, "compile", &["/go/compile", "-p", "example.com/net/x"], 10 * MS),
            from(2 * S, ran(12, 10, "x.test", &["/tmp/b001/x.test"], took)),
        ])
        .connection(|c| {
            (c.pid, c.comm, c.server_name) = (Pid(12), "x.test".into(), Some("api.test".into()));
            (c.start_ns, c.end_ns) = (SinceStart(2 * S), Some(SinceStart(2 * S + took)));
        })
        .request(|r| {
            (r.pid, r.authority, r.class) = (Pid(12), Some("api.test".into()), Class::Other);
            (r.first_byte_ns, r.end_ns) = (Some(SinceStart(2 * S + took)), Some(SinceStart(2 * S + took)));
        })
    };
    let short = |c: &mut Connection| {
        (c.pid, c.comm, c.server_name) = (Pid(12), "x.test".into(), Some("api.test".into()));
        (c.start_ns, c.end_ns) = (SinceStart(4 * S), Some(SinceStart(4 * S + 10 * MS)));
    };
    let stall = world([from(2 * S, ran(12, 10, "x.test", &["/tmp/b001/x.test"], 5 * S))])
        .connection(short)
        .finds(StallKind::ChildSlow, Phase::Child, None);
    assert!(!stall.summary.contains("most of it"), "{}", stall.summary);
    let stall = of(5 * S).finds(StallKind::ChildSlow, Phase::Child, Some("api.test"));
    near(stall.cost_ns, 5 * S);
    assert!(stall.summary.starts_with("the test binary x.test of package example.com/net/x waited 5.00 s"));
    let kinds: Vec<String> = of(5 * S).stalls().iter().map(|stall| stall.kind.to_string()).collect();
    assert_eq!(kinds, ["child-slow"], "nothing is said of a module proxy");
    of(100 * MS).finds_no(StallKind::ChildSlow);
}

#[test]
fn a_build_cache_that_takes_its_time_is_named_with_its_host() {
    let of = |took: Ns| {
        let cache = |command: &mut Command| command.go.gocacheprog = Some("/opt/cache …".into());
        world([ran(11, 10, "cache", &["/opt/cache", "…"], took)]).command(cache).connection(|c| {
            (c.pid, c.comm, c.server_name) = (Pid(11), "cache".into(), Some("cache.test".into()));
            (c.start_ns, c.end_ns) = (SinceStart(S), Some(SinceStart(S + took)));
        })
    };
    let stall = of(6 * S).finds(StallKind::CacheprogSlow, Phase::Cache, Some("cache.test"));
    near(stall.cost_ns, 6 * S);
    of(100 * MS).finds_no(StallKind::CacheprogSlow);
}
