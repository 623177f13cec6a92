//! System calls on descriptors: connects, DNS messages, the hellos of a TCP connection.
//!
//! Bytes are read from the caller's buffer: at the entry of a call that sends, at the exit of a
//! call that receives. The thread that receives may be another than the one that sent, so the
//! descriptor is the key.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use observer_common::{DATA_MAX, Kind, PAYLOAD_CLOSED, PAYLOAD_RECEIVED, PAYLOAD_TCP, Payload, Process};

use crate::fds::{self, Fd, FdKey, kind};
use crate::probes::sock;
use crate::task::{self, Task, user};
use crate::{FDS, emit};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Vectors looked at in one call: a length and a message.
const PARTS_MAX: u64 = 2;

/// A socket address.
#[derive(Clone, Copy)]
pub struct Address {
    pub family: u16,
    /// Host order
    pub port: u16,
    pub address: [u8; 16],
}

/// A `struct iovec`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Vector {
    base: u64,
    len: u64,
}

/// A `struct msghdr`, as far as it matters.
#[derive(Clone, Copy)]
#[repr(C)]
struct Message {
    name: u64,
    name_len: u64,
    vectors: u64,
    count: u64,
}

/// Size of a `struct mmsghdr`; its length follows the 56 bytes of a `struct msghdr`.
const MMSGHDR: u64 = 64;
/// Messages looked at in one sendmmsg: the C library asks for A and AAAA at once.
const MESSAGES_MAX: u64 = 2;

/// System calls by number (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(bpf_target_arch = "x86_64")]
mod call {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const CLOSE: u64 = 3;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const DUP2: u64 = 33;
    pub const CONNECT: u64 = 42;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const DUP3: u64 = 292;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
}
/// System calls by number (include/uapi/asm-generic/unistd.h); there is no dup2.
#[cfg(bpf_target_arch = "aarch64")]
mod call {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const CLOSE: u64 = 57;
    pub const READV: u64 = 65;
    pub const WRITEV: u64 = 66;
    pub const DUP2: u64 = u64::MAX;
    pub const CONNECT: u64 = 203;
    pub const SENDTO: u64 = 206;
    pub const RECVFROM: u64 = 207;
    pub const SENDMSG: u64 = 211;
    pub const RECVMSG: u64 = 212;
    pub const DUP3: u64 = 24;
    pub const RECVMMSG: u64 = 243;
    pub const SENDMMSG: u64 = 269;
}

/// Where `struct pt_regs` has the arguments of a system call, and its number at the exit.
#[cfg(bpf_target_arch = "x86_64")]
mod place {
    use aya_ebpf::bindings::pt_regs;
    use core::mem::offset_of;

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
/// segment tells (`__USER_CS`), on arm64 a bit of the processor state (`PSR_MODE32_BIT`).
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn native(regs: u64) -> bool {
    task::kernel::<u64>(regs, core::mem::offset_of!(aya_ebpf::bindings::pt_regs, cs) as u32) == Some(0x33)
}
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn native(regs: u64) -> bool {
    task::kernel::<u64>(regs, 33 * 8).is_some_and(|state| state & 0x10 == 0)
}

/// Argument `n` of a system call.
#[inline(always)]
fn arg(regs: u64, n: usize) -> u64 {
    task::kernel(regs, place::ARGUMENT[n]).unwrap_or(0)
}

#[inline(always)]
fn address(at: u64) -> Option<Address> {
    if at == 0 {
        return None;
    }
    let family = user::<u16>(at)?;
    let port = u16::from_be(user::<u16>(at + 2)?);
    let mut address = [0u8; 16];
    if family == AF_INET {
        let four = user::<[u8; 4]>(at + 4)?;
        [address[0], address[1], address[2], address[3]] = four;
    } else if family == AF_INET6 {
        address = user::<[u8; 16]>(at + 8)?;
    } else {
        return None;
    }
    Some(Address { family, port, address })
}

/// `sys_enter(regs, number)`: what is sent, and what becomes of descriptors.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    let number: u64 = ctx.arg(1);
    // Most calls of a machine end here.
    let sends = matches!(number, call::WRITE | call::WRITEV | call::SENDTO | call::SENDMSG | call::SENDMMSG);
    let settles = matches!(number, call::CONNECT | call::CLOSE | call::DUP2 | call::DUP3);
    if !sends && !settles {
        return 0;
    }
    let Some((task, process)) = task::current() else { return 0 };
    let regs: u64 = ctx.arg(0);
    if !native(regs) {
        return 0;
    }
    let fd = arg(regs, 0) as i32;
    match number {
        call::CONNECT => connect(task, process, fd, arg(regs, 1)),
        call::CLOSE => forget(task, process, fd),
        call::DUP2 | call::DUP3 => forget(task, process, arg(regs, 1) as i32),
        call::SENDTO => {
            if let Some(entry) = entry_to(task, process, fd, arg(regs, 4)) {
                bytes(task, entry, false, arg(regs, 1), arg(regs, 2));
            }
        }
        call::SENDMSG => message_out(task, process, fd, arg(regs, 1)),
        call::SENDMMSG => {
            let (at, count) = (arg(regs, 1), arg(regs, 2) & 0xffff_ffff);
            for n in 0..MESSAGES_MAX {
                if n < count {
                    message_out(task, process, fd, at + n * MMSGHDR);
                }
            }
        }
        _ => {
            if let Some(entry) = entry(task, process, fd) {
                let (at, count) = (arg(regs, 1), arg(regs, 2));
                if number == call::WRITE {
                    bytes(task, entry, false, at, count);
                } else {
                    vectors(task, entry, false, at, count, u64::MAX);
                }
            }
        }
    }
    0
}

