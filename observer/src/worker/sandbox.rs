//! What the worker gives up before it reads the first byte that somebody else wrote. In: the folders that its
//! output files are made in. Out: how it is locked in, in words for the log.
//!
//! Two locks, for good and for all of its threads. With Landlock (Linux 5.13) it may change no file but make its own
//! in those folders, and execute none; from 6.7 on it reaches no TCP port, from 6.12 on signals no process and speaks to
//! no abstract socket outside. With seccomp it may make the system calls of the list below and no others: no socket,
//! no process, no namespace, no other user, no memory that is executed; of `bpf` only look-ups. What is refused
//! fails with EPERM, so that a part of the program that was overlooked says so instead of ending the report.
//! A kernel that has neither is no reason not to observe: identity and capabilities were given up at the exec.

use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The newest Landlock that is asked for (Linux 6.12); an older kernel gives what it has.
const NEWEST: ABI = ABI::V6;

/// Where a terminal is: the dashboard opens it.
const TERMINALS: [&str; 3] = ["/dev/tty", "/dev/pts", "/dev/console"];

/// Locks the calling process in; it has one thread. `folders`: where output files are made; `terminal`: it draws.
pub(super) fn enter(folders: &[BorrowedFd<'_>], terminal: bool) -> String {
    let files = files(folders, terminal).map_or_else(
        |error| format!("files are not locked ({error:#})"),
        |status| match status {
            RulesetStatus::FullyEnforced => "files and ports are locked".into(),
            RulesetStatus::PartiallyEnforced => "files are locked as far as this kernel can".into(),
            RulesetStatus::NotEnforced => "this kernel cannot lock files (Landlock)".into(),
        },
    );
    match calls() {
        Ok(()) => format!("{files}, system calls are"),
        Err(error) => format!("{files}; system calls are not locked ({error:#})"),
    }
}

/// Whoever wants to change a file, run one, or reach out is refused.
fn files(folders: &[BorrowedFd<'_>], terminal: bool) -> Result<RulesetStatus> {
    let changes = AccessFs::from_write(NEWEST) | AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(changes)?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let made = AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::WriteFile | AccessFs::Truncate;
    for folder in folders {
        rules = rules.add_rule(PathBeneath::new(*folder, made))?;
    }
    let drawn: BitFlags<AccessFs> = AccessFs::WriteFile | AccessFs::IoctlDev;
    for path in TERMINALS.into_iter().filter(|_| terminal) {
        // What is not there is not drawn on.
        if let Ok(terminal) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(terminal, drawn))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Only the system calls that are listed. Flags of clone3 lie in memory, where no filter looks: it seems not to be
/// there, and the C library takes clone.
fn calls() -> Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = [(libc::SYS_clone3, Vec::new())].into();
    let clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, missing, arch)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let listed = SeccompFilter::new(allowed()?.into_iter().collect(), refused, SeccompAction::Allow, arch)?;
    // Of two that refuse, the later one's error counts; so the later one allows clone3.
    for filter in [clone3, listed] {
        let filter: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&filter).context("seccomp")?;
    }
    Ok(())
}

/// Without a condition.
const ALWAYS: &[c_long] = &[
    // Descriptors that it has, or opens for reading (Landlock holds the rest)
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
    libc::SYS_openat,
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
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// As [`ALWAYS`]: names that arm64 does not have.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_open,
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
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_link,
    libc::SYS_chmod,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// What is allowed, and on what condition.
fn allowed() -> Result<Vec<(c_long, Vec<SeccompRule>)>> {
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
    allowed.extend([
        (libc::SYS_mmap, vec![not_executed()?]),
        (libc::SYS_mprotect, vec![not_executed()?]),
        // Threads, no processes
        (libc::SYS_clone, vec![rule(&[(0, Is::MaskedEq(thread), thread)])?]),
        // abort, and limits that are only read
        (libc::SYS_tgkill, vec![rule(&[(0, Is::Eq, own)])?]),
        (libc::SYS_tkill, vec![rule(&[(1, Is::Eq, libc::SIGABRT as u64)])?]),
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
