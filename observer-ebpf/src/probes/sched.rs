//! The process tree and what its threads do.
//!
//! A thread has one entry with its state; a tree has one packed count of its threads by state.
//! Only a state that changes moves the count, so wake-ups of running threads (which the kernel
//! reports too) cannot make it drift.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_uid_gid};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use observer_common::{
    ARGS_MAX, EXEC_ROOT, EXIT_ROOT, Exec, Exit, Fork, IDLE_MIN_NS, Interval, Kind, LOCAL_RESOLVERS, Lost,
    PROCESS_HELD, Process, ProgramKey, SINCE_SHIFT, THREAD_GONE, Thread, ThreadState, Tree, TreeTimes,
    UNKNOWN32, is_containers_resolver,
};

use crate::began;
use crate::task::{Task, kernel};
use crate::{
    ALL_GO_UID, FOLLOW_GO, NEXT_TREE, PROCESSES, PROGRAMS, SERVICES, THREADS, TREES, atomic, emit, offset,
    task,
};

/// `BPF_NOEXIST`: insert only what is not there.
const NOEXIST: u64 = 1;
/// Bits of `prev_state` that mean uninterruptible sleep (`TASK_UNINTERRUPTIBLE`).
const UNINTERRUPTIBLE: u32 = 2;
/// `TASK_NOLOAD`: together with the former it is `TASK_IDLE`, which waits for no disk.
const NOLOAD: u32 = 0x400;

/// Adds `delta` to the tree's count; when that changes what the tree does, closes the account of
/// what it did before.
#[inline(always)]
fn shift(task: Task, delta: u64, now: u64) {
    if delta != 0 {
        account(task.pid, task.tid, task.root, delta, now);
    }
}

/// As [`shift`], and with a `delta` of 0 closes the account in any case. Another CPU may change
/// the count between the look and the swap: then its state is looked at again.
///
/// A global function: the verifier looks at it once a program, not once a call.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn account(pid: u32, tid: u32, root: u32, delta: u64, now: u64) -> u64 {
    let Some(tree) = TREES.get_ptr_mut(&root) else { return 0 };
    // SAFETY: a value of the map; its members are changed atomically only.
    unsafe {
        let old = atomic::add(&raw mut (*tree).threads, delta);
        if delta != 0 && ThreadState::of_tree(old) == ThreadState::of_tree(old.wrapping_add(delta)) {
            return 0;
        }
        for _ in 0..2 {
            let state = ThreadState::of_tree(core::ptr::read_volatile(&raw const (*tree).threads));
            let word = atomic::swap(&raw mut (*tree).since, now << SINCE_SHIFT | state as u64);
            book(Task { pid, tid, root }, tree, word, now);
            if state == ThreadState::of_tree(core::ptr::read_volatile(&raw const (*tree).threads)) {
                break;
            }
        }
    }
    0
}

/// Books the time since `word` to the state it holds.
#[inline(always)]
unsafe fn book(task: Task, tree: *mut Tree, word: u64, now: u64) {
    let since = word >> SINCE_SHIFT;
    if now <= since {
        return;
    }
    let spent = now - since;
    let asleep = word & 3 == ThreadState::Asleep as u64;
    let idle = asleep && spent >= IDLE_MIN_NS;
    // `TreeTimes` has them in the order of the states, the idle time last. A gap too short to report
    // belongs to the work around it.
    let account = if asleep && !idle { 0 } else { (word.wrapping_sub(1) & 3) as usize };
    // SAFETY: the caller's map value, whose four accounts lie behind one another.
    unsafe {
        atomic::add((&raw mut (*tree).times).cast::<u64>().add(account), spent);
        if idle {
            let times = (*tree).times;
            emit::event(Kind::Interval, 0, task, now, Interval { start_ns: since, end_ns: now, times });
        }
    }
}

