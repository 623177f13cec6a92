//! Bytes that cross a socket: DNS messages, the hellos of a TCP connection and what a forward proxy is
//! asked for before them, HTTP/1 in plain text.
//!
//! The tracepoints name the socket and how much went through it; the bytes are read from the
//! caller's buffer, which the registers of its system call still name. The thread that receives
//! may be another than the one that sent, so the socket is the key.

use observer_common::{
    DATA_MAX, HELLO_CALLS_MAX, HELLO_MAX, Ip, Kind, Lost, Mark, PAYLOAD_AGENT, PAYLOAD_FAILED,
    PAYLOAD_RECEIVED, PAYLOAD_TCP, PAYLOAD_VARLINK, Payload, PreexistingSocket, Process, SockMark,
};
use zerocopy::FromBytes;

use crate::channels::{Channel, kind};
use crate::cursor::{self, Direction};
use crate::http1;
use crate::syscall::{arg, native, number, shape, shape_of, system_call};
use crate::task::{self, Task, kernel, member, user};
use crate::{CHANNELS, HANDLED, PREEXISTING, TWIN, constant, emit, offset};
use aya_ebpf::helpers::bpf_get_current_comm;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_loop};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `IPPROTO_UDP`
const UDP: u16 = 17;
/// Port of name servers.
pub const DNS: u16 = 53;
/// `MSG_PEEK`: the bytes will be received once more.
const PEEK: u64 = 2;
/// Vectors looked at in one call: two messages, each with its length (the C library's A and AAAA).
const PARTS_MAX: u64 = 4;

/// A socket address.
#[derive(Clone, Copy)]
pub struct Address {
    pub family: u16,
    /// Host order
    pub port: u16,
    pub address: Ip,
}

/// A `struct iovec`.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Vector {
    base: u64,
    len: u64,
}

/// A `struct msghdr`, as far as it matters.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Message {
    name: u64,
    name_len: u64,
    vectors: u64,
    count: u64,
}

/// Size of a `struct mmsghdr`.
const MMSGHDR: u64 = 64;

#[inline(always)]
pub fn address(at: u64) -> Option<Address> {
    if at == 0 {
        return None;
    }
    let family = user::<u16>(at)?;
    let port = u16::from_be(user::<u16>(at + 2)?);
    let address = match family {
        AF_INET => Ip::v4(user(at + 4)?),
        AF_INET6 => user(at + 8)?,
        _ => return None,
    };
    Some(Address { family, port, address })
}

/// The peer of a connected socket, from the socket itself.
#[inline(always)]
pub fn peer(sk: u64) -> Address {
    let family = kernel::<u16>(sk, offset!(sock_family));
    let port = u16::from_be(kernel(sk, offset!(sock_dport)));
    let address = if family == AF_INET {
        Ip::v4(kernel(sk, offset!(sock_daddr)))
    } else {
        member(sk, offset!(sock_v6_daddr), Ip::NONE)
    };
    Address { family, port, address }
}

/// `sock_send_length(sk, result, flags)` and `sock_recv_length`, the same (Linux 6.3): bytes went through a socket,
/// or none. One program for both, verified once: the system call says which way.
#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sock_length(ctx: RawTracePointContext) -> i32 {
    length(&ctx, false)
}

/// Runs behind [`sock_length`] at the same tracepoints, and handles what that was skipped for.
///
/// From Linux 7.0 on programs of raw tracepoints can be preempted, and while one is, the kernel skips it for every
/// other thread on that CPU. That both are skipped for a thread takes two that were preempted, one in each.
#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sock_length_twin(ctx: RawTracePointContext) -> i32 {
    length(&ctx, true)
}

#[inline(always)]
fn length(ctx: &RawTracePointContext, twin: bool) -> i32 {
    let result = ctx.arg::<u64>(1) as i32;
    // Most calls through which nothing goes are those that have nothing to read yet.
    if result < 0 && !FAILURES.contains(&result) || ctx.arg::<u64>(2) & PEEK != 0 {
        return 0;
    }
    let Some((task, process)) = task::current_or_local_resolver() else { return 0 };
    let Some((regs, number)) = system_call() else { return 0 };
    if twin {
        if HANDLED.remove(&task.tid).is_ok() {
            return 0;
        }
    } else if constant(&raw const TWIN) != 0 {
        // An LRU map has room.
        let _ = HANDLED.insert(&task.tid, &1, 0);
    }
    went(task, process, ctx.arg(0), regs, number, i64::from(result));
    0
}

