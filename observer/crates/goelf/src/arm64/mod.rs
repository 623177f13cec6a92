//! arm64's machine code: a function's bytes in, its instructions out, and what the kernel does with a probe on
//! one. Only what the plans take is understood; the encodings are those of the Arm Architecture Reference Manual
//! (C4.1).
//!
//! Each instruction has four bytes. Constants that do not fit into one may lie behind the code that loads them:
//! such words are no instructions, whatever they would mean, and get no probe.

pub(crate) mod code;
mod effects;
pub(crate) mod records;

use std::collections::HashSet;

use super::code::Fault;

/// RET, by the link register.
const RET: u32 = 0xd65f_03c0;

/// Where an instruction leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// To the next one
    Next,
    /// To that offset, always
    Jump(i64),
    /// To that offset or the next one
    Branch(i64),
    /// To a function at that offset and back
    Call(i64),
    /// To a function that a register says and back
    CallAny,
    /// Out, by the link register
    Return,
    /// To wherever a register says, or nowhere
    Elsewhere,
}

/// What the kernel does with a probe on an instruction (arch/arm64/kernel/probes/decode-insn.c).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Probed {
    /// It does itself what the instruction would
    Simulated,
    /// It has the instruction stepped over elsewhere, which takes a second exception
    Stepped,
    /// It takes the probe without a word, and it never fires; or it would not be safe
    Refused,
}

/// An instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Instruction {
    /// Offset from the function's first byte
    pub at: u32,
    /// It
    pub word: u32,
}

impl Instruction {
    /// Where it leads.
    pub(crate) fn flow(self) -> Flow {
        let (at, word) = (i64::from(self.at), self.word);
        let by = |bits: u32, from: u32| at + signed(word, from, bits) * 4;
        match word {
            _ if word & 0xfc00_0000 == 0x1400_0000 => Flow::Jump(by(26, 0)),
            _ if word & 0xfc00_0000 == 0x9400_0000 => Flow::Call(by(26, 0)),
            _ if word & 0xff00_0010 == 0x5400_0000 => Flow::Branch(by(19, 5)), // B.cond
            _ if word & 0x7e00_0000 == 0x3400_0000 => Flow::Branch(by(19, 5)), // CBZ, CBNZ
            _ if word & 0x7e00_0000 == 0x3600_0000 => Flow::Branch(by(14, 5)), // TBZ, TBNZ
            _ if word & 0xffff_fc1f == 0xd63f_0000 => Flow::CallAny,
            RET => Flow::Return,
            // Other branches by a register, exceptions but the system call, and the padding between functions
            _ if word & 0xfe00_0000 == 0xd600_0000 || word == 0 => Flow::Elsewhere,
            _ if word & 0xff00_0000 == 0xd400_0000 && word & 0xe0_001f != 1 => Flow::Elsewhere,
            _ => Flow::Next,
        }
    }

    /// What the kernel does with a probe on it. Of a group of which it takes some, none is taken here but what
    /// a plan may use.
    pub(crate) fn probed(self) -> Probed {
        let word = self.word;
        let adr = word & 0x1f00_0000 == 0x1000_0000;
        let by_register = [0xd61f_0000, 0xd63f_0000, 0xd65f_0000].contains(&(word & 0xffff_fc1f));
        let jumps = matches!(self.flow(), Flow::Jump(_) | Flow::Branch(_) | Flow::Call(_));
        // Branches, exceptions, system instructions; exclusive loads and stores
        let special = word & 0x1c00_0000 == 0x1400_0000 || word & 0x3f80_0000 == 0x0800_0000;
        match () {
            () if adr || by_register || jumps => Probed::Simulated,
            () if special || self.literal().is_some() || !is_allocated(word) => Probed::Refused,
            () => Probed::Stepped,
        }
    }

    /// The constant that it loads from beside the code: its offset and its size, bytes.
    fn literal(self) -> Option<(i64, u32)> {
        let word = self.word;
        (word & 0x3b00_0000 == 0x1800_0000).then(|| {
            // LDR of 32 and 64 bits and LDRSW; of vectors, 4 to 16 bytes; PRFM, which loads nothing.
            let vector = word & 1 << 26 != 0;
            let size = match (word >> 30, vector) {
                (0 | 2, false) | (0, true) => 4,
                (1, _) => 8,
                (2, true) => 16,
                _ => 0,
            };
            (i64::from(self.at) + signed(word, 5, 19) * 4, size)
        })
    }
}

/// A signed number that an instruction holds.
fn signed(word: u32, from: u32, bits: u32) -> i64 {
    i64::from((word << (32 - from - bits)).cast_signed() >> (32 - bits))
}

/// Whether the word lies in a group of instructions that there are, but for SVE and SME, which Go does not use.
fn is_allocated(word: u32) -> bool {
    !matches!(word >> 25 & 0xf, 0..=3)
}

