use model::event::{CommandUpdate, End};
use model::id::{Pid, RequestId, StallId};
use model::record::{Class, Process, Request, RequestOutcome};
use model::report::{Remedy, Stall};
use model::stall::StallKind;

use super::*;

const S: Ns = 1_000_000_000;

/// Every line that the events give, of so many columns.
fn lines_of(width: usize, bodies: impl IntoIterator<Item = (Ns, Body)>) -> Vec<String> {
    let (mut state, mut lines) = (State::new(), Lines::new(width));
    let mut of = |(at_ns, body)| {
        let event = Event { at_ns: SinceStart(at_ns), body };
        state.apply(&event);
        lines.lines(&state, &event)
    };
    bodies.into_iter().flat_map(&mut of).collect()
}

fn lines(bodies: impl IntoIterator<Item = (Ns, Body)>) -> Vec<String> {
    lines_of(200, bodies)
}

fn of(id: u32, argv: &str, wall_ns: Option<Ns>) -> Body {
    let argv = argv.split(' ').map(str::to_owned).collect();
    let exit_code = wall_ns.map(|_| 0);
    let id = CommandId(id);
    let command = Command { id, pid: Pid(77), argv, wall_ns, exit_code, ..Command::default() };
    Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() })
}

fn command(wall_ns: Option<Ns>) -> Body {
    of(1, "go mod download", wall_ns)
}

fn waiting(phase: Phase, host: &str) -> Body {
    Body::Waiting(Waiting {
        command: CommandId(1),
        phase,
        host: Some(host.to_owned()),
        since_ns: SinceStart(0),
        earlier: None,
        summary: format!("a\u{1b}b of {host}"),
        because: None,
    })
}

fn stall(state: StallState) -> Body {
    let remedy = Remedy { name: "http1".into(), why: "x".into(), attempt: "goobserve compare".into() };
    let stall = Stall {
        kind: StallKind::H2Silent.into(),
        phase: Phase::Proxy,
        host: None,
        severity: Severity::Warning,
        start_ns: SinceStart(0),
        end_ns: SinceStart(3),
        cost_ns: 3 * S,
        summary: "proxy.test fell \u{1b}silent".into(),
        evidence: Vec::new(),
        advice: String::new(),
        fatal: false,
        remedies: vec![remedy],
    };
    Body::Stall(StallUpdate { command: CommandId(1), id: StallId(1), state, stall })
}

#[test]
fn a_command_is_a_line_when_it_starts_to_hurt_and_one_when_it_ends() {
    let request = Request {
        command: CommandId(1),
        id: RequestId(1),
        class: Class::Zip,
        authority: Some("proxy.test".into()),
        status: Some(200),
        end_ns: Some(SinceStart(5 * S)),
        bytes: Some(2048),
        outcome: RequestOutcome::Ok,
        ..Request::default()
    };
    let printed = lines([
        (0, command(None)),
        (S, waiting(Phase::Proxy, "proxy.test")),
        (2 * S, waiting(Phase::Proxy, "proxy.test")),
        (3 * S, stall(StallState::Lasts)),
        (4 * S, stall(StallState::Lasts)),
        (4 * S, stall(StallState::Over)),
        (5 * S, Body::Request(request)),
        (6 * S, command(Some(6 * S))),
        (6 * S, command(Some(6 * S))),
    ]);
    assert_eq!(
        printed[..3],
        [
            "    1.000 s  #1   go mod download (pid 77) has waited 1.00 s for a\\x1bb of proxy.test",
            "    3.000 s  #1   go mod download (pid 77) h2-silent, 3.00 s so far: proxy.test fell \\x1bsilent; \
             try: --with http1",
            "    6.000 s  #1   go mod download (pid 77) ended after 6.00 s, exit 0: proxy 83 %, unexplained 17 %; proxy-slow \
             5.00 s; 1 request, 2.05 kB",
        ]
    );
    assert_eq!(printed.len(), 3, "{printed:?}");
}

#[test]
fn another_wait_is_a_line_once_some_time_has_passed() {
    let printed = lines([
        (0, command(None)),
        (S, waiting(Phase::Dns, "ns.test")),
        (2 * S, waiting(Phase::Proxy, "proxy.test")),
        (12 * S, waiting(Phase::Proxy, "proxy.test")),
        (30 * S, waiting(Phase::Proxy, "proxy.test")),
    ]);
    assert_eq!(printed.len(), 2, "{printed:?}");
}

#[test]
fn a_burst_of_processes_is_folded_into_the_end_and_no_line_is_wider_than_the_terminal() {
    let process = |n: u64| {
        let args = format!("compile -o /tmp/go-build1/b{n}/_pkg_.a -p example.com/{}", "long/".repeat(80));
        Body::Process(Process {
            command: CommandId(1),
            pid: Pid(1000 + n as u32),
            comm: "compile".into(),
            args: args.split(' ').map(str::to_owned).collect(),
            start_ns: SinceStart(n),
            end_ns: Some(SinceStart(S)),
            cpu_ns: Some(125_000_000),
            exit_code: Some(0),
            ..Process::default()
        })
    };
    let argv = format!("go build {}", "example.com/a/long/one ".repeat(40));
    for width in [40, 80, 200] {
        let began = (0, of(1, &argv, None));
        let all = (0..280).map(|n| (n, process(n))).chain([(2 * S, of(1, &argv, Some(2 * S)))]);
        let printed = lines_of(width, [began].into_iter().chain(all));
        assert_eq!(printed.len(), 1, "{printed:?}");
        assert!(model::clean::width(&printed[0]) <= width, "{printed:?}");
        assert!(width < 200 || printed[0].ends_with("compile ×280, 35.0 s CPU"), "{printed:?}");
    }
}

#[test]
fn short_commands_that_end_well_are_counted() {
    let short = |id, argv| [(0, of(id, argv, None)), (S / 100, of(id, argv, Some(S / 100)))];
    let all = [short(1, "go env GOPATH"), short(2, "go env GOROOT"), short(3, "go list -m all")];
    let end = (S, Body::End(End { duration_ns: S }));
    assert_eq!(
        lines(all.into_iter().flatten().chain([end])),
        ["    1.000 s  -    3 commands of less than 1 s ended well: go env ×2, go list ×1"]
    );
}

#[test]
fn a_short_command_that_fails_is_a_line() {
    let Body::Command(mut update) = command(Some(S / 100)) else { panic!() };
    update.command.exit_code = Some(1);
    let printed = lines([(0, command(None)), (S / 100, Body::Command(update))]);
    assert!(printed.len() == 1 && printed[0].contains("exit 1"), "{printed:?}");
}

#[test]
fn loss_is_reported_when_it_has_doubled() {
    let loss = |n| Loss { kernel_events_lost: n, ..Loss::default() };
    let printed = lines([0, 1, 1, 2, 3, 4].map(|n| (0, Body::Loss(loss(n)))));
    assert_eq!(printed.len(), 3, "{printed:?}");
    assert!(printed[0].ends_with("not seen so far: 1 kernel event lost"), "{printed:?}");
}

#[test]
fn ended_commands_are_forgotten() {
    let (mut state, mut lines) = (State::new(), Lines::new(80));
    for id in 1..100 {
        for wall in [None, Some(2 * S)] {
            let event = Event { at_ns: SinceStart(1), body: of(id, "go build", wall) };
            state.apply(&event);
            assert_eq!(lines.lines(&state, &event).len(), usize::from(wall.is_some()));
        }
    }
    assert!(lines.commands.is_empty());
}
