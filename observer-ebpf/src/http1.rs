//! HTTP/1.1 inside TLS: heads are copied, bodies only counted.

use aya_ebpf::helpers::generated::bpf_loop;
use observer_common::{
    DATA_MAX, HTTP1_HEAD_END, HTTP1_HEAD_START, HTTP1_LAST_CHUNK, HTTP1_READ, Http1, Kind,
};

use crate::emit;
use crate::task::{Task, user};
use crate::walk::{Direction, Walk};

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
extern "C" fn search(_: u64, state: *mut *mut Walk) -> i64 {
    // SAFETY: the pointer on `head_end`'s stack to a value of the map.
    unsafe {
        let walk = *state;
        let Some(byte) = user::<u8>((*walk).buffer + u64::from((*walk).at)) else { return 1 };
        (*walk).at += 1;
        (*walk).window = (*walk).window << 8 | u32::from(byte);
        i64::from((*walk).window == END)
    }
}

/// How many of `len` bytes belong to the head, and whether it ends there.
#[inline(always)]
unsafe fn head_end(mut walk: *mut Walk, buffer: u64, len: u32) -> (u32, bool) {
    // SAFETY: the caller's map value; the callback and its state, as `bpf_loop` wants them.
    unsafe {
        (*walk).buffer = buffer;
        (*walk).at = 0;
        bpf_loop(len, search as *mut _, (&raw mut walk).cast(), 0);
        ((*walk).at, (*walk).window == END)
    }
}

/// A call's bytes.
#[inline(always)]
pub fn step(task: Task, walk: *mut Walk, tls: u64, direction: Direction, buffer: u64, len: u64) {
    let len = len.min(u64::from(u32::MAX)) as u32;
    let mut flags = if direction == Direction::Received { HTTP1_READ } else { 0 };
    let mut head = 0;
    // SAFETY: a value of the map.
    unsafe {
        if (*walk).in_head == 0
            && len >= 4
            && let Some(first) = user::<[u8; 4]>(buffer)
        {
            let starts = match direction {
                Direction::Sent => is_method(&first),
                Direction::Received => first == *b"HTTP",
            };
            if starts {
                flags |= HTTP1_HEAD_START;
                (*walk).in_head = 1;
                (*walk).head = 0;
                (*walk).window = 0;
            }
        }
        if (*walk).in_head != 0 {
            let (bytes, ended) = head_end(walk, buffer, len.min(DATA_MAX as u32));
            head = bytes;
            (*walk).head += bytes;
            if ended {
                flags |= HTTP1_HEAD_END;
            }
            if ended || (*walk).head >= HEAD_MAX || bytes < len {
                (*walk).in_head = 0;
            }
        }
        if len >= 5 && user::<[u8; 5]>(buffer + u64::from(len) - 5) == Some(*b"0\r\n\r\n") {
            flags |= HTTP1_LAST_CHUNK;
        }
        let call = Http1 { tls, conn: (*walk).conn, len, head };
        let now = emit::now();
        if head == 0 {
            emit::event(Kind::Http1, flags, task, now, call);
        } else {
            emit::with_user(Kind::Http1, flags, task, now, call, buffer, head);
        }
    }
}
