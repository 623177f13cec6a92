//! The exchanges of one HTTP/1.1 connection: calls in, requests, responses and their ends out.

use observer_common::{HTTP1_EOF, HTTP1_HEAD_END, HTTP1_HEAD_START, HTTP1_LAST_CHUNK, HTTP1_READ, Http1};

use super::{
    HEAD_MAX, RequestHead, ResponseHead, request_head, request_of_cut, response_head, status_of_cut,
};
use model::time::Monotonic;

/// What happened on a connection. Times are those of the events it was fed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Http1Event {
    /// A request was written
    Request {
        /// When its first byte was
        at_ns: Monotonic,
        /// `None` when it could not be read; of a head that was cut, method and target only
        head: Option<RequestHead>,
    },
    /// A response's head was read (interim ones, 100 and 103, are not reported)
    Response {
        /// When its first byte was
        at_ns: Monotonic,
        /// Its status, when that was readable
        status: Option<u16>,
        /// The whole head; `None` when it was cut or not seen
        head: Option<ResponseHead>,
    },
    /// The exchange is over
    End {
        /// When its last byte was read; earlier than the call that reported it, when that call was
        /// the next request
        at_ns: Monotonic,
        /// Bytes of the response's body. With chunked encoding the chunks' own framing is in it.
        body_bytes: u64,
        /// The response came to its end, as far as that can be known
        complete: bool,
    },
}

/// How the end of a body is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    /// The head was cut or not seen
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No exchange; what is read belongs to none
    Idle,
    /// A request was written, or began to be
    Waiting,
    /// A response is being read
    Body { framing: Framing, bytes: u64 },
}

/// A head that is being put together.
#[derive(Debug)]
struct Head {
    start_ns: Monotonic,
    bytes: Vec<u8>,
    cut: bool,
}

impl Head {
    fn new(start_ns: Monotonic) -> Self {
        Self { start_ns, bytes: Vec::new(), cut: false }
    }

    fn add(&mut self, bytes: &[u8], claimed: u32) {
        let room = HEAD_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut |= bytes.len() > room || bytes.len() < claimed as usize;
    }
}

/// One connection. Requests follow one another; they are not pipelined (Go never does).
///
/// The end of a chunked body is the kernel's guess from a call's last bytes. When it is missed
/// (trailers, or the last chunk in two calls) the next request ends the exchange, with the time
/// of the last byte that was read before it.
#[derive(Debug)]
pub struct Exchange {
    state: State,
    request: Option<Head>,
    response: Option<Head>,
    /// The request's method was HEAD
    no_body: bool,
    last_read_ns: Monotonic,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            state: State::Idle,
            request: None,
            response: None,
            no_body: false,
            last_read_ns: Monotonic::ZERO,
        }
    }
}

impl Exchange {
    /// Takes a Read or Write that ended at `at_ns`, with the `HTTP1_*` bits of its event and the
    /// bytes of a head that came with it.
    pub fn on_call(&mut self, at_ns: Monotonic, call: &Http1, flags: u16, head: &[u8]) -> Vec<Http1Event> {
        let mut out = Vec::new();
        if flags & HTTP1_READ == 0 {
            self.written(at_ns, call, flags, head, &mut out);
        } else {
            self.read(at_ns, call, flags, head, &mut out);
            if flags & HTTP1_EOF != 0 {
                self.eof(at_ns, &mut out);
            }
        }
        out
    }

    fn written(
        &mut self,
        at_ns: Monotonic,
        call: &Http1,
        flags: u16,
        head: &[u8],
        out: &mut Vec<Http1Event>,
    ) {
        if flags & HTTP1_HEAD_START != 0 {
            self.flush_request(out);
            self.superseded(out);
            self.state = State::Waiting;
            self.no_body = false;
            self.response = None;
            self.last_read_ns = at_ns;
            self.request = Some(Head::new(at_ns));
        }
        let Some(request) = &mut self.request else { return };
        request.add(head, call.head.min(call.len));
        if flags & HTTP1_HEAD_END != 0 {
            self.flush_request(out);
        }
    }

    /// The next request shows that the client is through with the response before it; only a
    /// length that was not reached, or no response at all, says otherwise.
    fn superseded(&mut self, out: &mut Vec<Http1Event>) {
        self.flush_response(out);
        let complete = match self.state {
            State::Idle => return,
            State::Waiting => false,
            State::Body { framing: Framing::Length(length), bytes } => bytes >= length,
            State::Body { .. } => true,
        };
        self.end(self.last_read_ns, complete, out);
    }

