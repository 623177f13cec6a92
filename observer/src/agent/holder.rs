//! The process that holds programs nobody has seen before until they are attached to, and does
//! nothing else. In come the kernel's permission events, that ask whether a file may be executed and the agent's
//! word that a file is attached to; out go answers, always yes.
//!
//! The kernel lets every exec wait for this process. So that none waits for long:
//! - a file is held once, and 20 ms at most, whatever the agent does; with `run` a process of CMD's
//!   tree 250 ms, and nobody else at all;
//! - it lives in a session of its own: no key of a terminal stops it;
//! - the kernel kills it, stopped or not, when it has not looked for 100 ms, and answers then
//!   itself; so does its end for any other reason;
//! - it opens nothing, and asks nobody.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap as BpfHashMap, Map, MapData};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::stat::fstat;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use observer_common::{LOCAL_RESOLVERS, Process};
use serde::{Deserialize, Serialize};

use crate::seam::{FileId, Seam};

/// The hidden subcommand that it is.
pub const HOLDER: &str = "__hold";
/// Longest hold of anybody's program.
const HOLD: Duration = Duration::from_millis(20);
/// Longest hold in the tree of CMD, whose requests were asked for: attaching takes longer on a busy
/// machine.
const HOLD_TREE: Duration = Duration::from_millis(250);
/// Without a look for that long the kernel kills it: an exec is late by little more than that.
const ALIVE: Duration = Duration::from_millis(100);
/// It looks that often at least.
const CHECK_EVERY: Duration = Duration::from_millis(40);
/// Execs that are held at a time; beyond it they are answered at once.
const PENDING_MAX: usize = 64;
/// Files remembered as answered, where the kernel cannot do that for us.
const KNOWN_MAX: usize = 4096;

/// Agent to holder.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToHolder {
    /// Only the processes in this map are to be held; with its descriptor
    Tree,
    /// Programs of this file system are to be held; with a descriptor of its mount point
    Mark,
    /// All that there is to mark by now was reported: listen
    Begin,
    /// A file is attached to, or will not be
    Release {
        /// The file
        file: FileId,
    },
    /// That is over: its number may become another's
    Forget {
        /// The file
        file: FileId,
    },
}

/// Holder to agent.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromHolder {
    /// It listens; all that was reported before [`ToHolder::Begin`] is marked
    Listening,
    /// It cannot: why
    Refused {
        /// The reason
        what: String,
    },
    /// A program waits for its exec; with its descriptor
    Held {
        /// The file
        file: FileId,
        /// Its path
        path: String,
    },
}

/// Its whole life. Returns its exit status.
pub fn main(seam_fd: i32) -> i32 {
    let Ok(seam) = Seam::inherited(seam_fd) else {
        crate::say::line("this is goobserve's inner part; it is not to be called");
        return 1;
    };
    let listening = match Holder::new(&seam) {
        Ok(holder) => holder,
        Err(error) => {
            let _ = seam.send(&FromHolder::Refused { what: format!("{error:#}") }, &[]);
            return 1;
        }
    };
    // Its end, however it comes about, lets every program go.
    i32::from(listening.serve().is_err())
}

struct Holder<'a> {
    group: Fanotify,
    alive: Timer,
    seam: &'a Seam,
    /// With `run`: processes that are followed
    tree: Option<Followed>,
    pending: Vec<Pending>,
    /// Files that are answered at once: attached to before they ran, or known before Linux 5.19
    known: HashSet<FileId>,
}

struct Pending {
    event: FanotifyEvent,
    file: FileId,
    until: Instant,
}

