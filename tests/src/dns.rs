//! A name server over UDP and TCP. In go names with their addresses and [`DnsFaults`], out comes
//! a log of queries. It answers A; AAAA with no addresses; other names with NXDOMAIN.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;

use crate::clock::monotonic_ns;
use crate::lock;

/// What the name server does wrong; the default is nothing.
#[derive(Clone, Debug, Default)]
pub struct DnsFaults {
    /// Before every answer
    pub delay: Duration,
    /// Before answers to A queries, on top
    pub delay_a: Duration,
    /// Before answers to AAAA queries, on top
    pub delay_aaaa: Duration,
    /// So many queries get no answer at all, from when the faults are set
    pub drop_first: u32,
    /// Of all queries, so many in a hundred get no answer, at random
    pub lose_percent: u8,
    /// Before NXDOMAIN, on top
    pub delay_unknown: Duration,
    /// AAAA queries get no answer at all
    pub silent_aaaa: bool,
    /// AAAA queries are answered with an address: [`v6`]'s
    pub aaaa: bool,
    /// Every answer is SERVFAIL
    pub servfail: bool,
    /// So many answers are SERVFAIL, from when the faults are set
    pub servfail_first: u32,
    /// Every answer over UDP is empty and truncated, so that it is retried over TCP
    pub truncate: bool,
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRecord {
    /// The name, without the final dot
    pub name: String,
    /// `A`, `AAAA`, …
    pub qtype: String,
    /// `udp` or `tcp`
    pub transport: &'static str,
    /// Who asked
    pub peer: SocketAddr,
    /// When it was read, `CLOCK_MONOTONIC`, nanoseconds
    pub received_ns: u64,
    /// Just before the answer was written; `None` when there is none yet, or it was dropped
    pub answered_ns: Option<u64>,
    /// The answer's code, as in `NOERROR`
    pub rcode: &'static str,
}

/// A running name server. It stops with the runtime it was started on.
#[derive(Debug)]
pub struct Dns {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: HashMap<String, Ipv4Addr>,
    faults: Mutex<DnsFaults>,
    to_drop: AtomicU32,
    to_fail: AtomicU32,
    log: Mutex<Vec<QueryRecord>>,
}

impl Dns {
    /// Answers on both sockets, which must be non-blocking. Must be called on a tokio runtime.
    pub fn start(
        udp: std::net::UdpSocket,
        tcp: std::net::TcpListener,
        names: HashMap<String, Ipv4Addr>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            names,
            faults: Mutex::default(),
            to_drop: AtomicU32::new(0),
            to_fail: AtomicU32::new(0),
            log: Mutex::default(),
        });
        tokio::spawn(serve_udp(Arc::new(UdpSocket::from_std(udp)?), Arc::clone(&shared)));
        tokio::spawn(serve_tcp(TcpListener::from_std(tcp)?, Arc::clone(&shared)));
        Ok(Self { shared })
    }

    /// What happens to queries from now on.
    pub fn set_faults(&self, faults: DnsFaults) {
        self.shared.to_drop.store(faults.drop_first, Ordering::SeqCst);
        self.shared.to_fail.store(faults.servfail_first, Ordering::SeqCst);
        *lock(&self.shared.faults) = faults;
    }

    /// The queries so far, in the order of their arrival.
    pub fn log(&self) -> Vec<QueryRecord> {
        lock(&self.shared.log).clone()
    }

    /// Empties the log. Call it when no query is open.
    pub fn take_log(&self) -> Vec<QueryRecord> {
        std::mem::take(&mut lock(&self.shared.log))
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = [0; 4096];
    loop {
        // An error is an ICMP message about an earlier answer.
        let Ok((size, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let received_ns = monotonic_ns();
        let (message, socket, shared) = (buffer[..size].to_vec(), Arc::clone(&socket), Arc::clone(&shared));
        tokio::spawn(async move {
            if let Some((index, answer)) = reply(&shared, &message, "udp", peer, received_ns).await {
                shared.answered(index);
                let _ = socket.send_to(&answer, peer).await;
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        // A client that hangs up ends its connection; the log has its queries.
        tokio::spawn(async move { drop(serve_stream(stream, peer, &shared).await) });
    }
}

async fn serve_stream(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        if let Some((index, answer)) = reply(shared, &message, "tcp", peer, monotonic_ns()).await {
            let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
            framed.extend(answer);
            shared.answered(index);
            stream.write_all(&framed).await?;
        }
    }
}

impl Shared {
    fn answered(&self, index: usize) {
        if let Some(record) = lock(&self.log).get_mut(index) {
            record.answered_ns = Some(monotonic_ns());
        }
    }

    /// One of the first so many.
    fn is_of(first: &AtomicU32) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        first.try_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

/// The IPv6 address that stands for that one: with the same last number.
pub fn v6(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(address.octets()[3]))
}

/// Logs the query and waits as the faults say. The answer comes with its place in the log;
/// `None` for what gets none.
async fn reply(
    shared: &Shared,
    message: &[u8],
    transport: &'static str,
    peer: SocketAddr,
    received_ns: u64,
) -> Option<(usize, Vec<u8>)> {
    let faults = lock(&shared.faults).clone();
    let (record, answer) = {
        let message = Packet::parse(message).ok()?;
        let query = message.questions.first()?;
        let name = query.qname.to_string();
        let known = shared.names.get(&name.to_ascii_lowercase());
        let truncated = faults.truncate && transport == "udp";

        let mut reply = Packet::new_reply(message.id());
        reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
        let rcode = match known {
            _ if faults.servfail || Shared::is_of(&shared.to_fail) => (RCODE::ServerFailure, "SERVFAIL"),
            None => (RCODE::NameError, "NXDOMAIN"),
            Some(_) => (RCODE::NoError, "NOERROR"),
        };
        *reply.rcode_mut() = rcode.0;
        if truncated {
            reply.set_flags(PacketFlag::TRUNCATION);
        } else if let (Some(&address), "NOERROR", QTYPE::TYPE(asked)) = (known, rcode.1, query.qtype)
            && (asked == TYPE::A || asked == TYPE::AAAA && faults.aaaa)
        {
            let data = match asked {
                TYPE::A => RData::A(A { address: address.into() }),
                _ => RData::AAAA(AAAA { address: v6(address).into() }),
            };
            reply.answers.push(ResourceRecord::new(query.qname.clone(), CLASS::IN, 60, data));
        }
        let qtype = qtype_name(query.qtype);
        reply.questions.push(query.clone());
        let answer = reply.build_bytes_vec().ok()?;
        let record =
            QueryRecord { name, qtype, transport, peer, received_ns, answered_ns: None, rcode: rcode.1 };
        (record, answer)
    };
    let delay = faults.delay
        + match record.qtype.as_str() {
            "A" => faults.delay_a,
            "AAAA" => faults.delay_aaaa,
            _ => Duration::ZERO,
        }
        + if record.rcode == "NXDOMAIN" { faults.delay_unknown } else { Duration::ZERO };
    let silent = faults.silent_aaaa && record.qtype == "AAAA";
    let index = {
        let mut log = lock(&shared.log);
        log.push(record);
        log.len() - 1
    };
    if silent || Shared::is_of(&shared.to_drop) || chance(faults.lose_percent) {
        return None;
    }
    sleep(delay).await;
    Some((index, answer))
}

/// True so many times in a hundred. The hasher's keys are the operating system's random numbers.
fn chance(percent: u8) -> bool {
    use std::hash::{BuildHasher as _, RandomState};
    percent > 0 && RandomState::new().hash_one(0) % 100 < u64::from(percent)
}

fn qtype_name(qtype: QTYPE) -> String {
    match qtype {
        QTYPE::TYPE(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    }
}
