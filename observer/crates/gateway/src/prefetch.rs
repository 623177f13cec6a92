//! Files that are asked for before go asks. In: a [`Plan`], and what go asks. Out: nothing; the files are in
//! flight or in the cache when go comes. At most so many at once, and so many requests and bytes in all.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::time::sleep;

use crate::asset::{Asset, Kind};
use crate::gateway::Gateway;
use crate::plan::Plan;
use crate::tiles;

/// Small files at once, and zips.
const SMALL_AT_ONCE: usize = 16;
const ZIPS_AT_ONCE: usize = 8;
/// Requests and bytes of one gateway's life: a plan is of one module.
const REQUESTS_MAX: u64 = 100_000;
const BYTES_MAX: u64 = 4 << 30;

/// What is to come.
#[derive(Debug)]
pub(crate) struct Prefetch {
    plan: Plan,
    begun: AtomicBool,
    small: Lane,
    zips: Lane,
    databases: Mutex<HashSet<String>>,
    tiles: Mutex<HashSet<String>>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A queue and how many work on it.
#[derive(Debug)]
struct Lane {
    queue: Mutex<(VecDeque<Asset>, usize)>,
    at_once: usize,
}

impl Lane {
    fn new(at_once: usize) -> Self {
        Self { queue: Mutex::default(), at_once }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (VecDeque<Asset>, usize)> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next one; without one, a worker less.
    fn next(&self) -> Option<Asset> {
        let mut queue = self.lock();
        let next = queue.0.pop_front();
        queue.1 -= usize::from(next.is_none());
        next
    }

    /// Adds to the queue: how many workers to start.
    fn add(&self, assets: impl IntoIterator<Item = Asset>, in_front: bool) -> usize {
        let mut queue = self.lock();
        for asset in assets {
            if in_front { queue.0.push_front(asset) } else { queue.0.push_back(asset) }
        }
        let more = self.at_once.min(queue.0.len() + queue.1).saturating_sub(queue.1);
        queue.1 += more;
        more
    }
}

impl Prefetch {
    /// Nothing happens before go asks for something of the plan.
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            begun: AtomicBool::new(false),
            small: Lane::new(SMALL_AT_ONCE),
            zips: Lane::new(ZIPS_AT_ONCE),
            databases: Mutex::default(),
            tiles: Mutex::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// A client asked for that.
    pub(crate) fn asked(&self, gateway: &Arc<Gateway>, asset: &Asset) {
        if self.begun.load(Ordering::Relaxed)
            || !self.plan.has(asset)
            || self.begun.swap(true, Ordering::Relaxed)
        {
            return;
        }
        // What is asked right now is no longer to come.
        let to_come = self.plan.files.iter().filter(|file| **file != *asset).cloned();
        let (zips, small): (Vec<Asset>, Vec<Asset>) = to_come.partition(|file| file.kind == Kind::Zip);
        self.add(gateway, small, false);
        self.add(gateway, zips, false);
    }

    /// The proxy has that checksum database, and go knows it.
    pub(crate) fn database(&self, gateway: &Arc<Gateway>, name: &str) {
        let is_new =
            || self.databases.lock().is_ok_and(|mut known| known.len() < 8 && known.insert(name.to_owned()));
        if self.begun.load(Ordering::Relaxed) && is_new() {
            self.add(gateway, self.plan.lookups_in(name).collect(), false);
        }
    }

    fn add(&self, gateway: &Arc<Gateway>, assets: Vec<Asset>, in_front: bool) {
        let Some(first) = assets.first() else { return };
        let is_zip = first.kind == Kind::Zip;
        let lane = if is_zip { &self.zips } else { &self.small };
        for _ in 0..lane.add(assets, in_front) {
            tokio::spawn(work(Arc::clone(gateway), is_zip));
        }
    }

    fn is_spent(&self) -> bool {
        self.requests.load(Ordering::Relaxed) >= REQUESTS_MAX
            || self.bytes.load(Ordering::Relaxed) >= BYTES_MAX
    }
}

/// Works on a queue until it is empty.
async fn work(gateway: Arc<Gateway>, zips: bool) {
    let prefetch = gateway.prefetches();
    let lane = if zips { &prefetch.zips } else { &prefetch.small };
    while let Some(asset) = lane.next() {
        // What cannot be kept would be asked for twice.
        if prefetch.is_spent() || (zips && !gateway.store().can_write()) {
            continue;
        }
        let pause = gateway.upstreams()[0].health().pause(Instant::now());
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        if let Some(hold) = gateway.prefetch(&asset) {
            prefetch.requests.fetch_add(1, Ordering::Relaxed);
            let _ = hold.spool().finished().await;
            prefetch.bytes.fetch_add(hold.spool().length(), Ordering::Relaxed);
        } else if let Some(spool) = gateway.in_flight_of(&asset) {
            // Its tiles follow it all the same.
            let _ = spool.finished().await;
        }
        if asset.kind == Kind::Lookup {
            prefetch.follow(&gateway, &asset);
        }
    }
}

impl Prefetch {
    /// The tiles that a record leads to.
    fn follow(&self, gateway: &Arc<Gateway>, lookup: &Asset) {
        let Some((_, record)) = gateway.store().in_memory(&gateway.upstreams()[0].key(lookup)) else {
            return;
        };
        let database = lookup.path.split('/').nth(1).unwrap_or_default();
        let mut tiles = tiles::of(database, &record);
        let mut known = self.tiles.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tiles.retain(|tile| !self.plan.is_cached(&tile.path) && known.insert(tile.path.clone()));
        drop(known);
        self.add(gateway, tiles, true);
    }
}
