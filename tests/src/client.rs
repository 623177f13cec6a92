//! A plain client of the lab's servers, for tests of the lab itself: one query, one request,
//! no retry, no cache. Works for labs on loopback addresses only.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::clock::monotonic_ns;
use crate::lab::Lab;

/// An HTTP/1.1 response. Its times begin before whatever the server may count from, so that none of
/// them is shorter than what the server waited, whenever this process gets to run.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status
    pub status: u16,
    /// The head as text
    pub head: String,
    /// The body
    pub body: Vec<u8>,
    /// From before the connection to the end of the TLS handshake, nanoseconds
    pub tls_ns: u64,
    /// From before the request to the first byte of the head, nanoseconds
    pub head_ns: u64,
    /// From before the request to the end of the body, nanoseconds
    pub whole_ns: u64,
}

/// Requests `path` of `host` at that address over HTTP/1.1, in a connection of its own.
pub fn get(lab: &Lab, address: Ipv4Addr, host: &'static str, path: &str) -> Result<Response> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(lab.ca()).context("read the lab's authority")?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(host)?)?;

    let begun = monotonic_ns();
    let tcp = TcpStream::connect((address, 443)).context("connect to the lab's proxy")?;
    let mut stream = StreamOwned::new(tls, tcp);
    stream.conn.complete_io(&mut stream.sock).context("shake hands with the lab's proxy")?;
    let shaken = monotonic_ns();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = vec![0];
    stream.read_exact(&mut answer).context("read a response's first byte")?;
    let headed = monotonic_ns();
    stream.read_to_end(&mut answer).context("read a response")?;
    let ended = monotonic_ns();

    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("no head in the response")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
    let body = answer.split_off(end + 4);
    let (tls_ns, head_ns, whole_ns) = (shaken - begun, headed - shaken, ended - shaken);
    Ok(Response { status, head, body, tls_ns, head_ns, whole_ns })
}

/// What a name server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The answer's code
    pub rcode: RCODE,
    /// It was cut: ask over TCP
    pub truncated: bool,
    /// The addresses
    pub addresses: Vec<Ipv4Addr>,
    /// From the query to the answer, nanoseconds
    pub took_ns: u64,
}

/// Asks the lab's name server over UDP; `None` when there is no answer within `limit`.
pub fn ask_udp(lab: &Lab, name: &str, qtype: TYPE, limit: Duration) -> Result<Option<Reply>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(limit))?;
    let begun = monotonic_ns();
    socket.send_to(&hypothesis(name, qtype)?, SocketAddr::from((lab.net.dns, 53)))?;
    let mut buffer = [0; 4096];
    match socket.recv(&mut buffer) {
        Ok(size) => reply(&buffer[..size], begun).map(Some),
        Err(_) => Ok(None),
    }
}

/// Asks the lab's name server over TCP.
pub fn ask_tcp(lab: &Lab, name: &str, qtype: TYPE) -> Result<Reply> {
    let hypothesis = hypothesis(name, qtype)?;
    let mut stream = TcpStream::connect((lab.net.dns, 53))?;
    let begun = monotonic_ns();
    stream.write_all(&(hypothesis.len() as u16).to_be_bytes())?;
    stream.write_all(&hypothesis)?;
    let mut size = [0; 2];
    stream.read_exact(&mut size)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(size))];
    stream.read_exact(&mut answer)?;
    reply(&answer, begun)
}

fn hypothesis(name: &str, qtype: TYPE) -> Result<Vec<u8>> {
    let mut packet = Packet::new_query(7);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let hypothesis =
        simple_dns::Question::new(Name::new(name)?, QTYPE::TYPE(qtype), QCLASS::CLASS(CLASS::IN), false);
    packet.questions.push(hypothesis);
    Ok(packet.build_bytes_vec()?)
}

fn reply(message: &[u8], begun: u64) -> Result<Reply> {
    let took_ns = monotonic_ns() - begun;
    let packet = Packet::parse(message).context("parse the name server's answer")?;
    let address = |data: &RData<'_>| match data {
        RData::A(a) => Some(Ipv4Addr::from(a.address)),
        _ => None,
    };
    Ok(Reply {
        rcode: packet.rcode(),
        truncated: packet.has_flags(PacketFlag::TRUNCATION),
        addresses: packet.answers.iter().filter_map(|record| address(&record.rdata)).collect(),
        took_ns,
    })
}
