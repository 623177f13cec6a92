//! The walk over HTTP/2 frames (RFC 9113, 4.1). Frame headers are read; payloads are copied only
//! of frames that steer the connection; DATA is counted by stream and reported when its stream ends.

use aya_ebpf::helpers::generated::bpf_loop;
use observer_common::http2::{END_STREAM, FRAME_HEADER as HEADER, frame as kind, is_copied, is_frame};
use observer_common::{
    DATA_MAX, FRAME_COPY_MAX, FRAME_CUT, FRAME_LAST, FRAME_LOST, FRAME_PREFACE, FRAME_READ, FRAMES_MAX,
    Frame, Kind, Lost,
};

use crate::cursor::{Cursor, Stream, StreamKey, mode, reader};
use crate::task::{Task, user};
use crate::{STREAMS, emit};

/// Length of the client's preface (RFC 9113, 3.4).
const PREFACE: u64 = 24;

/// What the loop's callback needs.
#[repr(C)]
struct Loop {
    cursor: *mut Cursor,
    done: u64,
}

/// Reports the preface, a client's first bytes, and gives its length.
#[inline(always)]
pub unsafe fn preface(cursor: *mut Cursor, len: u64) -> u64 {
    if len < PREFACE {
        // SAFETY: the caller's map value.
        unsafe { (*cursor).mode = mode::OTHER };
        http2_report(cursor, u32::from(FRAME_LOST), 0);
    } else {
        http2_report(cursor, u32::from(FRAME_PREFACE | FRAME_LAST), 0);
    }
    PREFACE
}

/// The frames in `buffer[from..len]`; the first may have begun in an earlier call, the last may
/// go on in a later one.
#[inline(always)]
pub unsafe fn step(cursor: *mut Cursor, buffer: u64, from: u64, len: u64) {
    // SAFETY: the caller's map value.
    unsafe {
        (*cursor).buffer = buffer;
        (*cursor).at = from as u32;
        (*cursor).end = len.min(u64::from(u32::MAX)) as u32;
        let mut state = Loop { cursor, done: 0 };
        bpf_loop(FRAMES_MAX, frame as *mut _, (&raw mut state).cast(), 0);
        if state.done == 0 {
            lose(cursor);
        }
    }
}

/// One frame, or a slice of one; 1 ends the loop.
#[inline(never)]
extern "C" fn frame(_: u64, state: *mut Loop) -> i64 {
    // SAFETY: the state on `step`'s stack, and the map value it points to.
    unsafe {
        let state = &mut *state;
        let cursor = state.cursor;
        if (*cursor).at >= (*cursor).end {
            state.done = 1;
            return 1;
        }
        if (*cursor).have < HEADER {
            if !header(cursor) {
                state.done = 1;
                lose(cursor);
                return 1;
            }
            if (*cursor).have < HEADER {
                return 0;
            }
        }
        payload(cursor);
        0
    }
}

/// The place in the frames is not known any more.
#[inline(always)]
unsafe fn lose(cursor: *mut Cursor) {
    // SAFETY: the caller's map value.
    unsafe {
        (*cursor).mode = mode::LOST;
        (*cursor).have = 0;
    }
    http2_report(cursor, u32::from(FRAME_LOST), 0);
}

/// Whether a frame begins at `buffer`. Its header is left where the cursor has it; none of it is taken. A
/// global function, as is the next one: the verifier looks at it once.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn http2_begins(cursor: *mut Cursor, buffer: u64, len: u64) -> u64 {
    if cursor.is_null() || len < u64::from(HEADER) {
        return 0;
    }
    let Some(bytes) = user::<[u8; 9]>(buffer) else { return 0 };
    // SAFETY: the caller's map value.
    unsafe {
        let mut n = 0;
        while n < 9 {
            (*cursor).header[n] = bytes[n];
            n += 1;
        }
    }
    http2_is_frame(cursor)
}

/// Whether the bytes that are there are a frame's header.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn http2_is_frame(cursor: *mut Cursor) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    // SAFETY: the caller's map value.
    u64::from(unsafe { is_frame(&(*cursor).header) })
}

/// Takes the frame header, or the next byte of one that is split. False when memory cannot be
/// read, or what is there is none.
#[inline(always)]
unsafe fn header(cursor: *mut Cursor) -> bool {
    // SAFETY: the caller's map value.
    unsafe {
        let from = (*cursor).buffer + u64::from((*cursor).at);
        if (*cursor).have == 0 {
            (*cursor).frame_ns = (*cursor).now;
        }
        if (*cursor).have == 0 && (*cursor).end - (*cursor).at >= HEADER {
            let Some(bytes) = user::<[u8; 9]>(from) else { return false };
            let mut n = 0;
            while n < 9 {
                (*cursor).header[n] = bytes[n];
                n += 1;
            }
            (*cursor).have = HEADER;
            (*cursor).at += HEADER;
        } else {
            let Some(byte) = user::<u8>(from) else { return false };
            let place = ((*cursor).have & 15) as usize;
            (*cursor).header[place] = byte;
            (*cursor).have += 1;
            (*cursor).at += 1;
            if (*cursor).have < HEADER {
                return true;
            }
        }
        if (*cursor).checked != 0 && http2_is_frame(cursor) == 0 {
            return false;
        }
        let h = &(*cursor).header;
        (*cursor).len = u32::from(h[0]) << 16 | u32::from(h[1]) << 8 | u32::from(h[2]);
        (*cursor).frame_type = h[3];
        (*cursor).frame_flags = h[4];
        (*cursor).stream = u32::from_be_bytes([h[5], h[6], h[7], h[8]]) & 0x7fff_ffff;
        (*cursor).left = (*cursor).len;
        (*cursor).offset = 0;
        true
    }
}

