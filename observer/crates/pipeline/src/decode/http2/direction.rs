//! One direction of one HTTP/2 connection: frame events in order in, [`Event`]s out.

use observer_common::http2::frame::{CONTINUATION, DATA, GOAWAY, HEADERS, PUSH_PROMISE, RST_STREAM};
use observer_common::http2::{END_STREAM, is_copied};
use observer_common::{
    FRAME_COPY_MAX, FRAME_CUT, FRAME_EOF, FRAME_JOINED_LATE, FRAME_LAST, FRAME_LOST, FRAME_PREFACE, Frame,
};

use super::hpack::Table;
use super::payload::{self, ACK, END_HEADERS, Settings};
use super::{Body, Event, Fields, Loss};
use model::time::Monotonic;

/// Longest header block, bytes; a longer one is not decoded.
pub const BLOCK_MAX: usize = 256 * 1024;
/// Most CONTINUATION frames of one block; with more it is not decoded.
pub const CONTINUATIONS_MAX: u32 = 64;

/// One direction. Holds at most a frame ([`FRAME_COPY_MAX`]), a header block ([`BLOCK_MAX`]) and
/// a header table (64 KB).
#[derive(Default)]
pub struct Direction {
    table: Table,
    /// A SETTINGS frame was not copied as a whole
    settings_missed: bool,
    copy: Option<Copying>,
    block: Option<Block>,
    /// Cleared before each frame event, given out after it
    out: Vec<Event>,
}

/// A frame whose payload comes in slices.
struct Copying {
    frame: Frame,
    payload: Vec<u8>,
    cut: bool,
}

/// A header block whose end has not come.
struct Block {
    owner: Owner,
    start_ns: Monotonic,
    bytes: Vec<u8>,
    continuations: u32,
}

/// The frame that a header block began with.
#[derive(Clone, Copy)]
enum Owner {
    Headers { stream: u32, end_stream: bool },
    Promise { stream: u32, promised: u32 },
}

impl Owner {
    const fn stream(self) -> u32 {
        match self {
            Self::Headers { stream, .. } | Self::Promise { stream, .. } => stream,
        }
    }

    fn body(self, fields: Option<Fields>) -> Body {
        match self {
            Self::Headers { stream, end_stream } => Body::Headers { stream, fields, end_stream },
            Self::Promise { stream, promised } => {
                Body::PushPromise { stream, promised: Some(promised), fields }
            }
        }
    }
}

impl Direction {
    /// Takes the next frame event of this direction; see [`super::Connection::on_frame`].
    pub fn on_frame(&mut self, at_ns: Monotonic, frame: &Frame, flags: u16, slice: &[u8]) -> Vec<Event> {
        if flags & FRAME_JOINED_LATE != 0 {
            self.lose_table(at_ns);
        }
        if flags & FRAME_LOST != 0 {
            self.lose_frames(at_ns);
        }
        if flags & FRAME_EOF != 0 {
            self.abandon(at_ns);
            self.push(Monotonic(frame.start_ns), at_ns, Body::Eof);
        } else if flags & (FRAME_LOST | FRAME_JOINED_LATE) != 0 {
            // No frame came with it.
        } else if flags & FRAME_PREFACE != 0 {
            self.push(Monotonic(frame.start_ns), at_ns, Body::Preface);
        } else {
            self.frame(at_ns, frame, flags, slice);
        }
        std::mem::take(&mut self.out)
    }

    /// The peer of this direction's encoder allows a header table of this size, bytes.
    pub fn peer_settings(&mut self, header_table_size: u32) {
        self.table.allow(header_table_size as usize);
    }

    /// Events of this direction were lost without a trace in its frames: what its table holds is not known.
    pub fn lose(&mut self, at_ns: Monotonic) -> Vec<Event> {
        self.abandon(at_ns);
        self.lose_table(at_ns);
        std::mem::take(&mut self.out)
    }

    /// Fields may be `None` that are there: what the header table holds is not known, or not all of it.
    pub const fn is_partial(&self) -> bool {
        self.table.is_partial()
    }

    /// A SETTINGS frame could not be read.
    pub(super) const fn settings_missed(&self) -> bool {
        self.settings_missed
    }

    fn push(&mut self, start_ns: Monotonic, at_ns: Monotonic, body: Body) {
        self.out.push(Event { start_ns, at_ns, body });
    }

    /// What the table holds is not known any more. Headers that wait for their end are reported
    /// without their fields.
    fn lose_table(&mut self, at_ns: Monotonic) {
        if !self.is_partial() {
            self.push(at_ns, at_ns, Body::Lost(Loss::Table));
        }
        self.table.forget();
        if let Some(block) = self.block.take() {
            self.push(block.start_ns, at_ns, block.owner.body(None));
        }
    }

    fn lose_frames(&mut self, at_ns: Monotonic) {
        self.abandon(at_ns);
        self.lose_table(at_ns);
        self.push(at_ns, at_ns, Body::Lost(Loss::Frames));
    }

    /// The rest of a frame or of a block will not come.
    fn abandon(&mut self, at_ns: Monotonic) {
        if let Some(mut copying) = self.copy.take() {
            copying.cut = true;
            self.copied(at_ns, &copying);
        }
        if self.block.is_some() {
            self.lose_table(at_ns);
        }
    }

