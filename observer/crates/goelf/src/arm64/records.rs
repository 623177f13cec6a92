//! `crypto/tls.(*Conn).readRecordOrCCS` in, the place where the plain text of a TLS record is known out: the
//! conditional jump right behind the call of `decrypt`, on its error, which the kernel simulates. The results
//! are in their registers there: plain text in R0 and R1, the record's type in R3, an error in R4.

use std::collections::HashSet;

use super::{Flow, effects, instructions};
use crate::follow::{self, Way};
use crate::records::{Place, place};

/// `CBZ R4`, `CBNZ R4`, but for where they lead to.
const BRANCH_MASK: u32 = 0xff00_001f;
const BRANCHES: [u32; 2] = [0xb400_0004, 0xb500_0004];
const NOP: u32 = 0xd503_201f;

/// Goes through a function that lies at `addr` and calls `decrypt` once.
pub(crate) fn find(code: &[u8], addr: u64, decrypt: u64) -> Option<Place> {
    let code = instructions(code).ok()?;
    let to = decrypt.wrapping_sub(addr).cast_signed();
    let mut calls = code.iter().enumerate().filter(|(_, i)| i.flow() == Flow::Call(to));
    let (call, _) = calls.next()?;
    if calls.next().is_some() {
        return None;
    }
    let targets: HashSet<i64> = code
        .iter()
        .filter_map(|i| match i.flow() {
            Flow::Jump(to) | Flow::Branch(to) => Some(to),
            _ => None,
        })
        .collect();
    let mut behind = code[call + 1..].iter().take_while(|i| !targets.contains(&i64::from(i.at)));
    let jump = behind.find(|i| i.word != NOP).filter(|i| BRANCHES.contains(&(i.word & BRANCH_MASK)))?;
    let ways: Vec<(u64, Way)> = code
        .iter()
        .map(|i| {
            let way = match i.flow() {
                Flow::Jump(to) => Way::Jump(to.cast_unsigned()),
                Flow::Branch(to) => Way::Branch(to.cast_unsigned()),
                Flow::Return | Flow::Elsewhere => Way::Ends,
                Flow::Next | Flow::Call(_) | Flow::CallAny => Way::On,
            };
            (u64::from(i.at), way)
        })
        .collect();
    let values = follow::values(&ways, call, |values, n| effects::step(values, code[n].word));
    place(jump.at, *values.get(&0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: u64 = 0x1000;
    const DECRYPT: u64 = 0x800;
    const RET: u32 = 0xd65f_03c0;
    const LOAD: u32 = 0xf940_f7e4; // MOVD 488(RSP), R4
    const MEMBER: u32 = 0x9105_c080; // ADD $368, R4, R0

    /// A function that calls `decrypt` after `before`, and does `behind` next.
    fn function(before: &[u32], behind: &[u32]) -> Option<Place> {
        let mut words = vec![0xf900_f7e0]; // MOVD R0, 488(RSP)
        words.extend(before);
        let by = (DECRYPT as i64 - ADDR as i64) / 4 - words.len() as i64;
        words.push(0x9400_0000 | by as u32 & 0x3ff_ffff);
        words.extend(behind);
        words.extend([RET, RET]);
        let code: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let found = find(&code, ADDR, DECRYPT);
        if let Some(place) = found {
            assert!(BRANCHES.contains(&(words[place.at as usize / 4] & BRANCH_MASK)));
        }
        found
    }

    const JUMP: u32 = 0xb500_0044; // CBNZ R4, 2(PC)

    fn slot(before: &[u32]) -> Option<u32> {
        function(before, &[JUMP]).map(|place| place.connection)
    }

    #[test]
    fn the_connection_is_where_the_argument_was_made_from() {
        assert_eq!(slot(&[LOAD, MEMBER]), Some(488));
        assert_eq!(slot(&[LOAD, 0xf903_5c86, 0xaa05_03e2, MEMBER]), Some(488), "what else is done between");
        // MOVD R4, R0 behind ADD $368, R4, R4; LDP 488(RSP), (R4, R5)
        assert_eq!(slot(&[LOAD, 0x9105_c084, 0xaa04_03e0]), Some(488));
        assert_eq!(slot(&[0xa95e_97e4, MEMBER]), Some(488));
        assert_eq!(function(&[LOAD, MEMBER], &[NOP, JUMP]).map(|place| place.at), Some(20));
    }

    #[test]
    fn what_holds_on_one_way_only_is_not_known() {
        // MOVD 488(RSP), R4; CBZ R5, 2(PC); MOVD 488 or 496(RSP), R4
        let skip = 0xb400_0045;
        assert_eq!(slot(&[LOAD, skip, LOAD, MEMBER]), Some(488));
        assert_eq!(slot(&[LOAD, skip, 0xf940_fbe4, MEMBER]), None);
        // ADD $8, R4; CBZ R5, -1(PC)
        assert_eq!(slot(&[LOAD, 0x9100_2084, 0xb4ff_ffe5, MEMBER]), None, "as often as nobody knows");
    }

    #[test]
    fn what_was_written_over_is_not_known() {
        let over = |word: u32| slot(&[LOAD, word, MEMBER]);
        assert_eq!(over(0xaa01_03e2), Some(488), "MOVD R1, R2");
        assert_eq!(over(0xf900_f7e3), None, "MOVD R3, 488(RSP)");
        assert_eq!(over(0xb901_efe3), None, "MOVW R3, 492(RSP): a part of it");
        assert_eq!(over(0xa91e_0fe3), None, "STP (R3, R3), 480(RSP)");
        assert_eq!(over(0xa91d_8fe3), Some(488), "STP (R3, R3), 472(RSP)");
        assert_eq!(over(0xf823_6be1), None, "MOVD R1, (RSP)(R3)");
        assert_eq!(over(0xf81f_0ffe), None, "MOVD.W R30, -16(RSP)");
        assert_eq!(over(0xf840_8484), None, "MOVD.P 8(R4), R4");
        assert_eq!(over(0xf840_8483), None, "MOVD.P 8(R4), R3: the base");
        assert_eq!(over(0xd100_43ff), None, "SUB $16, RSP");
        assert_eq!(over(0x9b02_7c24), None, "MUL R2, R1, R4");
        assert_eq!(over(0xf100_009f), Some(488), "CMP $0, R4");
        assert_eq!(over(0xd63f_0060), None, "CALL (R3)");
        assert_eq!(over(0x9400_0001), None, "CALL");
        assert_eq!(over(0xd53b_d044), None, "MRS TPIDR_EL0, R4");
        assert_eq!(over(0x88df_fc64), None, "LDARW (R3), R4");
        assert_eq!(over(0x3980_001b), Some(488), "MOVB (R0), R27");
        assert_eq!(over(0x9e66_0004), None, "FMOVD F0, R4");
    }

    #[test]
    fn code_of_another_form_has_no_place() {
        assert_eq!(function(&[LOAD, MEMBER], &[0xb500_0043]), None, "not the error");
        assert_eq!(function(&[LOAD, MEMBER], &[0x3400_0044]), None, "a part of the error");
        assert_eq!(function(&[LOAD, MEMBER], &[0xaa01_03e2, JUMP]), None);
        assert_eq!(function(&[], &[JUMP]), None, "the connection itself is no member");
        // Jumped to from elsewhere: CBZ R5, to behind the call
        assert_eq!(function(&[LOAD, MEMBER, 0xb400_0045], &[JUMP]), None);
        assert_eq!(find(&[], ADDR, DECRYPT), None);
    }
}
