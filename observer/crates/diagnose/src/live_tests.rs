//! A command that goes on in, what is reported of it at each diagnosis out.

use StallState::{Lasts, Over, Withdrawn};
use model::event::{Body, CommandUpdate, Event};
use model::id::{CommandId, ConnectionId, DnsId, LockId, Pid, StallId};
use model::record::{Command, Connection, ConnectionOutcome, Dns, Local};
use model::time::SinceStart;

use super::*;

const MS: Ns = 1_000_000;
const S: Ns = 1_000_000_000;

/// A go command that sleeps all the time, looked at twice a second.
struct Live {
    state: State,
    reporter: Reporter,
    now: SinceStart,
}

impl Live {
    fn new() -> Self {
        let mut live = Self { state: State::new(), reporter: Reporter::default(), now: SinceStart::ZERO };
        live.command(None);
        live
    }

    fn report(&mut self, body: Body) {
        self.state.apply(&Event { at_ns: self.now, body });
    }

    fn command(&mut self, wall_ns: Option<Ns>) {
        let exit_code = wall_ns.map(|_| 0);
        let local = Some(Local::default());
        let command =
            Command { id: CommandId(1), pid: Pid(10), wall_ns, exit_code, local, ..Command::default() };
        let idle = wall_ns.map(|wall| vec![(SinceStart::ZERO, SinceStart(wall))]).unwrap_or_default();
        self.report(Body::Command(CommandUpdate { command, idle, gaps: Vec::new() }));
    }

    fn query(&mut self, id: DnsId, start_ns: SinceStart, change: impl FnOnce(&mut Dns)) {
        let server = "192.0.2.53:53".to_owned();
        let (name, qtype) = ("proxy.test".to_owned(), "A".to_owned());
        let mut dns = Dns {
            command: CommandId(1),
            id,
            pid: Pid(10),
            server,
            name,
            qtype,
            attempt: 1,
            start_ns,
            ..Dns::default()
        };
        change(&mut dns);
        self.report(Body::Dns(dns));
    }

    /// A hello that is not answered, or was by now.
    fn hello(&mut self, tls_ns: Option<Ns>) {
        let connection = Connection {
            command: CommandId(1),
            id: ConnectionId(1),
            pid: Pid(10),
            remote: "192.0.2.1:443".into(),
            server_name: Some("proxy.test".into()),
            start_ns: SinceStart(0),
            connect_ns: Some(10 * MS),
            tls_start_ns: Some(SinceStart(10 * MS)),
            tls_ns,
            tls_failed: tls_ns.is_some(),
            outcome: ConnectionOutcome::Open,
            ..Connection::default()
        };
        self.report(Body::Connection(connection));
    }

    /// What is reported until then: when, which kind, how.
    fn until(&mut self, time: SinceStart) -> Vec<(Ns, StallName, StallState, Severity)> {
        let mut reported = Vec::new();
        while self.now < time {
            self.now += S / 2;
            let due = self.reporter.due(
                &self.state,
                self.now,
                &BTreeMap::from([(CommandId(1), Some(SinceStart::ZERO))]),
                |_| None,
                |_| None,
            );
            for update in due {
                let severity = update.stall.severity;
                reported.push((self.now.0 / MS, update.stall.kind.clone(), update.state, severity));
                self.report(Body::Stall(update));
            }
        }
        reported
    }

    /// All of it again, at the end.
    fn end(&mut self) -> Vec<StallUpdate> {
        self.command(Some(self.now - SinceStart::ZERO));
        let reported = self.reporter.due(&self.state, self.now, &BTreeMap::new(), |_| None, |_| None);
        assert_eq!(
            self.reporter.due(&self.state, self.now, &BTreeMap::new(), |_| None, |_| None),
            [],
            "reported twice"
        );
        reported
    }
}

fn hello(at: Ns, state: StallState, severity: Severity) -> (Ns, StallName, StallState, Severity) {
    (at, StallKind::TlsHelloUnanswered.into(), state, severity)
}

#[test]
fn a_hang_is_reported_at_its_threshold_when_it_gets_critical_and_when_it_is_over() {
    let mut live = Live::new();
    live.hello(None);
    let reported = live.until(SinceStart(9 * S));
    assert_eq!(reported, [hello(2_500, Lasts, Severity::Warning), hello(5_500, Lasts, Severity::Critical)]);
    let because = live.reporter.because(CommandId(1)).unwrap();
    assert!(because.starts_with("proxy.test did not answer 1 ClientHello"), "{because}");
    live.hello(Some(9 * S));
    // Over when it has been quiet for a second, with the end that it had.
    assert_eq!(live.until(SinceStart(15 * S)), [hello(10_000, Over, Severity::Critical)]);
    assert_eq!(live.reporter.because(CommandId(1)), None);
}

