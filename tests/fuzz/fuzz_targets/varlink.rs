//! Any stream: the same first message at once and in pieces; and any cuts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::decode::varlink::{Messages, call, reply};

fuzz_target!(|input: (Vec<(Vec<u8>, bool)>, Vec<u8>)| {
    let (calls, stream) = input;
    let mut messages = Messages::default();
    for (bytes, cut) in calls {
        if let Some(message) = messages.push(&bytes, cut) {
            let _ = (call(&message), reply(&message));
        }
    }
    let end = stream.iter().position(|byte| *byte == 0).map_or(stream.len(), |at| at + 1);
    let at_once = Messages::default().push(&stream[..end], false);
    for size in [1, 7] {
        let mut messages = Messages::default();
        let slowly = stream[..end].chunks(size).find_map(|piece| messages.push(piece, false));
        assert_eq!(at_once, slowly);
    }
    if let Some(message) = at_once {
        assert!(reply(&message).addresses.len() <= 64);
        let _ = call(&message);
    }
});
