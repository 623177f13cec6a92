//! Any stream: the same answer at once and in pieces.
#![no_main]

use pipeline::decode::tls_hello::{HelloBuffer, Progress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let at_once = HelloBuffer::default().push(bytes);
    for size in [1, 7] {
        let mut buffer = HelloBuffer::default();
        let slowly = bytes.chunks(size).fold(Progress::NeedMore, |_, piece| buffer.push(piece));
        assert_eq!(at_once, slowly);
    }
    // Straight to the hellos, which random bytes seldom reach.
    for kind in [1, 2] {
        let len = (bytes.len() as u32).to_be_bytes();
        let record = (bytes.len() as u16 + 4).to_be_bytes();
        let head = [&[22, 3, 3][..], &record, &[kind], &len[1..]].concat();
        if bytes.len() < 16_000 {
            HelloBuffer::default().push(&[&head, bytes].concat());
        }
    }
});
