//! One direction of a TLS connection: which protocol it speaks and where in it the next byte
//! falls. The place lives in a map value: it carries no precision chain, which lets the verifier
//! accept the loop over frames.

use observer_common::{
    FRAME_EOF, FRAME_JOINED_LATE, FRAME_READ, Frame, HTTP1_EOF, HTTP1_READ, Http1, Kind, Lost,
};

use crate::task::{Task, user};
use crate::{CURSORS, emit, http1, http2, task};

/// Sent by the process or received by it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    Sent = 0,
    Received = 1,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct CursorKey {
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
    /// Something else: nothing more is reported
    pub const OTHER: u32 = 3;
    /// The place is not known: a write or a record that begins with a head or a frame gives it
    pub const LOST: u32 = 4;
    /// Its handshake was not seen, and nothing of it was looked at yet
    pub const JOINED: u32 = 5;
}

/// One direction of a TLS connection. It holds all that a step over it needs, so that the functions
/// of a step hand on one pointer and keep next to nothing on the stack (see `go_tls`).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Cursor {
    /// Address of the `tls.Conn`
    pub tls: u64,
    /// The TCP connection's number, 0 when it is not known
    pub conn: u64,
    /// When it began (the same for both directions): distinguishes connections that had the same address in turn
    pub began_ns: u64,
    /// When the current frame began
    pub frame_ns: u64,
    /// The buffer being read: address, place, end, time
    pub buffer: u64,
    pub at: u32,
    pub end: u32,
    pub now: u64,
    /// Who reads it: process, thread, tree
    pub pid: u32,
    pub tid: u32,
    pub root: u32,
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
    /// Frames were found by what they look like, so each is checked
    pub checked: u8,
    pub pad: u8,
    /// HTTP/1: 1 inside a head, and how many bytes of it came
    pub in_head: u32,
    pub head: u32,
    /// Its last four bytes
    pub window: u32,
    pub direction: u32,
    /// Frame header as far as it came
    pub header: [u8; 16],
}

/// What a cursor is before it is one: nothing is reported of it. In the object's constants, not on the
/// stack of a program that makes one.
#[unsafe(no_mangle)]
static NO_CURSOR: Cursor = Cursor {
    tls: 0,
    conn: 0,
    began_ns: 0,
    frame_ns: 0,
    buffer: 0,
    at: 0,
    end: 0,
    now: 0,
    pid: 0,
    tid: 0,
    root: 0,
    mode: mode::OTHER,
    have: 0,
    left: 0,
    offset: 0,
    len: 0,
    stream: 0,
    frame_type: 0,
    frame_flags: 0,
    checked: 0,
    pad: 0,
    in_head: 0,
    head: 0,
    window: 0,
    direction: 0,
    header: [0; 16],
};

#[derive(Clone, Copy)]
#[repr(C)]
pub struct StreamKey {
    /// `Cursor::began_ns`
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

/// The cursor of a connection of the current process.
#[inline(always)]
pub fn get(tls: u64, direction: Direction) -> Option<*mut Cursor> {
    let (pid, _) = task::ids();
    CURSORS.get_ptr_mut(&CursorKey { tls, pid, direction: direction as u32 })
}

/// Both directions of a connection are new.
#[inline(never)]
fn put(tls: u64, conn: u64, mode: u32) -> u64 {
    let (pid, _) = task::ids();
    let began_ns = emit::now();
    // By reference, the key too: a value would be copied to the stack.
    let none: &Cursor = &NO_CURSOR;
    for direction in 0..2 {
        let key = &CursorKey { tls, pid, direction };
        let made = CURSORS.insert(key, none, 0).is_ok();
        let Some(cursor) = CURSORS.get_ptr_mut(key).filter(|_| made) else {
            emit::lost(Lost::Streams);
            continue;
        };
        // SAFETY: a value of the map. The mode comes last: until then nothing is reported of it.
        unsafe {
            (*cursor).tls = tls;
            (*cursor).conn = conn;
            (*cursor).began_ns = began_ns;
            (*cursor).direction = direction;
            core::ptr::write_volatile(&raw mut (*cursor).mode, mode);
        }
    }
    0
}

/// A handshake begins: both directions are fresh.
#[inline(always)]
pub fn begin(tls: u64, conn: u64) {
    put(tls, conn, mode::FRESH);
}

/// A connection whose process began to speak HTTP/1 in plain text; the connection's number is its key.
#[inline(always)]
pub fn begin_plain(conn: u64) {
    put(conn, conn, mode::HTTP1);
}

/// As [`step`], in plain text: what is spoken is known, and the walk over HTTP/2 frames is not to be verified in
/// each program that reads sockets.
#[inline(always)]
pub fn step_plain(cursor: *mut Cursor, root: u32, buffer: u64, len: u64) {
    if len != 0 {
        // SAFETY: a value of the map; go's net/http and curl let one thread at a time read or write.
        unsafe {
            let Task { pid, tid, .. } = task::of(root);
            ((*cursor).pid, (*cursor).tid, (*cursor).root) = (pid, tid, root);
            (*cursor).now = emit::now();
        }
        http1::http1_step(cursor, buffer, len);
    }
}

/// A connection whose handshake was not seen.
#[inline(always)]
pub fn joined_late(tls: u64, conn: u64) {
    put(tls, conn, mode::JOINED);
}

/// The first bytes of a connection whose handshake was not seen. Where they are those that a client speaks
/// HTTP/2 with, nothing else of it was missed; else what came before is not known.
///
/// A global function, as is the next one: the verifier looks at it once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn cursor_join(cursor: *mut Cursor, buffer: u64, len: u64) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    // SAFETY: values of the maps.
    unsafe {
        let sent = (*cursor).direction == Direction::Sent as u32;
        let preface = sent && spoken(buffer, len, true) == mode::HTTP2;
        (*cursor).mode = if preface { mode::FRESH } else { mode::LOST };
        let other = if sent { Direction::Received } else { Direction::Sent };
        if let Some(other) = get((*cursor).tls, other) {
            (*other).mode = (*cursor).mode;
        }
        if !preface {
            let (task, now) = (reader(cursor), (*cursor).now);
            emit::event(Kind::Frame, FRAME_JOINED_LATE, task, now, frame((*cursor).tls, (*cursor).conn, now));
        }
    }
    0
}

