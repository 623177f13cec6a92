//! This machine, and helpers that wait on it.

use super::*;
use model::id::{CommandId, LockId, Pid};
use model::time::SinceStart;

/// So many modules by connections like that.
fn two_at_a_time_by(modules: u64, connection: impl FnOnce(&mut Connection)) -> World {
    (0..modules).fold(World::new().connection(connection), |world, n| {
        world.request(move |r| {
            let start = S + n / 2 * 400 * MS;
            (r.start_ns, r.first_byte_ns, r.end_ns) =
                (SinceStart(start), Some(SinceStart(start + 90 * MS)), Some(SinceStart(start + 395 * MS)));
        })
    })
}

#[test]
fn more_downloads_at_once_are_proposed_when_they_would_help() {
    let two_at_a_time = |modules: u64| two_at_a_time_by(modules, |_| {});
    let stall = two_at_a_time(40).finds(StallKind::ConcurrencyLimited, Phase::Proxy, None);
    assert_eq!(names(&stall), ["concurrency=16", "gateway"]);
    let other = two_at_a_time(40).command(|c| c.argv.push("x.test/m@v1.0.0".into()));
    let other = other.finds(StallKind::ConcurrencyLimited, Phase::Proxy, None);
    assert_eq!(names(&other), ["concurrency=16"], "nobody knows what it asks next");
    two_at_a_time(7).finds_no(StallKind::ConcurrencyLimited);
    let never = two_at_a_time(40).request(|r| {
        (r.start_ns, r.first_byte_ns, r.end_ns, r.outcome) =
            (SinceStart(0), None, None, RequestOutcome::Open);
    });
    near(never.finds(StallKind::ConcurrencyLimited, Phase::Proxy, None).cost_ns, stall.cost_ns);
    two_at_a_time(40).command(|c| c.exit_code = Some(1)).finds_no(StallKind::ConcurrencyLimited);
    let refused = |r: &mut Request| (r.status, r.outcome) = (Some(429), RequestOutcome::Error);
    two_at_a_time(40).request(refused).finds_no(StallKind::ConcurrencyLimited);
    two_at_a_time(40).command(|c| c.go.gomaxprocs = Some(16)).finds_no(StallKind::ConcurrencyLimited);
}

#[test]
fn on_a_crowded_machine_more_downloads_at_once_promise_nothing() {
    let waiting = |runqueue_ns: Ns, remote: &'static str| {
        let local = Local { cpu_ns: S, runqueue_ns, disk_ns: 0 };
        two_at_a_time_by(40, move |c| c.remote = remote.into()).command(|c| c.local = Some(local))
    };
    // Of eight seconds with two in flight.
    let (far, here) = ("192.0.2.1:443", "127.0.0.1:3128");
    waiting(7 * S, far).finds(StallKind::ConcurrencyLimited, Phase::Proxy, None);
    waiting(9 * S, far).finds_no(StallKind::ConcurrencyLimited);
    waiting(3 * S, here).finds(StallKind::ConcurrencyLimited, Phase::Proxy, None);
    waiting(5 * S, here).finds_no(StallKind::ConcurrencyLimited);
    // Another address of this machine's own.
    waiting(5 * S, "192.0.2.10:443").finds_no(StallKind::ConcurrencyLimited);
}

#[test]
fn a_git_without_traffic_waits_for_something_else() {
    let git = |ppid, comm: &str| {
        Body::Process(Process {
            command: CommandId(1),
            pid: Pid(11),
            ppid,
            comm: comm.into(),
            args: vec!["git".into(), "ls-remote".into(), "https://git.test/x".into()],
            start_ns: SinceStart(S),
            end_ns: Some(SinceStart(9 * S)),
            ..Process::default()
        })
    };
    near(
        World::new()
            .report(SinceStart(S), git(Pid(10), "git"))
            .finds(StallKind::VcsWaiting, Phase::Vcs, Some("git.test"))
            .cost_ns,
        8 * S,
    );
    World::new().report(SinceStart(S), git(Pid(10), "compile")).finds_no(StallKind::VcsWaiting);
    let busy = |c: &mut Connection| (c.pid, c.comm) = (Pid(11), "git".into());
    World::new().report(SinceStart(S), git(Pid(10), "git")).connection(busy).finds_no(StallKind::VcsWaiting);
}

