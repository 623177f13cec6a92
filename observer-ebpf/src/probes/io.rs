//! System calls on descriptors: connects, DNS messages, the hellos of a TCP connection.
//!
//! Bytes are read from the caller's buffer: at the entry of a call that sends, at the exit of a
//! call that receives. The thread that receives may be another than the one that sent, so the
//! descriptor is the key.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use observer_common::{DATA_MAX, Kind, PAYLOAD_CLOSED, PAYLOAD_RECEIVED, PAYLOAD_TCP, Payload, Process};

use crate::fds::{self, Fd, FdKey, kind};
use crate::probes::sock;
use crate::task::{self, Task, user};
use crate::{FDS, emit};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Vectors and messages looked at in one call: a length and a message, two questions.
const PARTS_MAX: u64 = 4;

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

/// Size of a `struct mmsghdr`.
const MMSGHDR: u64 = 64;

/// Argument `n` of a `sys_enter_*` record; their layout is the same on every 64-bit kernel.
#[inline(always)]
fn arg(ctx: &TracePointContext, n: usize) -> u64 {
    // SAFETY: inside the record.
    unsafe { ctx.read_at::<u64>(16 + 8 * n) }.unwrap_or(0)
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

#[tracepoint]
pub fn sys_enter_connect(ctx: TracePointContext) -> u32 {
    let Some((task, thread)) = task::thread() else { return 0 };
    let Some((_, process)) = task::current() else { return 0 };
    let fd = arg(&ctx, 0) as i32;
    match address(arg(&ctx, 1)) {
        Some(to) => {
            // SAFETY: a value of the map.
            unsafe { (*thread).connecting = (fd + 1) as u32 };
            sock::remember(task, process, fd, to, emit::now());
        }
        None => {
            let _ = FDS.remove(FdKey::new(task, fd));
        }
    }
    0
}

#[inline(always)]
fn forget(ctx: &TracePointContext, n: usize) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    let fd = arg(ctx, n) as i32;
    let Some(entry) = fds::get(task, process, fd) else { return 0 };
    // SAFETY: a value of the map.
    if unsafe { matches!((*entry).kind, kind::DNS_UDP | kind::DNS_TCP) } {
        emit::event(Kind::Dns, PAYLOAD_CLOSED, task, emit::now(), payload(entry, 0));
    }
    let _ = FDS.remove(FdKey::new(task, fd));
    0
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

#[tracepoint]
pub fn sys_enter_close(ctx: TracePointContext) -> u32 {
    forget(&ctx, 0)
}

#[tracepoint]
pub fn sys_enter_dup2(ctx: TracePointContext) -> u32 {
    forget(&ctx, 1)
}

#[tracepoint]
pub fn sys_enter_dup3(ctx: TracePointContext) -> u32 {
    forget(&ctx, 1)
}

/// Sends the bytes of one buffer, as far as anybody wants them.
#[inline(always)]
fn bytes(task: Task, entry: *mut Fd, received: bool, from: u64, len: u64) {
    if len == 0 || from == 0 {
        return;
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
                    return;
                }
                Kind::Hello
            }
            _ => return,
        };
        let mut flags = if received { PAYLOAD_RECEIVED } else { 0 };
        if (*entry).kind != kind::DNS_UDP {
            flags |= PAYLOAD_TCP;
        }
        let copied = if len > DATA_MAX as u64 { DATA_MAX as u32 } else { len as u32 };
        emit::with_user(what, flags, task, emit::now(), payload(entry, len), from, copied);
    }
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
    if let Some(to) = address(to) {
        if to.port == 53 {
            sock::remember(task, process, fd, to, emit::now());
        }
    }
    entry(task, process, fd)
}

#[tracepoint]
pub fn sys_enter_write(ctx: TracePointContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    if let Some(entry) = entry(task, process, arg(&ctx, 0) as i32) {
        bytes(task, entry, false, arg(&ctx, 1), arg(&ctx, 2));
    }
    0
}

#[tracepoint]
pub fn sys_enter_writev(ctx: TracePointContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    if let Some(entry) = entry(task, process, arg(&ctx, 0) as i32) {
        vectors(task, entry, false, arg(&ctx, 1), arg(&ctx, 2), u64::MAX);
    }
    0
}

