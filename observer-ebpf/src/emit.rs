//! The only writer of the ring. Every event that does not fit is counted.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use observer_common::{Header, Kind, Lost, RING_WAKE_BYTES};

use crate::task::Task;
use crate::{LOST, RING, atomic};

/// `bpf_probe_read_user` (include/uapi/linux/bpf.h)
const BPF_FUNC_PROBE_READ_USER: u32 = 112;
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;

/// An event as it lies in the ring, with room for `N` bytes of variable part.
#[repr(C)]
pub struct Record<T, const N: usize> {
    header: Header,
    body: T,
    data: [u8; N],
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Counts an event that is lost; debug builds say it as well.
#[inline(always)]
pub fn lost(why: Lost) {
    #[cfg(feature = "log")]
    say(why as u32);
    if let Some(counter) = LOST.get_ptr_mut(why as u32) {
        // SAFETY: a value of this map; a program of another kind may interrupt on this CPU.
        unsafe { atomic::add(counter, 1) };
    }
}

/// A function of its own: its code is verified once a program, not at each call.
#[cfg(feature = "log")]
#[inline(never)]
fn say(why: u32) -> u32 {
    aya_log_ebpf::warn!(&Nowhere, "an event is lost, cause {}", why);
    why
}

/// The logging macros want a context, and use nothing of it.
#[cfg(feature = "log")]
struct Nowhere;

#[cfg(feature = "log")]
impl aya_ebpf::EbpfContext for Nowhere {
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        core::ptr::null_mut()
    }
}

#[inline(always)]
fn header(kind: Kind, flags: u16, task: Task, at_ns: u64, data: u32) -> Header {
    Header { kind: kind as u16, flags, pid: task.pid, tid: task.tid, root: task.root, at_ns, data, pad: 0 }
}

/// The worker looks every few milliseconds by itself; it is woken only for what cannot wait.
#[inline(always)]
fn wake(urgent: bool) -> u64 {
    if urgent || RING.query(0) >= RING_WAKE_BYTES { FORCE_WAKEUP } else { NO_WAKEUP }
}

/// Sends an event without a variable part.
#[inline(always)]
pub fn event<T: 'static>(kind: Kind, flags: u16, task: Task, at_ns: u64, body: T) {
    emit(kind, flags, false, whole(task, at_ns, body));
}

/// As [`event`]; the body is written in its place, so that it never lies on the stack. `make` does
/// that, and says whose the event is and when it was.
#[inline(always)]
pub fn made<T: 'static>(kind: Kind, flags: u16, make: impl FnOnce(*mut T) -> (Task, u64)) {
    emit(kind, flags, false, make);
}

/// Sends an event and wakes the worker.
#[inline(always)]
pub fn urgent<T: 'static>(kind: Kind, flags: u16, task: Task, at_ns: u64, body: T) {
    emit(kind, flags, true, whole(task, at_ns, body));
}

#[inline(always)]
fn emit<T: 'static>(kind: Kind, flags: u16, urgent: bool, make: impl FnOnce(*mut T) -> (Task, u64)) {
    let Some(mut record) = RING.reserve::<Record<T, 0>>(0) else {
        return lost(Lost::Ring);
    };
    let at: *mut Record<T, 0> = MaybeUninit::as_mut_ptr(&mut record);
    // SAFETY: the reserved record.
    unsafe {
        let (task, at_ns) = make(&raw mut (*at).body);
        (&raw mut (*at).header).write(header(kind, flags, task, at_ns, 0));
    }
    record.submit(wake(urgent));
}

/// A body that is there already.
#[inline(always)]
pub fn whole<T>(task: Task, at_ns: u64, body: T) -> impl FnOnce(*mut T) -> (Task, u64) {
    move |to| {
        // SAFETY: the place of the body in a reserved record.
        unsafe { to.write(body) };
        (task, at_ns)
    }
}

/// Sends an event with `len` bytes of user memory at `from`, at most 4096. A record's size must
/// be known to the verifier, so the smaller of two is taken. False when it was lost.
#[inline(always)]
pub fn with_user<T: 'static>(
    kind: Kind,
    flags: u16,
    from: u64,
    len: u32,
    make: impl FnOnce(*mut T) -> (Task, u64),
) -> bool {
    if len <= 512 {
        sized::<T, 512>(kind, flags, from, len, make)
    } else {
        sized::<T, 4096>(kind, flags, from, len, make)
    }
}

#[inline(always)]
fn sized<T: 'static, const N: usize>(
    kind: Kind,
    flags: u16,
    from: u64,
    len: u32,
    make: impl FnOnce(*mut T) -> (Task, u64),
) -> bool {
    let len = if len as usize > N { N as u32 } else { len };
    let Some(mut record) = RING.reserve::<Record<T, N>>(0) else {
        lost(Lost::Ring);
        return false;
    };
    let at: *mut Record<T, N> = MaybeUninit::as_mut_ptr(&mut record);
    // SAFETY: `at` is the reserved record, and all that is written to lies in it.
    let read = unsafe {
        let (task, at_ns) = make(&raw mut (*at).body);
        (&raw mut (*at).header).write(header(kind, flags, task, at_ns, len));
        read_user(&raw mut (*at).data, len, from)
    };
    if read != 0 {
        record.discard(NO_WAKEUP);
        lost(Lost::Memory);
        return false;
    }
    record.submit(wake(matches!(kind, Kind::Exec)));
    true
}

/// Reads `len` bytes of user memory at `from`, `N` at most; 0 when it could. Every read whose length
/// is not a constant goes through here.
///
/// The bound and the call are one block, of assembly. Compiled code tests one copy of a length and
/// passes another that it loaded from the stack or moved as 32 bits, and Linux 6.1 then no longer
/// knows the bound: "R2 unbounded memory access".
#[inline(always)]
unsafe fn read_user<const N: usize>(to: *mut [u8; N], len: u32, from: u64) -> i64 {
    let failed: i64;
    // SAFETY: the helper writes `len` bytes, at most the `N` that the caller's pointer leads to, and
    // checks the address that it reads from.
    unsafe {
        core::arch::asm!(
            "if r2 <= {max} goto +1",
            "r2 = {max}",
            "call {helper}",
            max = const N,
            helper = const BPF_FUNC_PROBE_READ_USER,
            inlateout("r1") to => _,
            inlateout("r2") u64::from(len) => _,
            inlateout("r3") from => _,
            lateout("r0") failed,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
    failed
}