    fn flush_request(&mut self, out: &mut Vec<Http1Event>) {
        let Some(request) = self.request.take() else { return };
        let head = match request_head(&request.bytes) {
            Ok(head) => Some(head),
            Err(_) => request_of_cut(&request.bytes),
        };
        self.no_body = head.as_ref().is_some_and(|head| head.method == "HEAD");
        out.push(Http1Event::Request { at_ns: request.start_ns, head });
    }

    fn read(&mut self, at_ns: Monotonic, call: &Http1, flags: u16, head: &[u8], out: &mut Vec<Http1Event>) {
        if call.len == 0 {
            return;
        }
        self.flush_request(out);
        let mut body = u64::from(call.len);
        // Inside a body these bytes may look like a head, and are none.
        if !matches!(self.state, State::Body { .. }) {
            let starts = flags & HTTP1_HEAD_START != 0;
            if starts {
                self.flush_response(out);
            }
            if starts && !matches!(self.state, State::Body { .. }) {
                self.response = Some(Head::new(at_ns));
            }
            match (&mut self.response, self.state) {
                (Some(response), _) => {
                    let claimed = call.head.min(call.len);
                    response.add(head, claimed);
                    body -= u64::from(claimed);
                    if flags & HTTP1_HEAD_END != 0 && self.head_read(at_ns, body > 0, out) {
                        return;
                    }
                }
                (None, State::Waiting) => self.unseen(at_ns, out),
                (None, _) => return,
            }
        }
        self.last_read_ns = at_ns;
        self.body(at_ns, body, flags, out);
    }

    /// True when the response was an interim one.
    fn head_read(&mut self, at_ns: Monotonic, more: bool, out: &mut Vec<Http1Event>) -> bool {
        let Some(response) = self.response.take() else { return false };
        let head = response_head(&response.bytes).ok().filter(|_| !response.cut);
        let status = head.map(|head| head.status).or_else(|| status_of_cut(&response.bytes));
        if status.is_some_and(|status| (100..200).contains(&status) && status != 101) {
            self.last_read_ns = at_ns;
            if more {
                // The final response began in this call, where its head was not copied.
                self.unseen(at_ns, out);
            }
            return true;
        }
        let framing = match (status, head) {
            (Some(204 | 304), _) => Framing::Length(0),
            _ if self.no_body => Framing::Length(0),
            (Some(101), _) => Framing::UntilClose,
            (_, None) => Framing::Unknown,
            (_, Some(ResponseHead { chunked: true, .. })) => Framing::Chunked,
            (_, Some(head)) => head.content_length.map_or(Framing::UntilClose, Framing::Length),
        };
        self.state = State::Body { framing, bytes: 0 };
        out.push(Http1Event::Response { at_ns: response.start_ns, status, head });
        false
    }

    fn flush_response(&mut self, out: &mut Vec<Http1Event>) {
        if let Some(response) = &mut self.response {
            response.cut = true;
            let at_ns = response.start_ns;
            self.head_read(at_ns, false, out);
        }
    }

    fn unseen(&mut self, at_ns: Monotonic, out: &mut Vec<Http1Event>) {
        self.state = State::Body { framing: Framing::Unknown, bytes: 0 };
        out.push(Http1Event::Response { at_ns, status: None, head: None });
    }

    fn body(&mut self, at_ns: Monotonic, more: u64, flags: u16, out: &mut Vec<Http1Event>) {
        let State::Body { framing, bytes } = &mut self.state else { return };
        *bytes = bytes.saturating_add(more);
        let last_chunk = flags & HTTP1_LAST_CHUNK != 0;
        let over = match framing {
            Framing::Length(length) => {
                *bytes = (*bytes).min(*length);
                bytes == length
            }
            Framing::Chunked | Framing::Unknown => last_chunk,
            Framing::UntilClose => false,
        };
        if over {
            self.end(at_ns, true, out);
        }
    }

    fn eof(&mut self, at_ns: Monotonic, out: &mut Vec<Http1Event>) {
        self.flush_request(out);
        self.flush_response(out);
        match self.state {
            State::Idle => {}
            State::Body { framing: Framing::UntilClose, .. } => self.end(at_ns, true, out),
            State::Waiting | State::Body { .. } => self.end(at_ns, false, out),
        }
    }

    fn end(&mut self, at_ns: Monotonic, complete: bool, out: &mut Vec<Http1Event>) {
        let body_bytes = match self.state {
            State::Body { bytes, .. } => bytes,
            State::Idle | State::Waiting => 0,
        };
        self.state = State::Idle;
        out.push(Http1Event::End { at_ns, body_bytes, complete });
    }
}

#[cfg(test)]
mod tests;
