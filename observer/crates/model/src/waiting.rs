//! A command's open operations in, what it waits for now in words out.

use std::collections::HashMap;

use super::event::{Earlier, LockWait, Waiting};
use super::operations::{InFlight, Subject};
use super::phases::WAITED_FOR;
use super::preexisting;
use super::record::{Class, Connection, Phase, Request};
use super::roles::{self, Waited};
use super::state::{CommandState, State};
use crate::id::{CommandId, DnsId};
use crate::time::{Ns, SinceStart};

/// A wait is announced when it is this old, and then again after each such time.
pub const EVERY_NS: Ns = 1_000_000_000;

/// What the command `id` waits for at `now`: the oldest of its open operations. `None` when none
/// is open, or the command has ended.
pub fn waiting(state: &State, id: CommandId, now: SinceStart) -> Option<Waiting> {
    Some(wait(state, id, now)?.0)
}

/// As [`waiting`], and when the operation began or was found.
fn wait(state: &State, id: CommandId, now: SinceStart) -> Option<(Waiting, SinceStart)> {
    let command = state.command(id)?;
    if command.record.as_ref().is_some_and(|record| record.wall_ns.is_some()) {
        return None;
    }
    let in_flight = command.in_flight(now);
    let op = oldest(&in_flight, now)?;
    Some((waiting_for(command, id, op, now), op.operation.start_ns))
}

/// The operation that is waited for, of all that were in flight.
pub fn oldest<'f, 'a>(in_flight: &'f [InFlight<'a>], now: SinceStart) -> Option<&'f InFlight<'a>> {
    // A build cache is there as long as the build, and mostly not waited for.
    let cache = |op: &InFlight<'_>| op.operation.phase == Phase::Cache;
    let open = in_flight.iter().filter(|op| op.open && op.operation.start_ns <= now && !cache(op));
    // A connection of which the kernel knows no more than its silence may be idle: it comes late. A child
    // is waited for when nothing else is.
    open.min_by_key(|op| {
        let late = if let Subject::Preexisting(connection) = op.subject {
            preexisting::rank(connection)
        } else {
            None
        };
        let child = WAITED_FOR.iter().position(|phase| op.is_child() && *phase == op.operation.phase);
        (child, late, op.operation.start_ns, op.operation.phase)
    })
}

/// What is said at `now` of a command that waits for that operation.
pub fn waiting_for(command: &CommandState, id: CommandId, op: &InFlight<'_>, now: SinceStart) -> Waiting {
    let unknown = Some(Earlier { age_ns: None });
    let earlier = match op.subject {
        Subject::Preexisting(connection) => Some(Earlier { age_ns: preexisting::age(connection) }),
        Subject::Helper(connection) if connection.joined_late => unknown,
        Subject::DnsWait(_) => unknown,
        Subject::Lock(wait) if wait.joined_late => unknown,
        _ => None,
    };
    // A socket may be older than the command that has it: it has not waited for longer than it ran.
    let lived = command
        .record
        .as_ref()
        .and_then(|record| Some(record.age_ns?.saturating_add(now.saturating_sub(record.start_ns))));
    let earlier = earlier.map(|earlier| Earlier {
        age_ns: earlier.age_ns.map(|age| lived.map_or(age, |lived| age.min(lived))),
    });
    let age_ns = earlier.and_then(|earlier| earlier.age_ns);
    Waiting {
        command: id,
        phase: op.operation.phase,
        host: op.operation.host.map(str::to_owned),
        since_ns: age_ns.map_or(op.operation.start_ns, |age| now.earlier_by(age)),
        earlier,
        summary: summary(command, op),
        because: None,
    }
}

/// Says when a wait is to be announced: first after a second, then each second. One that began
/// before it could be seen, nobody knows when, at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Announcer {
    /// By command: when the wait began or was found, and when it was announced last
    last: HashMap<CommandId, (SinceStart, SinceStart)>,
    /// By command: since when it waits, announced or not
    since: HashMap<CommandId, SinceStart>,
}

impl Announcer {
    /// The waits to announce at `now`, at most one a command.
    pub fn due(&mut self, state: &State, now: SinceStart) -> Vec<Waiting> {
        let mut due = Vec::new();
        let mut last = HashMap::new();
        self.since.clear();
        for (id, _) in state.commands() {
            let Some((waiting, start_ns)) = wait(state, id, now) else { continue };
            self.since.insert(id, start_ns);
            let former = self.last.get(&id).filter(|(start, _)| *start == start_ns);
            let age = waiting.earlier.map_or(Some(now.saturating_sub(start_ns)), |earlier| earlier.age_ns);
            let old = age.is_none_or(|age| age >= EVERY_NS);
            let is_due =
                old && former.is_none_or(|(_, announced)| now.saturating_sub(*announced) >= EVERY_NS);
            match former {
                _ if is_due => drop(last.insert(id, (start_ns, now))),
                Some(former) => drop(last.insert(id, *former)),
                None => {}
            }
            if is_due {
                due.push(waiting);
            }
        }
        self.last = last;
        due
    }

