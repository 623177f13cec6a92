//! Who holds file locks that are waited for. In: waits. Out: what the opener says of each, in that order.

use model::id::Pid;
use observer_common::Lock;
use pipeline::correlate::LockFacts;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use crate::opener::{LOCKS_MAX, Opener, Reply, Request, Wait};

/// A process waits for a lock; with the module cache of its command.
pub(super) fn wait(pid: Pid, lock: &Lock, modules: Option<PathBuf>) -> Wait {
    let modules = modules.map(|path| path.into_os_string().into_vec());
    Wait { pid, ino: lock.ino, dev: lock.dev, modules }
}

/// What is known of each. Of a process that may not be looked into the holder alone is.
pub(super) fn facts(waits: &[Wait], opener: &Opener) -> Vec<LockFacts> {
    let of = |waits: &[Wait]| match opener.ask(&Request::Locks(waits.to_vec()), None).0 {
        Reply::Locks(held) => held,
        _ => Vec::new(),
    };
    let batches = waits.chunks(LOCKS_MAX).flat_map(|waits| {
        let mut held = of(waits);
        held.resize_with(waits.len(), Default::default);
        held
    });
    batches
        .map(|held| LockFacts { path: held.path, repository: held.repository, holder: held.holder })
        .collect()
}
