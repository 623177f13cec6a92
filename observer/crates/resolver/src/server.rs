//! The server's two sockets. In: queries over UDP and TCP. Out: answers, cut where they do not fit.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::forwarder::Forwarder;
use crate::wire::{NOERROR, Query};

/// Queries over UDP at once, and connections.
const QUERIES_MAX: usize = 512;
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be idle.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a query.
const QUERY_MAX: usize = 4096;

/// Serves until it is dropped.
pub async fn serve(forwarder: Arc<Forwarder>, udp: UdpSocket, tcp: TcpListener) {
    tokio::join!(serve_udp(Arc::clone(&forwarder), Arc::new(udp)), serve_tcp(forwarder, tcp));
}

async fn serve_udp(forwarder: Arc<Forwarder>, socket: Arc<UdpSocket>) {
    let (slots, mut buffer) = (Arc::new(Semaphore::new(QUERIES_MAX)), vec![0; QUERY_MAX]);
    loop {
        // An error is about an earlier answer.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let query = Query::parse(&buffer[..length]);
        let (Some(query), Ok(slot)) = (query, Arc::clone(&slots).try_acquire_owned()) else {
            forwarder.metrics().refused.one();
            continue;
        };
        let (forwarder, socket) = (Arc::clone(&forwarder), Arc::clone(&socket));
        tokio::spawn(async move {
            let mut answer = forwarder.answer(&query).await;
            if answer.len() > query.udp_max {
                // The client asks over TCP, where it comes from the cache.
                answer = query.empty(NOERROR, true);
            }
            let _ = socket.send_to(&answer, client).await;
            drop(slot);
        });
    }
}

async fn serve_tcp(forwarder: Arc<Forwarder>, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: those that are open end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let forwarder = Arc::clone(&forwarder);
        tokio::spawn(async move {
            // A client that goes ends its connection.
            let _ = connection(&forwarder, stream).await;
            drop(slot);
        });
    }
}

async fn connection(forwarder: &Arc<Forwarder>, mut stream: TcpStream) -> io::Result<()> {
    while let Ok(length) = timeout(IDLE_MAX, stream.read_u16()).await? {
        let mut message = vec![0; usize::from(length)];
        timeout(IDLE_MAX, stream.read_exact(&mut message)).await??;
        let Some(query) = Query::parse(&message) else {
            forwarder.metrics().refused.one();
            return Ok(());
        };
        let answer = forwarder.answer(&query).await;
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
    Ok(())
}
