//! Any arguments: the rule for what of them is shown keeps its own result, and their number.
#![no_main]

use model::redact;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|argv: Vec<String>| {
    let shown = redact::args(&argv);
    assert_eq!(shown.len(), argv.len());
    assert_eq!(redact::args(&shown), shown);
    for text in &argv {
        for rule in [redact::proxies, redact::sumdb, redact::goflags, redact::godebug, redact::file, redact::remedy] {
            let once = rule(text);
            assert_eq!(rule(&once), once);
        }
    }
});
