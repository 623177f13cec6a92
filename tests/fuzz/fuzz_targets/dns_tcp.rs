//! Any stream: the same messages come out of it at once and byte by byte; and any cuts.
#![no_main]

use pipeline::decode::dns::DnsTcp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(Vec<u8>, u16)>, Vec<u8>)| {
    let (calls, stream) = input;
    let mut tcp = DnsTcp::default();
    for (bytes, len) in calls {
        tcp.push(&bytes, len.into()).for_each(drop);
    }
    let at_once: Vec<_> = DnsTcp::default().push(&stream, stream.len()).collect();
    let mut tcp = DnsTcp::default();
    let slowly: Vec<_> = stream.chunks(1).flat_map(|byte| tcp.push(byte, 1)).collect();
    assert_eq!(at_once, slowly);
});
