//! Go's crypto/tls: the handshake, Write and Read.
//!
//! Never a uretprobe: Go moves stacks. Entries are probed behind the stack check where the plan
//! found one. What was received is seen where a record is decrypted (`record_read`); in code of another
//! form at the entry and each RET of Read, a call keyed by its goroutine, which lives in a register.
//!
//! A program here can be preempted, and another task run it on the same CPU meanwhile. From Linux 6.13
//! on a function with 64 bytes of stack and more (a multiple of 16) has them in a place of the program's
//! and the CPU's, so the two would overwrite each other's, and the kernel dies of it. So no function
//! that runs here has more than 48: what is large is written where it goes, and a walk hands on one
//! pointer. `tests/tests/programs.rs` measures them. Programs of raw tracepoints may have more: the
//! kernel does not run one where it runs already.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use observer_common::{FdKey, HANDSHAKE_END, Handshake, Kind, Lost, Process};

use crate::cursor::{self, Direction};
use crate::task::{Task, user};
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
/// A Read inside a Read: of the connection to a forward proxy that is spoken to over TLS itself
const READ_INSIDE: u32 = 3;

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

/// The descriptor of a `tls.Conn`, -1 when it has none: the data word of its `net.Conn` points to a
/// `net.TCPConn`, whose first word is a `*netFD`; `Sysfd` lies 16 bytes into it.
#[inline(never)]
fn descriptor(tls: u64) -> i32 {
    let fd = user::<u64>(tls + 8).and_then(user::<u64>).and_then(|net_fd| user::<i64>(net_fd + 16));
    fd.filter(|fd| (0..1 << 20).contains(fd)).unwrap_or(-1) as i32
}

/// The connection's number that is behind a descriptor, 0 when it is not known.
#[inline(never)]
fn connection(process: *const Process, fd: i32) -> u64 {
    let (pid, _) = task::ids();
    match CONNECTIONS.get_ptr(&FdKey { pid, fd }) {
        // SAFETY: values of the maps.
        Some(of) if unsafe { (*of).process_ns == (*process).since_ns } => unsafe { (*of).conn },
        _ => 0,
    }
}

/// A call begins.
#[inline(never)]
fn called(goroutine: u64, what: u32, tls: u64, buffer: u64) -> u64 {
    let (pid, _) = task::ids();
    if CALLS.insert(&CallKey { goroutine, pid, what }, &Call { tls, buffer }, 0).is_err() {
        emit::lost(Lost::Streams);
    }
    0
}

/// The number of the TCP connection below a `tls.Conn`, 0 when it is not known. One that lies inside
/// another (through a forward proxy that is spoken to over TLS) has that one's.
#[inline(never)]
fn below(process: *const Process, tls: u64) -> u64 {
    let conn = connection(process, descriptor(tls));
    if conn != 0 {
        return conn;
    }
    match user::<u64>(tls + 8).and_then(|outer| cursor::get(outer, Direction::Sent)) {
        // SAFETY: a value of the map.
        Some(outer) => unsafe { (*outer).conn },
        None => 0,
    }
}

/// What the registers hold where the plain text of a record is known: the results of
/// `(*halfConn).decrypt`, the plain text in a slice, the record's type, an error; and the stack.
struct Record {
    plain: u64,
    len: u64,
    kind: u8,
    failed: bool,
    stack: u64,
}

#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn record(ctx: &ProbeContext) -> Record {
    // SAFETY: the program's context.
    let regs = unsafe { &*ctx.regs };
    let (kind, failed) = (regs.rdi as u8, regs.rsi != 0);
    Record { plain: regs.rax, len: regs.rbx, kind, failed, stack: regs.rsp }
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn record(ctx: &ProbeContext) -> Record {
    // SAFETY: the program's context; the kernel's user_pt_regs.
    let regs = unsafe { &*ctx.regs.cast::<aya_ebpf::bindings::user_pt_regs>() };
    let [plain, len, _, kind, error, ..] = regs.regs;
    Record { plain, len, kind: kind as u8, failed: error != 0, stack: regs.sp }
}

/// Types of TLS records (RFC 8446, 5.1), and the alert that ends what a peer sends (6.1).
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const CLOSE_NOTIFY: u8 = 0;

/// A connection of which nothing is known yet.
#[inline(never)]
fn joined_late(root: u32, process: *const Process, tls: u64) -> u64 {
    cursor::joined_late(root, tls, below(process, tls))
}

#[uprobe(multi)]
pub fn handshake_enter(ctx: ProbeContext) -> u32 {
    let Some((Task { root, .. }, process)) = task::current() else { return 0 };
    let Registers { first: tls, goroutine, .. } = registers(&ctx);
    let fd = descriptor(tls);
    let conn = below(process, tls);
    cursor::begin(tls, conn);
    called(goroutine, HANDSHAKE, tls, conn);
    emit::event(Kind::Handshake, 0, task::of(root), emit::now(), Handshake { tls, conn, fd, failed: 0 });
    0
}

