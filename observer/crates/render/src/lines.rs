//! Events in, a line for each that says something new out: `watch` when stdout is no terminal.
//! The machine's form of the same is the recording, see `pipeline::record::Recorder`.

use std::collections::{HashMap, HashSet};

use diagnose::advice::next_step;
use diagnose::report;
use model::clean::clean;
use model::event::{Body, Event, LockWait, StallState, StallUpdate};
use model::human::{bytes, count, duration, moment, percent};
use model::id::{CommandId, ConnectionId, DnsId, LockId, Pid, RequestId};
use model::operations::is_go;
use model::record::{
    Command, Connection, ConnectionOutcome, Dns, Gap, Loss, Process, Request, RequestOutcome,
};
use model::time::SinceStart;
use model::{State, words};

use super::retransmits::{Retransmits, to};

/// Turns events into lines. Span events repeat what was reported before; each step is a line once.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// By command, the steps that were reported
    reported: HashMap<CommandId, HashSet<Step>>,
    again: Retransmits,
    loss: Loss,
}

/// A step in a span's life: what, its number (pid and start for a process), how far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    Began,
    Ended,
    Process(Pid, SinceStart),
    Dns(DnsId),
    Connected(ConnectionId),
    Greeted(ConnectionId),
    Closed(ConnectionId),
    Request(RequestId),
    LockWait(LockId),
    LockTaken(LockId),
}

impl Lines {
    /// Nothing reported yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The line for `event`, which `state` has taken in already; `None` when it says nothing new.
    /// Without its end, one line, safe for a terminal.
    pub fn line(&mut self, state: &State, event: &Event) -> Option<String> {
        let again = self.again.report(state, event);
        let (command, text) = match &event.body {
            Body::Session(_) | Body::End(_) => return None,
            Body::Loss(loss) => {
                if *loss == self.loss {
                    return None;
                }
                self.loss = *loss;
                (None, loss_line(loss))
            }
            Body::Command(update) => {
                let command = &update.command;
                let id = command.id;
                if let Some(text) = lost(&update.gaps) {
                    return Some(line(event.at_ns, Some(id), &text));
                }
                if command.wall_ns.is_some() {
                    let text = self.once(id, Step::Ended, || ended(state, command))?;
                    self.forget_ended(state, id);
                    (Some(id), text)
                } else {
                    (Some(id), self.once(id, Step::Began, || began(command))?)
                }
            }
            Body::Idle(update) => (Some(update.command), lost(&update.gaps)?),
            Body::Process(process) => (Some(process.command), self.process(process)?),
            Body::Dns(dns) => (Some(dns.command), again.or_else(|| self.dns(dns))?),
            Body::Connection(connection) => (Some(connection.command), self.connection(connection)?),
            Body::Request(request) => (Some(request.command), self.request(request)?),
            Body::RequestUpdate(update) => {
                let request = state.command(update.command)?.requests.get(&update.id)?;
                (Some(update.command), self.request(request)?)
            }
            Body::Lock(wait) => (Some(wait.command), self.lock(wait)?),
            Body::DnsWait(wait) => {
                let text = match wait.end_ns {
                    Some(_) => format!("waits no longer for the name server {}", wait.server),
                    None => format!("was found waiting for the name server {}", wait.server),
                };
                (Some(wait.command), text)
            }
            Body::Retransmission(mark) => (Some(mark.command), again?),
            Body::Reset(mark) => {
                let how = if mark.received { "received" } else { "sent" };
                (Some(mark.command), format!("reset {how}{}", to(state, mark.command, mark.connection)))
            }
            Body::Window(mark) => {
                let whose = if mark.ours { "our" } else { "the peer's" };
                let how = if mark.zero { "is full" } else { "is open again" };
                let text =
                    format!("{whose} receive window {how}{}", to(state, mark.command, mark.connection));
                (Some(mark.command), text)
            }
            Body::Waiting(waiting) => {
                let observed = Some(event.at_ns.saturating_sub(waiting.since_ns));
                let so_far = match waiting.earlier.map_or(observed, |earlier| earlier.age_ns) {
                    Some(age) => format!("has waited {}", duration(age)),
                    None => "waits, since when is not known,".to_owned(),
                };
                let because = waiting.because.as_deref().map(|why| format!(", because {why}"));
                let text = format!("{so_far} for {}{}", waiting.summary, because.unwrap_or_default());
                (Some(waiting.command), text)
            }
            Body::Stall(update) => (Some(update.command), stall(update)),
        };
        Some(line(event.at_ns, command, &text))
    }

