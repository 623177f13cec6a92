//! TCP connections of the observed processes: states, loss, resets, windows.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use observer_common::{
    Connected, FdKey, Ip, Kind, LOCAL_RESOLVERS, Lost, Mark, PreexistingSocket, SockMark, SockState,
    TCP_INFO_EVERY_NS, TcpInfo, TcpStats, UNKNOWN32, UNKNOWN64,
};

use crate::channels::{Sock, kind};
use crate::probes::{io, way};
use crate::syscall;
use crate::task::{Task, kernel, member};
use crate::{CHANNELS, CONNECTIONS, PREEXISTING, SOCKS, emit, offset, task};

/// `TCP_SYN_SENT` (include/net/tcp_states.h)
pub const SYN_SENT: u32 = 2;
/// `TCP_CLOSE`
pub const CLOSE: u32 = 7;
/// `TCP_LISTEN`
const LISTEN: u32 = 10;
const AF_INET: u16 = 2;

#[inline(always)]
fn stats(sk: u64) -> TcpStats {
    // The kernel keeps eight times the value (tcp_sock.srtt_us).
    let srtt = member(sk, offset!(tcp_srtt_us), UNKNOWN32);
    TcpStats {
        bytes_sent: member(sk, offset!(tcp_bytes_sent), UNKNOWN64),
        bytes_received: member(sk, offset!(tcp_bytes_received), UNKNOWN64),
        srtt_us: if offset!(tcp_srtt_us) == UNKNOWN32 { UNKNOWN32 } else { srtt >> 3 },
        retransmits: member(sk, offset!(tcp_total_retrans), UNKNOWN32),
        out_of_order: member(sk, offset!(tcp_rcv_ooopack), UNKNOWN32),
        snd_wnd: member(sk, offset!(tcp_snd_wnd), UNKNOWN32),
        rcv_wnd: member(sk, offset!(tcp_rcv_wnd), UNKNOWN32),
        duplicates: member(sk, offset!(tcp_dsack_dups), UNKNOWN32),
    }
}

#[inline(always)]
fn owner(sock: *const Sock) -> Task {
    // SAFETY: a value of the map.
    unsafe { Task { pid: (*sock).pid, tid: (*sock).tid, root: (*sock).root } }
}

/// The entry of a socket that is followed.
#[inline(always)]
fn followed(sk: u64) -> Option<*mut Sock> {
    SOCKS.get_ptr_mut(&sk).or_else(|| known(sk))
}

/// As [`followed`], when the agent found the socket and this is its first event. A cookie is never
/// used again, so it is that socket and no other.
#[inline(always)]
fn known(sk: u64) -> Option<*mut Sock> {
    let cookie = member::<u64>(sk, offset!(sock_cookie), 0);
    if cookie == 0 {
        return None;
    }
    let found = PREEXISTING.get_ptr(&cookie)?;
    // SAFETY: a value of the map.
    let PreexistingSocket { conn, process_ns, pid, root, fd, state } = unsafe { *found };
    let sock = Sock {
        conn,
        emitted_ns: 0,
        pid,
        tid: pid,
        root,
        fd,
        out_of_order: member(sk, offset!(tcp_rcv_ooopack), 0),
        zero: 0,
        state,
        pad: 0,
        segment_ns: 0,
    };
    if SOCKS.insert(&sk, &sock, 0).is_err() {
        emit::lost(Lost::Sockets);
    }
    let _ = PREEXISTING.remove(&cookie);
    if state == SYN_SENT {
        io::open(pid, process_ns, sk, io::peer(sk), kind::HELLO, conn);
    }
    SOCKS.get_ptr_mut(&sk)
}

/// `inet_sock_set_state(sk, old, new)`. SYN_SENT comes in the connecting thread, later states
/// wherever the packet was handled.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: RawTracePointContext) -> i32 {
    let (sk, old, new): (u64, u32, u32) = (ctx.arg(0), ctx.arg::<u64>(1) as u32, ctx.arg::<u64>(2) as u32);
    let now = emit::now();
    // Out of these a connection begins, and what is followed at its address is over.
    if old == CLOSE || old == LISTEN {
        over(sk, now);
    }
    if new == SYN_SENT {
        connecting(sk, now);
    }
    changed(sk, old, new, now, if new == CLOSE { way::error(old) } else { 0 });
    0
}

