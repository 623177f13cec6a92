//! OTLP's messages as its JSON form has them (opentelemetry-proto, "OTLP/JSON"): names in lowerCamelCase, ids in
//! hexadecimal, 64-bit integers as text, nothing `null`.

use serde::{Serialize, Serializer};

/// `KeyValue`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Attribute {
    pub key: &'static str,
    pub value: AnyValue,
}

/// `AnyValue`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::enum_variant_names, reason = "the messages' names")]
pub(super) enum AnyValue {
    StringValue(String),
    BoolValue(bool),
    #[serde(serialize_with = "as_text")]
    IntValue(i64),
    ArrayValue(ArrayValue),
}

/// `ArrayValue`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ArrayValue {
    pub values: Vec<AnyValue>,
}

/// `Resource`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Resource {
    pub attributes: Vec<Attribute>,
}

/// `InstrumentationScope`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Scope {
    pub name: &'static str,
    pub version: &'static str,
}

/// `Span`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    pub trace_id: String,
    pub span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// W3C's trace flags, and whether the parent is known to be remote
    pub flags: u32,
    pub name: String,
    pub kind: u8,
    #[serde(serialize_with = "as_text")]
    pub start_time_unix_nano: u64,
    #[serde(serialize_with = "as_text")]
    pub end_time_unix_nano: u64,
    pub attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Happened>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    pub status: Status,
}

/// `Span.SpanKind`
pub(super) const INTERNAL: u8 = 1;
/// `Span.SpanKind`
pub(super) const CLIENT: u8 = 3;

/// `Span.Event`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Happened {
    #[serde(serialize_with = "as_text")]
    pub time_unix_nano: u64,
    pub name: String,
    pub attributes: Vec<Attribute>,
}

/// `Span.Link`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub trace_id: String,
    pub span_id: String,
}

/// `Status`; code 0 is unset, 2 an error.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Status {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "is_unset")]
    pub code: u8,
}

/// `LogRecord`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogRecord {
    #[serde(serialize_with = "as_text")]
    pub time_unix_nano: u64,
    #[serde(serialize_with = "as_text")]
    pub observed_time_unix_nano: u64,
    pub severity_number: u8,
    pub severity_text: &'static str,
    pub event_name: &'static str,
    pub body: AnyValue,
    pub attributes: Vec<Attribute>,
    pub trace_id: String,
    pub span_id: String,
    pub flags: u32,
}

/// `ExportTraceServiceRequest`, and `TracesData`, which is the same.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Traces<'a> {
    pub resource_spans: [ResourceSpans<'a>; 1],
}

/// `ResourceSpans`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans<'a> {
    pub resource: &'a Resource,
    pub scope_spans: [ScopeSpans<'a>; 1],
    pub schema_url: &'static str,
}

/// `ScopeSpans`.
#[derive(Serialize)]
pub(super) struct ScopeSpans<'a> {
    pub scope: Scope,
    pub spans: &'a [Span],
}

/// `ExportLogsServiceRequest`, and `LogsData`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Logs<'a> {
    pub resource_logs: [ResourceLogs<'a>; 1],
}

/// `ResourceLogs`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceLogs<'a> {
    pub resource: &'a Resource,
    pub scope_logs: [ScopeLogs<'a>; 1],
    pub schema_url: &'static str,
}

/// `ScopeLogs`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScopeLogs<'a> {
    pub scope: Scope,
    pub log_records: &'a [LogRecord],
}

fn as_text<T: std::fmt::Display, S: Serializer>(number: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

fn is_unset(code: &u8) -> bool {
    *code == 0
}

/// Attributes, those that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(pub Vec<Attribute>);

impl Attributes {
    pub(super) fn text(&mut self, key: &'static str, value: Option<&str>) -> &mut Self {
        let value =
            value.filter(|value| !value.is_empty()).map(|value| AnyValue::StringValue(value.to_owned()));
        self.0.extend(value.map(|value| Attribute { key, value }));
        self
    }

    pub(super) fn int<T: TryInto<i64>>(&mut self, key: &'static str, value: Option<T>) -> &mut Self {
        let value = value.and_then(|value| value.try_into().ok()).map(AnyValue::IntValue);
        self.0.extend(value.map(|value| Attribute { key, value }));
        self
    }

    pub(super) fn flag(&mut self, key: &'static str, value: bool) -> &mut Self {
        if value {
            self.0.push(Attribute { key, value: AnyValue::BoolValue(true) });
        }
        self
    }

    pub(super) fn texts(&mut self, key: &'static str, values: &[String]) -> &mut Self {
        let values = values.iter().map(|value| AnyValue::StringValue(value.clone())).collect();
        self.0.push(Attribute { key, value: AnyValue::ArrayValue(ArrayValue { values }) });
        self
    }
}
