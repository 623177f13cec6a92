//! HTTP/1.1 inside TLS: heads are copied, bodies only counted.

use aya_ebpf::helpers::generated::bpf_loop;
use observer_common::{
    DATA_MAX, HTTP1_HEAD_END, HTTP1_HEAD_START, HTTP1_LAST_CHUNK, HTTP1_READ, Http1, Kind,
};

use crate::cursor::{Cursor, Direction, reader};
use crate::emit;
use crate::task::user;

/// Longest head that is copied, bytes; net/http's clients and servers send far shorter ones.
const HEAD_MAX: u32 = 16 * 1024;

/// First four bytes of the methods of RFC 9110 and PATCH.
#[inline(always)]
pub fn is_method(first: &[u8; 4]) -> bool {
    matches!(first, b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"TRAC")
}

/// The last four bytes of a head.
const END: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// One byte of the search for the end of a head; 1 ends it. Its place is in the map value, so
/// that the verifier need not follow it.
#[inline(never)]
extern "C" fn search(_: u64, state: *mut *mut Cursor) -> i64 {
    // SAFETY: the pointer on `head_end`'s stack to a value of the map.
    unsafe {
        let cursor = *state;
        let Some(byte) = user::<u8>((*cursor).buffer + u64::from((*cursor).at)) else { return 1 };
        (*cursor).at += 1;
        (*cursor).window = (*cursor).window << 8 | u32::from(byte);
        i64::from((*cursor).window == END)
    }
}

/// Looks for the end of the head in `len` bytes; how many belong to it are in `at` then.
#[inline(never)]
fn head_end(mut cursor: *mut Cursor, buffer: u64, len: u32) -> u64 {
    // SAFETY: the caller's map value; the callback and its state, as `bpf_loop` wants them.
    unsafe {
        (*cursor).buffer = buffer;
        (*cursor).at = 0;
        bpf_loop(len, search as *mut _, (&raw mut cursor).cast(), 0);
    }
    0
}

/// A call's bytes. A global function: the verifier looks at it once a program.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn http1_step(cursor: *mut Cursor, buffer: u64, len: u64) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    let len = len.min(u64::from(u32::MAX)) as u32;
    let flags = http1_head(cursor, buffer, len) as u16 | last_chunk(buffer, len);
    report(cursor, flags, buffer, len)
}

/// The part of a call's bytes that belongs to a head: its length is in `at`. Flags of the event.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn http1_head(cursor: *mut Cursor, buffer: u64, len: u32) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    // SAFETY: a value of the map.
    unsafe {
        let received = (*cursor).direction == Direction::Received as u32;
        let mut flags = if received { HTTP1_READ } else { 0 };
        if (*cursor).in_head == 0 && len >= 4 && starts(buffer, received) {
            flags |= HTTP1_HEAD_START;
            (*cursor).in_head = 1;
            (*cursor).head = 0;
            (*cursor).window = 0;
        }
        (*cursor).at = 0;
        if (*cursor).in_head != 0 {
            head_end(cursor, buffer, len.min(DATA_MAX as u32));
            (*cursor).head += (*cursor).at;
            let ended = (*cursor).window == END;
            if ended {
                flags |= HTTP1_HEAD_END;
            }
            if ended || (*cursor).head >= HEAD_MAX || (*cursor).at < len {
                (*cursor).in_head = 0;
            }
        }
        u64::from(flags)
    }
}

/// Whether a head starts at `buffer`.
#[inline(always)]
fn starts(buffer: u64, received: bool) -> bool {
    let first = user::<[u8; 4]>(buffer);
    first.is_some_and(|first| if received { first == *b"HTTP" } else { is_method(&first) })
}

/// A flag when the bytes end as a chunked body does.
#[inline(always)]
fn last_chunk(buffer: u64, len: u32) -> u16 {
    let ends = len >= 5 && user::<[u8; 5]>(buffer + u64::from(len) - 5) == Some(*b"0\r\n\r\n");
    if ends { HTTP1_LAST_CHUNK } else { 0 }
}

/// Sends the call, with the bytes of the head.
#[inline(never)]
fn report(cursor: *mut Cursor, flags: u16, buffer: u64, len: u32) -> u64 {
    // SAFETY: a value of the map.
    unsafe {
        let head = (*cursor).at;
        let make = |to: *mut Http1| {
            to.write(Http1 { tls: (*cursor).tls, conn: (*cursor).conn, len, head: (*cursor).at });
            (reader(cursor), (*cursor).now)
        };
        if head == 0 {
            emit::made(Kind::Http1, flags, make);
        } else {
            emit::with_user(Kind::Http1, flags, buffer, head, make);
        }
    }
    0
}
