//! Any frame events on both directions: behind headers that could not be read the table is not known whole.
#![no_main]

use pipeline::decode::http2::{Body, Connection};
use libfuzzer_sys::fuzz_target;
use model::time::Monotonic;
use observer_common::{FRAME_LAST, FRAME_READ, Frame};
use zerocopy::FromZeros;

type Event = (u8, u8, u8, u8, Option<(u8, u16, u16)>, Vec<u8>);

fuzz_target!(|events: Vec<Event>| {
    let mut connection = Connection::default();
    for (n, (read, frame_type, frame_flags, stream, odd, slice)) in events.into_iter().enumerate() {
        let mut frame = Frame::new_zeroed();
        frame.frame_type = frame_type % 11;
        (frame.frame_flags, frame.stream) = (frame_flags, u32::from(stream % 8));
        // Most events are whole frames; `odd` ones have flags, lengths and offsets of their own.
        let (flags, len, offset) = odd.map_or((FRAME_LAST, slice.len() as u32, 0), |(flags, len, offset)| {
            (flags.into(), len.into(), offset.into())
        });
        (frame.len, frame.offset) = (len, offset);
        let read = if read % 2 == 0 { FRAME_READ } else { 0 };
        for event in connection.on_frame(Monotonic(n as u64), &frame, flags & !FRAME_READ | read, &slice) {
            if let Body::Headers { fields: None, .. } = event.body {
                let direction = if read == 0 { &connection.sent } else { &connection.received };
                assert!(direction.is_partial());
            }
        }
    }
});
