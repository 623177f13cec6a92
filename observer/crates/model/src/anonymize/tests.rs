//! What is left of events without private names.

use super::*;
use crate::event::StallState;
use crate::evidence::{Evidence, RequestSeen};
use crate::id::{CommandId, DnsId, Pid, StallId};
use crate::json;
use crate::record::Class;
use crate::report::Severity;
use crate::stall::StallKind;
use crate::time::SinceStart;

/// Every private name of the events below.
const SECRETS: [&str; 13] = [
    "acme",
    "Acme",
    "!acme",
    "alice",
    "s3cret",
    "corp",
    "10.1.2.3",
    "fd00::7",
    "proxy.test",
    "1000",
    "tool-x",
    "billing",
    "hunter2",
];

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn events() -> Vec<Event> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let command = Command {
        id: CommandId(1),
        argv: words("/home/alice/bin/go get -x -modfile=/home/alice/go.mod git.corp/Acme/billing@v1.2.3"),
        uid: Some(1000),
        cwd: text("/home/alice/acme"),
        cgroup: text("/user.slice/user-1000.slice/acme"),
        go: Go {
            caller: Some(Box::new(Caller {
                trace_state: text("vendor=acme"),
                job: Some(Job {
                    pipeline: text("acme/billing"),
                    run: text("acme-17"),
                    task: text("billing"),
                    worker: text("runner.git.corp"),
                    url: text("https://git.corp/Acme/billing"),
                    ..Job::default()
                }),
                ..Caller::default()
            })),
            binary: text("/home/alice/go/bin/go"),
            goproxy: text("https://alice:s3cret@proxy.test/acme,direct"),
            gosumdb: text("tip.golang.org https://sum.corp"),
            goflags: text("-mod=mod -ldflags=-X=acme"),
            gomodcache: text("/home/alice/go/pkg/mod"),
            gocache: text("/home/alice/.cache/go-build"),
            goprivate: text("git.corp/Acme"),
            gonoproxy: text("git.corp/Acme"),
            gonosumdb: text("git.corp/Acme"),
            goinsecure: text("git.corp/Acme"),
            govcs: text("git.corp/Acme:git"),
            own_modules: Some(vec!["git.corp/Acme/app".into()]),
            ..Go::default()
        },
        ..Command::default()
    };
    let resolver =
        Resolver { servers: words("10.1.2.3 127.0.0.53"), search: words("corp"), ..Resolver::default() };
    let machine = Machine { resolver, host_name: text("runner.git.corp"), ..Machine::default() };
    let remedies =
        ["concurrency=16", "http1", "proxy=https://proxy.corp", "resolv=search corp", "env=A=hunter2"];
    let remedies = remedies.map(str::to_owned).to_vec();
    let request = Request {
        class: Class::Zip,
        authority: text("proxy.test:8443"),
        path: text("/acme/git.corp/!acme/billing/@v/v1.2.3.zip"),
        module: text("git.corp/Acme/billing"),
        version: text("v1.2.3"),
        ..Request::default()
    };
    let tile = Request {
        class: Class::SumdbTile,
        path: text("/acme/sumdb/sum.corp/tile/8/0/x001/234"),
        module: None,
        ..request.clone()
    };
    let go_get = Request { class: Class::GoGet, path: text("/Acme/billing?go-get=1"), ..request.clone() };
    let branch = Request {
        class: Class::Info,
        path: text("/git.corp/!acme/billing/@v/acme-branch.info"),
        version: text("acme-branch"),
        ..request.clone()
    };
    let other = Request { class: Class::Other, path: text("/acme/x"), module: None, ..request.clone() };
    let waiting = Waiting {
        command: CommandId(1),
        phase: Phase::Proxy,
        host: text("proxy.test"),
        since_ns: SinceStart(0),
        earlier: None,
        summary: "proxy.test: zip git.corp/Acme/billing@v1.2.3".into(),
        because: text("proxy.test took long"),
    };
    let stall = Stall {
        kind: StallKind::ProxySlow.into(),
        phase: Phase::Proxy,
        host: text("proxy.test"),
        severity: Severity::Warning,
        start_ns: SinceStart(0),
        end_ns: SinceStart(1),
        cost_ns: 1,
        summary: "proxy.test took long before 1 answer".into(),
        evidence: vec![
            Evidence::Words { words: "/acme/x: no head".into() },
            Evidence::RequestRefused(RequestSeen::from(&request)),
            Evidence::ProcessWaitedFor {
                args: words("/opt/acme/tool-x --token s3cret alice@corp"),
                pid: Pid(3),
            },
            Evidence::Query {
                query: DnsId(1),
                name: "proxy.test".into(),
                qtype: "A".into(),
                attempt: 1,
                server: "[fd00::7]:53".into(),
                rcode: None,
                ended: true,
                took_ns: 5,
            },
            Evidence::LockWait {
                pid: Pid(1),
                path: text("/home/alice/go/pkg/mod/cache/lock"),
                repository: Some("git.corp/Acme/lib".into()),
                holder_pid: None,
                waited_ns: 1,
            },
        ],
        advice: String::new(),
        fatal: false,
        remedies: vec![Remedy {
            name: "proxy=https://proxy.corp".into(),
            why: "another; GOPROXY is https://proxy.corp now".into(),
            attempt: "goobserve compare --with proxy=https://proxy.corp -- go get git.corp/acme".into(),
        }],
    };
    let stall = StallUpdate { command: CommandId(1), id: StallId(1), state: StallState::Lasts, stall };
    let bodies = [
        Body::Blocked(Blocked {
            command: CommandId(1),
            phase: Phase::Proxy,
            host: Some("proxy.corp".into()),
            blocked_ns: 1,
        }),
        Body::Session(Session {
            schema: "s".into(),
            tool: "t".into(),
            started_unix_ns: 0,
            recording_id: Some("00112233445566778899aabbccddeeff".into()),
            machine,
            remedies,
            redacted: false,
        }),
        Body::Command(CommandUpdate {
            command,
            idle: vec![(SinceStart(1), SinceStart(2))],
            gaps: Vec::new(),
        }),
        Body::Process(Process {
            comm: "tool-x".into(),
            args: words("/opt/acme/tool-x --token s3cret alice@corp"),
            ..Process::default()
        }),
        Body::Process(Process {
            comm: "git".into(),
            args: words("git fetch https://git.corp/x"),
            ..Process::default()
        }),
        Body::Dns(Dns {
            comm: "git".into(),
            server: "[fd00::7]:53".into(),
            name: "proxy.test".into(),
            ..Dns::default()
        }),
        Body::Connection(Connection {
            comm: "go".into(),
            local: "10.1.2.3:4444".into(),
            remote: "[fd00::7]:8443".into(),
            server_name: text("proxy.test"),
            ..Connection::default()
        }),
        Body::Request(request),
        Body::Request(tile),
        Body::Request(go_get),
        Body::Request(branch),
        Body::Request(other),
        Body::Lock(LockWait { path: text("/home/alice/go/pkg/mod/cache/lock"), ..LockWait::default() }),
        Body::DnsWait(DnsWait { server: "[fd00::7]:53".into(), ..DnsWait::default() }),
        Body::Waiting(waiting),
        Body::Stall(stall),
    ];
    bodies.into_iter().map(|body| Event { at_ns: SinceStart(3), body }).collect()
}