#[test]
fn a_lock_is_reported_with_its_holder() {
    let lock = |end_ns| {
        Body::Lock(LockWait {
            command: CommandId(1),
            id: LockId(1),
            pid: Pid(10),
            path: Some("/m/cache/lock".into()),
            repository: None,
            holder: Some(Pid(77)),
            start_ns: SinceStart(S),
            end_ns: Some(end_ns),
            joined_late: false,
        })
    };
    let stall = World::new().report(SinceStart(S), lock(SinceStart(4 * S))).finds(
        StallKind::CacheLockWait,
        Phase::Lock,
        None,
    );
    near(stall.cost_ns, 3 * S);
    assert!(stall.summary.contains("pid 77"));
    World::new().report(SinceStart(S), lock(SinceStart(S + MS))).finds_no(StallKind::CacheLockWait);
}

#[test]
fn caches_in_one_folder_are_reported_by_path_and_by_inode() {
    let caches = |modules: &'static str, builds: &'static str, shared| {
        World::new().command(move |command| {
            (command.go.gomodcache, command.go.gocache, command.go.caches_shared) =
                (Some(modules.into()), Some(builds.into()), shared);
        })
    };
    caches("/c", "/c/", None).finds(StallKind::CacheShared, Phase::Local, None);
    caches("/c", "/link", Some(true)).finds(StallKind::CacheShared, Phase::Local, None);
    caches("/c", "/d", None).finds_no(StallKind::CacheShared);
}

#[test]
fn a_busy_machine_is_information() {
    let mut world =
        World::new().command(|command| command.local = Some(Local { cpu_ns: 8 * S, ..Local::default() }));
    let update = CommandUpdate {
        command: world.1.clone(),
        idle: vec![(SinceStart(0), SinceStart(2 * S))],
        gaps: Vec::new(),
    };
    world.0.apply(&Event { at_ns: SinceStart(10 * S), body: Body::Command(update) });
    let stalls = stalls(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S));
    let stall = stalls.iter().find(|stall| stall.kind == StallKind::LocalBound).unwrap();
    assert_eq!((stall.severity, stall.cost_ns), (Severity::Info, 8 * S));
    assert!(!stall.summary.contains("not go's"), "{}", stall.summary);
    World::new().finds_no(StallKind::LocalBound);
    // What computed was no work of go's.
    let helper = |pid, ppid, comm: &str, cpu_ns| {
        Body::Process(Process {
            command: CommandId(1),
            pid: Pid(pid),
            ppid: Pid(ppid),
            comm: comm.into(),
            cpu_ns,
            end_ns: Some(SinceStart(9 * S)),
            ..Process::default()
        })
    };
    for body in
        [helper(10, 1, "go", None), helper(11, 10, "ssh", Some(S)), helper(12, 11, "corkscrew", Some(5 * S))]
    {
        world.0.apply(&Event { at_ns: SinceStart(10 * S), body });
    }
    let found = super::stalls(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S));
    let stall = found.iter().find(|stall| stall.kind == StallKind::LocalBound).unwrap();
    assert!(
        stall.summary.ends_with("; 5.00 s of the 8.00 s on a CPU were corkscrew's, not go's"),
        "{stall:?}"
    );
}

#[test]
fn what_a_chain_of_requests_takes_is_not_promised_and_the_command_is_named() {
    // Two lists of versions, go.mod files, checksums at once, each module found in the one before.
    let chain = |names: u64| {
        let steps = [Class::Mod, Class::SumdbLookup, Class::SumdbTile];
        (0..24_u64).flat_map(|n| steps.map(|class| (n, class))).fold(
            World::new()
                .connection(|_| {})
                .command(|c| c.argv = vec!["/usr/bin/go".into(), "mod".into(), "tidy".into()]),
            |world, (n, class)| {
                world.request(move |r| {
                    let step = 3 * (n / 2)
                        + u64::from(class == Class::SumdbLookup)
                        + 2 * u64::from(class == Class::SumdbTile);
                    let start = S + step * 100 * MS + n % 2 * 100_000;
                    (r.class, r.start_ns) = (class, SinceStart(start));
                    (r.first_byte_ns, r.end_ns) =
                        (Some(SinceStart(start + 98 * MS)), Some(SinceStart(start + 99 * MS)));
                    let module = format!("example.com/{}", char::from(b'z' - n as u8));
                    (r.module, r.bytes) = (Some(module.clone()), Some(names));
                    if class == Class::SumdbTile {
                        (r.module, r.version) = (None, None);
                    }
                })
            },
        )
    };
    // Each go.mod has room for one more, and they come against the order: each was named by the one before.
    chain(13 + 22 + 22).finds_no(StallKind::ConcurrencyLimited);
    // None names any: the main module names them all.
    let stall = chain(30).finds(StallKind::ConcurrencyLimited, Phase::Proxy, None);
    assert_eq!(stall.advice, "set GOMAXPROCS for this command: GOMAXPROCS=16 go mod tidy");
}

