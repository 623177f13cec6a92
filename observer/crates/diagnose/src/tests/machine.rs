//! This machine, and helpers that wait on it.

use super::*;
use model::id::{CommandId, LockId, Pid};
use model::time::SinceStart;

#[test]
fn more_downloads_at_once_are_proposed_when_they_would_help() {
    let two_at_a_time = |modules: u64| {
        (0..modules).fold(World::new().connection(|_| {}), |world, n| {
            world.request(move |r| {
                let start = S + n / 2 * 400 * MS;
                (r.start_ns, r.first_byte_ns, r.end_ns) = (
                    SinceStart(start),
                    Some(SinceStart(start + 90 * MS)),
                    Some(SinceStart(start + 395 * MS)),
                );
            })
        })
    };
    let stall = two_at_a_time(40).finds(StallKind::ConcurrencyLimited, Phase::Proxy, None);
    assert_eq!(stall.remedies[0].name, "concurrency=16");
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
fn a_git_without_traffic_waits_for_a_person() {
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
    let asks = Body::Process(Process {
        command: CommandId(1),
        pid: Pid(12),
        ppid: Pid(11),
        comm: "credential-x".into(),
        args: vec!["credential-x".into(), "get".into()],
        start_ns: SinceStart(2 * S),
        end_ns: Some(SinceStart(9 * S)),
        ..Process::default()
    });
    let stall =
        World::new().report(SinceStart(S), git(Pid(10), "git")).report(SinceStart(2 * S), asks).stalls();
    let reported: Vec<_> = stall.iter().filter(|stall| stall.kind == StallKind::VcsWaiting).collect();
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert!(reported[0].evidence[1].to_string().contains("credential-x get (pid 12)"), "{reported:?}");
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
    World::new().finds_no(StallKind::LocalBound);
}