/// Looks for the place where it is not known: what is written begins with a head or a frame as a rule,
/// what is received does now and then.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn cursor_find(cursor: *mut Cursor, buffer: u64, len: u64) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    // SAFETY: values of the maps.
    unsafe {
        let direction = (*cursor).direction;
        let spoken = spoken(buffer, len, direction == Direction::Sent as u32);
        if spoken == mode::HTTP1 {
            (*cursor).mode = spoken;
            (*cursor).in_head = 0;
        } else if http2::http2_begins(cursor, buffer, len) != 0 {
            (*cursor).mode = mode::HTTP2;
            (*cursor).checked = 1;
        }
    }
    0
}

#[inline(always)]
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

/// Who reads it.
#[inline(always)]
pub unsafe fn reader(cursor: *const Cursor) -> Task {
    // SAFETY: the caller's map value.
    unsafe { Task { pid: (*cursor).pid, tid: (*cursor).tid, root: (*cursor).root } }
}

/// `len` bytes at `buffer` were read, or are about to be written, by the current thread, whose tree
/// is `root`.
#[inline(never)]
pub fn step(cursor: *mut Cursor, root: u32, buffer: u64, len: u64) -> u64 {
    if len == 0 {
        return 0;
    }
    // SAFETY: a value of the map; crypto/tls lets one goroutine at a time read or write.
    unsafe {
        let Task { pid, tid, .. } = task::of(root);
        ((*cursor).pid, (*cursor).tid, (*cursor).root) = (pid, tid, root);
        (*cursor).now = emit::now();
        let mut from = 0;
        if (*cursor).mode == mode::JOINED {
            cursor_join(cursor, buffer, len);
        }
        if (*cursor).mode == mode::FRESH {
            from = first(cursor, buffer, len);
        } else if (*cursor).mode == mode::LOST {
            cursor_find(cursor, buffer, len);
        }
        match (*cursor).mode {
            mode::HTTP2 => http2::step(cursor, buffer, from, len),
            mode::HTTP1 => {
                http1::http1_step(cursor, buffer, len);
            }
            _ => {}
        }
    }
    0
}

/// A direction's first bytes: what both directions speak, and how many bytes are no frames.
#[inline(never)]
fn first(cursor: *mut Cursor, buffer: u64, len: u64) -> u64 {
    // SAFETY: values of the map.
    unsafe {
        let sent = (*cursor).direction == Direction::Sent as u32;
        (*cursor).mode = spoken(buffer, len, sent);
        if !sent {
            return 0;
        }
        if let Some(other) = get((*cursor).tls, Direction::Received) {
            (*other).mode = (*cursor).mode;
        }
        if (*cursor).mode == mode::HTTP2 { http2::preface(cursor, len) } else { 0 }
    }
}

/// A Read returned an error and no bytes.
#[inline(never)]
pub fn end(cursor: *mut Cursor, root: u32) -> u64 {
    let (task, now) = (task::of(root), emit::now());
    // SAFETY: a value of the map.
    unsafe {
        match (*cursor).mode {
            mode::HTTP2 => {
                let end = frame((*cursor).tls, (*cursor).conn, now);
                emit::event(Kind::Frame, FRAME_READ | FRAME_EOF, task, now, end);
            }
            mode::HTTP1 => {
                let end = Http1 { tls: (*cursor).tls, conn: (*cursor).conn, len: 0, head: 0 };
                emit::event(Kind::Http1, HTTP1_READ | HTTP1_EOF, task, now, end);
            }
            _ => {}
        }
    }
    0
}

/// What a direction's first bytes say. A server's first bytes are an HTTP/1 status line or a
/// frame; a client's are a method or the HTTP/2 preface.
#[inline(always)]
fn spoken(buffer: u64, len: u64, sent: bool) -> u32 {
    let Some(first) = user::<[u8; 4]>(buffer) else { return mode::OTHER };
    if len < 4 {
        return mode::OTHER;
    }
    match (sent, &first) {
        (true, b"PRI ") => mode::HTTP2,
        (true, _) if http1::is_method(&first) => mode::HTTP1,
        (false, b"HTTP") => mode::HTTP1,
        _ => mode::OTHER,
    }
}