    fn once(&mut self, command: CommandId, step: Step, text: impl FnOnce() -> String) -> Option<String> {
        self.reported.entry(command).or_default().insert(step).then(text)
    }

    /// Keeps only commands that still run, so that a day of watching does not grow it. Of the one
    /// that ended just now, that it did.
    fn forget_ended(&mut self, state: &State, id: CommandId) {
        self.reported.retain(|known, _| {
            state
                .command(*known)
                .is_some_and(|command| command.record.as_ref().is_none_or(|record| record.wall_ns.is_none()))
        });
        self.again.keep(|known| self.reported.contains_key(&known));
        self.reported.insert(id, HashSet::from([Step::Began, Step::Ended]));
    }

    fn process(&mut self, process: &Process) -> Option<String> {
        let end = process.end_ns?;
        if is_go(&process.comm) {
            return None;
        }
        self.once(process.command, Step::Process(process.pid, process.start_ns), || {
            let code = process.exit_code.map_or_else(String::new, |code| format!(", exit {code}"));
            let took = duration(end.saturating_sub(process.start_ns));
            let what =
                if process.args.is_empty() { process.comm.clone() } else { words::argv(&process.args) };
            format!("process {} ({what}) ended after {took}{code}", process.pid)
        })
    }

    fn dns(&mut self, dns: &Dns) -> Option<String> {
        if dns.end_ns.is_none() && !dns.timed_out {
            return None;
        }
        self.once(dns.command, Step::Dns(dns.id), || {
            let by = if dns.comm.is_empty() { "its stub resolver" } else { &dns.comm };
            let by = dns.on_behalf_of.map_or_else(String::new, |_| format!(" asked by {by} on its behalf"));
            let query = format!("dns {} ({}) of {}{by}", dns.name, dns.qtype, dns.server);
            if dns.refused {
                return format!("{query}: refused, nothing listens there");
            }
            let Some(end) = dns.end_ns else { return format!("{query}: given up, no answer") };
            let took = duration(end.saturating_sub(dns.start_ns));
            match (dns.rcode.as_deref(), dns.answers) {
                (Some(_), _) if dns.truncated => format!("{query}: cut short in {took}"),
                (Some("NOERROR") | None, Some(n)) => {
                    format!("{query}: {} in {took}", count(u64::from(n), "answer"))
                }
                (Some(rcode), _) => format!("{query}: {rcode} in {took}"),
                (None, None) => format!("{query}: answered in {took}"),
            }
        })
    }

    fn connection(&mut self, connection: &Connection) -> Option<String> {
        let host = || match connection.host() {
            Some(name) if name != connection.remote => format!("{name} ({})", words::remote(connection)),
            _ => connection.remote.clone(),
        };
        let failed = match connection.outcome {
            ConnectionOutcome::Refused => Some("refused"),
            ConnectionOutcome::TimedOut => Some("no answer"),
            ConnectionOutcome::Unreachable => Some("unreachable"),
            _ => None,
        };
        let (command, id) = (connection.command, connection.id);
        if let (Some(why), Some(took)) = (failed, connection.connect_ns) {
            return self.once(command, Step::Closed(id), || {
                format!("tcp to {} failed after {}: {why}", host(), duration(took))
            });
        }
        if connection.end_ns.is_some() {
            return self.once(command, Step::Closed(id), || {
                let requests = count(u64::from(connection.requests), "request");
                let again = match connection.retransmits {
                    0 => String::new(),
                    n => format!(", {} retransmitted", count(u64::from(n), "segment")),
                };
                format!("connection to {}: {}, {requests}{again}", host(), words::outcome(connection.outcome))
            });
        }
        if let Some(took) = connection.tls_ns {
            return self.once(command, Step::Greeted(id), || {
                if connection.tls_failed {
                    return format!("tls with {} failed after {}", host(), duration(took));
                }
                let version = connection.tls_version.as_deref().unwrap_or("of unknown version");
                let alpn = connection.alpn.as_deref().unwrap_or("unknown protocol");
                format!("tls {version} with {} in {}, {alpn}", host(), duration(took))
            });
        }
        let took = connection.connect_ns?;
        self.once(command, Step::Connected(id), || format!("tcp to {} in {}", host(), duration(took)))
    }

