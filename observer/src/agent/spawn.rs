//! Starts the worker: the same program, as nobody, without any capability; its opener: the same, as the
//! invoking user; and the holder: the same program, out of reach of any terminal.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use nix::libc;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::finder::FINDER;
use super::holder::HOLDER;
use crate::opener::OPENER;
use crate::seam::Seam;
use crate::verbose;

/// The hidden subcommand that the worker is.
pub const WORKER: &str = "__worker";
/// The descriptor that its end of the seam has; the worker's end of the opener's has the next.
pub const SEAM_FD: i32 = 3;

/// The user that owns nothing; the number below it where that one is who called.
const NOBODY: u32 = 65_534;

/// The user that a part becomes.
pub(super) struct User {
    /// User
    pub uid: u32,
    /// Primary group
    pub gid: u32,
    /// Supplementary groups
    pub groups: Vec<u32>,
}

impl User {
    /// One who may read and write no file of that user's, nor signal a process of his.
    fn nobody(beside: &Self) -> Self {
        let uid = if beside.uid == NOBODY { NOBODY - 1 } else { NOBODY };
        Self { uid, gid: uid, groups: Vec::new() }
    }

    /// Becomes that user, for good and without any capability.
    fn become_it(&self) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        move || drop_privileges(uid, gid, &groups)
    }
}

/// Starts the worker beside its opener; its ends of both seams are descriptors 3 and 4 there.
pub(super) fn worker(beside: &User, seam: &Seam, opener: &Seam) -> Result<Child> {
    let user = User::nobody(beside);
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(WORKER).args(verbose::option());
    start(command, &[seam, opener], user.become_it()).context("cannot start the worker")
}

/// Starts the opener, as the user who called.
pub(super) fn opener(user: &User, seam: &Seam) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(OPENER).args(verbose::option()).stdout(Stdio::null());
    start(command, &[seam], user.become_it()).context("cannot start the opener")
}

/// Starts the holder, likewise.
pub(super) fn holder(seam: &Seam) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(HOLDER).stdout(Stdio::null());
    // Its seam's end ends it, and its watchdog when it does not look. No signal when its parent dies:
    // the kernel would send it when the thread that starts it ends.
    let apart = || nix::unistd::setsid().map(|_| ()).map_err(io::Error::from);
    start(command, &[seam], apart).context("cannot start the holder")
}

/// Starts the finder, likewise.
pub(super) fn finder(seam: &Seam) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("goobserve").arg(FINDER).stdout(Stdio::null());
    start(command, &[seam], || Ok(nix::unistd::setsid().map(drop)?)).context("cannot start the finder")
}

/// Starts a part of goobserve; `prepare` is called behind the fork.
fn start(
    mut command: Command,
    seams: &[&Seam],
    mut prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<Child> {
    let seams: Vec<_> = seams.iter().map(|seam| seam.as_raw_fd()).collect();
    command.stdin(Stdio::null());
    #[expect(unsafe_code, reason = "identity and session must change between fork and exec")]
    // SAFETY: only system calls; what they allocate is freed again, by the only thread there is.
    unsafe {
        command.pre_exec(move || {
            let done = |result: i32| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
            // Out of the way first: one's number may be what another is to have.
            let mut copies = [0; 2];
            for (copy, seam) in copies.iter_mut().zip(&seams) {
                *copy = done(libc::fcntl(*seam, libc::F_DUPFD_CLOEXEC, SEAM_FD + 2))?;
            }
            for (number, copy) in (SEAM_FD..).zip(copies).take(seams.len()) {
                done(libc::dup2(copy, number))?;
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
