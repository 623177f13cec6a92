//! Detaching behind the caller's back. In goes what holds programs, links and watches; it is gone within a
//! fifth of a second, and nobody waits for that.
//!
//! The kernel takes a grace period for the last descriptor of a link of uprobes (17 ms; two seconds where they
//! are perf events) and one for that of an inotify group. So that last descriptor is left to a process that has
//! nothing else to do. Nothing is said to it and it looks at nothing: also when it is killed, all is detached.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, close, fork, pipe2, read};

/// Drops it. Where there can be no other process, the kernel's waiting is waited for.
pub(super) fn behind<T>(held: T) {
    let other_end = pipe2(OFlag::O_CLOEXEC).ok().and_then(|(ours, theirs)| {
        #[expect(unsafe_code, reason = "fork: only another process can have the last descriptors")]
        // SAFETY: the child calls `linger`, which neither allocates nor locks nor returns.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => linger(&ours, theirs),
            Ok(ForkResult::Parent { .. }) => Some(theirs),
            Err(_) => None,
        }
    });
    drop(held);
    drop(other_end);
}

/// Ends when the parent has let go.
fn linger(ours: &OwnedFd, theirs: OwnedFd) -> ! {
    drop(theirs);
    // Whoever reads what the parent printed waits for the last of these to be closed.
    for standard in 0..3 {
        let _ = close(standard);
    }
    while read(ours, &mut [0]) == Err(Errno::EINTR) {}
    #[expect(unsafe_code, reason = "std's exit would run the parent's exit handlers")]
    // SAFETY: _exit has no preconditions.
    unsafe {
        libc::_exit(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_is_dropped_and_the_last_descriptor_is_closed_elsewhere() {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).unwrap();
        behind(theirs);
        // The end of that pipe comes when both processes have closed it.
        let begun = Instant::now();
        assert_eq!(std::fs::File::from(ours).read(&mut [0]).unwrap(), 0);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
