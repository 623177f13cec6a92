//! From inside the locks: nothing of all this succeeds, and what worker and opener have to do does.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{AtFlags, OFlag, open, renameat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, getppid, linkat, unlinkat};

use super::actions::{Tried, all, changes, reach_out};
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

#[track_caller]
fn refused(calls: Vec<Tried>) {
    for (what, result) in calls {
        assert_eq!(result.map_err(|error| error.raw_os_error()), Err(Some(libc::EPERM)), "{what}");
    }
}

#[test]
fn no_call_of_the_workers_reaches_out_or_to_a_file() {
    locked("no_call_of_the_workers_reaches_out_or_to_a_file", |folder| {
        let said = enter();
        assert!(said.ends_with("; system calls are locked"), "{said}");
        let actions = all(folder);
        assert!(actions.len() > 70, "{}", actions.len());
        refused(actions);
    });
}

#[test]
fn no_call_of_the_openers_reaches_out_and_no_file_is_opened_to_be_changed() {
    locked("no_call_of_the_openers_reaches_out_and_no_file_is_opened_to_be_changed", |folder| {
        assert_eq!(enter_opener(Opens::default()), "system calls are locked");
        refused(reach_out());
        refused(changes(folder));
        assert_eq!(fs::read(folder.join("there")).unwrap(), b"as it was");
    });
}

#[test]
fn landlock_alone_holds_files_where_the_kernel_has_it() {
    locked("landlock_alone_holds_files_where_the_kernel_has_it", |folder| {
        if files().unwrap() == RulesetStatus::NotEnforced {
            return;
        }
        let denied = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::PermissionDenied;
        assert!(denied(File::open(folder.join("there")).map(drop)));
        assert!(denied(File::create_new(folder.join("new")).map(drop)));
        assert!(denied(fs::remove_file(folder.join("there"))));
        assert!(denied(Command::new("/bin/true").status().map(drop)));
        assert!(denied(fs::read_link(format!("/proc/{}/exe", getppid())).map(drop)));
    });
}

#[test]
fn the_openers_new_file_is_opened_and_nothing_that_is_there() {
    locked("the_openers_new_file_is_opened_and_nothing_that_is_there", |folder| {
        enter_opener(Opens { new_files: true });
        File::create_new(folder.join("new")).unwrap();
        let over = File::create(folder.join("there")).map_err(|error| error.raw_os_error());
        assert_eq!(over.map(drop), Err(Some(libc::EPERM)), "what is there is not emptied");
    });
}

#[test]
fn what_the_worker_does_succeeds() {
    locked("what_the_worker_does_succeeds", |folder| {
        let mut file = nameless(folder).unwrap();
        enter();
        assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
        file.write_all(b"whole").unwrap();
        file.set_len(3).unwrap();
        println!("as ever");
    });
}

#[test]
fn what_the_opener_does_succeeds() {
    locked("what_the_opener_does_succeeds", |folder| {
        let mut file = nameless(folder).unwrap();
        let within = open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        enter_opener(Opens::default());
        assert!(fs::read_to_string("/proc/self/status").unwrap().contains("Seccomp:\t2"));
        assert!(fs::read_dir("/proc/self/fd").unwrap().next().is_some());
        let parent = format!("/proc/{}/exe", getppid());
        assert_eq!(fs::read_link(parent).unwrap(), std::env::current_exe().unwrap());
        // As output files are made: without a name, named, another in its place.
        file.write_all(b"whole").unwrap();
        let own = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        linkat(nix::fcntl::AT_FDCWD, &*own, &within, c"beside", AtFlags::AT_SYMLINK_FOLLOW).unwrap();
        renameat(&within, "beside", &within, "there").unwrap();
        assert_eq!(fs::read(folder.join("there")).unwrap(), b"whole");
        unlinkat(&within, "there", UnlinkatFlags::NoRemoveDir).unwrap();
    });
}

fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY;
    Ok(open(folder, flags, Mode::S_IRUSR).map(File::from)?)
}
