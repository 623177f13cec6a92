//! The gateway's own HTTP. In: connections of go commands. Out: answers. What answers may be replaced at any time:
//! connections stay, their next request is the new one's.
//!
//! | path | what |
//! |---|---|
//! | `/N/…` | upstream N of the list, from 0, as a module proxy |
//! | `/…` | the whole list, walked by go's rules; what the last upstream that was asked said |
//! | `/healthz` | `ok` |
//! | `/metrics` | counters, as Prometheus reads them |

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::asset::Asset;
use crate::gateway::{Body, Gateway, Served, text};
use crate::goproxy::Fallback;
use crate::spool::{Cut, Reader};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take for a request's head.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long requests may go on after the end was asked for.
const END_MAX: Duration = Duration::from_secs(5);

/// What serves.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Who answers
    pub gateway: Arc<Gateway>,
    /// TLS of new connections; `None`: plain HTTP
    pub tls: Option<Arc<ServerConfig>>,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Bodies of answers.
type AnswerBody = UnsyncBoxBody<Bytes, Cut>;

/// Serves until `end` is done; then lets requests end for a few seconds.
pub async fn serve(serving: Receiver<Serving>, listener: TcpListener, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (closing, closed) = tokio::sync::watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            () = &mut end => break,
            Some(accepted) = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (serving, mut closed) = (serving.clone(), closed.clone());
                connections.spawn(async move {
                    let _place = place;
                    let gateway = now(&serving);
                    let _held = gateway.metrics().connections.hold();
                    let Some(io) = shaken(stream, &serving).await else { return };
                    let service = service_fn(|request| answer(now(&serving), request));
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(64 * 1024);
                    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
                    // A client that hangs up is no error.
                    tokio::select! {
                        _ = &mut served => return,
                        _ = closed.wait_for(|closing| *closing) => served.as_mut().graceful_shutdown(),
                    }
                    let _ = served.await;
                });
            }
            // Of the connection, or of open files: the next one may be good.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
    let _ = closing.send(true);
    let _ = timeout(END_MAX, async { while connections.join_next().await.is_some() {} }).await;
}

/// Who answers now.
fn now(serving: &Receiver<Serving>) -> Arc<Gateway> {
    Arc::clone(&serving.borrow().gateway)
}

/// With TLS, where that is served; `None` when the client does not get that far.
async fn shaken(stream: TcpStream, serving: &Receiver<Serving>) -> Option<Box<dyn Io>> {
    let _ = stream.set_nodelay(true);
    let tls = serving.borrow().tls.clone();
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    let stream = timeout(HEAD_MAX, TlsAcceptor::from(tls).accept(stream)).await.ok()?.ok()?;
    Some(Box::new(stream))
}

/// Whether only this machine reaches an address.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

async fn answer(
    gateway: Arc<Gateway>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    gateway.metrics().requests_total.one();
    let is_head = request.method() == Method::HEAD;
    if request.method() != Method::GET && !is_head {
        let mut response = response(&gateway, text(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n"), false);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let authorization = request.headers().get(AUTHORIZATION).cloned().map(|mut value| {
        value.set_sensitive(true);
        value
    });
    let served = route(&gateway, request.uri().path(), request.uri().query().is_some(), authorization).await;
    Ok(response(&gateway, served, is_head))
}

async fn route(
    gateway: &Arc<Gateway>,
    path: &str,
    has_query: bool,
    authorization: Option<HeaderValue>,
) -> Served {
    let not_found = || text(StatusCode::NOT_FOUND, "goobserve gateway: go asks for no such thing\n");
    match path {
        "/healthz" => return text(StatusCode::OK, "ok\n"),
        "/metrics" => {
            let mut served = text(StatusCode::OK, gateway.metrics().text());
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            served.head.headers.insert(CONTENT_TYPE, kind);
            return served;
        }
        _ => {}
    }
    let path = match gateway.secret() {
        Some(secret) => path.strip_prefix('/').and_then(|path| path.strip_prefix(secret)),
        None => Some(path),
    };
    let Some(path) = path.and_then(|path| path.strip_prefix('/')).filter(|_| !has_query) else {
        return not_found();
    };
    // No module's path begins with a number alone: its first part has a dot.
    let numbered =
        path.split_once('/').and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
    match numbered {
        Some((number, rest)) => match Asset::parse(rest).filter(|_| number < gateway.list().entries.len()) {
            Some(asset) => gateway.answer(number, &asset, authorization).await,
            None => not_found(),
        },
        None => match Asset::parse(path) {
            Some(asset) => whole_list(gateway, &asset, authorization).await,
            None => not_found(),
        },
    }
}

/// The list by go's rules.
async fn whole_list(gateway: &Arc<Gateway>, asset: &Asset, authorization: Option<HeaderValue>) -> Served {
    let entries = &gateway.list().entries;
    // Whose they are cannot be known when there are several: they are for one host.
    let authorization = authorization.filter(|_| entries.len() == 1);
    let mut at = 0;
    loop {
        let served = gateway.answer(at, asset, authorization.clone()).await;
        let status = served.head.status;
        let is_missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let next = is_missing || (status != StatusCode::OK && entries[at].fallback == Fallback::AnyError);
        if !next || at + 1 == entries.len() {
            return served;
        }
        at += 1;
    }
}

fn response(gateway: &Arc<Gateway>, served: Served, is_head: bool) -> Response<AnswerBody> {
    let body = match served.body {
        _ if is_head => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        Body::Bytes(bytes) => {
            gateway.metrics().sent_bytes_total.add(bytes.len() as u64);
            Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
        }
        Body::Reader(reader) => {
            let (sender, body) = Channel::new(2);
            tokio::spawn(pump(Arc::clone(gateway), reader, sender));
            body.boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = served.head.status;
    *response.headers_mut() = served.head.headers;
    if let Some(length) = served.head.length {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// Carries a body to a client, as fast as that takes it.
async fn pump(gateway: Arc<Gateway>, mut reader: Reader, mut sender: Sender<Bytes, Cut>) {
    loop {
        match reader.next().await {
            Some(Ok(bytes)) => {
                gateway.metrics().sent_bytes_total.add(bytes.len() as u64);
                if sender.send_data(bytes).await.is_err() {
                    return;
                }
            }
            Some(Err(cut)) => return sender.abort(cut),
            None => return,
        }
    }
}
