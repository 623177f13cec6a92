//! Events in, the same events without names that belong to a company or a person out. The same
//! name becomes the same pseudonym throughout one [`Anonymizer`], so what belongs together still
//! can be seen to.
//!
//! Kept: times, sizes, statuses, classes, versions, well-known public hosts, loopback addresses,
//! names of well-known programs, the go command's own words. Everything else is replaced; what
//! cannot be told apart is taken as private.

mod names;

use super::event::{Body, CommandUpdate, DnsWait, Event, LockWait, Session, StallUpdate, Waiting};
use super::record::{Command, Connection, Dns, Go, Machine, Phase, Process, Request, Resolver};
use super::report::{Remedy, Stall};
use names::Names;

/// Replaces names, consistently.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Anonymizer {
    names: Names,
}

impl Anonymizer {
    /// Knows no name yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `event` without private names.
    pub fn event(&mut self, event: &Event) -> Event {
        let body = match &event.body {
            Body::Session(session) => Body::Session(self.session(session)),
            Body::Command(update) => Body::Command(CommandUpdate {
                command: self.command(&update.command),
                idle: update.idle.clone(),
            }),
            Body::Process(process) => Body::Process(self.process(process)),
            Body::Dns(dns) => Body::Dns(self.dns(dns)),
            Body::Connection(connection) => Body::Connection(self.connection(connection)),
            Body::Request(request) => Body::Request(self.request(request)),
            Body::Lock(wait) => Body::Lock(self.lock(wait)),
            Body::DnsWait(wait) => Body::DnsWait(DnsWait {
                comm: self.names.program(&wait.comm),
                server: self.names.address(&wait.server),
                ..wait.clone()
            }),
            Body::Waiting(waiting) => Body::Waiting(self.waiting(waiting)),
            Body::Stall(update) => {
                Body::Stall(StallUpdate { stall: self.stall(&update.stall), ..update.clone() })
            }
            same @ (Body::Retransmission(_)
            | Body::Reset(_)
            | Body::Window(_)
            | Body::Loss(_)
            | Body::End(_)) => same.clone(),
        };
        Event { at_ns: event.at_ns, body }
    }

    fn session(&mut self, session: &Session) -> Session {
        let resolver = &session.machine.resolver;
        let resolver = Resolver {
            servers: resolver.servers.iter().map(|server| self.names.address(server)).collect(),
            search: resolver.search.iter().map(|name| self.names.host(name)).collect(),
            ..*resolver
        };
        let machine = Machine { resolver, ..session.machine.clone() };
        let remedies = session.remedies.iter().map(|remedy| self::remedy(remedy)).collect();
        Session { machine, remedies, ..session.clone() }
    }

    fn command(&mut self, command: &Command) -> Command {
        let go = &command.go;
        let go = Go {
            binary: go.binary.as_deref().map(|path| self.names.path(path)),
            goproxy: go.goproxy.as_deref().map(|list| self.names.proxies(list)),
            gosumdb: go.gosumdb.as_deref().map(|value| self.names.sumdb(value)),
            goflags: go.goflags.as_deref().map(|flags| self.names.words(flags)),
            gomodcache: go.gomodcache.as_deref().map(|path| self.names.path(path)),
            gocache: go.gocache.as_deref().map(|path| self.names.path(path)),
            // Patterns of private names: a pseudonym would not say what they cover.
            goprivate: None,
            gonoproxy: None,
            gonosumdb: None,
            ..go.clone()
        };
        Command {
            argv: self.names.argv(&command.argv),
            uid: command.uid.filter(|uid| *uid == 0),
            cwd: command.cwd.as_deref().map(|path| self.names.path(path)),
            cgroup: command.cgroup.as_deref().map(|path| self.names.path(path)),
            go,
            ..command.clone()
        }
    }

    fn process(&mut self, process: &Process) -> Process {
        let comm = self.names.program(&process.comm);
        Process { comm, args: self.names.argv(&process.args), ..process.clone() }
    }

    fn dns(&mut self, dns: &Dns) -> Dns {
        Dns {
            comm: self.names.program(&dns.comm),
            server: self.names.address(&dns.server),
            name: self.names.host(&dns.name),
            ..dns.clone()
        }
    }

    fn connection(&mut self, connection: &Connection) -> Connection {
        Connection {
            comm: self.names.program(&connection.comm),
            local: self.names.address(&connection.local),
            remote: self.names.address(&connection.remote),
            server_name: connection.server_name.as_deref().map(|name| self.names.host(name)),
            ..connection.clone()
        }
    }

    fn request(&mut self, request: &Request) -> Request {
        let module = request.module.as_deref().map(|module| self.names.module(module));
        let path = request.path.as_deref().map(|path| {
            self.names.request_path(
                path,
                request.class,
                request.module.as_deref(),
                request.version.as_deref(),
            )
        });
        let authority = request.authority.as_deref().map(|authority| self.names.host(authority));
        let version = request.version.as_deref().map(Names::version);
        Request { authority, path, module, version, ..request.clone() }
    }

