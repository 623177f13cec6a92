//! An arm64 function's machine code in, the places of its probes out.
//!
//! The kernel simulates a conditional jump, so the entry lies on the one of the stack check itself, and whoever
//! reads the registers there looks at the flags: where the jump is taken the stack grows, and the function
//! begins anew.

use super::{Flow, Instruction, Probed, instructions};
use crate::EntryPlace;
use crate::code::{Fault, Shape};

/// `MOVD 16(R28), R16`: the stack limit of the goroutine.
const LIMIT: u32 = 0xf940_0b90;
/// `CMP R16, RSP`: of a small frame.
const COMPARE_SMALL: u32 = 0xeb30_63ff;
/// `CMP R16, R17`
const COMPARE: u32 = 0xeb10_023f;
/// `SUB $n, RSP, R17`, and the same with flags, of a very large frame.
const SUBTRACT: u32 = 0xd100_03f1;
const SUBTRACT_FLAGS: u32 = 0xf100_03f1;
const SUBTRACT_MASK: u32 = 0xff80_03ff;
/// `BLS`, `BLO`, but for where they lead to.
const BRANCH_MASK: u32 = 0xff00_001f;
const LOWER_OR_SAME: u32 = 0x5400_0009;
const LOWER: u32 = 0x5400_0003;

/// Goes through a whole function.
pub(crate) fn shape(code: &[u8]) -> Result<Shape, Fault> {
    let code = instructions(code)?;
    let returns: Vec<u32> = code.iter().filter(|i| i.flow() == Flow::Return).map(|i| i.at).collect();
    if returns.is_empty() {
        return Err(Fault { what: "no return", at: 0 });
    }
    if let Some(jump) = stack_check(&code) {
        return Ok(Shape { entry: jump, place: EntryPlace::Jump, returns });
    }
    match code[0].probed() {
        Probed::Refused => Err(Fault { what: "a beginning that the kernel takes no probe on", at: 0 }),
        _ => Ok(Shape { entry: 0, place: EntryPlace::First, returns }),
    }
}

/// Where the jump of the stack check is, of a form that writes no register but R16 and R17: the arguments are
/// still where they were passed. Nothing else may lead there.
fn stack_check(code: &[Instruction]) -> Option<u32> {
    let word = |n: usize| code.get(n).map(|i| i.word);
    let branch = |n: usize, kind: u32| {
        let i = code.get(n).filter(|i| i.word & BRANCH_MASK == kind)?;
        if let Flow::Branch(to) = i.flow() { Some(to) } else { None }
    };
    if word(0)? != LIMIT {
        return None;
    }
    let second = word(1)?;
    let (jump, grows) = match second & SUBTRACT_MASK {
        _ if second == COMPARE_SMALL => (2, branch(2, LOWER_OR_SAME)?),
        SUBTRACT if word(2)? == COMPARE => (3, branch(3, LOWER_OR_SAME)?),
        SUBTRACT_FLAGS if word(3)? == COMPARE => {
            (4, branch(4, LOWER_OR_SAME).filter(|to| branch(2, LOWER) == Some(*to))?)
        }
        _ => return None,
    };
    let at = code[jump].at;
    let leads = |from: &Instruction| match from.flow() {
        Flow::Jump(to) | Flow::Branch(to) => Some(to),
        _ => None,
    };
    let into = code.iter().filter_map(leads).any(|to| (1..=i64::from(at)).contains(&to));
    let restarts = code.iter().any(|i| i.flow() == Flow::Jump(0));
    (restarts && !into && grows > i64::from(at)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm64::RET;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// The jump to offset `to` from `at`.
    fn jump(kind: u32, at: i32, to: i32) -> u32 {
        let by = (to - at) / 4;
        if kind == 0x1400_0000 {
            kind | by.cast_unsigned() & 0x3ff_ffff
        } else {
            kind | ((by & 0x7_ffff) << 5).cast_unsigned()
        }
    }

    const STORE: u32 = 0xf81a_0ffe; // MOVD.W R30, -96(RSP)
    const ALWAYS: u32 = 0x1400_0000;

    #[test]
    fn the_entry_lies_on_the_jump_of_each_form_of_the_stack_check() {
        let small = [LIMIT, COMPARE_SMALL, jump(LOWER_OR_SAME, 8, 20), STORE, RET, jump(ALWAYS, 20, 0)];
        let expected = |entry, ret| Ok(Shape { entry, place: EntryPlace::Jump, returns: vec![ret] });
        assert_eq!(shape(&bytes(&small)), expected(8, 16));
        let large =
            [LIMIT, 0xd101_43f1, COMPARE, jump(LOWER_OR_SAME, 12, 24), STORE, RET, jump(ALWAYS, 24, 0)];
        assert_eq!(shape(&bytes(&large)), expected(12, 20));
        let huge = [
            LIMIT,
            0xf141_43f1,
            jump(LOWER, 8, 28),
            COMPARE,
            jump(LOWER_OR_SAME, 16, 28),
            STORE,
            RET,
            jump(ALWAYS, 28, 0),
        ];
        assert_eq!(shape(&bytes(&huge)), expected(16, 24));
    }

    #[test]
    fn another_form_has_its_entry_on_the_first_byte() {
        let first = |words: &[u32]| {
            let shape = shape(&bytes(words)).expect("a shape");
            assert_eq!((shape.entry, shape.place), (0, EntryPlace::First), "{words:x?}");
        };
        first(&[STORE, RET]);
        // Another limit; no way back; a way into the check; taken backwards
        let check = jump(LOWER_OR_SAME, 8, 20);
        first(&[0xf940_0f90, COMPARE_SMALL, check, STORE, RET, jump(ALWAYS, 20, 0)]);
        first(&[LIMIT, COMPARE_SMALL, check, STORE, RET, jump(ALWAYS, 20, 12)]);
        first(&[LIMIT, COMPARE_SMALL, check, jump(0xb500_0004, 12, 8), RET, jump(ALWAYS, 20, 0)]);
        first(&[LIMIT, COMPARE_SMALL, jump(LOWER_OR_SAME, 8, 0), STORE, RET, jump(ALWAYS, 20, 0)]);
    }

    #[test]
    fn what_gets_no_probe_is_refused() {
        let what = |words: &[u32]| shape(&bytes(words)).expect_err("refused").what;
        assert_eq!(what(&[]), "no return");
        assert_eq!(what(&[STORE]), "no return");
        assert_eq!(what(&[0x5800_0042, RET, 0, 0]), "a beginning that the kernel takes no probe on");
        assert_eq!(what(&[0xd53b_d040, RET]), "a beginning that the kernel takes no probe on");
    }
}
