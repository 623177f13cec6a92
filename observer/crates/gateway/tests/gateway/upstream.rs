//! An upstream with faults, a gateway in front of it, and a client. In one process, over plain HTTP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::connect::Network;
use gateway::gateway::{Config, Gateway};
use gateway::gomod::GoSum;
use gateway::goproxy::List;
use gateway::netrc::Netrc;
use gateway::patterns::Patterns;
use gateway::plan::{Plan, Sources};
use gateway::server::{self, Serving};
use gateway::store::CacheConfig;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the upstream does with one request, by its number for that path, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// The file, or 404
    Serve,
    /// This status, with `Retry-After` in seconds
    Status(u16, Option<u64>),
    /// The connection is reset before an answer
    Reset,
    /// The body is cut after so many bytes
    Cut(usize),
    /// Nothing is answered
    Silent,
}

pub(crate) type Faults = Box<dyn Fn(&str, usize) -> Act + Send + Sync>;

/// A server of files, with a log.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    log: Mutex<Vec<Received>>,
    faults: Faults,
    etags: bool,
    connections: AtomicUsize,
    open: watch::Sender<bool>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) head: String,
}

impl Upstream {
    pub(crate) async fn start(files: &[(&str, &[u8])], faults: Faults) -> Self {
        Self::with(files, faults, true).await
    }

    pub(crate) async fn with(files: &[(&str, &[u8])], faults: Faults, etags: bool) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), files, faults, etags)
    }

    /// At a given address.
    pub(crate) async fn at(address: SocketAddr, files: &[(&str, &[u8])]) -> Self {
        Self::listen(TcpListener::bind(address).await.unwrap(), files, healthy(), true)
    }

    fn listen(listener: TcpListener, files: &[(&str, &[u8])], faults: Faults, etags: bool) -> Self {
        let address = listener.local_addr().unwrap();
        let files = files.iter().map(|(path, body)| ((*path).to_owned(), body.to_vec())).collect();
        let shared = Arc::new(Shared {
            files: Mutex::new(files),
            log: Mutex::default(),
            faults,
            etags,
            connections: AtomicUsize::new(0),
            open: watch::Sender::new(true),
        });
        let of_all = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                of_all.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connection(stream, Arc::clone(&of_all)));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn log(&self) -> Vec<Received> {
        self.shared.log.lock().unwrap().clone()
    }

    /// How often a path was asked.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.log().iter().filter(|received| received.path == path).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, path: &str, body: &[u8]) {
        self.shared.files.lock().unwrap().insert(path.to_owned(), body.to_vec());
    }

    /// Whether answers are held back.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.open.send_replace(!held);
    }
}

/// HTTP/1.1 by hand: a library would not cut its own bodies.
async fn connection(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let number = {
            let mut log = shared.log.lock().unwrap();
            log.push(Received { path: path.clone(), head: text.clone() });
            log.iter().filter(|received| received.path == path).count() - 1
        };
        let act = (shared.faults)(&path, number);
        let _ = shared.open.subscribe().wait_for(|open| *open).await;
        let file = shared.files.lock().unwrap().get(&path).cloned();
        let (status, mut body) = match (act, file) {
            (Act::Status(status, _), _) => (status, b"injected".to_vec()),
            (_, Some(body)) => (200, body),
            (_, None) => (404, b"no such file".to_vec()),
        };
        let mut extra = String::new();
        let mut status = status;
        match act {
            Act::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            Act::Silent => std::future::pending().await,
            Act::Status(_, Some(seconds)) => extra.push_str(&format!("retry-after: {seconds}\r\n")),
            _ => {}
        }
        if status == 200 && shared.etags {
            let etag = format!("\"{}\"", body.len());
            extra.push_str(&format!("etag: {etag}\r\n"));
            let first = header(&text, "range")
                .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            if let Some(first) = first.filter(|_| header(&text, "if-range").as_deref() == Some(etag.as_str()))
            {
                extra.push_str(&format!(
                    "content-range: bytes {first}-{}/{}\r\n",
                    body.len() - 1,
                    body.len()
                ));
                (status, body) = (206, body[first..].to_vec());
            }
        }
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\ncontent-type: text/x\r\n{extra}\r\n",
            body.len()
        );
        if let Act::Cut(at) = act {
            body.truncate(at);
        }
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&body).await.is_err() {
            return;
        }
        if matches!(act, Act::Cut(_)) {
            return;
        }
    }
}