/// Moves a thread to a state.
#[inline(always)]
fn set(tid: u32, state: ThreadState, now: u64) {
    let Some(thread) = THREADS.get_ptr_mut(&tid) else { return };
    // SAFETY: a value of the map; the run queue's lock orders a thread's changes.
    unsafe {
        let old = (*thread).state;
        if old == state as u32 || (old == ThreadState::Running as u32 && state == ThreadState::Ready) {
            return; // a wake-up of a thread that runs
        }
        if old == ThreadState::Running as u32 {
            (*thread).cpu_ns += now.saturating_sub((*thread).on_cpu_ns);
        }
        if state == ThreadState::Running {
            (*thread).on_cpu_ns = now;
        }
        (*thread).state = state as u32;
        let task = Task { pid: (*thread).pid, tid, root: (*thread).root };
        shift(task, state.weight().wrapping_sub(weight(old)), now);
    }
}

/// [`ThreadState::weight`] of a state as the map holds it, with one branch.
#[inline(always)]
fn weight(state: u32) -> u64 {
    if state == 0 { 0 } else { 1 << (21 * (state.wrapping_sub(1) & 3)) }
}

/// `sched_switch(preempt, prev, next, prev_state)`
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn sched_switch(ctx: RawTracePointContext) -> i32 {
    let (preempted, prev, next, prev_state): (u64, u64, u64, u64) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    let now = emit::now();
    // The next one first: a tree that goes on on another thread was never idle.
    set(kernel(next, offset!(task_pid)), ThreadState::Running, now);
    let tid: u32 = kernel(prev, offset!(task_pid));
    if let Some(thread) = THREADS.get_ptr_mut(&tid) {
        let prev_state = prev_state as u32;
        let state = if preempted & 0xff != 0 || prev_state == 0 {
            ThreadState::Ready
        } else if prev_state & UNINTERRUPTIBLE != 0 && prev_state & NOLOAD == 0 {
            ThreadState::Disk
        } else {
            ThreadState::Asleep
        };
        leave_cpu(thread, tid, state, now);
    }
    0
}

/// As [`set`], but from a CPU to any state, ready included.
#[inline(always)]
fn leave_cpu(thread: *mut Thread, tid: u32, state: ThreadState, now: u64) {
    // SAFETY: a value of the map.
    unsafe {
        let old = (*thread).state;
        if old == ThreadState::Running as u32 {
            (*thread).cpu_ns += now.saturating_sub((*thread).on_cpu_ns);
        }
        (*thread).state = state as u32;
        let task = Task { pid: (*thread).pid, tid, root: (*thread).root };
        shift(task, state.weight().wrapping_sub(weight(old)), now);
    }
}

/// `sched_wakeup(task)` and `sched_wakeup_new(task)`
#[raw_tracepoint(tracepoint = "sched_wakeup")]
pub fn sched_wakeup(ctx: RawTracePointContext) -> i32 {
    set(kernel(ctx.arg::<u64>(0), offset!(task_pid)), ThreadState::Ready, emit::now());
    0
}

/// `sched_process_fork(parent, child)`: a thread or a process
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn sched_process_fork(ctx: RawTracePointContext) -> i32 {
    let service = SERVICES.get_ptr(&task::ids().0);
    let task = match service {
        // SAFETY: a value of the map.
        Some(root) => task::of(unsafe { *root }),
        None => match task::current_or_local_resolver() {
            Some((task, _)) => task,
            None => return 0,
        },
    };
    let child: u64 = ctx.arg(1);
    let (tid, pid): (u32, u32) = (kernel(child, offset!(task_pid)), kernel(child, offset!(task_tgid)));
    if service.is_some() && pid == task.pid {
        return 0; // a thread of the service's own
    }
    let now = emit::now();
    if pid != task.pid {
        let process = Process { root: task.root, flags: 0, since_ns: now, threads: 0, cpu_ns: 0 };
        if PROCESSES.insert(&pid, &process, 0).is_err() {
            emit::lost(Lost::Tasks);
            return 0;
        }
        emit::event(Kind::Fork, 0, task, now, Fork { child: pid, pad: 0 });
    }
    if task.root == LOCAL_RESOLVERS {
        return 0; // what its threads do is nobody's
    }
    let Some(process) = PROCESSES.get_ptr_mut(&pid) else { return 0 };
    let thread = Thread { root: task.root, pid, ..EMPTY };
    if THREADS.insert(&tid, &thread, 0).is_err() {
        emit::lost(Lost::Tasks);
        if pid != task.pid {
            // Nothing would report its end, and the next process of that number be taken for it.
            let _ = PROCESSES.remove(&pid);
        }
    } else {
        // SAFETY: a value of the map.
        unsafe { atomic::add(&raw mut (*process).threads, 1) };
    }
    0
}