pub(super) fn process(pid: u32, ppid: u32, comm: &str, args: &[&str], start_ns: Ns) -> Body {
    Body::Process(Process {
        command: CommandId(1),
        pid: Pid(pid),
        ppid: Pid(ppid),
        comm: comm.into(),
        args: args.iter().map(|&argument| argument.into()).collect(),
        start_ns: SinceStart(start_ns),
        end_ns: Some(SinceStart(9 * S)),
        ..Process::default()
    })
}

#[test]
fn what_git_waits_for_is_named() {
    let stall = World::new()
        .report(SinceStart(S), process(20, 10, "git", &["git", "fetch", "https://git.test/x"], S))
        .report(SinceStart(S), process(21, 20, "sh", &["sh", "-c", "post-hook"], S + MS))
        .report(SinceStart(S), process(22, 21, "sleep", &["sleep", "100"], S + 2 * MS))
        .finds(StallKind::VcsWaiting, Phase::Vcs, Some("git.test"));
    assert!(stall.summary.ends_with("for sh and its child sleep"), "{stall:?}");
    assert!(!stall.summary.contains("password") && !stall.advice.contains("token"), "{stall:?}");
}

#[test]
fn version_control_that_takes_its_time_says_what_for() {
    let connected = |pid: u32, start_ns: Ns, took: Ns| {
        move |c: &mut Connection| {
            (c.pid, c.comm, c.server_name) = (Pid(pid), "git-remote-http".into(), Some("git.test".into()));
            (c.start_ns, c.end_ns, c.tls_start_ns) =
                (SinceStart(start_ns), Some(SinceStart(start_ns + took)), None);
        }
    };
    let world = |took: Ns| {
        let list = ["git", "ls-remote", "-q", "https://git.test/x"];
        let fetch = ["git", "fetch", "-f", "https://git.test/x"];
        let until = |body, end_ns: Ns| match body {
            Body::Process(process) => Body::Process(Process { end_ns: Some(SinceStart(end_ns)), ..process }),
            other => other,
        };
        World::new()
            .report(SinceStart(S), until(process(20, 10, "git", &list, S), 2 * S))
            .report(
                SinceStart(S),
                until(process(21, 20, "git-remote-http", &["git-remote-https", "origin"], S), 2 * S),
            )
            .report(SinceStart(S), until(process(30, 10, "git", &fetch, 4 * S), 6 * S))
            .report(
                SinceStart(S),
                until(process(31, 30, "git-remote-http", &["git-remote-https", "origin"], 4 * S), 6 * S),
            )
            .connection(connected(21, S, took))
            .connection(connected(31, 4 * S, 2 * took))
    };
    let stall = world(S).finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test"));
    near(stall.cost_ns, 3 * S);
    let words = "references 1 time in 1.00 s, commits and files 1 time in 2.00 s";
    assert!(stall.summary.ends_with(words), "{stall:?}");
    world(20 * MS).finds_no(StallKind::VcsSlow);
}

#[test]
fn a_limit_of_cpu_time_is_named_and_not_taken_for_others_use_of_the_cpus() {
    let throttled = |throttled_periods| {
        let mut world = World::new().command(|command| {
            command.local = Some(Local { cpu_ns: 4 * S, runqueue_ns: 4 * S, disk_ns: 0 });
            command.cpu_quota =
                Some(CpuQuota { limit_millicpus: 100, periods: 60, throttled_periods, throttled_ns: 3 * S });
        });
        let update = CommandUpdate {
            command: world.1.clone(),
            idle: vec![(SinceStart(0), SinceStart(2 * S))],
            gaps: Vec::new(),
        };
        world.0.apply(&Event { at_ns: SinceStart(10 * S), body: Body::Command(update) });
        stalls(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S))
    };
    let held_up = throttled(50);
    let stall = held_up.iter().find(|stall| stall.kind == StallKind::CpuQuota).unwrap();
    assert_eq!((stall.phase, stall.cost_ns), (Phase::Local, 3 * S));
    assert!(stall.summary.contains("0.1 CPU") && stall.summary.contains("50 of 60"), "{}", stall.summary);
    assert!(held_up.iter().all(|stall| stall.kind != StallKind::LocalBound));
    let free = throttled(0);
    assert!(free.iter().all(|stall| stall.kind != StallKind::CpuQuota));
    assert!(free.iter().any(|stall| stall.kind == StallKind::LocalBound));
}
