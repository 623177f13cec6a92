//! A forward proxy: HTTP's `CONNECT` or SOCKS5, with or without a password, over TCP or TLS. In go
//! [`ForwardOptions`] and [`ForwardFaults`], out come its address for clients and a log of what
//! it was asked for. Names are looked up in the lab's own list, and it connects from where the servers are.

mod connect;
mod log;
mod socks;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

pub use self::log::TunnelRecord;
use self::log::{Log, Slot};
use crate::lab::{FORWARD_HOST, Lab};
use crate::lock;
use crate::net::Connector;

/// Where it listens at [`FORWARD_HOST`].
pub const FORWARD_PORT: u16 = 3128;
/// Longer than any test: what is never answered is closed when the client closes it.
const FOR_EVER: Duration = Duration::from_hours(1);

/// What clients speak with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// HTTP's `CONNECT`
    #[default]
    Connect,
    /// SOCKS5
    Socks5,
}

/// What it is like; without anything, a `CONNECT` proxy that lets everybody in.
#[derive(Clone, Debug, Default)]
pub struct ForwardOptions {
    /// What clients speak
    pub protocol: Protocol,
    /// … over TLS, with a certificate of the lab's authority
    pub over_tls: bool,
    /// User and password that it asks for
    pub password: Option<(String, String)>,
    /// It leaves Nagle's algorithm on: what is small waits for an acknowledgement
    pub nagle: bool,
}

/// What it does wrong; the default is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardFaults {
    /// Before every answer to a request for a tunnel
    pub delay: Duration,
    /// What comes after that
    pub then: Then,
}

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Then {
    /// The tunnel stands
    #[default]
    Stands,
    /// Nothing is ever said
    Silent,
    /// `CONNECT`: this status; SOCKS5: this reply
    Refused(u16),
    /// The connection is reset
    Reset,
}

/// A running forward proxy. It stops with its lab.
#[derive(Debug)]
pub struct Forward {
    options: ForwardOptions,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: ForwardOptions,
    tls: Arc<ServerConfig>,
    names: HashMap<String, Ipv4Addr>,
    connector: Connector,
    faults: Mutex<ForwardFaults>,
    log: Log,
}

impl Lab {
    /// Starts a forward proxy at [`FORWARD_HOST`]. A lab has one.
    pub fn forward(&self, options: &ForwardOptions) -> Result<Forward> {
        let listener = self.net.serve(self.net.free(9), FORWARD_PORT)?;
        // HTTP/2 would be another CONNECT.
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let shared = Arc::new(Shared {
            options: options.clone(),
            tls: Arc::new(tls),
            names: self.names().clone(),
            connector: self.net.connector()?,
            faults: Mutex::default(),
            log: Log::default(),
        });
        let _entered = self.runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        self.runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Forward { options: options.clone(), shared })
    }
}

impl Forward {
    /// What `HTTPS_PROXY` says, user and password included.
    pub fn url(&self) -> String {
        let scheme = match (self.options.protocol, self.options.over_tls) {
            (Protocol::Connect, false) => "http",
            (Protocol::Connect, true) => "https",
            (Protocol::Socks5, _) => "socks5",
        };
        let password = self.options.password.as_ref();
        let password = password.map(|(user, password)| format!("{user}:{password}@")).unwrap_or_default();
        format!("{scheme}://{password}{FORWARD_HOST}:{FORWARD_PORT}")
    }

    /// Variables that lead go and git through it: go reads either case, curl in git only the lower one
    /// for plain http.
    pub fn env(&self) -> Vec<(String, String)> {
        ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"]
            .map(|name| (name.to_owned(), self.url()))
            .into()
    }

    /// What happens to what is asked from now on.
    pub fn set_faults(&self, faults: ForwardFaults) {
        *lock(&self.shared.faults) = faults;
    }

    /// What it was asked for, in the order of the requests.
    pub fn log(&self) -> Vec<TunnelRecord> {
        self.shared.log.records()
    }

    /// Empties the log. Call it when no tunnel is being asked for.
    pub fn take_log(&self) -> Vec<TunnelRecord> {
        self.shared.log.take()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        // A client that hangs up in the middle of anything is in the log, no error.
        tokio::spawn(async move { drop(serve(stream, &shared).await) });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(!shared.options.nagle)?;
    let peer = stream.peer_addr()?;
    let mut client = if shared.options.over_tls {
        Client::Tls(Box::new(TlsAcceptor::from(Arc::clone(&shared.tls)).accept(stream).await?))
    } else {
        Client::Plain(stream)
    };
    match shared.options.protocol {
        Protocol::Connect => connect::serve(&mut client, peer, shared).await,
        Protocol::Socks5 => socks::serve(&mut client, peer, shared).await,
    }
}

/// What is to be answered to a request for a tunnel.
enum Answer {
    /// It stands, to there
    Stands(TcpStream),
    /// It is refused with that status or reply
    Refused(u16),
    /// Nothing more is said on the connection
    Nothing,
}

impl Shared {
    /// Waits and decides as the faults say; `unreachable` is what a proxy says of a target that it cannot
    /// connect to.
    async fn decide(&self, client: &Client, target: &str, unreachable: u16) -> io::Result<Answer> {
        let faults = *lock(&self.faults);
        sleep(faults.delay).await;
        Ok(match faults.then {
            Then::Stands => match self.connect(target).await {
                Ok(server) => Answer::Stands(server),
                Err(_) => Answer::Refused(unreachable),
            },
            Then::Refused(with) => Answer::Refused(with),
            Then::Silent => {
                client.closed_within(FOR_EVER).await;
                Answer::Nothing
            }
            Then::Reset => {
                // What is closed with no time to linger is reset.
                client.tcp().set_zero_linger()?;
                Answer::Nothing
            }
        })
    }

    async fn connect(&self, target: &str) -> io::Result<TcpStream> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no host of the lab");
        let (host, port) = target.rsplit_once(':').ok_or_else(unknown)?;
        let address = self.names.get(host).copied().or_else(|| host.parse().ok()).ok_or_else(unknown)?;
        let port = port.parse().map_err(|_| unknown())?;
        let connector = self.connector.clone();
        // In a thread, for it may have to be in another network namespace.
        let connected = tokio::task::spawn_blocking(move || connector.connect(address, port));
        let stream = connected.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        TcpStream::from_std(stream)
    }

    /// Notes when it was answered, and says it; then carries bytes until both sides have ended.
    async fn answer(
        &self,
        client: &mut Client,
        slot: Slot,
        answer: Answer,
        words: impl FnOnce(Option<u16>) -> Vec<u8>,
    ) -> io::Result<()> {
        use tokio::io::AsyncWriteExt as _;
        match answer {
            Answer::Nothing => Ok(()),
            Answer::Refused(with) => {
                self.log.answered(slot, Some(with));
                client.write_all(&words(Some(with))).await?;
                client.shutdown().await
            }
            Answer::Stands(mut server) => {
                self.log.answered(slot, None);
                client.write_all(&words(None)).await?;
                client.flush().await?;
                copy_bidirectional(client, &mut server).await.map(drop)
            }
        }
    }
}

/// A client's connection.
enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Waits until the client has closed, at most for so long.
    async fn closed_within(&self, limit: Duration) {
        let closed = async {
            // Nobody reads here, so what was sent stays; an end is seen behind it only by its event.
            while let Ok(ready) = self.tcp().ready(tokio::io::Interest::READABLE).await {
                if ready.is_read_closed() {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(limit, closed).await;
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
