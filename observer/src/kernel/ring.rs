//! The worker's end of the kernel: records from the ring in order of time, and the two maps.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use observer_common::{DATA_MAX, Lost, RING_BYTES, Tree, TreeTimes};

use super::monotonic_ns;

/// How long a record is held back so that an earlier one of the other CPU can come in first,
/// nanoseconds. A program takes its time stamp before it reserves its place, and may be
/// preempted in between for a time slice.
pub const HOLD_NS: u64 = 6_000_000;

/// Records held at most, and their bytes (a ring full of the longest); beyond it they are handed
/// on at once.
const HELD_MAX: usize = 65_536;
const HELD_BYTES: usize = 16 << 20;

/// Reads the ring.
pub struct Ring {
    ring: RingBuf<MapData>,
    trees: HashMap<MapData, u32, [u64; 7]>,
    lost: PerCpuArray<MapData, u64>,
    held: Vec<(u64, Box<[u8]>)>,
    held_bytes: usize,
    /// Records lost to a full ring when it was last looked
    full: u64,
    /// By when no more than these had been lost
    whole_ns: u64,
}

/// Room that the longest record takes of the ring, its header of the ring's own included, bytes.
const RECORD_MAX: usize = DATA_MAX + 512;
/// What the ring keeps for itself before each record.
const RING_HEADER: usize = 8;

impl Ring {
    /// From the agent's descriptors.
    pub fn new(ring: OwnedFd, trees: OwnedFd, lost: OwnedFd) -> Result<Self> {
        let ring = Map::RingBuf(MapData::from_fd(ring)?);
        let trees = Map::HashMap(MapData::from_fd(trees)?);
        let lost = Map::PerCpuArray(MapData::from_fd(lost)?);
        Ok(Self {
            ring: RingBuf::try_from(ring).context("cannot map the ring")?,
            trees: HashMap::try_from(trees)?,
            lost: PerCpuArray::try_from(lost)?,
            held: Vec::new(),
            held_bytes: 0,
            full: 0,
            whole_ns: monotonic_ns(),
        })
    }

    /// Takes what has come in off the ring; everything when `all`. Shows each record to `early`, out of
    /// order. From when to when (`CLOCK_MONOTONIC`) others were lost because the ring was full.
    pub fn take(&mut self, all: bool, mut early: impl FnMut(&[u8])) -> Option<(u64, u64)> {
        let (mut taken, mut before) = (0, None);
        while all || !self.is_full() {
            let Some(item) = self.ring.next() else { break };
            let at = item.get(16..24).and_then(|at| at.try_into().ok()).map_or(0, u64::from_ne_bytes);
            early(&item);
            // Nothing is lost as long as the longest record still fits in: what lies before that place
            // was there before the first loss.
            taken += (item.len() + RING_HEADER).next_multiple_of(8);
            if taken <= RING_BYTES as usize - RECORD_MAX {
                before = before.max(Some(at));
            }
            self.held_bytes += item.len();
            self.held.push((at, Box::from(&*item)));
        }
        let full = self.count(Lost::Ring);
        let lost = full != std::mem::replace(&mut self.full, full);
        let now = monotonic_ns();
        let whole_ns = std::mem::replace(&mut self.whole_ns, now);
        lost.then(|| (before.unwrap_or(whole_ns).max(whole_ns.min(now)), now))
    }

    /// Hands over what was taken, in order of time; `all` does not wait for stragglers.
    pub fn release(&mut self, all: bool, mut each: impl FnMut(&[u8])) {
        self.held.sort_by_key(|(at, _)| *at);
        let until = if all || self.is_full() { u64::MAX } else { monotonic_ns().saturating_sub(HOLD_NS) };
        let ready = self.held.partition_point(|(at, _)| *at <= until);
        for (_, record) in self.held.drain(..ready) {
            self.held_bytes -= record.len();
            each(&record);
        }
    }

    /// Records are held back: they are to be released when their time has come.
    pub const fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What a tree does at this moment; `None` when it has ended.
    pub fn tree(&self, root: u32) -> Option<Tree> {
        let [threads, since, cpu_ns, runqueue_ns, disk_ns, idle_ns, pid] = self.trees.get(&root, 0).ok()?;
        Some(Tree { threads, since, times: TreeTimes { cpu_ns, runqueue_ns, disk_ns, idle_ns }, pid })
    }

    /// Events lost so far, by any cause.
    pub fn lost(&self) -> u64 {
        [Lost::Ring, Lost::Tasks, Lost::Sockets, Lost::Streams, Lost::Memory]
            .into_iter()
            .map(|why| self.count(why))
            .sum()
    }

    const fn is_full(&self) -> bool {
        self.held.len() >= HELD_MAX || self.held_bytes >= HELD_BYTES
    }

    fn count(&self, why: Lost) -> u64 {
        self.lost.get(&(why as u32), 0).map_or(0, |by_cpu| by_cpu.iter().sum())
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
