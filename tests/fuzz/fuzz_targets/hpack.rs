//! Any header blocks: where both decoders take a block, ours gives the pairs that the other does.
#![no_main]

use pipeline::decode::http2::hpack::{SIZE_MAX, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|blocks: Vec<Vec<u8>>| {
    let (mut ours, mut theirs) = (Table::default(), loona_hpack::Decoder::new());
    ours.allow(SIZE_MAX);
    theirs.set_max_allowed_table_size(SIZE_MAX);
    for block in blocks {
        let mut pairs = Vec::new();
        let mine = ours.decode(&block, |name, value| pairs.push((name.to_vec(), value.to_vec())));
        assert!(ours.size() <= SIZE_MAX);
        match (mine, theirs.decode(&block)) {
            (Ok(()), Ok(others)) => assert_eq!(pairs, others),
            // It takes a size update after a field, and refuses one at the end and long integers.
            _ => return,
        }
    }
});
