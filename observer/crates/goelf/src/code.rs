//! A function's machine code in, the places of its probes out, as offsets from its first byte.
//!
//! The Go compiler begins a function by comparing the stack pointer with the goroutine's limit.
//! If there is too little stack, it jumps to the function's end, has the stack made larger, and
//! jumps to the first byte again. So a probe on the first byte may fire twice in a call, one
//! behind the comparison never does.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::EntryPlace;

/// Where probes go. Offsets are from the function's first byte.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// The entry: at the stack check, when there is one of a known form
    pub entry: u32,
    /// What lies there
    pub place: EntryPlace,
    /// Each RET, ascending
    pub returns: Vec<u32>,
}

/// What stands against probes.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// In words
    pub what: &'static str,
    /// Offset of the instruction
    pub at: u32,
}

/// Go's offset of the stack limit in a goroutine, which R14 points to.
const STACK_GUARD: u64 = 0x10;

/// Goes through a whole amd64 function. All of it must decode, and every jump must lead to an
/// instruction of it: then the decoding is in step, and there is no way out but the RETs.
pub(crate) fn amd64(code: &[u8]) -> Result<Shape, Fault> {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut starts = Vec::new();
    let mut returns = Vec::new();
    let mut jumps = Vec::new();
    let mut restarts = false;
    let mut prologue = Prologue::default();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let at = instruction.ip() as u32;
        if instruction.is_invalid() {
            return Err(Fault { what: "bytes that are no instruction", at });
        }
        starts.push(at);
        match instruction.flow_control() {
            FlowControl::Return if instruction.code() == Code::Retnq => returns.push(at),
            FlowControl::Return => return Err(Fault { what: "a return of an unknown kind", at }),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                if target >= code.len() as u64 {
                    return Err(Fault { what: "a jump out of the function", at });
                }
                restarts |= target == 0 && instruction.flow_control() == FlowControl::UnconditionalBranch;
                jumps.push((target as u32, at));
            }
            _ => {}
        }
        prologue.step(&instruction);
    }
    if let Some((_, at)) = jumps.iter().find(|(target, _)| starts.binary_search(target).is_err()) {
        return Err(Fault { what: "a jump into the middle of an instruction", at: *at });
    }
    if returns.is_empty() {
        return Err(Fault { what: "no return", at: 0 });
    }
    let body = prologue.body().filter(|body| {
        // Jumped to from elsewhere, it would fire again within a call.
        restarts && *body < code.len() as u32 && !jumps.iter().any(|(to, _)| (1..=*body).contains(to))
    });
    let (entry, place) = body.map_or((0, EntryPlace::First), |at| (at, EntryPlace::Behind));
    Ok(Shape { entry, place, returns })
}

/// How much of a stack check has been seen. The forms allowed write no register but R12, so the
/// arguments are still where they were passed.
#[derive(Default)]
enum Prologue {
    #[default]
    Start,
    /// R12 is the stack pointer as it will be: LEA R12, [RSP-N]
    Low,
    /// The same for a very large frame, whose subtraction may wrap: MOV R12, RSP
    Copied,
    /// SUB R12, N
    Subtracted,
    /// CMP RSP or R12, [R14+10h]
    Compared,
    /// Behind the jump
    Body(u32),
    Unknown,
}

impl Prologue {
    fn step(&mut self, i: &Instruction) {
        *self = match (&*self, i.mnemonic()) {
            (Self::Body(_), _) => return,
            (Self::Start, Mnemonic::Lea)
                if i.op0_register() == Register::R12
                    && i.memory_base() == Register::RSP
                    && i.memory_index() == Register::None =>
            {
                Self::Low
            }
            (Self::Start, Mnemonic::Mov)
                if i.op0_register() == Register::R12 && i.op1_register() == Register::RSP =>
            {
                Self::Copied
            }
            (Self::Copied, Mnemonic::Sub)
                if i.op0_register() == Register::R12 && i.op1_kind() == OpKind::Immediate32to64 =>
            {
                Self::Subtracted
            }
            (Self::Subtracted, Mnemonic::Jb) => Self::Low,
            (Self::Start, Mnemonic::Cmp) if compares(i, Register::RSP) => Self::Compared,
            (Self::Low, Mnemonic::Cmp) if compares(i, Register::R12) => Self::Compared,
            (Self::Compared, Mnemonic::Jbe) => Self::Body(i.next_ip() as u32),
            _ => Self::Unknown,
        };
    }