const EMPTY: Thread = Thread { root: 0, pid: 0, state: 0, pad: 0, lock_ino: 0, on_cpu_ns: 0, cpu_ns: 0 };

/// `sched_process_exec(task, old_pid, bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let (pid, tid) = task::ids();
    let now = emit::now();
    let Ok(comm) = bpf_get_current_comm() else { return 0 };
    let mut flags = 0;
    task::forget_local_resolver(pid);
    let root = if let Some(process) = PROCESSES.get_ptr_mut(&pid) {
        // SAFETY: a value of the map.
        unsafe {
            let root = (*process).root;
            (*process).since_ns = now;
            rekey(ctx.arg::<u64>(1) as u32, tid, pid, root, now);
            if (*process).flags & PROCESS_HELD != 0 {
                (*process).flags &= !PROCESS_HELD;
                flags = EXEC_ROOT;
                begin(root, now);
            }
            root
        }
    } else {
        if crate::constant(&raw const FOLLOW_GO) == 0 {
            return 0;
        }
        let is_go = comm[0] == b'g' && comm[1] == b'o' && comm[2] == 0;
        if is_containers_resolver(&comm) {
            if local_resolver(pid, now) != 0 {
                return 0;
            }
            LOCAL_RESOLVERS
        } else {
            match if is_go { Known::Followed } else { known(ctx.arg(2), now) } {
                Known::Followed => {
                    let root = adopt(pid, tid, now);
                    if root == 0 {
                        return 0;
                    }
                    flags = EXEC_ROOT;
                    root
                }
                Known::Not => return 0,
                // Nobody's yet: the worker looks what it is.
                Known::Never => 0,
            }
        }
    };
    let task = Task { pid, tid, root };
    let (current, bprm): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    let ProgramKey { ino, dev, .. } = program(bprm);
    let ppid = kernel(kernel(current, offset!(task_real_parent)), offset!(task_tgid));
    let mm = kernel::<u64>(current, offset!(task_mm));
    let (start, end): (u64, u64) = (kernel(mm, offset!(mm_arg_start)), kernel(mm, offset!(mm_arg_end)));
    let args_len = end.saturating_sub(start).min(u64::from(u32::MAX)) as u32;
    let uid = bpf_get_current_uid_gid() as u32;
    let exec = Exec { dev, uid, ino, ppid, args_len, comm };
    let len = args_len.min(ARGS_MAX as u32);
    if len == 0 || !emit::with_user(Kind::Exec, flags, start, len, emit::whole(task, now, exec)) {
        emit::urgent(Kind::Exec, flags, task, now, exec);
    }
    if root != 0 && (flags & EXEC_ROOT != 0 || comm[0] == b'g' && comm[1] == b'o') {
        began::report(root, now, current);
    }
    0
}

/// Follows a name server's process; 0 when it is. A function of its own: what it takes of the stack, its caller's
/// other callees need.
#[inline(never)]
fn local_resolver(pid: u32, now: u64) -> u64 {
    let process = Process { root: LOCAL_RESOLVERS, flags: 0, since_ns: now, threads: 0, cpu_ns: 0 };
    u64::from(PROCESSES.insert(&pid, &process, NOEXIST).is_err())
}

