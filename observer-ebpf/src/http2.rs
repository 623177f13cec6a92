//! The walk over HTTP/2 frames (RFC 9113, 4.1). Frame headers are read; payloads are copied only
//! of frames that steer the connection; DATA is counted by stream and reported when its stream ends.

use aya_ebpf::helpers::generated::bpf_loop;
use observer_common::http2::{END_STREAM, FRAME_HEADER as HEADER, frame as kind, is_copied};
use observer_common::{
    DATA_MAX, FRAME_COPY_MAX, FRAME_CUT, FRAME_LAST, FRAME_LOST, FRAME_PREFACE, FRAME_READ, FRAMES_MAX,
    Frame, Kind, Lost,
};

use crate::task::{Task, user};
use crate::walk::{Stream, StreamKey, Walk, mode, walker};
use crate::{STREAMS, emit};

/// Length of the client's preface (RFC 9113, 3.4).
const PREFACE: u64 = 24;

/// What the loop's callback needs.
#[repr(C)]
struct Loop {
    walk: *mut Walk,
    done: u64,
}

/// Reports the preface, a client's first bytes, and gives its length.
#[inline(always)]
pub unsafe fn preface(walk: *mut Walk, len: u64) -> u64 {
    if len < PREFACE {
        // SAFETY: the caller's map value.
        unsafe { (*walk).mode = mode::OTHER };
        report(walk, FRAME_LOST, 0);
    } else {
        report(walk, FRAME_PREFACE | FRAME_LAST, 0);
    }
    PREFACE
}

/// The frames in `buffer[from..len]`; the first may have begun in an earlier call, the last may
/// go on in a later one.
#[inline(always)]
pub unsafe fn step(walk: *mut Walk, buffer: u64, from: u64, len: u64) {
    // SAFETY: the caller's map value.
    unsafe {
        (*walk).buffer = buffer;
        (*walk).at = from as u32;
        (*walk).end = len.min(u64::from(u32::MAX)) as u32;
        let mut state = Loop { walk, done: 0 };
        bpf_loop(FRAMES_MAX, frame as *mut _, (&raw mut state).cast(), 0);
        if state.done == 0 {
            (*walk).mode = mode::OTHER;
            report(walk, FRAME_LOST, 0);
        }
    }
}

/// One frame, or a slice of one; 1 ends the loop.
#[inline(never)]
extern "C" fn frame(_: u64, state: *mut Loop) -> i64 {
    // SAFETY: the state on `step`'s stack, and the map value it points to.
    unsafe {
        let state = &mut *state;
        let walk = state.walk;
        if (*walk).at >= (*walk).end {
            state.done = 1;
            return 1;
        }
        if (*walk).have < HEADER {
            if !header(walk) {
                (*walk).mode = mode::OTHER;
                state.done = 1;
                report(walk, FRAME_LOST, 0);
                return 1;
            }
            if (*walk).have < HEADER {
                return 0;
            }
        }
        payload(walk);
        0
    }
}

/// Takes the frame header, or the next byte of one that is split. False when memory cannot be
/// read.
#[inline(always)]
unsafe fn header(walk: *mut Walk) -> bool {
    // SAFETY: the caller's map value.
    unsafe {
        let from = (*walk).buffer + u64::from((*walk).at);
        if (*walk).have == 0 {
            (*walk).frame_ns = (*walk).now;
        }
        if (*walk).have == 0 && (*walk).end - (*walk).at >= HEADER {
            let Some(bytes) = user::<[u8; 9]>(from) else { return false };
            let mut n = 0;
            while n < 9 {
                (*walk).header[n] = bytes[n];
                n += 1;
            }
            (*walk).have = HEADER;
            (*walk).at += HEADER;
        } else {
            let Some(byte) = user::<u8>(from) else { return false };
            let place = ((*walk).have & 15) as usize;
            (*walk).header[place] = byte;
            (*walk).have += 1;
            (*walk).at += 1;
            if (*walk).have < HEADER {
                return true;
            }
        }
        let h = &(*walk).header;
        (*walk).len = u32::from(h[0]) << 16 | u32::from(h[1]) << 8 | u32::from(h[2]);
        (*walk).frame_type = h[3];
        (*walk).frame_flags = h[4];
        (*walk).stream = u32::from_be_bytes([h[5], h[6], h[7], h[8]]) & 0x7fff_ffff;
        (*walk).left = (*walk).len;
        (*walk).offset = 0;
        true
    }
}