/// A header of a request.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// How the gateway differs from the usual one.
#[derive(Default)]
pub(crate) struct Options<'a> {
    pub(crate) cache: Option<&'a Path>,
    pub(crate) write: Option<gateway::store::WriteAt>,
    pub(crate) no_proxy: &'a str,
    pub(crate) module: Option<&'a Path>,
    pub(crate) secret: Option<&'a str>,
    pub(crate) go_sum: &'a str,
}

/// A gateway in front of that list.
pub(crate) struct Gate {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
}

impl Gate {
    pub(crate) async fn start(list: &str, options: Options<'_>) -> Self {
        let mut cache = CacheConfig::in_dir(options.cache.map(Path::to_owned), 1 << 30);
        if let Some(write) = options.write {
            cache.write = write;
        }
        let patterns = Patterns::parse(options.no_proxy);
        let plan = options.module.map(|dir| {
            Plan::read(&Sources {
                dir: dir.to_owned(),
                no_proxy: patterns.clone(),
                no_sumdb: patterns.clone(),
                no_workspace: true,
                mod_cache: None,
            })
        });
        let config = Config {
            list: List::parse(list).unwrap(),
            netrc: Netrc::default(),
            cache,
            network: Network::from_env(|_| None),
            no_proxy: patterns,
            plan: plan.unwrap_or_default(),
            missing_age: Duration::from_secs(60),
            sums: GoSum::parse(options.go_sum),
            secret: options.secret.map(str::to_owned),
        };
        let gateway = Gateway::new(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Nothing is renewed here: what serves stays though nobody can change it.
        let serving = watch::Sender::new(Serving { gateway: Arc::clone(&gateway), tls: None }).subscribe();
        tokio::spawn(server::serve(serving, listener, std::future::pending()));
        Self { gateway, address }
    }

    pub(crate) async fn get(&self, path: &str) -> Option<(StatusCode, Vec<u8>)> {
        self.get_with(path, &[]).await
    }

    /// Status and body; `None` when the body was cut.
    pub(crate) async fn get_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(StatusCode, Vec<u8>)> {
        get(self.address, path, headers).await
    }

    /// A file that must come, whole.
    pub(crate) async fn file(&self, path: &str) -> Vec<u8> {
        let (status, body) = self.get(path).await.unwrap_or_else(|| panic!("{path}: cut"));
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    /// Waits for a condition.
    pub(crate) async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        for _ in 0..1000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what}: {}", self.gateway.metrics().text());
    }
}

pub(crate) async fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Option<(StatusCode, Vec<u8>)> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let mut request = hyper::Request::get(path).header("host", "gateway.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender
        .send_request(request.body(http_body_util::Empty::<hyper::body::Bytes>::new()).unwrap())
        .await
        .ok()?;
    let status = response.status();
    Some((status, response.into_body().collect().await.ok()?.to_bytes().to_vec()))
}

/// No fault at all.
pub(crate) fn healthy() -> Faults {
    Box::new(|_, _| Act::Serve)
}

/// The first `count` requests for each path are treated so.
pub(crate) fn first(count: usize, act: Act) -> Faults {
    Box::new(move |_, number| if number < count { act } else { Act::Serve })
}

/// A body that is not the same anywhere.
pub(crate) fn body(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|n| ((n * 31) >> 3) as u8 ^ (n >> 11) as u8 ^ seed).collect()
}

/// A module's zip with one file, stored.
pub(crate) fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32).to_le_bytes();
    let (length, at) = ((name.len() as u16).to_le_bytes(), 30 + name.len() + content.len());
    let local =
        [&b"PK\x03\x04"[..], &[0; 14], &size, &size, &length, &[0; 2], name.as_bytes(), content].concat();
    let listed = [&b"PK\x01\x02"[..], &[0; 16], &size, &size, &length, &[0; 16], name.as_bytes()].concat();
    let (list, at) = ((listed.len() as u32).to_le_bytes(), (at as u32).to_le_bytes());
    let end = [&b"PK\x05\x06"[..], &[0; 4], &[1, 0, 1, 0], &list, &at, &[0; 2]].concat();
    [local, listed, end].concat()
}

/// Whether two bodies are equal; shown, they would fill a screen.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one == other
}

/// As [`get`], for a task of its own.
pub(crate) async fn get_owned(address: SocketAddr, path: String) -> Option<(StatusCode, Vec<u8>)> {
    get(address, &path, &[]).await
}
