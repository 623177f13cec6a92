//! Large commands are worked through by a thread beside the frames, so that none waits for it. In: a
//! copy of the command, and what is looked at. Out: its digest, lanes and rows, a little later.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use model::id::CommandId;
use model::operations::Threads;
use model::state::CommandState;
use model::time::SinceStart;

use super::digest::{Digest, LanesKey};
use super::table::Order;
use super::tables::{self, Subject};
use super::theme::Theme;
use super::timeline::lanes::{self, Lane};
use super::view::{ListView, Narrow, Tab};

/// What is to be worked out.
#[derive(Debug)]
pub(super) struct Job {
    /// As it is now
    pub command: CommandState,
    /// Its number
    pub id: CommandId,
    /// The present
    pub now: SinceStart,
    /// What its threads do
    pub threads: Threads,
    /// The timeline is looked at
    pub lanes: Option<LanesKey>,
    /// A table is
    pub order: Option<(Tab, ListView, Wanted)>,
}

/// What of a table is wanted: the filter, whether what has ended is left out, and what ended before.
pub(super) type Wanted = (String, bool, Option<SinceStart>);

/// What was.
#[derive(Debug)]
pub(super) struct Done {
    /// Of which command
    pub id: CommandId,
    /// Its digest
    pub digest: Digest,
    /// Lanes, and of when they are
    pub lanes: Option<(LanesKey, SinceStart, Vec<Lane>)>,
    /// Rows of a table
    pub order: Option<(Tab, Order)>,
}

/// The thread: one job at a time.
#[derive(Debug)]
pub(super) struct Background {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    busy: bool,
}

impl Background {
    /// Starts it; `None` where there can be no thread.
    pub(super) fn start() -> Option<Self> {
        let (jobs, to_do) = sync_channel::<Job>(1);
        let (results, done) = sync_channel(1);
        let work = move || {
            while let Ok(job) = to_do.recv() {
                if results.send(job.work()).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("digest".into()).spawn(work).ok()?;
        Some(Self { jobs, done, busy: false })
    }

    /// Something is being worked out.
    pub(super) const fn busy(&self) -> bool {
        self.busy
    }

    /// Takes a job; only when it is not busy.
    pub(super) fn give(&mut self, job: Job) {
        self.busy = self.jobs.try_send(job).is_ok();
    }

    /// What has been worked out meanwhile.
    pub(super) fn take(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.busy = false;
        Some(done)
    }
}

impl Job {
    fn work(self) -> Done {
        let Self { command, id, now, threads, lanes, order } = self;
        let digest = Digest::new(&command, id, now, threads);
        let lanes = lanes.map(|key| {
            let lanes = lanes::lanes(&command, now, key.focus, &key.filter);
            (key, now, lanes)
        });
        let order = order.and_then(|(tab, list, (filter, hide_ended, since))| {
            let narrow = Narrow { filter: &filter, hide_ended, since };
            let source = tables::source(tab, Subject { command: &command, now, theme: Theme::default() })?;
            Some((tab, Order::new(source.as_ref(), (id, command.changes), now, &list, narrow)))
        });
        Done { id, digest, lanes, order }
    }
}