/// `sys_exit(regs, result)`: what was received.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let result = ctx.arg::<u64>(1) as i64;
    if result <= 0 {
        return 0;
    }
    let regs: u64 = ctx.arg(0);
    let Some(number) = task::kernel::<u64>(regs, place::NUMBER) else { return 0 };
    #[cfg(bpf_target_arch = "aarch64")]
    let number = number & 0xffff_ffff;
    if !matches!(number, call::READ | call::READV | call::RECVFROM | call::RECVMSG | call::RECVMMSG) {
        return 0;
    }
    let Some((task, process)) = task::current() else { return 0 };
    if !native(regs) {
        return 0;
    }
    let Some(entry) = entry(task, process, arg(regs, 0) as i32) else { return 0 };
    let at = arg(regs, 1);
    let len = result as u64;
    match number {
        call::READV => vectors(task, entry, true, at, arg(regs, 2), len),
        call::RECVMSG => {
            if let Some(message) = user::<Message>(at) {
                vectors(task, entry, true, message.vectors, message.count, len);
            }
        }
        call::RECVMMSG => {
            for n in 0..MESSAGES_MAX {
                let at = at + n * MMSGHDR;
                let (Some(message), Some(len)) = (user::<Message>(at), user::<u32>(at + 56)) else {
                    return 0;
                };
                if n < result as u64 {
                    vectors(task, entry, true, message.vectors, message.count, u64::from(len));
                }
            }
        }
        _ => bytes(task, entry, true, at, len),
    }
    0
}

#[inline(always)]
fn connect(task: Task, process: *const Process, fd: i32, to: u64) {
    match address(to) {
        Some(to) => {
            if let Some((_, thread)) = task::thread() {
                // SAFETY: a value of the map.
                unsafe { (*thread).connecting = (fd + 1) as u32 };
            }
            sock::remember(task, process, fd, to, emit::now());
        }
        None => forget(task, process, fd),
    }
}

#[inline(always)]
fn forget(task: Task, process: *const Process, fd: i32) {
    let Some(entry) = fds::get(task, process, fd) else { return };
    // SAFETY: a value of the map.
    if unsafe { matches!((*entry).kind, kind::DNS_UDP | kind::DNS_TCP) } {
        emit::event(Kind::Dns, PAYLOAD_CLOSED, task, emit::now(), payload(entry, 0));
    }
    let _ = FDS.remove(FdKey::new(task, fd));
}

#[inline(always)]
fn payload(entry: *const Fd, len: u64) -> Payload {
    // SAFETY: a value of the map.
    unsafe {
        Payload {
            conn: (*entry).conn,
            len: len as u32,
            generation: (*entry).generation,
            family: (*entry).family,
            remote_port: (*entry).port,
            pad: 0,
            remote: (*entry).remote,
        }
    }
}

