//! The way to a host up to a byte stream: TCP to each of its addresses, or to those of a forward proxy, and the
//! tunnel through it. In: addresses and a port. Out: who answered and when, and a stream.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use gateway::connect::Network;
use hyper::Uri;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpMaxSeg;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use crate::hello::{self, Hello, Shape};

/// How long a handshake of TCP may take: SYNs go out at 0, 1 and 3 s.
pub const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long a forward proxy may take to answer.
pub const TUNNEL_MAX: Duration = Duration::from_secs(4);
/// Addresses of a family that are tried.
const ADDRESSES_MAX: usize = 2;
/// Bytes of a forward proxy's answer.
const HEAD_MAX: usize = 8192;

/// A byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
/// Any byte stream.
pub type Stream = Box<dyn Io>;

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoConnection {
    /// Nothing came
    Silent,
    /// Nobody listens
    Refused,
    /// This machine has no way there
    NoRoute,
    /// What the system said
    Failed(String),
}

/// One address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Which
    pub address: SocketAddr,
    /// How long the handshake took, or why there was none
    pub outcome: Result<Duration, NoConnection>,
}

/// Tries the first addresses of both families, side by side.
pub async fn attempts(addresses: &[IpAddr], port: u16) -> Vec<Attempt> {
    let of = |is: fn(&IpAddr) -> bool| addresses.iter().filter(move |ip| is(ip)).take(ADDRESSES_MAX).copied();
    let tried: Vec<SocketAddr> = of(IpAddr::is_ipv4)
        .chain(of(IpAddr::is_ipv6))
        .map(|address| SocketAddr::from((address, port)))
        .collect();
    let mut tasks = JoinSet::new();
    for (index, address) in tried.into_iter().enumerate() {
        tasks.spawn(async move { (index, Attempt { address, outcome: once(address).await }) });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done);
    }
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, attempt)| attempt).collect()
}

/// One handshake; the connection is closed again.
pub async fn once(address: SocketAddr) -> Result<Duration, NoConnection> {
    let began = Instant::now();
    connect(address).await.map(|_| began.elapsed())
}

/// A connection.
pub async fn connect(address: SocketAddr) -> Result<TcpStream, NoConnection> {
    connect_with(address, None).await
}

/// A connection whose packets are no larger in either direction.
pub async fn connect_with(address: SocketAddr, segment_max: Option<u32>) -> Result<TcpStream, NoConnection> {
    let open = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = segment_max {
            setsockopt(&socket, TcpMaxSeg, &bytes)?;
        }
        socket.connect(address).await
    };
    match timeout(CONNECT_MAX, open).await {
        Err(_) => Err(NoConnection::Silent),
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => NoConnection::Refused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => NoConnection::NoRoute,
            _ => NoConnection::Failed(error.to_string()),
        }),
    }
}

/// A forward proxy.
#[derive(Clone)]
pub struct Forward {
    intercept: Intercept,
}

/// Never its password.
impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Forward {
    /// The one that the settings have for a URL.
    pub fn of(network: &Network, url: &Uri) -> Option<Self> {
        network.forward(url).map(|intercept| Self { intercept })
    }

    /// How it is spoken to: `http`, `https`, `socks5`.
    pub fn scheme(&self) -> &str {
        self.intercept.uri().scheme_str().unwrap_or("http")
    }

    /// Whether that is SOCKS.
    pub fn is_socks(&self) -> bool {
        self.scheme().starts_with("socks")
    }

    /// Its host.
    pub fn host(&self) -> String {
        self.intercept.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.intercept.uri().port_u16().unwrap_or(match self.scheme() {
            "http" => 80,
            "https" => 443,
            _ => 1080,
        })
    }

    /// As it is shown: without user and password.
    pub fn shown(&self) -> String {
        format!("{}://{}:{}", self.scheme(), self.host(), self.port())
    }

    /// The header with its password, where it has one.
    pub fn authorization(&self) -> Option<&hyper::header::HeaderValue> {
        self.intercept.basic_auth()
    }

    /// Whether the settings have a password for it.
    pub fn has_password(&self) -> bool {
        self.intercept.basic_auth().is_some() || self.intercept.raw_auth().is_some()
    }
}

