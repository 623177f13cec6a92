//! Directions made by hand: frames in order, then what came out of them.

use observer_common::FRAME_READ;
use proptest::prelude::*;
use zerocopy::FromZeros;

use super::super::{Connection, ErrorCode};
use model::time::Monotonic;
use observer_common::http2::frame::SETTINGS;

use super::*;

/// A direction and its clock, ten ticks an event.
#[derive(Default)]
struct Line {
    direction: Direction,
    at_ns: Monotonic,
    events: Vec<Event>,
}

fn frame(frame_type: u8, frame_flags: u8, stream: u32, len: usize, offset: usize, start_ns: u64) -> Frame {
    let mut frame = Frame::new_zeroed();
    (frame.frame_type, frame.frame_flags, frame.stream) = (frame_type, frame_flags, stream);
    (frame.len, frame.offset, frame.start_ns) = (len as u32, offset as u32, start_ns);
    frame.stream_bytes = len as u64;
    frame
}

impl Line {
    fn event(&mut self, flags: u16, frame: &Frame, slice: &[u8]) -> &mut Self {
        self.at_ns += 10;
        self.events.extend(self.direction.on_frame(self.at_ns, frame, flags, slice));
        self
    }

    fn whole(&mut self, frame_type: u8, frame_flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        let frame = frame(frame_type, frame_flags, stream, payload.len(), 0, self.at_ns.0);
        self.event(FRAME_LAST, &frame, payload)
    }

    fn slice(&mut self, flags: u16, len: usize, offset: usize, slice: &[u8]) -> &mut Self {
        let frame = frame(HEADERS, END_HEADERS, 1, len, offset, 0);
        self.event(flags, &frame, slice)
    }

    fn bodies(&self) -> Vec<Body> {
        self.events.iter().map(|event| event.body.clone()).collect()
    }

    /// The path of each header block, `-` where it is not known.
    fn paths(&self) -> Vec<String> {
        let path = |event: &Event| match &event.body {
            Body::Headers { fields, .. } => {
                Some(fields.as_ref().and_then(|fields| fields.path.clone()).unwrap_or("-".into()))
            }
            _ => None,
        };
        self.events.iter().filter_map(path).collect()
    }
}

/// `:path` as a literal that goes into the table.
fn path(path: &str) -> Vec<u8> {
    [&[0x44, path.len() as u8][..], path.as_bytes()].concat()
}
/// The newest entry of the table.
const NEWEST: &[u8] = &[0xbe];
/// The one before it.
const OLDER: &[u8] = &[0xbf];

#[test]
fn a_path_is_remembered_by_the_table() {
    let mut line = Line::default();
    line.whole(HEADERS, END_HEADERS | END_STREAM, 1, &path("/a")).whole(HEADERS, END_HEADERS, 3, NEWEST);
    assert_eq!(line.paths(), ["/a", "/a"]);
    assert!(matches!(line.events[0].body, Body::Headers { stream: 1, end_stream: true, .. }));
    assert_eq!((line.events[1].start_ns, line.events[1].at_ns), (Monotonic(10), Monotonic(20)));
}

#[test]
fn a_block_in_continuations_begins_with_its_headers() {
    let mut line = Line::default();
    let block = path("/abc");
    line.whole(HEADERS, END_STREAM, 1, &block[..2]).whole(CONTINUATION, 0, 1, &block[2..4]).whole(
        CONTINUATION,
        END_HEADERS,
        1,
        &block[4..],
    );
    assert_eq!(line.paths(), ["/abc"]);
    assert_eq!((line.events[0].start_ns, line.events[0].at_ns), (Monotonic(0), Monotonic(30)));
    assert!(matches!(line.events[0].body, Body::Headers { end_stream: true, .. }));
}

#[test]
fn a_frame_between_continuations_loses_the_table() {
    for (kind, stream) in [(DATA, 1), (HEADERS, 3), (SETTINGS, 0), (CONTINUATION, 3)] {
        let mut line = Line::default();
        line.whole(HEADERS, 0, 1, &path("/a")).whole(kind, END_HEADERS, stream, &[]);
        assert!(line.direction.is_partial());
        assert_eq!(line.paths()[0], "-");
    }
}

#[test]
fn too_many_continuations_lose_the_table() {
    let mut line = Line::default();
    line.whole(HEADERS, 0, 1, &path("/a"));
    for _ in 0..CONTINUATIONS_MAX {
        line.whole(CONTINUATION, 0, 1, &[]);
    }
    assert!(!line.direction.is_partial());
    line.whole(CONTINUATION, END_HEADERS, 1, &[]);
    assert_eq!(line.paths(), ["-"]);
}

#[test]
fn too_long_a_block_loses_the_table() {
    let mut line = Line::default();
    line.whole(HEADERS, 0, 1, &[0x82; 16_384]);
    for n in 1..17 {
        assert_eq!(line.direction.is_partial(), n > 16);
        line.whole(CONTINUATION, 0, 1, &[0x82; 16_384]);
    }
    assert!(line.direction.is_partial());
}