/// What a call did: bytes went through its socket, or it failed.
#[inline(always)]
fn went(task: Task, process: *const Process, sk: u64, regs: u64, number: u64, result: i64) {
    let shape = shape_of(number);
    if shape == 0 {
    } else if result <= 0 {
        without_bytes(&task, process, sk, result as i32, (shape & shape::RECEIVES) as u32);
    } else {
        transfer(&Transfer { task, process, sk, regs, shape, len: result as u64 });
    }
}

/// `ECONNREFUSED`, `EHOSTUNREACH`, `ENETUNREACH`, `ECONNRESET`, `ETIMEDOUT` (include/uapi/asm-generic)
const FAILURES: [i32; 5] = [-111, -113, -101, -104, -110];

/// A call through which nothing went: the end of a connection in plain text, or a name server that is
/// not there.
#[inline(never)]
fn without_bytes(task: &Task, process: *const Process, sk: u64, result: i32, received: u32) -> u64 {
    let task = *task;
    if result == 0 && received == 0 {
        return 0;
    }
    let channel = channel(task.pid, process, sk);
    if channel.is_null() {
        return 0;
    }
    // SAFETY: a value of the map.
    unsafe {
        match (*channel).kind {
            kind::PLAIN if received != 0 => {
                if let Some(cursor) = cursor::get((*channel).conn, Direction::Received) {
                    cursor::end(cursor, task.root);
                }
            }
            kind::DNS_UDP if result < 0 => {
                let flags = PAYLOAD_FAILED | if received != 0 { PAYLOAD_RECEIVED } else { 0 };
                emit::made(Kind::Dns, flags, |to| {
                    payload(channel, result.unsigned_abs(), to);
                    (task, emit::now())
                });
            }
            _ => {}
        }
    }
    0
}

/// `sys_exit(regs, result)`, for kernels before 6.3: the socket is found by the descriptor.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let result = ctx.arg::<u64>(1) as i64;
    let regs: u64 = ctx.arg(0);
    // Most calls through which nothing goes are those that have nothing to read yet.
    if result < 0 && !FAILURES.contains(&(result as i32)) {
        return 0;
    }
    let Some((task, process)) = task::current_or_local_resolver() else { return 0 };
    if !native(regs) {
        return 0;
    }
    let Some(sk) = socket(arg(regs, 0)) else { return 0 };
    went(task, process, sk, regs, number(regs), result);
    0
}

/// The `struct sock` of a descriptor of the current process. What is no socket has another
/// private word, which no map knows.
#[inline(always)]
pub fn socket(fd: u64) -> Option<u64> {
    // SAFETY: a helper without arguments.
    let current = unsafe { bpf_get_current_task_btf() } as u64;
    let files = kernel::<u64>(current, offset!(task_files));
    let table = kernel::<u64>(files, offset!(files_fdt));
    if fd >= u64::from(kernel::<u32>(table, offset!(fdtable_max))) {
        return None;
    }
    let array = kernel::<u64>(table, offset!(fdtable_fd));
    let file = kernel::<u64>(array + fd * 8, 0);
    let inode = kernel::<u64>(file, offset!(file_inode));
    // `S_IFSOCK` (include/uapi/linux/stat.h)
    if kernel::<u16>(inode, offset!(inode_mode)) & 0o170_000 != 0o140_000 {
        return None;
    }
    Some(kernel(kernel(file, offset!(file_private)), offset!(socket_sk)))
}

/// What [`transfer`] is about.
#[repr(C)]
struct Transfer {
    task: Task,
    process: *const Process,
    sk: u64,
    regs: u64,
    /// Of the call: [`shape`]
    shape: u64,
    len: u64,
}

impl Transfer {
    #[inline(always)]
    fn is(&self, what: u64) -> bool {
        self.shape & what != 0
    }
}

