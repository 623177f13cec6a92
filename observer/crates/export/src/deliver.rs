//! Messages in, POSTs of OTLP/HTTP out: JSON, gzipped, one after the other, retried as the specification says (429,
//! 502, 503, 504, no connection; exponential pauses, or what `Retry-After` says). Nothing is kept longer than the
//! time-out: what was not delivered by then is counted.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway::connect::{Connector, Network};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use render::otlp::{Message, Signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::lock;
use crate::metrics::Metrics;

/// Bytes of messages that wait; what comes when they do is dropped, and counted.
const WAITING_MAX: usize = 64 << 20;
/// `OTEL_EXPORTER_OTLP_TIMEOUT`'s default: how long one message may take with all attempts, and all that are left
/// when the recording has ended.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before another attempt; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// A connection is tried again after no longer a pause than this: for about two seconds in all.
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 64 << 10;

/// A collector, and what the environment says about it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    traces: Uri,
    logs: Uri,
    /// As it may be shown
    shown: String,
    headers: HeaderMap,
    timeout: Duration,
    network: Network,
}

impl Endpoint {
    /// `url` is the base, as in `OTEL_EXPORTER_OTLP_ENDPOINT`: `http://collector.test:4318`. `variable`: the
    /// environment, where `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_EXPORTER_OTLP_TIMEOUT` (milliseconds), forward
    /// proxies and certificates may stand. Refused, in words, is what is no URL of HTTP.
    pub fn new(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let base: Uri = url.trim_end_matches('/').parse().map_err(|error| format!("{error}"))?;
        let scheme = base.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let (Some(scheme), Some(authority)) = (scheme, base.authority()) else {
            return Err("it has to begin with http:// or https://".to_owned());
        };
        if authority.as_str().contains('@') {
            return Err("credentials go into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
        }
        let root = format!("{scheme}://{authority}{}", base.path().trim_end_matches('/'));
        let path = |path: &str| format!("{root}/v1/{path}").parse().map_err(|error| format!("{error}"));
        let timeout = variable("OTEL_EXPORTER_OTLP_TIMEOUT").and_then(|text| text.parse().ok());
        Ok(Self {
            traces: path("traces")?,
            logs: path("logs")?,
            shown: format!("{scheme}://{authority}"),
            headers: headers(&variable("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default()),
            timeout: timeout.filter(|ms| *ms > 0).map_or(TIMEOUT, Duration::from_millis),
            network: Network::from_env(variable),
        })
    }
}

/// `name=value,name=value`, percent-encoded as W3C's baggage is.
fn headers(text: &str) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
        let value = HeaderValue::from_bytes(&decoded(value.trim()));
        if let (Ok(name), Ok(mut value)) = (name.trim().parse::<HeaderName>(), value) {
            value.set_sensitive(true);
            all.insert(name, value);
        }
    }
    all
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, more @ ..] = rest {
        let hex = more.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(value.unwrap_or(*byte));
        rest = if value.is_some() { &more[2..] } else { more };
    }
    out
}

/// Where messages are put.
pub(crate) struct Queue {
    sender: Option<mpsc::UnboundedSender<Message>>,
    waiting: Arc<AtomicUsize>,
}

/// The other end.
pub(crate) struct Queued {
    receiver: mpsc::UnboundedReceiver<Message>,
    waiting: Arc<AtomicUsize>,
}

/// A bounded queue; one that is not wanted takes nothing.
pub(crate) fn queue(wanted: bool) -> (Queue, Queued) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let sender = wanted.then_some(sender);
    (Queue { sender, waiting: Arc::clone(&waiting) }, Queued { receiver, waiting })
}

impl Queue {
    pub(crate) const fn is_wanted(&self) -> bool {
        self.sender.is_some()
    }

    /// Takes a message, or counts it as dropped.
    pub(crate) fn put(&self, message: Message, metrics: &Mutex<Metrics>) {
        let (signal, items, size) = (message.signal, message.items, message.body.len());
        let Some(sender) = &self.sender else { return };
        let fits = self.waiting.load(Ordering::Relaxed) + size <= WAITING_MAX;
        if fits {
            self.waiting.fetch_add(size, Ordering::Relaxed);
        }
        if !fits || sender.send(message).is_err() {
            lock(metrics).delivered(signal, "dropped", items);
        }
    }
}

/// What became of messages.
#[derive(Default)]
struct Tally {
    /// By signal: items in all, and those that were not delivered
    items: BTreeMap<&'static str, (usize, usize)>,
    why: Option<String>,
}

