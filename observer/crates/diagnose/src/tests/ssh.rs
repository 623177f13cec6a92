//! What ssh waited for, and what it was refused.

use super::*;
use model::record::Side;
use model::ssh::Ssh;

fn at(ms: Ns) -> Option<SinceStart> {
    Some(SinceStart(S + ms * MS))
}

/// git runs ssh, which connects.
fn ssh(world: World, exit_code: Option<i32>, args: &[&str], change: impl FnOnce(&mut Connection)) -> World {
    let git = Process {
        command: CommandId(1),
        pid: Pid(11),
        ppid: Pid(10),
        comm: "git".into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        start_ns: SinceStart(S),
        end_ns: Some(SinceStart(9 * S)),
        exit_code: exit_code.map(|code| if code == 0 { 0 } else { 128 }),
        ..Process::default()
    };
    let ssh = Process {
        pid: Pid(12),
        ppid: Pid(11),
        comm: "ssh".into(),
        args: vec!["ssh".into(), "git@git.test".into()],
        exit_code,
        ..git.clone()
    };
    let go = Process {
        pid: Pid(10),
        ppid: Pid(1),
        comm: "go".into(),
        end_ns: None,
        exit_code: None,
        ..git.clone()
    };
    let world = world.report(SinceStart(S), Body::Process(go));
    world.report(SinceStart(S), Body::Process(git)).report(SinceStart(S), Body::Process(ssh)).connection(
        |c| {
            no_hello(c);
            (c.pid, c.comm, c.remote) = (Pid(12), "ssh".into(), "192.0.2.1:22".into());
            (c.remote_name, c.connect_ns, c.alpn) =
                (Some("git.test:22".into()), Some(MS), Some("ssh".into()));
            c.ssh = Some(Ssh { greeting_ns: at(10), host_key_ns: at(30), accepted_ns: at(40) });
            c.end_ns = Some(SinceStart(8 * S));
            change(c);
        },
    )
}

const TAG: [&str; 5] = ["git", "fetch", "-f", "origin", "refs/tags/v1.0.0:refs/tags/v1.0.0"];
const LIST: [&str; 4] = ["git", "ls-remote", "-q", "origin"];

#[test]
fn a_server_that_greets_late_is_said_to_and_a_tag_is_not_advised_to_whom_asked_for_one() {
    let late = ssh(World::new(), Some(0), &TAG, |c| {
        c.ssh = Some(Ssh { greeting_ns: at(5000), host_key_ns: at(5020), accepted_ns: at(5030) });
    });
    let stall = late.finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test:22"));
    assert!(stall.summary.ends_with("; its ssh server greeted after 5.00 s, 1 time"), "{}", stall.summary);
    assert!(stall.advice.contains("MaxStartups"), "{}", stall.advice);
    let soon = ssh(World::new(), Some(0), &TAG, |_| {});
    let stall = soon.finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test:22"));
    assert!(!stall.summary.contains("greeted") && !stall.advice.contains("tag"), "{stall:?}");
    let branch = ssh(World::new(), Some(0), &["git", "fetch", "origin", "refs/heads/main"], |_| {});
    let stall = branch.finds(StallKind::VcsSlow, Phase::Vcs, Some("git.test:22"));
    assert!(stall.advice.contains("a tag, not a branch"), "{stall:?}");
}

#[test]
fn ssh_that_asks_whether_to_trust_a_host_waits_for_somebody_and_not_for_that_host() {
    let asks = |accepted_ns| {
        ssh(World::new(), Some(0), &LIST, move |c| {
            c.ssh = Some(Ssh { greeting_ns: at(10), host_key_ns: at(30), accepted_ns });
        })
    };
    let stall = asks(at(4030)).finds(StallKind::HelperWaiting, Phase::Auth, None);
    near(stall.cost_ns, 4 * S);
    assert!(
        stall.summary.contains("waited 4.00 s before it accepted the host key of git.test:22"),
        "{stall:?}"
    );
    assert!(stall.advice.contains("known_hosts"), "{stall:?}");
    near(asks(None).finds(StallKind::HelperWaiting, Phase::Auth, None).cost_ns, 7 * S);
    asks(at(60)).finds_no(StallKind::HelperWaiting);
}

#[test]
fn a_host_key_that_is_not_accepted_and_a_login_that_is_refused_are_distinguished() {
    let failed = |accepted_ns, by| {
        let world = World::new().command(|command| command.exit_code = Some(1));
        ssh(world, Some(255), &LIST, move |c| {
            c.ssh = Some(Ssh { greeting_ns: at(10), host_key_ns: at(30), accepted_ns });
            (c.end_ns, c.closed_by) = (at(60), Some(by));
        })
        .finds(StallKind::ChildFailed, Phase::Vcs, Some("git.test:22"))
    };
    let key = failed(None, Side::Here);
    assert!(key.summary.contains("for ssh did not accept the host key") && key.fatal, "{key:?}");
    assert!(key.advice.contains("ssh-keyscan"), "{key:?}");
    let login = failed(at(40), Side::Peer);
    assert!(login.summary.contains("the login was refused"), "{login:?}");
    let cut = failed(None, Side::Peer);
    assert!(!cut.summary.contains("ssh"), "{cut:?}");
}

#[test]
fn ssh_tries_ipv4_only_when_it_has_given_up_ipv6() {
    let dead = |c: &mut Connection| {
        (c.remote, c.outcome, c.ssh) = ("[fd00::5]:22".into(), ConnectionOutcome::TimedOut, None);
        (c.connect_ns, c.end_ns, c.syn_retransmits) = (Some(5 * S), Some(SinceStart(6 * S)), 4);
    };
    let four = |world: World, start: Ns| {
        world.connection(move |c| {
            no_hello(c);
            (c.pid, c.comm, c.remote) = (Pid(12), "ssh".into(), "192.0.2.1:22".into());
            (c.remote_name, c.connect_ns) = (Some("git.test:22".into()), Some(MS));
            (c.start_ns, c.end_ns) = (SinceStart(start), Some(SinceStart(7 * S)));
        })
    };
    let world = four(ssh(World::new(), Some(0), &LIST, dead), 6 * S + MS);
    let stall = world.finds(StallKind::Ipv6Blackhole, Phase::Connect, Some("git.test:22"));
    near(stall.cost_ns, 5 * S);
    assert!(stall.summary.contains("ssh tries IPv4 only when it has given up"), "{stall:?}");
    assert!(stall.advice.contains("AddressFamily inet"), "{stall:?}");
    let alone = ssh(World::new(), Some(0), &LIST, dead);
    let stall = alone.finds(StallKind::SynLost, Phase::Connect, Some("git.test:22"));
    near(stall.cost_ns, 5 * S);
}