/// Bytes went through a socket of an observed process.
#[inline(never)]
fn transfer(of: &Transfer) -> u64 {
    let mut channel = channel(of.task.pid, of.process, of.sk);
    if channel.is_null() {
        channel = if of.is(shape::RECEIVES) { known(of) } else { begins(of) };
        if channel.is_null() {
            return 0;
        }
    }
    // SAFETY: a value of the map.
    unsafe {
        if (*channel).kind == kind::QUIET {
            return 0;
        }
        if (*channel).kind == kind::AGENT {
            return asks_agent(of, channel);
        }
        if of.is(shape::SENDS) && (*channel).kind == kind::DNS_UDP {
            readdress(of, channel);
        }
    }
    let (mut at, mut count) = (arg(of.regs, 1), arg(of.regs, 2));
    let one = of.is(shape::BUFFER);
    if one {
        count = 1;
    } else if !of.is(shape::VECTORS) {
        if of.is(shape::MESSAGES) {
            at += turn(of, channel, count) * MMSGHDR;
        }
        let Some(message) = user::<Message>(at) else { return 0 };
        (at, count) = (message.vectors, message.count);
    }
    let mut parts = Parts { of, channel, at, left: of.len, one: u64::from(one) };
    // SAFETY: the callback and its state, as `bpf_loop` wants them.
    unsafe { bpf_loop(count.min(PARTS_MAX) as u32, part as *mut _, (&raw mut parts).cast(), 0) };
    0
}

/// What [`part`] is about.
#[repr(C)]
struct Parts<'a> {
    of: &'a Transfer,
    channel: *mut Channel,
    at: u64,
    left: u64,
    /// `at` is the only buffer, not a list of vectors
    one: u64,
}

/// One buffer of a call; 1 ends the loop. Verified once, whatever the call and the number of its vectors.
#[inline(never)]
extern "C" fn part(n: u64, state: *mut Parts<'_>) -> i64 {
    // SAFETY: the state on `transfer`'s stack.
    unsafe {
        let Parts { of, channel, at, left, one } = &mut *state;
        let mut vector = Vector { base: *at, len: *left };
        if *one == 0 {
            let Some(listed) = user::<Vector>(*at + n * 16) else { return 1 };
            vector = Vector { base: listed.base, len: listed.len.min(*left) };
        }
        *left -= vector.len;
        bytes(of, *channel, vector.base, vector.len);
        i64::from(*left == 0)
    }
}

/// Which message of several a call is at: the kernel handles one at a time, the channel counts.
#[inline(always)]
fn turn(of: &Transfer, channel: *mut Channel, count: u64) -> u64 {
    // SAFETY: a value of the map.
    unsafe {
        let turn = if of.is(shape::SENDS) { &raw mut (*channel).sends } else { &raw mut (*channel).receives };
        let n = if u64::from(*turn) < count { *turn } else { 0 };
        *turn = n.wrapping_add(1);
        u64::from(n)
    }
}

/// The channel of a socket, unless it is a former socket's at the same address; null when there is none.
#[inline(never)]
fn channel(pid: u32, process: *const Process, sk: u64) -> *mut Channel {
    let none = core::ptr::null_mut();
    let Some(channel) = CHANNELS.get_ptr_mut(&sk) else { return none };
    // SAFETY: values of the maps.
    unsafe {
        if (*channel).pid != pid || (*channel).process_ns != (*process).since_ns {
            return none;
        }
        if (*channel).kind == kind::DNS_UDP {
            // The kernel may have given a closed socket's place to another one of that process.
            let to = peer(sk);
            if to.port != 0 {
                if to.port != DNS {
                    return none;
                }
                ((*channel).family, (*channel).port, (*channel).remote) = (to.family, to.port, to.address);
            }
        }
    }
    channel
}

/// What is sent may make a channel of its socket; null when it does not. A function of its own, as those below
/// are: the stack of all that is called in turn is 512 bytes, and this is not under what copies bytes.
#[inline(never)]
fn begins(of: &Transfer) -> *mut Channel {
    name_server(of).unwrap_or(core::ptr::null_mut())
}

