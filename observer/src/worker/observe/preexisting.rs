//! What the agent found running, and which programs may be followed.

use model::clean::clean;
use model::id::{Pid, TreeId};
use model::time::Monotonic;
use observer_common::Lock;
use pipeline::correlate::preexisting::{PreexistingLock, PreexistingProcess};

use super::{Binary, Observer, locks};
use crate::seam::{Programs, Seam, ToAgent};

/// Why a program cannot be followed; `None` when it can.
pub(super) fn judge(binary: &Binary) -> Option<String> {
    binary.refused.as_ref().map(|why| format!("{}: {why}", clean(&binary.path)))
}

impl Observer {
    /// A process that ran already.
    pub(super) fn preexisting(&mut self, process: &PreexistingProcess) {
        self.correlator.preexisting(process, &mut self.events);
        if process.topmost {
            self.queue.now(process.pid);
        }
        self.take();
    }

    /// Threads of such processes wait for locks.
    pub(super) fn preexisting_locks(&mut self, root: TreeId, at_ns: Monotonic, waits: Vec<PreexistingLock>) {
        let mut asked = Vec::new();
        for wait in &waits {
            self.correlator.preexisting_lock(root, at_ns, wait, &mut self.events);
            let lock = Lock { ino: wait.ino, dev: wait.dev, pad: 0 };
            let modules = super::modules_of(&self.state, &self.correlator, wait.pid);
            asked.push(locks::wait(wait.pid, &lock, modules));
        }
        for (wait, facts) in waits.into_iter().zip(locks::facts(&asked, &self.opener)) {
            self.correlator.lock_facts(wait.tid, facts, &mut self.events);
        }
        self.take();
    }

    /// The kernel's diagnostics alone say how sockets are that were there already.
    pub(super) fn ask_for_sockets(&self, seam: &Seam) {
        for root in self.correlator.preexisting_trees() {
            // Without room they are asked about a little later.
            let _ = seam.offer(&ToAgent::Sockets { root }, &[]);
        }
    }

    /// Whether a command is to be followed although its program is not the go command.
    pub(super) fn wanted(&self, pid: Pid, binary: &Binary) -> bool {
        let whose = || self.state.command(self.correlator.command_of(pid)?)?.record.as_ref()?.uid;
        let wanted = match self.task.programs {
            Programs::Go => false,
            Programs::Own => whose() == Some(self.task.caller),
            Programs::Any => true,
        };
        wanted && binary.refused.is_none()
    }
}