/// Why there is no tunnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoTunnel {
    /// The proxy could not be connected to
    Connect(NoConnection),
    /// TLS with the proxy itself failed
    Tls(String),
    /// It said no: a status of HTTP
    Status(u16),
    /// It said no: in SOCKS
    Refused(String),
    /// Nothing came
    Silent,
    /// It hung up
    Closed,
}

/// A tunnel to a host through a forward proxy at that address.
pub async fn tunnel(
    network: &Network,
    forward: &Forward,
    address: SocketAddr,
    host: &str,
    port: u16,
) -> Result<Stream, NoTunnel> {
    let stream = to_forward(network, forward, address).await?;
    match timeout(TUNNEL_MAX, ask(forward, stream, host, port)).await {
        Ok(answered) => answered,
        Err(_) => Err(NoTunnel::Silent),
    }
}

/// A connection with a forward proxy, with TLS where it is spoken to over TLS.
pub async fn to_forward(
    network: &Network,
    forward: &Forward,
    address: SocketAddr,
) -> Result<Stream, NoTunnel> {
    let stream: Stream = Box::new(connect(address).await.map_err(NoTunnel::Connect)?);
    if forward.scheme() != "https" {
        return Ok(stream);
    }
    let shape = Shape { is_large: true, is_named: true, has_h2: false };
    match hello::say(&network.roots, stream, &forward.host(), shape).await {
        Hello::Spoken(spoken) => Ok(Box::new(spoken.stream)),
        other => Err(NoTunnel::Tls(other.in_words())),
    }
}

async fn ask(forward: &Forward, mut stream: Stream, host: &str, port: u16) -> Result<Stream, NoTunnel> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if forward.is_socks() {
        return socks(forward, stream, &host, port).await;
    }
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(value) = forward.authorization() {
        request.extend(b"Proxy-Authorization: ");
        request.extend(value.as_bytes());
        request.extend(b"\r\n");
    }
    request.extend(b"\r\n");
    stream.write_all(&request).await.map_err(|_| NoTunnel::Closed)?;
    // Byte by byte: what follows the head is the tunnel's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) if head.len() < HEAD_MAX => head.push(byte),
            _ => break,
        }
    }
    match status(&head) {
        Some(200..=299) => Ok(stream),
        Some(status) => Err(NoTunnel::Status(status)),
        None => Err(NoTunnel::Closed),
    }
}

/// The status in the first line of an answer.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

async fn socks(forward: &Forward, stream: Stream, host: &str, port: u16) -> Result<Stream, NoTunnel> {
    let mut socks = SocksV5::new(forward.intercept.uri().clone(), Once(Some(stream)));
    if let Some((user, password)) = forward.intercept.raw_auth() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    let target: Uri = format!("https://{host}:{port}/").parse().map_err(|_| NoTunnel::Closed)?;
    match socks.call(target).await {
        Ok(io) => Ok(Box::new(io.into_inner())),
        Err(error) => Err(NoTunnel::Refused(innermost(&error))),
    }
}

/// The last of an error's causes.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Gives the stream that is there already.
struct Once(Option<Stream>);

impl Service<Uri> for Once {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_anything_else_is_none() {
        assert_eq!(status(b"HTTP/1.1 407 Proxy Authentication Required\r\nA: b\r\n\r\n"), Some(407));
        assert_eq!(status(b"HTTP/1.0 200\r\n\r\n"), Some(200));
        for other in [&b""[..], b"HTTP/2 200 OK\r\n", b"SSH-2.0\r\n", b"\xff\xff\r\n", b"HTTP/1.1 many\r\n"] {
            assert_eq!(status(other), None);
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_at_once() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tried = attempts(&[closed.ip()], closed.port()).await;
        assert_eq!(tried.len(), 1);
        assert_eq!(tried[0].outcome, Err(NoConnection::Refused));
    }
}