/// `tcp_destroy_sock(sk)`. A program that interrupts itself on a CPU is not run, so a `CLOSE` that
/// comes in a softirq may be missed: here it is reported after all.
#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
pub fn tcp_destroy_sock(ctx: RawTracePointContext) -> i32 {
    let sk: u64 = ctx.arg(0);
    if let Some(sock) = followed(sk) {
        // SAFETY: a value of the map.
        changed(sk, unsafe { (*sock).state }, CLOSE, emit::now(), 0);
    } else {
        way::closed(sk);
    }
    0
}

/// The error of a socket that ends, or of the call that ends it.
#[inline(always)]
fn error(sk: u64, within: u32) -> u32 {
    let error = member(sk, offset!(sock_err), 0);
    if error == 0 { within } else { error }
}

/// Reports the new state of a socket that is followed; `within`: the error of the call that changes it.
#[inline(always)]
fn changed(sk: u64, old: u32, new: u32, now: u64, within: u32) {
    let Some(sock) = followed(sk) else { return };
    let remote = io::peer(sk);
    let local = if remote.family == AF_INET {
        Ip::v4(kernel(sk, offset!(sock_rcv_saddr)))
    } else {
        member(sk, offset!(sock_v6_rcv_saddr), Ip::NONE)
    };
    // SAFETY: a value of the map.
    let (conn, fd) = unsafe {
        (*sock).state = new;
        ((*sock).conn, (*sock).fd)
    };
    let state = SockState {
        conn,
        fd,
        family: remote.family,
        local_port: kernel(sk, offset!(sock_num)),
        remote_port: remote.port,
        old: old as u8,
        new: new as u8,
        error: if new == CLOSE { error(sk, within) } else { 0 },
        local,
        remote: remote.address,
        stats: stats(sk),
    };
    emit::event(Kind::SockState, 0, owner(sock), now, state);
    if new == CLOSE {
        let _ = SOCKS.remove(&sk);
        let _ = CHANNELS.remove(&sk);
    }
}

/// Reports the end of a socket whose own end was missed twice, as where a kernel runs no programs in
/// softirqs that interrupt a certain task: now, when another socket begins at its address.
#[inline(always)]
fn over(sk: u64, now: u64) {
    let Some(sock) = SOCKS.get_ptr(&sk) else { return };
    // SAFETY: a value of the map.
    let (conn, fd, state) = unsafe { ((*sock).conn, (*sock).fd, (*sock).state) };
    let end = SockState {
        conn,
        fd,
        family: 0,
        local_port: 0,
        remote_port: 0,
        old: state as u8,
        new: CLOSE as u8,
        error: 0,
        local: Ip::NONE,
        remote: Ip::NONE,
        stats: TcpStats::UNKNOWN,
    };
    emit::event(Kind::SockState, 0, owner(sock), now, end);
    let _ = SOCKS.remove(&sk);
    let _ = CHANNELS.remove(&sk);
}

/// The number of a connection that begins now: two sockets cannot at the same nanosecond on the same CPU.
#[inline(always)]
pub fn number(now: u64) -> u64 {
    // SAFETY: a helper without arguments.
    let cpu = u64::from(unsafe { aya_ebpf::helpers::generated::bpf_get_smp_processor_id() });
    (now << 10) | (cpu & 0x3ff)
}