/// Takes what this buffer has of the frame's payload.
#[inline(always)]
unsafe fn payload(walk: *mut Walk) {
    // SAFETY: the caller's map value.
    unsafe {
        let here = (*walk).end - (*walk).at;
        let copied = is_copied((*walk).frame_type);
        let mut n = if (*walk).left < here { (*walk).left } else { here };
        if copied && n > DATA_MAX as u32 {
            n = DATA_MAX as u32;
        }
        let from = (*walk).buffer + u64::from((*walk).at);
        (*walk).at += n;
        (*walk).left -= n;
        if (*walk).left == 0 {
            (*walk).have = 0;
        }
        if copied {
            slice(walk, from, n);
        } else if (*walk).frame_type == kind::DATA {
            data(walk, n);
        }
        (*walk).offset += n;
    }
}

/// `n` bytes at `from` of a frame that is copied.
#[inline(never)]
unsafe fn slice(walk: *mut Walk, from: u64, n: u32) -> u64 {
    // SAFETY: the caller's map value.
    unsafe {
        let last = (*walk).left == 0;
        let flags = if last { FRAME_LAST } else { 0 };
        let mut bytes = 0;
        if last && (*walk).frame_type == kind::RST_STREAM
            || (*walk).frame_type == kind::HEADERS && (*walk).frame_flags & END_STREAM != 0
        {
            // A reset ends both directions; what counts is what was received.
            let reset = (*walk).frame_type == kind::RST_STREAM;
            bytes = forget(walk, if reset { 1 } else { (*walk).direction });
        }
        if (*walk).offset >= FRAME_COPY_MAX {
            if last {
                report(walk, flags | FRAME_CUT, bytes);
            }
        } else if n == 0 {
            if last {
                report(walk, flags, bytes);
            }
        } else if copy(walk, flags, bytes, from, n) == 0 {
            report(walk, flags | FRAME_CUT, bytes);
        }
    }
    0
}

#[inline(never)]
unsafe fn data(walk: *mut Walk, n: u32) -> u64 {
    // SAFETY: the caller's map value.
    unsafe {
        let key = key(walk, (*walk).direction);
        let ends = (*walk).left == 0 && (*walk).frame_flags & END_STREAM != 0;
        let mut bytes = u64::from(n);
        if let Some(stream) = STREAMS.get_ptr_mut(&key) {
            (*stream).bytes += u64::from(n);
            bytes = (*stream).bytes;
        } else if !ends && STREAMS.insert(&key, &Stream { bytes }, 0).is_err() {
            emit::lost(Lost::Streams);
        }
        if ends {
            let _ = STREAMS.remove(&key);
            report(walk, FRAME_LAST, bytes);
        }
    }
    0
}

#[inline(always)]
unsafe fn key(walk: *mut Walk, direction: u32) -> StreamKey {
    // SAFETY: the caller's map value.
    unsafe {
        StreamKey { began_ns: (*walk).began_ns, pid: (*walk).pid, stream: (*walk).stream | direction << 31 }
    }
}

/// The stream ends: how many bytes it had.
#[inline(never)]
unsafe fn forget(walk: *mut Walk, direction: u32) -> u64 {
    // SAFETY: the caller's map value.
    unsafe {
        let key = key(walk, direction);
        let Some(stream) = STREAMS.get_ptr_mut(&key) else { return 0 };
        let bytes = (*stream).bytes;
        let _ = STREAMS.remove(&key);
        bytes
    }
}

#[inline(always)]
unsafe fn direction(walk: *mut Walk) -> u16 {
    // SAFETY: the caller's map value.
    if unsafe { (*walk).direction } == 1 { FRAME_READ } else { 0 }
}

/// Writes the frame as an event, member by member: as a whole it would lie on the stack first.
#[inline(always)]
unsafe fn event(walk: *mut Walk, stream_bytes: u64, to: *mut Frame) -> (Task, u64) {
    // SAFETY: the caller's map value, and the place for the event.
    unsafe {
        (*to).tls = (*walk).tls;
        (*to).conn = (*walk).conn;
        (*to).stream = (*walk).stream;
        (*to).len = (*walk).len;
        (*to).frame_type = (*walk).frame_type;
        (*to).frame_flags = (*walk).frame_flags;
        (*to).pad = [0; 2];
        (*to).offset = (*walk).offset;
        (*to).stream_bytes = stream_bytes;
        (*to).start_ns = (*walk).frame_ns;
        (walker(walk), (*walk).now)
    }
}

/// Sends the frame with `n` bytes of its payload; 0 when it was lost.
#[inline(never)]
unsafe fn copy(walk: *mut Walk, flags: u16, bytes: u64, from: u64, n: u32) -> u64 {
    // SAFETY: the caller's map value.
    unsafe {
        let flags = flags | direction(walk);
        u64::from(emit::with_user(Kind::Frame, flags, from, n, |to| event(walk, bytes, to)))
    }
}

/// Sends the frame without payload.
#[inline(never)]
fn report(walk: *mut Walk, flags: u16, bytes: u64) -> u64 {
    // SAFETY: a value of the map.
    unsafe { emit::made(Kind::Frame, flags | direction(walk), |to| event(walk, bytes, to)) };
    0
}