/// Takes what this buffer has of the frame's payload.
#[inline(always)]
unsafe fn payload(cursor: *mut Cursor) {
    // SAFETY: the caller's map value.
    unsafe {
        let here = (*cursor).end - (*cursor).at;
        let copied = is_copied((*cursor).frame_type);
        let mut n = if (*cursor).left < here { (*cursor).left } else { here };
        if copied && n > DATA_MAX as u32 {
            n = DATA_MAX as u32;
        }
        let from = (*cursor).buffer + u64::from((*cursor).at);
        (*cursor).at += n;
        (*cursor).left -= n;
        if (*cursor).left == 0 {
            (*cursor).have = 0;
        }
        if copied {
            http2_slice(cursor, from, n);
        } else if (*cursor).frame_type == kind::DATA {
            http2_data(cursor, n);
        }
        (*cursor).offset += n;
    }
}

/// `n` bytes at `from` of a frame that is copied.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn http2_slice(cursor: *mut Cursor, from: u64, n: u32) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    // SAFETY: the caller's map value.
    unsafe {
        let last = (*cursor).left == 0;
        let flags = if last { FRAME_LAST } else { 0 };
        let mut bytes = 0;
        if last && (*cursor).frame_type == kind::RST_STREAM
            || (*cursor).frame_type == kind::HEADERS && (*cursor).frame_flags & END_STREAM != 0
        {
            // A reset ends both directions; what counts is what was received.
            let reset = (*cursor).frame_type == kind::RST_STREAM;
            bytes = forget(cursor, if reset { 1 } else { (*cursor).direction });
        }
        if (*cursor).offset >= FRAME_COPY_MAX {
            if last {
                http2_report(cursor, u32::from(flags | FRAME_CUT), bytes);
            }
        } else if n == 0 {
            if last {
                http2_report(cursor, u32::from(flags), bytes);
            }
        } else if copy(cursor, flags, bytes, from, n) == 0 {
            http2_report(cursor, u32::from(flags | FRAME_CUT), bytes);
        }
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn http2_data(cursor: *mut Cursor, n: u32) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    // SAFETY: the caller's map value.
    unsafe {
        let key = key(cursor, (*cursor).direction);
        let ends = (*cursor).left == 0 && (*cursor).frame_flags & END_STREAM != 0;
        let mut bytes = u64::from(n);
        if let Some(stream) = STREAMS.get_ptr_mut(&key) {
            (*stream).bytes += u64::from(n);
            bytes = (*stream).bytes;
        } else if !ends && STREAMS.insert(&key, &Stream { bytes }, 0).is_err() {
            emit::lost(Lost::Streams);
        }
        if ends {
            let _ = STREAMS.remove(&key);
            http2_report(cursor, u32::from(FRAME_LAST), bytes);
        }
    }
    0
}

#[inline(always)]
unsafe fn key(cursor: *mut Cursor, direction: u32) -> StreamKey {
    // SAFETY: the caller's map value.
    unsafe {
        StreamKey {
            began_ns: (*cursor).began_ns,
            pid: (*cursor).pid,
            stream: (*cursor).stream | direction << 31,
        }
    }
}

/// The stream ends: how many bytes it had.
#[inline(never)]
unsafe fn forget(cursor: *mut Cursor, direction: u32) -> u64 {
    // SAFETY: the caller's map value.
    unsafe {
        let key = key(cursor, direction);
        let Some(stream) = STREAMS.get_ptr_mut(&key) else { return 0 };
        let bytes = (*stream).bytes;
        let _ = STREAMS.remove(&key);
        bytes
    }
}

#[inline(always)]
unsafe fn direction(cursor: *mut Cursor) -> u16 {
    // SAFETY: the caller's map value.
    if unsafe { (*cursor).direction } == 1 { FRAME_READ } else { 0 }
}

/// Writes the frame as an event, member by member: as a whole it would lie on the stack first.
#[inline(always)]
unsafe fn event(cursor: *mut Cursor, stream_bytes: u64, to: *mut Frame) -> (Task, u64) {
    // SAFETY: the caller's map value, and the place for the event.
    unsafe {
        (*to).tls = (*cursor).tls;
        (*to).conn = (*cursor).conn;
        (*to).stream = (*cursor).stream;
        (*to).len = (*cursor).len;
        (*to).frame_type = (*cursor).frame_type;
        (*to).frame_flags = (*cursor).frame_flags;
        (*to).pad = [0; 2];
        (*to).offset = (*cursor).offset;
        (*to).stream_bytes = stream_bytes;
        (*to).start_ns = (*cursor).frame_ns;
        (reader(cursor), (*cursor).now)
    }
}

/// Sends the frame with `n` bytes of its payload; 0 when it was lost.
#[inline(never)]
unsafe fn copy(cursor: *mut Cursor, flags: u16, bytes: u64, from: u64, n: u32) -> u64 {
    // SAFETY: the caller's map value.
    unsafe {
        let flags = flags | direction(cursor);
        u64::from(emit::with_user(Kind::Frame, flags, from, n, |to| event(cursor, bytes, to)))
    }
}

/// Sends the frame without payload.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn http2_report(cursor: *mut Cursor, flags: u32, bytes: u64) -> u64 {
    if cursor.is_null() {
        return 0;
    }
    let flags = flags as u16;
    // SAFETY: a value of the map.
    unsafe { emit::made(Kind::Frame, flags | direction(cursor), |to| event(cursor, bytes, to)) };
    0
}
