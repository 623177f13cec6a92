//! A module proxy with checksum database over TLS, HTTP/2 or HTTP/1.1 as the client chooses, and in
//! plain http. In go a [`Store`] and [`Faults`], out comes an [`AccessLog`].

mod body;
mod connection;
mod faults;
mod log;

use std::sync::{Arc, Mutex};

use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_rustls::rustls::ServerConfig;

use self::body::TimedBody;
pub use self::faults::{
    Answer, BodyStall, CutBody, Fake, Faults, HeadDelay, Matcher, Redirect, ResetBody, SlowBody, StreamReset,
    Tampered, ending, paths,
};
pub use self::log::{AccessLog, ConnectionRecord, RequestRecord};
use crate::clock::monotonic_ns;
use crate::lock;
use crate::store::Store;

/// A running proxy. It stops with the runtime it was started on.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    /// Requests for this host are for the database itself, not for a proxy of it.
    sumdb_host: String,
    tls: Arc<ServerConfig>,
    /// The same without HTTP/2
    http1: Arc<ServerConfig>,
    faults: Mutex<Arc<Faults>>,
    log: Arc<AccessLog>,
}

impl Proxy {
    /// Serves on the listeners, which must be non-blocking. Requests for `sumdb_host` are
    /// answered as the checksum database does, others as a module proxy. Must be called on a
    /// tokio runtime.
    pub fn start(
        listeners: Vec<std::net::TcpListener>,
        tls: Arc<ServerConfig>,
        store: Arc<Store>,
        sumdb_host: &str,
    ) -> std::io::Result<Self> {
        let mut http1 = (*tls).clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let shared = Arc::new(Shared {
            store,
            sumdb_host: sumdb_host.to_owned(),
            tls,
            http1: Arc::new(http1),
            faults: Mutex::default(),
            log: Arc::default(),
        });
        for listener in listeners {
            tokio::spawn(accept(TcpListener::from_std(listener)?, Security::Tls, Arc::clone(&shared)));
        }
        Ok(Self { shared })
    }

    /// Serves on that listener, which must be non-blocking, in plain http. Must be called on a tokio
    /// runtime.
    pub fn serve_plain(&self, listener: std::net::TcpListener) -> std::io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(accept(listener, Security::None, Arc::clone(&self.shared)));
        Ok(())
    }

    /// What happens from the next connection and request on.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = Arc::new(faults);
    }

    /// The access log.
    pub fn log(&self) -> &AccessLog {
        &self.shared.log
    }
}

impl Shared {
    fn faults(&self) -> Arc<Faults> {
        Arc::clone(&lock(&self.faults))
    }
}

/// What a listener's connections begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Security {
    Tls,
    None,
}

async fn accept(listener: TcpListener, security: Security, shared: Arc<Shared>) {
    loop {
        // An error is of the connection that was to be accepted; the next one may be good.
        if let Ok((stream, peer)) = listener.accept().await {
            let connection = shared.log.accepted(peer, stream.local_addr().ok());
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                // A client that hangs up in the middle of anything is in the log, no error.
                let _ = connection::serve(stream, security, connection, &shared).await;
                shared.log.closed(connection);
            });
        }
    }
}

