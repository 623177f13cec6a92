//! Atomic instructions of BPF (Linux 5.12); `core::sync::atomic` has no result for them here.

use core::intrinsics::{AtomicOrdering, atomic_xadd, atomic_xchg};

/// Adds and returns the value before.
#[inline(always)]
pub unsafe fn add(at: *mut u64, n: u64) -> u64 {
    // SAFETY: the caller's pointer into a map value.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(at, n) }
}

/// Stores and returns the value before.
#[inline(always)]
pub unsafe fn swap(at: *mut u64, n: u64) -> u64 {
    // SAFETY: the caller's pointer into a map value.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(at, n) }
}
