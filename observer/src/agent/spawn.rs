//! Starts the worker: the same program, as the invoking user, without any capability.

use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use nix::libc;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::seam::Seam;

/// The hidden subcommand that the worker is.
pub const WORKER: &str = "__worker";
/// The descriptor its end of the seam has.
pub const SEAM_FD: i32 = 3;

/// The user that the worker becomes.
pub struct User {
    /// User
    pub uid: u32,
    /// Primary group
    pub gid: u32,
    /// Supplementary groups
    pub groups: Vec<u32>,
}

/// Starts the worker; its end of the seam is descriptor 3 there.
pub fn worker(user: &User, seam: &Seam) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(WORKER).stdin(std::process::Stdio::null());
    let seam = seam.as_raw_fd();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    #[expect(unsafe_code, reason = "the identity must change between fork and exec")]
    // SAFETY: only system calls; this process has one thread, so no lock can be held by another.
    unsafe {
        command.pre_exec(move || {
            if libc::dup2(seam, SEAM_FD) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            if seam == SEAM_FD {
                // dup2 onto itself keeps close-on-exec.
                libc::fcntl(SEAM_FD, libc::F_SETFD, 0);
            }
            drop_privileges(uid, gid, &groups)
        });
    }
    command.spawn().context("cannot start the worker")
}

/// Gives up every privilege for good.
fn drop_privileges(uid: Uid, gid: Gid, groups: &[Gid]) -> std::io::Result<()> {
    use caps::{CapSet, clear};
    // The bounding set first: it takes CAP_SETPCAP, which goes with the user.
    let _ = clear(None, CapSet::Bounding);
    clear(None, CapSet::Ambient).map_err(std::io::Error::other)?;
    setgroups(groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        clear(None, set).map_err(std::io::Error::other)?;
    }
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}