/// The file of a new program.
#[inline(always)]
fn program(bprm: u64) -> ProgramKey {
    let inode = kernel::<u64>(kernel(bprm, offset!(binprm_file)), offset!(file_inode));
    let dev = kernel(kernel(inode, offset!(inode_sb)), offset!(super_dev));
    ProgramKey { ino: kernel(inode, offset!(inode_ino)), dev, pad: 0 }
}

/// What is known of a program that is not called `go`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Followed,
    Not,
    Never,
}

/// Whether a program of the current user is followed all the same (`--all-go`).
#[inline(always)]
fn known(bprm: u64, now: u64) -> Known {
    let whose = crate::constant(&raw const ALL_GO_UID);
    if whose == UNKNOWN32 || bpf_get_current_uid_gid() as u32 != whose {
        return Known::Not;
    }
    // SAFETY: a value of the map.
    match PROGRAMS.get_ptr(&program(bprm)).map(|until| unsafe { *until }) {
        Some(0) => Known::Followed,
        Some(until) if now < until => Known::Not,
        _ => Known::Never,
    }
}

/// `(root, pid, tid, state, lock, before)`; attached to nothing, the agent runs it: a thread was
/// there before its process was followed, and is in that state, waiting for the lock of that inode
/// (0 for none); or it is gone after all ([`THREAD_GONE`]). One that was entered already, in the
/// state `before`, is moved unless the scheduler has. 1 when it was the process's last one.
#[raw_tracepoint(tracepoint = "preexisting_thread")]
pub fn preexisting_thread(ctx: RawTracePointContext) -> i32 {
    let (root, pid, tid) = (ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) as u32, ctx.arg::<u64>(2) as u32);
    let (state, lock_ino, before): (u64, u64, u64) = (ctx.arg(3), ctx.arg(4), ctx.arg(5));
    let now = emit::now();
    let task = Task { pid, tid, root };
    let Some(process) = PROCESSES.get_ptr_mut(&pid) else { return 0 };
    if state == THREAD_GONE {
        let Some(thread) = THREADS.get_ptr_mut(&tid) else { return 0 };
        // SAFETY: values of the maps.
        unsafe {
            let was = (*thread).state;
            if THREADS.remove(&tid).is_err() {
                return 0;
            }
            shift(task, 0u64.wrapping_sub(weight(was)), now);
            return i32::from(atomic::add(&raw mut (*process).threads, u64::MAX) == 1);
        }
    }
    let state = ThreadState::from_bits(state);
    let thread = Thread { root, pid, state: state as u32, on_cpu_ns: now, lock_ino, ..EMPTY };
    if let Some(known) = THREADS.get_ptr(&tid) {
        // SAFETY: a value of the map.
        if u64::from(unsafe { (*known).state }) == before {
            set(tid, state, now);
        }
    } else if THREADS.insert(&tid, &thread, NOEXIST).is_ok() {
        // SAFETY: a value of the map.
        unsafe { atomic::add(&raw mut (*process).threads, 1) };
        shift(task, state.weight(), now);
    } else {
        emit::lost(Lost::Tasks);
    }
    0
}

/// The tree's accounts begin now, with one thread on a CPU.
#[inline(always)]
fn begin(root: u32, now: u64) {
    if let Some(tree) = TREES.get_ptr_mut(&root) {
        // SAFETY: a value of the map; its only thread is this one.
        unsafe {
            atomic::swap(&raw mut (*tree).since, now << SINCE_SHIFT | ThreadState::Running as u64);
            (*tree).times = TreeTimes { cpu_ns: 0, runqueue_ns: 0, disk_ns: 0, idle_ns: 0 };
        }
    }
}

