//! Commands that have ended in, counters out: `OpenMetrics`, by prometheus-client. Labels are of a bounded set (phases,
//! classes, statuses, kinds) but for hosts, of which the first [`HOSTS_MAX`] have their own and the rest are `other`,
//! counted; no path, module or user is one.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use model::record::{ConnectionOutcome, Loss, RequestOutcome};
use model::report::Command;
use model::state::CommandState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use render::otlp::Signal;

/// Hosts with a label of their own.
pub const HOSTS_MAX: usize = 100;
/// Every metric's name begins so.
pub const PREFIX: &str = "goobserve";
/// Upper bounds of a command's duration, seconds: a hang is longer than what is usual for requests.
const DURATIONS: [f64; 14] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];

type Seconds = Counter<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BlockedLabels {
    phase: &'static str,
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    class: String,
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    protocol: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StallLabels {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabels {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OtlpLabels {
    signal: &'static str,
    outcome: &'static str,
}

/// All counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    commands: Family<OutcomeLabels, Counter>,
    running: Gauge,
    durations: Histogram,
    wall: Seconds,
    blocked: Family<BlockedLabels, Seconds>,
    requests: Family<RequestLabels, Counter>,
    received: Counter,
    handshakes: Family<HandshakeLabels, Counter>,
    queries: Family<OutcomeLabels, Counter>,
    retransmissions: Counter,
    stalls: Family<StallLabels, Counter>,
    stall_cost: Family<StallLabels, Seconds>,
    lost: Family<WhatLabels, Gauge>,
    cpu: Seconds,
    memory: Gauge,
    limited: Counter,
    otlp: Family<OtlpLabels, Counter>,
    hosts: BTreeSet<String>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them, nothing counted yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let mut new = Self {
            registry: Registry::default(),
            commands: Family::default(),
            running: Gauge::default(),
            durations: Histogram::new(DURATIONS),
            wall: Seconds::default(),
            blocked: Family::default(),
            requests: Family::default(),
            received: Counter::default(),
            handshakes: Family::default(),
            queries: Family::default(),
            retransmissions: Counter::default(),
            stalls: Family::default(),
            stall_cost: Family::default(),
            lost: Family::default(),
            cpu: Seconds::default(),
            memory: Gauge::default(),
            limited: Counter::default(),
            otlp: Family::default(),
            hosts: BTreeSet::new(),
        };
        registry.register("commands", "Go commands that have ended", new.commands.clone());
        registry.register("commands_running", "Go commands that run", new.running.clone());
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "command_duration",
            "How long go commands took",
            seconds(),
            new.durations.clone(),
        );
        registry.register_with_unit("wall", "Wall time of go commands", seconds(), new.wall.clone());
        registry.register_with_unit(
            "blocked",
            "Wall time of go commands by what it is answerable to: a phase, and a host where there is one",
            seconds(),
            new.blocked.clone(),
        );
        registry.register(
            "requests",
            "Requests by what they were for and how they were answered",
            new.requests.clone(),
        );
        registry.register_with_unit("received", "Payload of responses", Unit::Bytes, new.received.clone());
        registry.register("handshakes", "Handshakes of TCP and TLS", new.handshakes.clone());
        registry.register("dns_queries", "Queries to name servers", new.queries.clone());
        registry.register(
            "retransmissions",
            "Segments that were retransmitted, SYNs included",
            new.retransmissions.clone(),
        );
        registry.register("stalls", "Findings by kind", new.stalls.clone());
        registry.register_with_unit(
            "stall_cost",
            "Blocked time that findings cost",
            seconds(),
            new.stall_cost.clone(),
        );
        registry.register("lost", "What was not seen, since the start", new.lost.clone());
        registry.register_with_unit(
            "own_cpu",
            "CPU time of goobserve's own processes",
            seconds(),
            new.cpu.clone(),
        );
        registry.register_with_unit(
            "own_memory",
            "Resident memory of goobserve's own processes",
            Unit::Bytes,
            new.memory.clone(),
        );
        registry.register(
            "hosts_limited",
            "Times that a host had to be counted as other",
            new.limited.clone(),
        );
        registry.register("otlp_items", "Spans and log records by what became of them", new.otlp.clone());
        new.registry = registry;
        new
    }

    /// A command that has ended, or whose observation has.
    pub(crate) fn command(&mut self, command: &Command, of: &CommandState) {
        let outcome = match (command.ended, command.exit_code, command.signal) {
            (true, Some(0), None) => "succeeded",
            (true, None, None) | (false, ..) => "unknown",
            _ => "failed",
        };
        self.commands.get_or_create(&OutcomeLabels { outcome }).inc();
        let wall = seconds(command.wall_ns);
        self.wall.inc_by(wall);
        self.durations.observe(wall);
        for share in &command.phases {
            let phase = share.phase.name();
            let mut rest = share.blocked_ns;
            for host in &command.hosts {
                let Some(ns) = host.phases.get(&share.phase).copied().filter(|ns| *ns > 0) else { continue };
                rest = rest.saturating_sub(ns);
                let host = self.host(&host.host);
                self.blocked.get_or_create(&BlockedLabels { phase, host }).inc_by(seconds(ns));
            }
            if rest > 0 {
                self.blocked
                    .get_or_create(&BlockedLabels { phase, host: String::new() })
                    .inc_by(seconds(rest));
            }
        }
        for request in of.requests.values() {
            let class = serde_json::to_value(request.class).ok();
            let class = class.as_ref().and_then(|class| class.as_str()).unwrap_or_default().to_owned();
            let status = match (request.status, request.outcome) {
                (Some(status), _) => format!("{}xx", (status / 100).min(9)),
                (None, RequestOutcome::Reset) => "reset".to_owned(),
                (None, RequestOutcome::Cancelled) => "cancelled".to_owned(),
                _ => "none".to_owned(),
            };
            self.requests.get_or_create(&RequestLabels { class, status }).inc();
            self.received.inc_by(request.bytes.unwrap_or(0));
        }
        for connection in of.connections.values() {
            let add = |protocol, failed: bool| {
                let outcome = if failed { "failed" } else { "succeeded" };
                self.handshakes.get_or_create(&HandshakeLabels { protocol, outcome }).inc();
            };
            let failed = matches!(
                connection.outcome,
                ConnectionOutcome::Refused | ConnectionOutcome::TimedOut | ConnectionOutcome::Unreachable
            );
            if !connection.joined_late && (failed || connection.connect_ns.is_some()) {
                add("tcp", failed);
            }
            if connection.tls_failed || connection.tls_ns.is_some() {
                add("tls", connection.tls_failed);
            }
            let segments = u64::from(connection.retransmits) + u64::from(connection.syn_retransmits);
            self.retransmissions.inc_by(segments);
        }
        for query in of.dns.values().map(|query| &query.record) {
            let outcome = match query.rcode.as_deref() {
                _ if query.timed_out => "timeout",
                _ if query.refused => "refused",
                Some("NOERROR") => "succeeded",
                Some(_) => "failed",
                None => "unknown",
            };
            self.queries.get_or_create(&OutcomeLabels { outcome }).inc();
        }
        for stall in &command.stalls {
            let labels = StallLabels { kind: stall.kind.as_str().to_owned() };
            self.stalls.get_or_create(&labels).inc();
            self.stall_cost.get_or_create(&labels).inc_by(seconds(stall.cost_ns));
        }
    }

    /// A host's label.
    fn host(&mut self, host: &str) -> String {
        if self.hosts.contains(host) {
            return host.to_owned();
        }
        if self.hosts.len() >= HOSTS_MAX {
            self.limited.inc();
            return "other".to_owned();
        }
        self.hosts.insert(host.to_owned());
        host.to_owned()
    }

    /// How many commands run, and what was not seen by now.
    pub(crate) fn now(&mut self, running: u64, loss: Loss) {
        self.running.set(running as i64);
        for (what, count) in [
            ("kernel_events", loss.kernel_events_lost),
            ("events_undecoded", loss.events_undecoded),
            ("connections_joined_late", loss.connections_joined_late),
            ("programs_unexamined", loss.programs_unexamined),
            ("program_runs_skipped", loss.program_runs_skipped),
            ("tracepoints_unattached", loss.tracepoints_unattached),
            ("socket_lookups_failed", loss.socket_lookups_failed),
        ] {
            self.lost.get_or_create(&WhatLabels { what }).set(count as i64);
        }
    }

    /// What became of a message's items.
    pub(crate) fn delivered(&self, signal: Signal, outcome: &'static str, items: usize) {
        let signal = match signal {
            Signal::Traces => "spans",
            Signal::Logs => "log records",
        };
        self.otlp.get_or_create(&OtlpLabels { signal, outcome }).inc_by(items as u64);
    }

    /// A command whose caller does not have its trace recorded.
    pub(crate) fn not_sampled(&self) {
        self.otlp.get_or_create(&OtlpLabels { signal: "commands", outcome: "not sampled" }).inc();
    }

    /// Items that were dropped because too many waited, by signal.
    pub(crate) fn dropped(&self) -> Vec<(&'static str, usize)> {
        let of = |signal| {
            let labels = OtlpLabels { signal, outcome: "dropped" };
            self.otlp.get(&labels).map(|counter| (signal, counter.get() as usize))
        };
        ["spans", "log records"].into_iter().filter_map(of).collect()
    }

    /// All of them as `OpenMetrics` has them.
    pub fn text(&self) -> String {
        if let Some((cpu, memory)) = own() {
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            self.memory.set(memory as i64);
        }
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// `USER_HZ` and the page size of x86-64, and of arm64's usual kernels.
const HZ: f64 = 100.0;
const PAGE: u64 = 4096;

/// CPU seconds and resident bytes of goobserve's processes: the one that started this one, and all that it started
/// and is goobserve, too. `None` where that cannot be read.
fn own() -> Option<(f64, u64)> {
    let parent = std::os::unix::process::parent_id();
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    let (mut ticks, mut pages) = (0, 0);
    for pid in std::iter::once(parent).chain(children) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        // Its parts are started by /proc/self/exe, and called so.
        if pid != parent && !head.ends_with("(exe") {
            continue;
        }
        let fields: Vec<&str> = tail.split_whitespace().collect();
        // proc(5): utime, stime, rss; the state is the first behind the name.
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        ticks += number(11) + number(12);
        pages += number(21);
    }
    (pages > 0).then(|| (ticks as f64 / HZ, pages * PAGE))
}

#[cfg(test)]
mod tests {
    use model::record::Phase;
    use model::report::HostShare;

    use super::*;

    #[test]
    fn series_are_bounded_however_many_hosts_there_are() {
        let mut metrics = Metrics::new();
        for number in 0..10_000u64 {
            let host = HostShare {
                host: format!("host-{}.test", number % 1_000),
                blocked_ns: 1,
                phases: [(Phase::Proxy, 1)].into(),
            };
            let share = model::report::PhaseShare {
                phase: Phase::Proxy,
                blocked_ns: 1,
                busy_ns: 1,
                count: 1,
                errors: 0,
                p50_ns: None,
                p95_ns: None,
                p99_ns: None,
                max_ns: None,
                bytes: None,
            };
            let command = Command {
                wall_ns: 1,
                ended: true,
                uid: Some(number as u32 % 50),
                hosts: vec![host],
                phases: vec![share],
                ..Command::default()
            };
            metrics.command(&command, &CommandState::default());
        }
        let text = metrics.text();
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series < 200, "{series}");
        assert!(
            text.contains("host=\"other\"") && text.contains("goobserve_hosts_limited_total 9000"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n") && !text.contains("\n\n"));
    }
}
