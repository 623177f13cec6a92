//! Connections made by hand: calls in order, then what came out of them.

use proptest::prelude::*;
use zerocopy::FromZeros;

use super::*;
use model::time::Monotonic;

/// A connection and its clock, one tick a call.
#[derive(Default)]
struct Line {
    exchange: Exchange,
    at_ns: Monotonic,
    events: Vec<Http1Event>,
}

impl Line {
    fn call(&mut self, flags: u16, len: usize, head: &[u8], claimed: usize) -> &mut Self {
        self.at_ns += 10;
        let mut call = Http1::new_zeroed();
        (call.len, call.head) = (len as u32, claimed as u32);
        self.events.extend(self.exchange.on_call(self.at_ns, &call, flags, head));
        self
    }

    fn whole(&mut self, direction: u16, head: &str, body: usize, more: u16) -> &mut Self {
        let flags = direction | HTTP1_HEAD_START | HTTP1_HEAD_END | more;
        self.call(flags, head.len() + body, head.as_bytes(), head.len())
    }

    fn get(&mut self) -> &mut Self {
        self.whole(0, "GET /m HTTP/1.1\r\nHost: proxy.test\r\n\r\n", 0, 0)
    }

    fn body(&mut self, len: usize, more: u16) -> &mut Self {
        self.call(HTTP1_READ | more, len, &[], 0)
    }

    fn ends(&self) -> Vec<(u64, u64, bool)> {
        let end = |event: &Http1Event| match event {
            Http1Event::End { at_ns, body_bytes, complete } => Some((at_ns.0, *body_bytes, *complete)),
            _ => None,
        };
        self.events.iter().filter_map(end).collect()
    }

    fn statuses(&self) -> Vec<(u64, Option<u16>)> {
        let response = |event: &Http1Event| match event {
            Http1Event::Response { at_ns, status, .. } => Some((at_ns.0, *status)),
            _ => None,
        };
        self.events.iter().filter_map(response).collect()
    }
}

const TEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn two_exchanges_on_one_connection() {
    let mut line = Line::default();
    line.get().whole(HTTP1_READ, TEN, 4, 0).body(6, 0);
    line.get().whole(HTTP1_READ, TEN, 10, 0);
    assert_eq!(line.ends(), [(30, 10, true), (50, 10, true)]);
    assert_eq!(line.statuses(), [(20, Some(200)), (50, Some(200))]);
    let Http1Event::Request { at_ns: Monotonic(10), head: Some(head) } = &line.events[0] else { panic!() };
    assert_eq!((&*head.target, head.authority.as_deref()), ("/m", Some("proxy.test")));
}

#[test]
fn a_chunked_body_ends_with_its_last_chunk() {
    let mut line = Line::default();
    line.get().whole(HTTP1_READ, CHUNKED, 100, 0).body(20, HTTP1_LAST_CHUNK);
    assert_eq!(line.ends(), [(30, 120, true)]);
}

#[test]
fn a_missed_last_chunk_is_made_up_by_the_next_request_at_the_time_of_the_last_read() {
    let mut line = Line::default();
    line.get().whole(HTTP1_READ, CHUNKED, 100, 0).get();
    assert_eq!(line.ends(), [(20, 100, true)]);
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let mut line = Line::default();
    line.get().whole(HTTP1_READ, OPEN, 5, 0).body(5, 0).body(0, HTTP1_EOF);
    assert_eq!(line.ends(), [(40, 10, true)]);
}

#[test]
fn an_early_end_of_the_connection_is_incomplete() {
    for head in [TEN, CHUNKED] {
        let mut line = Line::default();
        line.get().whole(HTTP1_READ, head, 5, 0).body(0, HTTP1_EOF);
        assert_eq!(line.ends(), [(30, 5, false)]);
    }
    let mut line = Line::default();
    line.get().body(0, HTTP1_EOF);
    assert_eq!((line.ends(), line.statuses()), (vec![(20, 0, false)], vec![]));
}

#[test]
fn answers_without_a_body_end_at_their_head() {
    let mut line = Line::default();
    line.whole(0, "HEAD /m HTTP/1.1\r\nHost: a\r\n\r\n", 0, 0).whole(HTTP1_READ, TEN, 0, 0);
    for status in [204, 304] {
        line.get().whole(HTTP1_READ, &format!("HTTP/1.1 {status} x\r\nContent-Length: 9\r\n\r\n"), 0, 0);
    }
    assert_eq!(line.ends(), [(20, 0, true), (40, 0, true), (60, 0, true)]);
}

