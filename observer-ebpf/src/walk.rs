//! One direction of a TLS connection: which protocol it speaks and where in it the next byte
//! falls. The place lives in a map value: it carries no precision chain, which lets the verifier
//! accept the loop over frames.

use observer_common::{
    FRAME_EOF, FRAME_JOINED_LATE, FRAME_READ, Frame, HTTP1_EOF, HTTP1_READ, Http1, Kind, Lost,
};

use crate::task::{Task, user};
use crate::{WALKS, emit, http1, http2};

/// Sent by the process or received by it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    Sent = 0,
    Received = 1,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct WalkKey {
    /// Address of the `tls.Conn`
    pub tls: u64,
    pub pid: u32,
    pub direction: u32,
}

/// What is spoken.
pub mod mode {
    /// No byte yet
    pub const FRESH: u32 = 0;
    pub const HTTP2: u32 = 1;
    pub const HTTP1: u32 = 2;
    /// Something else, or the place is lost: nothing more is told
    pub const OTHER: u32 = 3;
}

/// One direction of a TLS connection.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Walk {
    /// The TCP connection's number, 0 when it is not known
    pub conn: u64,
    /// When it began (the same for both directions): tells connections apart that had the same address in turn
    pub began_ns: u64,
    /// When the current frame began
    pub frame_ns: u64,
    /// The buffer being walked: address, place, end, time
    pub buffer: u64,
    pub at: u32,
    pub end: u32,
    pub now: u64,
    /// One of [`mode`]
    pub mode: u32,
    /// Bytes of the frame header that are there
    pub have: u32,
    /// Payload bytes of the frame still to come, and those that came
    pub left: u32,
    pub offset: u32,
    pub len: u32,
    pub stream: u32,
    pub frame_type: u8,
    pub frame_flags: u8,
    pub pad: [u8; 2],
    /// HTTP/1: 1 inside a head, and how many bytes of it came
    pub in_head: u32,
    pub head: u32,
    /// Its last four bytes
    pub window: u32,
    pub direction: u32,
    pub pad2: u32,
    /// Frame header as far as it came
    pub header: [u8; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct StreamKey {
    /// `Walk::began_ns`
    pub began_ns: u64,
    pub pid: u32,
    /// Stream number; bit 31 is the direction
    pub stream: u32,
}

/// Payload bytes of an open stream, one direction.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Stream {
    pub bytes: u64,
}

#[inline(always)]
pub fn get(task: Task, tls: u64, direction: Direction) -> Option<*mut Walk> {
    WALKS.get_ptr_mut(WalkKey { tls, pid: task.pid, direction: direction as u32 })
}

#[inline(always)]
fn put(task: Task, tls: u64, conn: u64, mode: u32) {
    let began_ns = emit::now();
    for direction in 0..2 {
        let walk = Walk {
            conn,
            began_ns,
            frame_ns: 0,
            buffer: 0,
            at: 0,
            end: 0,
            now: 0,
            mode,
            have: 0,
            left: 0,
            offset: 0,
            len: 0,
            stream: 0,
            frame_type: 0,
            frame_flags: 0,
            pad: [0; 2],
            in_head: 0,
            head: 0,
            window: 0,
            pad2: 0,
            direction,
            header: [0; 16],
        };
        if WALKS.insert(WalkKey { tls, pid: task.pid, direction }, walk, 0).is_err() {
            emit::lost(Lost::Streams);
        }
    }
}

/// A handshake begins: both directions are fresh.
#[inline(always)]
pub fn begin(task: Task, tls: u64, conn: u64) {
    put(task, tls, conn, mode::FRESH);
}

/// A connection whose handshake was not seen: its header tables cannot be known.
#[inline(always)]
pub fn joined_late(task: Task, tls: u64, conn: u64) {
    put(task, tls, conn, mode::OTHER);
    let now = emit::now();
    emit::event(Kind::Frame, FRAME_JOINED_LATE, task, now, frame(tls, conn, now));
}

fn frame(tls: u64, conn: u64, now: u64) -> Frame {
    Frame {
        tls,
        conn,
        stream: 0,
        len: 0,
        frame_type: 0,
        frame_flags: 0,
        pad: [0; 2],
        offset: 0,
        stream_bytes: 0,
        start_ns: now,
    }
}

/// `len` bytes at `buffer` were read, or are about to be written.
#[inline(always)]
pub fn step(task: Task, walk: *mut Walk, tls: u64, direction: Direction, buffer: u64, len: u64) {
    if len == 0 {
        return;
    }
    // SAFETY: a value of the map; crypto/tls lets one goroutine at a time read or write.
    unsafe {
        let mut from = 0;
        if (*walk).mode == mode::FRESH {
            (*walk).mode = spoken(buffer, len, direction);
            if direction == Direction::Sent {
                if let Some(other) = get(task, tls, Direction::Received) {
                    (*other).mode = (*walk).mode;
                }
                if (*walk).mode == mode::HTTP2 {
                    from = http2::preface(task, walk, tls, len);
                }
            }
        }
        match (*walk).mode {
            mode::HTTP2 => http2::step(task, walk, tls, buffer, from, len),
            mode::HTTP1 => http1::step(task, walk, tls, direction, buffer, len),
            _ => {}
        }
    }
}

/// A Read returned an error and no bytes.
#[inline(always)]
pub fn end(task: Task, walk: *mut Walk, tls: u64) {
    // SAFETY: a value of the map.
    let (conn, mode) = unsafe { ((*walk).conn, (*walk).mode) };
    let now = emit::now();
    match mode {
        mode::HTTP2 => emit::event(Kind::Frame, FRAME_READ | FRAME_EOF, task, now, frame(tls, conn, now)),
        mode::HTTP1 => {
            let call = Http1 { tls, conn, len: 0, head: 0 };
            emit::event(Kind::Http1, HTTP1_READ | HTTP1_EOF, task, now, call);
        }
        _ => {}
    }
}

/// What a direction's first bytes say. A server's first bytes are an HTTP/1 status line or a
/// frame; a client's are a method or the HTTP/2 preface.
#[inline(always)]
fn spoken(buffer: u64, len: u64, direction: Direction) -> u32 {
    let Some(first) = user::<[u8; 4]>(buffer) else { return mode::OTHER };
    if len < 4 {
        return mode::OTHER;
    }
    match (direction, &first) {
        (Direction::Sent, b"PRI ") => mode::HTTP2,
        (Direction::Sent, _) if http1::is_method(&first) => mode::HTTP1,
        (Direction::Received, b"HTTP") => mode::HTTP1,
        _ => mode::OTHER,
    }
}
