//! A report and the state it was made of in, OTLP/JSON out: for each command a span in its caller's trace
//! (`TRACEPARENT`), below it its phases, below these what was in flight; findings as events of the command's span and
//! as log records. Names are OpenTelemetry's semantic conventions 1.44: `process.*`, HTTP client spans, `cicd.*`; a
//! connection's set-up is a span of its own (`HTTP connection_setup`) that the requests link to, as .NET's are.
//!
//! What has no convention is `goobserve.*`. Only what an event may hold is in it: everything comes from the state,
//! which is behind [`model::redact`].

mod attributes;
mod ids;
mod spans;
mod wire;

use model::report::{Command, Report};
use model::state::State;
use serde::Serialize;

use self::spans::Exported;
use self::wire::{Logs, ResourceLogs, ResourceSpans, Scope, ScopeLogs, ScopeSpans, Traces};

/// Spans in one message: well below the 20 MiB that a collector takes, 4 MiB that some take.
const SPANS_MAX: usize = 2_000;
/// Spans of one command; those beyond are counted in `goobserve.spans_dropped` of its own span.
const COMMAND_SPANS_MAX: usize = 50_000;
/// The conventions that names follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
const SCOPE: Scope = Scope { name: "goobserve", version: env!("CARGO_PKG_VERSION") };

/// Where a message belongs: the path of an OTLP/HTTP endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `/v1/traces`
    Traces,
    /// `/v1/logs`
    Logs,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Of what
    pub signal: Signal,
    /// Spans, or log records
    pub items: usize,
    /// An export request as JSON, without a line end
    pub body: String,
}

/// The messages of every command.
pub fn messages(report: &Report, state: &State) -> serde_json::Result<Vec<Message>> {
    let mut all = Vec::new();
    for command in &report.commands {
        all.extend(of_command(report, command, state)?);
    }
    Ok(all)
}

/// The messages of one command, those with spans first.
pub fn of_command(report: &Report, command: &Command, state: &State) -> serde_json::Result<Vec<Message>> {
    let Some(of) = state.command(command.id) else { return Ok(Vec::new()) };
    let Exported { spans, logs } = spans::spans(report, command, of);
    let resource = attributes::resource(report, command);
    let mut all = Vec::new();
    for spans in spans.chunks(SPANS_MAX) {
        let scope_spans = [ScopeSpans { scope: SCOPE, spans }];
        let traces = Traces {
            resource_spans: [ResourceSpans { resource: &resource, scope_spans, schema_url: SCHEMA_URL }],
        };
        all.push(message(Signal::Traces, spans.len(), &traces)?);
    }
    if !logs.is_empty() {
        let scope_logs = [ScopeLogs { scope: SCOPE, log_records: &logs }];
        let logs_of = Logs {
            resource_logs: [ResourceLogs { resource: &resource, scope_logs, schema_url: SCHEMA_URL }],
        };
        all.push(message(Signal::Logs, logs.len(), &logs_of)?);
    }
    Ok(all)
}

/// Whether the command's caller has its trace recorded; it is, where the caller said nothing.
pub fn is_sampled(command: &Command) -> bool {
    let flags = command.go.caller.as_ref().and_then(|caller| caller.trace_flags);
    flags.is_none_or(|flags| flags & 1 == 1)
}

fn message(signal: Signal, items: usize, of: &impl Serialize) -> serde_json::Result<Message> {
    Ok(Message { signal, items, body: model::json::line(of)? })
}

/// As a file of OTLP/JSON has them: a message a line.
pub fn otlp(report: &Report, state: &State) -> serde_json::Result<String> {
    let lines = messages(report, state)?.into_iter().map(|message| message.body + "\n");
    Ok(lines.collect())
}