impl<'a> Holder<'a> {
    fn new(seam: &'a Seam) -> Result<Self> {
        prepare();
        let killed = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 });
        let alive = Timer::new(ClockId::CLOCK_MONOTONIC, killed).context("no timer for the watchdog")?;
        let flags = InitFlags::FAN_CLASS_CONTENT
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_MARKS;
        let files = EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC | EventFFlags::O_LARGEFILE;
        let group = Fanotify::init(flags, files).context("fanotify with permission events")?;
        Ok(Self { group, alive, seam, tree: None, pending: Vec::new(), known: HashSet::new() })
    }

    fn serve(mut self) -> Result<()> {
        self.lives()?;
        loop {
            let now = Instant::now();
            let next = self.pending.iter().map(|held| held.until).min();
            let wait = next.map_or(CHECK_EVERY, |next| next.saturating_duration_since(now)).min(CHECK_EVERY);
            let wait = PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::ZERO);
            let mut fds = [
                PollFd::new(self.group.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.seam.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let reported = fds[1].any().unwrap_or(true);
            self.lives()?;
            self.permission_events()?;
            if reported && !self.words()? {
                return Ok(()); // the agent has gone
            }
            let now = Instant::now();
            self.answer(|held| held.until <= now);
        }
    }

    /// Puts off its own death.
    fn lives(&mut self) -> Result<()> {
        let alive = Expiration::OneShot(TimeSpec::from_duration(ALIVE));
        self.alive.set(alive, TimerSetTimeFlags::empty()).context("the watchdog's timer")
    }

    /// Reads what the kernel asks; what is held stays in `pending`.
    fn permission_events(&mut self) -> Result<()> {
        let events = match self.group.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno).context("fanotify cannot be read"),
        };
        for event in events {
            let found = candidate(&event);
            if found.is_some() && self.tree.as_ref().is_some_and(|tree| !tree.has(event.pid())) {
                // The tree's own exec of that file is still to be asked about.
                self.yes(&event);
                continue;
            }
            let held = found
                .filter(|(file, _)| !self.known.contains(file) && self.pending.len() < PENDING_MAX)
                .filter(|(file, path)| self.ask(*file, path, &event));
            let limit = if self.tree.is_some() { HOLD_TREE } else { HOLD };
            match held {
                Some((file, _)) => self.pending.push(Pending { event, file, until: Instant::now() + limit }),
                None => self.allow(&event, None),
            }
        }
        Ok(())
    }

    /// Reports the agent of a program; false when nobody will attach to it.
    fn ask(&self, file: FileId, path: &Path, event: &FanotifyEvent) -> bool {
        let waiting = self.pending.iter().any(|held| held.file == file);
        let path = path.to_string_lossy().into_owned();
        waiting || event.fd().is_some_and(|fd| self.seam.try_send(&FromHolder::Held { file, path }, &[fd]))
    }

    /// Hears the agent; false when it has gone.
    fn words(&mut self) -> Result<bool> {
        loop {
            match self.seam.receive::<ToHolder>() {
                Ok(Some((ToHolder::Release { file }, _))) => {
                    self.knows(file);
                    self.answer(|held| held.file == file);
                }
                Ok(Some((ToHolder::Forget { file }, _))) => drop(self.known.remove(&file)),
                Ok(Some((ToHolder::Mark, descriptors))) => descriptors.iter().for_each(|fd| self.mark(fd)),
                Ok(Some((ToHolder::Tree, descriptors))) => {
                    self.tree = descriptors.into_iter().next().map(Followed::of).transpose()?;
                }
                Ok(Some((ToHolder::Begin, _))) => self.seam.send(&FromHolder::Listening, &[])?,
                Ok(None) => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A file system that cannot be marked is one where nothing is held.
    fn mark(&self, point: &OwnedFd) {
        let path = format!("/proc/self/fd/{}", point.as_raw_fd());
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        let _ = self.group.mark(flags, MaskFlags::FAN_OPEN_EXEC_PERM, AT_FDCWD, Some(path.as_str()));
    }

    fn answer(&mut self, is_due: impl Fn(&Pending) -> bool) {
        let (due, held): (Vec<_>, _) = std::mem::take(&mut self.pending).into_iter().partition(is_due);
        self.pending = held;
        for Pending { event, file, .. } in due {
            self.allow(&event, Some(file));
        }
    }

    fn knows(&mut self, file: FileId) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(file);
    }

    /// Yes, and the kernel need not ask again about this file until it is written to.
    fn allow(&mut self, event: &FanotifyEvent, candidate: Option<FileId>) {
        let Some(fd) = event.fd() else { return };
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags =
            MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_IGNORED_MASK | MarkFlags::FAN_MARK_EVICTABLE;
        let ignored = self.group.mark(flags, MaskFlags::FAN_OPEN_EXEC_PERM, AT_FDCWD, Some(path.as_str()));
        self.yes(event);
        if let Some(file) = candidate.filter(|_| ignored.is_err()) {
            self.knows(file);
        }
    }

    fn yes(&self, event: &FanotifyEvent) {
        if let Some(fd) = event.fd() {
            // A process that was killed meanwhile waits for no answer.
            let _ = self.group.write_response(FanotifyResponse::new(fd, Response::FAN_ALLOW));
        }
    }
}

/// The processes that the kernel side follows.
struct Followed(BpfHashMap<MapData, u32, [u32; size_of::<Process>() / 4]>);

impl Followed {
    fn of(map: OwnedFd) -> Result<Self> {
        let map = Map::HashMap(MapData::from_fd(map)?);
        Ok(Self(BpfHashMap::try_from(map)?))
    }

    /// Whether it is one of CMD's tree; stub resolvers are followed, too.
    fn has(&self, pid: i32) -> bool {
        self.0.get(&pid.cast_unsigned(), 0).is_ok_and(|[root, ..]| root != LOCAL_RESOLVERS)
    }
}

/// No key, no swapped page and no busy machine keeps it from answering; where one of these is
/// refused, the watchdog is there still.
fn prepare() {
    use caps::{CapSet, Capability};
    use nix::sys::mman::{MlockAllFlags, mlockall};
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
    // Memory above the limit could not be mapped once the capability has gone.
    let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    let future = if unlimited { MlockAllFlags::MCL_FUTURE } else { MlockAllFlags::empty() };
    let _ = mlockall(MlockAllFlags::MCL_CURRENT | future);
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    // The kernel's `struct sched_param`: musl's has more members, and its function refuses to call.
    let lowest_realtime: libc::c_int = 1;
    #[expect(unsafe_code, reason = "nix has neither call")]
    // SAFETY: numbers go in, and one that lives until the call returns.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS as _, 0, -20);
        // Who waits for an answer must not wait for whoever has the CPU as well.
        libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_RR, &raw const lowest_realtime);
    }
    // To mark file systems, and files that only their owners may read.
    let left = [Capability::CAP_SYS_ADMIN, Capability::CAP_DAC_READ_SEARCH].into_iter().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        let _ = caps::set(None, set, &left);
    }
}

