//! Small recordings, made event by event: a healthy run, each family of stalls, many commands,
//! ten thousand requests, a connection joined late, loss.

use model::State;
use model::event::{Body, CommandUpdate, Event, LockWait, Mark, ResetMark, Session, WindowMark};
use model::id::{CommandId, ConnectionId, DnsId, LockId, Pid, RequestId};
use model::record::{
    Class, Command, Connection, ConnectionOutcome, Dns, Local, Loss, Process, Protocol, Request,
    RequestOutcome,
};
use model::time::{Ns, SinceStart};

pub(crate) const MS: Ns = 1_000_000;
pub(crate) const S: Ns = 1_000 * MS;

/// A recording being made, of one command unless asked otherwise.
pub(crate) struct Scene {
    events: Vec<Event>,
    command: CommandId,
    next: u32,
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Scene {
    fn new() -> Self {
        let session = Session {
            recording_id: None,
            schema: "goobserve.recording/1".into(),
            tool: "goobserve 0.1.0".into(),
            started_unix_ns: 1_767_225_600_000_000_000,
            machine: model::record::Machine {
                kernel: "6.18.0".into(),
                arch: "x86_64".into(),
                cpus: 2,
                ..Default::default()
            },
            remedies: Vec::new(),
            redacted: false,
        };
        let mut scene = Self { events: Vec::new(), command: CommandId(1), next: 1 };
        scene.at(0, Body::Session(session));
        scene.begin(1, 0, "/home/user/project");
        scene
    }

    fn at(&mut self, at_ns: Ns, body: Body) {
        self.events.push(Event { at_ns: SinceStart(at_ns), body });
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn record(id: u32, start_ns: Ns, cwd: &str) -> Command {
        Command {
            id: CommandId(id),
            pid: Pid(4000 + id),
            argv: strings(&["/usr/local/go/bin/go", "mod", "download"]),
            uid: Some(1000),
            cwd: Some(cwd.into()),
            start_ns: SinceStart(start_ns),
            local: Some(Local::default()),
            ..Command::default()
        }
    }

    fn begin(&mut self, id: u32, start_ns: Ns, cwd: &str) {
        self.command = CommandId(id);
        let command = Self::record(id, start_ns, cwd);
        let args = command.argv.clone();
        self.at(start_ns, Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() }));
        let process = Process {
            command: CommandId(id),
            pid: Pid(4000 + id),
            ppid: Pid(3999),
            comm: "go".into(),
            args,
            start_ns: SinceStart(start_ns),
            ..Process::default()
        };
        self.at(start_ns, Body::Process(process));
    }

    /// All of it asleep but the first tenth of a second and what is named.
    fn idle(&mut self, intervals: &[(Ns, Ns)], ended: Option<(Ns, i32)>) {
        let mut command = Self::record(self.command.0, 0, "/home/user/project");
        command.wall_ns = ended.map(|(wall, _)| wall);
        command.exit_code = ended.map(|(_, code)| code);
        command.local = Some(Local { cpu_ns: 100 * MS, ..Local::default() });
        let idle = intervals.iter().map(|&(from, to)| (SinceStart(from), SinceStart(to))).collect();
        let at = intervals.last().map_or(0, |interval| interval.1);
        self.at(at, Body::Command(CommandUpdate { command, idle, gaps: Vec::new() }));
    }

    fn dns(&mut self, name: &str, qtype: &str, attempt: u32, start: Ns, end: Option<Ns>, timed_out: bool) {
        let id = self.number();
        let dns = Dns {
            command: self.command,
            id: DnsId(id),
            pid: Pid(4000 + self.command.0),
            comm: "go".into(),
            server: "127.77.1.1:53".into(),
            name: name.into(),
            qtype: qtype.into(),
            attempt,
            start_ns: SinceStart(start),
            ..Dns::default()
        };
        self.at(start, Body::Dns(dns.clone()));
        let Some(end) = end else { return };
        let answered = !timed_out;
        let done = Dns {
            rcode: answered.then(|| "NOERROR".into()),
            answers: answered.then_some(1),
            end_ns: answered.then_some(SinceStart(end)),
            timed_out,
            ..dns
        };
        self.at(end, Body::Dns(done));
    }

