//! A web site on loopback, for a headless browser: folders of files, a page that looks at one of
//! them by a script, and what the script reported. The page is loaded when the script has reported it, so
//! that a browser that ends with its picture of the loaded page ends then.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A script posts there what it reports, and the page waits there until it has.
const REPORTED: &str = "/reported";
/// The most that a script reports.
const MOST: usize = 1 << 20;

/// A site; it ends when dropped.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    reported: watch::Receiver<Option<String>>,
    _runtime: Runtime,
}

struct Shared {
    folder: PathBuf,
    pages: HashMap<&'static str, Bytes>,
    reported: watch::Sender<Option<String>>,
}

impl Site {
    /// A site of a folder's files and these pages.
    pub fn start(folder: &Path, pages: HashMap<&'static str, String>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start the site's runtime")?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("listen")?;
        let address = listener.local_addr()?;
        let (sender, reported) = watch::channel(None);
        let pages = pages.into_iter().map(|(path, page)| (path, page.into())).collect();
        let shared = Arc::new(Shared { folder: folder.to_owned(), pages, reported: sender });
        runtime.spawn(serve(listener, shared));
        Ok(Self { address, reported, _runtime: runtime })
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the script reported.
    pub fn reported(&self) -> Option<String> {
        self.reported.borrow().clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&shared), request));
            // A browser closes connections when it likes.
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let (status, body) = match (path.as_str(), request.method()) {
        (REPORTED, &Method::POST) => match Limited::new(request.into_body(), MOST).collect().await {
            Ok(reported) => {
                let reported = String::from_utf8_lossy(&reported.to_bytes()).into_owned();
                shared.reported.send_replace(Some(reported));
                (StatusCode::OK, Bytes::new())
            }
            Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()),
        },
        (REPORTED, _) => {
            // The sender lives in `shared`.
            _ = shared.reported.subscribe().wait_for(Option::is_some).await;
            (StatusCode::OK, Bytes::new())
        }
        _ => match shared.pages.get(path.as_str()).cloned().or_else(|| file(&shared.folder, &path)) {
            Some(page) => (StatusCode::OK, page),
            None => (StatusCode::NOT_FOUND, Bytes::new()),
        },
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind(&path)));
    Ok(response)
}

/// A file of the folder, never one outside.
fn file(folder: &Path, path: &str) -> Option<Bytes> {
    let path = Path::new(path.trim_start_matches('/'));
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| std::fs::read(folder.join(path)).ok()).flatten().map(Bytes::from)
}

/// By the name's end, as browsers want it of scripts.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") | None => "text/html",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}
