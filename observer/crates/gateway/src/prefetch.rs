//! Files that are asked for before go asks. In: a [`Plan`], and what go asks. Out: nothing; the files are in
//! flight or in the cache when go comes. At most so many at once, and so many requests and bytes in all.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::time::sleep;

use crate::asset::{Asset, Kind};
use crate::gateway::Gateway;
use crate::gomod::Versioned;
use crate::graph::Graph;
use crate::plan::Plan;
use crate::tiles;

/// Small files at once, and zips: together less than the streams that a server gives one connection (100), and what
/// go itself has at once on a large machine.
const SMALL_AT_ONCE: usize = 48;
const ZIPS_AT_ONCE: usize = 12;
/// Requests and bytes of one gateway's life: a plan is of one module.
const REQUESTS_MAX: u64 = 100_000;
const BYTES_MAX: u64 = 4 << 30;

/// What is to come.
#[derive(Debug)]
pub(crate) struct Prefetch {
    plan: Plan,
    /// The upstreams that are asked
    begun: Mutex<HashSet<usize>>,
    graph: Mutex<Graph>,
    /// Those of the graph that were asked for
    read: Mutex<Vec<Item<Versioned>>>,
    small: Lane,
    zips: Lane,
    databases: Mutex<HashSet<Item<String>>>,
    tiles: Mutex<HashSet<Item<String>>>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Of an upstream.
type Item<T> = (usize, T);

/// A queue and how many work on it.
#[derive(Debug)]
struct Lane {
    queue: Mutex<(VecDeque<Item<Asset>>, usize)>,
    at_once: usize,
}

impl Lane {
    fn new(at_once: usize) -> Self {
        Self { queue: Mutex::default(), at_once }
    }

    fn lock(&self) -> MutexGuard<'_, (VecDeque<Item<Asset>>, usize)> {
        lock(&self.queue)
    }

    /// The next one; without one, a worker less.
    fn next(&self) -> Option<Item<Asset>> {
        let mut queue = self.lock();
        let next = queue.0.pop_front();
        queue.1 -= usize::from(next.is_none());
        next
    }

