//! Requests and responses on TLS connections.

use std::collections::HashMap;

use model::event::{Body, RequestUpdate};
use model::id::{CommandId, Pid, RequestId};
use model::record::{Protocol, Request, RequestOutcome};
use model::time::{Monotonic, SinceStart};
use observer_common::{
    FRAME_EOF, FRAME_JOINED_LATE, FRAME_LOST, FRAME_READ, Frame, Handshake, Header, Http1, SockState,
};

use super::connections::Connections;
use super::{Clock, Out, Owner};
use crate::decode::http1::{Exchange, Http1Event, RequestHead};
use crate::decode::http2::{self, Body as H2};
use crate::decode::module_path::classify;

/// A `tls.Conn` of a process.
type Key = (Pid, u64);

/// Streams of one connection that are followed; the default limit of Go's server is 250.
const STREAMS_MAX: usize = 4096;

/// States of `include/net/tcp_states.h`.
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;
const CLOSE_WAIT: u32 = 8;

/// Connections at which those that are over are let go of: a process that lives for long (a test of
/// a client) may make any number.
const TLS_MAX: usize = 4096;

#[derive(Default)]
struct Tls {
    /// A tunnel to a forward proxy that is spoken to over TLS: what else goes through it is not HTTP
    tunnel: bool,
    command: CommandId,
    conn: u64,
    http2: http2::Connection,
    http1: Exchange,
    streams: HashMap<u32, Open>,
    exchange: Option<Open>,
    over: bool,
    /// What was received since frames were lost, or before it was joined, was not seen
    blind: bool,
    /// It was joined late, and no request of it was seen yet
    unnumbered: bool,
}

/// What is kept of a request until it ends: the rest was reported when it began.
struct Open {
    id: RequestId,
    status: Option<u16>,
    answered: bool,
    outcome: RequestOutcome,
    reset_code: Option<String>,
}

/// Every TLS connection that speaks HTTP.
pub(super) struct Requests {
    clock: Clock,
    tls: HashMap<Key, Tls>,
    next: RequestId,
    joined_late: u64,
    /// Times that the place in a connection's frames was lost
    frames_lost: u64,
}

