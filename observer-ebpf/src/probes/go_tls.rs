//! Go's crypto/tls: the handshake, Write and Read.
//!
//! Never a uretprobe: Go moves stacks. Entries are probed behind the stack check where the plan
//! found one, on arm64 at its jump. What was received is seen where a record is decrypted; in code of another
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
#[cfg(bpf_target_arch = "aarch64")]
use observer_common::AT_STACK_CHECK;
use observer_common::{
    FdKey, HANDSHAKE_ALERT, HANDSHAKE_END, Handshake, Kind, Lost, PLACE_CLOSE, PLACE_HANDSHAKE, PLACE_READ,
    PLACE_READ_RETURN, PLACE_RECORD, PLACE_WRITE, Process,
};

use crate::cursor::{self, Cursor, Direction};
use crate::task::user;
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

/// Whether the stack grows, and the function begins anew behind that: the stack check's jump is taken. Its
/// conditions are the flags of the comparison before it (`BLS`: no carry, or zero).
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn begins_anew(ctx: &ProbeContext) -> bool {
    const ZERO: u64 = 1 << 30;
    const CARRY: u64 = 1 << 29;
    // SAFETY: the program's context; the kernel's user_pt_regs.
    let state = unsafe { (*ctx.regs.cast::<aya_ebpf::bindings::user_pt_regs>()).pstate };
    state & (ZERO | CARRY) != CARRY
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
fn called(goroutine: u64, what: u32, tls: u64, buffer: u64) -> u32 {
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

/// One direction of a connection, which is joined where nothing is known of it yet; null without bytes of one.
#[inline(never)]
fn joined(process: *const Process, tls: u64, direction: Direction, len: u64) -> *mut Cursor {
    if len > 0 && cursor::get(tls, direction).is_none() {
        cursor::joined_late(tls, below(process, tls));
    }
    cursor::get(tls, direction).unwrap_or(core::ptr::null_mut())
}

/// One program for all places: its walk over what is sent and received is verified once, and the places of
/// a binary are one link. The cookie says which place it is (`PLACE_*`), and in its lower half where from the
/// stack pointer a record's connection lies.
#[uprobe(multi)]
pub fn go_tls(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = task::current() else { return 0 };
    // SAFETY: the program's context.
    let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let place = (cookie >> 32) as u32;
    #[cfg(bpf_target_arch = "aarch64")]
    if cookie & u64::from(AT_STACK_CHECK) != 0 && begins_anew(&ctx) {
        return 0;
    }
    let Registers { first, second, third, goroutine } = registers(&ctx);
    let (tls, direction, buffer, len);
    match place {
        PLACE_WRITE => (tls, direction, buffer, len) = (first, Direction::Sent, second, third),
        PLACE_RECORD => {
            let record = record(&ctx);
            if record.failed || record.len == 0 {
                return 0;
            }
            let Some(connection) = user::<u64>(record.stack + (cookie & 0xffff_ffff)) else { return 0 };
            if record.kind == ALERT {
                return alert(process, connection, record.plain);
            }
            if record.kind != APPLICATION_DATA {
                return 0;
            }
            (tls, direction, buffer, len) = (connection, Direction::Received, record.plain, record.len);
        }
        PLACE_READ_RETURN => {
            let Some(call) = read(goroutine) else { return 0 };
            (tls, buffer) = (call.tls, call.buffer);
            (direction, len) = (Direction::Received, first.cast_signed().max(0) as u64);
        }
        PLACE_READ => return reads(goroutine, first, second),
        PLACE_CLOSE => return over(process, first),
        PLACE_HANDSHAKE => return handshake(process, task.root, first, goroutine),
        _ => return handshaken(task.root, goroutine, first != 0),
    }
    let cursor = joined(process, tls, direction, len);
    if !cursor.is_null() {
        cursor::step(cursor, task.root, buffer, len);
        // Of a Read's result and error (its type word) either may be there, or both.
        if place == PLACE_READ_RETURN && second != 0 {
            cursor::end(cursor, task.root);
        }
    }
    0
}

/// A client's handshake begins: both directions are fresh.
#[inline(never)]
fn handshake(process: *const Process, root: u32, tls: u64, goroutine: u64) -> u32 {
    let fd = descriptor(tls);
    let conn = below(process, tls);
    cursor::begin(tls, conn);
    called(goroutine, HANDSHAKE, tls, conn);
    emit::event(Kind::Handshake, 0, task::of(root), emit::now(), Handshake { tls, conn, fd, failed: 0 });
    0
}

/// A client's handshake is over.
#[inline(never)]
fn handshaken(root: u32, goroutine: u64, failed: bool) -> u32 {
    let task = task::of(root);
    let key = CallKey { goroutine, pid: task.pid, what: HANDSHAKE };
    let Some(call) = CALLS.get_ptr_mut(&key) else { return 0 };
    // SAFETY: a value of the map.
    let Call { tls, buffer: conn } = unsafe { *call };
    let _ = CALLS.remove(&key);
    let failed = u32::from(failed);
    emit::made(Kind::Handshake, HANDSHAKE_END, |to: *mut Handshake| {
        // SAFETY: the place of the body in a reserved record.
        unsafe { to.write(Handshake { tls, conn, fd: -1, failed }) };
        (task, emit::now())
    });
    0
}

/// An alert was received; the one that closes ends what the peer sends.
#[inline(never)]
fn alert(process: *const Process, tls: u64, plain: u64) -> u32 {
    let Some([_, description]) = user::<[u8; 2]>(plain) else { return 0 };
    if description == CLOSE_NOTIFY {
        return over(process, tls);
    }
    let Some(cursor) = cursor::get(tls, Direction::Received) else { return 0 };
    emit::made(Kind::Handshake, HANDSHAKE_ALERT, |to: *mut Handshake| {
        // SAFETY: values of the maps, and the place of the body in a reserved record.
        unsafe {
            to.write(Handshake { tls, conn: (*cursor).conn, fd: -1, failed: u32::from(description) });
            (task::of((*process).root), emit::now())
        }
    });
    0
}

/// The peer sends nothing any more on a connection, or nobody reads it.
#[inline(never)]
fn over(process: *const Process, tls: u64) -> u32 {
    if let Some(cursor) = cursor::get(tls, Direction::Received) {
        // SAFETY: values of the maps.
        unsafe {
            cursor::end(cursor, (*process).root);
            (*cursor).mode = cursor::mode::OTHER;
        }
    }
    0
}

/// A Read begins, or is begun anew (an entry is passed twice when the stack grows). One that lies in
/// another's is kept beside it; what is left of calls whose end was missed gives way.
#[inline(never)]
fn reads(goroutine: u64, tls: u64, buffer: u64) -> u32 {
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

/// The call of Read that returns, the innermost first; it is over with that.
#[inline(always)]
fn read(goroutine: u64) -> Option<Call> {
    let (pid, _) = task::ids();
    let mut key = CallKey { goroutine, pid, what: READ_INSIDE };
    let mut call = CALLS.get_ptr(&key);
    if call.is_none() {
        key.what = READ;
        call = CALLS.get_ptr(&key);
    }
    // SAFETY: a value of the map.
    let call = unsafe { *call? };
    let _ = CALLS.remove(&key);
    Some(call)
}