/// A datagram to a name server makes a channel of its socket.
#[inline(always)]
fn name_server(of: &Transfer) -> Option<*mut Channel> {
    if kernel::<u16>(of.sk, offset!(sock_family)) == AF_UNIX {
        return if of.len == LENGTH { agent(of) } else { resolved(of) };
    }
    if kernel::<u16>(of.sk, offset!(sock_protocol)) & 0xff != UDP {
        return None;
    }
    let connected = peer(of.sk);
    let to = if connected.port != 0 { connected } else { named(of)? };
    if to.port != DNS {
        return None;
    }
    // SAFETY: a value of the map.
    open(of.task.pid, unsafe { (*of.process).since_ns }, of.sk, to, kind::DNS_UDP, 0);
    CHANNELS.get_ptr_mut(&of.sk)
}

/// Bytes of the length in front of each message to an ssh agent, which OpenSSH writes by themselves.
const LENGTH: u64 = 4;
/// The kernel's name of OpenSSH's client, up to its NUL.
const SSH: &[u8] = b"ssh\0";

/// What ssh writes to its agent makes a channel of its unix socket.
#[inline(always)]
fn agent(of: &Transfer) -> Option<*mut Channel> {
    let comm = bpf_get_current_comm().ok()?;
    let is_ssh = comm[0] == SSH[0] && comm[1] == SSH[1] && comm[2] == SSH[2] && comm[3] == SSH[3];
    // Messages of an agent's are shorter than 64 kB.
    if !is_ssh || !of.is(shape::BUFFER) || user::<[u8; 2]>(arg(of.regs, 1))? != [0, 0] {
        return None;
    }
    let nowhere = Address { family: AF_UNIX, port: 0, address: Ip::NONE };
    // SAFETY: a value of the map.
    open(of.task.pid, unsafe { (*of.process).since_ns }, of.sk, nowhere, kind::AGENT, 0);
    CHANNELS.get_ptr_mut(&of.sk)
}

/// The first bytes of a message to an agent or from it: that they went is all that is sent on.
#[inline(never)]
unsafe fn asks_agent(of: &Transfer, channel: *mut Channel) -> u64 {
    let received = of.is(shape::RECEIVES);
    // SAFETY: the caller's map value.
    unsafe {
        // `sends`: it was asked and has not answered.
        if ((*channel).sends == 0) == received {
            return 0;
        }
        (*channel).sends = u16::from(!received);
    }
    let flags = PAYLOAD_AGENT | if received { PAYLOAD_RECEIVED } else { 0 };
    emit::made(Kind::Dns, flags, |to| {
        // SAFETY: the caller's map value, and the place of the body.
        unsafe { payload(channel, 0, to) };
        (of.task, emit::now())
    });
    0
}

/// How a call of systemd-resolved begins (Varlink; its interface is `io.systemd.Resolve`).
const CALL: &[u8; 19] = b"{\"method\":\"io.syste";

/// A call of systemd-resolved makes a channel of its unix socket.
#[inline(always)]
fn resolved(of: &Transfer) -> Option<*mut Channel> {
    let at = arg(of.regs, 1);
    let from = if of.is(shape::BUFFER) { at } else { user::<Vector>(user::<Message>(at)?.vectors)?.base };
    if user::<[u8; 19]>(from)? != *CALL {
        return None;
    }
    let nowhere = Address { family: AF_UNIX, port: 0, address: Ip::NONE };
    // SAFETY: a value of the map.
    open(of.task.pid, unsafe { (*of.process).since_ns }, of.sk, nowhere, kind::VARLINK, 0);
    CHANNELS.get_ptr_mut(&of.sk)
}

/// Whether bytes of that unix socket are a call's, or the reply's to it. Another socket may have its place by
/// now: what is sent has to begin as a call does, and nothing is received that was not asked for.
#[inline(never)]
unsafe fn is_call(channel: *mut Channel, received: u32, from: u64, len: u64) -> u64 {
    // SAFETY: the caller's map value.
    unsafe {
        if received == 0 {
            let asks = user::<[u8; 19]>(from).is_some_and(|first| first == *CALL);
            (*channel).sends = u16::from(asks);
            return u64::from(asks);
        }
        let asked = (*channel).sends != 0;
        // The NUL that ends a message.
        if user::<u8>(from + len - 1) == Some(0) {
            (*channel).sends = 0;
        }
        u64::from(asked)
    }
}

/// A datagram from a name server, on a socket that the agent found connected to it; null when it is none.
#[inline(never)]
fn known(of: &Transfer) -> *mut Channel {
    preexisting(of).unwrap_or(core::ptr::null_mut())
}

