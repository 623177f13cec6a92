//! What attaching a uprobe waits for, begun while it is still found out where to attach.
//!
//! Before the kernel installs a uprobe it waits until nobody forks as if there were none: a grace period of
//! RCU, some milliseconds, unless somebody has installed or removed one just before (`dup_mmap_sem` of
//! `kernel/events/uprobes.c`, `rcu_sync_enter` of `kernel/rcu/sync.c`). So one is installed in a file of ours
//! that nobody runs.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use aya::programs::UProbe;
use aya::programs::uprobe::{UProbeAttachPoint, UProbeScope};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// How long it stays: the attachment that it is for is made by then, and removing it is in nobody's way.
const FOR: Duration = Duration::from_millis(50);

/// At most one at a time.
#[derive(Default)]
pub(super) struct Hastening(Arc<AtomicBool>);

impl Hastening {
    /// Begins; does not wait for it.
    pub(super) fn begin(&self, mut program: UProbe, point: UProbeAttachPoint<'static>) {
        let (Ok(file), false) = (nowhere(), self.0.swap(true, Ordering::Relaxed)) else { return };
        let busy = Arc::clone(&self.0);
        let hasten = move || {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            if let Ok(link) = program.attach([point].as_slice(), &path, UProbeScope::AllProcesses) {
                std::thread::sleep(FOR);
                drop(program.take_link(link));
            }
            busy.store(false, Ordering::Relaxed);
        };
        // Where there is no thread, an attachment takes as long as it does.
        if std::thread::Builder::new().spawn(hasten).is_err() {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}

/// A file with a few bytes.
pub(super) fn nowhere() -> Result<File> {
    let file = File::from(memfd_create(c"nowhere", MFdFlags::MFD_CLOEXEC)?);
    file.write_all_at(&[0x90; 64], 0)?;
    Ok(file)
}