/// The file of a permission event, when it may be a go command.
fn candidate(event: &FanotifyEvent) -> Option<(FileId, PathBuf)> {
    let fd = event.fd()?;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    if !is_candidate(&path) {
        return None;
    }
    let status = fstat(fd).ok()?;
    Some((FileId { dev: status.st_dev, ino: status.st_ino }, path))
}

/// `go`, and what a link named `go` may lead to: `go1.27`, `go-1.27`, `go.real`.
fn is_candidate(path: &Path) -> bool {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return false };
    // `.go-wrapped` is what Nix calls a program behind a script.
    let Some(rest) = name.strip_prefix(b".").unwrap_or(name).strip_prefix(b"go") else { return false };
    rest.first().is_none_or(|byte| byte.is_ascii_digit() || b"-._".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_the_go_command_is_held() {
        for name in
            ["/usr/local/go/bin/go", "/usr/bin/go1.27.1", "/x/go-1.22", "/x/go.real", "/x/.go-wrapped"]
        {
            assert!(is_candidate(Path::new(name)), "{name}");
        }
        for name in ["/bin/sh", "/usr/bin/gofmt", "/usr/bin/gopls", "/usr/bin/cargo", "/", "/go/bin/goose"] {
            assert!(!is_candidate(Path::new(name)), "{name}");
        }
    }
}