#[inline(always)]
fn preexisting(of: &Transfer) -> Option<*mut Channel> {
    let cookie = member::<u64>(of.sk, offset!(sock_cookie), 0);
    if cookie == 0 {
        return None;
    }
    let found = PREEXISTING.get_ptr(&cookie)?;
    // SAFETY: a value of the map.
    let PreexistingSocket { conn, process_ns, pid, .. } = unsafe { *found };
    if conn != 0 || pid != of.task.pid {
        return None;
    }
    open(pid, process_ns, of.sk, peer(of.sk), kind::DNS_UDP, 0);
    let _ = PREEXISTING.remove(&cookie);
    CHANNELS.get_ptr_mut(&of.sk)
}

/// The address that a call names.
#[inline(always)]
fn named(of: &Transfer) -> Option<Address> {
    if of.is(shape::TO) {
        return address(arg(of.regs, 4));
    }
    if of.is(shape::BUFFER | shape::VECTORS) {
        return None;
    }
    let message = user::<Message>(arg(of.regs, 1))?;
    if message.name_len as u32 == 0 { None } else { address(message.name) }
}

/// A socket's bytes matter from now on.
#[inline(always)]
pub fn open(pid: u32, process_ns: u64, sk: u64, to: Address, kind: u32, conn: u64) {
    let channel = Channel {
        kind,
        pid,
        conn,
        process_ns,
        remote: to.address,
        generation: emit::now() as u32,
        family: to.family,
        port: to.port,
        sent: 0,
        received: 0,
        sends: 0,
        receives: 0,
    };
    if CHANNELS.insert(&sk, &channel, 0).is_err() {
        emit::lost(Lost::Sockets);
    }
}

/// Where a call that names an address sends to: a resolver asks several servers on one socket.
#[inline(never)]
fn readdress(of: &Transfer, channel: *mut Channel) -> u64 {
    if let Some(to) = named(of) {
        // SAFETY: a value of the map.
        unsafe { ((*channel).family, (*channel).port, (*channel).remote) = (to.family, to.port, to.address) };
    }
    0
}

/// Bytes of one buffer.
#[inline(always)]
fn bytes(of: &Transfer, channel: *mut Channel, from: u64, len: u64) {
    // SAFETY: a value of the map.
    unsafe {
        if of.is(shape::SENDS) {
            io_sends(channel, from, len);
        }
        if (*channel).kind == kind::PLAIN {
            plain(of, channel, from, len);
        } else {
            io_copy(channel, of.task.root, u32::from(of.is(shape::RECEIVES)), from, len);
        }
    }
}

/// Bytes of a connection that speaks HTTP/1 in plain text.
#[inline(always)]
unsafe fn plain(of: &Transfer, channel: *mut Channel, from: u64, len: u64) {
    let direction = if of.is(shape::RECEIVES) { Direction::Received } else { Direction::Sent };
    // SAFETY: the caller's map value.
    unsafe {
        // What comes back first is an alert or a handshake of TLS (RFC 8446, 5.1) where the port expects that.
        if of.is(shape::RECEIVES) && (*channel).received == 0 {
            (*channel).received = 1;
            if matches!(user::<[u8; 2]>(from), Some([21 | 22, 3])) {
                let mark = SockMark { conn: (*channel).conn, mark: Mark::AnsweredInTls as u32, state: 0 };
                emit::event(Kind::SockMark, 0, of.task, emit::now(), mark);
            }
        }
        if let Some(cursor) = cursor::get((*channel).conn, direction) {
            cursor::step_plain(cursor, of.task.root, from, len);
        }
    }
}

