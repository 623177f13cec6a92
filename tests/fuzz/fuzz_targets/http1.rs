//! Any head, and any calls on a connection.
#![no_main]

use pipeline::decode::http1::{Exchange, Http1Event, request_head, response_head};
use libfuzzer_sys::fuzz_target;
use model::time::Monotonic;
use observer_common::Http1;
use zerocopy::FromZeros;

fuzz_target!(|input: (Vec<u8>, Vec<(u8, u16, u16, Vec<u8>)>)| {
    let (head, calls) = input;
    let _ = (request_head(&head), response_head(&head));
    let (mut exchange, mut begun, mut ended) = (Exchange::default(), 0, 0);
    for (n, (flags, len, claimed, bytes)) in calls.into_iter().enumerate() {
        let mut call = Http1::new_zeroed();
        (call.len, call.head) = (len.into(), claimed.into());
        for event in exchange.on_call(Monotonic(n as u64), &call, flags.into(), &bytes) {
            match event {
                Http1Event::End { at_ns, .. } => {
                    assert!(at_ns <= Monotonic(n as u64));
                    ended += 1;
                }
                _ => begun += 1,
            }
        }
    }
    assert!(ended <= begun);
});