impl Requests {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, tls: HashMap::new(), next: RequestId::FIRST, joined_late: 0, frames_lost: 0 }
    }

    /// Connections were there already.
    pub(super) const fn preexisting(&mut self, connections: u64) {
        self.joined_late += connections;
    }

    pub(super) const fn joined_late(&self) -> u64 {
        self.joined_late
    }

    pub(super) const fn frames_lost(&self) -> u64 {
        self.frames_lost
    }

    /// A handshake begins: what was known of that address was another connection's, which is gone.
    pub(super) fn handshake(&mut self, owner: Owner<'_>, event: &Handshake, out: &mut Out<'_>) {
        self.closed((owner.pid, event.tls), out);
        if self.tls.len() >= TLS_MAX {
            self.tls.retain(|_, tls| !tls.over);
        }
        let tls = Tls { command: owner.command, conn: event.conn, ..Tls::default() };
        self.tls.insert((owner.pid, event.tls), tls);
    }

    fn tls(&mut self, owner: Owner<'_>, tls: u64, conn: u64) -> &mut Tls {
        let new = || Tls { command: owner.command, conn, ..Tls::default() };
        let known = self.tls.entry((owner.pid, tls)).or_insert_with(new);
        if (known.command, known.conn) != (owner.command, conn) {
            // The records of its beginning were lost, and those of the former one's end: whatever
            // its header table has by now is not known.
            *known = new();
            drop(known.http2.lose(Monotonic::ZERO));
        }
        known
    }

    pub(super) fn frame(
        &mut self,
        owner: Owner<'_>,
        header: &Header,
        frame: &Frame,
        slice: &[u8],
        connections: &mut Connections,
        out: &mut Out<'_>,
    ) {
        let late = header.flags & FRAME_JOINED_LATE != 0;
        if late {
            self.joined_late += u64::from(connections.joined_late(frame.conn, out));
        }
        let received = header.flags & FRAME_READ != 0;
        let lost = header.flags & FRAME_LOST != 0;
        self.frames_lost += u64::from(lost);
        let tls = self.tls(owner, frame.tls, frame.conn);
        tls.unnumbered |= late;
        if late || received && lost {
            tls.blind = true;
        } else if received && std::mem::take(&mut tls.blind) {
            // Some of the answers may have come before.
            tls.streams.values_mut().for_each(|request| request.outcome = RequestOutcome::Unknown);
        }
        let events = tls.http2.on_frame(Monotonic(header.at_ns), frame, header.flags, slice);
        for event in events {
            self.http2(owner, received, frame, event, connections, out);
        }
        if header.flags & FRAME_EOF != 0 {
            self.closed((owner.pid, frame.tls), out);
        }
    }

    fn http2(
        &mut self,
        owner: Owner<'_>,
        received: bool,
        of: &Frame,
        event: http2::Event,
        connections: &mut Connections,
        out: &mut Out<'_>,
    ) {
        let start_ns = self.clock.since_start(event.start_ns);
        let bytes = of.stream_bytes;
        let Some(tls) = self.tls.get_mut(&(owner.pid, of.tls)) else { return };
        match event.body {
            H2::Preface => {
                connections.carries(tls.conn, "h2", false, out);
            }
            H2::Headers { stream, fields, .. } if !received => {
                if tls.streams.contains_key(&stream) || tls.streams.len() >= STREAMS_MAX {
                    return; // trailers of a request
                }
                let mut request = Request {
                    command: owner.command,
                    id: self.next.give(),
                    pid: owner.pid,
                    connection: connections.carries(tls.conn, "h2", true, out),
                    protocol: Protocol::H2,
                    stream: Some(stream),
                    start_ns,
                    ..Request::default()
                };
                let fields = fields.unwrap_or_default();
                // Behind a gap a field may be there that is not known.
                let host = || connections.host(tls.conn).map(str::to_owned);
                describe(&mut request, fields.method, fields.authority.or_else(host), fields.path);
                if std::mem::take(&mut tls.unnumbered) {
                    connections.requests_missed(tls.conn, stream / 2, out);
                }
                tls.streams.insert(stream, Open::new(&request));
                out.push(Body::Request(request));
            }
            H2::Headers { stream, fields, end_stream } => {
                let Some(request) = tls.streams.get_mut(&stream) else { return };
                let fields = fields.unwrap_or_default();
                let (status, more) = (fields.status, (fields.retry_after_s(), fields.page));
                // 1xx is no answer yet; trailers have no status.
                if !request.answered && status.is_none_or(|status| status >= 200) {
                    let update = request.answered(tls.command, status, more, out.at_ns);
                    out.push(Body::RequestUpdate(update));
                }
                if end_stream {
                    tls.end(stream, out.at_ns, Some(bytes), None, out);
                }
            }
            H2::Data { stream, end_stream, total_bytes } if received && end_stream => {
                // Without a head some of the body may have been missed, too.
                let answered = tls.streams.get(&stream).is_some_and(|request| request.answered);
                let bytes = answered.then_some(total_bytes);
                let outcome = (!answered).then_some(RequestOutcome::Unknown);
                tls.end(stream, out.at_ns, bytes, outcome, out);
            }
            H2::Reset { stream, code } => {
                if let Some(request) = tls.streams.get_mut(&stream) {
                    request.reset_code = code.map(|code| code.to_string());
                }
                let outcome = if received { RequestOutcome::Reset } else { RequestOutcome::Cancelled };
                tls.end(stream, out.at_ns, Some(bytes), Some(outcome), out);
            }
            H2::Settings(settings) if received => {
                connections.peer_says(tls.conn, settings.max_concurrent_streams, None, out);
            }
            H2::GoAway { last_stream, code } if received => {
                let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                connections.peer_says(tls.conn, None, Some(code), out);
                let Some(last) = last_stream else { return };
                let refused: Vec<u32> = tls.streams.keys().copied().filter(|stream| *stream > last).collect();
                for stream in refused {
                    tls.end(stream, out.at_ns, None, Some(RequestOutcome::Error), out);
                }
            }
            H2::Data { .. }
            | H2::GoAway { .. }
            | H2::Settings(_)
            | H2::PushPromise { .. }
            | H2::Eof
            | H2::Lost(_) => {}
        }
    }

    /// The connection is over: what is open gets no answer.
    fn closed(&mut self, key: Key, out: &mut Out<'_>) {
        let Some(tls) = self.tls.get_mut(&key) else { return };
        tls.over = true;
        if let Some(request) = tls.exchange.take() {
            let update = request.ended(tls.command, out.at_ns, None, Some(RequestOutcome::Error));
            out.push(Body::RequestUpdate(update));
        }
        // An answer that may have been missed is not known to have failed to come.
        let blind = tls.blind;
        let outcome = |open: &Open| match open.outcome {
            RequestOutcome::Unknown => RequestOutcome::Unknown,
            _ if blind && !open.answered => RequestOutcome::Unknown,
            _ => RequestOutcome::Error,
        };
        let open: Vec<(u32, RequestOutcome)> =
            tls.streams.iter().map(|(stream, open)| (*stream, outcome(open))).collect();
        for (stream, outcome) in open {
            tls.end(stream, out.at_ns, None, Some(outcome), out);
        }
    }

    /// A socket changed its state: what is open on it in plain text ends with it. The peer's end alone
    /// does not, for what it sent is still to be read.
    pub(super) fn socket_changed(&mut self, owner: Owner<'_>, state: &SockState, out: &mut Out<'_>) {
        if !matches!(u32::from(state.new), ESTABLISHED | SYN_SENT | CLOSE_WAIT) {
            self.closed((owner.pid, state.conn), out);
        }
    }

    pub(super) fn http1(
        &mut self,
        owner: Owner<'_>,
        header: &Header,
        call: &Http1,
        head: &[u8],
        connections: &mut Connections,
        out: &mut Out<'_>,
    ) {
        let clock = self.clock;
        let events = self.tls(owner, call.tls, call.conn).http1.on_call(
            Monotonic(header.at_ns),
            call,
            header.flags,
            head,
        );
        for event in events {
            let next = self.next;
            let tls = self.tls(owner, call.tls, call.conn);
            let connects =
                |head: &Option<RequestHead>| head.as_ref().is_some_and(|head| head.method == "CONNECT");
            match event {
                Http1Event::Request { at_ns, head } if connects(&head) => {
                    tls.tunnel = true;
                    let target = head.map(|head| head.target);
                    connections.tunnel_asked(tls.conn, target, clock.since_start(at_ns), out);
                }
                Http1Event::Response { at_ns, status, .. } if tls.tunnel && tls.exchange.is_none() => {
                    connections.tunnel_answered(tls.conn, status, clock.since_start(at_ns), out);
                }
                Http1Event::Request { .. } | Http1Event::End { .. } if tls.tunnel => {}
                Http1Event::Request { at_ns, head } => {
                    let mut request = Request {
                        command: owner.command,
                        id: next,
                        pid: owner.pid,
                        connection: connections.carries(tls.conn, "http/1.1", true, out),
                        protocol: Protocol::Http1,
                        start_ns: clock.since_start(at_ns),
                        ..Request::default()
                    };
                    match head {
                        Some(head) => {
                            describe(&mut request, Some(head.method), head.authority, Some(head.target));
                        }
                        None => request.authority = connections.host(tls.conn).map(str::to_owned),
                    }
                    tls.exchange = Some(Open::new(&request));
                    out.push(Body::Request(request));
                    self.next.0 += 1;
                }
                Http1Event::Response { at_ns, status, head } => {
                    if let Some(request) = &mut tls.exchange {
                        let more = head.map(|head| (head.retry_after_s, head.page)).unwrap_or_default();
                        let update = request.answered(tls.command, status, more, clock.since_start(at_ns));
                        out.push(Body::RequestUpdate(update));
                    }
                }
                Http1Event::End { at_ns, body_bytes, complete } => {
                    if let Some(request) = tls.exchange.take() {
                        let outcome = if complete { None } else { Some(RequestOutcome::Error) };
                        let update =
                            request.ended(tls.command, clock.since_start(at_ns), Some(body_bytes), outcome);
                        out.push(Body::RequestUpdate(update));
                    }
                }
            }
        }
    }

    /// Records were lost without a trace.
    pub(super) fn gap(&mut self) {
        for tls in self.tls.values_mut() {
            drop(tls.http2.lose(Monotonic::ZERO)); // what it reports is reported by the fields that are missing
        }
    }

    /// The answers to what is open may be among records that were lost.
    pub(super) fn behind_gap(&mut self) {
        for tls in self.tls.values_mut() {
            let open = tls.streams.values_mut().chain(&mut tls.exchange);
            open.for_each(|request| request.outcome = RequestOutcome::Unknown);
        }
    }

    /// A process ended: its connections carry nothing more. What was in flight stays open.
    pub(super) fn process_ended(&mut self, pid: Pid) {
        self.tls.retain(|(owner, _), _| *owner != pid);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tls.is_empty()
    }

    pub(super) fn forget(&mut self, command: CommandId) {
        self.tls.retain(|_, tls| tls.command != command);
    }
}

