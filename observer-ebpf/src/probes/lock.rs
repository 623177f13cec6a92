//! Waits for file locks (`flock`, which the go command uses).

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use aya_ebpf::{EbpfContext as _, helpers::bpf_probe_read_kernel};
use observer_common::{Kind, LOCK_TAKEN, Lock};

use crate::{emit, offset, task};

/// `FILE_LOCK_DEFERRED`: the lock is held by another, the caller will sleep (include/linux/filelock.h).
const DEFERRED: i32 = 1;

/// `filelock:flock_lock_inode`: the outcome of one try to take or release a lock.
#[tracepoint]
pub fn flock_lock_inode(ctx: TracePointContext) -> u32 {
    let Some((task, thread)) = task::thread() else { return 0 };
    let record = ctx.as_ptr() as u64;
    let read = |offset: u32| (record + u64::from(offset)) as *const u8;
    // SAFETY: offsets inside this tracepoint's record, from its format; values of the map.
    unsafe {
        let Ok(ret) = bpf_probe_read_kernel::<i32>(read(offset!(flock_ret)).cast()) else { return 0 };
        if ret != DEFERRED && (*thread).lock_ino == 0 {
            return 0;
        }
        let Ok(ino) = bpf_probe_read_kernel::<u64>(read(offset!(flock_ino)).cast()) else { return 0 };
        let Ok(dev) = bpf_probe_read_kernel::<u32>(read(offset!(flock_dev)).cast()) else { return 0 };
        if ret == DEFERRED {
            if (*thread).lock_ino == ino {
                return 0; // woken and refused again: the same wait
            }
            (*thread).lock_ino = ino;
            emit::event(Kind::Lock, 0, task, emit::now(), Lock { ino, dev, pad: 0 });
        } else if ino == (*thread).lock_ino {
            (*thread).lock_ino = 0;
            emit::event(Kind::Lock, LOCK_TAKEN, task, emit::now(), Lock { ino, dev, pad: 0 });
        }
    }
    0
}
