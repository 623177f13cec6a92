//! From inside the lock: nothing of all this succeeds, and what the worker has to do does.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{AtFlags, OFlag, open, renameat};
use nix::libc::{self, c_long};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, getppid, linkat, unlinkat};

use super::*;

/// Set where a test's process is the one that is locked in; a folder of its own.
const INSIDE: &str = "SANDBOX_TEST_FOLDER";

/// Runs the calling test once more in a process of its own, which `inside` is for. True there.
fn locked(test: &str, inside: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(INSIDE) {
        let folder = Path::new(&folder);
        nix::sys::prctl::set_no_new_privs().unwrap();
        return inside(folder);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there"), "as it was").unwrap();
    let test = format!("worker::sandbox::tests::{test}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--test-threads=1", "--nocapture"])
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && said[0].contains("1 passed"), "{}\n{}", said[0], said[1]);
}

/// A system call with these arguments.
fn call(number: c_long, arguments: [usize; 6]) -> io::Result<c_long> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    #[expect(unsafe_code, reason = "what is refused has no wrapper")]
    // SAFETY: each is refused before the kernel looks at an argument; the test fails where one is not.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// System calls that nothing of the worker makes: name, number, arguments.
fn calls_refused() -> Vec<(&'static str, c_long, [usize; 6])> {
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
        ("a key typed into the terminal", libc::SYS_ioctl, [0, TIOCSTI as usize, 0, 0, 0, 0]),
        ("chown", libc::SYS_fchownat, [0; 6]),
        ("mkdir", libc::SYS_mkdirat, [0; 6]),
        ("mknod", libc::SYS_mknodat, [0; 6]),
        ("symlink", libc::SYS_symlinkat, [0; 6]),
        ("an extended attribute", libc::SYS_setxattr, [0; 6]),
    ]
}

#[test]
fn no_call_that_reaches_out_succeeds() {
    locked("no_call_that_reaches_out_succeeds", |_| {
        assert_eq!(enter(Opens { new_files: true, terminal: true }), "system calls are locked");
        for (name, number, arguments) in calls_refused() {
            let refused = call(number, arguments).map_err(|error| error.raw_os_error());
            assert_eq!(refused, Err(Some(libc::EPERM)), "{name}");
        }
    });
}

#[test]
fn no_file_is_opened_to_be_changed() {
    locked("no_file_is_opened_to_be_changed", |folder| {
        assert_eq!(enter(Opens::default()), "system calls are locked");
        let refused = |what: &str, result: io::Result<()>| {
            let error = result.map_err(|error| error.raw_os_error());
            assert_eq!(error, Err(Some(libc::EPERM)), "{what}");
        };
        let there = folder.join("there");
        refused("a new file", File::create_new(folder.join("new")).map(drop));
        refused("a file that is there", File::options().write(true).open(&there).map(drop));
        refused("one to read and write", File::options().read(true).write(true).open(&there).map(drop));
        refused("one to append to", File::options().append(true).open(&there).map(drop));
        refused("a file without a name", nameless(folder).map(drop));
        refused("a device", File::options().write(true).open("/dev/null").map(drop));
        refused("a folder", fs::create_dir(folder.join("folder")));
        refused("a program", Command::new("/bin/true").status().map(drop));
        assert_eq!(fs::read(there).unwrap(), b"as it was");
    });
}

#[test]
fn what_has_to_be_opened_is() {
    locked("what_has_to_be_opened_is", |folder| {
        enter(Opens { new_files: true, terminal: true });
        File::options().read(true).write(true).open("/dev/null").unwrap();
        File::create_new(folder.join("new")).unwrap();
        let over = File::create(folder.join("there")).map_err(|error| error.raw_os_error());
        assert_eq!(over.map(drop), Err(Some(libc::EPERM)), "what is there is not emptied");
    });
}

#[test]
fn what_the_worker_does_succeeds() {
    locked("what_the_worker_does_succeeds", |folder| {
        let mut file = nameless(folder).unwrap();
        let within = open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        enter(Opens::default());
        assert!(fs::read_to_string("/proc/self/status").unwrap().contains("Seccomp:\t2"));
        assert!(fs::read_dir("/proc/self/fd").unwrap().next().is_some());
        let parent = format!("/proc/{}/exe", getppid());
        assert_eq!(fs::read_link(parent).unwrap(), std::env::current_exe().unwrap());
        assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
        // As its output files are made: without a name, named, another in its place.
        file.write_all(b"whole").unwrap();
        let own = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        linkat(nix::fcntl::AT_FDCWD, &*own, &within, c"beside", AtFlags::AT_SYMLINK_FOLLOW).unwrap();
        renameat(&within, "beside", &within, "there").unwrap();
        assert_eq!(fs::read(folder.join("there")).unwrap(), b"whole");
        unlinkat(&within, "there", UnlinkatFlags::NoRemoveDir).unwrap();
        println!("as ever");
    });
}

fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY;
    Ok(open(folder, flags, Mode::S_IRUSR).map(File::from)?)
}
