//! Files of observed processes, opened for the worker: nothing is read that the worker could
//! read itself from a descriptor.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc;

use crate::run::regular;
use crate::seam::{FileId, Root, ToWorker};
use model::id::Pid;

/// `/proc/PID/cgroup` is a line a hierarchy.
const CGROUP_MAX: usize = 4096;

/// A process's program and environment, and the message that goes with them.
pub(super) struct Facts {
    /// The program
    pub program: File,
    /// Its number
    pub id: FileId,
    /// `/proc/PID/environ`
    pub environ: Option<File>,
    /// Its root, where that is another one than ours
    pub root: Option<File>,
    /// For the worker
    pub message: ToWorker,
}

/// Opens a regular file for reading.
pub(super) fn regular(path: &Path) -> Option<(File, FileId)> {
    let (file, metadata) = regular::open(path)?;
    Some((file, FileId { dev: metadata.dev(), ino: metadata.ino() }))
}

/// As [`regular()`], with the rights of a user who may have chosen the path.
pub(super) fn regular_as(uid: u32, gid: u32, path: &Path) -> Option<(File, FileId)> {
    with_rights(uid, gid, || regular(path))
}

/// Does something with a user's file rights. They are of this thread alone.
pub(super) fn with_rights<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
    let (group, user) = (setfsgid(Gid::from_raw(gid)), setfsuid(Uid::from_raw(uid)));
    let done = work();
    setfsuid(user);
    setfsgid(group);
    done
}

/// Everything about a process that `/proc` has; `None` when it has gone. `private` is a mount
/// namespace that differs from ours in one file that no setting of go is in.
pub(super) fn facts(pid: Pid, private: Option<&Path>) -> Option<Facts> {
    let of = |name: &str| format!("/proc/{pid}/{name}");
    let link = |name: &str| std::fs::read_link(of(name)).ok().map(|path| path.to_string_lossy().into_owned());
    let (program, id) = regular(Path::new(&of("exe")))?;
    let mut cgroup = std::fs::read_to_string(of("cgroup")).ok();
    if let Some(text) = &mut cgroup {
        text.truncate(text.floor_char_boundary(CGROUP_MAX));
    }
    let (root, opened) = root(pid, private);
    let message = ToWorker::Facts {
        pid,
        file: id,
        path: link("exe").unwrap_or_default(),
        cwd: link("cwd"),
        cgroup,
        cpus: cpus(pid),
        root,
    };
    Some(Facts { program, id, environ: File::open(of("environ")).ok(), root: opened, message })
}

/// Where a process's paths begin, and a descriptor of that when it is not where ours do. A chroot has
/// our mount namespace and another root.
fn root(pid: Pid, private: Option<&Path>) -> (Root, Option<File>) {
    let link = format!("/proc/{pid}/root");
    let number = |path: &str| std::fs::metadata(path).ok().map(|of| (of.dev(), of.ino()));
    let (Some(namespace), Some(its)) = (namespace_of(&pid.to_string()), number(&link)) else {
        return (Root::Unknown, None);
    };
    let ours = Some(&*namespace) == private || Some(namespace) == namespace_of("self");
    if ours && number("/") == Some(its) {
        return (Root::Ours, None);
    }
    let opened = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(&link);
    match (std::fs::read_link(&link), opened) {
        (Ok(path), Ok(opened)) => (Root::Own(path.to_string_lossy().into_owned()), Some(opened)),
        _ => (Root::Unknown, None),
    }
}

/// How many CPUs a process may use.
pub(super) fn cpus(pid: Pid) -> Option<u32> {
    use nix::sched::{CpuSet, sched_getaffinity};
    let set = sched_getaffinity(nix::unistd::Pid::from_raw(pid.0.cast_signed())).ok()?;
    Some((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).count() as u32)
}

/// The program of a process alone, and its path: what is needed at once.
pub(super) fn program(pid: Pid) -> Option<(File, FileId, String)> {
    let exe = format!("/proc/{pid}/exe");
    let (file, id) = regular(Path::new(&exe))?;
    let path = std::fs::read_link(exe).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    Some((file, id, path))
}

/// The mount namespace of a process; `self` is ours.
pub(super) fn namespace_of(pid: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}