    fn frame(&mut self, at_ns: Monotonic, frame: &Frame, flags: u16, slice: &[u8]) {
        if self.copy.as_ref().is_some_and(|copying| !continues(copying, frame)) {
            self.abandon(at_ns);
        }
        if !is_copied(frame.frame_type) {
            if self.block.is_some() {
                // Only CONTINUATION may follow: something was missed.
                self.lose_table(at_ns);
            }
            if frame.frame_type == DATA {
                let end_stream = frame.frame_flags & END_STREAM != 0;
                let (stream, total_bytes) = (frame.stream, frame.stream_bytes);
                self.push(Monotonic(frame.start_ns), at_ns, Body::Data { stream, end_stream, total_bytes });
            }
            return;
        }
        let whole = FRAME_LAST | FRAME_CUT;
        if self.copy.is_none() && frame.offset == 0 && flags & whole == FRAME_LAST {
            // Nearly every frame is one slice: it is read where it lies.
            let fits = slice.len() <= FRAME_COPY_MAX as usize && slice.len() == frame.len as usize;
            return self.whole(at_ns, frame, fits.then_some(slice));
        }
        let mut copying =
            self.copy.take().unwrap_or(Copying { frame: *frame, payload: Vec::new(), cut: false });
        let room = (FRAME_COPY_MAX as usize).saturating_sub(copying.payload.len());
        let misplaced = frame.offset as usize != copying.payload.len();
        copying.cut |= flags & FRAME_CUT != 0 || misplaced || slice.len() > room;
        if !copying.cut {
            copying.payload.extend_from_slice(slice);
        }
        if flags & FRAME_LAST == 0 {
            self.copy = Some(copying);
        } else {
            copying.cut |= copying.payload.len() != copying.frame.len as usize;
            self.copied(at_ns, &copying);
        }
    }

    fn copied(&mut self, at_ns: Monotonic, copying: &Copying) {
        let Copying { frame, payload, cut } = copying;
        self.whole(at_ns, frame, (!cut).then_some(&payload[..]));
    }

    /// A frame has come to its end; no payload when it is not all there.
    fn whole(&mut self, at_ns: Monotonic, frame: &Frame, payload: Option<&[u8]>) {
        let (start_ns, stream) = (Monotonic(frame.start_ns), frame.stream);
        if frame.frame_type == CONTINUATION {
            return self.continuation(at_ns, frame, payload);
        }
        if self.block.is_some() {
            self.lose_table(at_ns);
        }
        match frame.frame_type {
            HEADERS => {
                let end_stream = frame.frame_flags & END_STREAM != 0;
                let part = payload.and_then(|payload| payload::headers(payload, frame.frame_flags));
                self.begin(at_ns, frame, Owner::Headers { stream, end_stream }, part);
            }
            PUSH_PROMISE => {
                let read = |payload| payload::push_promise(payload, frame.frame_flags);
                if let Some((promised, part)) = payload.and_then(read) {
                    self.begin(at_ns, frame, Owner::Promise { stream, promised }, Some(part));
                } else {
                    self.lose_table(at_ns);
                    self.push(start_ns, at_ns, Body::PushPromise { stream, promised: None, fields: None });
                }
            }
            RST_STREAM => {
                let code = payload.and_then(payload::error_code);
                self.push(start_ns, at_ns, Body::Reset { stream, code });
            }
            GOAWAY => {
                let (last_stream, code) = payload.and_then(payload::goaway).unzip();
                self.push(start_ns, at_ns, Body::GoAway { last_stream, code });
            }
            _ if frame.frame_flags & ACK != 0 => {}
            _ => match payload.and_then(Settings::read) {
                Some(settings) => self.push(start_ns, at_ns, Body::Settings(settings)),
                None => self.settings_missed = true,
            },
        }
    }

    /// A header block begins, and ends at once in most cases.
    fn begin(&mut self, at_ns: Monotonic, frame: &Frame, owner: Owner, part: Option<&[u8]>) {
        match part {
            Some(part) if owner.stream() != 0 && frame.frame_flags & END_HEADERS != 0 => {
                self.decode(at_ns, owner, Monotonic(frame.start_ns), part);
            }
            Some(part) if owner.stream() != 0 => {
                let block = Block {
                    owner,
                    start_ns: Monotonic(frame.start_ns),
                    bytes: part.to_vec(),
                    continuations: 0,
                };
                self.block = Some(block);
            }
            _ => {
                self.lose_table(at_ns);
                self.push(Monotonic(frame.start_ns), at_ns, owner.body(None));
            }
        }
    }

    fn continuation(&mut self, at_ns: Monotonic, frame: &Frame, payload: Option<&[u8]>) {
        match (self.block.take(), payload) {
            (Some(mut block), Some(part))
                if block.owner.stream() == frame.stream
                    && block.continuations < CONTINUATIONS_MAX
                    && block.bytes.len() + part.len() <= BLOCK_MAX =>
            {
                block.bytes.extend_from_slice(part);
                block.continuations += 1;
                if frame.frame_flags & END_HEADERS == 0 {
                    self.block = Some(block);
                } else {
                    self.decode(at_ns, block.owner, block.start_ns, &block.bytes);
                }
            }
            (block, _) => {
                self.block = block;
                self.lose_table(at_ns);
            }
        }
    }

    /// A header block is whole.
    fn decode(&mut self, at_ns: Monotonic, owner: Owner, start_ns: Monotonic, block: &[u8]) {
        let mut fields = Fields::default();
        let whole = self.table.decode(block, |name, value| fields.take(name, value)).is_ok();
        if !whole {
            self.lose_table(at_ns);
        }
        self.push(start_ns, at_ns, owner.body(whole.then_some(fields)));
    }
}

/// The event is a further slice of the frame that is being copied.
fn continues(copying: &Copying, frame: &Frame) -> bool {
    let begun = &copying.frame;
    frame.offset > 0
        && (begun.stream, begun.frame_type, begun.frame_flags, begun.len)
            == (frame.stream, frame.frame_type, frame.frame_flags, frame.len)
}

#[cfg(test)]
mod tests;
