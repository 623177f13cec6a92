//! Any file: its plan lies inside it, in order, and what a reader that caches gives is the same.
#![no_main]

use std::io::Cursor;

use goelf::{build_info, plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let plan_of_slice = plan(bytes);
    assert_eq!(plan(&object::ReadCache::new(Cursor::new(bytes))), plan_of_slice);
    let Ok(plan) = plan_of_slice else { return };
    assert_eq!(build_info(bytes).as_ref(), Ok(&plan.build));
    for function in [&plan.handshake, &plan.write, &plan.read] {
        assert!(!function.returns.is_empty() && function.returns.is_sorted());
        for at in function.returns.iter().chain([&function.entry]) {
            assert!((*at as usize) < bytes.len());
        }
    }
});