    fn body(&self) -> Option<u32> {
        match self {
            Self::Body(at) => Some(*at),
            _ => None,
        }
    }
}

/// The register is compared with the goroutine's stack limit.
fn compares(i: &Instruction, register: Register) -> bool {
    i.code() == Code::Cmp_r64_rm64
        && i.op0_register() == register
        && i.op1_kind() == OpKind::Memory
        && i.memory_base() == Register::R14
        && i.memory_index() == Register::None
        && i.segment_prefix() == Register::None
        && i.memory_displacement64() == STACK_GUARD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(entry: u32, ret: u32) -> Result<Shape, Fault> {
        Ok(Shape { entry, place: EntryPlace::Behind, returns: vec![ret] })
    }

    fn first(ret: u32) -> Result<Shape, Fault> {
        Ok(Shape { entry: 0, place: EntryPlace::First, returns: vec![ret] })
    }

    /// cmp rsp,[r14+10h]; jbe +2 (to the call); push rbp; ret; call 0; jmp 0
    const SMALL: &[u8] =
        &[0x49, 0x3b, 0x66, 0x10, 0x76, 0x02, 0x55, 0xc3, 0xe8, 0xf3, 0xff, 0xff, 0xff, 0xeb, 0xf1];
    /// lea r12,[rsp-48h]; cmp r12,[r14+10h]; jbe; push rbp; ret; jmp 0
    const LARGE: &[u8] =
        &[0x4c, 0x8d, 0x64, 0x24, 0xb8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x02, 0x55, 0xc3, 0xeb, 0xf1];
    /// mov r12,rsp; sub r12,10000h; jb; cmp r12,[r14+10h]; jbe; push rbp; ret; jmp 0
    const HUGE: &[u8] = &[
        0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0, 0, 1, 0, 0x72, 0x08, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x02, 0x55,
        0xc3, 0xeb, 0xea,
    ];

    #[test]
    fn the_body_begins_behind_each_form_of_the_stack_check() {
        assert_eq!(amd64(SMALL), behind(6, 7));
        assert_eq!(amd64(LARGE), behind(11, 12));
        assert_eq!(amd64(HUGE), behind(18, 19));
    }

    #[test]
    fn another_limit_or_no_way_back_is_no_stack_check() {
        let mut other = SMALL.to_vec();
        other[3] = 0x18;
        assert_eq!(amd64(&other), first(7));
        let mut onward = SMALL.to_vec();
        onward[14] = 0xf9;
        assert_eq!(amd64(&onward), first(7));
    }

    #[test]
    fn a_body_that_is_jumped_to_gets_its_probe_on_the_first_byte() {
        let mut looped = SMALL.to_vec();
        looped.extend([0xeb, 0xf5]); // jmp 6
        assert_eq!(amd64(&looped), first(7));
    }

    #[test]
    fn a_register_that_carries_an_argument_must_not_change_before_the_body() {
        // lea rax instead of lea r12
        let mut changed = LARGE.to_vec();
        changed[..3].copy_from_slice(&[0x48, 0x8d, 0x44]);
        assert_eq!(amd64(&changed), first(12));
    }

    #[test]
    fn code_that_is_not_understood_as_a_whole_is_refused() {
        let what = |code: &[u8]| amd64(code).expect_err("refused").what;
        assert_eq!(what(&[]), "no return");
        assert_eq!(what(&[0xc3, 0x06]), "bytes that are no instruction");
        assert_eq!(what(&SMALL[..10]), "bytes that are no instruction");
        assert_eq!(what(&[0xc2, 8, 0]), "a return of an unknown kind");
        assert_eq!(what(&[0xeb, 0x10, 0xc3]), "a jump out of the function");
        assert_eq!(what(&[0xeb, 0xf0, 0xc3]), "a jump out of the function");
        assert_eq!(what(&[0xb8, 0, 0, 0, 0, 0xeb, 0xfa, 0xc3]), "a jump into the middle of an instruction");
    }
}
