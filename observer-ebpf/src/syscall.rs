//! The system call that the current thread is in: its number and arguments, from its registers.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};

use crate::task::kernel;

/// System calls by number (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(bpf_target_arch = "x86_64")]
pub mod call {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const CONNECT: u64 = 42;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
}
/// System calls by number (include/uapi/asm-generic/unistd.h).
#[cfg(bpf_target_arch = "aarch64")]
pub mod call {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const READV: u64 = 65;
    pub const WRITEV: u64 = 66;
    pub const CONNECT: u64 = 203;
    pub const SENDTO: u64 = 206;
    pub const RECVFROM: u64 = 207;
    pub const SENDMSG: u64 = 211;
    pub const RECVMSG: u64 = 212;
    pub const RECVMMSG: u64 = 243;
    pub const SENDMMSG: u64 = 269;
}

/// What a system call does with a socket, in bits; 0 for all others.
pub mod shape {
    pub const SENDS: u64 = 1;
    pub const RECEIVES: u64 = 2;
    /// Its second argument is the buffer
    pub const BUFFER: u64 = 4;
    /// Its second argument is a list of buffers
    pub const VECTORS: u64 = 8;
    /// Its second argument is a list of messages
    pub const MESSAGES: u64 = 16;
    /// Its fifth argument is an address
    pub const TO: u64 = 32;
}

/// The shape of a system call. A global function: its result is any number to the verifier, so what follows
/// is not gone through once for each of them.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn shape_of(number: u64) -> u64 {
    use shape::{BUFFER, MESSAGES, RECEIVES, SENDS, TO, VECTORS};
    match number {
        call::READ | call::RECVFROM => RECEIVES | BUFFER,
        call::READV => RECEIVES | VECTORS,
        call::RECVMSG => RECEIVES,
        call::RECVMMSG => RECEIVES | MESSAGES,
        call::WRITE => SENDS | BUFFER,
        call::WRITEV => SENDS | VECTORS,
        call::SENDTO => SENDS | BUFFER | TO,
        call::SENDMSG => SENDS,
        call::SENDMMSG => SENDS | MESSAGES,
        _ => 0,
    }
}

/// Where `struct pt_regs` has the arguments of a system call, and its number at the exit.
#[cfg(bpf_target_arch = "x86_64")]
mod place {
    use core::mem::offset_of;

    use aya_ebpf::bindings::pt_regs;

    pub const ARGUMENT: [u32; 5] = [
        offset_of!(pt_regs, rdi) as u32,
        offset_of!(pt_regs, rsi) as u32,
        offset_of!(pt_regs, rdx) as u32,
        offset_of!(pt_regs, r10) as u32,
        offset_of!(pt_regs, r8) as u32,
    ];
    pub const NUMBER: u32 = offset_of!(pt_regs, orig_rax) as u32;
}
/// arm64 overwrites x0 with the result; orig_x0 and the number lie behind user_pt_regs
/// (arch/arm64/include/asm/ptrace.h).
#[cfg(bpf_target_arch = "aarch64")]
mod place {
    pub const ARGUMENT: [u32; 5] = [34 * 8, 8, 16, 24, 32];
    pub const NUMBER: u32 = 35 * 8;
}

/// Whether a 64-bit program made the call: 32-bit ones have other numbers. On x86 the code
/// segment reports (`__USER_CS`), on arm64 a bit of the processor state (`PSR_MODE32_BIT`).
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub fn native(regs: u64) -> bool {
    kernel::<u64>(regs, core::mem::offset_of!(aya_ebpf::bindings::pt_regs, cs) as u32) == 0x33
}
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn native(regs: u64) -> bool {
    kernel::<u64>(regs, 33 * 8) & 0x10 == 0
}

/// Argument `n` of a system call.
#[inline(always)]
pub fn arg(regs: u64, n: usize) -> u64 {
    kernel(regs, place::ARGUMENT[n])
}

/// The system call that the current thread is in: its registers and its number, when that is one of
/// this file's.
#[inline(always)]
pub fn system_call() -> Option<(u64, u64)> {
    // SAFETY: helpers that return kernel pointers of the current task.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    native(regs).then(|| (regs, number(regs)))
}

/// The number of a system call; one of this file's only where [`native`] says so.
#[inline(always)]
pub fn number(regs: u64) -> u64 {
    kernel::<u64>(regs, place::NUMBER) & 0xffff_ffff
}

/// The descriptor that the current thread connects.
#[inline(always)]
pub fn connecting() -> Option<i32> {
    let (regs, number) = system_call()?;
    (number == call::CONNECT).then(|| arg(regs, 0) as i32)
}
