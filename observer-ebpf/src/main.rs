//! goobserve's BPF programs: tracepoints and uprobes in, events of `observer-common` out.
//! This file holds the maps; `probes` has one file an attach family.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

mod atomic;
mod channels;
mod emit;
mod http1;
mod http2;
mod probes;
mod task;
mod walk;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use observer_common::{
    Connected, FdKey, FoundSocket, LOST_COUNTERS, Offsets, PROCESSES_MAX, Process, ProgramKey, RING_BYTES,
    SOCKETS_MAX, STREAMS_MAX, THREADS_MAX, Thread, Tree, UNKNOWN32,
};

use crate::channels::{Channel, Sock};
use crate::probes::go_tls::{Call, CallKey};
use crate::walk::{Stream, StreamKey, Walk, WalkKey};

/// Events to user space.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);
/// Events that were lost, by `observer_common::Lost`.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_COUNTERS, 0);
/// The number of the next tree; 0 is none, 1 is the tree of `run`.
#[map]
static NEXT_TREE: Array<u64> = Array::with_max_entries(1, 0);
/// Trees, by number.
#[map]
static TREES: HashMap<u32, Tree> = HashMap::with_max_entries(PROCESSES_MAX, 0);
/// Processes that are followed, by pid.
#[map]
static PROCESSES: HashMap<u32, Process> = HashMap::with_max_entries(PROCESSES_MAX, 0);
/// Threads that are followed, by tid.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(THREADS_MAX, 0);
/// TCP sockets that are followed, by `struct sock *`.
#[map]
static SOCKS: HashMap<u64, Sock> = HashMap::with_max_entries(SOCKETS_MAX, 0);
/// Sockets that the agent found, by cookie, until their first event.
#[map]
static FOUND: HashMap<u64, FoundSocket> = HashMap::with_max_entries(SOCKETS_MAX, 0);
/// Programs that the agent has looked at: 0 for one that is followed, else until when it is not
/// asked about again (`CLOCK_MONOTONIC`, nanoseconds). LRU: nothing says that a file is gone.
#[map]
static PROGRAMS: LruHashMap<ProgramKey, u64> = LruHashMap::with_max_entries(PROCESSES_MAX, 0);
/// Sockets whose bytes matter, by `struct sock *`. LRU: nothing says that a UDP socket is gone.
#[map]
static CHANNELS: LruHashMap<u64, Channel> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Connections by descriptor. LRU: descriptors are closed silently.
#[map]
static CONNECTIONS: LruHashMap<FdKey, Connected> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Directions of TLS connections. LRU: nothing says that a `tls.Conn` is gone.
#[map]
static WALKS: LruHashMap<WalkKey, Walk> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Calls of crypto/tls that have not returned, by goroutine.
#[map]
static CALLS: LruHashMap<CallKey, Call> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Bytes of open HTTP/2 streams.
#[map]
static STREAMS: LruHashMap<StreamKey, Stream> = LruHashMap::with_max_entries(STREAMS_MAX, 0);

/// Where the members of kernel structures lie; written by the agent before loading.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::UNKNOWN;
/// Not 0: a `go` that execs outside every tree begins one (`watch`).
#[unsafe(no_mangle)]
static FOLLOW_GO: u32 = 0;
/// Whose programs are followed when they are Go, whatever their name (`--all-go`).
#[unsafe(no_mangle)]
static ALL_GO_UID: u32 = UNKNOWN32;

/// One member of [`OFFSETS`], as the agent wrote it.
#[macro_export]
macro_rules! offset {
    ($member:ident) => {
        $crate::constant(&raw const $crate::OFFSETS.$member)
    };
}

/// What the loader wrote to a static of this object.
#[inline(always)]
fn constant(at: *const u32) -> u32 {
    // SAFETY: the callers' statics; volatile, because the compiler knows another value.
    unsafe { core::ptr::read_volatile(at) }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Programs that read kernel memory must be GPL-compatible; this object is `MIT OR GPL-2.0-only`.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