    fn lock(&mut self, wait: &LockWait) -> LockWait {
        LockWait { path: wait.path.as_deref().map(|path| self.names.path(path)), ..wait.clone() }
    }

    /// The words hold names; they are said anew from what is left.
    fn waiting(&mut self, waiting: &Waiting) -> Waiting {
        let host = waiting.host.as_deref().map(|host| self.names.host(host));
        let what = match waiting.phase {
            Phase::Dns => "an answer of the name server",
            Phase::Connect => "a TCP handshake with",
            Phase::Tls => "a TLS handshake with",
            Phase::Proxy => "an answer of the module proxy",
            Phase::Sumdb => "the checksum database at",
            Phase::Toolchain => "a toolchain of",
            Phase::Vcs => "a version control server:",
            Phase::Lock => "a file lock",
            Phase::Local => "this machine",
            Phase::Unexplained => "something not seen",
        };
        let summary = match (&host, waiting.phase) {
            (Some(host), _) => format!("{what} {host}"),
            (None, Phase::Lock | Phase::Local | Phase::Unexplained) => what.to_owned(),
            (None, _) => format!("{what} an unknown host"),
        };
        Waiting { host, summary, because: None, ..waiting.clone() }
    }

    /// What was seen holds names: the kind and whom it is about are left.
    fn stall(&mut self, stall: &Stall) -> Stall {
        let host = stall.host.as_deref().map(|host| match host.parse::<std::net::SocketAddr>() {
            Ok(_) => self.names.address(host),
            Err(_) => self.names.host(host),
        });
        let summary = match &host {
            Some(host) => format!("{} of {host}", stall.kind),
            None => stall.kind.clone(),
        };
        let remedies = stall.remedies.iter().map(|remedy| Remedy {
            name: self::remedy(&remedy.name),
            why: remedy.why.clone(),
            attempt: String::new(),
        });
        Stall { host, summary, evidence: Vec::new(), remedies: remedies.collect(), ..stall.clone() }
    }
}

/// A remedy's name; its value only where it is a number.
fn remedy(remedy: &str) -> String {
    match remedy.split_once('=') {
        Some((name, value)) if value.parse::<u32>().is_err() => format!("{name}=…"),
        _ => remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::StallState;
    use crate::model::json;
    use crate::model::record::Class;
    use crate::model::report::Severity;

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
            id: 1,
            argv: words("/home/alice/bin/go get -x -modfile=/home/alice/go.mod git.corp/Acme/billing@v1.2.3"),
            uid: Some(1000),
            cwd: text("/home/alice/acme"),
            cgroup: text("/user.slice/user-1000.slice/acme"),
            go: Go {
                binary: text("/home/alice/go/bin/go"),
                goproxy: text("https://alice:s3cret@proxy.test/acme,direct"),
                gosumdb: text("tip.golang.org https://sum.corp"),
                goflags: text("-mod=mod -ldflags=-X=acme"),
                gomodcache: text("/home/alice/go/pkg/mod"),
                gocache: text("/home/alice/.cache/go-build"),
                goprivate: text("git.corp/Acme"),
                gonoproxy: text("git.corp/Acme"),
                gonosumdb: text("git.corp/Acme"),
                ..Go::default()
            },
            ..Command::default()
        };
        let resolver =
            Resolver { servers: words("10.1.2.3 127.0.0.53"), search: words("corp"), ..Resolver::default() };
        let machine = Machine { resolver, ..Machine::default() };
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
            command: 1,
            phase: Phase::Proxy,
            host: text("proxy.test"),
            since_ns: 0,
            earlier: None,
            summary: "proxy.test: zip git.corp/Acme/billing@v1.2.3".into(),
            because: text("proxy.test took long"),
        };
        let stall = Stall {
            kind: "proxy-slow".into(),
            phase: Phase::Proxy,
            host: text("proxy.test"),
            severity: Severity::Warning,
            start_ns: 0,
            end_ns: 1,
            cost_ns: 1,
            summary: "proxy.test took long before 1 answer".into(),
            evidence: words("/acme/x: no head"),
            advice: String::new(),
            fatal: false,
            remedies: vec![Remedy {
                name: "proxy=https://proxy.corp".into(),
                why: "another".into(),
                attempt: "goobserve compare --with proxy=https://proxy.corp -- go get git.corp/acme".into(),
            }],
        };
        let stall = StallUpdate { command: 1, id: 1, state: StallState::Lasts, stall };
        let bodies = [
            Body::Session(Session {
                schema: "s".into(),
                tool: "t".into(),
                started_unix_ns: 0,
                machine,
                remedies,
            }),
            Body::Command(CommandUpdate { command, idle: vec![(1, 2)] }),
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
        bodies.into_iter().map(|body| Event { at_ns: 3, body }).collect()
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
    fn the_same_name_gets_the_same_pseudonym_and_another_another() {
        let mut anonymizer = Anonymizer::new();
        let mut host = |name: &str| {
            let dns = Dns { name: name.into(), ..Dns::default() };
            match anonymizer.event(&Event { at_ns: 0, body: Body::Dns(dns) }).body {
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
}
