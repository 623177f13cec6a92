//! Records in, attributes by OpenTelemetry's semantic conventions out.

use model::caller::CiSystem;
use model::record::{Connection, ConnectionOutcome, Dns, Phase, Process, Protocol, Request, RequestOutcome};
use model::report::{Command, Report, Severity, Stall};
use model::words;

use super::wire::{Attribute, Attributes, Resource};

/// The machine, the tool, and the job of a CI system that ran the command.
pub(super) fn resource(report: &Report, command: &Command) -> Resource {
    let mut of = Attributes::default();
    of.text("service.name", Some("goobserve"))
        .text("service.version", report.tool.strip_prefix("goobserve "))
        .text("service.instance.id", report.recording_id.as_deref())
        .text("host.name", report.machine.host_name.as_deref())
        .text("host.arch", Some(arch(&report.machine.arch)))
        .text("os.type", Some("linux"))
        .text("os.version", Some(&report.machine.kernel));
    if let Some(container) = &command.container {
        of.text("container.id", Some(&container.id))
            .text("container.name", container.name.as_deref())
            .text("container.runtime.name", Some(&container.engine));
    }
    if let Some(job) = command.go.caller.as_ref().and_then(|caller| caller.job.as_ref()) {
        let url = job.url.as_deref();
        let of_task = matches!(job.system, CiSystem::Gitlab);
        of.text("cicd.system.component", Some(system(job.system)))
            .text("cicd.pipeline.name", job.pipeline.as_deref())
            .text("cicd.pipeline.run.id", job.run.as_deref())
            .text("cicd.pipeline.run.url.full", url.filter(|_| !of_task))
            .text("cicd.pipeline.task.name", job.task.as_deref())
            .text("cicd.pipeline.task.run.id", job.task_run.as_deref())
            .text("cicd.pipeline.task.run.url.full", url.filter(|_| of_task))
            .text("cicd.worker.name", job.worker.as_deref());
    }
    Resource { attributes: of.0 }
}

const fn system(system: CiSystem) -> &'static str {
    match system {
        CiSystem::Github => "github",
        CiSystem::Gitlab => "gitlab",
        CiSystem::Jenkins => "jenkins",
        CiSystem::Buildkite => "buildkite",
        CiSystem::Other => "other",
    }
}

/// The convention's names of architectures.
fn arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The command, with what each phase is answerable for.
pub(super) fn command(of: &mut Attributes, command: &Command, pid: Option<u32>) {
    let name = command.argv.first().map(|program| program.rsplit('/').next().unwrap_or(program));
    of.int("process.pid", pid)
        .text("process.executable.name", name)
        .text("process.executable.path", command.go.binary.as_deref())
        .texts("process.command_args", &command.argv)
        .text("process.working_directory", command.cwd.as_deref())
        .int("process.user.id", command.uid)
        .text("process.linux.cgroup", command.cgroup.as_deref())
        .int("process.exit.code", command.exit_code)
        .int("goobserve.signal", command.signal)
        .text("goobserve.go.version", command.go.version.as_deref())
        .int("goobserve.command.id", Some(u64::from(command.id)))
        .int("goobserve.wall_ns", Some(command.wall_ns));
    for share in command.phases.iter().filter(|share| share.blocked_ns > 0) {
        of.int(BLOCKED[share.phase as usize], Some(share.blocked_ns));
    }
    let ended =
        command.ended && (command.exit_code.is_some_and(|code| code != 0) || command.signal.is_some());
    if ended {
        let how = command
            .exit_code
            .map_or_else(|| words::ending(true, None, command.signal), |code| code.to_string());
        of.text("error.type", Some(&how));
    }
    of.text("goobserve.blame", command.blame.map(model::report::Blame::name))
        .text("goobserve.blame_why", command.blame_why.as_deref())
        .flag("goobserve.unfinished", !command.ended);
}

/// Attributes of a command's span, by phase.
const BLOCKED: [&str; Phase::ALL.len()] = [
    "goobserve.blocked.dns_ns",
    "goobserve.blocked.connect_ns",
    "goobserve.blocked.tls_ns",
    "goobserve.blocked.tunnel_ns",
    "goobserve.blocked.auth_ns",
    "goobserve.blocked.proxy_ns",
    "goobserve.blocked.sumdb_ns",
    "goobserve.blocked.toolchain_ns",
    "goobserve.blocked.vcs_ns",
    "goobserve.blocked.cache_ns",
    "goobserve.blocked.backoff_ns",
    "goobserve.blocked.child_ns",
    "goobserve.blocked.lock_ns",
    "goobserve.blocked.local_ns",
    "goobserve.blocked.unexplained_ns",
];

/// Host and port of `host:port`, `[v6]:port`, or a name that stands for port 443.
fn ends(text: &str) -> (&str, Option<u16>) {
    let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match split {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host.trim_start_matches('[').trim_end_matches(']'), Some(port))
        }
        _ => (text, None),
    }
}