    /// Adds to the queue: how many workers to start.
    fn add(&self, assets: impl IntoIterator<Item = Item<Asset>>, in_front: bool) -> usize {
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
            graph: Mutex::new(Graph::new(plan.go_mod.clone())),
            read: Mutex::default(),
            plan,
            begun: Mutex::default(),
            small: Lane::new(SMALL_AT_ONCE),
            zips: Lane::new(ZIPS_AT_ONCE),
            databases: Mutex::default(),
            tiles: Mutex::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// A client asked that upstream, which go asks first.
    pub(crate) fn asked(&self, gateway: &Arc<Gateway>, upstream: usize, asset: &Asset) {
        if asset.kind == Kind::Mod && lock(&self.begun).contains(&upstream) {
            let more = of(asset).map(|module| lock(&self.graph).asked(&module));
            self.read(gateway, upstream, more.unwrap_or_default());
        }
        if !self.plan.has(asset)
            || gateway.upstreams()[upstream].health().is_down(Instant::now())
            || !lock(&self.begun).insert(upstream)
        {
            return;
        }
        // Go reads all go.mod files first, and has their records looked up meanwhile; so `info` comes last.
        for kind in [Kind::Mod, Kind::Info, Kind::Zip] {
            let to_come = self.plan.files.iter().filter(|file| file.kind == kind);
            self.add(gateway, to_come.map(|file| (upstream, file.clone())).collect(), false);
        }
    }

    /// Go reads these go.mod files.
    fn read(&self, gateway: &Arc<Gateway>, upstream: usize, modules: Vec<Versioned>) {
        let files = modules.iter().filter_map(|(module, version)| Asset::of(module, version, Kind::Mod));
        let files = files.filter(|file| file.is_immutable() && !self.plan.is_cached(&file.path));
        let mut assets: Vec<Item<Asset>> = files.map(|file| (upstream, file)).collect();
        for (_, name) in lock(&self.databases).iter().filter(|(of, _)| *of == upstream) {
            let lookups = modules.iter().filter_map(|module| self.plan.lookup_of(name, module));
            assets.extend(lookups.map(|lookup| (upstream, lookup)));
        }
        lock(&self.read).extend(modules.into_iter().map(|module| (upstream, module)));
        self.add(gateway, assets, true);
    }

    /// Whether anything is certain.
    pub(crate) fn has_plan(&self) -> bool {
        !self.plan.files.is_empty()
    }

    /// The proxy has that checksum database, and go knows it.
    pub(crate) fn database(&self, gateway: &Arc<Gateway>, upstream: usize, name: &str) {
        let is_new = || {
            let mut known = lock(&self.databases);
            known.len() < 8 && known.insert((upstream, name.to_owned()))
        };
        if lock(&self.begun).contains(&upstream) && is_new() {
            // Each goes in front of the one before, so the last one is first.
            let mut lookups: Vec<Asset> = self.plan.lookups_in(name).collect();
            let read = lock(&self.read);
            let of_graph = read.iter().filter(|(of, _)| *of == upstream);
            lookups.extend(of_graph.filter_map(|(_, module)| self.plan.lookup_of(name, module)));
            drop(read);
            self.add(gateway, lookups.into_iter().rev().map(|asset| (upstream, asset)).collect(), true);
        }
    }

    fn add(&self, gateway: &Arc<Gateway>, assets: Vec<Item<Asset>>, in_front: bool) {
        let Some((_, first)) = assets.first() else { return };
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
    while let Some((upstream, asset)) = lane.next() {
        // What cannot be kept would be asked for twice.
        if prefetch.is_spent() || (zips && !gateway.store().can_write()) {
            continue;
        }
        let pause = gateway.upstreams()[upstream].health().pause(Instant::now());
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        if let Some(hold) = gateway.prefetch(upstream, &asset) {
            prefetch.requests.fetch_add(1, Ordering::Relaxed);
            let _ = hold.spool().finished().await;
            prefetch.bytes.fetch_add(hold.spool().length(), Ordering::Relaxed);
        } else if let Some(spool) = gateway.in_flight_of(upstream, &asset) {
            // Its tiles follow it all the same.
            let _ = spool.finished().await;
        }
        match asset.kind {
            Kind::Lookup => prefetch.follow_lookup(&gateway, upstream, &asset),
            Kind::Mod => prefetch.follow_mod(&gateway, upstream, &asset),
            _ => {}
        }
    }
}

impl Prefetch {
    /// The go.mod files that one leads to.
    fn follow_mod(&self, gateway: &Arc<Gateway>, upstream: usize, asset: &Asset) {
        let file = gateway.store().in_memory(&gateway.upstreams()[upstream].key(asset));
        let (Some((_, text)), Some(module)) = (file, of(asset)) else { return };
        let more = lock(&self.graph).came(&module, &String::from_utf8_lossy(&text));
        self.read(gateway, upstream, more);
    }

    /// The tiles that a record leads to.
    fn follow_lookup(&self, gateway: &Arc<Gateway>, upstream: usize, lookup: &Asset) {
        let Some((_, record)) = gateway.store().in_memory(&gateway.upstreams()[upstream].key(lookup)) else {
            return;
        };
        let database = lookup.path.split('/').nth(1).unwrap_or_default();
        let mut tiles = tiles::of(database, &record);
        let mut known = lock(&self.tiles);
        tiles.retain(|tile| !self.plan.is_cached(&tile.path) && known.insert((upstream, tile.path.clone())));
        drop(known);
        self.add(gateway, tiles.into_iter().map(|tile| (upstream, tile)).collect(), true);
    }
}

fn of(asset: &Asset) -> Option<Versioned> {
    Some((asset.module.clone(), asset.version.clone()?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
