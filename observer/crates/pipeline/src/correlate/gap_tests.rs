//! Records that were lost to a full ring: what nobody saw is unknown, never invented.

use model::State;
use model::id::{CommandId, Pid, RequestId};
use model::record::{Phase, RequestOutcome};
use model::report::Report;
use model::time::SinceStart;
use observer_common::{EXEC_ROOT, EXIT_ROOT, Exec, Exit, Fork, Header, Interval, TreeTimes};
use zerocopy::FromZeros as _;

use super::*;

const S: u64 = 1_000_000_000;

/// A correlator and what it reported.
struct Reported {
    correlator: Correlator,
    events: Vec<Event>,
}

impl Reported {
    /// A command of process 10 that began at 1 s.
    fn new() -> Self {
        let mut reported = Self {
            correlator: Correlator::new(Monotonic(0), &Resolver { timeout_s: 5, ..Resolver::default() }),
            events: Vec::new(),
        };
        reported.record(S, EXEC_ROOT, Wire::Exec(Exec::new_zeroed(), b"sh\0"));
        reported
    }

    fn record(&mut self, at_ns: u64, flags: u16, body: Wire<'_>) {
        let header = Header { pid: 10, tid: 10, root: 2, flags, at_ns, ..Header::new_zeroed() };
        self.correlator.record(&Record { header, body }, &mut self.events);
    }

    /// An idle interval, and how long the tree has slept and worked by its end.
    fn interval(&mut self, start_ns: u64, end_ns: u64, idle_ns: u64) {
        let cpu_ns = end_ns - S - idle_ns;
        let times = TreeTimes { cpu_ns, idle_ns, ..TreeTimes::new_zeroed() };
        self.record(end_ns, 0, Wire::Interval(Interval { start_ns, end_ns, times }));
    }

    fn exit(&mut self, at_ns: u64, idle_ns: u64) {
        let times = TreeTimes { cpu_ns: at_ns - S - idle_ns, idle_ns, ..TreeTimes::new_zeroed() };
        self.record(at_ns, EXIT_ROOT, Wire::Exit(Exit { times, ..Exit::new_zeroed() }));
    }

    fn report(mut self) -> Report {
        self.correlator.flush(SinceStart(u64::MAX >> 1), &mut self.events);
        let mut state = State::new();
        self.events.iter().for_each(|event| state.apply(event));
        diagnose::report::report(&state)
    }
}

fn blocked(report: &Report, phase: Phase) -> u64 {
    report.commands[0].phases[phase as usize].blocked_ns
}

#[test]
fn a_sleep_whose_record_was_lost_is_unknown_and_no_work() {
    let mut reported = Reported::new();
    reported.interval(S + S / 10, 2 * S, S - S / 10);
    // Asleep from 2 to 9.9 s; the record of it, and the exit at 10 s, were lost.
    reported.correlator.gap(Monotonic(9 * S), Monotonic(11 * S));
    reported.correlator.ended(Pid(10), (Some(0), None), &mut reported.events);
    let report = reported.report();
    let command = &report.commands[0];
    assert_eq!((command.ended, command.exit_code), (true, Some(0)), "who waited for it knows");
    assert_eq!(command.wall_ns, 10 * S);
    assert_eq!(blocked(&report, Phase::Local), S / 10);
    assert_eq!((command.unknown_ns, blocked(&report, Phase::Unexplained)), (9 * S, 10 * S - S / 10));
    assert_eq!(command.local.map(|local| local.cpu_ns), Some(S / 10));
    assert_eq!((command.gaps[0].start_ns, command.gaps[0].end_ns), (SinceStart(2 * S), SinceStart(11 * S)));
    assert_eq!(report.processes[0].exit_code, Some(0));
}

#[test]
fn the_kernels_accounts_say_how_much_of_a_gap_was_sleep() {
    let mut reported = Reported::new();
    reported.interval(S + S / 10, 2 * S, S - S / 10);
    reported.correlator.gap(Monotonic(3 * S), Monotonic(6 * S));
    // It slept three seconds of which no record came, somewhere between 2 and 7 s.
    reported.interval(7 * S, 8 * S, 5 * S - S / 10);
    reported.exit(9 * S, 5 * S - S / 10);
    let report = reported.report();
    assert_eq!(report.commands[0].gaps[0].idle_ns, Some(3 * S));
    assert_eq!(report.commands[0].unknown_ns, 3 * S + S, "and what it waited for behind the gap");
    assert_eq!(blocked(&report, Phase::Local), 3 * S + S / 10);
}

#[test]
fn a_sleep_that_lasted_throughout_is_known() {
    let mut reported = Reported::new();
    reported.correlator.gap(Monotonic(3 * S), Monotonic(6 * S));
    reported.interval(2 * S, 8 * S, 6 * S);
    reported.exit(9 * S, 6 * S);
    let report = reported.report();
    assert_eq!(report.commands[0].gaps[0].idle_ns, Some(0));
    assert_eq!(blocked(&report, Phase::Local), 2 * S);
}

#[test]
fn a_process_whose_end_may_have_been_lost_is_not_said_to_run() {
    let mut reported = Reported::new();
    reported.record(2 * S, 0, Wire::Fork(Fork { child: 11, pad: 0 }));
    reported.correlator.gap(Monotonic(3 * S), Monotonic(6 * S));
    reported.exit(9 * S, 0);
    let report = reported.report();
    let child = report.processes.iter().find(|process| process.pid == Pid(11)).unwrap();
    assert_eq!((child.end_ns, child.exit_code), (None, None));
    let ending = model::words::process_ending(child, &report.commands[0]);
    assert_eq!(ending, "end not seen");
}

#[test]
fn a_request_open_before_a_gap_is_unknown_and_no_finding() {
    let mut reported = Reported::new();
    let mut state = State::new();
    let request = model::record::Request {
        command: CommandId(1),
        id: RequestId(1),
        pid: Pid(10),
        start_ns: SinceStart(2 * S),
        ..model::record::Request::default()
    };
    reported.events.push(Event { at_ns: SinceStart(2 * S), body: Body::Request(request) });
    reported.correlator.gap(Monotonic(3 * S), Monotonic(6 * S));
    reported.interval(6 * S + S / 2, 60 * S, 54 * S);
    reported.exit(61 * S, 54 * S);
    reported.events.iter().for_each(|event| state.apply(event));
    let report = diagnose::report::report(&state);
    assert_eq!(report.requests[0].outcome, RequestOutcome::Unknown);
    assert_eq!(report.commands[0].stalls, [], "nothing is known of it");
    assert_eq!(blocked(&report, Phase::Proxy), 0);
    assert!(report.commands[0].unknown_ns >= 53 * S);
}