    fn request(&mut self, request: &Request) -> Option<String> {
        let end = request.end_ns?;
        self.once(request.command, Step::Request(request.id), || {
            let host = request.authority.as_deref().unwrap_or("unknown host");
            let what = match (&request.module, &request.version, &request.path) {
                (Some(module), Some(version), _) => format!("{module}@{version}"),
                (Some(module), None, _) => module.clone(),
                (None, _, Some(path)) => path.clone(),
                (None, _, None) => "path unknown".to_owned(),
            };
            let status = match (request.outcome, request.status) {
                (RequestOutcome::Reset, _) => "reset".to_owned(),
                (RequestOutcome::Cancelled, _) => "cancelled".to_owned(),
                (_, Some(status)) => status.to_string(),
                (_, None) => "no answer".to_owned(),
            };
            let took = duration(end.saturating_sub(request.start_ns));
            let class = words::class(request.class);
            format!(
                "{class} {what} of {host}: {status}, {}, {took}",
                request.bytes.map_or_else(|| "size unknown".to_owned(), bytes)
            )
        })
    }

    fn lock(&mut self, wait: &LockWait) -> Option<String> {
        let path = wait.path.as_deref().unwrap_or("a file");
        match wait.end_ns {
            Some(end) => self.once(wait.command, Step::LockTaken(wait.id), || {
                format!("has the lock of {path} after {}", duration(end.saturating_sub(wait.start_ns)))
            }),
            None => self.once(wait.command, Step::LockWait(wait.id), || {
                let holder = wait
                    .holder
                    .map_or_else(|| "holder unknown".to_owned(), |pid| format!("held by pid {pid}"));
                format!("waits for the lock of {path}, {holder}")
            }),
        }
    }
}

fn line(at_ns: SinceStart, command: Option<CommandId>, text: &str) -> String {
    let id = command.map_or_else(|| "-".to_owned(), |id| format!("#{id}"));
    clean(&format!("{:>9} s  {id:<4} {text}", moment(at_ns - SinceStart::ZERO))).into_owned()
}

/// Of a gap of which nothing more is known yet.
fn lost(gaps: &[Gap]) -> Option<String> {
    let gap = gaps.iter().find(|gap| gap.idle_ns.is_none())?;
    let took = duration(gap.end_ns.saturating_sub(gap.start_ns));
    Some(format!("records of the last {took} were lost: what happened meanwhile is not known"))
}

/// What was found, what it cost by now, and what can be tried.
fn stall(update: &StallUpdate) -> String {
    let stall = &update.stall;
    let (how, so_far) = match update.state {
        StallState::Lasts => ("", " so far"),
        StallState::Over => (" over", ""),
        StallState::Withdrawn => return format!("stall {} withdrawn: it was something else", stall.kind),
    };
    let (severity, cost) = (words::severity(stall.severity), duration(stall.cost_ns));
    let step = next_step(stall).filter(|_| update.state == StallState::Lasts);
    let step = step.map_or_else(String::new, |(how, step)| format!("; {how}: {step}"));
    format!("stall {}{how}, {severity}, cost {cost}{so_far}: {}{step}", stall.kind, stall.summary)
}

fn began(command: &Command) -> String {
    let how = match command.age_ns {
        Some(age) => format!("runs already, for {}", duration(age)),
        None => "begins".to_owned(),
    };
    format!("{how}: {} (pid {})", words::argv(&command.argv), command.pid)
}

