//! Requests over one connection. In: a stream and which HTTP was agreed on. Out: statuses and times, and of bodies
//! so many bytes.

use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderValue, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER,
    USER_AGENT,
};
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout_at;

use crate::reach::Io;

/// How long a response may take to begin, and then to end.
pub const ANSWER_MAX: Duration = Duration::from_secs(4);
/// Who asks.
const AGENT: &str = concat!("goobserve-doctor/", env!("CARGO_PKG_VERSION"));

/// A connection that requests go over.
pub struct Session {
    sender: Sender,
    /// What the URL's host is asked with
    pub authorization: Option<HeaderValue>,
    /// What a forward proxy is asked with, for plain http
    pub proxy_authorization: Option<HeaderValue>,
    /// The request names the whole URL: to a forward proxy, for plain http
    pub is_absolute: bool,
    is_h2: bool,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// How a body ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// All of it came
    Complete,
    /// As much as was wanted came
    Enough,
    /// It stopped
    Stalled,
    /// It was cut
    Cut,
}

/// A response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Its status
    pub status: u16,
    /// From the request to the response's head
    pub first_byte: Duration,
    /// From the request to the body's end
    pub took: Duration,
    /// Bytes of the body
    pub bytes: u64,
    /// How it ended
    pub end: End,
    /// It is a page for people
    pub is_page: bool,
    /// The host that it leads to
    pub redirect: Option<String>,
    /// When it may be asked once more
    pub retry_after: Option<String>,
    /// The server's clock, and how far this machine's is ahead of it, seconds
    pub clock_ahead_s: Option<i64>,
}

/// Why there is no response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoResponse {
    /// Nothing came
    Silent,
    /// What HTTP said
    Broken(String),
}

impl Session {
    /// Agrees on HTTP.
    pub async fn open<S: Io + 'static>(stream: S, is_h2: bool) -> Result<Self, NoResponse> {
        let io = TokioIo::new(stream);
        let broken = |error: hyper::Error| NoResponse::Broken(words(&error));
        let sender = if is_h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
            tokio::spawn(async move { drop(connection.await) });
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
            tokio::spawn(async move { drop(connection.await) });
            Sender::Http1(sender)
        };
        Ok(Self { sender, authorization: None, proxy_authorization: None, is_absolute: false, is_h2 })
    }

    /// Asks for a URL, and reads so many bytes of it at most.
    pub async fn get(&mut self, url: &Uri, bytes_max: u64) -> Result<Fetched, NoResponse> {
        let broken = |error: hyper::Error| NoResponse::Broken(words(&error));
        let request = self.request(url).ok_or_else(|| NoResponse::Broken("it is no URL".into()))?;
        let began = Instant::now();
        let until = tokio::time::Instant::now() + ANSWER_MAX;
        let answered = async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        let response = match timeout_at(until, answered).await {
            Err(_) => return Err(NoResponse::Silent),
            Ok(answered) => answered.map_err(broken)?,
        };
        let first_byte = began.elapsed();
        let (head, mut body) = response.into_parts();
        let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let location = text(LOCATION).and_then(|to| to.parse::<Uri>().ok());
        let mut fetched = Fetched {
            status: head.status.as_u16(),
            first_byte,
            took: first_byte,
            bytes: 0,
            end: End::Complete,
            is_page: text(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")),
            redirect: location
                .filter(|_| head.status.is_redirection())
                .and_then(|to| Some(to.host()?.to_owned())),
            retry_after: text(RETRY_AFTER).filter(|wait| wait.len() < 32).map(str::to_owned),
            clock_ahead_s: text(DATE).and_then(|date| httpdate::parse_http_date(date).ok()).map(ahead),
        };
        let until = tokio::time::Instant::now() + ANSWER_MAX;
        loop {
            match timeout_at(until, body.frame()).await {
                Err(_) => fetched.end = End::Stalled,
                Ok(None) => {}
                Ok(Some(Err(_))) => fetched.end = End::Cut,
                Ok(Some(Ok(frame))) => {
                    fetched.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if fetched.bytes < bytes_max {
                        continue;
                    }
                    fetched.end = End::Enough;
                }
            }
            break;
        }
        fetched.took = began.elapsed();
        Ok(fetched)
    }

    fn request(&self, url: &Uri) -> Option<Request<Empty<Bytes>>> {
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let target = if self.is_h2 || self.is_absolute { url.clone() } else { path.parse().ok()? };
        let mut request = Request::get(target).header(USER_AGENT, AGENT).header(ACCEPT, "*/*");
        if !self.is_h2 {
            request = request.header(HOST, url.authority()?.as_str());
        }
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(value) = &self.proxy_authorization {
            request = request.header(PROXY_AUTHORIZATION, value);
        }
        request.body(Empty::new()).ok()
    }
}

fn ahead(date: SystemTime) -> i64 {
    let now = SystemTime::now();
    match now.duration_since(date) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX),
        Err(behind) => -i64::try_from(behind.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

fn words(error: &hyper::Error) -> String {
    let innermost = crate::reach::innermost(error);
    let own = error.to_string();
    if innermost == own { own } else { format!("{own}: {innermost}") }
}