#[test]
fn interim_responses_are_skipped() {
    let mut line = Line::default();
    line.get();
    for status in [100, 103] {
        line.whole(HTTP1_READ, &format!("HTTP/1.1 {status} x\r\n\r\n"), 0, 0);
    }
    line.whole(HTTP1_READ, TEN, 10, 0);
    assert_eq!((line.statuses(), line.ends()), (vec![(40, Some(200))], vec![(40, 10, true)]));
}

#[test]
fn a_final_response_in_the_call_of_an_interim_one_has_no_known_status() {
    let mut line = Line::default();
    line.get().whole(HTTP1_READ, "HTTP/1.1 103 x\r\n\r\n", 60, 0).get();
    assert_eq!((line.statuses(), line.ends()), (vec![(20, None)], vec![(20, 0, true)]));
}

#[test]
fn a_cut_response_head_gives_its_status_only() {
    let mut line = Line::default();
    let cut = "HTTP/1.1 404 Not Found\r\nContent-Le";
    let flags = HTTP1_READ | HTTP1_HEAD_START | HTTP1_HEAD_END;
    line.get().call(flags, 5000, cut.as_bytes(), 4900).body(7, 0).get();
    assert!(matches!(
        line.events[1],
        Http1Event::Response { at_ns: Monotonic(20), status: Some(404), head: None }
    ));
    assert_eq!(line.ends(), [(30, 107, true)]);
}

#[test]
fn a_head_above_the_limit_is_unknown() {
    let mut line = Line::default();
    line.call(HTTP1_HEAD_START, 9000, &[b'G'; 9000], 9000);
    line.call(HTTP1_HEAD_END, 9000, &[b'G'; 9000], 9000);
    assert_eq!(line.events, [Http1Event::Request { at_ns: Monotonic(10), head: None }]);
}

#[test]
fn a_request_without_an_answer_is_ended_by_the_next_one() {
    let mut line = Line::default();
    line.get().get();
    assert_eq!(line.ends(), [(10, 0, false)]);
}

#[test]
fn a_body_that_looks_like_a_head_is_a_body() {
    let mut line = Line::default();
    line.get().whole(HTTP1_READ, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 0, 0);
    line.whole(HTTP1_READ, OPEN, 100 - OPEN.len(), 0);
    assert_eq!((line.statuses().len(), line.ends()), (1, vec![(30, 100, true)]));
}

#[test]
fn what_is_read_before_any_exchange_is_not_reported() {
    let mut line = Line::default();
    line.body(500, 0).body(0, HTTP1_EOF);
    assert_eq!(line.events, []);
}

#[test]
fn an_interim_response_to_nothing_begins_nothing() {
    let mut line = Line::default();
    let interim = "HTTP/1.1 102 x\r\n\r\n";
    line.whole(HTTP1_READ | HTTP1_EOF, interim, 0, 0);
    assert_eq!(line.events, []);
}

proptest! {
    #[test]
    fn a_head_in_any_number_of_calls_is_the_same(cuts in proptest::collection::vec(1usize..20, 1..20)) {
        let mut line = Line::default();
        for (direction, head) in [(0, "GET /m HTTP/1.1\r\nHost: proxy.test\r\n\r\n"), (HTTP1_READ, TEN)] {
            let (mut rest, mut flags) = (head.as_bytes(), HTTP1_HEAD_START);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at(rest.len().min(*cut));
                let end = if later.is_empty() { HTTP1_HEAD_END } else { 0 };
                line.call(direction | flags | end, now.len(), now, now.len());
                (rest, flags) = (later, 0);
            }
        }
        line.body(10, 0);
        let mut plain = Line::default();
        plain.get().whole(HTTP1_READ, TEN, 10, 0);
        let heads = |line: &Line| line.events.iter().map(|event| match event {
            Http1Event::Request { head, .. } => format!("{head:?}"),
            Http1Event::Response { head, .. } => format!("{head:?}"),
            Http1Event::End { body_bytes, complete, .. } => format!("{body_bytes} {complete}"),
        }).collect::<Vec<_>>();
        prop_assert_eq!(heads(&line), heads(&plain));
    }

    #[test]
    fn any_calls_stay_bounded_and_end_no_more_than_they_begin(
        calls in proptest::collection::vec((any::<u16>(), 0usize..9000, "(HTTP/1.1 [0-9]{3} x\r\n\r\n|[a-z]{0,20})", 0usize..9000), 0..60),
    ) {
        let mut line = Line::default();
        for (flags, len, head, claimed) in calls {
            line.call(flags, len, head.as_bytes(), claimed);
            for head in [&line.exchange.request, &line.exchange.response].into_iter().flatten() {
                prop_assert!(head.bytes.len() <= HEAD_MAX);
            }
        }
        let begun = line.events.iter().filter(|event| !matches!(event, Http1Event::End { .. })).count();
        prop_assert!(line.ends().len() <= begun);
    }
}
