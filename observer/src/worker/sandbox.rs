//! What the worker gives up before it reads the first byte that somebody else wrote. In: what it will still have to
//! open. Out: how it is locked in, in words for the log.
//!
//! With seccomp it makes the system calls of the list below and no others, for good and in all of its threads: no socket,
//! no process, no namespace, no other user, no memory that is executed; of `bpf` only what reads; no file is opened
//! for writing but what [`Opens`] says. What is refused fails with EPERM, so that a part of the program that was
//! overlooked says so instead of ending the report. A kernel without seccomp is no reason not to observe: identity and
//! capabilities were given up at the exec.
//!
//! Not with Landlock as well: whoever is in a domain of Landlock may not look at processes outside of it
//! (`/proc/PID/exe`, `fd` and `root`; the kernel counts that as ptrace), and the worker looks at those it observes.

use anyhow::{Context as _, Result};
use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// What may be opened for writing.
#[derive(Clone, Copy, Default)]
pub(super) struct Opens {
    /// New files only (`O_EXCL`): an output file on a file system that has none without a name
    pub new_files: bool,
    /// What is there, as it is: the terminal that a dashboard draws on
    pub terminal: bool,
}

/// Locks the calling process in.
pub(super) fn enter(opens: Opens) -> String {
    match calls(opens) {
        Ok(()) => "system calls are locked".into(),
        Err(error) => format!("system calls are not locked: {error:#}"),
    }
}

/// Only the system calls that are listed. Flags of clone3 lie in memory, where no filter looks: it seems not to be
/// there, and the C library takes clone.
fn calls(opens: Opens) -> Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = [(libc::SYS_clone3, Vec::new())].into();
    let clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, missing, arch)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let listed =
        SeccompFilter::new(allowed(opens)?.into_iter().collect(), refused, SeccompAction::Allow, arch)?;
    // Of two that refuse, the later one's error counts; so the later one allows clone3.
    for filter in [clone3, listed] {
        let filter: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&filter).context("seccomp")?;
    }
    Ok(())
}

/// Without a condition.
const ALWAYS: &[c_long] = &[
    // Descriptors that it has, and looks at what it may read
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
    libc::SYS_fcntl,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_pipe2,
    // The seam, and the pair that signals of the dashboard come through
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // Its output files
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
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
    // Who it is
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// As [`ALWAYS`]: names that arm64 does not have.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_access,
    libc::SYS_getdents,
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

/// What is allowed, and on what condition.
fn allowed(opens: Opens) -> Result<Vec<(c_long, Vec<SeccompRule>)>> {
    let rule = |conditions: &[(u8, Is, u64)]| -> Result<SeccompRule> {
        let conditions = conditions
            .iter()
            .map(|(argument, is, value)| SeccompCondition::new(*argument, Width::Dword, is.clone(), *value))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(SeccompRule::new(conditions)?)
    };
    let not_executed = || rule(&[(2, Is::MaskedEq(libc::PROT_EXEC as u64), 0)]);
    let thread = libc::CLONE_THREAD as u64;
    let bpf = |command| rule(&[(0, Is::Eq, command)]);
    let own = u64::from(std::process::id());
    let mut allowed: Vec<_> = ALWAYS.iter().chain(OLD).map(|call| (*call, Vec::new())).collect();
    // What is opened: to read; a terminal to read and write; a file that was not there.
    // (Not O_ACCMODE: musl counts O_PATH in.)
    let changes = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u64;
    let new = (libc::O_CREAT | libc::O_EXCL) as u64;
    let opened = |argument: u8| -> Result<Vec<SeccompRule>> {
        let mut rules = vec![rule(&[(argument, Is::MaskedEq(changes), libc::O_RDONLY as u64)])?];
        if opens.terminal {
            rules.push(rule(&[(argument, Is::MaskedEq(changes), libc::O_RDWR as u64)])?);
        }
        if opens.new_files {
            rules.push(rule(&[(argument, Is::MaskedEq(new | libc::O_TRUNC as u64), new)])?);
        }
        Ok(rules)
    };
    allowed.push((libc::SYS_openat, opened(2)?));
    #[cfg(target_arch = "x86_64")]
    allowed.push((libc::SYS_open, opened(1)?));
    allowed.extend([
        (libc::SYS_mmap, vec![not_executed()?]),
        (libc::SYS_mprotect, vec![not_executed()?]),
        // Threads, no processes
        (libc::SYS_clone, vec![rule(&[(0, Is::MaskedEq(thread), thread)])?]),
        // abort, and limits that are only read
        (libc::SYS_tgkill, vec![rule(&[(0, Is::Eq, own)])?]),
        (libc::SYS_tkill, vec![rule(&[(0, Is::Eq, own), (1, Is::Eq, libc::SIGABRT as u64)])?]),
        (libc::SYS_prlimit64, vec![rule(&[(2, Is::Eq, 0)])?]),
        (libc::SYS_prctl, vec![rule(&[(0, Is::Eq, libc::PR_SET_NAME as u64)])?]),
        // Nothing is typed into a terminal for its shell to read
        (libc::SYS_ioctl, vec![rule(&[(1, Is::Ne, TIOCSTI), (1, Is::Ne, TIOCLINUX)])?]),
        // What leads out of the process has an address
        (libc::SYS_socketpair, vec![rule(&[(0, Is::Eq, libc::AF_UNIX as u64)])?]),
        (libc::SYS_bpf, BPF_READS.iter().map(|command| bpf(*command)).collect::<Result<_>>()?),
    ]);
    Ok(allowed)
}

/// Of the terminal (include/uapi/asm-generic/ioctls.h): a key is typed, a console is asked for more.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_GET_NEXT_KEY`, `BPF_OBJ_GET_INFO_BY_FD`, `BPF_MAP_LOOKUP_BATCH`
/// (include/uapi/linux/bpf.h)
const BPF_READS: [u64; 4] = [1, 4, 15, 24];

#[cfg(test)]
mod tests;