#[test]
fn no_private_name_is_left() {
    let mut anonymizer = Anonymizer::new();
    for event in events() {
        let line = json::line(&anonymizer.event(&event)).unwrap();
        for secret in SECRETS {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}

#[test]
fn what_says_how_it_went_is_kept() {
    let mut anonymizer = Anonymizer::new();
    let all: Vec<String> =
        events().iter().map(|event| json::line(&anonymizer.event(event)).unwrap()).collect();
    let all = all.join("\n");
    for kept in [
        r#""argv":["go","get","-x","-modfile=…","module-1@v1.2.3"]"#,
        r#""path":"/module-1/@v/v1.2.3.zip""#,
        "/tile/8/0/x001/234",
        r#""comm":"git""#,
        r#""args":["git","fetch","…"]"#,
        "127.0.0.53",
        ",direct",
        "-mod=mod",
        "tip.golang.org",
        "/cache/lock",
        r#""idle":[[1,2]]"#,
        r#""remedies":["concurrency=16","http1","proxy=…","resolv=…","env=…"]"#,
    ] {
        assert!(all.contains(kept), "{kept} not in\n{all}");
    }
}

#[test]
fn protocols_and_settings_that_nobody_knows_are_private() {
    let mut anonymizer = Anonymizer::new();
    let connection = Connection {
        alpn: text("acme/1"),
        alpn_offered: Some(vec!["h2".into(), "acme/1".into(), "http/1.1".into()]),
        ..Connection::default()
    };
    let go = Go { godebug: text("http2client=0,acme=1,netdns=acme"), ..Go::default() };
    let command = Command { go, ..Command::default() };
    let bodies = [
        Body::Connection(connection),
        Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() }),
    ];
    let lines =
        bodies.map(|body| json::line(&anonymizer.event(&Event { at_ns: SinceStart(0), body })).unwrap());
    assert!(
        lines[0].contains(r#""alpn":"…""#) && lines[0].contains(r#"["h2","…","http/1.1"]"#),
        "{}",
        lines[0]
    );
    assert!(lines[1].contains(r#""godebug":"http2client=0,…,netdns=…""#), "{}", lines[1]);
}

#[test]
fn a_commit_becomes_another_of_the_same_shape() {
    let mut anonymizer = Anonymizer::new();
    let mut request = |version: &str| {
        let path = Some(format!("/git.corp/acme/@v/{version}.info"));
        let (module, class) = (text("git.corp/acme"), Class::Info);
        let request = Request { path, module, class, version: text(version), ..Request::default() };
        match anonymizer.event(&Event { at_ns: SinceStart(0), body: Body::Request(request) }).body {
            Body::Request(request) => (request.path.unwrap(), request.version.unwrap()),
            _ => <(String, String)>::default(),
        }
    };
    let of = |time: &str, n: u32| format!("v0.0.0-{time}-{n:012x}");
    let first = request("v0.0.0-20200823014737-9f7001d12a5f");
    assert_eq!(first.1, of("20200823014737", 1));
    assert_eq!(first.0, format!("/module-1/@v/{}.info", first.1));
    assert_eq!(
        request("v0.0.0-20210823014737-9f7001d12a5f+incompatible").1,
        of("20210823014737", 1) + "+incompatible"
    );
    assert_eq!(request("v0.0.0-20200823014737-0f7001d12a5f").1, of("20200823014737", 2));
    assert_eq!(request("v1.2.3").1, "v1.2.3");
}

#[test]
fn the_same_name_gets_the_same_pseudonym_and_another_another() {
    let mut anonymizer = Anonymizer::new();
    let mut host = |name: &str| {
        let dns = Dns { name: name.into(), ..Dns::default() };
        match anonymizer.event(&Event { at_ns: SinceStart(0), body: Body::Dns(dns) }).body {
            Body::Dns(dns) => dns.name,
            _ => String::new(),
        }
    };
    let first = host("proxy.test");
    assert_eq!((first.as_str(), host("PROXY.test")), ("host-1.example", "host-1.example".to_owned()));
    assert_eq!(host("git.corp"), "host-2.example");
    assert_eq!(host("proxy.test"), first);
    assert_eq!(host("github.com"), "github.com");
}
