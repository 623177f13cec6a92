//! Waits for file locks.

use std::collections::HashMap;

use model::event::{Body, LockWait};
use model::id::{CommandId, LockId, Pid, Tid};
use observer_common::{Header, LOCK_TAKEN, Lock};

use super::{Out, Owner};

/// What `/proc` says of a lock that is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFacts {
    /// The file
    pub path: Option<String>,
    /// The repository that it guards
    pub repository: Option<String>,
    /// Pid of the holder
    pub holder: Option<Pid>,
}

/// Waits by thread.
pub(super) struct Locks {
    waits: HashMap<Tid, LockWait>,
    next: LockId,
}

impl Locks {
    pub(super) fn new() -> Self {
        Self { waits: HashMap::new(), next: LockId::FIRST }
    }

    pub(super) fn lock(&mut self, owner: Owner<'_>, header: &Header, _: &Lock, out: &mut Out<'_>) {
        if header.flags & LOCK_TAKEN != 0 {
            if let Some(mut wait) = self.waits.remove(&Tid(header.tid)) {
                wait.end_ns = Some(out.at_ns);
                out.push(Body::Lock(wait));
            }
            return;
        }
        let wait = LockWait {
            command: owner.command,
            id: self.next.give(),
            pid: owner.pid,
            start_ns: out.at_ns,
            ..LockWait::default()
        };
        out.push(Body::Lock(wait.clone()));
        self.waits.insert(Tid(header.tid), wait);
    }

    /// A thread was found waiting for a lock.
    pub(super) fn preexisting(&mut self, owner: Owner<'_>, tid: Tid, out: &mut Out<'_>) {
        let wait = LockWait {
            command: owner.command,
            id: self.next.give(),
            pid: owner.pid,
            start_ns: out.at_ns,
            joined_late: true,
            ..LockWait::default()
        };
        out.push(Body::Lock(wait.clone()));
        self.waits.insert(tid, wait);
    }

    /// What `/proc` says of a process's waits.
    pub(super) fn facts(&mut self, tid: Tid, facts: LockFacts, out: &mut Out<'_>) {
        if let Some(wait) = self.waits.get_mut(&tid) {
            wait.path = facts.path;
            wait.repository = facts.repository;
            wait.holder = facts.holder;
            out.push(Body::Lock(wait.clone()));
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    pub(super) fn forget(&mut self, command: CommandId) {
        self.waits.retain(|_, wait| wait.command != command);
    }
}