    /// A connection that shook hands; its number.
    fn connection(&mut self, host: &str, start: Ns, change: impl FnOnce(&mut Connection)) -> u32 {
        let id = self.number();
        let mut connection = Connection {
            command: self.command,
            id: ConnectionId(id),
            pid: Pid(4000 + self.command.0),
            comm: "go".into(),
            local: "192.0.2.10:50412".into(),
            remote: "192.0.2.1:443".into(),
            server_name: Some(host.into()),
            alpn: Some("h2".into()),
            tls_version: Some("1.3".into()),
            start_ns: SinceStart(start),
            connect_ns: Some(20 * MS),
            tls_start_ns: Some(SinceStart(start + 20 * MS)),
            tls_ns: Some(30 * MS),
            rtt_ns: Some(21 * MS),
            bytes_sent: Some(4_200),
            bytes_received: Some(1_234_567),
            requests: 4,
            ..Connection::default()
        };
        change(&mut connection);
        self.at(start, Body::Connection(connection));
        id
    }

    fn request(&mut self, on: u32, class: Class, module: &str, start: Ns, end: Option<Ns>) -> u32 {
        self.request_with(on, class, module, start, end, |_| {})
    }

    fn request_with(
        &mut self,
        on: u32,
        class: Class,
        module: &str,
        start: Ns,
        end: Option<Ns>,
        change: impl FnOnce(&mut Request),
    ) -> u32 {
        let id = self.number();
        let mut request = Request {
            command: self.command,
            id: RequestId(id),
            pid: Pid(4000 + self.command.0),
            connection: Some(ConnectionId(on)),
            protocol: Protocol::H2,
            stream: Some(id * 2 - 1),
            method: Some("GET".into()),
            authority: Some("proxy.test".into()),
            path: Some(format!("/{module}/@v/v1.2.3")),
            class,
            module: Some(module.into()),
            version: Some("v1.2.3".into()),
            start_ns: SinceStart(start),
            ..Request::default()
        };
        if let Some(end) = end {
            request.first_byte_ns = Some(SinceStart(start + (end - start) * 2 / 3));
            request.end_ns = Some(SinceStart(end));
            request.status = Some(200);
            request.bytes = Some(31_400);
            request.outcome = RequestOutcome::Ok;
        }
        change(&mut request);
        self.at(end.unwrap_or(start), Body::Request(request));
        id
    }

    fn resolved(&mut self) {
        self.dns("proxy.test", "A", 1, 6 * MS, Some(26 * MS), false);
        self.dns("proxy.test", "AAAA", 1, 6 * MS, Some(28 * MS), false);
    }

    fn end(mut self, at: Ns) -> State {
        // The last event says how late it is.
        self.at(at, Body::Loss(Loss::default()));
        self.state()
    }

    fn state(mut self) -> State {
        self.events.sort_by_key(|event| event.at_ns);
        let mut state = State::new();
        self.events.iter().for_each(|event| state.apply(event));
        state
    }
}

/// Names and states; each is what a reader might come upon.
pub(crate) fn all() -> Vec<(&'static str, State)> {
    vec![
        ("healthy", healthy()),
        ("dns timeout", dns_timeout()),
        ("syn lost", syn_lost()),
        ("tls hello unanswered", tls_unanswered()),
        ("h2 loss", h2_loss()),
        ("slow zip", slow_zip()),
        ("sumdb slow", sumdb_slow()),
        ("lock", lock()),
        ("joined late and loss", slow_and_loss()),
        ("ten thousand requests", many_requests(10_000)),
        ("fifty commands", many_commands()),
        ("hostile names", hostile()),
    ]
}

pub(crate) fn healthy() -> State {
    let mut scene = Scene::new();
    scene.resolved();
    let first = scene.connection("proxy.test", 30 * MS, |_| {});
    scene.connection("proxy.test", 31 * MS, |connection| {
        connection.requests = 0;
        connection.outcome = ConnectionOutcome::Unused;
        connection.end_ns = Some(SinceStart(90 * MS));
    });
    for (n, module) in ["example.com/net", "example.com/sys", "example.com/text"].into_iter().enumerate() {
        let at = 90 * MS + n as Ns * 150 * MS;
        scene.request(first, Class::Info, module, at, Some(at + 40 * MS));
        scene.request(first, Class::Mod, module, at + 40 * MS, Some(at + 80 * MS));
        scene.request(first, Class::SumdbLookup, module, at + 80 * MS, Some(at + 130 * MS));
        scene.request(first, Class::Zip, module, at + 130 * MS, Some(at + 280 * MS));
    }
    scene.idle(&[(10 * MS, 700 * MS)], Some((800 * MS, 0)));
    scene.end(800 * MS)
}

