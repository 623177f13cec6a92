//! Payloads of single frames (RFC 9113, 6): bytes in, values out.

use std::fmt;

pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Why a stream or a connection was ended; displays as `CANCEL`, …, `0x1f` when the code has no
/// name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorCode(pub u32);

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        match NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

/// What a SETTINGS frame sets; `None` leaves a value as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Size of the table that the peer's encoder may use, bytes
    pub header_table_size: Option<u32>,
    /// Streams that the peer may have open
    pub max_concurrent_streams: Option<u32>,
    /// Bytes that the peer may send on a new stream before it is asked to go on
    pub initial_window_size: Option<u32>,
    /// Longest payload that the peer may send, bytes
    pub max_frame_size: Option<u32>,
}

impl Settings {
    /// Reads a payload. An identifier that comes twice counts as it stands last.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (entries, []) = payload.as_chunks::<6>() else { return None };
        let mut out = Self::default();
        for &[a, b, c, d, e, f] in entries {
            let value = Some(u32::from_be_bytes([c, d, e, f]));
            match u16::from_be_bytes([a, b]) {
                1 => out.header_table_size = value,
                3 => out.max_concurrent_streams = value,
                4 => out.initial_window_size = value,
                5 => out.max_frame_size = value,
                _ => {}
            }
        }
        Some(out)
    }
}

/// The part of a header block in a HEADERS frame: padding and priority taken off.
pub(super) fn headers(payload: &[u8], flags: u8) -> Option<&[u8]> {
    let block = unpadded(payload, flags)?;
    if flags & PRIORITY == 0 { Some(block) } else { block.get(5..) }
}

/// The promised stream and the part of a header block in a `PUSH_PROMISE` frame.
pub(super) fn push_promise(payload: &[u8], flags: u8) -> Option<(u32, &[u8])> {
    let (stream, block) = unpadded(payload, flags)?.split_first_chunk()?;
    Some((stream_of(*stream), block))
}

/// The last stream and the reason of a GOAWAY frame; the debug data after them is left.
pub(super) fn goaway(payload: &[u8]) -> Option<(u32, ErrorCode)> {
    let (stream, rest) = payload.split_first_chunk()?;
    Some((stream_of(*stream), error_code(rest)?))
}

/// The reason of an `RST_STREAM` frame.
pub(super) fn error_code(payload: &[u8]) -> Option<ErrorCode> {
    payload.first_chunk().map(|code| ErrorCode(u32::from_be_bytes(*code)))
}

fn stream_of(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

fn unpadded(payload: &[u8], flags: u8) -> Option<&[u8]> {
    if flags & PADDED == 0 {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_priority_are_taken_off() {
        assert_eq!(headers(b"abc", END_HEADERS), Some(&b"abc"[..]));
        assert_eq!(headers(b"\x02abc..", PADDED), Some(&b"abc"[..]));
        assert_eq!(headers(b"\x01prioXabc.", PADDED | PRIORITY), Some(&b"abc"[..]));
        assert_eq!(headers(b"\x04abc", PADDED), None);
        assert_eq!(headers(b"", PADDED), None);
        assert_eq!(headers(b"abcd", PRIORITY), None);
    }

    #[test]
    fn settings_are_read_and_others_left() {
        let payload = [[0, 1, 0, 0, 16, 0], [0, 3, 0, 0, 0, 250], [0x7f, 0, 1, 2, 3, 4]].concat();
        let settings = Settings::read(&payload).unwrap();
        assert_eq!((settings.header_table_size, settings.max_concurrent_streams), (Some(4096), Some(250)));
        assert_eq!(settings.initial_window_size, None);
        assert_eq!(Settings::read(&payload[1..]), None);
    }

    #[test]
    fn error_codes_have_their_names() {
        assert_eq!(error_code(&[0, 0, 0, 8]).unwrap().to_string(), "CANCEL");
        assert_eq!(ErrorCode(0x1f).to_string(), "0x1f");
        assert_eq!(error_code(&[0, 0, 8]), None);
        assert_eq!(goaway(b"\x80\0\0\x05\0\0\0\x0bdebug"), Some((5, ErrorCode(11))));
    }
}
