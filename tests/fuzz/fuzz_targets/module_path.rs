//! Any request: what is reported of it holds no user info and no query value.
#![no_main]

use model::redact::request;
use pipeline::decode::module_path::classify;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (String, Vec<u8>, Vec<String>)| {
    let (authority, path, prefixes) = input;
    let shown = request::target(&path);
    assert!(shown.len() <= request::PATH_MAX + 3);
    let (_, module, version) = classify(&authority, &shown, &prefixes);
    assert!(module.is_none_or(|module| module.len() <= authority.len() + request::PATH_MAX + 3));
    assert!(version.is_none_or(|version| !version.contains('/')));
});
