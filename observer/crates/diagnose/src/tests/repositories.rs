//! What version control is asked for, and what it was not asked for because go could not.

use model::record::AgentWait;
use model::report::Blame;
use model::tunnel::{Tunnel, TunnelOutcome};

use super::machine::process;
use super::*;

fn failed() -> World {
    World::new().command(|command| command.exit_code = Some(1))
}

fn ended(body: Body, end_ns: Ns, exit_code: i32) -> Body {
    match body {
        Body::Process(process) => {
            Body::Process(Process { end_ns: Some(SinceStart(end_ns)), exit_code: Some(exit_code), ..process })
        }
        other => other,
    }
}

fn page(request: &mut Request) {
    (request.class, request.path) = (Class::GoGet, Some("/team/lib?go-get=1".into()));
    (request.authority, request.module) = (Some("git.test".into()), None);
    (request.start_ns, request.end_ns) = (SinceStart(9 * S), Some(SinceStart(9 * S + 900 * MS)));
}

#[test]
fn a_page_after_which_nothing_is_started_is_why_the_command_failed() {
    let stall = failed().request(page).finds(StallKind::RepositoryUnusable, Phase::Vcs, Some("git.test"));
    assert!(stall.fatal && stall.summary.starts_with("go got the page of git.test/team/lib "), "{stall:?}");
    assert!(stall.advice.contains("'https://git.test/team/lib?go-get=1'"), "{}", stall.advice);
    let govcs = |command: &mut Command| command.go.govcs = Some("*:git".into());
    let stall = failed().command(govcs).request(page).finds(
        StallKind::RepositoryUnusable,
        Phase::Vcs,
        Some("git.test"),
    );
    assert!(stall.summary.contains("GOVCS=*:git forbids"), "{}", stall.summary);
    let private = |command: &mut Command| {
        (command.go.govcs, command.go.goprivate) = (Some(String::new()), Some("git.test".into()));
    };
    let stall = failed().command(private).request(page).finds(
        StallKind::RepositoryUnusable,
        Phase::Vcs,
        Some("git.test"),
    );
    assert!(!stall.summary.contains("GOVCS") && stall.summary.contains("none for this path"), "{stall:?}");
    World::new().request(page).finds_no(StallKind::RepositoryUnusable);
    // What the page names was looked for: with git, at a module proxy.
    let git =
        ended(process(20, 10, "git", &["git", "ls-remote", "x"], 9 * S + 910 * MS), 9 * S + 950 * MS, 128);
    failed().request(page).report(SinceStart(9 * S), git).finds_no(StallKind::RepositoryUnusable);
    let proxy = |request: &mut Request| request.start_ns = SinceStart(9 * S + 950 * MS);
    failed().request(page).request(proxy).finds_no(StallKind::RepositoryUnusable);
    let missing = |request: &mut Request| {
        page(request);
        request.status = Some(500);
    };
    failed().request(missing).finds_no(StallKind::RepositoryUnusable);
}

fn connected(pid: u32, comm: &'static str, span: (Ns, Ns)) -> impl Fn(&mut Connection) {
    move |connection| {
        (connection.pid, connection.comm) = (Pid(pid), comm.into());
        (connection.server_name, connection.tls_start_ns) = (Some("git.test".into()), None);
        (connection.start_ns, connection.end_ns) = (SinceStart(span.0), Some(SinceStart(span.1)));
        connection.bytes_received = Some(1_000);
    }
}

#[test]
fn files_of_git_lfs_are_not_unknown() {
    let world = |comm: &'static str| {
        World::new()
            .report(SinceStart(S), process(20, 10, "git", &["git", "archive", "v1.0.0"], S))
            .report(SinceStart(S), process(21, 20, comm, &[comm, "filter-process"], S))
            .connection(connected(21, comm, (S, 4 * S)))
    };
    let stall = world("git-lfs").finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test"));
    assert!(stall.summary.contains("large files (git-lfs) 1 time in 3.00 s"), "{}", stall.summary);
    assert!(stall.advice.contains("GIT_LFS_SKIP_SMUDGE=1"), "{}", stall.advice);
    let stall = world("git-annex").finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test"));
    assert!(!stall.advice.contains("LFS"), "{}", stall.advice);
}

#[test]
fn every_visit_of_svn_is_counted_and_known() {
    let visit = |world: World, n: u64, word: &'static str| {
        let pid = 20 + n as u32;
        world
            .report(SinceStart(S), ended(process(pid, 10, "svn", &["svn", word], n * S), (n + 1) * S, 0))
            .connection(connected(pid, "svn", (n * S, (n + 1) * S)))
    };
    let world = [(1, "info"), (2, "log"), (3, "cat"), (4, "export")];
    let world = world.into_iter().fold(World::new(), |world, (n, word)| visit(world, n, word));
    let stall = world.finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test"));
    let words = "references 2 times in 2.00 s, commits and files 2 times in 2.00 s";
    assert!(stall.summary.ends_with(words), "{}", stall.summary);
}

