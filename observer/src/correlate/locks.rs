//! Waits for file locks.

use std::collections::HashMap;

use observer_common::{Header, LOCK_TAKEN, Lock};

use super::{Clock, Out, Owner};
use crate::model::event::{Body, Event, LockWait};

/// Waits by thread.
pub(super) struct Locks {
    waits: HashMap<u32, LockWait>,
    next: u32,
}

impl Locks {
    pub(super) fn new(_: Clock) -> Self {
        Self { waits: HashMap::new(), next: 1 }
    }

    pub(super) fn lock(&mut self, owner: &Owner, header: &Header, _: &Lock, out: &mut Out<'_>) {
        if header.flags & LOCK_TAKEN != 0 {
            if let Some(mut wait) = self.waits.remove(&header.tid) {
                wait.end_ns = Some(out.at_ns);
                out.push(Body::Lock(wait));
            }
            return;
        }
        let wait = LockWait {
            command: owner.command,
            id: self.next,
            pid: owner.pid,
            start_ns: out.at_ns,
            ..LockWait::default()
        };
        self.next += 1;
        out.push(Body::Lock(wait.clone()));
        self.waits.insert(header.tid, wait);
    }

    /// What `/proc` says of a process's waits.
    pub(super) fn facts(
        &mut self,
        pid: u32,
        path: Option<String>,
        holder: Option<u32>,
        events: &mut Vec<Event>,
    ) {
        for wait in self.waits.values_mut().filter(|wait| wait.pid == pid && wait.holder.is_none()) {
            wait.path = path.clone();
            wait.holder = holder;
            events.push(Event { at_ns: wait.start_ns, body: Body::Lock(wait.clone()) });
        }
    }

    pub(super) fn forget(&mut self, command: u32) {
        self.waits.retain(|_, wait| wait.command != command);
    }
}
