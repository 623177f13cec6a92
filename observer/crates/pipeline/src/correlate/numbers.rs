//! Maps by numbers that the kernel gives: pids, trees, connections. Nobody chooses them, so their hash
//! need not withstand anybody, and several are looked up for each record.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// By such a number.
pub(super) type ByNumber<K, V> = HashMap<K, V, BuildHasherDefault<Numbers>>;

/// The hash of one number.
#[derive(Default)]
pub(super) struct Numbers(u64);

impl Hasher for Numbers {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        /// 2^64 by the golden ratio: neighbours land far from each other
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0 ^ number).wrapping_mul(SPREAD);
    }
}
