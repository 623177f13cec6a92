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
