//! Detaches without making the user wait.
//!
//! The kernel takes a grace period for each uprobe that is removed, two seconds in all, and a
//! process that ends waits for it. So a child that shares the descriptors removes them when this
//! process has ended (before, the removal would hold up that end as well).

use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{ForkResult, fork, setsid};

use crate::source::kernel::Kernel;

/// How long the child waits for this process's end, which is a few system calls away.
const END_WITHIN_MS: u16 = 2000;

/// Detaches everything when this process ends, which must be soon.
pub fn behind(kernel: Kernel) {
    let me = myself();
    #[expect(unsafe_code, reason = "the descriptors are shared by a fork")]
    // SAFETY: this process has one thread, so no lock can be held by another in the child.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => std::mem::forget(kernel), // the child has them too
        Ok(ForkResult::Child) => {
            // Who reads our output must see its end now.
            for stream in 0..3 {
                #[expect(unsafe_code, reason = "closing by number")]
                // SAFETY: this child uses none of them any more.
                unsafe {
                    libc::close(stream)
                };
            }
            let _ = setsid(); // a terminal that closes must not end it half-way
            if let Some(parent) = me {
                let mut end = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut end, PollTimeout::from(END_WITHIN_MS)); // then detaches anyway
            }
            drop(kernel);
            std::process::exit(0);
        }
        Err(_) => drop(kernel), // slower, as well
    }
}

/// A descriptor that becomes readable when this process has ended.
fn myself() -> Option<OwnedFd> {
    #[expect(unsafe_code, reason = "nix has no pidfd_open")]
    // SAFETY: a system call without pointers; its result is a new descriptor or an error.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}