/// A summary: how it ended, and the phases that cost most.
fn ended(state: &State, command: &Command) -> String {
    let ending = words::ending(true, command.exit_code, command.signal);
    let what = words::argv(&command.argv);
    let whole = state.command(command.id).and_then(|known| report::command(known, state.latest_ns()));
    let Some(whole) = whole else { return format!("ended: {what}, {ending}") };
    let mut phases: Vec<_> = whole.phases.iter().filter(|share| share.blocked_ns > 0).collect();
    phases.sort_by_key(|share| (std::cmp::Reverse(share.blocked_ns), share.phase));
    let phases: Vec<String> = phases
        .into_iter()
        .map(|share| format!("{} {}", share.phase.name(), percent(share.blocked_ns, whole.wall_ns)))
        .collect();
    format!("ended: {what}, {}, {ending}: {}", duration(whole.wall_ns), phases.join(", "))
}

fn loss_line(loss: &Loss) -> String {
    let mut line = format!(
        "not seen so far: {} lost, {} not understood, {} joined late, {} not examined",
        count(loss.kernel_events_lost, "kernel event"),
        count(loss.events_undecoded, "event"),
        count(loss.connections_joined_late, "connection"),
        count(loss.programs_unexamined, "program")
    );
    for (n, what, how) in crate::loss::of_the_kernel(loss) {
        if n > 0 {
            line += &format!(", {} {how}", count(n, what));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use model::event::{CommandUpdate, Mark, Waiting};
    use model::record::{Class, Phase};
    use model::report::{Remedy, Severity, Stall};
    use model::stall::StallKind;

    use super::*;
    use model::id::StallId;
    use model::time::Ns;

    /// Every line that the events give.
    fn lines(bodies: impl IntoIterator<Item = (Ns, Body)>) -> Vec<String> {
        let (mut state, mut lines) = (State::new(), Lines::new());
        let mut line = |(at_ns, body)| {
            let event = Event { at_ns: SinceStart(at_ns), body };
            state.apply(&event);
            lines.line(&state, &event)
        };
        bodies.into_iter().filter_map(&mut line).collect()
    }

    fn command(wall_ns: Option<Ns>) -> Body {
        let argv = ["go", "mod", "download"].map(str::to_owned).to_vec();
        let exit_code = wall_ns.map(|_| 0);
        let command =
            Command { id: CommandId(1), pid: Pid(77), argv, wall_ns, exit_code, ..Command::default() };
        Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() })
    }

    #[test]
    fn a_command_is_reported_at_its_beginning_and_summed_up_at_its_end() {
        let request = Request {
            command: CommandId(1),
            id: RequestId(1),
            class: Class::Zip,
            authority: Some("proxy.test".into()),
            module: Some("example.com/a".into()),
            version: Some("v1.0.0".into()),
            status: Some(200),
            end_ns: Some(SinceStart(1_500_000_000)),
            bytes: Some(2048),
            outcome: RequestOutcome::Ok,
            ..Request::default()
        };
        let again = Body::Request(request.clone());
        let end = Some(2_000_000_000);
        assert_eq!(
            lines([
                (0, command(None)),
                (1, command(None)),
                (1_500_000_000, Body::Request(request)),
                (1_600_000_000, again),
                (2_000_000_000, command(end)),
                (2_000_000_000, command(end)),
            ]),
            [
                "    0.000 s  #1   begins: go mod download (pid 77)",
                "    1.500 s  #1   zip example.com/a@v1.0.0 of proxy.test: 200, 2.05 kB, 1.50 s",
                "    2.000 s  #1   ended: go mod download, 2.00 s, exit 0: proxy 75 %, unexplained 25 %",
            ]
        );
    }

    #[test]
    fn a_connections_steps_are_a_line_each() {
        let syn = Connection {
            command: CommandId(1),
            id: ConnectionId(4),
            remote: "192.0.2.1:443".into(),
            ..Connection::default()
        };
        let tcp = Connection { connect_ns: Some(20_000_000), ..syn.clone() };
        let tls = Connection {
            server_name: Some("proxy.test".into()),
            tls_version: Some("1.3".into()),
            alpn: Some("h2".into()),
            tls_ns: Some(30_000_000),
            ..tcp.clone()
        };
        let mark = Mark { command: CommandId(1), connection: ConnectionId(4), syn: false };
        let closed = Connection {
            end_ns: Some(SinceStart(9)),
            outcome: ConnectionOutcome::Established,
            requests: 2,
            ..tls.clone()
        };
        let reported = lines(
            [
                Body::Connection(syn),
                Body::Connection(tcp),
                Body::Connection(tls),
                Body::Retransmission(mark),
                Body::Connection(closed),
            ]
            .map(|body| (0, body)),
        );
        let reported: Vec<&str> = reported.iter().map(|line| &line[18..]).collect();
        assert_eq!(
            reported,
            [
                "tcp to 192.0.2.1:443 in 20.0 ms",
                "tls 1.3 with proxy.test (192.0.2.1:443) in 30.0 ms, h2",
                "segment retransmitted on the connection to proxy.test",
                "connection to proxy.test (192.0.2.1:443): closed in order, 2 requests",
            ]
        );
    }

    #[test]
    fn waits_say_how_long_and_what_for() {
        let waiting = Waiting {
            command: CommandId(1),
            phase: Phase::Lock,
            host: None,
            since_ns: SinceStart(0),
            earlier: None,
            summary: "a\u{1b}b".into(),
            because: None,
        };
        let why = Waiting { because: Some("c\u{1b}d".into()), ..waiting.clone() };
        assert_eq!(
            lines([waiting, why].map(|waiting| (3_000_000_000, Body::Waiting(waiting)))),
            [
                "    3.000 s  #1   has waited 3.00 s for a\\x1bb",
                "    3.000 s  #1   has waited 3.00 s for a\\x1bb, because c\\x1bd"
            ]
        );
    }

    #[test]
    fn a_stall_is_a_line_when_it_begins_and_when_it_is_over() {
        let remedy = Remedy { name: "http1".into(), why: "x".into(), attempt: "goobserve compare".into() };
        let stall = Stall {
            kind: StallKind::H2Silent.into(),
            phase: Phase::Proxy,
            host: None,
            severity: Severity::Warning,
            start_ns: SinceStart(0),
            end_ns: SinceStart(3),
            cost_ns: 3_000_000_000,
            summary: "proxy.test fell \u{1b}silent".into(),
            evidence: Vec::new(),
            advice: String::new(),
            fatal: false,
            remedies: vec![remedy],
        };
        let reported = [StallState::Lasts, StallState::Over, StallState::Withdrawn].map(|state| {
            let update = StallUpdate { command: CommandId(1), id: StallId(1), state, stall: stall.clone() };
            (3_000_000_000, Body::Stall(update))
        });
        let reported = lines(reported);
        let reported: Vec<&str> = reported.iter().map(|line| &line[18..]).collect();
        assert_eq!(
            reported,
            [
                "stall h2-silent, warning, cost 3.00 s so far: proxy.test fell \\x1bsilent; try: goobserve compare",
                "stall h2-silent over, warning, cost 3.00 s: proxy.test fell \\x1bsilent",
                "stall h2-silent withdrawn: it was something else",
            ]
        );
    }

    #[test]
    fn loss_is_reported_when_it_changes() {
        let loss = Loss { kernel_events_lost: 1, ..Loss::default() };
        let reported = lines([Loss::default(), loss, loss].map(|loss| (0, Body::Loss(loss))));
        assert_eq!(reported.len(), 1);
        assert!(reported[0].contains("1 kernel event lost"));
    }

    #[test]
    fn ended_commands_are_forgotten() {
        let (mut state, mut lines) = (State::new(), Lines::new());
        for id in 1..100 {
            let command = Command { id: CommandId(id), wall_ns: Some(1), ..Command::default() };
            let body = Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() });
            let event = Event { at_ns: SinceStart(1), body };
            state.apply(&event);
            assert!(lines.line(&state, &event).is_some());
        }
        assert_eq!(lines.reported.len(), 1);
    }
}