#[tracepoint]
pub fn sys_enter_sendto(ctx: TracePointContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    if let Some(entry) = entry_to(task, process, arg(&ctx, 0) as i32, arg(&ctx, 4)) {
        bytes(task, entry, false, arg(&ctx, 1), arg(&ctx, 2));
    }
    0
}

#[inline(always)]
fn message_out(task: Task, process: *const Process, fd: i32, at: u64) {
    let Some(message) = user::<Message>(at) else { return };
    let to = if message.name_len as u32 == 0 { 0 } else { message.name };
    if let Some(entry) = entry_to(task, process, fd, to) {
        vectors(task, entry, false, message.vectors, message.count, u64::MAX);
    }
}

#[tracepoint]
pub fn sys_enter_sendmsg(ctx: TracePointContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    message_out(task, process, arg(&ctx, 0) as i32, arg(&ctx, 1));
    0
}

#[tracepoint]
pub fn sys_enter_sendmmsg(ctx: TracePointContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    let (fd, at, count) = (arg(&ctx, 0) as i32, arg(&ctx, 1), arg(&ctx, 2) as u32);
    for n in 0..2 {
        if n < u64::from(count) {
            message_out(task, process, fd, at + n * MMSGHDR);
        }
    }
    0
}

/// Registers of the system call that returns: its arguments are still in them.
#[derive(Clone, Copy)]
struct Arguments {
    fd: i32,
    second: u64,
}

#[inline(always)]
fn arguments() -> Option<Arguments> {
    // SAFETY: helpers that return kernel pointers of the current task.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    #[cfg(bpf_target_arch = "x86_64")]
    let (first, second) = (
        core::mem::offset_of!(aya_ebpf::bindings::pt_regs, rdi),
        core::mem::offset_of!(aya_ebpf::bindings::pt_regs, rsi),
    );
    // arm64 keeps the first argument in orig_x0, behind regs[31], sp, pc and pstate.
    #[cfg(bpf_target_arch = "aarch64")]
    let (first, second) = (34 * 8, 8);
    let fd = task::kernel::<u64>(regs, first as u32)? as i32;
    Some(Arguments { fd, second: task::kernel(regs, second as u32)? })
}

/// What a receiving call on a descriptor of interest returned.
#[inline(always)]
fn returned(ctx: &TracePointContext) -> Option<(Task, *mut Fd, Arguments, u64)> {
    let (task, process) = task::current()?;
    // SAFETY: inside the record.
    let ret = unsafe { ctx.read_at::<i64>(16) }.ok()?;
    if ret <= 0 {
        return None;
    }
    let arguments = arguments()?;
    Some((task, entry(task, process, arguments.fd)?, arguments, ret as u64))
}

#[tracepoint]
pub fn sys_exit_read(ctx: TracePointContext) -> u32 {
    if let Some((task, entry, arguments, len)) = returned(&ctx) {
        bytes(task, entry, true, arguments.second, len);
    }
    0
}

#[tracepoint]
pub fn sys_exit_recvfrom(ctx: TracePointContext) -> u32 {
    if let Some((task, entry, arguments, len)) = returned(&ctx) {
        bytes(task, entry, true, arguments.second, len);
    }
    0
}

#[tracepoint]
pub fn sys_exit_readv(ctx: TracePointContext) -> u32 {
    if let Some((task, entry, arguments, len)) = returned(&ctx) {
        // The count is the third argument; an unfilled vector ends the walk as well.
        vectors(task, entry, true, arguments.second, PARTS_MAX, len);
    }
    0
}

#[tracepoint]
pub fn sys_exit_recvmsg(ctx: TracePointContext) -> u32 {
    if let Some((task, entry, arguments, len)) = returned(&ctx) {
        if let Some(message) = user::<Message>(arguments.second) {
            vectors(task, entry, true, message.vectors, message.count, len);
        }
    }
    0
}

#[tracepoint]
pub fn sys_exit_recvmmsg(ctx: TracePointContext) -> u32 {
    if let Some((task, entry, arguments, count)) = returned(&ctx) {
        for n in 0..2 {
            let at = arguments.second + n * MMSGHDR;
            let (Some(message), Some(len)) = (user::<Message>(at), user::<u32>(at + 56)) else { return 0 };
            if n < count {
                vectors(task, entry, true, message.vectors, message.count, u64::from(len));
            }
        }
    }
    0
}