async fn answer(
    shared: &Shared,
    connection: usize,
    sequence: u32,
    request: &Request<Incoming>,
    notify: &Arc<Notify>,
) -> Result<Response<TimedBody>, h2::Error> {
    let received_ns = monotonic_ns();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .or_else(|| request.headers().get(HOST)?.to_str().ok().map(ToOwned::to_owned))
        .unwrap_or_default();

    let faults = shared.faults();
    let file = file_of(shared, &authority, &path);
    let redirect = faults.redirects.iter().find(|redirect| redirect.is_for(&authority, &path));
    let injected = faults.answers.iter().find(|answer| (answer.matches.0)(&path));
    let fake = faults.fakes.iter().find(|fake| (fake.matches.0)(&path));
    let tampered = faults.tampered.iter().find(|tampered| (tampered.matches.0)(&path));
    let file =
        file.map(|file| tampered.map_or(file.clone(), |tampered| (tampered.change)(file.into()).into()));
    let file = fake.map(|fake| Bytes::from(vec![0; fake.bytes])).or(file);
    let (status, bytes) = match (injected, file) {
        _ if redirect.is_some() => (StatusCode::FOUND.as_u16(), Bytes::new()),
        (Some(answer), _) => (answer.status, Bytes::from_static(b"injected by the lab\n")),
        (None, Some(bytes)) => (StatusCode::OK.as_u16(), bytes),
        (None, None) => (StatusCode::NOT_FOUND.as_u16(), Bytes::from_static(b"not found\n")),
    };
    let slot = AccessLog::received(
        &shared.log,
        RequestRecord {
            connection,
            sequence,
            authority,
            method: request.method().to_string(),
            path: path.clone(),
            authorization: request
                .headers()
                .get(AUTHORIZATION)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            status,
            received_ns,
            first_byte_ns: None,
            end_ns: None,
            bytes: 0,
        },
    );
    sleep(faults.head_delay(&path)).await;
    if let Some(reset) = faults.stream_resets.iter().find(|reset| reset.takes(&path)) {
        return Err(h2::Reason::from(reset.code).into());
    }
    let rate = faults.slow_bodies.iter().find(|body| (body.matches.0)(&path)).map(|body| body.bytes_per_s);
    let stall = faults.body_stalls.iter().find(|stall| (stall.matches.0)(&path)).cloned();
    let reset = faults.reset_bodies.iter().find(|fault| (fault.matches.0)(&path));
    let reset = reset.map(|fault| (fault.after_bytes, Arc::clone(notify)));
    slot.head_sent();
    let cut = faults.cut_bodies.iter().find(|cut| (cut.matches.0)(&path)).map(|cut| cut.after_bytes);
    let mut response = Response::new(TimedBody::new(bytes, stall, rate, slot).cut(cut).reset(reset));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // What is answered well in the place of a file is a page, and a redirect in its place leads to itself.
    let page = injected.is_some_and(|answer| answer.status == 200);
    let circle = injected.filter(|answer| (300..400).contains(&answer.status)).map(|_| path.clone());
    if let Ok(content_type) = if page { "text/html" } else { content_type(&path) }.parse() {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    let location = redirect.map(|redirect| redirect.location(&path)).or(circle);
    if let Some(location) = location.and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    if let Some(seconds) = injected.and_then(|answer| answer.retry_after_s) {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

fn file_of(shared: &Shared, authority: &str, path: &str) -> Option<Bytes> {
    let path = path.split('?').next().unwrap_or(path);
    let path = percent_decoded(without_prefix(path).strip_prefix('/')?)?;
    if authority == shared.sumdb_host {
        shared.store.get(&format!("sumdb/{}/{path}", shared.store.sumdb()))
    } else {
        shared.store.get(&path)
    }
}

/// A proxy's URL may have a path: under `/NAME~/` the lab serves what it serves without, so that
/// its log reports whose request it is.
fn without_prefix(path: &str) -> &str {
    path.find("~/").filter(|at| !path[1..*at].contains('/')).map_or(path, |at| &path[at + 1..])
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("info") => "application/json",
        Some("zip") => "application/zip",
        _ => "text/plain; charset=UTF-8",
    }
}

/// The path with `%xx` replaced; `None` when that is cut, no hexadecimal number, or no UTF-8.
fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            (digit()? * 16 + digit()?) as u8
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_off_and_nothing_else() {
        for (path, rest) in
            [("/u1~/a.test/@v/list", "/a.test/@v/list"), ("/a.test/b~/@v/list", "/a.test/b~/@v/list")]
        {
            assert_eq!(without_prefix(path), rest);
        }
    }

    #[test]
    fn percent_signs_are_decoded_or_refused() {
        assert_eq!(
            percent_decoded("example.test/%21big/@v/list").as_deref(),
            Some("example.test/!big/@v/list")
        );
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decoded(bad), None, "{bad}");
        }
    }
}
