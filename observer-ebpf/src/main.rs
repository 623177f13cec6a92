//! goobserve's BPF programs: tracepoints and uprobes in, events of `observer-common` out.
//! This file holds the maps; `probes` has a file a subject.
//!
//! # How it sees what it sees
//!
//! Raw tracepoints and uprobes, nothing else. Raw tracepoints need no tracefs, build no record, and
//! detach at once. Uprobes are attached by multi links (Linux 6.6): one a program and file, so that a
//! start takes a tenth of a second and an end less; before that by perf events, which take two
//! seconds to go. Offsets of kernel structures come from BTF, read once by a scanner of our own
//! (`kernel/btf.rs`): aya-obj keeps every type and does not report members. aya loads and attaches
//! the object; ours is that programs are verified side by side, one on each CPU (`kernel/load.rs`).
//! Kernel memory is read without branching on failure (a failed read is zero), for the verifier's sake.
//!
//! - **Thread states.** A thread has one entry with its state; a tree has one 64-bit word that counts
//!   its threads by state, so one atomic addition moves a thread. When the tree's state (busiest of
//!   its threads) changes, the time since the last change is booked: state and time are one word,
//!   swapped at once. Idle intervals of 50 µs and more are events; shorter gaps belong to the CPU time
//!   around them.
//! - **Sockets.** A connection's number is made at SYN_SENT, which comes in the connecting thread;
//!   the descriptor is in the registers of the system call it is in. Bytes of DNS messages and hellos
//!   are seen at `sock_send_length` and `sock_recv_length` (Linux 6.3, one program), which name the socket, and read
//!   from the caller's buffer, which the same registers name; before 6.3 at `sys_exit`, with the
//!   socket found by its descriptor. No hook costs anything where no socket is used. A socket's end can
//!   be missed: a program is not run where it interrupts itself, and one kernel was seen that runs none
//!   in the context of its `init`, softirqs that interrupt it included. So when a socket begins at the
//!   address of one that is followed, that one is reported as ended.
//! - **Small frames.** A program of a uprobe can be preempted and run by another task on the same CPU. From
//!   Linux 6.13 on a function with 64 bytes of stack and more has them in memory of the program's and the
//!   CPU's, which both would write to: a panic. So none that a uprobe runs has more than 48 (a test measures
//!   the object's), and what a step needs lies in the map value of its cursor. Raw tracepoints are counted by
//!   CPU: the kernel skips a second run.
//! - **Go's crypto/tls.** Entry probes sit behind the stack check (a probe on the first byte fires
//!   again when the stack grows); results are read at each RET. The place in the frames lives in a map
//!   value, one a direction of a connection. DATA is counted by stream and reported when the stream ends;
//!   of HTTP/1.1 the head is searched for its end in the kernel and nothing behind it is copied.
//! - **What the verifier goes through** is most of a start. It goes through a function again for each state in which
//!   it is called, unless it is global (`#[no_mangle] extern "C"`): then once, for any arguments, so such a function
//!   has numbers and pointers to values of maps as arguments, looks whether a pointer is null, and returns a number.
//!   Filling and copying is done in words: loops over bytes are gone through step by step. `goobserve check` says
//!   how many instructions that makes, and a test bounds it.
//! - **The ring.** Variable parts are read straight into it, in one of two sizes. The worker looks
//!   every 20 ms and is woken only by an exec or an exit, or when a megabyte waits. Records are held
//!   back 6 ms and sorted: a program takes its time before it takes its place.
//!
//! Where these pages differ from the plan they began with: no classic tracepoints (so no tracefs, and
//! no `format` files) and no hooks on system calls (two on every call cost 33 ms of the 50 ms that BPF
//! took of a download; connects, closes and descriptors need not be followed when the socket is the
//! key). A query without an answer is given up when it is retried, or after the resolver's
//! time-out, not at the `close` of its socket. What a stub resolver asks is a command's when the local resolver
//! listens where the command asked, or another local resolver asked it on the command's behalf. Peers' windows
//! are read from the segment, because `tcp_probe` runs before the socket has them; retransmissions that
//! failed are not counted (Linux 6.17 reports them through the same tracepoint); HPACK and DNS readers are our own (the crates were
//! refused for cost or because they refuse cut messages; they are the fuzzers' oracles).
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

mod atomic;
mod began;
mod channels;
mod cursor;
mod emit;
mod http1;
mod http2;
mod probes;
mod syscall;
mod task;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use observer_common::{
    Connected, FdKey, LOST_COUNTERS, Offsets, PROCESSES_MAX, PreexistingSocket, Process, ProgramKey,
    RING_BYTES, SOCKETS_MAX, STREAMS_MAX, THREADS_MAX, Thread, Tree, UNKNOWN32,
};

use crate::channels::{Attempt, Channel, Sock};
use crate::cursor::{Cursor, CursorKey, Stream, StreamKey};
use crate::probes::go_tls::{Call, CallKey};

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
/// Services that run containers for a tree, by pid: what they start belongs to that tree.
#[map]
static SERVICES: HashMap<u32, u32> = HashMap::with_max_entries(64, 0);
/// Threads that are followed, by tid.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(THREADS_MAX, 0);
/// TCP sockets that are followed, by `struct sock *`.
#[map]
static SOCKS: HashMap<u64, Sock> = HashMap::with_max_entries(SOCKETS_MAX, 0);
/// TCP sockets that were to be connected and have not sent a SYN, by `struct sock *`. LRU: one whose process
/// is followed no longer is not taken out.
#[map]
static ATTEMPTS: LruHashMap<u64, Attempt> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Sockets that the agent found, by cookie, until their first event.
#[map]
static PREEXISTING: HashMap<u64, PreexistingSocket> = HashMap::with_max_entries(SOCKETS_MAX, 0);
/// Programs that the agent has looked at: 0 for one that is followed, else until when it is not
/// asked about again (`CLOCK_MONOTONIC`, nanoseconds). LRU: nothing says that a file is gone.
#[map]
static PROGRAMS: LruHashMap<ProgramKey, u64> = LruHashMap::with_max_entries(PROCESSES_MAX, 0);
/// Sockets whose bytes matter, by `struct sock *`. LRU: nothing says that a UDP socket is gone.
#[map]
static CHANNELS: LruHashMap<u64, Channel> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Threads whose call the first of two programs has handled; see `sock_length_twin`. LRU: the second may have
/// been skipped.
#[map]
static HANDLED: LruHashMap<u32, u32> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Connections by descriptor. LRU: descriptors are closed silently.
#[map]
static CONNECTIONS: LruHashMap<FdKey, Connected> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
/// Directions of TLS connections. LRU: nothing says that a `tls.Conn` is gone.
#[map]
static CURSORS: LruHashMap<CursorKey, Cursor> = LruHashMap::with_max_entries(SOCKETS_MAX, 0);
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
/// Not 0: what a program is skipped for, a second one handles.
#[unsafe(no_mangle)]
static TWIN: u32 = 0;
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
