//! Connections to upstreams. In: a URL, and the settings for forward proxies. Out: a stream, with TLS where
//! the URL wants it, and which HTTP was agreed on.
//!
//! A connection can be made before there is a request for it: what [`Connector::open`] made waits for the
//! first request of its host.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use crate::no_proxy::NoProxy;

/// How long a connection may take, all handshakes included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long one that was made beforehand is used; then servers close it.
const READY_MAX: Duration = Duration::from_secs(15);

/// Which HTTP a server speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// What a connection takes besides its URL.
#[derive(Clone, Debug)]
pub struct Network {
    /// Certificate authorities
    pub roots: Arc<RootCertStore>,
    /// Forward proxies by URL
    pub proxies: Arc<Matcher>,
    /// Hosts that none of them is asked for
    pub no_proxy: Arc<NoProxy>,
}

impl Network {
    /// As the environment says: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`; `SSL_CERT_FILE`, `SSL_CERT_DIR`.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // Go asks in this order, and does not know ALL_PROXY.
        let of = |name: &str| set(name).or_else(|| set(&name.to_lowercase())).unwrap_or_default();
        let proxies = Matcher::builder().http(of("HTTP_PROXY")).https(of("HTTPS_PROXY")).build();
        let no_proxy = NoProxy::parse(&of("NO_PROXY"));
        let mut roots = RootCertStore::empty();
        // Of a machine's certificates some may be too old to be understood; the others count.
        roots.add_parsable_certificates(certificates(
            set("SSL_CERT_FILE").as_deref(),
            set("SSL_CERT_DIR").as_deref(),
        ));
        Self { roots: Arc::new(roots), proxies: Arc::new(proxies), no_proxy: Arc::new(no_proxy) }
    }

    /// The forward proxy for a URL. Go never asks one for this machine.
    pub fn forward(&self, url: &Uri) -> Option<Intercept> {
        let host = url.host().unwrap_or_default();
        let is_direct = is_loopback(host) || self.no_proxy.covers(host, port(url));
        if is_direct { None } else { self.proxies.intercept(url) }
    }
}

trait Io: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection.
pub struct Stream {
    io: Box<dyn Io>,
    protocol: Protocol,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

type Ready = Mutex<HashMap<String, Vec<(Instant, Stream)>>>;

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    network: Network,
    ready: Arc<Ready>,
    /// HTTP/1.1 alone is offered
    only_http1: bool,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("only_http1", &self.only_http1).finish_non_exhaustive()
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    /// One that uses these.
    pub fn new(network: Network) -> Self {
        Self { network, ready: Arc::default(), only_http1: false }
    }

    /// The same for servers that speak HTTP/1.1.
    #[must_use]
    pub fn for_http1(&self) -> Self {
        Self { only_http1: true, ..self.clone() }
    }

    /// Makes a connection for a later request, and says what was agreed on.
    pub async fn open(&self, url: &Uri) -> Result<Protocol, Error> {
        let stream = connect(self.network.clone(), url.clone(), self.only_http1).await?;
        let protocol = stream.protocol;
        let mut ready = self.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ready.entry(origin(url)).or_default().push((Instant::now(), stream));
        Ok(protocol)
    }

    fn take(&self, url: &Uri) -> Option<Stream> {
        let mut ready = self.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waiting = ready.get_mut(&origin(url))?;
        waiting.retain(|(made, _)| made.elapsed() < READY_MAX);
        let at =
            waiting.iter().position(|(_, stream)| (stream.protocol == Protocol::Http1) == self.only_http1)?;
        Some(waiting.swap_remove(at).1)
    }
}

/// Scheme, host and port: what connections are shared by.
pub(crate) fn origin(url: &Uri) -> String {
    format!("{}://{}", url.scheme_str().unwrap_or("https"), url.authority().map_or("", |host| host.as_str()))
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        match self.take(&url) {
            Some(stream) => Box::pin(std::future::ready(Ok(stream))),
            None => Box::pin(connect(self.network.clone(), url, self.only_http1)),
        }
    }
}

async fn connect(network: Network, url: Uri, only_http1: bool) -> Result<Stream, Error> {
    match timeout(CONNECT_MAX, connect_to(&network, &url, only_http1)).await {
        Ok(made) => made,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

async fn connect_to(network: &Network, url: &Uri, only_http1: bool) -> Result<Stream, Error> {
    let host = url.host().unwrap_or_default();
    let io: Box<dyn Io> = match network.forward(url) {
        None => Box::new(tcp().call(url.clone()).await?),
        Some(proxy) => through(network, &proxy, with_port(url)?).await?,
    };
    if url.scheme_str() != Some("https") {
        return Ok(Stream { io, protocol: Protocol::Http1 });
    }
    let protocols: &[&[u8]] = if only_http1 { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
    tls(network, io, host, protocols).await
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(Duration::from_secs(15)));
    connector.set_connect_timeout(Some(CONNECT_MAX));
    connector
}

/// CONNECT through a forward proxy, or SOCKS.
async fn through(network: &Network, proxy: &Intercept, url: Uri) -> Result<Box<dyn Io>, Error> {
    if proxy.uri().scheme_str().is_some_and(|scheme| scheme.starts_with("socks5")) {
        let mut socks = SocksV5::new(proxy.uri().clone(), tcp());
        if let Some((user, password)) = proxy.raw_auth() {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        return Ok(Box::new(socks.call(url).await?));
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), ToProxy(network.clone()));
    if let Some(authorization) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    Ok(Box::new(tunnel.call(url).await?))
}

/// The way to a forward proxy itself.
#[derive(Clone)]
struct ToProxy(Network);

impl Service<Uri> for ToProxy {
    type Response = Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let network = self.0.clone();
        Box::pin(async move {
            let io = Box::new(tcp().call(proxy.clone()).await?);
            if proxy.scheme_str() == Some("https") {
                return tls(&network, io, proxy.host().unwrap_or_default(), &[b"http/1.1"]).await;
            }
            Ok(Stream { io, protocol: Protocol::Http1 })
        })
    }
}

async fn tls(network: &Network, io: Box<dyn Io>, host: &str, protocols: &[&[u8]]) -> Result<Stream, Error> {
    let mut config =
        ClientConfig::builder().with_root_certificates(Arc::clone(&network.roots)).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, TokioIo::new(io)).await?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let protocol = if is_h2 { Protocol::Http2 } else { Protocol::Http1 };
    Ok(Stream { io: Box::new(TokioIo::new(stream)), protocol })
}

/// A CONNECT names its port.
fn with_port(url: &Uri) -> Result<Uri, Error> {
    let (scheme, host) = (url.scheme_str().unwrap_or("https"), url.host().unwrap_or_default());
    Ok(format!("{scheme}://{host}:{}/", port(url)).parse()?)
}

/// Certificates of those variables, which are the caller's and need not be this process's; else the machine's.
fn certificates(file: Option<&str>, dir: Option<&str>) -> Vec<CertificateDer<'static>> {
    if file.is_none() && dir.is_none() {
        return rustls_native_certs::load_native_certs().certs;
    }
    let of_file = file.map(|file| rustls_native_certs::load_certs_from_paths(Some(Path::new(file)), None));
    let dirs = dir.unwrap_or_default().split(':').filter(|dir| !dir.is_empty());
    let of_dirs = dirs.map(|dir| rustls_native_certs::load_certs_from_paths(None, Some(Path::new(dir))));
    of_file.into_iter().chain(of_dirs).flat_map(|found| found.certs).collect()
}

/// The port of a URL.
pub fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.protocol == Protocol::Http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
