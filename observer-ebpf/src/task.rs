//! Who is running: the one look-up that reports an unobserved process.

use observer_common::{LOCAL_RESOLVERS, Process, Thread};
use zerocopy::FromBytes;

use crate::{PROCESSES, THREADS};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// A thread of an observed tree.
#[derive(Clone, Copy)]
pub struct Task {
    /// Process
    pub pid: u32,
    /// Thread
    pub tid: u32,
    /// Tree
    pub root: u32,
}

/// The current process and thread, observed or not.
#[inline(always)]
pub fn ids() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}

/// The current thread, whose tree is known to be `root`.
#[inline(always)]
pub fn of(root: u32) -> Task {
    let (pid, tid) = ids();
    Task { pid, tid, root }
}

/// The current thread when its process is observed.
#[inline(always)]
pub fn current() -> Option<(Task, *mut Process)> {
    current_or_local_resolver().filter(|(task, _)| task.root != LOCAL_RESOLVERS)
}

/// As [`current`], and of a stub resolver's process, whose tree is [`LOCAL_RESOLVERS`].
#[inline(always)]
pub fn current_or_local_resolver() -> Option<(Task, *mut Process)> {
    let (pid, tid) = ids();
    let process = PROCESSES.get_ptr_mut(&pid)?;
    // SAFETY: a value of the map.
    let root = unsafe { (*process).root };
    Some((Task { pid, tid, root }, process))
}

/// A stub resolver that ends, or becomes another program, is none any more.
#[inline(always)]
pub fn forget_local_resolver(pid: u32) {
    if let Some(process) = PROCESSES.get_ptr_mut(&pid)
        // SAFETY: a value of the map.
        && unsafe { (*process).root } == LOCAL_RESOLVERS
    {
        let _ = PROCESSES.remove(&pid);
    }
}

/// The current thread's entry when it is observed.
#[inline(always)]
pub fn thread() -> Option<(Task, *mut Thread)> {
    let (pid, tid) = ids();
    let thread = THREADS.get_ptr_mut(&tid)?;
    // SAFETY: a value of the map.
    let root = unsafe { (*thread).root };
    Some((Task { pid, tid, root }, thread))
}

/// A `T` at `base + offset` in kernel memory; zero when it cannot be
/// read. Without a branch on the outcome: each would double what the verifier has to look at.
#[inline(always)]
pub fn kernel<T: FromBytes>(base: u64, offset: u32) -> T {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: the helper writes `size_of::<T>()` bytes, zeros when it fails; `FromBytes`: any bytes are a `T`.
    unsafe {
        let from = (base + u64::from(offset)) as *const _;
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
    }
}

/// As [`kernel`] where this kernel has such a member, else `unknown`.
#[inline(always)]
pub fn member<T: FromBytes>(base: u64, offset: u32, unknown: T) -> T {
    if offset == observer_common::UNKNOWN32 { unknown } else { kernel(base, offset) }
}

/// A `T` at `at` in the current process's memory.
#[inline(always)]
pub fn user<T: FromBytes + Copy>(at: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { aya_ebpf::helpers::bpf_probe_read_user(at as *const T) }.ok()
}
