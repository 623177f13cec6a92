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
use crate::redact;
use names::Names;

/// Replaces names, consistently. Each record is taken apart field by field, without `..`: a new
/// field does not compile until somebody has decided what becomes of it.
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
            Body::Command(update) => Body::Command(self.update(update)),
            Body::Process(process) => Body::Process(self.process(process)),
            Body::Dns(dns) => Body::Dns(self.dns(dns)),
            Body::Connection(connection) => Body::Connection(self.connection(connection)),
            Body::Request(request) => Body::Request(self.request(request)),
            Body::Lock(wait) => Body::Lock(self.lock(wait)),
            Body::DnsWait(wait) => Body::DnsWait(self.dns_wait(wait)),
            Body::Waiting(waiting) => Body::Waiting(self.waiting(waiting)),
            Body::Stall(update) => Body::Stall(self.stall_update(update)),
            same @ (Body::Retransmission(_)
            | Body::Reset(_)
            | Body::Window(_)
            | Body::Loss(_)
            | Body::End(_)) => same.clone(),
        };
        Event { at_ns: event.at_ns, body }
    }

    fn session(&mut self, whole: &Session) -> Session {
        let Session { schema, tool, started_unix_ns, machine, remedies } = whole.clone();
        Session {
            schema,
            tool,
            started_unix_ns,
            machine: self.machine(machine),
            remedies: remedies.iter().map(|name| remedy(name)).collect(),
        }
    }

    fn machine(&mut self, whole: Machine) -> Machine {
        let Machine { kernel, arch, cpus, resolver } = whole;
        let Resolver { servers, search, timeout_s, attempts } = resolver;
        let resolver = Resolver {
            servers: servers.iter().map(|server| self.names.address(server)).collect(),
            search: search.iter().map(|name| self.names.host(name)).collect(),
            timeout_s,
            attempts,
        };
        Machine { kernel, arch, cpus, resolver }
    }

    fn update(&mut self, whole: &CommandUpdate) -> CommandUpdate {
        let CommandUpdate { command, idle } = whole.clone();
        CommandUpdate { command: self.command(&command), idle }
    }

    fn command(&mut self, whole: &Command) -> Command {
        let Command {
            id,
            pid,
            argv,
            uid,
            cwd,
            cgroup,
            start_ns,
            age_ns,
            wall_ns,
            exit_code,
            signal,
            go,
            local,
        } = whole.clone();
        Command {
            id,
            pid,
            argv: self.names.argv(&argv),
            uid: uid.filter(|uid| *uid == 0),
            cwd: cwd.map(|path| self.names.path(&path)),
            cgroup: cgroup.map(|path| self.names.path(&path)),
            start_ns,
            age_ns,
            wall_ns,
            exit_code,
            signal,
            go: self.go(go),
            local,
        }
    }

    fn go(&mut self, whole: Go) -> Go {
        let Go {
            version,
            binary,
            cgo,
            gomaxprocs,
            goproxy,
            gosumdb,
            goflags,
            godebug,
            gomodcache,
            gocache,
            caches_shared,
        } = whole;
        Go {
            version,
            binary: binary.map(|path| self.names.path(&path)),
            cgo,
            gomaxprocs,
            goproxy: goproxy.map(|list| self.names.proxies(&list)),
            gosumdb: gosumdb.map(|value| self.names.sumdb(&value)),
            goflags: goflags.map(|flags| self.names.words(&flags)),
            godebug: godebug.as_deref().map(redact::godebug),
            gomodcache: gomodcache.map(|path| self.names.path(&path)),
            gocache: gocache.map(|path| self.names.path(&path)),
            caches_shared,
        }
    }

    fn process(&mut self, whole: &Process) -> Process {
        let Process { command, pid, ppid, comm, args, start_ns, end_ns, exit_code, cpu_ns } = whole.clone();
        Process {
            command,
            pid,
            ppid,
            comm: self.names.program(&comm),
            args: self.names.argv(&args),
            start_ns,
            end_ns,
            exit_code,
            cpu_ns,
        }
    }

    fn dns(&mut self, whole: &Dns) -> Dns {
        let Dns {
            command,
            id,
            on_behalf_of,
            pid,
            comm,
            server,
            transport,
            name,
            qtype,
            attempt,
            rcode,
            answers,
            start_ns,
            end_ns,
            timed_out,
        } = whole.clone();
        Dns {
            command,
            id,
            on_behalf_of,
            pid,
            comm: self.names.program(&comm),
            server: self.names.address(&server),
            transport,
            name: self.names.host(&name),
            qtype,
            attempt,
            rcode,
            answers,
            start_ns,
            end_ns,
            timed_out,
        }
    }

    fn connection(&mut self, whole: &Connection) -> Connection {
        let Connection {
            command,
            id,
            pid,
            comm,
            local,
            remote,
            server_name,
            alpn,
            tls_version,
            start_ns,
            connect_ns,
            tls_ns,
            end_ns,
            outcome,
            syn_retransmits,
            retransmits,
            spurious_retransmits,
            received_out_of_order,
            resets,
            zero_windows,
            rtt_ns,
            bytes_sent,
            bytes_received,
            requests,
            tls_start_ns,
            tls_failed,
            joined_late,
            hello_bytes,
            alpn_offered,
            server_hello_ns,
            received_ns,
            stream_limit,
            goaway,
            found,
        } = whole.clone();
        Connection {
            command,
            id,
            pid,
            comm: self.names.program(&comm),
            local: self.names.address(&local),
            remote: self.names.address(&remote),
            server_name: server_name.map(|name| self.names.host(&name)),
            alpn: alpn.map(|name| protocol(&name)),
            tls_version,
            start_ns,
            connect_ns,
            tls_ns,
            end_ns,
            outcome,
            syn_retransmits,
            retransmits,
            spurious_retransmits,
            received_out_of_order,
            resets,
            zero_windows,
            rtt_ns,
            bytes_sent,
            bytes_received,
            requests,
            tls_start_ns,
            tls_failed,
            joined_late,
            hello_bytes,
            alpn_offered: alpn_offered.map(|all| all.iter().map(|name| protocol(name)).collect()),
            server_hello_ns,
            received_ns,
            stream_limit,
            goaway,
            found,
        }
    }

    fn request(&mut self, whole: &Request) -> Request {
        let Request {
            command,
            id,
            pid,
            connection,
            protocol,
            stream,
            method,
            authority,
            path,
            class,
            module,
            version,
            status,
            start_ns,
            first_byte_ns,
            end_ns,
            bytes,
            outcome,
            reset_code,
        } = whole.clone();
        let shown =
            path.map(|path| self.names.request_path(&path, class, module.as_deref(), version.as_deref()));
        Request {
            command,
            id,
            pid,
            connection,
            protocol,
            stream,
            method: method.map(|name| method_name(&name)),
            authority: authority.map(|name| self.names.host(&name)),
            path: shown,
            class,
            module: module.map(|module| self.names.module(&module)),
            version: version.map(|version| self.names.version(&version)),
            status,
            start_ns,
            first_byte_ns,
            end_ns,
            bytes,
            outcome,
            reset_code,
        }
    }

    fn lock(&mut self, whole: &LockWait) -> LockWait {
        let LockWait { command, id, pid, path, holder, start_ns, end_ns, joined_late } = whole.clone();
        LockWait {
            command,
            id,
            pid,
            path: path.map(|path| self.names.path(&path)),
            holder,
            start_ns,
            end_ns,
            joined_late,
        }
    }

    fn dns_wait(&mut self, whole: &DnsWait) -> DnsWait {
        let DnsWait { command, id, pid, comm, server, start_ns, end_ns } = whole.clone();
        DnsWait {
            command,
            id,
            pid,
            comm: self.names.program(&comm),
            server: self.names.address(&server),
            start_ns,
            end_ns,
        }
    }

    /// The words hold names; they are said anew from what is left.
    fn waiting(&mut self, whole: &Waiting) -> Waiting {
        let Waiting { command, phase, host, since_ns, earlier, summary: _, because: _ } = whole.clone();
        let host = host.map(|host| self.names.host(&host));
        let what = match phase {
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
        let summary = match (&host, phase) {
            (Some(host), _) => format!("{what} {host}"),
            (None, Phase::Lock | Phase::Local | Phase::Unexplained) => what.to_owned(),
            (None, _) => format!("{what} an unknown host"),
        };
        Waiting { command, phase, host, since_ns, earlier, summary, because: None }
    }

    /// What was seen holds names: the kind and whom it is about are left.
    fn stall(&mut self, whole: Stall) -> Stall {
        let Stall {
            kind,
            phase,
            host,
            severity,
            start_ns,
            end_ns,
            cost_ns,
            summary: _,
            evidence: _,
            advice,
            fatal,
            remedies,
        } = whole;
        let host = host.map(|host| match host.parse::<std::net::SocketAddr>() {
            Ok(_) => self.names.address(&host),
            Err(_) => self.names.host(&host),
        });
        let summary = match &host {
            Some(host) => format!("{kind} of {host}"),
            None => kind.clone(),
        };
        let remedies = remedies.into_iter().map(|Remedy { name, why, attempt: _ }| Remedy {
            name: remedy(&name),
            why,
            attempt: String::new(),
        });
        Stall {
            kind,
            phase,
            host,
            severity,
            start_ns,
            end_ns,
            cost_ns,
            summary,
            evidence: Vec::new(),
            advice,
            fatal,
            remedies: remedies.collect(),
        }
    }

    fn stall_update(&mut self, whole: &StallUpdate) -> StallUpdate {
        let StallUpdate { command, id, state, stall } = whole.clone();
        StallUpdate { command, id, state, stall: self.stall(stall) }
    }
}

