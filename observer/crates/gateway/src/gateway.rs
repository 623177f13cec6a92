//! The gateway itself: what it is set up with, and how a file is answered. In: an asset and an upstream. Out:
//! a head and a body, from memory, from disk, from what is in flight, or from the upstream.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::asset::{Asset, Kind};
use crate::client::Http;
use crate::connect::Network;
use crate::fetch::Fetch;
use crate::gomod::GoSum;
use crate::goproxy::List;
use crate::health::Next;
use crate::metrics::Metrics;
use crate::missing::Missing;
use crate::netrc::Netrc;
use crate::patterns::Patterns;
use crate::plan::Plan;
use crate::prefetch::Prefetch;
use crate::spool::{Head, Hold, Reader, Spool};
use crate::store::{CacheConfig, Keeping, Note, Store, Stored};
use crate::upstream::Upstream;

/// What a gateway is set up with.
#[derive(Debug)]
pub struct Config {
    /// The upstreams
    pub list: List,
    /// Their credentials, where their URLs have none
    pub netrc: Netrc,
    /// Files on disk
    pub cache: CacheConfig,
    /// How upstreams are reached
    pub network: Network,
    /// GONOPROXY, or GOPRIVATE: no upstream is asked for these
    pub no_proxy: Patterns,
    /// What go is going to ask
    pub plan: Plan,
    /// How long a 404 is believed
    pub missing_age: Duration,
    /// Hashes that what is kept must have
    pub sums: GoSum,
    /// A first part of every path, without which nothing is answered
    pub secret: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Served {
    /// Status and headers
    pub head: Head,
    /// The body
    pub body: Body,
}

/// A body, at hand or in flight.
#[derive(Debug)]
pub enum Body {
    /// In memory
    Bytes(Bytes),
    /// As it comes
    Reader(Reader),
}

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    upstreams: Vec<Upstream>,
    http: Http,
    store: Arc<Store>,
    in_flight: Mutex<HashMap<String, Arc<Spool>>>,
    missing: Missing,
    metrics: Arc<Metrics>,
    no_proxy: Patterns,
    prefetch: Prefetch,
    list: List,
    sums: GoSum,
    secret: Option<String>,
}

impl Gateway {
    /// Opens the cache; nothing is asked yet.
    pub fn new(config: Config) -> io::Result<Arc<Self>> {
        let metrics: Arc<Metrics> = Arc::default();
        let store = Arc::new(Store::open(config.cache.clone(), Arc::clone(&metrics))?);
        Ok(Self::with(config, store, metrics))
    }

    /// Other settings for the same files and counts; the cache stays where it is. What the one before has in flight
    /// comes to its end there.
    pub fn renewed(&self, config: Config) -> Arc<Self> {
        Self::with(config, Arc::clone(&self.store), Arc::clone(&self.metrics))
    }