    /// Since when that command waited for something when last asked; `None` when for nothing.
    pub fn since(&self, command: CommandId) -> Option<SinceStart> {
        self.since.get(&command).copied()
    }
}

fn summary(command: &CommandState, op: &InFlight<'_>) -> String {
    match op.subject {
        Subject::Dns(query) => {
            let dns = &query.record;
            let again = if dns.attempt > 1 { format!(", attempt {}", dns.attempt) } else { String::new() };
            let behind = of_local_resolver(command, dns.id);
            format!(
                "an answer of the name server {}{behind} for {} ({}){again}",
                dns.server, dns.name, dns.qtype
            )
        }
        Subject::Connect(connection) => {
            let host = connection.host().unwrap_or("an unknown host");
            preexisting::handshake(host, connection.syn_retransmits)
        }
        Subject::Tls(connection) => {
            format!("a TLS handshake with {}", connection.host().unwrap_or("an unknown host"))
        }
        Subject::Tunnel(connection) => of_tunnel(connection),
        Subject::Helper(connection) => {
            let host = connection.host().unwrap_or("an unknown host");
            let who = format!("{} (pid {})", connection.comm, connection.pid);
            // Of its own connection ssh waits for somebody.
            if op.operation.phase == Phase::Auth
                && connection.ssh.is_some_and(|ssh| ssh.host_key_ns.is_some())
            {
                return format!("{who}, which has the host key of {host} and asks whether to trust it");
            }
            format!("{who} and its connection to {host}")
        }
        Subject::Preexisting(connection) => preexisting::summary(connection),
        Subject::DnsWait(wait) => {
            format!("an answer of the name server {} to a query that was not seen", wait.server)
        }
        Subject::Request(request) => of_request(op.operation.phase, request),
        Subject::Backoff(request) => of_backoff(request),
        Subject::Lock(wait) => of_lock(command, wait),
        Subject::Child(child) => of_child(command, &child),
    }
}

/// The child that go waits for: who it is, and who runs it.
fn of_child(command: &CommandState, child: &Waited<'_>) -> String {
    let roles = command.roles();
    let now = child.process.end_ns.unwrap_or(SinceStart::MAX);
    let (helper, _) = roles.helper(child.process, now).unwrap_or((child.process, None));
    let started = roles.started(child.process).map_or(child.process, |life| life.process);
    let by = if started.pid == helper.pid {
        String::new()
    } else {
        format!(", run by {} for go", roles::short(started))
    };
    if child.held {
        let parent = roles.ancestors(child.process).next();
        let parent = parent.map_or_else(|| "its parent".to_owned(), |life| roles::short(life.process));
        return format!("{} (pid {}), which outlived {parent}", roles::program(helper), helper.pid);
    }
    if child.reads_terminal() {
        let name = roles::program(child.process);
        return format!("{name} (pid {}){by}, which reads the terminal", child.process.pid);
    }
    if child.asks_agent() {
        let name = roles::program(child.process);
        return format!("the ssh agent that {name} (pid {}){by} asked (SSH_AUTH_SOCK)", child.process.pid);
    }
    let what = match child.phase {
        Phase::Auth => "the helper ",
        Phase::Cache => "the build cache's helper ",
        _ if roles::is_test(&helper.comm) => "the test binary ",
        _ => "",
    };
    let name =
        if child.phase == Phase::Vcs { roles::short(helper) } else { roles::program(helper).to_owned() };
    format!("{what}{name} (pid {}){by}", helper.pid)
}

fn of_tunnel(connection: &Connection) -> String {
    let proxy = connection.remote_host().unwrap_or("an unknown host");
    let Some(tunnel) = &connection.tunnel else { return format!("the forward proxy {proxy}") };
    let target = tunnel.target.as_deref().map_or_else(String::new, |target| format!(" {target}"));
    format!("the forward proxy {proxy}: {}{target} sent, no answer", tunnel.protocol.name())
}

