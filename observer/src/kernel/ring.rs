//! The worker's end of the kernel: records from the ring in order of time, and the two maps.

use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, RingBuf};
use observer_common::{DATA_MAX, Lost, RING_BYTES, Tree, TreeTimes};
use pipeline::decode::wire;

use super::monotonic_ns;
use model::id::TreeId;
use model::time::Monotonic;

/// How long a record is held back so that an earlier one of the other CPU can come in first,
/// nanoseconds. A program takes its time stamp before it reserves its place, and may be
/// preempted in between for a time slice.
pub const HOLD_NS: u64 = 6_000_000;

/// Records held at most, and their bytes (a ring full of them); beyond it they are handed on at once.
const HELD_MAX: usize = 65_536;
const HELD_BYTES: usize = RING_BYTES as usize;
/// They lie in pieces of this many bytes: one for all would be moved as it grows.
const PIECE_BYTES: usize = 32 << 10;
/// So many empty ones keep their memory.
const SPARE_PIECES: usize = 2;

/// Reads the ring.
pub struct Ring {
    ring: RingBuf<MapData>,
    trees: HashMap<MapData, u32, [u64; 7]>,
    lost: OwnedFd,
    held: Held,
    /// Records lost to a full ring when it was last looked
    full: u64,
    /// By when no more than these had been lost
    whole_ns: Monotonic,
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
        Ok(Self {
            ring: RingBuf::try_from(ring).context("cannot map the ring")?,
            trees: HashMap::try_from(trees)?,
            lost,
            held: Held::default(),
            full: 0,
            whole_ns: monotonic_ns(),
        })
    }

    /// Takes what has come in off the ring; everything when `all`. Shows each record to `early`, out of
    /// order. From when to when (`CLOCK_MONOTONIC`) others were lost because the ring was full.
    pub fn take(&mut self, all: bool, mut early: impl FnMut(&[u8])) -> Option<(Monotonic, Monotonic)> {
        let (mut taken, mut before) = (0, None);
        while all || !self.held.is_full() {
            let Some(item) = self.ring.next() else { break };
            let at = item.get(16..24).and_then(|at| at.try_into().ok()).map_or(0, u64::from_ne_bytes);
            let at = Monotonic(at);
            early(&item);
            // Nothing is lost as long as the longest record still fits in: what lies before that place
            // was there before the first loss.
            taken += (item.len() + RING_HEADER).next_multiple_of(8);
            if taken <= RING_BYTES as usize - RECORD_MAX {
                before = before.max(Some(at));
            }
            self.held.push(at, wire::used(&item));
        }
        let full = self.count(Lost::Ring);
        let lost = full != std::mem::replace(&mut self.full, full);
        let now = monotonic_ns();
        let whole_ns = std::mem::replace(&mut self.whole_ns, now);
        lost.then(|| (before.unwrap_or(whole_ns).max(whole_ns.min(now)), now))
    }

    /// Hands over what was taken, in order of time; `all` does not wait for stragglers.
    pub fn release(&mut self, all: bool, each: impl FnMut(&[u8])) {
        let all = all || self.held.is_full();
        let until = if all { Monotonic::MAX } else { monotonic_ns().earlier_by(HOLD_NS) };
        self.held.release(until, each);
    }

    /// Records are held back: they are to be released when their time has come.
    pub const fn holds(&self) -> bool {
        !self.held.records.is_empty()
    }

    /// What a tree does at this moment; `None` when it has ended.
    pub fn tree(&self, root: TreeId) -> Option<Tree> {
        let [threads, since, cpu_ns, runqueue_ns, disk_ns, idle_ns, pid] = self.trees.get(&root.0, 0).ok()?;
        Some(Tree { threads, since, times: TreeTimes { cpu_ns, runqueue_ns, disk_ns, idle_ns }, pid })
    }

    /// Events lost so far, by any cause.
    pub fn lost(&self) -> u64 {
        [Lost::Ring, Lost::Tasks, Lost::Sockets, Lost::Streams, Lost::Memory]
            .into_iter()
            .map(|why| self.count(why))
            .sum()
    }

    /// aya's own lookup reads the number of processors from a file each time, which the worker's lock refuses: then
    /// nothing would seem to be lost.
    #[expect(unsafe_code, reason = "a lookup in a map of the kernel's")]
    fn count(&self, why: Lost) -> u64 {
        /// More processors no kernel is built for (`NR_CPUS` of x86 and arm64); it writes as many values as there may be.
        const CPUS_MAX: usize = 8192;
        /// `BPF_MAP_LOOKUP_ELEM`, and the part of `union bpf_attr` for it (linux/bpf.h).
        const MAP_LOOKUP_ELEM: libc::c_long = 1;
        #[repr(C)]
        struct Attr {
            map: u32,
            _pad: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let (key, mut by_cpu) = (why as u32, vec![0_u64; CPUS_MAX]);
        let attr = Attr {
            map: self.lost.as_raw_fd().cast_unsigned(),
            _pad: 0,
            key: (&raw const key) as u64,
            value: by_cpu.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the map has keys of 32 bits and for each processor that there may be a value of 64; all outlive the call.
        let done =
            unsafe { libc::syscall(libc::SYS_bpf, MAP_LOOKUP_ELEM, &raw const attr, size_of::<Attr>()) };
        if done == 0 { by_cpu.iter().sum() } else { 0 }
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// Records that are held back, end to end in a few pieces of memory.
#[derive(Default)]
struct Held {
    /// When each was, in which piece and where in it
    records: Vec<(Monotonic, usize, Range<usize>)>,
    pieces: Vec<Piece>,
    /// The piece that is being filled
    current: usize,
    /// Pieces with nothing in them, the current one excepted
    free: Vec<usize>,
    /// Bytes of all records
    bytes: usize,
}

#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    records: usize,
}

impl Held {
    fn push(&mut self, at: Monotonic, record: &[u8]) {
        let full = |piece: &Piece| !piece.bytes.is_empty() && piece.bytes.len() + record.len() > PIECE_BYTES;
        if self.pieces.get(self.current).is_none_or(full) {
            self.current = self.free.pop().unwrap_or(self.pieces.len());
            if self.current == self.pieces.len() {
                self.pieces.push(Piece::default());
            }
            self.pieces[self.current].bytes.reserve(PIECE_BYTES);
        }
        let piece = &mut self.pieces[self.current];
        let from = piece.bytes.len();
        piece.bytes.extend_from_slice(record);
        piece.records += 1;
        self.bytes += record.len();
        self.records.push((at, self.current, from..piece.bytes.len()));
    }

    const fn is_full(&self) -> bool {
        self.records.len() >= HELD_MAX || self.bytes >= HELD_BYTES
    }

    /// Hands over those until then, in order of time; those of one time as they came.
    fn release(&mut self, until: Monotonic, mut each: impl FnMut(&[u8])) {
        self.records.sort_by_key(|(at, ..)| *at);
        let ready = self.records.partition_point(|(at, ..)| *at <= until);
        for (_, of, place) in self.records.drain(..ready) {
            let piece = &mut self.pieces[of];
            self.bytes -= place.len();
            each(&piece.bytes[place]);
            piece.records -= 1;
            if piece.records == 0 {
                piece.bytes.clear();
                if of != self.current {
                    self.free.push(of);
                    if self.free.len() > SPARE_PIECES {
                        piece.bytes = Vec::new();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(held: &mut Held, until: Monotonic) -> Vec<String> {
        let mut out = Vec::new();
        held.release(until, |record| out.push(String::from_utf8(record.to_vec()).unwrap()));
        out
    }

    #[test]
    fn records_come_in_order_of_time_and_later_ones_wait() {
        let mut held = Held::default();
        for (at, record) in [(5, "e"), (1, "aaaa"), (3, "c"), (1, "b"), (9, "ii")] {
            held.push(Monotonic(at), record.as_bytes());
        }
        assert_eq!(released(&mut held, Monotonic(4)), ["aaaa", "b", "c"]);
        assert_eq!(held.bytes, 3);
        held.push(Monotonic(4), b"d");
        assert_eq!(released(&mut held, Monotonic(5)), ["d", "e"]);
        assert_eq!(released(&mut held, Monotonic(8)), [""; 0]);
        assert_eq!(released(&mut held, Monotonic::MAX), ["ii"]);
        assert!(held.bytes == 0 && held.records.is_empty());
    }

    #[test]
    fn pieces_are_filled_again_when_nothing_in_them_waits() {
        let mut held = Held::default();
        for at in 0..100 {
            held.push(Monotonic(at), &vec![at as u8; 1 + PIECE_BYTES / 3]);
        }
        let pieces = held.pieces.len();
        for at in 100..1000 {
            held.push(Monotonic(at), &vec![at as u8; 1 + PIECE_BYTES / 3]);
            held.release(Monotonic(at - 100), |record| {
                assert!(record.iter().all(|byte| *byte == (at - 100) as u8));
            });
        }
        assert!(held.pieces.len() <= pieces + 1, "{} {pieces}", held.pieces.len());
        held.release(Monotonic::MAX, |_| {});
        let kept = held.pieces.iter().filter(|piece| piece.bytes.capacity() > 0).count();
        assert!(kept <= SPARE_PIECES + 1, "{kept}");
    }

    #[test]
    fn it_is_full_by_number_and_by_bytes_that_wait() {
        let mut held = Held::default();
        held.push(Monotonic(1), &vec![0; HELD_BYTES]);
        assert!(held.is_full());
        held.push(Monotonic(2), b"x");
        held.release(Monotonic(1), |_| {});
        assert!(!held.is_full());
    }
}