    fn with(config: Config, store: Arc<Store>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            upstreams: config.list.entries.iter().map(|entry| Upstream::new(entry, &config.netrc)).collect(),
            http: Http::new(config.network),
            store,
            in_flight: Mutex::default(),
            missing: Missing::new(config.missing_age),
            metrics,
            no_proxy: config.no_proxy,
            prefetch: Prefetch::new(config.plan),
            list: config.list,
            sums: config.sums,
            secret: config.secret,
        })
    }

    /// Makes the first connection to each upstream; as many as will be used to one that is to be asked for a plan's
    /// files. One that cannot be reached is no error yet.
    pub async fn warm(self: &Arc<Self>) {
        for (index, upstream) in self.upstreams.iter().enumerate() {
            if upstream.has_fallback() {
                let gateway = Arc::clone(self);
                tokio::spawn(async move { gateway.is_reachable(index).await });
            } else {
                // The request that needs it reports it.
                let _ = self.http.warm(upstream.url(), index == 0 && self.prefetch.has_plan()).await;
            }
        }
    }

    /// Whether one that has another behind it on any error is to be asked.
    pub(crate) async fn is_reachable(self: &Arc<Self>, index: usize) -> bool {
        let upstream = &self.upstreams[index];
        loop {
            let mut changed = std::pin::pin!(upstream.changed.notified());
            changed.as_mut().enable();
            let next = upstream.health().next(Instant::now());
            match next {
                Next::Ask => return true,
                Next::Leave => return false,
                Next::Try => drop(tokio::spawn(Arc::clone(self).reach(index))),
                // Whichever comes first: it is looked again.
                Next::Wait(until) => drop(timeout_at(until.into(), changed).await),
            }
        }
    }

    async fn reach(self: Arc<Self>, index: usize) {
        let upstream = &self.upstreams[index];
        self.http.forget_protocol(upstream.url());
        match self.http.warm(upstream.url(), false).await {
            Ok(()) => upstream.health().answered(),
            Err(_) => upstream.health().unreachable(Instant::now()),
        }
        upstream.changed.notify_waiters();
    }

    /// GOPROXY for go, with the gateway at that base.
    pub fn for_go(&self, base: &str) -> String {
        match &self.secret {
            Some(secret) => self.list.for_go(&format!("{base}/{secret}")),
            None => self.list.for_go(base),
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether any upstream is given credentials of ours.
    pub fn has_credentials(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.authorization().is_some())
    }

    pub(crate) fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    pub(crate) fn list(&self) -> &List {
        &self.list
    }

    pub(crate) fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn prefetches(&self) -> &Prefetch {
        &self.prefetch
    }

    /// What is in flight of a file of an upstream.
    pub(crate) fn in_flight_of(&self, upstream: usize, asset: &Asset) -> Option<Arc<Spool>> {
        self.in_flight().get(&self.upstreams[upstream].key(asset)).cloned()
    }

    /// Whether go asks this upstream for everything: no other stands in front of it, or none that can be reached.
    fn is_first(&self, upstream: usize) -> bool {
        self.upstreams[..upstream]
            .iter()
            .all(|other| other.has_fallback() && other.health().is_down(Instant::now()))
    }

    pub(crate) fn missing(&self) -> &Missing {
        &self.missing
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<String, Arc<Spool>>> {
        self.in_flight.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether an upstream may be asked for it at all.
    pub(crate) fn is_private(&self, asset: &Asset) -> bool {
        let names_module = !matches!(asset.kind, Kind::Supported | Kind::TreeHead | Kind::Tile);
        names_module && self.no_proxy.cover(&asset.module)
    }

    /// Answers a client. `authorization` is the client's own: such an answer is for nobody else.
    pub async fn answer(
        self: &Arc<Self>,
        upstream: usize,
        asset: &Asset,
        authorization: Option<HeaderValue>,
    ) -> Served {
        if self.is_private(asset) {
            return text(StatusCode::NOT_FOUND, "goobserve gateway: private, so no proxy is asked\n");
        }
        let key = self.upstreams[upstream].key(asset);
        if authorization.is_some() {
            let reader = self.start(upstream, asset, None, authorization);
            return self.served(reader).await;
        }
        if self.is_first(upstream) {
            self.prefetch.asked(self, upstream, asset);
        }
        if let Some((note, bytes)) = self.store.in_memory(&key) {
            self.metrics.cache_hits_total.one();
            return Served { head: head_of(&note), body: Body::Bytes(bytes) };
        }
        if let Some(status) = self.missing.get(&key, Instant::now()) {
            self.metrics.missing_hits_total.one();
            return text(status, "not found\n");
        }
        let reader = self.join(upstream, asset, &key);
        let served = self.served(reader).await;
        if asset.kind == Kind::Supported && served.head.status == StatusCode::OK && self.is_first(upstream) {
            self.prefetch.database(self, upstream, &asset.module);
        }
        served
    }

    async fn served(&self, reader: Reader) -> Served {
        let head = reader.spool().head().await;
        Served { head, body: Body::Reader(reader) }
    }

    /// Reads what is in flight, or sets it on its way.
    fn join(self: &Arc<Self>, upstream: usize, asset: &Asset, key: &str) -> Reader {
        let mut all = self.in_flight();
        if let Some(reader) = all.get(key).and_then(Spool::reader) {
            self.metrics.coalesced_total.one();
            return reader;
        }
        self.launch(&mut all, upstream, asset, key)
    }

    fn launch(
        self: &Arc<Self>,
        all: &mut HashMap<String, Arc<Spool>>,
        upstream: usize,
        asset: &Asset,
        key: &str,
    ) -> Reader {
        let kept = asset.is_immutable().then(|| key.to_owned());
        let reader = self.start(upstream, asset, kept, None);
        let spool = Arc::clone(reader.spool());
        all.insert(key.to_owned(), Arc::clone(&spool));
        let (gateway, key) = (Arc::clone(self), key.to_owned());
        tokio::spawn(async move {
            let _ = spool.finished().await;
            let mut all = gateway.in_flight();
            if all.get(&key).is_some_and(|other| Arc::ptr_eq(other, &spool)) {
                all.remove(&key);
            }
        });
        reader
    }

    /// Sets a file on its way. With a key it may come from the cache, and is kept there.
    fn start(
        self: &Arc<Self>,
        upstream: usize,
        asset: &Asset,
        key: Option<String>,
        authorization: Option<HeaderValue>,
    ) -> Reader {
        let spool: Arc<Spool> = Arc::default();
        let reader = spool.first_reader();
        let gateway = Arc::clone(self);
        let asset = asset.clone();
        tokio::spawn(async move {
            if let Some(key) = key.clone()
                && gateway.serve_stored(key, &spool).await
            {
                return;
            }
            let keeping = key.map(|key| Keeping { key, sum: gateway.sums.of(&asset) });
            Fetch { gateway, upstream, asset, spool, authorization, keeping }.run().await;
        });
        reader
    }

    async fn serve_stored(&self, key: String, spool: &Spool) -> bool {
        let store = Arc::clone(&self.store);
        let Ok(Some(kept)) = spawn_blocking(move || store.find(&key)).await else { return false };
        self.metrics.cache_hits_total.one();
        match kept {
            Stored::Memory(note, bytes) => {
                spool.set_head(head_of(&note));
                let _ = spool.push(bytes, &self.store).await;
                spool.finish(Ok(note), None, &self.store).await;
            }
            Stored::File(note, file) => {
                spool.serve_file(file, note.size);
                spool.set_head(head_of(&note));
            }
        }
        true
    }

    /// Sees to it that a file is there before it is asked for; `None` when it is there or on its way, else
    /// what to wait for.
    pub(crate) fn prefetch(self: &Arc<Self>, upstream: usize, asset: &Asset) -> Option<Hold> {
        let key = self.upstreams[upstream].key(asset);
        if self.is_private(asset) || self.missing.get(&key, Instant::now()).is_some() || self.store.has(&key)
        {
            return None;
        }
        let mut all = self.in_flight();
        if all.contains_key(&key) {
            return None;
        }
        let reader = self.launch(&mut all, upstream, asset, &key);
        self.metrics.prefetched_total.one();
        // The hold is there before the reader goes.
        Some(reader.spool().hold())
    }
}

fn head_of(note: &Note) -> Head {
    let content_type = note.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
    let headers = HeaderMap::from_iter(content_type.map(|value| (CONTENT_TYPE, value)));
    Head { status: StatusCode::OK, headers, length: Some(note.size) }
}

/// An answer of our own.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Served {
    let bytes = Bytes::from(text.into());
    let headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))]);
    Served { head: Head { status, headers, length: Some(bytes.len() as u64) }, body: Body::Bytes(bytes) }
}