#[test]
fn a_git_whose_host_answered_is_distinguished_from_one_that_reached_nobody() {
    let git = |world: World, bytes: u64| {
        let list = ["git", "ls-remote", "https://git.test/lib"];
        world
            .report(SinceStart(0), ended(process(10, 1, "go", &["go", "mod", "download"], 0), 10 * S, 1))
            // It asks this machine for a setting that is not set.
            .report(SinceStart(S), ended(process(19, 10, "git", &["git", "config"], S), S + 10 * MS, 1))
            .report(SinceStart(S), ended(process(20, 10, "git", &list, 8 * S), 9 * S + 900 * MS, 128))
            .report(SinceStart(S), process(21, 20, "git-remote-http", &["git-remote-https"], 8 * S))
            .connection(connected(21, "git-remote-http", (8 * S, 9 * S)))
            .connection(move |connection| {
                connected(21, "git-remote-http", (8 * S, 9 * S))(connection);
                connection.bytes_received = Some(bytes);
            })
    };
    let mut world = git(failed(), 900);
    let failures = world.judged().into_iter().filter(|stall| stall.kind == StallKind::ChildFailed);
    let failures: Vec<Stall> = failures.collect();
    let [stall] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(stall.summary.contains("ended with status 128, after its host had answered,"), "{stall:?}");
    assert!(stall.advice.contains("401, 403") && stall.advice.contains("404"), "{}", stall.advice);
    let of = diagnose(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S), Threads::Unknown);
    assert_eq!(of.blame.unwrap().0, Blame::Command);
}

#[test]
fn what_polls_for_a_forward_proxys_answer_is_not_this_machines_work() {
    let busy = |tunnel: bool| {
        let mut world =
            World::new().command(|command| command.local = Some(Local { cpu_ns: 8 * S, ..Local::default() }));
        let corkscrew = match process(20, 10, "corkscrew", &["corkscrew", "corp.test"], S) {
            Body::Process(process) => Body::Process(Process { cpu_ns: Some(6 * S), ..process }),
            other => other,
        };
        let git = process(19, 10, "git", &["git", "fetch"], S);
        world = world.report(SinceStart(S), git).report(SinceStart(S), corkscrew).connection(|connection| {
            connected(20, "corkscrew", (S, 9 * S))(connection);
            connection.remote_name = Some("corp.test:3128".into());
            connection.tunnel = tunnel.then(|| Tunnel {
                start_ns: SinceStart(S),
                end_ns: Some(SinceStart(7 * S)),
                outcome: TunnelOutcome::Established,
                ..Tunnel::default()
            });
        });
        let update = CommandUpdate {
            command: world.1.clone(),
            idle: vec![(SinceStart::ZERO, SinceStart(2 * S))],
            gaps: Vec::new(),
        };
        world.0.apply(&Event { at_ns: SinceStart(10 * S), body: Body::Command(update) });
        let stalls = stalls(world.0.command(CommandId(1)).unwrap(), SinceStart(10 * S));
        stalls.into_iter().find(|stall| stall.kind == StallKind::LocalBound).unwrap()
    };
    let stall = busy(true);
    assert_eq!(stall.host.as_deref(), Some("corp.test:3128"));
    assert!(stall.summary.contains("were corkscrew's, not go's, which polled while"), "{}", stall.summary);
    assert_eq!(stall.severity, Severity::Critical);
    let stall = busy(false);
    assert!(stall.host.is_none() && !stall.summary.contains("polled"), "{stall:?}");
    assert_eq!(stall.severity, Severity::Info);
}

#[test]
fn a_late_ssh_agent_is_named_and_no_host() {
    let world = |end: Option<Ns>| {
        let wait = end.map(|end| AgentWait { start_ns: SinceStart(2 * S), end_ns: Some(SinceStart(end)) });
        let ssh = match process(20, 19, "ssh", &["ssh", "git.test"], S) {
            Body::Process(process) => {
                Body::Process(Process { agent_waits: wait.into_iter().collect(), ..process })
            }
            other => other,
        };
        World::new()
            .report(SinceStart(S), process(19, 10, "git", &["git", "fetch", "git@git.test:x"], S))
            .report(SinceStart(S), ssh)
            .connection(connected(20, "ssh", (S, 6 * S)))
    };
    let stall = world(Some(4 * S)).finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test"));
    assert!(stall.summary.contains("commits and files 1 time in 3.00 s"), "one visit: {}", stall.summary);
    let stall = world(Some(5 * S)).finds(StallKind::HelperWaiting, Phase::Auth, None);
    near(stall.cost_ns, 3 * S);
    assert!(stall.summary.contains("which asks its ssh agent, took 3.00 s"), "{}", stall.summary);
    assert!(stall.advice.contains("ssh-add -l"), "{}", stall.advice);
    world(None).finds_no(StallKind::HelperWaiting);
}