/// A request. `earlier`: how often the same was asked for before.
pub(super) fn request(of: &mut Attributes, request: &Request, on: Option<&Connection>, earlier: u32) {
    let scheme = on.and_then(|on| match on {
        on if on.tls_start_ns.is_some() || on.tls_version.is_some() => Some("https"),
        on if on.joined_late || on.tunnel.is_some() => None,
        _ => Some("http"),
    });
    let (host, port) = request.authority.as_deref().map(ends).unzip();
    let port = port.flatten().or(scheme.map(|scheme| if scheme == "https" { 443 } else { 80 }));
    let path = request.path.as_deref();
    let url = scheme.zip(request.authority.as_deref()).zip(path);
    let url = url.map(|((scheme, host), path)| format!("{scheme}://{host}{path}"));
    of.text("http.request.method", Some(request.method.as_deref().unwrap_or("_OTHER")))
        .text("server.address", host)
        .int("server.port", port)
        .text("url.full", url.as_deref())
        .text("url.path", path.filter(|_| url.is_none()))
        .int("http.response.status_code", request.status)
        .int("http.request.resend_count", Some(earlier).filter(|earlier| *earlier > 0))
        .int("http.response.body.size", request.bytes)
        .text("network.protocol.version", Some(if request.protocol == Protocol::H2 { "2" } else { "1.1" }))
        .text("error.type", failed(request).as_deref())
        .text("goobserve.request.class", name(&request.class).as_deref())
        .text("goobserve.module.path", request.module.as_deref())
        .text("goobserve.module.version", request.version.as_deref())
        .int("goobserve.connection.id", request.connection.map(|id| id.0))
        .int("goobserve.http2.stream", request.stream)
        .int(
            "goobserve.time_to_first_byte_ns",
            request.first_byte_ns.map(|first| first.saturating_sub(request.start_ns)),
        );
    if let Some(on) = on {
        let (address, port) = ends(&on.remote);
        of.text("network.peer.address", Some(address)).int("network.peer.port", port);
    }
}

/// Why a request failed: its status, the code of its reset, or how it ended.
pub(super) fn failed(request: &Request) -> Option<String> {
    match (request.status, request.outcome) {
        (Some(status @ 400..), _) => Some(status.to_string()),
        (_, RequestOutcome::Reset | RequestOutcome::Cancelled) => Some(
            request.reset_code.clone().unwrap_or_else(|| words::request_outcome(request.outcome).to_owned()),
        ),
        (_, RequestOutcome::Error) => Some("_OTHER".to_owned()),
        _ => None,
    }
}

/// A connection, and how it turned out. Its figures are those of its whole life.
pub(super) fn connection(of: &mut Attributes, of_connection: &Connection) {
    let (host, named) = of_connection.host().map(ends).unzip();
    let (address, port) = ends(&of_connection.remote);
    of.text("server.address", host)
        .int("server.port", named.flatten().or(port))
        .text("network.peer.address", Some(address))
        .int("network.peer.port", port)
        .text("network.transport", Some("tcp"))
        .text("network.protocol.name", of_connection.alpn.as_deref())
        .text("tls.protocol.version", of_connection.tls_version.as_deref())
        .int("goobserve.connection.id", Some(of_connection.id.0))
        .text("goobserve.connection.outcome", Some(words::outcome(of_connection.outcome)))
        .int("goobserve.connection.requests", Some(of_connection.requests))
        .int("goobserve.rtt_ns", of_connection.rtt_ns)
        .int("goobserve.retransmits", Some(of_connection.retransmits))
        .int("goobserve.syn_retransmits", Some(of_connection.syn_retransmits))
        .int("goobserve.bytes_received", of_connection.bytes_received)
        .int("goobserve.bytes_sent", of_connection.bytes_sent);
}

/// Why a connection was not made.
pub(super) const fn not_made(outcome: ConnectionOutcome) -> Option<&'static str> {
    match outcome {
        ConnectionOutcome::Refused => Some("refused"),
        ConnectionOutcome::TimedOut => Some("timeout"),
        ConnectionOutcome::Unreachable => Some("unreachable"),
        _ => None,
    }
}

/// A query.
pub(super) fn dns(of: &mut Attributes, dns: &Dns) {
    let (address, port) = ends(&dns.server);
    of.text("dns.question.name", Some(&dns.name))
        .text("goobserve.dns.question.type", Some(&dns.qtype))
        .text("server.address", Some(address))
        .int("server.port", port)
        .text("network.transport", name(&dns.transport).as_deref())
        .int("goobserve.dns.attempt", Some(dns.attempt))
        .text("goobserve.dns.response_code", dns.rcode.as_deref())
        .int("goobserve.dns.answers", dns.answers)
        .text("error.type", unanswered(dns));
}

/// Why a query was of no use.
pub(super) fn unanswered(dns: &Dns) -> Option<&str> {
    match dns.rcode.as_deref() {
        _ if dns.timed_out => Some("timeout"),
        _ if dns.refused => Some("refused"),
        Some("NOERROR") | None => dns.unusable.as_deref(),
        Some(code) => Some(code),
    }
}

/// A child.
pub(super) fn process(of: &mut Attributes, process: &Process) {
    of.int("process.pid", Some(process.pid.0))
        .int("process.parent_pid", Some(process.ppid.0))
        .text("process.executable.name", Some(&process.comm))
        .texts("process.command_args", &process.args)
        .int("process.exit.code", process.exit_code)
        .int("goobserve.cpu_ns", process.cpu_ns);
}

/// A finding.
pub(super) fn stall(stall: &Stall) -> Vec<Attribute> {
    let mut of = Attributes::default();
    of.text("goobserve.stall.kind", Some(stall.kind.as_str()))
        .text("goobserve.phase", Some(stall.phase.name()))
        .text("goobserve.stall.severity", Some(words::severity(stall.severity)))
        .text("server.address", stall.host.as_deref().map(|host| ends(host).0))
        .int("goobserve.stall.cost_ns", Some(stall.cost_ns))
        .text("goobserve.stall.summary", Some(&stall.summary))
        .text("goobserve.stall.try", stall.remedies.first().map(|remedy| remedy.attempt.as_str()))
        .flag("goobserve.stall.ended_command", stall.fatal);
    of.0
}

/// `SeverityNumber` and its text.
pub(super) const fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Info => (9, "INFO"),
        Severity::Warning => (13, "WARN"),
        Severity::Critical => (17, "ERROR"),
    }
}

/// The name that an enumeration's value has in reports.
fn name(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}
