//! Any message: what is kept of it is small, and what a shorter copy of it gives is no more.
#![no_main]

use pipeline::decode::dns::message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(whole) = message(bytes) else { return };
    assert!(whole.addresses.len() <= 64 && whole.cnames.len() <= 64);
    let cut = message(&bytes[..12 + (bytes.len() - 12) / 2]).unwrap();
    assert_eq!((cut.id, cut.answers), (whole.id, whole.answers));
    assert!(whole.addresses.starts_with(&cut.addresses));
});
