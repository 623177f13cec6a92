//! Who wrote to the files of an experiment: its runs, or somebody else meanwhile. In: the folders
//! the files are in, and which processes the runs were. Out: of a file, a process that is none of
//! them. What cannot be known counts as the runs' own.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use model::id::Pid;
use model::report::Report;
use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::sys::stat::fstat;

use super::originals::Inode;

/// Number of the pid namespace that the kernel starts with: only there pids mean the same to the
/// kernel side, which reports a run's processes, and to us.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Writes to files of some folders, since they were last taken off the kernel's queue.
#[derive(Debug, Default)]
pub(super) struct Writers {
    group: Option<Fanotify>,
    /// The kernel dropped events: nobody can be blamed
    lost: bool,
    writes: HashSet<(Inode, Pid)>,
    /// Processes of the runs
    own: HashSet<Pid>,
}

impl Writers {
    /// Watches those folders from now on. It takes root; without, everything is the runs' own.
    pub(super) fn of<'a>(folders: impl Iterator<Item = &'a OwnedFd>) -> Self {
        let first = std::fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns == *FIRST_PID_NAMESPACE);
        let group = first.then(|| watch(folders).ok()).flatten();
        // A fork of this process has other numbers; what it was before is still ours.
        Self { group, own: HashSet::from([Pid(std::process::id())]), ..Self::default() }
    }

    /// A run has ended that was this process, with all that its report lists; or without a report
    /// that lists everything, and then whoever wrote is one of it.
    pub(super) fn ran(&mut self, pid: Option<Pid>, report: Option<&Report>) {
        self.take();
        self.own.extend(pid);
        match report.filter(|report| report.loss.kernel_events_lost == 0) {
            Some(report) => self.own.extend(report.processes.iter().map(|process| process.pid)),
            None => self.own.extend(self.writes.iter().map(|(_, pid)| *pid)),
        }
    }

    /// A process that wrote to the file and was no run's.
    pub(super) fn stranger(&self, file: Inode) -> Option<Pid> {
        let strange = |(written, pid): &&(Inode, Pid)| *written == file && !self.own.contains(pid);
        self.writes.iter().filter(|_| !self.lost).find(strange).map(|(_, pid)| *pid)
    }

    /// Everything is as it was: what was written until now does not matter.
    pub(super) fn forget(&mut self) {
        self.take();
        self.writes.clear();
        self.lost = false;
    }

    fn take(&mut self) {
        let Some(group) = &self.group else { return };
        loop {
            match group.read_events() {
                Ok(events) if events.is_empty() => return,
                Ok(events) => {
                    for event in events {
                        let about = event.fd().and_then(|fd| fstat(fd).ok());
                        let (Some(about), Ok(pid)) = (about, u32::try_from(event.pid())) else {
                            self.lost |= event.fd().is_none(); // the queue has overflown
                            continue;
                        };
                        self.writes.insert((Inode { dev: about.st_dev, ino: about.st_ino }, Pid(pid)));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

fn watch<'a>(folders: impl Iterator<Item = &'a OwnedFd>) -> nix::Result<Fanotify> {
    let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
    let files = EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC | EventFFlags::O_LARGEFILE;
    let group = Fanotify::init(flags, files)?;
    let mask = MaskFlags::FAN_MODIFY | MaskFlags::FAN_EVENT_ON_CHILD;
    for folder in folders {
        group.mark(MarkFlags::FAN_MARK_ADD, mask, folder, Some("."))?;
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::process::Command;

    use super::*;

    fn written(path: &std::path::Path, by: &str) -> Pid {
        let mut child = Command::new("sh").args(["-c", by]).arg(path).spawn().unwrap();
        child.wait().unwrap();
        Pid(child.id())
    }

    #[test]
    fn a_stranger_is_distinguished_from_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("go.mod");
        std::fs::write(&path, "").unwrap();
        let handle = std::fs::File::open(folder.path()).unwrap().into();
        let mut writers = Writers::of(std::iter::once(&handle));
        if writers.group.is_none() {
            return; // it takes root and the first pid namespace
        }
        let inode = |path| std::fs::metadata(path).map(|is| Inode { dev: is.dev(), ino: is.ino() }).unwrap();
        let run = written(&path, "echo run > \"$0\"");
        writers.ran(Some(run), Some(&Report::default()));
        assert_eq!(writers.stranger(inode(&path)), None);
        let editor = written(&path, "echo edited > \"$0.new\"; mv \"$0.new\" \"$0\"");
        writers.ran(None, Some(&Report::default()));
        assert_eq!(writers.stranger(inode(&path)), Some(editor));
        writers.forget();
        assert_eq!(writers.stranger(inode(&path)), None);
        // Without a report nobody can be blamed.
        written(&path, "echo edited > \"$0\"");
        writers.ran(None, None);
        assert_eq!(writers.stranger(inode(&path)), None);
    }
}
