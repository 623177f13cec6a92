//! One request to an upstream, over the one set of connections. In: a URL and headers. Out: the response's
//! head and body, redirects followed.
//!
//! HTTP/2 is spread over a few connections: packet loss holds up one and not all, and a GOAWAY a few requests.
//! Which HTTP a host speaks is learned from its first connection, which carries the first request; so none is
//! dialled in vain.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::connect::{Connector, Network, Protocol, origin};

/// Connections of HTTP/2 a host.
const LANES: usize = 4;
/// Requests that a lane has before the next one is used, too: a few do not need a second connection.
const LANE_FILL: usize = 2;
/// Redirects that are followed; go follows as many.
const REDIRECTS_MAX: usize = 10;
/// Bytes a stream, and a connection, may have on the way.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// What went wrong. No text holds a URL's credentials or query.
#[derive(Debug, Error)]
pub enum RequestError {
    /// No connection
    #[error("cannot connect to {host}: {why}")]
    Connect {
        /// The host
        host: String,
        /// What the system or TLS said
        why: String,
    },
    /// The connection, or the stream, ended
    #[error("no answer from {host}: {why}")]
    Broken {
        /// The host
        host: String,
        /// What HTTP said
        why: String,
    },
    /// A redirect that is not followed
    #[error("{host} redirects to {what}")]
    Redirect {
        /// The host
        host: String,
        /// What is wrong with it
        what: &'static str,
    },
}

impl RequestError {
    /// Whether no connection was there: of the upstream's health, not of one request.
    pub const fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }
}

type Client = legacy::Client<Connector, Empty<Bytes>>;

/// The connections.
#[derive(Debug)]
pub struct Http {
    connector: Connector,
    http1: Client,
    lanes: Vec<(Client, Arc<AtomicUsize>)>,
    protocols: Mutex<HashMap<String, Arc<OnceCell<Protocol>>>>,
    user_agent: HeaderValue,
}

/// A response, and its place in a lane.
#[derive(Debug)]
pub struct Answer {
    /// Head and body
    pub response: Response<Incoming>,
    /// Counted until it is dropped
    pub place: Option<Place>,
}

/// One request of a lane.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http {
    /// Without a connection yet.
    pub fn new(network: Network) -> Self {
        let connector = Connector::new(network);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .retry_canceled_requests(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(10));
        let http1 = builder.build(connector.for_http1());
        builder.http2_only(true);
        let lanes = (0..LANES).map(|_| (builder.build(connector.clone()), Arc::default())).collect();
        let user_agent = HeaderValue::from_static(concat!("goobserve-gateway/", env!("CARGO_PKG_VERSION")));
        Self { connector, http1, lanes, protocols: Mutex::default(), user_agent }
    }

    /// Makes the first connection to a host, and with `all` those of the other lanes.
    pub async fn warm(&self, url: &Uri, all: bool) -> Result<(), RequestError> {
        if self.protocol(url).await? == Protocol::Http2 && all {
            let more: Vec<_> = (1..LANES).map(|_| self.connector.open(url)).collect();
            for opened in more {
                // The first one is there.
                let _ = opened.await;
            }
        }
        Ok(())
    }

    async fn protocol(&self, url: &Uri) -> Result<Protocol, RequestError> {
        let origin = origin(url);
        let cell = {
            let mut all = self.protocols.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(all.entry(origin).or_default())
        };
        let opened = cell.get_or_try_init(|| self.connector.open(url)).await;
        opened.copied().map_err(|error| RequestError::Connect { host: host(url), why: causes(&*error) })
    }

    /// What the host speaks is learned anew, by a connection.
    pub fn forget_protocol(&self, url: &Uri) {
        self.protocols.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&origin(url));
    }

    /// The lane with the least to do; a new one only when the others have something.
    fn lane(&self) -> &(Client, Arc<AtomicUsize>) {
        let load = |lane: &&(Client, Arc<AtomicUsize>)| lane.1.load(Ordering::Relaxed) / LANE_FILL;
        self.lanes.iter().min_by_key(load).unwrap_or(&self.lanes[0])
    }

    /// Asks for a URL.
    pub async fn get(&self, url: &Uri, headers: &HeaderMap) -> Result<Answer, RequestError> {
        let (mut url, mut headers) = (url.clone(), headers.clone());
        headers.insert(USER_AGENT, self.user_agent.clone());
        // Bytes as they are: a transport that unpacked them would give go another length.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.once(&url, &headers).await?;
            let status = answer.response.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = redirected(&url, answer.response.headers().get(LOCATION));
            let next = next.map_err(|what| RequestError::Redirect { host: host(&url), what })?;
            if origin(&next) != origin(&url) {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(RequestError::Redirect { host: host(&url), what: "itself, over and over" })
    }

    async fn once(&self, url: &Uri, headers: &HeaderMap) -> Result<Answer, RequestError> {
        let protocol = self.protocol(url).await?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers.clone();
        let (sent, place) = match protocol {
            Protocol::Http1 => (self.http1.request(request).await, None),
            Protocol::Http2 => {
                let (client, load) = self.lane();
                load.fetch_add(1, Ordering::Relaxed);
                let place = Place(Arc::clone(load));
                (client.request(request).await, Some(place))
            }
        };
        match sent {
            Ok(response) => Ok(Answer { response, place }),
            Err(error) if error.is_connect() => {
                self.forget_protocol(url);
                Err(RequestError::Connect { host: host(url), why: causes(&error) })
            }
            Err(error) => Err(RequestError::Broken { host: host(url), why: causes(&error) }),
        }
    }
}

fn host(url: &Uri) -> String {
    url.host().unwrap_or_default().to_owned()
}

/// Where a redirect leads; never from TLS to none.
fn redirected(from: &Uri, location: Option<&HeaderValue>) -> Result<Uri, &'static str> {
    let location = location.and_then(|value| value.to_str().ok()).ok_or("nowhere")?;
    let text = match location {
        _ if location.contains("://") => location.to_owned(),
        _ if location.starts_with("//") => format!("{}:{location}", from.scheme_str().unwrap_or("https")),
        _ if location.starts_with('/') => format!("{}{location}", origin(from)),
        _ => {
            let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{}{folder}/{location}", origin(from))
        }
    };
    let to: Uri = text.split('#').next().unwrap_or_default().parse().map_err(|_| "what is no URL")?;
    match (from.scheme_str(), to.scheme_str()) {
        (Some("http"), Some("http" | "https")) | (_, Some("https")) => Ok(to),
        _ => Err("a URL without TLS"),
    }
}

/// An error with what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say_and_never_off_tls() {
        let from: Uri = "https://a.test/x/y".parse().unwrap();
        let to = |location: &str| {
            redirected(&from, Some(&HeaderValue::from_str(location).unwrap())).map(|uri| uri.to_string())
        };
        assert_eq!(to("https://b.test/z?q=1").unwrap(), "https://b.test/z?q=1");
        assert_eq!(to("/z").unwrap(), "https://a.test/z");
        assert_eq!(to("z#f").unwrap(), "https://a.test/x/z");
        assert_eq!(to("//b.test/z").unwrap(), "https://b.test/z");
        assert!(to("http://a.test/z").is_err() && to("file:///etc/passwd").is_err());
        assert!(redirected(&from, None).is_err());
        let from: Uri = "http://a.test/x".parse().unwrap();
        assert!(redirected(&from, Some(&HeaderValue::from_static("http://b.test/"))).is_ok());
    }
}