#[test]
fn a_cut_block_loses_the_table_and_what_is_spelled_out_behind_it_is_known() {
    let mut line = Line::default();
    line.whole(HEADERS, END_HEADERS, 1, &path("/a"));
    line.slice(FRAME_LAST | FRAME_CUT, 100, 0, b"").whole(HEADERS, END_HEADERS, 3, &path("/b"));
    line.whole(HEADERS, END_HEADERS, 5, NEWEST).whole(HEADERS, END_HEADERS, 7, OLDER);
    assert_eq!(line.paths(), ["/a", "-", "/b", "/b", "-"]);
    assert_eq!(line.bodies().iter().filter(|body| **body == Body::Lost(Loss::Table)).count(), 1);
}

#[test]
fn a_missing_slice_loses_the_table() {
    let block = path("/abcdef");
    let mut line = Line::default();
    line.slice(0, 9, 0, &block[..3]).slice(FRAME_LAST, 9, 6, &block[6..]);
    assert_eq!(line.paths(), ["-"]);
    let mut line = Line::default();
    line.slice(0, 9, 0, &block[..3]).whole(HEADERS, END_HEADERS, 3, &path("/b"));
    assert_eq!(line.paths(), ["-", "/b"]);
    let mut line = Line::default();
    line.slice(FRAME_LAST, 9, 3, &block[3..]);
    assert_eq!(line.paths(), ["-"]);
    let mut line = Line::default();
    line.slice(FRAME_LAST, 9, 0, &block[..3]);
    assert_eq!(line.paths(), ["-"]);
}

#[test]
fn of_a_connection_joined_late_what_is_spelled_out_is_known() {
    let mut line = Line::default();
    line.event(FRAME_JOINED_LATE, &Frame::new_zeroed(), &[]);
    // 200 is in the static table, the path of the second is what an entry has that was not seen.
    line.whole(HEADERS, END_HEADERS, 7, &[&[0x88][..], &path("/a")].concat());
    line.whole(HEADERS, END_HEADERS, 9, &[0x88, 0xbf]).whole(DATA, END_STREAM, 9, &[0; 5]);
    let fields = |path: Option<&str>| {
        Some(Fields { status: Some(200), path: path.map(str::to_owned), ..Fields::default() })
    };
    let expected = [
        Body::Lost(Loss::Table),
        Body::Headers { stream: 7, fields: fields(Some("/a")), end_stream: false },
        Body::Headers { stream: 9, fields: fields(None), end_stream: false },
        Body::Data { stream: 9, end_stream: true, total_bytes: 5 },
    ];
    assert_eq!(line.bodies(), expected);
}

#[test]
fn after_a_gap_in_the_frames_those_that_are_found_again_are_reported() {
    let mut line = Line::default();
    line.whole(HEADERS, END_HEADERS, 1, &path("/a")).event(FRAME_LOST, &Frame::new_zeroed(), &[]);
    line.whole(HEADERS, END_HEADERS, 5, NEWEST).whole(HEADERS, END_HEADERS, 7, &path("/b"));
    line.event(FRAME_EOF, &Frame::new_zeroed(), &[]);
    assert_eq!(line.paths(), ["/a", "-", "/b"]);
    let bodies = line.bodies();
    assert_eq!(&bodies[1..3], [Body::Lost(Loss::Table), Body::Lost(Loss::Frames)]);
    assert_eq!(bodies[5], Body::Eof);
}

#[test]
fn a_block_that_breaks_hpack_is_reported_without_fields() {
    let mut line = Line::default();
    line.whole(HEADERS, END_HEADERS, 1, &[0xff]).whole(HEADERS, END_HEADERS, 3, &path("/a"));
    assert_eq!(line.paths(), ["-", "/a"]);
}

#[test]
fn other_frames_are_reported() {
    let mut line = Line::default();
    line.event(FRAME_PREFACE, &Frame::new_zeroed(), &[])
        .whole(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
        .whole(SETTINGS, ACK, 0, &[])
        .whole(RST_STREAM, 0, 5, &[0, 0, 0, 8])
        .whole(GOAWAY, 0, 0, &[0, 0, 0, 9, 0, 0, 0, 0])
        .whole(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &path("/p")].concat());
    let settings = Settings { max_concurrent_streams: Some(100), ..Settings::default() };
    let fields = Some(Fields { path: Some("/p".into()), ..Fields::default() });
    let expected = [
        Body::Preface,
        Body::Settings(settings),
        Body::Reset { stream: 5, code: Some(ErrorCode(8)) },
        Body::GoAway { last_stream: Some(9), code: Some(ErrorCode(0)) },
        Body::PushPromise { stream: 1, promised: Some(2), fields },
    ];
    assert_eq!(line.bodies(), expected);
}

