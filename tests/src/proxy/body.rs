//! A response body that is given out in chunks and notes when the last one was taken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::faults::BodyStall;
use super::log::Slot;

/// Bytes of a chunk: the largest payload of an HTTP/2 frame and of a TLS record.
const CHUNK: usize = 16 * 1024;

/// The rest of a body.
pub(super) struct TimedBody {
    rest: Bytes,
    sent: u64,
    stall: Option<(u64, Duration)>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Bytes of a second
    rate: Option<u64>,
    /// Bytes before it is cut
    cut: Option<u64>,
    /// Bytes before its connection is reset, and who does that
    reset: Option<(u64, Arc<Notify>)>,
    slot: Slot,
}

impl TimedBody {
    pub(super) fn new(bytes: Bytes, stall: Option<BodyStall>, rate: Option<u64>, slot: Slot) -> Self {
        if bytes.is_empty() {
            slot.taken(0, true);
        }
        let stall = stall.map(|stall| (stall.after_bytes, stall.delay));
        Self { rest: bytes, sent: 0, stall, pause: None, rate, cut: None, reset: None, slot }
    }

    /// The same, cut after so many bytes.
    pub(super) fn cut(self, after_bytes: Option<u64>) -> Self {
        Self { cut: after_bytes, ..self }
    }

    /// The same; after so many bytes no more comes, and the connection is notified.
    pub(super) fn reset(self, reset: Option<(u64, Arc<Notify>)>) -> Self {
        Self { reset, ..self }
    }

    /// Bytes that may be given out before the next pause.
    fn allowed(&mut self) -> usize {
        let until_stall = match self.stall {
            Some((after, delay)) if after == self.sent => {
                self.stall = None;
                self.pause = Some(Box::pin(sleep(delay)));
                return 0;
            }
            Some((after, _)) => usize::try_from(after - self.sent).unwrap_or(CHUNK),
            None => CHUNK,
        };
        let at_once = self.rate.map_or(CHUNK, |rate| (rate / 10).max(1) as usize);
        let reset = self.reset.as_ref().map(|(after, _)| *after);
        let until = |end: Option<u64>| end.map_or(CHUNK, |end| (end - self.sent).min(CHUNK as u64) as usize);
        at_once.min(until(self.cut)).min(until(reset)).min(until_stall).min(self.rest.len())
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if self.cut == Some(self.sent) {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        if let Some((after, connection)) = &self.reset
            && *after == self.sent
        {
            connection.notify_one();
            return Poll::Pending;
        }
        let size = loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match self.allowed() {
                0 => {}
                size => break size,
            }
        };
        let chunk = self.rest.split_to(size);
        self.sent += size as u64;
        if let Some(rate) = self.rate.filter(|_| !self.rest.is_empty()) {
            let takes = Duration::from_nanos(size as u64 * 1_000_000_000 / rate.max(1));
            self.pause = Some(Box::pin(sleep(takes)));
        }
        self.slot.taken(size, self.rest.is_empty());
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
