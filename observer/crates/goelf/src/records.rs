//! `crypto/tls.(*Conn).readRecordOrCCS` in, the place where the plain text of a TLS record is known out.
//!
//! A uprobe costs what the kernel has to do for the instruction it lies on: a conditional jump is emulated, a
//! RET is stepped over by an exception, thirty times as dear in a virtual machine. Behind the call of
//! `(*halfConn).decrypt`, once a record, the compiler tests the error that it returned and jumps. At that jump
//! the results still are in their registers (plain text in RAX and RBX, the record's type in RDI, an error in
//! RSI), and the connection lies where the function keeps it on its stack.
//!
//! That place on the stack is not guessed: the function's code before the call is followed to learn from where
//! the argument of `decrypt`, a member of the connection, was made. Where the code is of another form, there is
//! no such place.

use std::collections::HashSet;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use crate::follow::{self, Value, Values, Way};

/// Where the plain text of a record is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Offset of the conditional jump from the function's first byte
    pub at: u32,
    /// Offset of the connection's address from the stack pointer there
    pub connection: u32,
}

/// A connection's members lie within so many bytes of its beginning; `crypto/tls.Conn` has about 900.
const CONNECTION_MAX: i64 = 4096;

/// Goes through a function that lies at `addr` and calls `decrypt` once.
pub(crate) fn amd64(code: &[u8], addr: u64, decrypt: u64) -> Option<Place> {
    let instructions: Vec<Instruction> =
        Decoder::with_ip(64, code, addr, DecoderOptions::NONE).iter().collect();
    let calls = |i: &Instruction| i.mnemonic() == Mnemonic::Call && i.near_branch_target() == decrypt;
    let mut found = instructions.iter().enumerate().filter(|(_, i)| calls(i));
    let (call, _) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let is_jump = |i: &&Instruction| {
        matches!(i.flow_control(), FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch)
    };
    let targets: HashSet<u64> =
        instructions.iter().filter(is_jump).map(Instruction::near_branch_target).collect();
    let mut behind = instructions[call + 1..].iter().take_while(|i| !targets.contains(&i.ip()));
    let tests = |i: &Instruction| {
        i.code() == Code::Test_rm64_r64 && [i.op0_register(), i.op1_register()] == [Register::RSI; 2]
    };
    let test = behind.find(|i| i.mnemonic() != Mnemonic::Nop)?;
    let jump = behind.next().filter(|i| matches!(i.mnemonic(), Mnemonic::Jne | Mnemonic::Je))?;
    let argument = *values(&instructions, call).get(&Register::RAX).filter(|_| tests(test))?;
    place(u32::try_from(jump.ip() - addr).ok()?, argument)
}

/// The place at that offset, when the argument of `decrypt` there is a member of a connection whose address lies
/// on the stack.
pub(crate) fn place(at: u32, argument: Value) -> Option<Place> {
    let Value { slot, more } = argument;
    let is_member = (1..CONNECTION_MAX).contains(&more) && slot >= 0 && slot % 8 == 0;
    let connection = u32::try_from(slot).ok().filter(|_| is_member)?;
    Some(Place { at, connection })
}

/// What the registers hold before instruction `until`.
fn values(instructions: &[Instruction], until: usize) -> Values<Register> {
    let mut info = InstructionInfoFactory::new();
    let way = |i: &Instruction| match i.flow_control() {
        FlowControl::UnconditionalBranch => Way::Jump(i.near_branch_target()),
        FlowControl::ConditionalBranch => Way::Branch(i.near_branch_target()),
        FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception => Way::Ends,
        _ => Way::On,
    };
    let ways: Vec<(u64, Way)> = instructions.iter().map(|i| (i.ip(), way(i))).collect();
    follow::values(&ways, until, |values, n| step(values, &instructions[n], &mut info))
}

