//! The servers of resolv.conf, asked side by side. In: a question. Out: the first good answer.
//!
//! A server that says that there is something is believed at once, whichever it is. That there is nothing is
//! believed of the first server of the list, and of a later one when those in front of it have answered, too, or
//! are silent for a while: with a VPN the later ones know less.
//!
//! Each server is asked once more when it should have answered, from what it took before: a lost packet costs a part
//! of a second. After two without an answer, the query is also tried without EDNS, which old devices drop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use crate::metrics::Metrics;
use crate::resolv_conf::Servers;
use crate::wire::{Answer, FORMERR, NOTIMP, Question};

/// When a server of which nothing is known is asked once more first, and at the soonest and latest.
const REPEAT: Duration = Duration::from_millis(400);
const REPEAT_MIN: Duration = Duration::from_millis(100);
const REPEAT_MAX: Duration = Duration::from_secs(3);
/// How long servers in front may be silent when a later one says that there is nothing.
const IN_FRONT: Duration = Duration::from_secs(1);
/// Queries of one question to one server.
const SENT_MAX: u32 = 12;
/// Bytes of an answer.
const ANSWER_MAX: usize = 65_535;

/// The servers, and what was learned of them.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<Arc<Server>>,
    patience: Duration,
    metrics: Arc<Metrics>,
}

/// One server.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// What an answer takes, smoothed, microseconds; 0: nothing is known
    usual_us: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// Nothing is known of them yet.
    pub fn new(servers: &Servers, metrics: &Arc<Metrics>) -> Self {
        let server = |address: &SocketAddr| {
            Arc::new(Server { address: *address, usual_us: AtomicU64::new(0), metrics: Arc::clone(metrics) })
        };
        Self {
            servers: servers.addresses.iter().map(server).collect(),
            patience: servers.patience,
            metrics: Arc::clone(metrics),
        }
    }

    /// Asks; `None` when nobody answers in time.
    pub async fn ask(&self, question: &Question) -> Option<Answer> {
        let (sender, mut answers) = mpsc::channel(self.servers.len().max(1));
        let mut asking = JoinSet::new();
        for (index, server) in self.servers.iter().enumerate() {
            let (server, question, sender) = (Arc::clone(server), question.clone(), sender.clone());
            asking.spawn(async move {
                let answer = server.ask(&question).await;
                let _ = sender.send((index, answer)).await;
            });
        }
        drop(sender);
        let end = tokio::time::Instant::now() + self.patience;
        let best = self.best(&mut answers, end).await;
        if best.is_none() {
            self.metrics.failed.one();
        }
        best
    }

    async fn best(
        &self,
        answers: &mut mpsc::Receiver<(usize, Option<Answer>)>,
        end: tokio::time::Instant,
    ) -> Option<Answer> {
        let mut waiting: Vec<bool> = vec![true; self.servers.len()];
        let (mut nothing, mut other): (Option<(usize, Answer)>, Option<Answer>) = (None, None);
        let mut until = end;
        loop {
            // Nobody in front of who says that there is nothing is waited for any more.
            if let Some((by, answer)) = nothing.take_if(|(by, _)| !waiting[..*by].contains(&true)) {
                let _ = by;
                return Some(answer);
            }
            let Ok(Some((index, answer))) = timeout_at(until, answers.recv()).await else { break };
            waiting[index] = false;
            match answer {
                Some(answer) if answer.is_good() && answer.has_records => return Some(answer),
                Some(answer) if answer.is_good() => {
                    if nothing.as_ref().is_none_or(|(by, _)| index < *by) {
                        nothing = Some((index, answer));
                        until = end.min(tokio::time::Instant::now() + IN_FRONT);
                    }
                }
                Some(answer) => other = other.or(Some(answer)),
                None => {}
            }
        }
        nothing.map(|(_, answer)| answer).or(other)
    }
}

impl Server {
    fn repeat_after(&self, sent: u32) -> Duration {
        let first = match self.usual_us.load(Ordering::Relaxed) {
            0 => REPEAT,
            usual => (3 * Duration::from_micros(usual)).max(REPEAT_MIN),
        };
        first.saturating_mul(1 << sent.min(5)).min(REPEAT_MAX)
    }

    fn took(&self, took: Duration) {
        let now = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let smoothed = match self.usual_us.load(Ordering::Relaxed) {
            0 => now,
            before => before - before / 8 + now / 8,
        };
        self.usual_us.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Over UDP, and over TCP what does not fit. Ends when it is dropped.
    async fn ask(&self, question: &Question) -> Option<Answer> {
        // A port of its own for each question: an answer that somebody forges must guess it.
        let any: SocketAddr =
            if self.address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.ok()?;
        socket.connect(self.address).await.ok()?;
        let (plain, with_edns) = (fastrand::u16(..), fastrand::u16(..));
        let mut buffer = vec![0; ANSWER_MAX];
        let mut without_edns = false;
        for sent in 0..SENT_MAX {
            let edns = !(without_edns || sent >= 2 && sent % 2 == 0);
            let id = if edns { with_edns } else { plain };
            self.metrics.sent.one();
            if sent > 0 {
                self.metrics.repeated.one();
            }
            let asked = Instant::now();
            // What cannot be sent now is sent later: a route may come.
            let _ = socket.send(&question.query(id, edns)).await;
            let answered = timeout(self.repeat_after(sent), async {
                loop {
                    // A port that is closed is reported as an error of this; the server may come.
                    let Ok(length) = socket.recv(&mut buffer).await else {
                        sleep(REPEAT_MIN).await;
                        continue;
                    };
                    let parsed = |id| Answer::parse(&buffer[..length], id, question);
                    if let Some(answer) = parsed(with_edns).or_else(|| parsed(plain)) {
                        return answer;
                    }
                }
            });
            let Ok(answer) = answered.await else { continue };
            if sent == 0 {
                self.took(asked.elapsed());
            }
            if matches!(answer.rcode, FORMERR | NOTIMP) && !without_edns {
                without_edns = true;
                continue;
            }
            if !answer.truncated {
                return Some(answer);
            }
            if let Some(whole) = self.over_tcp(question).await {
                return Some(whole);
            }
        }
        None
    }

    async fn over_tcp(&self, question: &Question) -> Option<Answer> {
        self.metrics.sent.one();
        self.metrics.tcp.one();
        let id = fastrand::u16(..);
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.ok()?;
            let query = question.query(id, true);
            let length = u16::try_from(query.len()).ok()?;
            stream.write_all(&[&length.to_be_bytes()[..], &query].concat()).await.ok()?;
            let mut answer = vec![0; usize::from(stream.read_u16().await.ok()?)];
            stream.read_exact(&mut answer).await.ok()?;
            Answer::parse(&answer, id, question)
        };
        timeout(REPEAT_MAX, exchange).await.ok().flatten()
    }
}