pub(crate) fn dns_timeout() -> State {
    let mut scene = Scene::new();
    scene.dns("proxy.test", "A", 1, 6 * MS, Some(26 * MS), false);
    scene.dns("proxy.test", "AAAA", 1, 6 * MS, Some(5_006 * MS), true);
    scene.dns("proxy.test", "AAAA", 2, 5_006 * MS, None, false);
    scene.idle(&[(10 * MS, 8_200 * MS)], None);
    scene.end(8_200 * MS)
}

pub(crate) fn syn_lost() -> State {
    let mut scene = Scene::new();
    scene.resolved();
    let lost = scene.connection("", 30 * MS, |connection| {
        connection.server_name = None;
        (connection.alpn, connection.tls_version, connection.tls_start_ns) = (None, None, None);
        (connection.connect_ns, connection.tls_ns, connection.rtt_ns) = (None, None, None);
        (connection.syn_retransmits, connection.requests) = (2, 0);
        (connection.bytes_sent, connection.bytes_received) = (None, None);
    });
    for at in [1_030 * MS, 3_030 * MS] {
        scene.at(
            at,
            Body::Retransmission(Mark { command: CommandId(1), connection: ConnectionId(lost), syn: true }),
        );
    }
    scene.idle(&[(10 * MS, 4_500 * MS)], None);
    scene.end(4_500 * MS)
}

pub(crate) fn tls_unanswered() -> State {
    let mut scene = Scene::new();
    scene.resolved();
    scene.connection("proxy.test", 30 * MS, |connection| {
        (connection.alpn, connection.tls_version, connection.tls_ns) = (None, None, None);
        (connection.requests, connection.bytes_received) = (0, Some(0));
        connection.retransmits = 3;
    });
    scene.idle(&[(10 * MS, 6_400 * MS)], None);
    scene.end(6_400 * MS)
}

pub(crate) fn h2_loss() -> State {
    let mut scene = Scene::new();
    scene.resolved();
    let on = scene.connection("proxy.test", 30 * MS, |connection| {
        connection.retransmits = 4;
        connection.received_out_of_order = Some(17);
        connection.zero_windows = 1;
    });
    for (n, module) in
        ["example.com/net", "example.com/sys", "example.com/text", "example.com/tools"].iter().enumerate()
    {
        let at = 100 * MS + n as Ns * 20 * MS;
        scene.request(on, Class::Mod, module, at, Some(at + 60 * MS));
        scene.request_with(on, Class::Zip, module, at + 400 * MS, None, |request| {
            request.first_byte_ns = Some(SinceStart(at + 450 * MS));
            request.status = Some(200);
        });
    }
    for at in [900, 1_300, 2_100, 3_700] {
        scene.at(
            at * MS,
            Body::Retransmission(Mark { command: CommandId(1), connection: ConnectionId(on), syn: false }),
        );
    }
    let window = |zero| {
        Body::Window(WindowMark {
            command: CommandId(1),
            connection: ConnectionId(on),
            ours: true,
            zero,
            since_ns: None,
        })
    };
    scene.at(600 * MS, window(true));
    scene.at(700 * MS, window(false));
    scene.idle(&[(10 * MS, 5_200 * MS)], None);
    scene.end(5_200 * MS)
}

pub(crate) fn slow_zip() -> State {
    let mut scene = Scene::new();
    scene.resolved();
    let on = scene.connection("proxy.test", 30 * MS, |_| {});
    scene.request(on, Class::Mod, "example.com/net", 100 * MS, Some(140 * MS));
    scene.request(on, Class::SumdbLookup, "example.com/net", 140 * MS, Some(190 * MS));
    scene.request(on, Class::Zip, "example.com/net", 190 * MS, None);
    scene.idle(&[(10 * MS, 6_390 * MS)], None);
    scene.end(6_390 * MS)
}

pub(crate) fn sumdb_slow() -> State {
    let mut scene = Scene::new();
    scene.resolved();
    let on = scene.connection("proxy.test", 30 * MS, |_| {});
    for (n, module) in ["example.com/net", "example.com/sys"].iter().enumerate() {
        let at = 100 * MS + n as Ns * 2_500 * MS;
        scene.request(on, Class::Mod, module, at, Some(at + 60 * MS));
        scene.request(on, Class::SumdbLookup, module, at + 60 * MS, Some(at + 2_100 * MS));
        scene.request(on, Class::SumdbTile, module, at + 2_100 * MS, Some(at + 2_400 * MS));
    }
    scene.request(on, Class::Zip, "example.com/net", 400 * MS, Some(700 * MS));
    scene.request(on, Class::SumdbLookup, "example.com/text", 8 * S, None);
    scene.idle(&[(10 * MS, 14_200 * MS)], None);
    scene.end(14_200 * MS)
}

