//! The binaries that are kept open: for probing, and so that their numbers stay theirs. In go
//! files, out come those that are to be let go of: replaced in place, or deleted and run no longer.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::OVERLAYFS_SUPER_MAGIC;

use super::quota::{self, Held, Room};
use crate::seam::FileId;
use crate::source::kernel::{Attached, Kernel, Probes};

/// A machine has a handful of go toolchains; `go test` makes any number of programs.
const FILES_MAX: usize = 256;
/// Files of one owner that the worker looks at or is still to look at: the next user's waits for
/// them, each a third of a second at worst.
const UNSETTLED_MAX: usize = 16;
/// For so long a program is taken as running that did; looking takes milliseconds.
const RAN_FOR: Duration = Duration::from_millis(500);

/// Binaries by number.
#[derive(Default)]
pub struct Table {
    files: HashMap<FileId, Entry>,
    /// Tells when a probed file is written to: its probes would hit other instructions
    changes: Option<Inotify>,
    /// How many were ever inserted
    count: u64,
    /// Which programs ran, when that was last looked at
    ran: Option<(Instant, HashSet<FileId>)>,
    watches: HashMap<WatchDescriptor, FileId>,
}

struct Entry {
    file: File,
    /// Owner of the file
    uid: u32,
    /// Files before it
    number: u64,
    asked: bool,
    settled: bool,
    probes: Option<Attached>,
    /// It was deleted, and ran nowhere, when that was last looked at
    gone: bool,
}

impl Table {
    /// Keeps a file, when there is room for its owner's. False: it was known, or there is none.
    pub fn insert(&mut self, id: FileId, file: File) -> bool {
        let uid = owner(&file);
        if self.files.contains_key(&id)
            || !quota::has_room(self.files.values().map(|e| e.uid), uid, FILES_MAX)
        {
            return false;
        }
        self.count += 1;
        let number = self.count;
        let entry = Entry { file, uid, number, asked: false, settled: false, probes: None, gone: false };
        self.files.insert(id, entry);
        true
    }

    /// Whether there is room for one more file of the owner of this one.
    pub fn has_room(&self, file: &File) -> bool {
        quota::has_room(self.files.values().map(|entry| entry.uid), owner(file), FILES_MAX)
    }

    /// Whether the worker has enough to do with other files of this one's owner, who is not root.
    pub fn is_busy_with(&self, file: &File) -> bool {
        let uid = owner(file);
        let unsettled = self.files.values().filter(|entry| entry.uid == uid && !entry.settled);
        uid != 0 && unsettled.count() >= UNSETTLED_MAX
    }

    /// Whether it is known, and then whether all is done with it that will be.
    pub fn settled(&self, id: FileId) -> Option<bool> {
        self.files.get(&id).map(|entry| entry.settled)
    }

    /// It will not be probed.
    pub fn unwanted(&mut self, id: FileId) {
        if let Some(entry) = self.files.get_mut(&id) {
            entry.settled = true;
        }
    }

