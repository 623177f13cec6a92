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
#[inline(always)]
pub const fn is_frame(header: &[u8; 16]) -> bool {
    let len = (header[0] as u32) << 16 | (header[1] as u32) << 8 | header[2] as u32;
    let (kind, flags) = (header[3], header[4]);
    let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
    // Whether it is about a stream (of the client's), lengths, flags that it may have.
    let (streams, least, most, allowed) = match kind {
        // One without anything does not come.
        frame::DATA => (1, if flags & END_STREAM != 0 { 0 } else { 1 }, FRAME_MAX, 0x09),
        frame::HEADERS => (1, 1, FRAME_MAX, 0x2d),
        2 => (1, 5, 5, 0), // PRIORITY
        frame::RST_STREAM => (1, 4, 4, 0),
        frame::SETTINGS => (0, 0, SETTINGS_MAX, 0x01),
        6 => (0, 8, 8, 0x01), // PING
        frame::GOAWAY => (0, 8, FRAME_MAX, 0),
        8 => (if stream == 0 { 0 } else { 1 }, 4, 4, 0), // WINDOW_UPDATE
        frame::CONTINUATION => (1, 0, FRAME_MAX, 0x04),
        _ => return false,
    };
    let owner = if streams == 0 { stream == 0 } else { stream & 1 == 1 && stream <= STREAM_MAX };
    owner && least <= len && len <= most && flags & !allowed == 0 && (kind != frame::SETTINGS || len % 6 == 0)
}

/// The payload that every peer takes (RFC 9113, 4.2), and more settings than there are.
const FRAME_MAX: u32 = 16_384;
const SETTINGS_MAX: u32 = 6 * 64;
/// No connection has had so many requests.
const STREAM_MAX: u32 = 0x00ff_ffff;

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
