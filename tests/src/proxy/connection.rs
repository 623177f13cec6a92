//! One connection: its TLS handshake and the HTTP in it, with the faults that are of connections.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::{Security, Shared, answer};
use crate::proxy::Faults;

/// Between two looks at what has come.
const CHECK_EVERY: Duration = Duration::from_millis(1);
/// After which what was written last has been sent.
const FLUSHED: Duration = Duration::from_millis(20);
/// Enough for a `ClientHello`.
const HELLO: usize = 4096;

/// Serves it to its end.
pub(super) async fn serve(
    stream: TcpStream,
    security: Security,
    connection: usize,
    shared: &Arc<Shared>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    // Kept, for whoever speaks HTTP has the stream then.
    let socket = stream.as_fd().try_clone_to_owned()?;
    let cut = Arc::new(Notify::new());
    let result = tokio::select! {
        result = spoken(stream, security, connection, shared, &cut) => result,
        () = async {
            cut.notified().await;
            sleep(FLUSHED).await;
        } => {
            // What is closed with no time to linger is reset.
            set_socket_linger(&socket, Some(Duration::ZERO))?;
            Ok(())
        }
    };
    drop(socket);
    result
}

async fn spoken(
    stream: TcpStream,
    security: Security,
    connection: usize,
    shared: &Arc<Shared>,
    cut: &Arc<Notify>,
) -> Result<()> {
    let faults = shared.faults();
    if let Some(host) = &faults.reset_sni
        && greets(&stream, host).await?
    {
        // What is closed with no time to linger is reset.
        stream.set_zero_linger()?;
        return Ok(());
    }
    if security == Security::None {
        return requests(stream, false, connection, shared, &faults, cut).await;
    }
    sleep(faults.tls_delay).await;
    let usual = if faults.http1_only { &shared.http1 } else { &shared.tls };
    let tls = faults.tls.as_ref().unwrap_or(usual);
    let stream = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?;
    let alpn = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let h2 = alpn.as_deref() == Some("h2");
    shared.log.tls_done(connection, alpn);
    requests(stream, h2, connection, shared, &faults, cut).await
}

/// HTTP to the connection's end.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    h2: bool,
    connection: usize,
    shared: &Arc<Shared>,
    faults: &Faults,
    cut: &Arc<Notify>,
) -> Result<()> {
    let sequence = AtomicU32::new(0);
    let enough = Notify::new();
    let service = service_fn(|request| {
        let sequence = sequence.fetch_add(1, Ordering::Relaxed);
        if faults.goaway_after == Some(sequence + 1) {
            enough.notify_one();
        }
        let (shared, cut) = (Arc::clone(shared), Arc::clone(cut));
        async move { answer(&shared, connection, sequence, &request, &cut).await }
    });
    let io = TokioIo::new(stream);
    if !h2 {
        let keep = !faults.one_request_each;
        http1::Builder::new().keep_alive(keep).serve_connection(io, service).await?;
        return Ok(());
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    if let Some(most) = faults.max_streams {
        builder.max_concurrent_streams(most);
    }
    let mut served = std::pin::pin!(builder.serve_connection(io, service));
    tokio::select! {
        result = &mut served => return Ok(result?),
        () = enough.notified() => served.as_mut().graceful_shutdown(),
    }
    Ok(served.await?)
}

/// Whether the first that the client sends has the host's name in it.
async fn greets(stream: &TcpStream, host: &str) -> Result<bool> {
    let mut hello = [0; HELLO];
    loop {
        let size = stream.peek(&mut hello).await?;
        // The length of a TLS record is in its bytes 3 and 4.
        let whole = size >= 5 && size >= 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        if whole || size == 0 || size == HELLO {
            return Ok(hello[..size].windows(host.len()).any(|part| part == host.as_bytes()));
        }
        // A peek does not wait for more than there is.
        sleep(CHECK_EVERY).await;
    }
}
