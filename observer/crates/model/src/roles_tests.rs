//! Which process is what to go, and which of them it waits for.

use super::*;
use crate::event::{Body, CommandUpdate, Event};
use crate::id::CommandId;
use crate::operations::Threads;
use crate::record::{Command, Local};
use crate::state::State;
use crate::waiting::waiting;

const S: Ns = 1_000_000_000;

/// Pid, parent, name, arguments, start, end, exit status.
type Row<'a> = (u32, u32, &'a str, &'a str, Ns, Option<Ns>, i32);

fn process(&(pid, ppid, comm, args, start, end, exit): &Row<'_>) -> Process {
    Process {
        command: CommandId(1),
        pid: Pid(pid),
        ppid: Pid(ppid),
        comm: comm.into(),
        args: args.split(' ').filter(|arg| !arg.is_empty()).map(|arg| arg.replace('_', " ")).collect(),
        start_ns: SinceStart(start),
        end_ns: end.map(SinceStart),
        exit_code: end.map(|_| exit),
        cpu_ns: None,
        terminal_ns: Vec::new(),
        agent_waits: Vec::new(),
    }
}

fn state(go: Go, wall_ns: Option<Ns>, rows: &[Row<'_>]) -> State {
    let mut state = State::new();
    let command = Command {
        id: CommandId(1),
        pid: Pid(10),
        go,
        wall_ns,
        local: Some(Local::default()),
        ..Command::default()
    };
    let idle = vec![(SinceStart(0), SinceStart(wall_ns.unwrap_or(0)))];
    let update = CommandUpdate { command, idle, gaps: Vec::new() };
    let processes = rows.iter().map(|row| Body::Process(process(row)));
    for body in std::iter::once(Body::Command(update)).chain(processes) {
        state.apply(&Event { at_ns: SinceStart(0), body });
    }
    state
}

fn roles_of(go: Go, rows: &[Row<'_>]) -> Vec<Role> {
    let state = state(go, Some(10 * S), rows);
    let command = state.command(CommandId(1)).unwrap();
    let roles = command.roles();
    rows.iter().map(|row| roles.role(Pid(row.0), row.2, SinceStart(row.4))).collect()
}

const fn row<'a>(pid: u32, ppid: u32, comm: &'a str, args: &'a str) -> Row<'a> {
    (pid, ppid, comm, args, pid as Ns, None, 0)
}

#[test]
fn above_go_are_wrappers_and_what_runs_beside_it_is_a_child() {
    let rows = [
        row(10, 1, "make", "make all"),
        row(11, 10, "sh", "sh -c go_build"),
        row(12, 11, "go", "go build"),
        row(13, 10, "curl", "curl https://x.test"),
        row(14, 12, "compile", "/go/compile -p x"),
        row(15, 12, "x86_64-linux-gn", "/usr/bin/x86_64-linux-gnu-gcc-12 -c a.c"),
        row(16, 15, "cc1", "cc1 a.c"),
        row(17, 12, "wrap", "/opt/wrap /go/compile"),
        row(18, 17, "compile", "/go/compile -p y"),
    ];
    let expected = [
        Role::Wrapper,
        Role::Wrapper,
        Role::Go,
        Role::Child,
        Role::Tool,
        Role::Tool,
        Role::Tool,
        Role::Child,
        Role::Child,
    ];
    assert_eq!(roles_of(Go::default(), &rows), expected);
}

#[test]
fn what_git_starts_is_gits_but_for_helpers_for_credentials() {
    let rows = [
        row(10, 1, "go", "go mod download"),
        row(11, 10, "git", "git -c protocol.version=2 fetch origin"),
        row(12, 11, "git", "/usr/lib/git-core/git remote-https origin https://git.test/x"),
        row(13, 12, "git-remote-http", "/usr/lib/git-core/git-remote-https origin https://git.test/x"),
        row(14, 13, "sh", "/bin/sh -c /opt/token_get"),
        row(15, 14, "token", "/opt/token get"),
        row(16, 13, "my-pass", "/opt/my-pass Username_for_https://git.test"),
        row(17, 11, "ssh", "ssh git@git.test"),
        row(18, 17, "ssh-askpass", "/usr/bin/ssh-askpass …"),
        row(19, 17, "corkscrew", "corkscrew proxy.test 3128 git.test 22"),
        row(20, 10, "git", "git credential fill"),
        row(21, 20, "sh", "/bin/sh -c git_credential-slow_get"),
        row(22, 21, "sleep", "sleep 100"),
        row(23, 10, "hg", "hg pull"),
        row(24, 13, "ask", "/bin/sh /opt/ask …"),
    ];
    let expected = [
        Role::Go,
        Role::Fetcher,
        Role::Fetcher,
        Role::Fetcher,
        Role::Credentials,
        Role::Credentials,
        Role::Credentials,
        Role::Fetcher,
        Role::Credentials,
        Role::Fetcher,
        Role::Credentials,
        Role::Credentials,
        Role::Credentials,
        Role::Fetcher,
        Role::Credentials,
    ];
    assert_eq!(roles_of(Go::default(), &rows), expected);
}

#[test]
fn settings_name_helpers_and_a_build_cache() {
    let go = Go {
        goauth: Some("netrc; /opt/corp-identity-token …".into()),
        gocacheprog: Some("/opt/remote …".into()),
        ..Go::default()
    };
    let rows = [
        row(10, 1, "go", "go build"),
        row(11, 10, "corp-identity-t", "/bin/sh /opt/corp-identity-token https://proxy.test"),
        row(12, 11, "curl", "curl https://idp.test"),
        row(13, 10, "remote", "/opt/remote --url …"),
        row(14, 13, "go", "go env"),
        row(15, 10, "x.test", "/tmp/x.test -test.v"),
        row(16, 15, "git", "git clone https://git.test/x"),
        row(17, 15, "go", "go build"),
        row(18, 17, "git", "git status"),
    ];
    let expected = [
        Role::Go,
        Role::Credentials,
        Role::Credentials,
        Role::BuildCache,
        Role::BuildCache,
        Role::Child,
        Role::Child,
        Role::Go,
        Role::Fetcher,
    ];
    assert_eq!(roles_of(go, &rows), expected);
    // Where the settings are not known, they are children as any.
    let unknown = roles_of(Go::default(), &rows);
    assert_eq!(unknown[1..4], [Role::Child, Role::Child, Role::Child]);
}

#[test]
fn a_process_that_was_not_seen_is_what_its_name_says() {
    let state = state(Go::default(), None, &[]);
    let roles = state.command(CommandId(1)).unwrap().roles();
    let of = |comm| roles.role(Pid(77), comm, SinceStart(5)).phase();
    assert_eq!(of("git-remote-http"), Some(Phase::Vcs));
    assert_eq!(of("ssh-askpass"), Some(Phase::Auth));
    assert_eq!(of("x.test"), Some(Phase::Child));
    assert_eq!((of("go"), of("")), (None, None));
}

fn blocked(state: &State) -> [Ns; 5] {
    let split = state.command(CommandId(1)).unwrap().split(SinceStart(10 * S), Threads::Unknown);
    let sum: Ns = split.phases.iter().map(|share| share.blocked_ns).sum();
    assert_eq!(sum, split.wall_ns);
    [Phase::Auth, Phase::Vcs, Phase::Child, Phase::Cache, Phase::Unexplained]
        .map(|phase| split.phase(phase).blocked_ns)
}

#[test]
fn a_helper_that_takes_longer_puts_just_that_into_its_phase() {
    let go = || Go { goauth: Some("/opt/token".into()), ..Go::default() };
    let of = |took: Ns| {
        let wall = 2 * S + took;
        blocked(&state(
            go(),
            Some(wall),
            &[
                (10, 1, "go", "go mod download", 0, Some(wall), 0),
                (11, 10, "token", "/opt/token", S, Some(S + took), 0),
                (12, 11, "sleep", "sleep 9", S, Some(S + took), 0),
            ],
        ))
    };
    let (short, long) = (of(S), of(S + 123_456_789));
    assert_eq!(long[0] - short[0], 123_456_789);
    assert_eq!((short[4], long[4]), (2 * S, 2 * S));
}

#[test]
fn credentials_for_git_are_credentials_and_the_rest_is_gits() {
    let of = blocked(&state(
        Go::default(),
        Some(10 * S),
        &[
            (10, 1, "go", "go mod download", 0, Some(10 * S), 0),
            (11, 10, "git", "git fetch origin", S, Some(9 * S), 0),
            (12, 11, "git-credential-", "/h/git-credential-idp get", 2 * S, Some(5 * S), 0),
            (13, 10, "compile", "/go/compile -p x", 0, Some(10 * S), 0),
        ],
    ));
    assert_eq!(of, [3 * S, 5 * S, 0, 0, 2 * S]);
}

#[test]
fn what_outlives_its_parent_is_waited_for_when_go_goes_on_with_its_end() {
    // git has ended, and a helper that it left behind holds the pipe until `last`.
    let of = |last: Option<Ns>, next: Ns| {
        blocked(&state(
            Go::default(),
            Some(9 * S),
            &[
                (10, 1, "go", "go mod download", 0, Some(9 * S), 0),
                (11, 10, "git", "git fetch origin", S, Some(2 * S), 0),
                (12, 11, "git-credential-", "/h/git-credential-idp get", S, last, 0),
                (13, 10, "git", "git cat-file", next, Some(next + 1), 0),
            ],
        ))
    };
    assert_eq!(of(Some(7 * S), 7 * S + 1_000), [6 * S, 1, 0, 0, 3 * S - 1], "1 s of git, 5 s held");
    // A daemon that is there while go goes on, or after it, holds nothing.
    assert_eq!(of(Some(7 * S), 2 * S + 1_000), [S, 1, 0, 0, 8 * S - 1]);
    assert_eq!(of(None, 2 * S + 1_000), [S, 1, 0, 0, 8 * S - 1]);
}

#[test]
fn a_wait_for_a_child_names_the_helper_and_who_runs_it() {
    let rows = [
        row(10, 1, "go", "go mod download"),
        row(11, 10, "git", "git credential fill"),
        row(12, 11, "sh", "/bin/sh -c git_credential-slow_get"),
        row(13, 12, "git-credential-", "/bin/sh /h/git-credential-slow get"),
        row(14, 13, "sleep", "sleep 100"),
    ];
    let summary = |rows: &[Row<'_>]| {
        waiting(&state(Go::default(), None, rows), CommandId(1), SinceStart(S)).map(|wait| wait.summary)
    };
    let says = "the helper git-credential-slow (pid 13), run by git credential fill for go";
    assert_eq!(summary(&rows).as_deref(), Some(says));
    let test = [row(10, 1, "go", "go test"), row(11, 10, "x.test", "/tmp/x.test")];
    assert_eq!(summary(&test).as_deref(), Some("the test binary x.test (pid 11)"));
    // A tool of go's is nobody's wait, and a build cache mostly is not.
    assert_eq!(summary(&[row(10, 1, "go", "go build"), row(11, 10, "compile", "/go/compile")]), None);
}

#[test]
fn a_program_and_a_package_are_read_from_arguments() {
    let compile = process(&row(11, 10, "compile", "/go/compile -o $WORK -p example.com/x -std"));
    assert_eq!((program(&compile), package(&compile)), ("compile", Some("example.com/x")));
    let script = process(&row(11, 10, "corp-identity-t", "/bin/sh /opt/corp-identity-token"));
    assert_eq!((program(&script), package(&script)), ("corp-identity-token", None));
    assert_eq!(short(&process(&row(11, 10, "git", "git -c a.b=c -C /x fetch -f"))), "git fetch");
}

#[test]
fn two_that_are_held_at_once_are_both_waited_for() {
    let ms = 1_000_000;
    let of = |n: u32, end: Ns| {
        [
            (11 + n, 10, "git", "git credential fill", S, Some(S + 20 * ms), 0),
            (13 + n, 11 + n, "git-credential-", "/h/git-credential-bg get", S, Some(S + 10 * ms), 0),
            (15 + n, 13 + n, "sleep", "sleep 5", S + 5 * ms, Some(end), 0),
            (17 + n, 10, "git", "git credential approve", end + 2 * ms, Some(end + 9 * ms), 0),
        ]
    };
    let (one, two) = (of(0, 6 * S), of(1, 6 * S + 400_000));
    let rows: Vec<Row<'_>> =
        std::iter::once((10, 1, "go", "go mod download", 0, Some(7 * S), 0)).chain(one).chain(two).collect();
    let auth = blocked(&state(Go::default(), Some(7 * S), &rows))[0];
    assert!((5 * S - 10 * ms..5 * S + 30 * ms).contains(&auth), "{auth}");
}

#[test]
fn the_pipe_is_closed_a_moment_before_the_end_is_seen() {
    let ms = 1_000_000;
    let of = blocked(&state(
        Go::default(),
        Some(9 * S),
        &[
            (10, 1, "go", "go mod download", 0, Some(9 * S), 0),
            (11, 10, "git", "git fetch origin", S, Some(2 * S), 0),
            (12, 11, "git-credential-", "/h/git-credential-idp get", S, Some(7 * S), 0),
            (13, 10, "git", "git cat-file", 7 * S - ms, Some(7 * S + ms), 0),
        ],
    ));
    assert_eq!(of[0], 6 * S);
}

#[test]
fn a_connection_of_gits_waits_while_a_helper_is_asked() {
    let mut state = state(
        Go::default(),
        Some(10 * S),
        &[
            (10, 1, "go", "go mod download", 0, Some(10 * S), 0),
            (11, 10, "git", "git fetch origin", S, Some(9 * S), 0),
            (12, 11, "git-remote-http", "git-remote-https origin https://git.test/x", S, Some(9 * S), 0),
            (13, 12, "git-credential-", "/h/git-credential-idp get", 3 * S, Some(6 * S), 0),
        ],
    );
    let connection = crate::record::Connection {
        command: CommandId(1),
        pid: Pid(12),
        comm: "git-remote-http".into(),
        start_ns: SinceStart(2 * S),
        end_ns: Some(SinceStart(8 * S)),
        bytes_received: Some(7),
        ..crate::record::Connection::default()
    };
    state.apply(&Event { at_ns: SinceStart(0), body: Body::Connection(connection) });
    assert_eq!(blocked(&state)[..2], [3 * S, 5 * S]);
}

#[test]
fn while_git_reads_the_terminal_somebody_is_waited_for_and_not_its_host() {
    let rows: [Row<'_>; 3] = [
        (10, 1, "go", "go mod download", 0, Some(10 * S), 0),
        (11, 10, "git", "git ls-remote origin", S, Some(9 * S), 0),
        (12, 11, "git-remote-http", "git-remote-https origin https://git.test/x", S, Some(9 * S), 0),
    ];
    let command = state(Go::default(), Some(10 * S), &rows);
    let record = command.command(CommandId(1)).and_then(|command| command.record.clone()).unwrap();
    let mut state = State::new();
    let connection = crate::record::Connection {
        command: CommandId(1),
        pid: Pid(12),
        comm: "git-remote-http".into(),
        start_ns: SinceStart(2 * S),
        end_ns: Some(SinceStart(8 * S)),
        ..crate::record::Connection::default()
    };
    let idle = vec![(SinceStart(0), SinceStart(3 * S)), (SinceStart(3 * S), SinceStart(7 * S))];
    let update = CommandUpdate { command: record, idle, gaps: Vec::new() };
    let asks = Process { terminal_ns: vec![SinceStart(3 * S)], ..process(&rows[2]) };
    let processes = rows[..2].iter().map(|row| Body::Process(process(row)));
    let all = [Body::Command(update), Body::Process(asks), Body::Connection(connection)];
    for body in processes.chain(all) {
        state.apply(&Event { at_ns: SinceStart(0), body });
    }
    let command = state.command(CommandId(1)).unwrap();
    let auth: Vec<_> = command
        .in_flight(SinceStart(10 * S))
        .into_iter()
        .filter(|op| op.operation.phase == Phase::Auth)
        .map(|op| (op.operation.start_ns, op.operation.end_ns))
        .collect();
    assert_eq!(auth, [(SinceStart(3 * S), SinceStart(7 * S))], "as long as nobody ran");
    assert_eq!(blocked(&state)[0], 4 * S);
}

#[test]
fn while_ssh_waits_for_its_agent_its_connection_and_its_transport_wait_with_it() {
    let rows = [
        row(10, 1, "go", "go mod download"),
        row(11, 10, "git", "git fetch"),
        row(12, 11, "ssh", "ssh git.test"),
        row(13, 12, "corkscrew", "corkscrew proxy.test"),
    ];
    let auth = |wait: AgentWait| {
        let mut state = state(Go::default(), None, &rows[..2]);
        let asks = Process { agent_waits: vec![wait], ..process(&rows[2]) };
        let connection = crate::record::Connection {
            command: CommandId(1),
            pid: Pid(13),
            comm: "corkscrew".into(),
            start_ns: SinceStart(2 * S),
            end_ns: Some(SinceStart(8 * S)),
            ..crate::record::Connection::default()
        };
        let all = [Body::Process(asks), Body::Process(process(&rows[3])), Body::Connection(connection)];
        for body in all {
            state.apply(&Event { at_ns: SinceStart(0), body });
        }
        let command = state.command(CommandId(1)).unwrap();
        let spans = |phase| -> Vec<_> {
            let of = command
                .in_flight(SinceStart(10 * S))
                .into_iter()
                .filter(move |op| op.operation.phase == phase);
            of.filter(|op| phase == Phase::Auth || !op.is_child())
                .map(|op| (op.operation.start_ns.0 / S, op.operation.end_ns.0 / S))
                .collect()
        };
        (spans(Phase::Auth), spans(Phase::Vcs))
    };
    let waits = |end: Option<u64>| AgentWait {
        start_ns: SinceStart(3 * S),
        end_ns: end.map(|end| SinceStart(end * S)),
    };
    assert_eq!(auth(waits(Some(7))), (vec![(3, 7)], vec![(2, 3), (7, 8)]));
    assert_eq!(auth(waits(None)), (vec![(3, 10)], vec![(2, 3)]), "until it answers");
}

#[test]
fn what_a_tool_runs_beside_its_work_is_a_child() {
    let rows = [
        row(10, 1, "go", "go build"),
        row(11, 10, "compile", "/go/compile -p x"),
        row(12, 11, "sleep", "sleep 3"),
    ];
    assert_eq!(roles_of(Go::default(), &rows), [Role::Go, Role::Tool, Role::Child]);
}
