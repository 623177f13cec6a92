//! Waits for file locks (`flock`, which the go command uses).

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use observer_common::{Kind, LOCK_TAKEN, Lock};

use crate::task::{self, kernel};
use crate::{emit, offset};

/// `FILE_LOCK_DEFERRED`: the lock is held by another, the caller will sleep (include/linux/filelock.h).
const DEFERRED: i32 = 1;

/// `flock_lock_inode(inode, lock, result)`: the outcome of one try to take or release a lock.
#[raw_tracepoint(tracepoint = "flock_lock_inode")]
pub fn flock_lock_inode(ctx: RawTracePointContext) -> i32 {
    let Some((task, thread)) = task::thread() else { return 0 };
    let (inode, result): (u64, i32) = (ctx.arg(0), ctx.arg::<u64>(2) as i32);
    // SAFETY: a value of the map.
    let waits_for = unsafe { (*thread).lock_ino };
    if result != DEFERRED && waits_for == 0 {
        return 0;
    }
    let ino = kernel(inode, offset!(inode_ino));
    let dev = kernel(kernel(inode, offset!(inode_sb)), offset!(super_dev));
    let lock = Lock { ino, dev, pad: 0 };
    if result == DEFERRED && waits_for != ino {
        // SAFETY: a value of the map.
        unsafe { (*thread).lock_ino = ino };
        emit::event(Kind::Lock, 0, task, emit::now(), lock);
    } else if result != DEFERRED && waits_for == ino {
        // SAFETY: a value of the map.
        unsafe { (*thread).lock_ino = 0 };
        emit::event(Kind::Lock, LOCK_TAKEN, task, emit::now(), lock);
    }
    0
}
