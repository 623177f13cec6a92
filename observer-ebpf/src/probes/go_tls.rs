//! Go's crypto/tls: the handshake, Write and Read.
//!
//! Never a uretprobe: Go moves stacks. Entries are probed behind the stack check where the plan
//! found one, results at each RET. A call is keyed by its goroutine, which lives in a register.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use observer_common::{FdKey, HANDSHAKE_END, Handshake, Kind, Lost, Process};

use crate::task::{Task, user};
use crate::walk::{self, Direction};
use crate::{CALLS, CONNECTIONS, emit, task};

/// A call of a goroutine.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CallKey {
    pub goroutine: u64,
    pub pid: u32,
    pub what: u32,
}

/// Its arguments.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Call {
    pub tls: u64,
    pub buffer: u64,
}

const HANDSHAKE: u32 = 1;
const READ: u32 = 2;

/// The registers of Go's ABI (ABIInternal) that matter here.
struct Registers {
    first: u64,
    second: u64,
    third: u64,
    goroutine: u64,
}

#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn registers(ctx: &ProbeContext) -> Registers {
    // SAFETY: the program's context.
    let regs = unsafe { &*ctx.regs };
    Registers { first: regs.rax, second: regs.rbx, third: regs.rcx, goroutine: regs.r14 }
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn registers(ctx: &ProbeContext) -> Registers {
    // SAFETY: the program's context; the kernel's user_pt_regs.
    let regs = unsafe { &*ctx.regs.cast::<aya_ebpf::bindings::user_pt_regs>() };
    Registers { first: regs.regs[0], second: regs.regs[1], third: regs.regs[2], goroutine: regs.regs[28] }
}

/// The descriptor of a `tls.Conn` and the connection it is: the data word of its `net.Conn`
/// points to a `net.TCPConn`, whose first word is a `*netFD`; `Sysfd` lies 16 bytes into it.
#[inline(always)]
fn socket(task: Task, process: *const Process, tls: u64) -> (i32, u64) {
    let fd = user::<u64>(tls + 8).and_then(user::<u64>).and_then(|net_fd| user::<i64>(net_fd + 16));
    let Some(fd) = fd.filter(|fd| (0..1 << 20).contains(fd)) else { return (-1, 0) };
    let conn = match CONNECTIONS.get_ptr(FdKey { pid: task.pid, fd: fd as i32 }) {
        // SAFETY: values of the maps.
        Some(of) if unsafe { (*of).process_ns == (*process).since_ns } => unsafe { (*of).conn },
        _ => 0,
    };
    (fd as i32, conn)
}

#[uprobe]
pub fn handshake_enter(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    let regs = registers(&ctx);
    let tls = regs.first;
    let (fd, conn) = socket(task, process, tls);
    walk::begin(task, tls, conn);
    let key = CallKey { goroutine: regs.goroutine, pid: task.pid, what: HANDSHAKE };
    if CALLS.insert(key, Call { tls, buffer: conn }, 0).is_err() {
        emit::lost(Lost::Streams);
    }
    emit::event(Kind::Handshake, 0, task, emit::now(), Handshake { tls, conn, fd, failed: 0 });
    0
}

#[uprobe]
pub fn handshake_return(ctx: ProbeContext) -> u32 {
    let Some((task, _)) = task::current() else { return 0 };
    let regs = registers(&ctx);
    let key = CallKey { goroutine: regs.goroutine, pid: task.pid, what: HANDSHAKE };
    let Some(call) = CALLS.get_ptr_mut(key) else { return 0 };
    // SAFETY: a value of the map.
    let call = unsafe { *call };
    let _ = CALLS.remove(key);
    // The result is an error: its type word is nil when there is none.
    let failed = u32::from(regs.first != 0);
    let handshake = Handshake { tls: call.tls, conn: call.buffer, fd: -1, failed };
    emit::event(Kind::Handshake, HANDSHAKE_END, task, emit::now(), handshake);
    0
}

#[uprobe]
pub fn write_enter(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    let regs = registers(&ctx);
    if let Some(state) = walk::get(task, regs.first, Direction::Sent) {
        walk::step(task, state, regs.first, Direction::Sent, regs.second, regs.third);
    } else {
        let (_, conn) = socket(task, process, regs.first);
        walk::joined_late(task, regs.first, conn);
    }
    0
}

#[uprobe]
pub fn read_enter(ctx: ProbeContext) -> u32 {
    let Some((task, _)) = task::current() else { return 0 };
    let regs = registers(&ctx);
    let key = CallKey { goroutine: regs.goroutine, pid: task.pid, what: READ };
    if CALLS.insert(key, Call { tls: regs.first, buffer: regs.second }, 0).is_err() {
        emit::lost(Lost::Streams);
    }
    0
}

#[uprobe]
pub fn read_return(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    let regs = registers(&ctx);
    let key = CallKey { goroutine: regs.goroutine, pid: task.pid, what: READ };
    let Some(call) = CALLS.get_ptr_mut(key) else { return 0 };
    // SAFETY: a value of the map.
    let call = unsafe { *call };
    let _ = CALLS.remove(key);
    let n = regs.first as i64;
    let Some(state) = walk::get(task, call.tls, Direction::Received) else {
        if n > 0 {
            let (_, conn) = socket(task, process, call.tls);
            walk::joined_late(task, call.tls, conn);
        }
        return 0;
    };
    if n > 0 {
        walk::step(task, state, call.tls, Direction::Received, call.buffer, n as u64);
    }
    // The type word of an error; it may come with the last bytes.
    if regs.second != 0 {
        walk::end(task, state, call.tls);
    }
    0
}
