//! The system calls that are left. Out: for each its number and on what condition it is allowed; without one always.

use anyhow::Result;
use nix::libc::{self, c_long};
use seccompiler::{SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition, SeccompRule};

use super::Opens;

/// Without a condition, for both.
const ALWAYS: &[c_long] = &[
    // Descriptors that it has
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fstat,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_pipe2,
    // The seams, and the pair that signals of the dashboard come through
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // Its output files
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    // Memory; what may be executed has a condition
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Time, threads, signals to itself
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Only the filter above answers it
    libc::SYS_clone3,
    // Who and where it is
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getcwd,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// As [`ALWAYS`]: names that arm64 does not have.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_create,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_getpgrp,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// Of the opener alone: it looks at files, and names the output files.
const FILES: &[c_long] = &[
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
];
#[cfg(target_arch = "x86_64")]
const OLD_FILES: &[c_long] =
    &[libc::SYS_stat, libc::SYS_lstat, libc::SYS_readlink, libc::SYS_access, libc::SYS_getdents];
#[cfg(not(target_arch = "x86_64"))]
const OLD_FILES: &[c_long] = &[];

/// Of `ioctl` (include/uapi/asm-generic/ioctls.h): a terminal's settings, size and who reads it, what waits to be
/// read, whether a call waits. Nothing is typed into a terminal for its shell to read, none is taken away.
const IOCTL: [u64; 14] = [
    0x5401,      // TCGETS
    0x5402,      // TCSETS
    0x5403,      // TCSETSW
    0x5404,      // TCSETSF
    0x802c_542a, // TCGETS2
    0x402c_542b, // TCSETS2
    0x402c_542c, // TCSETSW2
    0x402c_542d, // TCSETSF2
    0x540f,      // TIOCGPGRP
    0x5413,      // TIOCGWINSZ
    0x541b,      // FIONREAD
    0x5421,      // FIONBIO
    0x5450,      // FIONCLEX
    0x5451,      // FIOCLEX
];

/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_GET_NEXT_KEY`, `BPF_OBJ_GET_INFO_BY_FD`, `BPF_MAP_LOOKUP_BATCH`
/// (include/uapi/linux/bpf.h)
const BPF_READS: [u64; 4] = [1, 4, 15, 24];

/// Of `fcntl`: descriptors are copied and marked, and say how they are open; nobody else's lock, lease or signal.
const FCNTL: [i32; 6] =
    [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];

type Calls = Vec<(c_long, Vec<SeccompRule>)>;

fn rule(conditions: &[(u8, Is, u64)]) -> Result<SeccompRule> {
    let conditions = conditions
        .iter()
        .map(|(argument, is, value)| SeccompCondition::new(*argument, Width::Dword, is.clone(), *value))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(SeccompRule::new(conditions)?)
}

/// What worker and opener have in common.
fn both() -> Result<Calls> {
    let not_executed = || rule(&[(2, Is::MaskedEq(libc::PROT_EXEC as u64), 0)]);
    let thread = libc::CLONE_THREAD as u64;
    let own = u64::from(std::process::id());
    let fcntl = FCNTL.iter().map(|command| rule(&[(1, Is::Eq, *command as u64)]));
    let ioctl = IOCTL.iter().map(|command| rule(&[(1, Is::Eq, *command)]));
    let mut calls: Calls = ALWAYS.iter().chain(OLD).map(|call| (*call, Vec::new())).collect();
    calls.extend([
        (libc::SYS_mmap, vec![not_executed()?]),
        (libc::SYS_mprotect, vec![not_executed()?]),
        // Threads, no processes
        (libc::SYS_clone, vec![rule(&[(0, Is::MaskedEq(thread), thread)])?]),
        // abort, and limits that are only read
        (libc::SYS_tgkill, vec![rule(&[(0, Is::Eq, own)])?]),
        (libc::SYS_tkill, vec![rule(&[(0, Is::Eq, own), (1, Is::Eq, libc::SIGABRT as u64)])?]),
        (libc::SYS_prlimit64, vec![rule(&[(2, Is::Eq, 0)])?]),
        (libc::SYS_prctl, vec![rule(&[(0, Is::Eq, libc::PR_SET_NAME as u64)])?]),
        (libc::SYS_ioctl, ioctl.collect::<Result<_>>()?),
        (libc::SYS_fcntl, fcntl.collect::<Result<_>>()?),
        // What leads out of the process has an address
        (libc::SYS_socketpair, vec![rule(&[(0, Is::Eq, libc::AF_UNIX as u64)])?]),
    ]);
    Ok(calls)
}

/// The worker's.
pub(super) fn worker() -> Result<Calls> {
    let bpf = BPF_READS.iter().map(|command| rule(&[(0, Is::Eq, *command)]));
    // Memory of what the command printed is given back; of a file nothing is taken away.
    let hole = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE) as u64;
    let mut calls = both()?;
    calls.extend([
        (libc::SYS_bpf, bpf.collect::<Result<_>>()?),
        (libc::SYS_fallocate, vec![rule(&[(1, Is::Eq, hole)])?]),
    ]);
    Ok(calls)
}

/// The opener's.
pub(super) fn opener(opens: Opens) -> Result<Calls> {
    // What is opened: to read; a file that was not there. (Not O_ACCMODE: musl counts O_PATH in.)
    let changes = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u64;
    let new = (libc::O_CREAT | libc::O_EXCL) as u64;
    let opened = |argument: u8| -> Result<Vec<SeccompRule>> {
        let mut rules = vec![rule(&[(argument, Is::MaskedEq(changes), libc::O_RDONLY as u64)])?];
        if opens.new_files {
            rules.push(rule(&[(argument, Is::MaskedEq(new | libc::O_TRUNC as u64), new)])?);
        }
        Ok(rules)
    };
    let mut calls = both()?;
    calls.extend(FILES.iter().chain(OLD_FILES).map(|call| (*call, Vec::new())));
    calls.push((libc::SYS_openat, opened(2)?));
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_open, opened(1)?));
    Ok(calls)
}
