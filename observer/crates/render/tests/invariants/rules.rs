//! A report in, every pair of its figures that cannot both be true out.

use std::collections::BTreeMap;

use model::Report;
use model::id::ConnectionId;
use model::record::{ConnectionOutcome, Phase, RequestOutcome};
use model::report::{Command, Severity};
use model::time::{Ns, SinceStart};

/// What contradicts what, in words; empty when nothing does.
pub(crate) fn contradictions(report: &Report) -> Vec<String> {
    let mut wrong = Wrong(Vec::new());
    report.commands.iter().for_each(|command| self::command(&mut wrong, report, command));
    spans(&mut wrong, report);
    outcomes(&mut wrong, report);
    wrong.0
}

struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

fn command(wrong: &mut Wrong, report: &Report, command: &Command) {
    let id = command.id;
    let blocked = |phase: Phase| command.phases[phase as usize].blocked_ns;
    let sum: Ns = command.phases.iter().map(|share| share.blocked_ns).sum();
    wrong.unless(sum == command.wall_ns, || format!("#{id}: phases {sum}, wall {}", command.wall_ns));
    wrong.unless(command.unknown_ns <= blocked(Phase::Unexplained), || {
        format!("#{id}: {} unknown of {} unexplained", command.unknown_ns, blocked(Phase::Unexplained))
    });
    wrong.unless(command.start_ns + command.wall_ns <= SinceStart::ZERO + report.duration_ns, || {
        format!("#{id}: ends at {:?} of {}", command.start_ns + command.wall_ns, report.duration_ns)
    });
    if let Some(local) = command.local {
        let parts = local.cpu_ns + local.runqueue_ns + local.disk_ns;
        wrong.unless(parts == blocked(Phase::Local), || format!("#{id}: local {local:?} of {parts}"));
    }
    for share in &command.phases {
        let known = [share.p50_ns, share.p95_ns, share.p99_ns, share.max_ns];
        let ordered = known.is_sorted() && known.iter().all(|ns| ns.is_some() == (share.count > 0));
        wrong.unless(ordered && share.errors <= share.count, || format!("#{id}: {share:?}"));
        let in_flight = share.phase < Phase::Local;
        wrong.unless(
            !in_flight || share.blocked_ns <= share.busy_ns && share.busy_ns <= command.wall_ns,
            || format!("#{id}: {share:?} of {}", command.wall_ns),
        );
    }
    let mut by_phase: BTreeMap<Phase, Ns> = BTreeMap::new();
    for host in &command.hosts {
        let parts: Ns = host.phases.values().sum();
        wrong.unless(parts == host.blocked_ns, || format!("#{id}: {host:?}"));
        host.phases.iter().for_each(|(phase, ns)| *by_phase.entry(*phase).or_default() += ns);
    }
    for (phase, ns) in by_phase {
        wrong.unless(ns <= blocked(phase), || format!("#{id}: hosts {ns} of {phase:?} {}", blocked(phase)));
    }
    let mut costs: BTreeMap<Phase, Ns> = BTreeMap::new();
    for stall in &command.stalls {
        let own = stall.severity > Severity::Info && !stall.kind.is_over_others();
        wrong.unless(stall.cost_ns <= blocked(stall.phase), || format!("#{id}: {stall:?}"));
        *costs.entry(stall.phase).or_default() += if own { stall.cost_ns } else { 0 };
        wrong.unless(stall.start_ns <= stall.end_ns, || format!("#{id}: {stall:?}"));
    }
    for (phase, ns) in costs {
        wrong.unless(ns <= blocked(phase), || {
            let stalls: Vec<_> =
                command.stalls.iter().map(|stall| (&stall.kind, stall.phase, stall.cost_ns)).collect();
            format!("#{id}: stalls cost {ns} of {phase:?} {}: {stalls:?}", blocked(phase))
        });
    }
    let how = (command.ended, command.exit_code, command.signal);
    let lost = !command.gaps.is_empty();
    wrong.unless(
        match how {
            (true, Some(_), None) | (true, None, Some(_)) | (false, None, None) => true,
            (true, None, None) => lost,
            _ => false,
        },
        || format!("#{id}: {how:?}"),
    );
}

fn spans(wrong: &mut Wrong, report: &Report) {
    let until = SinceStart::ZERO + report.duration_ns;
    let mut span = |what: String, start: SinceStart, end: Option<SinceStart>| {
        wrong.unless(end.is_none_or(|end| start <= end && end <= until), || {
            format!("{what} from {start:?} to {end:?} of {until:?}")
        });
    };
    for process in &report.processes {
        span(format!("process {}", process.pid), process.start_ns, process.end_ns);
    }
    report.dns.iter().for_each(|dns| span(format!("query {}", dns.id), dns.start_ns, dns.end_ns));
    for connection in &report.connections {
        let (id, start) = (connection.id, connection.start_ns);
        span(format!("connection {id}"), start, connection.end_ns);
    }
    for request in &report.requests {
        let first = request.first_byte_ns.or(request.end_ns);
        span(format!("head of {request:?}"), request.start_ns, first);
        span(format!("{request:?}"), first.unwrap_or(request.start_ns), request.end_ns);
    }
}

fn outcomes(wrong: &mut Wrong, report: &Report) {
    let mut carried: BTreeMap<ConnectionId, u32> = BTreeMap::new();
    for request in &report.requests {
        request.connection.iter().for_each(|id| *carried.entry(*id).or_default() += 1);
        let (outcome, ended) = (request.outcome, request.end_ns.is_some());
        let fits = match outcome {
            RequestOutcome::Ok => ended && request.status.is_none_or(|status| status < 400),
            RequestOutcome::Error | RequestOutcome::Reset | RequestOutcome::Cancelled => ended,
            RequestOutcome::Open => !ended,
            RequestOutcome::Unknown => {
                let command = report.commands.iter().find(|command| command.id == request.command);
                command.is_none_or(|command| command.may_miss_end(request.start_ns))
            }
        };
        wrong.unless(fits, || format!("{request:?}"));
    }
    for connection in &report.connections {
        let listed = carried.get(&connection.id).copied().unwrap_or_default();
        let lost = report.loss.events_undecoded + report.loss.kernel_events_lost > 0;
        wrong
            .unless(lost || listed == connection.requests, || format!("{listed} requests of {connection:?}"));
        let open = matches!(connection.outcome, ConnectionOutcome::Open | ConnectionOutcome::Unknown);
        wrong.unless(open == connection.end_ns.is_none(), || format!("{connection:?}"));
    }
    for dns in &report.dns {
        wrong.unless(dns.end_ns.is_some() == (dns.rcode.is_some() || dns.refused), || format!("{dns:?}"));
        wrong.unless(!dns.timed_out || dns.end_ns.is_none(), || format!("{dns:?}"));
    }
    for process in &report.processes {
        wrong.unless(process.exit_code.is_none() || process.end_ns.is_some(), || format!("{process:?}"));
    }
}