#[test]
fn the_last_that_is_reported_is_what_the_report_says() {
    let mut live = Live::new();
    live.hello(None);
    live.until(SinceStart(9 * S));
    live.hello(Some(8 * S));
    let reported = live.end();
    let report = crate::stalls(live.state.command(CommandId(1)).unwrap(), live.now);
    assert_eq!(
        reported.iter().map(|update| &update.stall).collect::<Vec<_>>(),
        report.iter().collect::<Vec<_>>()
    );
    assert!(reported.iter().all(|update| update.state == Over && update.id == StallId(1)));
}

#[test]
fn what_has_another_reason_in_the_end_is_withdrawn() {
    let mut live = Live::new();
    live.hello(None);
    assert_eq!(live.until(SinceStart(3 * S)).len(), 1);
    // It was answered all along: the answer was seen late.
    live.report(Body::Connection(Connection {
        command: CommandId(1),
        id: ConnectionId(1),
        ..Connection::default()
    }));
    assert_eq!(live.until(SinceStart(9 * S)), [hello(4_000, Withdrawn, Severity::Warning)]);
    assert_eq!(live.end(), []);
}

#[test]
fn a_first_hiccup_is_no_warning_while_nobody_knows_how_long_the_command_takes() {
    let slow = |dns: &mut Dns| {
        (dns.rcode, dns.answers) = (Some("NOERROR".into()), Some(1));
        dns.end_ns = Some(dns.start_ns + 200 * MS);
    };
    let mut live = Live::new();
    live.query(DnsId(1), SinceStart(0), slow);
    assert_eq!(live.until(SinceStart(S / 2)), []);
    // Of half a second it is 40 per cent: the report calls it critical, and so does the end.
    let reported = live.end();
    assert_eq!(
        (reported.len(), reported[0].stall.severity, reported[0].state),
        (1, Severity::Critical, Over)
    );
    let mut longer = Live::new();
    longer.query(DnsId(1), SinceStart(0), slow);
    assert_eq!((longer.until(SinceStart(20 * S)), longer.end()), (vec![], vec![]));
}

#[test]
fn what_comes_and_goes_is_reported_a_few_times() {
    let mut live = Live::new();
    for round in 0..50 {
        let start = live.now;
        live.query(DnsId(round), start, |_| {});
        live.until(start + 4 * S);
        live.query(DnsId(round), start, |dns| (dns.end_ns, dns.timed_out) = (Some(start + 4 * S), true));
        live.until(start + 6 * S);
    }
    let known = &live.reporter.commands[&CommandId(1)].reported;
    let times: Vec<u32> = known.values().map(|reported| reported.times).collect();
    assert_eq!(times, [TELLINGS_MAX], "{known:?}");
    assert_eq!(live.end().len(), 1);
}

#[test]
fn a_command_with_very_many_stalls_is_reported_some_of_them() {
    let mut live = Live::new();
    for id in 0..500 {
        live.query(DnsId(id), SinceStart(0), |dns| dns.server = format!("192.0.2.{id}:53"));
    }
    assert_eq!(live.until(SinceStart(3 * S)).len(), STALLS_MAX);
    live.state.clear_command(CommandId(1));
    live.until(SinceStart(4 * S));
    assert!(live.reporter.commands.is_empty());
}

#[test]
fn a_reason_is_reported_only_of_the_wait_it_is_about() {
    let mut live = Live::new();
    live.hello(None);
    live.until(SinceStart(3 * S));
    // An older wait.
    live.report(Body::Lock(model::event::LockWait {
        command: CommandId(1),
        id: LockId(1),
        pid: Pid(10),
        ..Default::default()
    }));
    live.until(SinceStart(7 * S / 2));
    let because = live.reporter.because(CommandId(1)).unwrap().to_owned();
    assert!(because.starts_with("another process has the file lock"), "{because}");
    let mut other = Live::new();
    other.query(DnsId(1), SinceStart(0), |_| {});
    other.until(SinceStart(S));
    assert_eq!(other.reporter.because(CommandId(1)), None, "a second is nothing unusual");
}

#[test]
fn a_command_that_moves_is_looked_at_now_and_then_and_one_that_hangs_each_time() {
    let looked = |hangs_since: fn(SinceStart) -> SinceStart| {
        let mut live = Live::new();
        let mut looks = Vec::new();
        for now in (1..=6).map(|half| SinceStart(half * S / 2)) {
            live.command(None); // news
            live.reporter.due(&live.state, now, &BTreeMap::new(), |_| Some(hangs_since(now)), |_| None);
            looks.push(live.reporter.commands[&CommandId(1)].looked_ns == Some(now));
        }
        looks
    };
    assert_eq!(looked(|now| now - 10 * MS), [true, false, false, false, true, false]);
    assert_eq!(looked(|_| SinceStart(0)), [true; 6]);
}