pub(crate) fn lock() -> State {
    let mut scene = Scene::new();
    let wait = LockWait {
        command: CommandId(1),
        id: LockId(1),
        pid: Pid(4001),
        path: Some("/home/user/go/pkg/mod/cache/lock".into()),
        repository: None,
        holder: Some(Pid(3_120)),
        start_ns: SinceStart(20 * MS),
        end_ns: None,
        joined_late: false,
    };
    scene.at(20 * MS, Body::Lock(wait));
    scene.idle(&[(20 * MS, 3_000 * MS)], None);
    scene.end(3_000 * MS)
}

pub(crate) fn slow_and_loss() -> State {
    let mut scene = Scene::new();
    let on = scene.connection("proxy.test", 0, |connection| {
        connection.joined_late = true;
        (connection.server_name, connection.alpn, connection.tls_version) = (None, None, None);
        (connection.connect_ns, connection.tls_start_ns, connection.tls_ns) = (None, None, None);
    });
    scene.request_with(on, Class::Other, "", 200 * MS, None, |request| {
        (request.module, request.version, request.path) = (None, None, None);
        (request.method, request.authority) = (None, None);
    });
    scene.request_with(on, Class::Zip, "example.com/net", 150 * MS, Some(190 * MS), |request| {
        request.outcome = RequestOutcome::Reset;
        (request.status, request.bytes) = (None, None);
    });
    scene.at(
        190 * MS,
        Body::Reset(ResetMark { command: CommandId(1), connection: ConnectionId(on), received: true }),
    );
    scene.idle(&[(10 * MS, 2_000 * MS)], None);
    let loss =
        Loss { kernel_events_lost: 12, events_undecoded: 1, connections_joined_late: 1, ..Loss::default() };
    scene.at(2_000 * MS, Body::Loss(loss));
    scene.state()
}

/// A command that has made so many requests.
pub(crate) fn many_requests(requests: u32) -> State {
    let mut scene = Scene::new();
    scene.resolved();
    let on: Vec<u32> = (0..3).map(|n| scene.connection("proxy.test", (30 + n) * MS, |_| {})).collect();
    for n in 0..requests {
        let at = 100 * MS + Ns::from(n) * 6 * MS;
        let took = MS * (5 + Ns::from(n * 7 % 90));
        let class = [Class::Info, Class::Mod, Class::SumdbLookup, Class::Zip][n as usize % 4];
        scene.request(on[n as usize % 3], class, &format!("example.com/m{}", n / 4), at, Some(at + took));
    }
    let end = 100 * MS + Ns::from(requests) * 6 * MS + 200 * MS;
    let intervals: Vec<(Ns, Ns)> =
        (0..end / (20 * MS)).map(|n| (n * 20 * MS, n * 20 * MS + 12 * MS)).collect();
    scene.idle(&intervals, None);
    scene.end(end)
}

pub(crate) fn many_commands() -> State {
    let mut scene = Scene::new();
    for id in 2..=50 {
        scene.begin(id, Ns::from(id) * 40 * MS, &format!("/home/user{}/service-{id}", id % 5));
        let host = if id % 4 == 0 { "sumdb.test" } else { "proxy.test" };
        let start = Ns::from(id) * 40 * MS + 30 * MS;
        let on = scene.connection(host, start, |_| {});
        let class = if id % 4 == 0 { Class::SumdbLookup } else { Class::Zip };
        let end = (id % 10 == 0).then_some(start + 900 * MS);
        scene.request_with(on, class, "example.com/net", start + 60 * MS, end, |request| {
            request.authority = Some(host.into());
        });
    }
    scene.end(9 * S)
}

pub(crate) fn hostile() -> State {
    let mut scene = Scene::new();
    scene.dns("\u{1b}[2Jproxy\u{202e}.test", "A", 1, 6 * MS, None, false);
    let on = scene.connection("\u{1b}]0;x\u{7}", 30 * MS, |_| {});
    scene.request(
        on,
        Class::Zip,
        "例え.test/\u{1b}[31m\u{200f}模块/very/long/path/of/a/module/that/goes/on",
        90 * MS,
        None,
    );
    scene.end(2 * S)
}
