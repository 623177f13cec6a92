//! A resolv.conf of the child's own, in a mount namespace that ends with the command. Called
//! between fork and exec: system calls only, nothing is allocated.
//!
//! The file is in a tmpfs that is mounted, and let go again, inside that namespace: neither the
//! file nor a mount is ever anywhere else, whatever becomes of us.

use std::ffi::CStr;

use nix::libc;

use super::child::Step;

/// Covered for a moment; it is there wherever goobserve runs.
const FOLDER: &CStr = c"/proc";
const FILE: &CStr = c"/proc/resolv.conf";
const RESOLV_CONF: &CStr = c"/etc/resolv.conf";
const TMPFS: &CStr = c"tmpfs";
/// Room for any resolv.conf that a resolver reads; not writable by the user.
const TMPFS_OPTIONS: &CStr = c"size=256k,mode=755";

/// Gives this process, and what it executes, that resolv.conf. Errno says why a step failed.
#[expect(unsafe_code, reason = "between fork and exec only bare system calls are allowed")]
pub(super) fn resolv_conf(text: &[u8]) -> Result<(), Step> {
    let null = std::ptr::null();
    let done = |result: libc::c_int, step| if result == 0 { Ok(()) } else { Err(step) };
    // SAFETY: every call is async-signal-safe; strings are constants that end with NUL, the
    // buffer is the caller's with its length.
    unsafe {
        done(libc::unshare(libc::CLONE_NEWNS), Step::Namespace)?;
        // Mounts of the machine still arrive here; ours do not leave.
        let quiet = libc::MS_REC | libc::MS_SLAVE;
        done(libc::mount(null, c"/".as_ptr(), null, quiet, null.cast()), Step::Namespace)?;
        let options = TMPFS_OPTIONS.as_ptr().cast();
        done(libc::mount(TMPFS.as_ptr(), FOLDER.as_ptr(), TMPFS.as_ptr(), 0, options), Step::Resolv)?;
        let file = libc::open(FILE.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY, 0o644);
        if file < 0 {
            return Err(Step::Resolv);
        }
        // The caller's mask may be narrower than the command's user needs.
        done(libc::fchmod(file, 0o644), Step::Resolv)?;
        let mut left = text;
        while !left.is_empty() {
            let written = libc::write(file, left.as_ptr().cast(), left.len());
            if written <= 0 {
                return Err(Step::Resolv);
            }
            left = left.get(written.unsigned_abs()..).unwrap_or_default();
        }
        libc::close(file);
        done(
            libc::mount(FILE.as_ptr(), RESOLV_CONF.as_ptr(), null, libc::MS_BIND, null.cast()),
            Step::Resolv,
        )?;
        done(libc::umount2(FOLDER.as_ptr(), libc::MNT_DETACH), Step::Resolv)
    }
}
