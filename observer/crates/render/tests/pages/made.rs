//! States and reports to make pages of.

use diagnose::report::report;
use model::event::{Body, CommandUpdate, Event, Mark};
use model::evidence::Evidence;
use model::id::{CommandId, ConnectionId, Pid, RequestId};
use model::record::{Class, Command, Connection, Local, Phase, Request, RequestOutcome};
use model::report::{Remedy, Severity, Stall};
use model::stall::StallKind;
use model::time::{Ns, SinceStart};
use model::{Report, State};
use pipeline::replay::Replay;

const RECORDING: &str = include_str!("../data/download.jsonl");
pub(crate) const SECOND: Ns = 1_000_000_000;

pub(crate) fn events() -> Vec<Event> {
    Replay::new(RECORDING.as_bytes()).unwrap().collect::<Result<_, _>>().unwrap()
}

pub(crate) fn state(events: &[Event]) -> State {
    let mut state = State::new();
    events.iter().for_each(|event| state.apply(event));
    state
}

/// The hand-made recording, with a stall.
pub(crate) fn small() -> (Report, State) {
    let state = state(&events());
    let mut report = report(&state);
    report.commands[0].stalls = vec![stall("proxy.test")];
    (report, state)
}

pub(crate) fn stall(name: &str) -> Stall {
    Stall {
        kind: StallKind::DnsTimeout.into(),
        phase: Phase::Dns,
        host: Some(name.into()),
        severity: Severity::Critical,
        start_ns: SinceStart(6_000_000),
        end_ns: SinceStart(5 * SECOND),
        cost_ns: 5 * SECOND - 6_000_000,
        summary: format!("the name server 127.77.1.1:53 left a query for {name} unanswered for 5 s"),
        evidence: vec![
            Evidence::Words {
                words: format!("{name} AAAA asked at 0.006 s, retried at 5.006 s, answered after 12.0 ms"),
            },
            Evidence::Words { words: "resolv.conf: timeout 5 s, 2 attempts".into() },
        ],
        advice: String::new(),
        fatal: false,
        remedies: vec![
            Remedy {
                name: "dns-cache".into(),
                why: "its answers come from this machine, filled before the start".into(),
                attempt: "goobserve compare --with dns-cache -- go mod download".into(),
            },
            Remedy {
                name: "resolv=options timeout:1 attempts:3".into(),
                why: "a lost answer then costs 1 s".into(),
                attempt: "goobserve compare --with 'resolv=options timeout:1 attempts:3' -- go mod download"
                    .into(),
            },
        ],
    }
}

/// `commands` commands of `requests` requests each over one connection, two at a time.
pub(crate) fn large(commands: u32, requests: u32) -> State {
    let mut state = State::new();
    for id in 1..=commands {
        let command = Command {
            id: CommandId(id),
            pid: Pid(id),
            argv: ["go", "mod", "download"].map(str::to_owned).to_vec(),
            wall_ns: Some(60 * SECOND),
            exit_code: Some(0),
            local: Some(Local::default()),
            ..Command::default()
        };
        let interval = 60 * SECOND * u64::from(commands) / 20_000;
        let idle = (0..20_000 / u64::from(commands))
            .map(|n| (SinceStart(n * interval), SinceStart(n * interval + interval / 2)))
            .collect();
        let mut apply = |at_ns, body| state.apply(&Event { at_ns, body });
        apply(SinceStart(0), Body::Command(CommandUpdate { command, idle, gaps: Vec::new() }));
        let connection = Connection {
            command: CommandId(id),
            id: ConnectionId(id),
            pid: Pid(id),
            comm: "go".into(),
            remote: "127.0.0.1:443".into(),
            server_name: Some("proxy.test".into()),
            connect_ns: Some(SECOND / 50),
            ..Connection::default()
        };
        apply(SinceStart(0), Body::Connection(connection));
        let step = 58 * SECOND / u64::from(requests);
        for n in 0..requests {
            let start_ns = SinceStart(SECOND + u64::from(n) * step);
            let class = [Class::Info, Class::Mod, Class::Zip, Class::SumdbLookup, Class::SumdbTile];
            let request = Request {
                command: CommandId(id),
                id: RequestId(id * 1_000_000 + n),
                pid: Pid(id),
                connection: Some(ConnectionId(id)),
                stream: Some(2 * n + 1),
                authority: Some("proxy.test".into()),
                class: class[n as usize % class.len()],
                module: Some(format!("example.com/group/module-{n}")),
                version: Some("v1.2.3".into()),
                status: Some(200),
                start_ns,
                first_byte_ns: Some(start_ns + step / 2),
                end_ns: Some(start_ns + step * 3 / 2),
                bytes: Some(u64::from(n)),
                outcome: RequestOutcome::Ok,
                ..Request::default()
            };
            apply(start_ns, Body::Request(request));
            if n % 10 == 0 {
                apply(
                    start_ns,
                    Body::Retransmission(Mark {
                        command: CommandId(id),
                        connection: ConnectionId(id),
                        syn: false,
                    }),
                );
            }
        }
    }
    state
}