/// What one instruction does. A write through another register than the stack pointer is taken to miss the
/// words on the stack that are followed: Go keeps there what nothing else points to.
fn step(values: &mut Values<Register>, i: &Instruction, info: &mut InstructionInfoFactory) {
    if i.mnemonic() == Mnemonic::Call {
        values.clear();
        return;
    }
    let slot = (i.memory_base() == Register::RSP && i.memory_index() == Register::None)
        .then(|| i.memory_displacement64().cast_signed());
    let result = match (i.code(), i.op0_kind(), i.op1_kind()) {
        (Code::Mov_r64_rm64, _, OpKind::Memory) => slot.map(|slot| Value { slot, more: 0 }),
        (Code::Mov_r64_rm64 | Code::Mov_rm64_r64, OpKind::Register, OpKind::Register) => {
            values.get(&i.op1_register()).copied()
        }
        (Code::Add_rm64_imm8 | Code::Add_rm64_imm32 | Code::Add_RAX_imm32, OpKind::Register, _) => {
            values.get(&i.op0_register()).and_then(|value| value.plus(i.immediate(1).cast_signed()))
        }
        (Code::Lea_r64_m, _, _) if i.memory_index() == Register::None => {
            values.get(&i.memory_base()).and_then(|value| value.plus(i.memory_displacement64().cast_signed()))
        }
        _ => None,
    };
    let info = info.info(i);
    let writes = |access| {
        matches!(
            access,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        )
    };
    for used in info.used_registers().iter().filter(|used| writes(used.access())) {
        let register = used.register().full_register();
        if register == Register::RSP {
            values.clear(); // every word has another place from now on
        }
        values.remove(&register);
    }
    for memory in
        info.used_memory().iter().filter(|used| used.base() == Register::RSP && writes(used.access()))
    {
        let from = memory.displacement().cast_signed();
        let size = memory.memory_size().size().max(1) as i64;
        let known = memory.index() == Register::None;
        values.retain(|_, value| known && (value.slot + 8 <= from || value.slot >= from + size));
    }
    if let Some(result) = result {
        values.insert(i.op0_register(), result);
    } else if let (Code::Mov_rm64_r64, OpKind::Memory, Some(slot)) = (i.code(), i.op0_kind(), slot) {
        values.insert(i.op1_register(), Value { slot, more: 0 });
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::code_asm::{CodeAssembler, ptr, qword_ptr, rax, rbx, rcx, rdx, rsi, rsp};

    use super::*;

    const ADDR: u64 = 0x1000;
    const DECRYPT: u64 = 0x9000;

    /// A function that calls `decrypt` after `before`, and tests the error.
    fn function(before: impl FnOnce(&mut CodeAssembler)) -> Option<Place> {
        let mut a = CodeAssembler::new(64).unwrap();
        a.mov(qword_ptr(rsp + 0x1e0), rax).unwrap();
        before(&mut a);
        a.call(DECRYPT).unwrap();
        a.test(rsi, rsi).unwrap();
        let mut end = a.create_label();
        a.jne(end).unwrap();
        a.mov(rax, rbx).unwrap();
        a.set_label(&mut end).unwrap();
        a.ret().unwrap();
        let code = a.assemble(ADDR).unwrap();
        let place = amd64(&code, ADDR, DECRYPT);
        if let Some(place) = place {
            let jump = Decoder::with_ip(64, &code[place.at as usize..], 0, DecoderOptions::NONE).decode();
            assert_eq!(jump.mnemonic(), Mnemonic::Jne);
        }
        place
    }

    #[test]
    fn the_connection_is_where_the_argument_was_made_from() {
        let slot = |before: fn(&mut CodeAssembler)| function(before).map(|place| place.connection);
        assert_eq!(
            slot(|a| {
                a.call(1).unwrap();
                a.mov(rax, qword_ptr(rsp + 0x1e0)).unwrap();
                // as go1.26 does
                a.add(rax, 0x170).unwrap();
            }),
            Some(0x1e0)
        );
        assert_eq!(
            slot(|a| {
                // as go1.21 does
                a.lea(rdx, ptr(rax + 0x178)).unwrap();
                a.mov(rax, rdx).unwrap();
            }),
            Some(0x1e0)
        );
    }

    #[test]
    fn what_holds_on_one_way_only_is_not_known() {
        let branch = |other: i32| {
            function(|a| {
                let mut joined = a.create_label();
                a.mov(rax, qword_ptr(rsp + 0x1e0)).unwrap();
                a.test(rcx, rcx).unwrap();
                a.jle(joined).unwrap();
                a.mov(rax, qword_ptr(rsp + other)).unwrap();
                a.set_label(&mut joined).unwrap();
                a.add(rax, 0x170).unwrap();
            })
        };
        assert_eq!(branch(0x1e0).map(|place| place.connection), Some(0x1e0));
        assert_eq!(branch(0x1e8), None);
        let looped = function(|a| {
            a.mov(rax, qword_ptr(rsp + 0x1e0)).unwrap();
            let mut again = a.create_label();
            a.set_label(&mut again).unwrap();
            a.add(rax, 8).unwrap();
            a.test(rcx, rcx).unwrap();
            a.jle(again).unwrap();
        });
        assert_eq!(looped, None, "as often as nobody knows");
    }

    #[test]
    fn what_was_written_over_is_not_known() {
        let over = |before: fn(&mut CodeAssembler)| {
            function(|a| {
                a.mov(rax, qword_ptr(rsp + 0x1e0)).unwrap();
                a.add(rax, 0x170).unwrap();
                before(a);
            })
        };
        assert!(over(|a| a.mov(rdx, rcx).unwrap()).is_some());
        assert_eq!(over(|a| a.mov(qword_ptr(rsp + 0x1e0), rcx).unwrap()), None);
        assert_eq!(over(|a| a.mov(qword_ptr(rsp + 0x1dc), rcx).unwrap()), None, "a part of it");
        assert_eq!(over(|a| a.mov(qword_ptr(rsp + rcx + 8), rcx).unwrap()), None, "any of them");
        assert_eq!(over(|a| a.push(rcx).unwrap()), None);
        assert_eq!(over(|a| a.mul(rcx).unwrap()), None);
        assert_eq!(over(|a| a.call(1).unwrap()), None);
    }

    #[test]
    fn code_of_another_form_has_no_place() {
        let mut a = CodeAssembler::new(64).unwrap();
        a.mov(rax, qword_ptr(rsp + 8)).unwrap();
        a.add(rax, 0x170).unwrap();
        a.call(DECRYPT).unwrap();
        a.test(rbx, rbx).unwrap(); // not the error
        let mut end = a.create_label();
        a.jne(end).unwrap();
        a.set_label(&mut end).unwrap();
        a.ret().unwrap();
        assert_eq!(amd64(&a.assemble(ADDR).unwrap(), ADDR, DECRYPT), None);
        let twice = function(|a| {
            a.call(DECRYPT).unwrap();
            a.mov(rax, qword_ptr(rsp + 0x1e0)).unwrap();
            a.add(rax, 0x170).unwrap();
        });
        assert_eq!(twice, None);
        assert_eq!(function(|_| ()), None, "the connection itself is no member");
        assert_eq!(amd64(&[0x06, 0xff], ADDR, DECRYPT), None);
    }
}