#[test]
fn a_gap_that_is_distinguished_from_outside_loses_both_tables() {
    let mut connection = Connection::default();
    connection.lose(Monotonic(5));
    assert!(connection.sent.is_partial() && connection.received.is_partial());
}

/// Size update to 8192, then a path.
fn enlarged() -> Vec<u8> {
    [&[0x3f, 0xe1, 0x3f][..], &path("/a")].concat()
}

#[test]
fn settings_of_one_direction_bound_the_table_of_the_other() {
    let block = enlarged();
    let headers = frame(HEADERS, END_HEADERS, 1, block.len(), 0, 0);
    let allow = frame(SETTINGS, 0, 0, 6, 0, 0);
    for (settings_flags, headers_flags, lost) in
        [(0, FRAME_READ, false), (FRAME_READ, 0, false), (0, 0, true), (FRAME_READ, FRAME_READ, true)]
    {
        let mut connection = Connection::default();
        connection.on_frame(Monotonic(1), &allow, FRAME_LAST | settings_flags, &[0, 1, 0, 0, 0x20, 0]);
        connection.on_frame(Monotonic(2), &headers, FRAME_LAST | headers_flags, &block);
        assert_eq!(connection.sent.is_partial() || connection.received.is_partial(), lost);
    }
}

#[test]
fn settings_that_were_not_copied_allow_any_size() {
    let block = enlarged();
    let mut connection = Connection::default();
    connection.on_frame(Monotonic(1), &frame(SETTINGS, 0, 0, 6, 0, 0), FRAME_LAST | FRAME_CUT, &[]);
    let headers = frame(HEADERS, END_HEADERS, 1, block.len(), 0, 0);
    connection.on_frame(Monotonic(2), &headers, FRAME_LAST | FRAME_READ, &block);
    assert!(!connection.received.is_partial());
}

#[test]
fn a_loss_in_one_direction_leaves_the_other_intact() {
    let mut connection = Connection::default();
    connection.on_frame(Monotonic(1), &frame(HEADERS, END_HEADERS, 1, 9, 0, 0), FRAME_LAST | FRAME_CUT, &[]);
    let block = path("/a");
    let headers = frame(HEADERS, END_HEADERS, 1, block.len(), 0, 0);
    let events = connection.on_frame(Monotonic(2), &headers, FRAME_LAST | FRAME_READ, &block);
    assert!(matches!(&events[0].body, Body::Headers { fields: Some(_), .. }));
    assert!(connection.sent.is_partial());
}

proptest! {
    #[test]
    fn any_cut_into_frames_and_slices_gives_the_same_fields(
        frames in proptest::collection::vec(0usize..30, 1..20),
        slices in proptest::collection::vec(1usize..20, 1..20),
    ) {
        let block = [path("/some/long/path/of/a/module"), b"\x82\x00\x04kind\x05value".to_vec()].concat();
        let mut line = Line::default();
        let (mut rest, mut kind, mut slices) = (&block[..], HEADERS, slices.iter().cycle());
        for (n, size) in frames.iter().enumerate() {
            let end = n + 1 == frames.len();
            let (now, later) = rest.split_at(if end { rest.len() } else { rest.len().min(*size) });
            let mut offset = 0;
            loop {
                let until = now.len().min(offset + slices.next().unwrap());
                let last = if until == now.len() { FRAME_LAST } else { 0 };
                let flags = if end { END_HEADERS } else { 0 };
                line.event(last, &frame(kind, flags, 1, now.len(), offset, 0), &now[offset..until]);
                offset = until;
                if last != 0 { break; }
            }
            (rest, kind) = (later, CONTINUATION);
        }
        prop_assert_eq!(line.events.len(), 1);
        prop_assert_eq!(line.paths(), ["/some/long/path/of/a/module"]);
    }

    #[test]
    fn any_frames_stay_bounded(
        frames in proptest::collection::vec(
            (any::<u16>(), 0u8..11, any::<u8>(), 0u32..4, 0usize..40, 0usize..40, proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
    ) {
        let mut line = Line::default();
        for (flags, kind, frame_flags, stream, len, offset, slice) in frames {
            // Mostly without the rare bits, or nothing would survive the first frame.
            let flags = if flags % 8 == 0 { flags >> 3 } else { flags >> 3 & FRAME_LAST };
            line.events.clear();
            line.event(flags, &frame(kind, frame_flags, stream, len, offset, 0), &slice);
            prop_assert!(line.events.len() <= 6);
            prop_assert!(line.direction.copy.as_ref().is_none_or(|copy| copy.payload.len() <= FRAME_COPY_MAX as usize));
            prop_assert!(line.direction.block.as_ref().is_none_or(|block| block.bytes.len() <= BLOCK_MAX));
        }
    }
}