/// What a TCP connection is for, by what its process sends: the first bytes, and where a forward proxy was
/// asked first, those that begin a TLS handshake through it.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn io_sends(channel: *mut Channel, from: u64, len: u64) -> u64 {
    if channel.is_null() {
        return 0;
    }
    // SAFETY: the caller's map value.
    unsafe {
        let begins = (*channel).kind == kind::HELLO && (*channel).sends == 0;
        if !begins && (*channel).kind != kind::TUNNEL || len < 4 && !begins {
            return 0;
        }
        let Some(first) = user::<[u8; 4]>(from) else { return 0 };
        if !begins {
            // A handshake record of TLS (RFC 8446, 5.1), and that is looked at whole.
            if first[0] == 22 && first[1] == 3 {
                (*channel).kind = kind::HELLO;
                ((*channel).sent, (*channel).received) = (0, 0);
                ((*channel).sends, (*channel).receives) = (0, 0);
            } else if first == *b"CONN" {
                // Asked once more, with credentials: the answer to this one counts.
                ((*channel).sent, (*channel).received) = (0, 0);
            } else if http1::is_method(&first) {
                (*channel).kind = kind::PLAIN;
                cursor::begin_plain((*channel).conn);
            }
        } else if first[0] == 5 && len < 258 || first == *b"CONN" {
            (*channel).kind = kind::TUNNEL;
        } else if http1::is_method(&first) {
            (*channel).kind = kind::PLAIN;
            cursor::begin_plain((*channel).conn);
        }
    }
    0
}

/// Writes the head of an event about a socket's bytes in its place: it is not to lie on the stack.
#[inline(always)]
unsafe fn payload(channel: *const Channel, len: u32, to: *mut Payload) {
    // SAFETY: the caller's map value, and the place of the body in a reserved record.
    unsafe {
        (*to).conn = (*channel).conn;
        (*to).len = len;
        (*to).generation = (*channel).generation;
        (*to).family = (*channel).family;
        (*to).remote_port = (*channel).port;
        (*to).pad = 0;
        (*to).remote = (*channel).remote;
    }
}

/// Sends the bytes of one buffer, as far as anybody wants them. A global function: the verifier looks at it
/// once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn io_copy(channel: *mut Channel, root: u32, received: u32, from: u64, len: u64) -> u64 {
    if channel.is_null() || len == 0 || from == 0 {
        return 0;
    }
    let received = received != 0;
    // SAFETY: a value of the map; counters of a channel need not be exact.
    unsafe {
        let varlink = (*channel).kind == kind::VARLINK;
        if varlink && is_call(channel, u32::from(received), from, len) == 0 {
            return 0;
        }
        let tcp = !matches!((*channel).kind, kind::DNS_UDP | kind::VARLINK);
        let what = if matches!((*channel).kind, kind::HELLO | kind::TUNNEL) {
            if io_wants_hello(channel, u32::from(received), len as u32) == 0 {
                return 0;
            }
            Kind::Hello
        } else {
            Kind::Dns
        };
        let mut flags = if received { PAYLOAD_RECEIVED } else { 0 };
        if tcp {
            flags |= PAYLOAD_TCP;
        }
        if varlink {
            flags |= PAYLOAD_VARLINK;
        }
        let copied = if len > DATA_MAX as u64 { DATA_MAX as u32 } else { len as u32 };
        emit::with_user(what, flags, from, copied, |to| {
            payload(channel, len as u32, to);
            (task::of(root), emit::now())
        });
    }
    0
}

/// 1 when a hello may still be coming in that direction; counts the call.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn io_wants_hello(channel: *mut Channel, received: u32, len: u32) -> u64 {
    if channel.is_null() {
        return 0;
    }
    let received = received != 0;
    // SAFETY: the caller's map value.
    unsafe {
        let (bytes, calls) = if received {
            (&raw mut (*channel).received, &raw mut (*channel).receives)
        } else {
            (&raw mut (*channel).sent, &raw mut (*channel).sends)
        };
        // What a forward proxy answers curl (git's) reads byte by byte, and ssh a server's greeting.
        let few = (*channel).kind == kind::TUNNEL || *calls < u16::from(HELLO_CALLS_MAX);
        let wanted = *bytes < HELLO_MAX && few;
        *bytes = (*bytes).saturating_add(len);
        *calls = (*calls).saturating_add(u16::from(len > 1));
        let done = |bytes: u32, calls: u16| bytes >= HELLO_MAX || calls >= u16::from(HELLO_CALLS_MAX);
        if (*channel).kind == kind::HELLO
            && done((*channel).sent, (*channel).sends)
            && done((*channel).received, (*channel).receives)
        {
            (*channel).kind = kind::QUIET;
        }
        u64::from(wanted)
    }
}
