//! Connects that fail at once: of a socket that sends no SYN no tracepoint of TCP's says anything.
//!
//! A route is looked up in the connecting thread, before the socket changes its state: there is the address,
//! and what became of the look-up. A SYN says that there is a way; a socket that is closed without one had none.
//! What forbids a connect before its route is looked up (seccomp, Landlock, a program of a control group's)
//! is not seen. What fails behind the route does so with a state of its own; only why is looked for here.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use observer_common::{Ip, Kind, LOCAL_RESOLVERS, SockState, TcpStats};

use crate::channels::Attempt;
use crate::probes::{io, sock};
use crate::syscall::{self, call};
use crate::task::{self, kernel, member};
use crate::{ATTEMPTS, emit, offset};

/// `IPPROTO_TCP`
const TCP: u16 = 6;
/// `EACCES`, `EINVAL`, `EADDRNOTAVAIL`, `ENETUNREACH`, `EHOSTUNREACH`, `EAGAIN` (include/uapi/asm-generic)
const EACCES: u32 = 13;
const EINVAL: u32 = 22;
const EADDRNOTAVAIL: u32 = 99;
const ENETUNREACH: u32 = 101;
const EHOSTUNREACH: u32 = 113;
const EAGAIN: u32 = 11;
/// Types of routes (include/uapi/linux/rtnetlink.h).
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;

/// `fib_table_lookup(table, flow, next hop, error)`: a route was looked up in one of the tables
#[raw_tracepoint(tracepoint = "fib_table_lookup")]
pub fn fib_table_lookup(ctx: RawTracePointContext) -> i32 {
    let error = (ctx.arg::<u64>(3) as i32).unsigned_abs();
    // Not in this table: in the last one, nowhere.
    route(if error == EAGAIN { ENETUNREACH } else { error })
}

/// `fib6_table_lookup(net, result, table, flow)`
#[raw_tracepoint(tracepoint = "fib6_table_lookup")]
pub fn fib6_table_lookup(ctx: RawTracePointContext) -> i32 {
    let result: u64 = ctx.arg(1);
    route(match member::<u8>(result, offset!(fib6_type), 0) {
        RTN_BLACKHOLE => EINVAL,
        RTN_PROHIBIT => EACCES,
        // What stands for no route at all has the largest metric.
        RTN_UNREACHABLE if metric(result) == u32::MAX => ENETUNREACH,
        RTN_UNREACHABLE => EHOSTUNREACH,
        _ => 0,
    })
}

/// The metric of the route that was found.
#[inline(always)]
fn metric(result: u64) -> u32 {
    member(member(result, offset!(fib6_info), 0), offset!(fib6_metric), u32::MAX)
}

/// The current thread looked for a way, mostly not of a `connect`.
#[inline(always)]
fn route(error: u32) -> i32 {
    let Some((task, _)) = task::current() else { return 0 };
    let Some((regs, call::CONNECT)) = syscall::system_call() else { return 0 };
    let fd = syscall::arg(regs, 0);
    let Some(sk) = io::socket(fd) else { return 0 };
    // Once a SYN is on its way the kernel looks for the route again, with the ports.
    let closed = u32::from(kernel::<u8>(sk, offset!(sock_state))) == sock::CLOSE;
    if kernel::<u16>(sk, offset!(sock_protocol)) & 0xff != TCP || !closed {
        return 0;
    }
    let Some(to) = io::address(syscall::arg(regs, 1)) else { return 0 };
    let attempt = Attempt {
        at_ns: emit::now(),
        remote: to.address,
        family: to.family,
        port: to.port,
        fd: fd as i32,
        pid: task.pid,
        error,
        pad: 0,
    };
    let _ = ATTEMPTS.insert(&sk, &attempt, 0);
    0
}

/// A SYN was sent.
#[inline(always)]
pub fn exists(sk: u64) {
    let _ = ATTEMPTS.remove(&sk);
}

/// Why a socket is closed within a call. What fails behind the route (no local port or address is left) does so
/// within the connect, and leaves no error on the socket.
#[inline(always)]
pub fn error(old: u32) -> u32 {
    if old == sock::SYN_SENT && syscall::connecting().is_some() { EADDRNOTAVAIL } else { 0 }
}

/// A socket that sent no SYN is closed: a connection that failed, when it was to be one.
#[inline(always)]
pub fn closed(sk: u64) {
    let Some(attempt) = ATTEMPTS.get_ptr(&sk) else { return };
    // SAFETY: a value of the map.
    let Attempt { at_ns, remote, family, port, fd, pid, error, .. } = unsafe { *attempt };
    let _ = ATTEMPTS.remove(&sk);
    let Some((task, _)) = task::current() else { return };
    if task.pid != pid || task.root == LOCAL_RESOLVERS {
        return;
    }
    let mut state = SockState {
        conn: sock::number(at_ns),
        fd,
        family,
        local_port: 0,
        remote_port: port,
        old: sock::CLOSE as u8,
        new: sock::SYN_SENT as u8,
        error: 0,
        local: Ip::NONE,
        remote,
        stats: TcpStats::UNKNOWN,
    };
    emit::event(Kind::SockState, 0, task, at_ns, state);
    (state.old, state.new) = (state.new, sock::CLOSE as u8);
    // There was a route, but no address of this machine's to go there from.
    state.error = if error == 0 { EADDRNOTAVAIL } else { error };
    emit::event(Kind::SockState, 0, task, emit::now(), state);
}