    /// Probes a file once.
    pub fn probe(&mut self, id: FileId, probes: &Probes, kernel: &mut Kernel) -> Result<()> {
        let entry = self.files.get_mut(&id).context("the agent did not open that file")?;
        if std::mem::replace(&mut entry.asked, true) {
            bail!("it is probed already");
        }
        entry.settled = true;
        if let Some(twin) = self.twin(id) {
            self.files.get_mut(&id).context("it is there")?.probes = Some(twin);
            return Ok(());
        }
        let entry = self.files.get_mut(&id).context("it is there")?;
        let len = entry.file.metadata()?.len();
        entry.probes = Some(kernel.probe(entry.file.as_fd(), len, probes)?);
        if self.changes.is_none() {
            self.changes = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        }
        if let Some(changes) = &self.changes {
            let path = format!("/proc/self/fd/{}", entry.file.as_raw_fd());
            if let Ok(watch) = changes.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY) {
                self.watches.insert(watch, id);
            }
        }
        Ok(())
    }

    /// The probes of the same file below another overlay, or below none: the kernel puts them on what
    /// lies below, where two would tell everything twice. Overlays pass on that file's number and
    /// times.
    fn twin(&self, id: FileId) -> Option<Attached> {
        let entry = self.files.get(&id)?;
        let own = identity(&entry.file)?;
        let others = self.files.iter().filter(|(other, _)| other.dev != id.dev && other.ino == id.ino);
        let mut probed = others.filter_map(|(_, other)| Some((&other.file, other.probes?)));
        let same = |file: &File| {
            (is_overlay(file) || is_overlay(&entry.file)) && identity(file).is_some_and(|other| other == own)
        };
        probed.find(|(file, _)| same(file)).map(|(_, attached)| attached)
    }

    /// Readable when files have changed; there is nothing before the first probe.
    pub fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(AsFd::as_fd)
    }

    /// Files that were written to since the last call.
    pub fn changed(&mut self) -> HashSet<FileId> {
        let mut changed = HashSet::new();
        while let Some(events) = self.changes.as_ref().and_then(|changes| changes.read_events().ok()) {
            changed.extend(events.iter().filter_map(|event| self.watches.get(&event.wd)));
        }
        changed
    }

    /// Files to let go of so that there is room for this one: that were deleted (their space is free
    /// only then) and run nowhere; else one of whoever has most: the oldest that is not probed, or
    /// that runs nowhere.
    pub fn idle(&mut self, file: &File) -> Vec<FileId> {
        if self.ran.as_ref().is_none_or(|(at, _)| at.elapsed() > RAN_FOR) {
            self.ran = Some((Instant::now(), running()));
        }
        let ran = self.ran.as_ref().map(|(_, ran)| ran);
        let runs = |id: &FileId| ran.is_some_and(|ran| ran.contains(id));
        let mut gone = self.deleted();
        gone.retain(|id| !runs(id));
        if !gone.is_empty() {
            return gone.into_iter().collect();
        }
        let worth = |id: &FileId, entry: &Entry| match entry.probes {
            None => Some((0, entry.number)),
            Some(_) if runs(id) => None,
            Some(_) => Some((1, entry.number)),
        };
        let held: Vec<Held<FileId>> = self
            .files
            .iter()
            .map(|(id, entry)| Held { key: *id, uid: entry.uid, worth: worth(id, entry) })
            .collect();
        match quota::room(&held, owner(file), FILES_MAX) {
            Room::After(id) => vec![id],
            Room::Free | Room::None => Vec::new(),
        }
    }

    /// Files that are deleted and ran nowhere, neither now nor at the last call: what they told is
    /// decoded by now.
    pub fn stale(&mut self) -> Vec<FileId> {
        let unused = self.unused();
        let mut stale = Vec::new();
        for (id, entry) in &mut self.files {
            let gone = unused.contains(id);
            if std::mem::replace(&mut entry.gone, gone) && gone {
                stale.push(*id);
            }
        }
        stale
    }

    /// Closes a file; what is to be taken off it.
    pub fn remove(&mut self, id: FileId) -> Option<Attached> {
        let entry = self.files.remove(&id)?;
        let watch = self.watches.iter().find(|(_, file)| **file == id).map(|(watch, _)| *watch);
        if let (Some(watch), Some(changes)) = (watch, &self.changes) {
            self.watches.remove(&watch);
            let _ = changes.rm_watch(watch);
        }
        entry.probes.filter(|probes| self.files.values().all(|other| other.probes != Some(*probes)))
    }

    /// Deleted files that no process runs.
    fn unused(&self) -> HashSet<FileId> {
        let mut unused = self.deleted();
        if !unused.is_empty() {
            let running = running();
            unused.retain(|id| !running.contains(id));
        }
        unused
    }

    fn deleted(&self) -> HashSet<FileId> {
        let deleted = |entry: &Entry| entry.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        self.files.iter().filter(|(_, entry)| deleted(entry)).map(|(id, _)| *id).collect()
    }
}

/// The programs that run.
fn running() -> HashSet<FileId> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let program = |entry: std::fs::DirEntry| std::fs::metadata(entry.path().join("exe")).ok();
    entries.filter_map(program).map(|of| FileId { dev: of.dev(), ino: of.ino() }).collect()
}

/// Whoever owns the file can make any number of such.
fn owner(file: &File) -> u32 {
    file.metadata().map_or(u32::MAX, |metadata| metadata.uid())
}

/// Size, and times of the last change, nanoseconds.
fn identity(file: &File) -> Option<(u64, [i64; 4])> {
    let metadata = file.metadata().ok()?;
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    Some((metadata.len(), times))
}

fn is_overlay(file: &File) -> bool {
    nix::sys::statfs::fstatfs(file).is_ok_and(|status| status.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::agent::files::regular;

    #[test]
    fn a_deleted_file_is_let_go_of_when_it_runs_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat");
        std::fs::copy("/bin/cat", &path).unwrap();
        let mut table = Table::default();
        let (file, id) = regular(&path).unwrap();
        assert!(table.insert(id, file));
        assert!(table.stale().is_empty() && table.stale().is_empty(), "it is there");
        let mut running = Command::new(&path).stdin(Stdio::piped()).spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(table.stale().is_empty() && table.stale().is_empty(), "it runs");
        drop(running.stdin.take());
        running.wait().unwrap();
        assert!(table.stale().is_empty(), "its records may not be decoded yet");
        assert_eq!(table.stale(), [id]);
        assert_eq!(table.remove(id), None);
        assert!(table.stale().is_empty());
    }

    #[test]
    fn no_more_files_are_kept_than_there_is_room_for() {
        let mut table = Table::default();
        let file = || File::open("/dev/null").unwrap();
        for ino in 0..FILES_MAX as u64 {
            let kept = table.insert(FileId { dev: 1, ino }, file());
            assert_eq!(kept, ino < FILES_MAX as u64 / 2, "the other half is for other owners");
        }
        assert!(!table.has_room(&file()));
        assert_eq!(table.idle(&file()), [FileId { dev: 1, ino: 0 }], "the oldest");
        table.remove(FileId { dev: 1, ino: 0 });
        assert!(table.has_room(&file()));
    }
}
