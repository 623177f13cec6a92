//! HTTP/2: the kernel's frame events in, [`Event`]s out. A [`Connection`] has two
//! [`Direction`]s; a loss in one leaves the other intact.
//!
//! What is known of a stream's headers depends on the header blocks before it. After a gap, and of a
//! connection that was joined late, a field is `None` where a block refers to what was not seen; what
//! it holds itself, or what was added since, is known: never a wrong path that looks right. A gap that
//! frames do not show (the ring was full) must be reported with [`Direction::lose`].

use model::time::Monotonic;
use observer_common::{FRAME_JOINED_LATE, FRAME_READ, Frame};

mod direction;
mod fields;
#[doc(hidden)]
pub mod hpack;
mod payload;

pub use direction::{BLOCK_MAX, CONTINUATIONS_MAX, Direction};
pub use fields::Fields;
pub use payload::{ErrorCode, Settings};

/// Something on one direction of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When the first byte of the frame (of a block in several frames: of the first) was read or
    /// written, as the kernel's clock says
    pub start_ns: Monotonic,
    /// When the last byte was
    pub at_ns: Monotonic,
    /// What it was
    pub body: Body,
}

/// What a frame, or a header block in several frames, said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A request's or response's headers, or its trailers
    Headers {
        /// Their stream
        stream: u32,
        /// `None` when they could not be read. Behind a gap single ones may be unknown
        fields: Option<Fields>,
        /// Nothing follows on the stream in this direction
        end_stream: bool,
    },
    /// A part of a body
    Data {
        /// Its stream
        stream: u32,
        /// Nothing follows on the stream in this direction
        end_stream: bool,
        /// Payload bytes (padding included) of the stream and direction so far
        total_bytes: u64,
    },
    /// A stream was ended at once
    Reset {
        /// The stream
        stream: u32,
        /// Why; `None` when it was not copied
        code: Option<ErrorCode>,
    },
    /// No new streams are taken
    GoAway {
        /// Streams above this one were not looked at; `None` when it was not copied
        last_stream: Option<u32>,
        /// Why; `None` when it was not copied
        code: Option<ErrorCode>,
    },
    /// Settings for the other direction (acknowledgements are not reported)
    Settings(Settings),
    /// A response without a request
    PushPromise {
        /// The stream of the request that led to it
        stream: u32,
        /// The stream of the response; `None` when it was not copied
        promised: Option<u32>,
        /// The request as the server supposes it; `None` when it could not be read
        fields: Option<Fields>,
    },
    /// The client's connection preface
    Preface,
    /// The peer closed
    Eof,
    /// Something of this direction is no longer known
    Lost(Loss),
}

/// What was lost of a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// What the header table held
    Table,
    /// The place in the frames: what comes until frames are found again is not reported
    Frames,
}

/// Both directions of a connection, wired: settings of one bound the header table of the other.
#[derive(Default)]
pub struct Connection {
    /// What the process wrote
    pub sent: Direction,
    /// What it read
    pub received: Direction,
}

impl Connection {
    /// Takes a frame event: its header's `at_ns` and flags (the `FRAME_*` bits), and the slice of
    /// the payload that came with it.
    pub fn on_frame(&mut self, at_ns: Monotonic, frame: &Frame, flags: u16, slice: &[u8]) -> Vec<Event> {
        let (from, to) = if flags & FRAME_READ == 0 {
            (&mut self.sent, &mut self.received)
        } else {
            (&mut self.received, &mut self.sent)
        };
        if flags & FRAME_JOINED_LATE != 0 {
            drop(to.lose(at_ns));
        }
        let events = from.on_frame(at_ns, frame, flags, slice);
        for event in &events {
            if let Body::Settings(Settings { header_table_size: Some(size), .. }) = event.body {
                to.peer_settings(size);
            }
        }
        // Which size a SETTINGS that was not copied allowed is not known. The encoder reports the
        // size that it uses, so allowing every size loses nothing.
        if from.settings_missed() {
            to.peer_settings(u32::MAX);
        }
        events
    }

    /// Events of this connection were lost without a trace in its frames: what both tables hold is not
    /// known.
    pub fn lose(&mut self, at_ns: Monotonic) -> Vec<Event> {
        let mut events = self.sent.lose(at_ns);
        events.extend(self.received.lose(at_ns));
        events
    }
}