/// A thread other than the first one has called exec: it goes on under the process's number. A global function,
/// as `account` is.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rekey(old_tid: u32, tid: u32, pid: u32, root: u32, now: u64) -> u64 {
    if old_tid == tid {
        return 0;
    }
    let mut thread = Thread { root, pid, state: ThreadState::Running as u32, on_cpu_ns: now, ..EMPTY };
    let mut before = 0;
    if let Some(old) = THREADS.get_ptr_mut(&old_tid) {
        // SAFETY: a value of the map.
        unsafe {
            thread.cpu_ns = (*old).cpu_ns;
            before += weight((*old).state);
        }
        let _ = THREADS.remove(&old_tid);
    }
    if let Some(leader) = THREADS.get_ptr_mut(&tid) {
        // SAFETY: a value of the map.
        unsafe { before += weight((*leader).state) };
    }
    if THREADS.insert(&tid, &thread, 0).is_err() {
        emit::lost(Lost::Tasks);
    }
    shift(Task { pid, tid, root }, ThreadState::Running.weight().wrapping_sub(before), now);
    0
}

/// A process that nobody asked for begins a tree of its own; its number, or 0. A function of its own: its caller's
/// stack is full.
#[inline(never)]
fn adopt(pid: u32, tid: u32, now: u64) -> u32 {
    let Some(next) = NEXT_TREE.get_ptr_mut(0) else { return 0 };
    // SAFETY: a value of the map.
    let root = unsafe { atomic::add(next, 1) } as u32 + 2;
    let tree = Tree {
        threads: ThreadState::Running.weight(),
        since: now << SINCE_SHIFT | ThreadState::Running as u64,
        times: TreeTimes { cpu_ns: 0, runqueue_ns: 0, disk_ns: 0, idle_ns: 0 },
        pid: u64::from(pid),
    };
    let thread = Thread { root, pid, state: ThreadState::Running as u32, on_cpu_ns: now, ..EMPTY };
    let process = Process { root, flags: 0, since_ns: now, threads: 1, cpu_ns: 0 };
    let all = TREES.insert(&root, &tree, 0).is_ok()
        && THREADS.insert(&tid, &thread, 0).is_ok()
        && PROCESSES.insert(&pid, &process, NOEXIST).is_ok();
    if !all {
        let _ = TREES.remove(&root);
        let _ = THREADS.remove(&tid);
        emit::lost(Lost::Tasks);
    }
    if all { root } else { 0 }
}

/// `sched_process_exit(task)`: a thread; the process when it was the last one
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    let Some((task, thread)) = task::thread() else {
        let (pid, tid) = task::ids();
        if pid == tid {
            task::forget_local_resolver(pid);
        }
        return 0;
    };
    let now = emit::now();
    // SAFETY: values of the maps.
    unsafe {
        let state = (*thread).state;
        let mut spent = (*thread).cpu_ns;
        if state == ThreadState::Running as u32 {
            spent += now.saturating_sub((*thread).on_cpu_ns);
        }
        let _ = THREADS.remove(&task.tid);
        shift(task, 0u64.wrapping_sub(weight(state)), now);
        let Some(process) = PROCESSES.get_ptr_mut(&task.pid) else { return 0 };
        atomic::add(&raw mut (*process).cpu_ns, spent);
        if atomic::add(&raw mut (*process).threads, u64::MAX) != 1 {
            return 0;
        }
        let cpu_ns = (*process).cpu_ns;
        let _ = PROCESSES.remove(&task.pid);
        let current: u64 = ctx.arg(0);
        let code = kernel::<u32>(current, offset!(task_exit_code));
        let mut exit = Exit {
            code,
            pad: 0,
            cpu_ns,
            times: TreeTimes { cpu_ns: 0, runqueue_ns: 0, disk_ns: 0, idle_ns: 0 },
        };
        let mut flags = 0;
        if let Some(tree) = TREES.get_ptr_mut(&task.root)
            && (*tree).pid == u64::from(task.pid)
        {
            flags = EXIT_ROOT;
            account(task.pid, task.tid, task.root, 0, now);
            exit.times = (*tree).times;
            let _ = TREES.remove(&task.root);
        }
        // Not urgent: while a command runs, the worker looks often.
        emit::event(Kind::Exit, flags, task, now, exit);
    }
    0
}
