//! A name server with faults, and a client of the resolver.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resolver::forwarder::Forwarder;
use resolver::resolv_conf::Servers;
use resolver::server;
use resolver::wire::{A, AAAA, Answer, Query, Question};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

/// What is done with a query over UDP, by its number from 0 for that question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// An address, with that TTL
    Address(u8, u32),
    /// That there is nothing of this type
    Nothing,
    /// That there is no such name
    Unknown,
    /// A failure
    Fail,
    /// Cut: the answer is had over TCP
    Cut,
    /// No answer
    Silent,
    /// The answer comes after so many milliseconds
    Late(u64),
}

type Faults = Box<dyn Fn(&Question, usize) -> Act + Send + Sync>;

/// The server.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<Question>>>,
}

impl NameServer {
    pub(crate) async fn start(faults: impl Fn(&Question, usize) -> Act + Send + Sync + 'static) -> Self {
        // One port for both.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let (address, log) = (udp.local_addr().unwrap(), Arc::<Mutex<Vec<Question>>>::default());
        let (faults, udp, of_all): (Arc<Faults>, _, _) =
            (Arc::new(Box::new(faults)), Arc::new(udp), Arc::clone(&log));
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
                let message = buffer[..length].to_vec();
                let query = Query::parse(&message).unwrap();
                let number = {
                    let mut log = of_all.lock().unwrap();
                    log.push(query.question.clone());
                    log.iter().filter(|other| **other == query.question).count() - 1
                };
                let (act, udp) = (faults(&query.question, number), Arc::clone(&udp));
                tokio::spawn(async move {
                    let act = match act {
                        Act::Late(ms) => {
                            sleep(Duration::from_millis(ms)).await;
                            Act::Address(1, 60)
                        }
                        act => act,
                    };
                    if let Some(answer) = answered(&query, act) {
                        let _ = udp.send_to(&answer, client).await;
                    }
                });
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut message = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut message).await.unwrap();
                let answer = answered(&Query::parse(&message).unwrap(), Act::Address(9, 60)).unwrap();
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self { address, log }
    }

    /// How often a question was asked over UDP.
    pub(crate) fn asked(&self, question: &Question) -> usize {
        self.log.lock().unwrap().iter().filter(|other| *other == question).count()
    }
}

/// The server's answer.
fn answered(query: &Query, act: Act) -> Option<Vec<u8>> {
    Some(match act {
        Act::Address(last, ttl) => {
            let mut message = query.empty(0, false);
            message[7] = 1;
            message.extend([0xc0, 12]);
            message.extend(query.question.qtype.to_be_bytes());
            message.extend([0, 1]);
            message.extend(ttl.to_be_bytes());
            let mut address = vec![last; if query.question.qtype == A { 4 } else { 16 }];
            message.extend((address.len() as u16).to_be_bytes());
            message.append(&mut address);
            message
        }
        Act::Nothing => query.empty(0, false),
        Act::Unknown => query.empty(3, false),
        Act::Fail => query.empty(2, false),
        Act::Cut => query.empty(0, true),
        Act::Silent | Act::Late(_) => return None,
    })
}

/// The resolver in front of these servers.
pub(crate) struct Resolver {
    pub(crate) forwarder: Arc<Forwarder>,
    address: SocketAddr,
}

impl Resolver {
    pub(crate) async fn start(servers: &[&NameServer]) -> Self {
        let addresses = servers.iter().map(|server| server.address).collect();
        let forwarder =
            Forwarder::new(&Servers { addresses, patience: Duration::from_secs(3), ..Servers::parse("") });
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        tokio::spawn(server::serve(Arc::clone(&forwarder), udp, tcp));
        Self { forwarder, address }
    }

    /// What a client gets over UDP.
    pub(crate) async fn ask(&self, question: &Question) -> Option<Answer> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&question.query(77, true), self.address).await.unwrap();
        let mut buffer = [0; 2048];
        let length = timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.ok()?.unwrap();
        Answer::parse(&buffer[..length], 77, question)
    }

    /// And over TCP.
    pub(crate) async fn ask_over_tcp(&self, question: &Question) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let query = question.query(78, false);
        stream.write_u16(query.len() as u16).await.unwrap();
        stream.write_all(&query).await.unwrap();
        let mut message = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut message).await.unwrap();
        Answer::parse(&message, 78, question)
    }
}

pub(crate) fn a(name: &str) -> Question {
    Question::of(name, A).unwrap()
}

pub(crate) fn aaaa(name: &str) -> Question {
    Question::of(name, AAAA).unwrap()
}

/// The last byte of an answer with one address.
pub(crate) fn last(answer: &Answer) -> u8 {
    assert!(answer.has_records, "{answer:?}");
    *answer.message().last().unwrap()
}
