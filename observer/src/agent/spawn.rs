//! Starts the worker: the same program, as the invoking user, without any capability; and the
//! holder: the same program, out of reach of any terminal.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use nix::libc;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::finder::FINDER;
use super::holder::HOLDER;
use crate::seam::Seam;
use crate::verbose;

/// The hidden subcommand that the worker is.
pub const WORKER: &str = "__worker";
/// The descriptor its end of the seam has.
pub const SEAM_FD: i32 = 3;

/// The user that the worker becomes.
pub(super) struct User {
    /// User
    pub uid: u32,
    /// Primary group
    pub gid: u32,
    /// Supplementary groups
    pub groups: Vec<u32>,
}

/// Starts the worker; its end of the seam is descriptor 3 there.
pub(super) fn worker(user: &User, seam: &Seam) -> Result<Child> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(WORKER).args(verbose::option());
    start(command, seam, move || drop_privileges(uid, gid, &groups)).context("cannot start the worker")
}

/// Starts the holder, likewise.
pub(super) fn holder(seam: &Seam) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(HOLDER).stdout(Stdio::null());
    // Its seam's end ends it, and its watchdog when it does not look. No signal when its parent dies:
    // the kernel would send it when the thread that starts it ends.
    let apart = || nix::unistd::setsid().map(|_| ()).map_err(io::Error::from);
    start(command, seam, apart).context("cannot start the holder")
}

/// Starts the finder, likewise.
pub(super) fn finder(seam: &Seam) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(FINDER).stdout(Stdio::null());
    start(command, seam, || Ok(nix::unistd::setsid().map(drop)?)).context("cannot start the finder")
}

/// Starts a part of goobserve; `prepare` is called behind the fork.
fn start(
    mut command: Command,
    seam: &Seam,
    mut prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<Child> {
    let seam = seam.as_raw_fd();
    command.stdin(Stdio::null());
    #[expect(unsafe_code, reason = "identity and session must change between fork and exec")]
    // SAFETY: only system calls; what they allocate is freed again, by the only thread there is.
    unsafe {
        command.pre_exec(move || {
            if libc::dup2(seam, SEAM_FD) < 0 {
                return Err(io::Error::last_os_error());
            }
            if seam == SEAM_FD {
                // dup2 onto itself keeps close-on-exec.
                libc::fcntl(SEAM_FD, libc::F_SETFD, 0);
            }
            prepare()
        });
    }
    command.spawn()
}

/// Gives up every privilege for good.
fn drop_privileges(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    use caps::{CapSet, clear};
    // The bounding set first: it takes CAP_SETPCAP, which goes with the user.
    let _ = clear(None, CapSet::Bounding);
    clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    setgroups(groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        clear(None, set).map_err(io::Error::other)?;
    }
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}
