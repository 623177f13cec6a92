//! Which processes the agent is asked to look at, and when. In go programs that have begun, out
//! come requests to the agent: for a short command none, for it is over before one is answered.

use std::collections::{HashSet, VecDeque};

use model::id::{Pid, TreeId};
use model::time::{Ns, SinceStart};
use nix::sys::stat::{major, minor};
use observer_common::{Header, LOCAL_RESOLVERS};

use crate::seam::{FileId, Seam, ToAgent};

/// Requests to the agent without an answer.
const ASKED_MAX: usize = 16;
/// A command whose program is known is looked at (for its folder, its environment) when it has
/// lasted that long: `go version` takes 5 to 10 ms, a look a third of one, of both processes.
const LATER_NS: Ns = 20_000_000;
/// Processes that wait to be looked at: as many as can be followed.
const WANTED_MAX: usize = 4096;
/// Programs remembered as looked at; beyond it all are forgotten, and looked at once more.
const SEEN_MAX: usize = 4096;

/// Trees that run at a time; one that is forgotten is looked at again.
const TREES_MAX: usize = 4096;

/// Processes that the agent is to look at. Few are asked at a time: those that end meanwhile need
/// not be.
#[derive(Default)]
pub(super) struct ProbeQueue {
    wanted: VecDeque<Pid>,
    /// In order of time
    later: VecDeque<(SinceStart, Pid)>,
    asked: usize,
    /// Programs that were looked at, as the kernel numbers them
    seen: HashSet<(u32, u64)>,
}

impl ProbeQueue {
    /// A program runs; whether it is the first time.
    pub(super) fn first(&mut self, dev: u32, ino: u64) -> bool {
        if self.seen.len() >= SEEN_MAX {
            self.seen.clear();
        }
        self.seen.insert((dev, ino))
    }

    /// The agent could not be asked about a program: it is the first time again when it runs next.
    pub(super) fn unasked(&mut self, dev: u32, ino: u64) {
        self.seen.remove(&(dev, ino));
    }

    /// A program has gone: when that file runs again it is looked at as if for the first time. Where
    /// the kernel's numbers are others than stat's, all are.
    pub(super) fn forget(&mut self, file: FileId) {
        let dev = (major(file.dev) << 20 | minor(file.dev)) as u32;
        if !self.seen.remove(&(dev, file.ino)) {
            self.seen.clear();
        }
    }

    /// Looks at a process as soon as may be. Beyond the limit it is not looked at: what a look
    /// would report stays unknown.
    pub(super) fn now(&mut self, pid: Pid) {
        if self.wanted.len() < WANTED_MAX {
            self.wanted.push_back(pid);
        }
    }

    /// Looks at a process that began at `at` if it lasts.
    pub(super) fn later(&mut self, at: SinceStart, pid: Pid) {
        if self.later.len() < WANTED_MAX {
            self.later.push_back((at + LATER_NS, pid));
        }
    }

    /// A process has ended.
    pub(super) fn ended(&mut self, pid: Pid) {
        self.later.retain(|(_, wanted)| *wanted != pid);
        self.wanted.retain(|wanted| *wanted != pid);
    }

    /// Asks for what is due at `now`.
    pub(super) fn ask(&mut self, now: SinceStart, seam: &Seam) {
        while let Some((_, pid)) = self.later.pop_front_if(|(due, _)| *due <= now) {
            self.now(pid);
        }
        while self.asked < ASKED_MAX
            && seam.has_room()
            && let Some(pid) = self.wanted.pop_front()
        {
            if seam.offer(&ToAgent::Inspect { pid }, &[]) {
                self.asked += 1;
            }
        }
    }

    /// The agent has answered.
    pub(super) fn answered(&mut self, now: SinceStart, seam: &Seam) {
        self.asked = self.asked.saturating_sub(1);
        self.ask(now, seam);
    }
}

/// Trees whose first query to a name server was seen: the agent is asked to look for local resolver
/// resolvers, which may have been started since it last did.
#[derive(Default)]
pub(super) struct LocalResolverQueue(HashSet<TreeId>);

impl LocalResolverQueue {
    /// Whether the tree of a message to a name server had asked none yet, and the agent can be asked.
    pub(super) fn first_query(&mut self, header: &Header, seam: &Seam) -> bool {
        if header.root == LOCAL_RESOLVERS || self.0.contains(&TreeId(header.root)) || !seam.has_room() {
            return false;
        }
        if self.0.len() >= TREES_MAX {
            self.0.clear();
        }
        self.0.insert(TreeId(header.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pids asked for, as the agent gets them.
    fn asked(queue: &mut ProbeQueue, now: SinceStart) -> Vec<Pid> {
        let (agent, worker) = Seam::pair().expect("a socket pair");
        queue.ask(now, &worker);
        let next = || match agent.receive::<ToAgent>() {
            Ok(Some((ToAgent::Inspect { pid }, _))) => Some(pid),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_short_command_is_not_looked_at_and_a_longer_one_once() {
        let mut queue = ProbeQueue::default();
        queue.later(SinceStart(0), Pid(1));
        queue.later(SinceStart(5), Pid(2));
        assert_eq!(asked(&mut queue, SinceStart(LATER_NS - 1)).len(), 0);
        queue.ended(Pid(1));
        assert_eq!(asked(&mut queue, SinceStart(LATER_NS + 5)), [Pid(2)]);
        assert_eq!(asked(&mut queue, SinceStart(2 * LATER_NS)).len(), 0);
    }

    #[test]
    fn few_are_asked_at_a_time_and_all_are_in_the_end() {
        let mut queue = ProbeQueue::default();
        (0..40).for_each(|pid| queue.now(Pid(pid)));
        assert_eq!(asked(&mut queue, SinceStart(0)).len(), ASKED_MAX);
        let (_agent, worker) = Seam::pair().expect("a socket pair");
        (0..40).for_each(|_| queue.answered(SinceStart(0), &worker));
        assert_eq!((queue.wanted.len(), queue.asked), (0, 0));
    }

    #[test]
    fn any_number_of_programs_and_processes_takes_bounded_memory() {
        let mut queue = ProbeQueue::default();
        for number in 0..20_000 {
            assert!(queue.first(1, u64::from(number)));
            queue.now(Pid(number));
            queue.later(SinceStart(0), Pid(number));
        }
        assert!(queue.seen.len() <= SEEN_MAX);
        assert_eq!((queue.wanted.len(), queue.later.len()), (WANTED_MAX, WANTED_MAX));
    }
}