/// What the server itself waits for, when it is a local stub resolver: the servers it has asked
/// and that have not answered.
fn of_local_resolver(command: &CommandState, id: DnsId) -> String {
    let passed_on = command.dns.values().filter(|query| query.record.on_behalf_of == Some(id));
    let open = passed_on.filter(|query| query.record.end_ns.is_none() && query.given_up_ns.is_none());
    let open: Vec<_> = open.map(|query| &query.record).collect();
    let Some(first) = open.first() else { return String::new() };
    let mut servers: Vec<&str> = open.iter().map(|dns| dns.server.as_str()).collect();
    servers.sort_unstable();
    servers.dedup();
    let name = if first.comm.is_empty() { String::new() } else { format!(" ({})", first.comm) };
    format!("{name}, which waits for {},", servers.join(" and "))
}

fn of_request(phase: Phase, request: &Request) -> String {
    let host = request.authority.as_deref().unwrap_or("an unknown host");
    let whom = if phase == Phase::Sumdb { "the checksum database" } else { host };
    let what = match request.class {
        Class::List => "list of versions",
        Class::Latest => "latest version",
        Class::Info => "info",
        Class::Mod => "go.mod",
        Class::Zip => "zip",
        Class::SumdbSupported => "is it served here",
        Class::SumdbLatest => "latest tree head",
        Class::SumdbLookup => "lookup",
        Class::SumdbTile => "tile",
        Class::Toolchain => "toolchain",
        Class::GoGet => "where is the repository of",
        Class::Other => "request",
    };
    let of = match (&request.module, &request.version, &request.path) {
        (Some(module), Some(version), _) => format!(" {module}@{version}"),
        (Some(module), None, _) => format!(" {module}"),
        (None, _, Some(path)) if matches!(request.class, Class::Other | Class::SumdbTile) => {
            format!(" {path}")
        }
        (None, ..) => String::new(),
    };
    format!("{whom}: {what}{of}")
}

fn of_backoff(request: &Request) -> String {
    let host = request.authority.as_deref().unwrap_or("an unknown host");
    format!("go itself, which pauses: {host} refused what it was asked for")
}