#[uprobe(multi)]
pub fn handshake_return(ctx: ProbeContext) -> u32 {
    let Some((task, _)) = task::current() else { return 0 };
    let regs = registers(&ctx);
    let key = CallKey { goroutine: regs.goroutine, pid: task.pid, what: HANDSHAKE };
    let Some(call) = CALLS.get_ptr_mut(&key) else { return 0 };
    // SAFETY: a value of the map.
    let Call { tls, buffer: conn } = unsafe { *call };
    let _ = CALLS.remove(&key);
    // The result is an error: its type word is nil when there is none.
    let failed = u32::from(regs.first != 0);
    emit::made(Kind::Handshake, HANDSHAKE_END, |to: *mut Handshake| {
        // SAFETY: the place of the body in a reserved record.
        unsafe { to.write(Handshake { tls, conn, fd: -1, failed }) };
        (task, emit::now())
    });
    0
}

#[uprobe(multi)]
pub fn write_enter(ctx: ProbeContext) -> u32 {
    let Some((Task { root, .. }, process)) = task::current() else { return 0 };
    let Registers { first: tls, second: buffer, third: len, .. } = registers(&ctx);
    if let Some(cursor) = cursor::get(tls, Direction::Sent) {
        cursor::step(cursor, root, buffer, len);
    } else {
        joined_late(root, process, tls);
    }
    0
}

/// A record was decrypted. The cookie says where from the stack pointer its connection lies.
#[uprobe(multi)]
pub fn record_read(ctx: ProbeContext) -> u32 {
    let Some((_, process)) = task::current() else { return 0 };
    let Record { plain, len, kind, failed, stack } = record(&ctx);
    if failed || len == 0 {
        return 0;
    }
    // SAFETY: the program's context.
    let place = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let Some(tls) = user::<u64>(stack + place) else { return 0 };
    if kind == APPLICATION_DATA {
        returned(process, tls, plain, len as i64, false);
    } else if kind == ALERT && user::<[u8; 2]>(plain).is_some_and(|alert| alert[1] == CLOSE_NOTIFY) {
        over(process, tls);
    }
    0
}

/// `(*Conn).Close`: nothing is received any more. Called for each connection that has failed, too.
#[uprobe(multi)]
pub fn close_enter(ctx: ProbeContext) -> u32 {
    let Some((_, process)) = task::current() else { return 0 };
    over(process, registers(&ctx).first);
    0
}

/// The peer sends nothing any more on a connection.
#[inline(never)]
fn over(process: *const Process, tls: u64) -> u64 {
    if let Some(cursor) = cursor::get(tls, Direction::Received) {
        // SAFETY: values of the maps.
        unsafe {
            cursor::end(cursor, (*process).root);
            (*cursor).mode = cursor::mode::OTHER;
        }
    }
    0
}

#[uprobe(multi)]
pub fn read_enter(ctx: ProbeContext) -> u32 {
    if task::current().is_some() {
        let Registers { first: tls, second: buffer, goroutine, .. } = registers(&ctx);
        reads(goroutine, tls, buffer);
    }
    0
}

/// A Read begins, or is begun anew (an entry is passed twice when the stack grows). One that lies in
/// another's is kept beside it; what is left of calls whose end was missed gives way.
#[inline(never)]
fn reads(goroutine: u64, tls: u64, buffer: u64) -> u64 {
    let (pid, _) = task::ids();
    let inside = CallKey { goroutine, pid, what: READ_INSIDE };
    let outer = CALLS.get_ptr(&CallKey { goroutine, pid, what: READ });
    // SAFETY: values of the map.
    let other = outer.is_some_and(|call| unsafe { (*call).tls } != tls);
    if other && CALLS.get_ptr(&inside).is_none_or(|call| unsafe { (*call).tls } == tls) {
        return called(goroutine, READ_INSIDE, tls, buffer);
    }
    let _ = CALLS.remove(&inside);
    called(goroutine, READ, tls, buffer)
}

#[uprobe(multi)]
pub fn read_return(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    let regs = registers(&ctx);
    let mut key = CallKey { goroutine: regs.goroutine, pid: task.pid, what: READ_INSIDE };
    let mut call = CALLS.get_ptr(&key);
    if call.is_none() {
        key.what = READ;
        call = CALLS.get_ptr(&key);
    }
    let Some(call) = call else { return 0 };
    // SAFETY: a value of the map.
    let Call { tls, buffer } = unsafe { *call };
    let _ = CALLS.remove(&key);
    // Of a result and an error (its type word) either may be there, or both.
    returned(process, tls, buffer, regs.first as i64, regs.second != 0);
    0
}

/// `n` bytes were received in `buffer`, an error, or both.
#[inline(never)]
fn returned(process: *const Process, tls: u64, buffer: u64, n: i64, error: bool) -> u64 {
    // SAFETY: a value of the map.
    let root = unsafe { (*process).root };
    let Some(cursor) = cursor::get(tls, Direction::Received) else {
        if n > 0 {
            joined_late(root, process, tls);
        }
        return 0;
    };
    if n > 0 {
        cursor::step(cursor, root, buffer, n as u64);
    }
    if error {
        cursor::end(cursor, root);
    }
    0
}
