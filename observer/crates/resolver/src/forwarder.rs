//! One question of one client. In: a query. Out: an answer: from the cache, from what is in flight for another
//! client, or from the servers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::cache::Cache;
use crate::metrics::Metrics;
use crate::resolv_conf::Servers;
use crate::upstream::Upstream;
use crate::wire::{A, AAAA, Answer, NOERROR, Query, Question, SERVFAIL};

/// How much later than its A an AAAA may be answered.
const GRACE: Duration = Duration::from_millis(300);
/// Questions in flight at once.
const IN_FLIGHT_MAX: usize = 1024;

/// What came of a question: nothing yet, or what the servers said.
type Came = Option<Option<Arc<Answer>>>;

/// The forwarder.
#[derive(Debug)]
pub struct Forwarder {
    cache: Cache,
    upstream: Upstream,
    in_flight: Mutex<HashMap<Question, watch::Receiver<Came>>>,
    /// An answer was put into the cache
    kept: Notify,
    metrics: Arc<Metrics>,
}

impl Forwarder {
    /// Asks these servers, and nobody else.
    pub fn new(servers: &Servers) -> Arc<Self> {
        let metrics: Arc<Metrics> = Arc::default();
        Arc::new(Self {
            cache: Cache::default(),
            upstream: Upstream::new(servers, &metrics),
            in_flight: Mutex::default(),
            kept: Notify::new(),
            metrics,
        })
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Asks for the addresses of hosts, so that they are there when they are needed.
    pub async fn fill(self: &Arc<Self>, hosts: &[String]) {
        let questions =
            hosts.iter().flat_map(|host| [A, AAAA].into_iter().filter_map(|qtype| Question::of(host, qtype)));
        let asked: Vec<_> = questions.filter_map(|question| self.start(&question)).collect();
        for mut came in asked {
            let _ = came.wait_for(Option::is_some).await;
        }
    }

    /// Answers a client.
    pub async fn answer(self: &Arc<Self>, query: &Query) -> Vec<u8> {
        self.metrics.queries.one();
        let question = &query.question;
        if let Some(kept) = self.cache.get(question, Instant::now()) {
            self.metrics.cached.one();
            if kept.stale {
                self.metrics.stale.one();
                let _ = self.start(question);
            }
            return query.answer(&kept.answer, kept.age_s);
        }
        let Some(mut came) = self.start(question) else {
            self.metrics.refused.one();
            return query.empty(SERVFAIL, false);
        };
        let answer =
            async move { came.wait_for(Option::is_some).await.ok().and_then(|came| came.clone().flatten()) };
        let answer = if question.qtype == AAAA {
            tokio::select! {
                answer = answer => answer,
                () = self.has_waited_enough(question) => {
                    self.metrics.aaaa_given_up.one();
                    return query.empty(NOERROR, false);
                }
            }
        } else {
            answer.await
        };
        match answer {
            Some(answer) => query.answer(&answer, 0),
            None => query.empty(SERVFAIL, false),
        }
    }

    /// Done a while after the name's A was answered with an address.
    async fn has_waited_enough(&self, question: &Question) {
        let sibling = question.with_type(A);
        loop {
            let mut kept = std::pin::pin!(self.kept.notified());
            kept.as_mut().enable();
            let answered = self.cache.get(&sibling, Instant::now());
            if answered.is_some_and(|kept| kept.answer.has_records) {
                return sleep(GRACE).await;
            }
            kept.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, watch::Receiver<Came>>> {
        self.in_flight.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sets a question on its way, or joins it; `None` when there are too many. It goes on when nobody waits for
    /// it any more: the next one finds its answer in the cache.
    fn start(self: &Arc<Self>, question: &Question) -> Option<watch::Receiver<Came>> {
        let mut all = self.lock();
        if let Some(came) = all.get(question) {
            return Some(came.clone());
        }
        if all.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let (sender, came) = watch::channel(None);
        all.insert(question.clone(), came.clone());
        let (forwarder, question) = (Arc::clone(self), question.clone());
        tokio::spawn(async move {
            let answer = forwarder.upstream.ask(&question).await.map(Arc::new);
            if let Some(answer) = &answer {
                forwarder.cache.put(&question, answer, Instant::now());
            }
            forwarder.lock().remove(&question);
            sender.send_replace(Some(answer));
            forwarder.kept.notify_waiters();
        });
        Some(came)
    }
}