/// A protocol as ALPN names it, when everybody knows it.
fn protocol(name: &str) -> String {
    const KNOWN: [&str; 8] = ["h2", "h2c", "h3", "http/1.0", "http/1.1", "acme-tls/1", "dot", "grpc-exp"];
    if KNOWN.contains(&name) { name.to_owned() } else { redact::HIDDEN.to_owned() }
}

/// A request's method, when it is one of HTTP's own.
fn method_name(name: &str) -> String {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH"];
    if KNOWN.contains(&name) { name.to_owned() } else { redact::HIDDEN.to_owned() }
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
    fn protocols_and_settings_that_nobody_knows_are_private() {
        let mut anonymizer = Anonymizer::new();
        let connection = Connection {
            alpn: text("acme/1"),
            alpn_offered: Some(vec!["h2".into(), "acme/1".into(), "http/1.1".into()]),
            ..Connection::default()
        };
        let go = Go { godebug: text("http2client=0,acme=1,netdns=acme"), ..Go::default() };
        let command = Command { go, ..Command::default() };
        let bodies =
            [Body::Connection(connection), Body::Command(CommandUpdate { command, idle: Vec::new() })];
        let lines = bodies.map(|body| json::line(&anonymizer.event(&Event { at_ns: 0, body })).unwrap());
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
            match anonymizer.event(&Event { at_ns: 0, body: Body::Request(request) }).body {
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
