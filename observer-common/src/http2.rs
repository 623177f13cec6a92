//! Frames of HTTP/2 (RFC 9113) as far as both sides look at them: which ones the kernel side copies,
//! the reader takes apart.

/// Frame types (section 6).
pub mod frame {
    /// A part of a body; counted, never copied
    pub const DATA: u8 = 0;
    /// A request's or response's fields
    pub const HEADERS: u8 = 1;
    /// A stream ends at once
    pub const RST_STREAM: u8 = 3;
    /// Settings for the other direction
    pub const SETTINGS: u8 = 4;
    /// A response without a request
    pub const PUSH_PROMISE: u8 = 5;
    /// No new streams are taken
    pub const GOAWAY: u8 = 7;
    /// More fields
    pub const CONTINUATION: u8 = 9;
}

/// `DATA`, `HEADERS`: nothing follows on the stream in this direction.
pub const END_STREAM: u8 = 1;

/// Bytes of a frame's header (section 4.1).
pub const FRAME_HEADER: u32 = 9;

/// Whether nine bytes are a frame's header, of a connection of which the place in the frames is not known.
/// Of bodies it says so once in 2^29 times, of text never: the stream's number begins with a zero byte.
/// Strict: a frame of more than the 16,384 bytes that every peer takes, or of a kind that go's clients do
/// not use, is not found.
///
/// Numbers, and one comparison in the end: each branch would double what the kernel's verifier has to go through.
#[inline]
pub fn is_frame(header: &[u8; 16]) -> bool {
    let len = u64::from(header[0]) << 16 | u64::from(header[1]) << 8 | u64::from(header[2]);
    let (kind, flags) = (header[3], u64::from(header[4]));
    let stream = u64::from(u32::from_be_bytes([header[5], header[6], header[7], header[8]]));
    let rule = &RULES[(kind & 15) as usize];
    // Each is 0 when it is as it should be. What is too small has its upper bits set by a subtraction.
    let lengths = len.wrapping_sub(rule.least) >> 63 | rule.most.wrapping_sub(len) >> 63;
    let odd = (stream ^ rule.stream) & 1;
    let streams = stream >> 24 | stream & rule.no_stream | odd & rule.whose;
    (u64::from(kind) >> 4 | lengths | flags & rule.forbidden | streams | len & rule.even) == 0
}

/// What a kind of frame may have.
struct Rule {
    /// The payload's length, bytes
    least: u64,
    most: u64,
    /// Flags it may not have
    forbidden: u64,
    /// 1: it is about a stream of the client's, whose number is odd
    stream: u64,
    /// 1: that counts
    whose: u64,
    /// All ones: it is about none
    no_stream: u64,
    /// 1: its length is an even number
    even: u64,
}

/// The payload that every peer takes (RFC 9113, 4.2), and more settings than there are.
const FRAME_MAX: u64 = 16_384;
const SETTINGS_MAX: u64 = 6 * 64;

const fn of_stream(least: u64, most: u64, allowed: u64) -> Rule {
    Rule { least, most, forbidden: !allowed, stream: 1, whose: 1, no_stream: 0, even: 0 }
}

const fn of_connection(least: u64, most: u64, allowed: u64, even: u64) -> Rule {
    Rule { least, most, forbidden: !allowed, stream: 0, whose: 0, no_stream: !0, even }
}

/// No length is right.
const NONE: Rule = of_stream(1, 0, 0);

/// By type (section 6). An empty `DATA` or `PUSH_PROMISE`, which go's clients forbid, is none.
static RULES: [Rule; 16] = [
    of_stream(1, FRAME_MAX, 0x09),           // DATA
    of_stream(1, FRAME_MAX, 0x2d),           // HEADERS
    of_stream(5, 5, 0),                      // PRIORITY
    of_stream(4, 4, 0),                      // RST_STREAM
    of_connection(0, SETTINGS_MAX, 0x01, 1), // SETTINGS
    NONE,                                    // PUSH_PROMISE
    of_connection(8, 8, 0x01, 0),            // PING
    of_connection(8, FRAME_MAX, 0, 0),       // GOAWAY
    // WINDOW_UPDATE, of a stream or of none
    Rule { least: 4, most: 4, forbidden: !0, stream: 0, whose: 0, no_stream: 0, even: 0 },
    of_stream(0, FRAME_MAX, 0x04), // CONTINUATION
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
];

/// Whether a frame's payload is copied: frames that steer the connection, and all that its header
/// tables depend on.
#[inline]
pub const fn is_copied(frame_type: u8) -> bool {
    matches!(
        frame_type,
        frame::HEADERS
            | frame::RST_STREAM
            | frame::SETTINGS
            | frame::PUSH_PROMISE
            | frame::GOAWAY
            | frame::CONTINUATION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u32, kind: u8, flags: u8, stream: u32) -> [u8; 16] {
        let (len, stream) = (len.to_be_bytes(), stream.to_be_bytes());
        let mut header = [0xff; 16];
        header[..3].copy_from_slice(&len[1..]);
        (header[3], header[4]) = (kind, flags);
        header[5..9].copy_from_slice(&stream);
        header
    }

    #[test]
    fn what_go_and_its_servers_send_is_a_frame() {
        for (len, kind, flags, stream) in [
            (16_384, 0, 0, 1),
            (1, 0, 1, 205),
            (46, 1, 5, 7),
            (200, 1, 4, 0x00ff_ffff),
            (4, 3, 0, 3),
            (18, 4, 0, 0),
            (0, 4, 1, 0),
            (8, 6, 1, 0),
            (8, 7, 0, 0),
            (4, 8, 0, 0),
            (4, 8, 0, 9),
            (0, 9, 4, 5),
        ] {
            assert!(is_frame(&header(len, kind, flags, stream)), "{len} {kind} {flags} {stream}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_none() {
        for (len, kind, flags, stream) in [
            (0, 0, 0, 1),
            (16_385, 0, 0, 1),
            (5, 0, 0, 0),
            (5, 0, 0, 2),
            (5, 0, 2, 1),
            (0, 1, 4, 1),
            (5, 1, 4, 0x0100_0001),
            (5, 1, 4, 0x8000_0001),
            (4, 3, 1, 3),
            (3, 3, 0, 3),
            (5, 4, 0, 0),
            (6, 4, 0, 1),
            (10, 5, 4, 1),
            (8, 6, 0, 1),
            (7, 7, 0, 0),
            (5, 8, 0, 0),
            (4, 10, 0, 1),
            (4, 16, 0, 1),
            (4, 0x41, 0, 1),
        ] {
            assert!(!is_frame(&header(len, kind, flags, stream)), "{len} {kind} {flags} {stream}");
        }
        for text in
            [&b"module example.test\n"[..], b"HTTP/1.1 200 OK\r\n", b"PK\x03\x04\x14\0\x08\0\x08\0\0\0\0\0"]
        {
            assert!(!is_frame(text.first_chunk().unwrap_or(&[0; 16])));
        }
    }
}
