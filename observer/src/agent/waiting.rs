//! With `run`, one descriptor for everything that the agent waits for: the worker, the holder, files
//! that change, and a second that is over.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::Agent;

/// How often is looked for what nobody reports.
const TICK: Duration = Duration::from_secs(1);

/// What is waited for.
pub(super) struct Waiting {
    all: Epoll,
    ticks: TimerFd,
}

impl Waiting {
    /// Waits for what `agent` has now.
    pub(super) fn of(agent: &Agent) -> Result<Self> {
        let all = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot wait for many")?;
        let ticks =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
                .context("cannot make a timer")?;
        let every = Expiration::Interval(TimeSpec::from_duration(TICK));
        ticks.set(every, TimerSetTimeFlags::empty()).context("cannot set a timer")?;
        let waiting = Self { all, ticks };
        waiting.wait_for(waiting.ticks.as_fd(), false);
        waiting.update(agent);
        Ok(waiting)
    }

    /// Waits for what is new: a holder that was started again, room for what is to be sent.
    pub(super) fn update(&self, agent: &Agent) {
        self.wait_for(agent.seam.as_fd(), agent.seam.is_waiting());
        if let Some(hold) = &agent.hold {
            self.wait_for(hold.as_fd(), hold.is_waiting());
        }
        agent.files.changes().for_each(|fd| self.wait_for(fd, false));
    }

    /// Whether a second is over.
    pub(super) fn ticked(&self) -> bool {
        self.ticks.wait().is_ok()
    }

    /// Until there is something to read or, with `room`, room to write.
    fn wait_for(&self, fd: BorrowedFd<'_>, room: bool) {
        let flags = if room { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
        let mut event = EpollEvent::new(flags, 0);
        // What is waited for already is refused, and then changed.
        if self.all.add(fd, event).is_err() {
            let _ = self.all.modify(fd, &mut event);
        }
    }
}

impl AsFd for Waiting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.all.0.as_fd()
    }
}