/// Sends the bytes of one buffer, as far as anybody wants them.
#[inline(always)]
fn bytes(task: Task, entry: *mut Fd, received: bool, from: u64, len: u64) {
    copy(&Part { task, entry, from, len, received: u64::from(received) });
}

/// The arguments of [`copy`]: a function of its own, so that its code is there once.
#[repr(C)]
struct Part {
    task: Task,
    entry: *mut Fd,
    from: u64,
    len: u64,
    received: u64,
}

#[inline(never)]
fn copy(part: &Part) -> u64 {
    let Part { task, entry, from, len, received } = *part;
    let received = received != 0;
    if len == 0 || from == 0 {
        return 0;
    }
    // SAFETY: a value of the map; counters of a descriptor need not be exact.
    unsafe {
        let what = match (*entry).kind {
            kind::DNS_UDP | kind::DNS_TCP => Kind::Dns,
            kind::HELLO => {
                let wanted = if received {
                    let wanted = sock::wants_hello((*entry).received, (*entry).receives);
                    (*entry).received = (*entry).received.saturating_add(len as u32);
                    (*entry).receives = (*entry).receives.saturating_add(1);
                    wanted
                } else {
                    let wanted = sock::wants_hello((*entry).sent, (*entry).sends);
                    (*entry).sent = (*entry).sent.saturating_add(len as u32);
                    (*entry).sends = (*entry).sends.saturating_add(1);
                    wanted
                };
                if !wanted {
                    let more = sock::wants_hello((*entry).received, (*entry).receives)
                        || sock::wants_hello((*entry).sent, (*entry).sends);
                    if !more {
                        (*entry).kind = kind::QUIET;
                    }
                    return 0;
                }
                Kind::Hello
            }
            _ => return 0,
        };
        let mut flags = if received { PAYLOAD_RECEIVED } else { 0 };
        if (*entry).kind != kind::DNS_UDP {
            flags |= PAYLOAD_TCP;
        }
        let copied = if len > DATA_MAX as u64 { DATA_MAX as u32 } else { len as u32 };
        emit::with_user(what, flags, task, emit::now(), payload(entry, len), from, copied);
    }
    0
}

/// Sends the bytes of a list of buffers, `total` in all (what was received fills them in turn).
#[inline(always)]
fn vectors(task: Task, entry: *mut Fd, received: bool, at: u64, count: u64, total: u64) {
    let mut left = total;
    for n in 0..PARTS_MAX {
        if n >= count || left == 0 {
            return;
        }
        let Some(vector) = user::<Vector>(at + n * 16) else { return };
        let len = vector.len.min(left);
        left -= len;
        bytes(task, entry, received, vector.base, len);
    }
}

#[inline(always)]
fn entry(task: Task, process: *const Process, fd: i32) -> Option<*mut Fd> {
    let entry = fds::get(task, process, fd)?;
    // SAFETY: a value of the map.
    (unsafe { (*entry).kind } != kind::QUIET).then_some(entry)
}

/// As [`entry`]; a datagram that names a name server makes one.
#[inline(always)]
fn entry_to(task: Task, process: *const Process, fd: i32, to: u64) -> Option<*mut Fd> {
    if let Some(to) = address(to)
        && to.port == 53
    {
        match fds::get(task, process, fd) {
            // A resolver that asks several servers on one socket: its answers come to that.
            // SAFETY: a value of the map.
            Some(entry) if unsafe { (*entry).kind == kind::DNS_UDP } => unsafe {
                (*entry).family = to.family;
                (*entry).port = to.port;
                (*entry).remote = to.address;
            },
            _ => sock::remember(task, process, fd, to, emit::now()),
        }
    }
    entry(task, process, fd)
}

#[inline(always)]
fn message_out(task: Task, process: *const Process, fd: i32, at: u64) {
    let Some(message) = user::<Message>(at) else { return };
    let to = if message.name_len as u32 == 0 { 0 } else { message.name };
    if let Some(entry) = entry_to(task, process, fd, to) {
        vectors(task, entry, false, message.vectors, message.count, u64::MAX);
    }
}
