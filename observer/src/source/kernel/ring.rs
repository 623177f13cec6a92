//! The worker's end of the kernel: records from the ring in order of time, and the two maps.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use observer_common::{LOST_COUNTERS, Tree, TreeTimes};

use super::monotonic_ns;

/// How long a record is held back so that an earlier one of the other CPU can come in first,
/// nanoseconds. A program takes its time stamp before it reserves its place, and may be
/// preempted in between for a time slice.
const HOLD_NS: u64 = 6_000_000;

/// Records held at most; beyond it they are handed on at once.
const HELD_MAX: usize = 65_536;

/// Reads the ring.
pub struct Ring {
    ring: RingBuf<MapData>,
    trees: HashMap<MapData, u32, [u64; 6]>,
    lost: PerCpuArray<MapData, u64>,
    held: Vec<(u64, Box<[u8]>)>,
}

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
        })
    }

    /// Hands over what has come in, in order of time; `all` does not wait for stragglers.
    pub fn drain(&mut self, all: bool, mut each: impl FnMut(&[u8])) {
        while let Some(item) = self.ring.next() {
            let at = item.get(16..24).and_then(|at| at.try_into().ok()).map_or(0, u64::from_ne_bytes);
            self.held.push((at, Box::from(&*item)));
            if self.held.len() >= HELD_MAX {
                break;
            }
        }
        self.held.sort_by_key(|(at, _)| *at);
        let until = if all || self.held.len() >= HELD_MAX {
            u64::MAX
        } else {
            monotonic_ns().saturating_sub(HOLD_NS)
        };
        let ready = self.held.partition_point(|(at, _)| *at <= until);
        for (_, record) in self.held.drain(..ready) {
            each(&record);
        }
    }

    /// What a tree does at this moment; `None` when it has ended.
    pub fn tree(&self, root: u32) -> Option<Tree> {
        let [threads, since_ns, cpu_ns, runqueue_ns, disk_ns, idle_ns] = self.trees.get(&root, 0).ok()?;
        Some(Tree { threads, since_ns, times: TreeTimes { cpu_ns, runqueue_ns, disk_ns, idle_ns } })
    }

    /// Events lost so far, by any cause.
    pub fn lost(&self) -> u64 {
        (0..LOST_COUNTERS)
            .filter_map(|why| self.lost.get(&why, 0).ok())
            .map(|by_cpu| by_cpu.iter().sum::<u64>())
            .sum()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