/// Delivers until the queue has ended. Out: in a line what was not.
pub(crate) async fn deliver(
    endpoint: Endpoint,
    mut queued: Queued,
    mut ended: oneshot::Receiver<()>,
    metrics: Arc<Mutex<Metrics>>,
) -> Option<String> {
    let client =
        Client::builder(TokioExecutor::new()).build(Connector::new(endpoint.network.clone()).for_http1());
    let mut tally = Tally::default();
    let mut limit: Option<Instant> = None;
    while let Some(message) = queued.receiver.recv().await {
        queued.waiting.fetch_sub(message.body.len(), Ordering::Relaxed);
        let (signal, items) = (message.signal, message.items);
        let last = Mutex::new(None);
        let attempts = attempts(&client, &endpoint, message, &last);
        tokio::pin!(attempts);
        let until = Instant::now() + endpoint.timeout;
        let outcome = loop {
            // Whoever has ended waits for what is left, once.
            let until = limit.map_or(until, |limit| limit.min(until));
            tokio::select! {
                biased;
                outcome = &mut attempts => break outcome,
                _ = &mut ended, if limit.is_none() => limit = Some(Instant::now() + endpoint.timeout),
                () = tokio::time::sleep_until(until) => {
                    let last = last.lock().unwrap_or_else(PoisonError::into_inner).take();
                    break Err(last.unwrap_or_else(|| format!("no answer within {:?}", endpoint.timeout)));
                }
            }
        };
        let entry = tally.items.entry(name(signal)).or_default();
        entry.0 += items;
        match outcome {
            Ok(()) => lock(&metrics).delivered(signal, "delivered", items),
            Err(why) => {
                entry.1 += items;
                tally.why = Some(why);
                lock(&metrics).delivered(signal, "failed", items);
            }
        }
    }
    for (signal, dropped) in lock(&metrics).dropped() {
        let entry = tally.items.entry(signal).or_default();
        *entry = (entry.0 + dropped, entry.1 + dropped);
    }
    let lost: Vec<String> = tally
        .items
        .iter()
        .filter(|(_, (_, lost))| *lost > 0)
        .map(|(signal, (all, lost))| format!("{lost} of {all} {signal}"))
        .collect();
    let why = tally.why.unwrap_or_else(|| "too many waited".to_owned());
    (!lost.is_empty()).then(|| format!("not delivered to {}: {}: {why}", endpoint.shown, lost.join(", ")))
}

const fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "spans",
        Signal::Logs => "log records",
    }
}

type Http = Client<Connector, Full<Bytes>>;

/// Tries until it is taken, or refused for good.
/// Meanwhile `last` has what the last attempt came to.
async fn attempts(
    client: &Http,
    endpoint: &Endpoint,
    message: Message,
    last: &Mutex<Option<String>>,
) -> Result<(), String> {
    let url = match message.signal {
        Signal::Traces => &endpoint.traces,
        Signal::Logs => &endpoint.logs,
    };
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packed.write_all(message.body.as_bytes()).and_then(|()| packed.finish());
    let body = Bytes::from(packed.map_err(|error| error.to_string())?);
    drop(message);
    let mut pause = PAUSE;
    loop {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        let headers = request.headers_mut();
        headers.extend(endpoint.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("goobserve/", env!("CARGO_PKG_VERSION"))));
        let (wait, why) = match client.request(request).await {
            Ok(response) => {
                let status = response.status();
                let after =
                    response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                let answer = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
                if status.is_success() {
                    return rejected(&answer.map(http_body_util::Collected::to_bytes).unwrap_or_default());
                }
                if !matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                ) {
                    return Err(format!("the answer was {status}"));
                }
                (after.map_or(pause, Duration::from_secs), format!("the answer was {status}"))
            }
            // Nobody listens there: whoever waits for the end does not wait for somebody to.
            Err(error) if error.is_connect() && pause > CONNECT_PAUSE_MAX => return Err(causes(&error)),
            Err(error) => (pause, causes(&error)),
        };
        if wait > endpoint.timeout {
            return Err(why);
        }
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        tokio::time::sleep(wait).await;
        pause *= 2;
    }
}

/// `partialSuccess`: what a collector took the message for, and did not keep.
fn rejected(answer: &[u8]) -> Result<(), String> {
    let value: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let partial = &value["partialSuccess"];
    let count = |name: &str| match &partial[name] {
        serde_json::Value::String(text) => text.parse().unwrap_or(0),
        number => number.as_u64().unwrap_or(0),
    };
    match count("rejectedSpans") + count("rejectedLogRecords") {
        0 => Ok(()),
        rejected => {
            Err(format!("{rejected} were rejected: {}", partial["errorMessage"].as_str().unwrap_or_default()))
        }
    }
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
