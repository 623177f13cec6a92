//! Where and with what a go command began: its environment, control group, working folder and mount
//! namespace, read as it begins. Where this kernel lacks a member, that is not known.

use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_loop};
use observer_common::{Began, DATA_MAX, ENVIRON_MAX, Kind};

use crate::task::{Task, kernel, member};
use crate::{emit, offset, task};

/// What each part is reported with.
#[repr(C)]
struct Report {
    began: Began,
    task: Task,
    now: u64,
    environ: u64,
}

/// Reports it of the current process, whose `task_struct` this is. Nothing is reported when the environment is too
/// long. A function of its own: its caller's stack is full.
#[inline(never)]
pub fn report(root: u32, now: u64, current: u64) -> u64 {
    let mm = kernel::<u64>(current, offset!(task_mm));
    let environ = member::<u64>(mm, offset!(mm_env_start), 0);
    let len = member::<u64>(mm, offset!(mm_env_end), 0).saturating_sub(environ);
    if len == 0 || len > ENVIRON_MAX as u64 {
        return 0;
    }
    let fs = member::<u64>(current, offset!(task_fs), 0);
    let pwd = fs + u64::from(offset!(fs_pwd));
    let top = fs + u64::from(offset!(fs_root));
    let top = member(member(top, offset!(path_dentry), 0), offset!(dentry_inode), 0);
    let cwd: u64 = member(member(pwd, offset!(path_dentry), 0), offset!(dentry_inode), 0);
    let mounts = member::<u64>(member(current, offset!(task_nsproxy), 0), offset!(nsproxy_mounts), 0);
    let began = Began {
        // SAFETY: a helper without arguments.
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        cwd_ino: member(cwd, offset!(inode_ino), 0),
        cwd_dev: member(member(cwd, offset!(inode_sb), 0), offset!(super_dev), 0),
        mounts: member(mounts + u64::from(offset!(mounts_ns)), offset!(ns_inum), 0),
        root_ino: member(top, offset!(inode_ino), 0),
        cpus: member(current, offset!(task_cpus), 0),
        len: len as u32,
        at: 0,
        pad: 0,
    };
    let mut report = Report { began, task: task::of(root), now, environ };
    let parts = len.div_ceil(DATA_MAX as u64) as u32;
    // SAFETY: the callback and its state, as `bpf_loop` wants them.
    unsafe { bpf_loop(parts, part as *mut _, (&raw mut report).cast(), 0) };
    0
}

/// One part of the environment; 1 ends the loop. Verified once, whatever their number.
#[inline(never)]
extern "C" fn part(n: u64, state: *mut Report) -> i64 {
    // SAFETY: the state on `report`'s stack.
    let Report { began, task, now, environ } = unsafe { &*state };
    let at = n as u32 * DATA_MAX as u32;
    let from = environ + u64::from(at);
    let sent = emit::with_user(Kind::Began, 0, from, began.len - at, |to: *mut Began| {
        // SAFETY: the place of the body in a reserved record.
        unsafe {
            to.write(*began);
            (*to).at = at;
        }
        (*task, *now)
    });
    i64::from(!sent)
}