/// A process of a tree sends a SYN: the socket is followed from here on.
#[inline(always)]
fn connecting(sk: u64, now: u64) {
    let Some((task, process)) = task::current_or_local_resolver() else { return };
    let to = io::peer(sk);
    if task.root == LOCAL_RESOLVERS && to.port != io::DNS {
        return;
    }
    let fd = syscall::connecting().unwrap_or(-1);
    let conn = number(now);
    let sock = Sock {
        conn,
        emitted_ns: 0,
        pid: task.pid,
        tid: task.tid,
        root: task.root,
        fd,
        out_of_order: 0,
        zero: 0,
        state: SYN_SENT,
        pad: 0,
        segment_ns: 0,
    };
    way::exists(sk);
    if SOCKS.insert(&sk, &sock, 0).is_err() {
        return emit::lost(Lost::Sockets);
    }
    // SAFETY: a value of the map.
    let process_ns = unsafe { (*process).since_ns };
    let kind = if to.port == io::DNS { kind::DNS_TCP } else { kind::HELLO };
    io::open(task.pid, process_ns, sk, to, kind, conn);
    let key = FdKey { pid: task.pid, fd };
    if fd >= 0 && CONNECTIONS.insert(&key, &Connected { conn, process_ns }, 0).is_err() {
        emit::lost(Lost::Sockets);
    }
}

#[inline(always)]
fn mark(sk: u64, mark: Mark, state: u32) -> i32 {
    if let Some(sock) = followed(sk) {
        // SAFETY: a value of the map.
        let conn = unsafe { (*sock).conn };
        emit::event(Kind::SockMark, 0, owner(sock), emit::now(), SockMark { conn, mark: mark as u32, state });
    }
    0
}

/// `tcp_retransmit_skb(sk, skb)`; since Linux 6.17 with the error of a try that failed
#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
pub fn tcp_retransmit_skb(ctx: RawTracePointContext) -> i32 {
    let sk: u64 = ctx.arg(0);
    if offset!(retransmit_args) == 3 && ctx.arg::<u64>(2) as i32 != 0 {
        return 0;
    }
    let state = kernel::<u8>(sk, offset!(sock_state));
    mark(sk, Mark::Retransmit, u32::from(state))
}

/// `tcp_receive_reset(sk)`
#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: RawTracePointContext) -> i32 {
    let sk: u64 = ctx.arg(0);
    let state = kernel::<u8>(sk, offset!(sock_state));
    mark(sk, Mark::ResetReceived, u32::from(state))
}

/// `tcp_send_reset(sk, skb)`; the socket may be missing
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: RawTracePointContext) -> i32 {
    mark(ctx.arg(0), Mark::ResetSent, 0)
}

/// `tcp_probe(sk, skb)`: a segment came in
#[raw_tracepoint(tracepoint = "tcp_probe")]
pub fn tcp_probe(ctx: RawTracePointContext) -> i32 {
    let sk: u64 = ctx.arg(0);
    let Some(sock) = followed(sk) else { return 0 };
    let now = emit::now();
    let out_of_order = member::<u32>(sk, offset!(tcp_rcv_ooopack), 0);
    // The socket has the window of the segment before; this one's is in its header, at byte 14.
    let header = member::<u64>(ctx.arg::<u64>(1), offset!(skb_data), 0);
    let peer = header != 0 && kernel::<u16>(header, 14) == 0;
    let ours = member::<u32>(sk, offset!(tcp_rcv_wnd), 1) == 0;
    let zero = u32::from(peer) | u32::from(ours) << 1;
    // SAFETY: a value of the map; the socket's lock orders its segments.
    unsafe {
        // What closed our window is the segment before this one: it was answered with the window 0.
        let before = (*sock).segment_ns;
        let gap_ns = if before == 0 { UNKNOWN64 } else { now.saturating_sub(before) };
        (*sock).segment_ns = now;
        let news = zero != (*sock).zero || out_of_order != (*sock).out_of_order;
        if !news && now.saturating_sub((*sock).emitted_ns) < TCP_INFO_EVERY_NS {
            return 0;
        }
        (*sock).emitted_ns = now;
        (*sock).zero = zero;
        (*sock).out_of_order = out_of_order;
        let conn = (*sock).conn;
        let mut stats = stats(sk);
        stats.snd_wnd = if peer { 0 } else { stats.snd_wnd.max(1) };
        emit::event(Kind::TcpInfo, 0, owner(sock), now, TcpInfo { conn, gap_ns, stats });
    }
    0
}
