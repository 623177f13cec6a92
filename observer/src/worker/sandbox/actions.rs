//! What nothing of the worker does: actions of somebody who has taken it over. Out: for each what the kernel said.
//! Tests try them behind the locks; so does the worker of an observation, where root asks for it (`GOOBSERVE_TRY`).

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{OFlag, open};
use nix::libc::{self, c_long};
use nix::sys::stat::Mode;
use nix::unistd::getppid;

/// An action by its name, and how it went.
pub(super) type Tried = (&'static str, io::Result<()>);

/// All of them; files of that folder, in which there is a file `there`.
pub(super) fn all(folder: &Path) -> Vec<Tried> {
    reach_out().into_iter().chain(changes(folder)).chain(of_files(folder)).collect()
}

/// A system call with these arguments.
fn call(number: c_long, arguments: [usize; 6]) -> io::Result<c_long> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    #[expect(unsafe_code, reason = "what is refused has no wrapper")]
    // SAFETY: each is refused before the kernel looks at an argument, and fails for its arguments where it is not.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// System calls that nothing of the worker makes: name, number, arguments.
fn calls() -> Vec<(&'static str, c_long, [usize; 6])> {
    let parent = getppid().as_raw() as usize;
    let flags = |flags: i32| [flags as usize, 0, 0, 0, 0, 0];
    let own = std::process::id() as usize;
    let page = [0, 4096, (libc::PROT_READ | libc::PROT_EXEC) as usize, 0x22, usize::MAX, 0];
    vec![
        ("execve", libc::SYS_execve, [0; 6]),
        ("execveat", libc::SYS_execveat, [0; 6]),
        ("a child", libc::SYS_clone, flags(libc::SIGCHLD)),
        ("a user namespace", libc::SYS_unshare, flags(libc::CLONE_NEWUSER)),
        ("a mount namespace", libc::SYS_unshare, flags(libc::CLONE_NEWNS)),
        ("another's namespace", libc::SYS_setns, [3, 0, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [0; 6]),
        ("umount", libc::SYS_umount2, [0; 6]),
        ("move_mount", libc::SYS_move_mount, [0; 6]),
        ("pivot_root", libc::SYS_pivot_root, [0; 6]),
        ("chroot", libc::SYS_chroot, [0; 6]),
        ("TCP", libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_STREAM as usize, 0, 0, 0, 0]),
        ("UDP", libc::SYS_socket, [libc::AF_INET6 as usize, libc::SOCK_DGRAM as usize, 0, 0, 0, 0]),
        ("a unix socket", libc::SYS_socket, [libc::AF_UNIX as usize, libc::SOCK_STREAM as usize, 0, 0, 0, 0]),
        ("netlink", libc::SYS_socket, [libc::AF_NETLINK as usize, libc::SOCK_RAW as usize, 0, 0, 0, 0]),
        (
            "a packet socket",
            libc::SYS_socket,
            [libc::AF_PACKET as usize, libc::SOCK_RAW as usize, 0, 0, 0, 0],
        ),
        ("connect", libc::SYS_connect, [0; 6]),
        ("bind", libc::SYS_bind, [0; 6]),
        ("listen", libc::SYS_listen, [0; 6]),
        ("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH as usize, parent, 0, 0, 0, 0]),
        ("another's memory", libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0, 0]),
        ("another's memory, written", libc::SYS_process_vm_writev, [parent, 0, 0, 0, 0, 0]),
        ("another's descriptor", libc::SYS_pidfd_getfd, [3, 0, 0, 0, 0, 0]),
        ("kill", libc::SYS_kill, [parent, 0, 0, 0, 0, 0]),
        ("tkill of another", libc::SYS_tkill, [parent, libc::SIGABRT as usize, 0, 0, 0, 0]),
        ("tgkill of another", libc::SYS_tgkill, [parent, parent, 0, 0, 0, 0]),
        ("pidfd_send_signal", libc::SYS_pidfd_send_signal, [3, 0, 0, 0, 0, 0]),
        ("setuid", libc::SYS_setuid, [0; 6]),
        ("setresuid", libc::SYS_setresuid, [0; 6]),
        ("setgroups", libc::SYS_setgroups, [0; 6]),
        ("capset", libc::SYS_capset, [0; 6]),
        ("dumpable", libc::SYS_prctl, [libc::PR_SET_DUMPABLE as usize, 1, 0, 0, 0, 0]),
        ("another seccomp", libc::SYS_seccomp, [0; 6]),
        ("a limit", libc::SYS_prlimit64, [own, libc::RLIMIT_NOFILE as usize, 1, 0, 0, 0]),
        ("memory that is executed", libc::SYS_mmap, page),
        ("memory made executable", libc::SYS_mprotect, [0, 4096, libc::PROT_EXEC as usize, 0, 0, 0]),
        ("memfd_create", libc::SYS_memfd_create, [0; 6]),
        ("a BPF map", libc::SYS_bpf, [0; 6]),
        ("a value of a BPF map", libc::SYS_bpf, [2, 0, 0, 0, 0, 0]),
        ("a BPF program", libc::SYS_bpf, [5, 0, 0, 0, 0, 0]),
        ("another's BPF map", libc::SYS_bpf, [14, 0, 0, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 6]),
        ("io_uring", libc::SYS_io_uring_setup, [0; 6]),
        ("userfaultfd", libc::SYS_userfaultfd, [0; 6]),
        ("a module", libc::SYS_init_module, [0; 6]),
        ("keyctl", libc::SYS_keyctl, [0; 6]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [0; 6]),
        ("fanotify", libc::SYS_fanotify_init, [0; 6]),
        ("the clock", libc::SYS_clock_settime, [0; 6]),
        ("another's priority", libc::SYS_setpriority, [0, parent, 1, 0, 0, 0]),
        ("the host's name", libc::SYS_sethostname, [0; 6]),
        ("a key typed into the terminal", libc::SYS_ioctl, [0, 0x5412, 0, 0, 0, 0]),
        ("a console's keys", libc::SYS_ioctl, [0, 0x541c, 0, 0, 0, 0]),
        ("a terminal taken", libc::SYS_ioctl, [0, 0x540e, 1, 0, 0, 0]),
        ("memory of another key", libc::SYS_pkey_mprotect, [0, 4096, libc::PROT_EXEC as usize, 0, 0, 0]),
        ("shared memory", libc::SYS_shmget, [0; 6]),
        ("a lock of another's", libc::SYS_fcntl, [0, libc::F_SETLK as usize, 0, 0, 0, 0]),
        ("another's signal", libc::SYS_fcntl, [0, libc::F_SETOWN as usize, parent, 0, 0, 0]),
        ("openat2", libc::SYS_openat2, [0; 6]),
        ("a personality", libc::SYS_personality, [0x40_0000, 0, 0, 0, 0, 0]),
        ("quotas", libc::SYS_quotactl, [0; 6]),
        ("chown", libc::SYS_fchownat, [0; 6]),
        ("mkdir", libc::SYS_mkdirat, [0; 6]),
        ("mknod", libc::SYS_mknodat, [0; 6]),
        ("symlink", libc::SYS_symlinkat, [0; 6]),
        ("an extended attribute", libc::SYS_setxattr, [0; 6]),
    ]
}

/// Calls that reach out of the process.
pub(super) fn reach_out() -> Vec<Tried> {
    let made = |(name, number, arguments)| (name, call(number, arguments).map(drop));
    calls().into_iter().map(made).collect()
}

/// Of files: the opener makes some of these, the worker none.
pub(super) fn of_files(folder: &Path) -> Vec<Tried> {
    let there = folder.join("there");
    let within = |name: &str| folder.join(name);
    vec![
        ("a file is read", File::open(&there).map(drop)),
        ("a file is looked at", fs::metadata(&there).map(drop)),
        ("a link is read", fs::read_link("/proc/self/exe").map(drop)),
        ("a folder is read", fs::read_dir(folder).map(drop)),
        ("a file is named", fs::hard_link(&there, within("named"))),
        ("a file is renamed", fs::rename(&there, within("renamed"))),
        ("a file is removed", fs::remove_file(within("there"))),
    ]
}

/// … and of these neither does.
pub(super) fn changes(folder: &Path) -> Vec<Tried> {
    let there = folder.join("there");
    vec![
        ("a new file", File::create_new(folder.join("new")).map(drop)),
        ("a file that is there", File::options().write(true).open(&there).map(drop)),
        ("one to read and write", File::options().read(true).write(true).open(&there).map(drop)),
        ("one to append to", File::options().append(true).open(&there).map(drop)),
        ("a file without a name", nameless(folder).map(drop)),
        ("a device", File::options().write(true).open("/dev/null").map(drop)),
        ("a folder", fs::create_dir(folder.join("folder"))),
        ("a program", Command::new("/bin/true").status().map(drop)),
    ]
}

fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY;
    Ok(open(folder, flags, Mode::S_IRUSR).map(File::from)?)
}