impl Tls {
    fn end(
        &mut self,
        stream: u32,
        at_ns: SinceStart,
        bytes: Option<u64>,
        outcome: Option<RequestOutcome>,
        out: &mut Out<'_>,
    ) {
        if let Some(request) = self.streams.remove(&stream) {
            out.push(Body::RequestUpdate(request.ended(self.command, at_ns, bytes, outcome)));
        }
    }
}

impl Open {
    fn new(request: &Request) -> Self {
        Self { id: request.id, status: None, answered: false, outcome: request.outcome, reset_code: None }
    }

    /// The head of the response was read; it asked to wait so many seconds, and is a page.
    fn answered(
        &mut self,
        command: CommandId,
        status: Option<u16>,
        (retry_after_s, page): (Option<u32>, bool),
        at_ns: SinceStart,
    ) -> RequestUpdate {
        (self.status, self.answered, self.outcome) = (status, true, RequestOutcome::Open);
        let (id, outcome, first_byte_ns) = (self.id, self.outcome, Some(at_ns));
        RequestUpdate {
            command,
            id,
            status,
            first_byte_ns,
            outcome,
            retry_after_s,
            page,
            ..RequestUpdate::default()
        }
    }

    fn ended(
        self,
        command: CommandId,
        at_ns: SinceStart,
        bytes: Option<u64>,
        outcome: Option<RequestOutcome>,
    ) -> RequestUpdate {
        // An error's body is often not read to its end: the client cancels what is left.
        let cancelled = outcome == Some(RequestOutcome::Cancelled);
        let outcome = outcome.filter(|_| !(cancelled && self.status.is_some_and(|status| status >= 400)));
        let outcome = outcome.unwrap_or(match self.status {
            Some(400..) => RequestOutcome::Error,
            Some(_) => RequestOutcome::Ok,
            // The header table is lost, but the response came to its end.
            None if self.answered => RequestOutcome::Ok,
            None if self.outcome == RequestOutcome::Unknown => RequestOutcome::Unknown,
            None => RequestOutcome::Error,
        });
        let (id, end_ns, reset_code) = (self.id, Some(at_ns), self.reset_code);
        RequestUpdate { command, id, end_ns, bytes, outcome, reset_code, ..RequestUpdate::default() }
    }
}

fn describe(request: &mut Request, method: Option<String>, authority: Option<String>, path: Option<String>) {
    if let (Some(authority), Some(path)) = (&authority, &path) {
        (request.class, request.module, request.version) = classify(authority, path, &[]);
    }
    (request.method, request.authority, request.path) = (method, authority, path);
}