fn of_lock(command: &CommandState, wait: &LockWait) -> String {
    let cache = command.record.as_ref().and_then(|record| record.go.gomodcache.as_deref());
    let in_cache =
        |path: &&str| path.ends_with("/cache/lock") || cache.is_some_and(|cache| path.starts_with(cache));
    let repository =
        wait.repository.as_ref().map(|of| format!("the module cache's lock of the repository {of}"));
    let what = match wait.path.as_deref() {
        _ if repository.is_some() => repository.unwrap_or_default(),
        Some(path) if in_cache(&path) => "the module cache's lock".to_owned(),
        Some(path) => format!("the lock of {path}"),
        None => "a file lock".to_owned(),
    };
    match wait.holder {
        Some(pid) => format!("{what}, held by pid {pid}"),
        None => format!("{what}, holder unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, CommandUpdate, Event};
    use crate::id::{ConnectionId, Pid, RequestId};
    use crate::record::{Command, Dns, Preexisting};

    const S: Ns = 1_000_000_000;

    fn state(bodies: impl IntoIterator<Item = Body>) -> State {
        let mut state = State::new();
        bodies.into_iter().for_each(|body| state.apply(&Event { at_ns: SinceStart(0), body }));
        state
    }

    fn says(body: Body) -> String {
        waiting(&state([body]), CommandId(1), SinceStart(S)).unwrap().summary
    }

    fn request(class: Class) -> Request {
        Request {
            command: CommandId(1),
            id: RequestId(1),
            class,
            authority: Some("proxy.test".into()),
            module: Some("example.com/net".into()),
            version: Some("v0.40.0".into()),
            ..Request::default()
        }
    }

    #[test]
    fn every_kind_of_wait_is_said_in_words() {
        assert_eq!(
            says(Body::Request(request(Class::SumdbLookup))),
            "the checksum database: lookup example.com/net@v0.40.0"
        );
        assert_eq!(says(Body::Request(request(Class::Zip))), "proxy.test: zip example.com/net@v0.40.0");
        let dns = Dns {
            command: CommandId(1),
            server: "127.77.1.1:53".into(),
            name: "proxy.test".into(),
            qtype: "AAAA".into(),
            attempt: 1,
            ..Dns::default()
        };
        assert_eq!(
            says(Body::Dns(dns.clone())),
            "an answer of the name server 127.77.1.1:53 for proxy.test (AAAA)"
        );
        let dns = Dns { id: DnsId(3), ..dns };
        let upstream = Dns {
            id: DnsId(4),
            on_behalf_of: Some(DnsId(3)),
            comm: "dnsmasq".into(),
            server: "192.0.2.1:53".into(),
            start_ns: SinceStart(1),
            ..dns.clone()
        };
        let local_resolver = |upstream| {
            waiting(&state([Body::Dns(dns.clone()), Body::Dns(upstream)]), CommandId(1), SinceStart(S))
                .unwrap()
                .summary
        };
        assert_eq!(
            local_resolver(upstream.clone()),
            "an answer of the name server 127.77.1.1:53 (dnsmasq), which waits for 192.0.2.1:53, \
             for proxy.test (AAAA)"
        );
        assert_eq!(
            local_resolver(Dns { end_ns: Some(SinceStart(2)), ..upstream }),
            "an answer of the name server 127.77.1.1:53 for proxy.test (AAAA)"
        );
        let tcp =
            Connection { command: CommandId(1), remote: "192.0.2.1:443".into(), ..Connection::default() };
        assert_eq!(says(Body::Connection(tcp.clone())), "a TCP handshake with 192.0.2.1:443");
        let tls = Connection { connect_ns: Some(0), tls_start_ns: Some(SinceStart(0)), ..tcp.clone() };
        assert_eq!(says(Body::Connection(tls)), "a TLS handshake with 192.0.2.1:443");
        let git = Connection { pid: Pid(9), comm: "git-remote-http".into(), ..tcp };
        assert_eq!(
            says(Body::Connection(git)),
            "git-remote-http (pid 9) and its connection to 192.0.2.1:443"
        );
        let lock = LockWait {
            command: CommandId(1),
            path: Some("/m/cache/lock".into()),
            holder: Some(Pid(77)),
            ..LockWait::default()
        };
        assert_eq!(says(Body::Lock(lock)), "the module cache's lock, held by pid 77");
    }

    #[test]
    fn the_oldest_open_operation_is_the_one_waited_for() {
        let at =
            |id, start_ns, end_ns| Body::Request(Request { id, start_ns, end_ns, ..request(Class::Zip) });
        let state = state([
            at(RequestId(1), SinceStart(1), Some(SinceStart(2))),
            at(RequestId(2), SinceStart(5), None),
            at(RequestId(3), SinceStart(4), None),
        ]);
        assert_eq!(waiting(&state, CommandId(1), SinceStart(9)).unwrap().since_ns, SinceStart(4));
        assert_eq!(waiting(&state, CommandId(1), SinceStart(3)), None);
        assert_eq!(waiting(&state, CommandId(2), SinceStart(9)), None);
    }

    #[test]
    fn a_command_has_not_waited_for_longer_than_it_ran() {
        let preexisting = Preexisting { since_sent_ns: Some(10 * S), ..Preexisting::default() };
        let connection = Connection {
            command: CommandId(1),
            id: ConnectionId(1),
            remote: "192.0.2.1:443".into(),
            joined_late: true,
            bytes_sent: Some(9),
            bytes_received: Some(0),
            preexisting: Some(preexisting),
            ..Connection::default()
        };
        let age = |age_ns| {
            let command = Command { id: CommandId(1), age_ns, ..Command::default() };
            let update = CommandUpdate { command, ..CommandUpdate::default() };
            let state = state([Body::Command(update), Body::Connection(connection.clone())]);
            waiting(&state, CommandId(1), SinceStart(S)).unwrap().earlier.unwrap().age_ns
        };
        assert_eq!(
            (age(Some(2 * S)), age(Some(60 * S)), age(None)),
            (Some(3 * S), Some(10 * S), Some(10 * S))
        );
    }

    #[test]
    fn an_ended_command_waits_for_nothing() {
        let command = Command { id: CommandId(1), wall_ns: Some(1), ..Command::default() };
        let state = state([
            Body::Request(request(Class::Zip)),
            Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() }),
        ]);
        assert_eq!(waiting(&state, CommandId(1), SinceStart(S)), None);
    }

    #[test]
    fn a_wait_is_announced_after_a_second_and_then_each_second() {
        let mut state = state([Body::Request(request(Class::Zip))]);
        let mut announcer = Announcer::default();
        let times: Vec<SinceStart> = (0..35)
            .map(|n| SinceStart(n * S / 10))
            .filter(|now| !announcer.due(&state, *now).is_empty())
            .collect();
        assert_eq!(times, [S, 2 * S, 3 * S].map(SinceStart));
        let next = Request { id: RequestId(2), start_ns: SinceStart(4 * S), ..request(Class::Mod) };
        let done = Request { end_ns: Some(SinceStart(4 * S)), ..request(Class::Zip) };
        state.apply(&Event { at_ns: SinceStart(4 * S), body: Body::Request(done) });
        state.apply(&Event { at_ns: SinceStart(4 * S), body: Body::Request(next) });
        assert_eq!(announcer.due(&state, SinceStart(4 * S + S / 2)).len(), 0);
        assert_eq!(announcer.due(&state, SinceStart(5 * S)).len(), 1);
    }
}