/// A function's instructions: all of it but its constants. It has to be understood as a whole: every jump leads
/// to one of them, and nothing leaves it but RET.
pub(crate) fn instructions(code: &[u8]) -> Result<Vec<Instruction>, Fault> {
    let fault = |what, at| Err(Fault { what, at });
    if !code.len().is_multiple_of(4) {
        return fault("a part of an instruction", code.len() as u32);
    }
    let mut constants = HashSet::new();
    let mut instructions = Vec::with_capacity(code.len() / 4);
    for (at, word) in (0..).step_by(4).zip(code.as_chunks::<4>().0) {
        if constants.contains(&at) {
            continue;
        }
        let instruction = Instruction { at, word: u32::from_le_bytes(*word) };
        if let Some((from, size)) = instruction.literal() {
            // The compiler puts them behind. Others were taken for code already.
            if from <= i64::from(at) || from + i64::from(size) > code.len() as i64 {
                return fault("a constant that lies elsewhere", at);
            }
            constants.extend((from as u32..from as u32 + size).step_by(4));
        } else if !is_allocated(instruction.word) && instruction.word != 0 {
            return fault("bytes that are no instruction", at);
        }
        instructions.push(instruction);
    }
    for instruction in &instructions {
        let at = instruction.at;
        match instruction.flow() {
            Flow::Jump(to) | Flow::Branch(to) => {
                let inside = u32::try_from(to).is_ok_and(|to| (to as usize) < code.len());
                if !inside {
                    return fault("a jump out of the function", at);
                }
                if constants.contains(&(to as u32)) {
                    return fault("a jump into a constant", at);
                }
            }
            // By any other register, or by a signed one
            Flow::Elsewhere
                if instruction.word & 0xfe60_0000 == 0xd640_0000
                    && instruction.word & 0xffff_fc1f != 0xd63f_0000 =>
            {
                return fault("a return of an unknown kind", at);
            }
            _ => {}
        }
    }
    Ok(instructions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(word: u32) -> Flow {
        Instruction { at: 0x100, word }.flow()
    }

    fn probed(word: u32) -> Probed {
        Instruction { at: 0x100, word }.probed()
    }

    #[test]
    fn jumps_lead_where_the_disassembler_says() {
        // From a go1.26.8 built for arm64: by `go tool objdump`
        assert_eq!(flow(0x5400_33a9), Flow::Branch(0x100 + 413 * 4)); // BLS 413(PC)
        assert_eq!(flow(0xb500_34e4), Flow::Branch(0x100 + 423 * 4)); // CBNZ R4, 423(PC)
        assert_eq!(flow(0x3700_0983), Flow::Branch(0x100 + 76 * 4)); // TBNZ $0, R3, 76(PC)
        assert_eq!(flow(0x1400_0005), Flow::Jump(0x100 + 5 * 4)); // JMP 5(PC)
        assert_eq!(flow(0x97ff_f880), Flow::Call(0x100 - 0x780 * 4)); // CALL
        assert_eq!(flow(0x17ff_ffff), Flow::Jump(0x100 - 4));
        assert_eq!(flow(RET), Flow::Return);
        assert_eq!(flow(0xd63f_0060), Flow::CallAny);
        assert_eq!(flow(0xd61f_0360), Flow::Elsewhere, "a jump table");
        assert_eq!(flow(0xd421_0000), Flow::Elsewhere, "BRK");
        assert_eq!(flow(0xd400_0001), Flow::Next, "SVC");
        assert_eq!(flow(0xf940_0b90), Flow::Next);
    }

    #[test]
    fn what_the_kernel_simulates_steps_and_refuses() {
        for simulated in [0x5400_33a9, 0xb500_34e4, 0x3700_0983, 0x1400_0005, 0x97ff_f880, RET, 0xd61f_0360] {
            assert_eq!(probed(simulated), Probed::Simulated, "{simulated:x}");
        }
        assert_eq!([probed(0x1000_0001), probed(0xd000_4efb)], [Probed::Simulated; 2], "ADR, ADRP");
        // MOVD 16(R28), R16; SUB; CMP; MOVD.W R30, -208(RSP); STP; LDARW, which is not exclusive
        for stepped in [0xf940_0b90, 0xd101_43f1, 0xeb10_023f, 0xf813_0ffe, 0xa90b_ffff, 0x88df_fc43] {
            assert_eq!(probed(stepped), Probed::Stepped, "{stepped:x}");
        }
        // LDR of literals; LDAXR, STXR; BRK, MRS, MSR; RETAA; nothing
        for refused in
            [0x5800_0042, 0x1800_0042, 0x9800_0042, 0x1c00_0042, 0xc85f_fc01, 0xc800_7c01, 0xd421_0000]
        {
            assert_eq!(probed(refused), Probed::Refused, "{refused:x}");
        }
        assert_eq!([probed(0xd53b_d040), probed(0xd65f_0bff), probed(0)], [Probed::Refused; 3]);
    }

    #[test]
    fn constants_beside_the_code_are_no_instructions() {
        let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        // ldr x2, .+8; ret; a constant that reads as two RETs
        let code = bytes(&[0x5800_0042, RET, RET, RET]);
        let at = instructions(&code).expect("a function").iter().map(|i| i.at).collect::<Vec<_>>();
        assert_eq!(at, [0, 4]);
        let what = |words: &[u32]| instructions(&bytes(words)).expect_err("refused").what;
        assert_eq!(what(&[RET, 0x58ff_ffe2]), "a constant that lies elsewhere");
        assert_eq!(what(&[0x5800_0042, RET, 0]), "a constant that lies elsewhere");
        assert_eq!(what(&[0x5800_0042, 0x1400_0001, 0, 0]), "a jump into a constant");
        assert_eq!(what(&[0x1400_0002, RET]), "a jump out of the function");
        assert_eq!(what(&[0x17ff_ffff, RET]), "a jump out of the function");
        assert_eq!(what(&[0x0000_0001, RET]), "bytes that are no instruction");
        assert_eq!(what(&[0xd65f_0020]), "a return of an unknown kind");
        assert_eq!(what(&[0xd65f_0bff]), "a return of an unknown kind");
        assert_eq!(instructions(&bytes(&[RET])[..3]).expect_err("refused").at, 3);
    }
}
