//! What an arm64 instruction does to registers whose values are followed.
//!
//! Whatever is not understood forgets what it may have written, in doubt everything. A store through another
//! register than the stack pointer is taken to miss the words on the stack that are followed: Go keeps there
//! what nothing else points to.

use crate::follow::{Value, Values};

/// The stack pointer, where an instruction names a register by its number for memory.
const SP: u32 = 31;

/// A register by the instruction's bits from `from` on.
const fn register(word: u32, from: u32) -> u32 {
    word >> from & 31
}

/// A load or store of registers at an address that is a register plus a number.
struct Access {
    base: u32,
    offset: i64,
    /// Bytes of each register
    size: i64,
    /// One or two
    registers: [Option<u32>; 2],
    load: bool,
    /// Of general registers
    general: bool,
    /// The base is changed
    moves: bool,
}

/// Does it.
pub(super) fn step(values: &mut Values<u32>, word: u32) {
    let (rd, rn) = (register(word, 0), register(word, 5));
    match word >> 25 & 0xf {
        // Numbers of the instruction's own
        0b1000 | 0b1001 => {
            let flags = word & 0x3f80_0000 == 0x3100_0000 || word & 0x7f80_0000 == 0x7200_0000;
            if word & 0xff80_0000 == 0x9100_0000 && rd != SP && rn != SP {
                let more = i64::from(word >> 10 & 0xfff) << if word & 1 << 22 == 0 { 0 } else { 12 };
                let from = values.get(&rn).copied();
                set(values, rd, from.and_then(|from| from.plus(more)));
            } else if rd == SP && !flags {
                values.clear(); // the stack pointer moves: every word has another place from now on
            } else {
                values.remove(&rd);
            }
        }
        // Of registers
        0b0101 | 0b1101 => {
            if word & 0xffe0_ffe0 == 0xaa00_03e0 {
                let from = values.get(&register(word, 16)).copied();
                set(values, rd, from);
            } else if rd == SP && word & 0x3fe0_0000 == 0x0b20_0000 {
                values.clear();
            } else {
                values.remove(&rd);
            }
        }
        // Vectors; some give a general register
        0b0111 | 0b1111 => drop(values.remove(&rd)),
        // Branches and system: calls change everything, MRS one
        0b1010 | 0b1011 => {
            let calls = word & 0xfc00_0000 == 0x9400_0000 || word & 0xfe00_0000 == 0xd600_0000;
            let traps = word & 0xff00_0000 == 0xd400_0000;
            if calls || traps {
                values.clear();
            } else if word & 0xffc0_0000 == 0xd500_0000 {
                values.remove(&rd);
            }
        }
        0b0100 | 0b0110 | 0b1100 | 0b1110 => memory(values, word),
        _ => values.clear(),
    }
}

fn set(values: &mut Values<u32>, register: u32, value: Option<Value>) {
    match value {
        Some(value) if register != SP => drop(values.insert(register, value)),
        _ => drop(values.remove(&register)),
    }
}

fn memory(values: &mut Values<u32>, word: u32) {
    let Some(access) = access(word) else {
        // By another register's number, of atomics, exclusive: whatever it names is not known any more.
        let named = [0, 5, 10, 16].map(|from| register(word, from));
        if named[1] == SP {
            values.clear();
        }
        values.retain(|register, _| !named.contains(register));
        return;
    };
    let Access { base, offset, size, registers, load, general, moves } = access;
    if base == SP && !load {
        let end = offset + size * registers.iter().flatten().count() as i64;
        values.retain(|_, value| value.slot + 8 <= offset || value.slot >= end);
    }
    for (register, slot) in registers.into_iter().zip([offset, offset + size]) {
        let Some(register) = register.filter(|_| general) else { continue };
        if size == 8 && base == SP && register != SP {
            values.insert(register, Value { slot, more: 0 });
        } else if load {
            values.remove(&register);
        }
    }
    if moves && base == SP {
        values.clear();
    } else if moves {
        values.remove(&base);
    }
}

/// What it accesses, where the address is a register plus a number.
fn access(word: u32) -> Option<Access> {
    let vector = word & 1 << 26 != 0;
    let (rt, base) = (register(word, 0), register(word, 5));
    let signed = |from: u32, bits: u32| super::signed(word, from, bits);
    // Pairs
    if word & 0x3a00_0000 == 0x2800_0000 {
        let mode = word >> 23 & 3;
        let scale = if vector { 2 + (word >> 30) } else { 2 + (word >> 31) };
        let size = 1_i64 << scale;
        return Some(Access {
            base,
            // Behind what is accessed, the base is moved by it
            offset: if mode == 1 { 0 } else { signed(15, 7) * size },
            size,
            registers: [Some(rt), Some(register(word, 10))],
            load: word & 1 << 22 != 0,
            general: !vector,
            moves: mode & 1 == 1,
        });
    }
    let (kind, scale) = (word >> 22 & 3, word >> 30);
    let size = 1_i64 << if vector && kind >= 2 { 4 } else { scale };
    let prefetch = !vector && scale == 3 && kind == 2;
    let one = |offset: i64, moves: bool| Access {
        base,
        offset,
        size,
        registers: [(!prefetch).then_some(rt), None],
        load: if vector { kind & 1 == 1 } else { kind != 0 },
        general: !vector,
        moves,
    };
    if word & 0x3b00_0000 == 0x3900_0000 {
        return Some(one(i64::from(word >> 10 & 0xfff) * size, false));
    }
    if word & 0x3b20_0000 == 0x3800_0000 {
        let mode = word >> 10 & 3;
        return Some(one(if mode == 1 { 0 } else { signed(12, 9) }, mode & 1 == 1));
    }
    // By a register's number: never a word on the stack that is followed by its place
    let by_register = word & 0x3b20_0c00 == 0x3820_0800 && base != SP;
    by_register.then(|| Access { registers: [Some(rt), None], ..one(0, false) })
}
