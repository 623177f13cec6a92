//! The binaries that were looked at. In go files, out come those that are to be let go of: replaced in
//! place, deleted and run no longer, or whose file system is wanted back.
//!
//! No file stays open but while the worker looks at it, and to whoever unmounts a file system or
//! deletes a file a probe is not there: see [`Place`]. What a file was is kept as its [`Identity`],
//! since its number may become another's.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::OVERLAYFS_SUPER_MAGIC;

use super::mounts;
use super::place::Place;
use super::quota::{self, Held, Room};
use crate::kernel::{Attached, Kernel, Probes};
use crate::seam::FileId;

/// A machine has a handful of go toolchains; `go test` makes any number of programs.
const FILES_MAX: usize = 256;
/// Files of one owner that the worker looks at or is still to look at: the next user's waits for
/// them, each a third of a second at worst.
const UNSETTLED_MAX: usize = 16;
/// For so long a program is taken as running that did; looking takes milliseconds.
const RAN_FOR: Duration = Duration::from_millis(500);

/// Binaries by number.
pub(super) struct Table {
    files: HashMap<FileId, Entry>,
    /// Shows when a file is written to (probes would hit other instructions), or is there no longer
    changes: Option<Inotify>,
    /// How many were ever inserted
    count: u64,
    /// Which programs ran, when that was last looked at
    ran: Option<(Instant, HashSet<FileId>)>,
    watches: HashMap<WatchDescriptor, FileId>,
    /// Has an exceptional condition when mounts of our own namespace have changed
    mounts: Option<File>,
}

struct Entry {
    /// While the worker looks at it
    opened: Option<File>,
    identity: Identity,
    is_overlay: bool,
    /// Owner of the file
    uid: u32,
    /// Files before it
    number: u64,
    asked: bool,
    settled: bool,
    probes: Option<Attached>,
    /// Where it is probed
    place: Option<Place>,
    /// It was deleted, and ran nowhere, when that was last looked at
    gone: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            files: HashMap::new(),
            changes: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok(),
            count: 0,
            ran: None,
            watches: HashMap::new(),
            mounts: File::open("/proc/self/mountinfo").ok(),
        }
    }
}

impl Table {
    /// Keeps a file until all is done with it that will be, when there is room for its owner's. False: it
    /// was known, or there is none.
    pub(super) fn insert(&mut self, id: FileId, file: File) -> bool {
        let uid = owner(&file);
        if self.files.contains_key(&id)
            || !quota::has_room(self.files.values().map(|e| e.uid), uid, FILES_MAX)
        {
            return false;
        }
        let Ok(metadata) = file.metadata() else { return false };
        self.watch(id, file.as_fd());
        self.count += 1;
        let entry = Entry {
            identity: Identity::of(&metadata),
            is_overlay: is_overlay(&file),
            opened: Some(file),
            uid,
            number: self.count,
            asked: false,
            settled: false,
            probes: None,
            place: None,
            gone: false,
        };
        self.files.insert(id, entry);
        true
    }

    fn watch(&mut self, id: FileId, file: BorrowedFd<'_>) {
        let Some(changes) = &self.changes else { return };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // The end of its file system is reported in any case.
        if let Ok(watch) =
            changes.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE_SELF)
        {
            self.watches.insert(watch, id);
        }
    }

    /// Whether there is room for one more file of the owner of this one.
    pub(super) fn has_room(&self, file: &File) -> bool {
        quota::has_room(self.files.values().map(|entry| entry.uid), owner(file), FILES_MAX)
    }

    /// Whether the worker has enough to do with other files of this one's owner, who is not root.
    pub(super) fn is_busy_with(&self, file: &File) -> bool {
        let uid = owner(file);
        let unsettled = self.files.values().filter(|entry| entry.uid == uid && !entry.settled);
        uid != 0 && unsettled.count() >= UNSETTLED_MAX
    }

    /// Whether it is known, and then whether all is done with it that will be.
    pub(super) fn settled(&self, id: FileId) -> Option<bool> {
        self.files.get(&id).map(|entry| entry.settled)
    }

    /// Whether what is known by that number is another file than this.
    pub(super) fn was_another(&self, id: FileId, file: &File) -> bool {
        let same =
            |entry: &Entry| file.metadata().is_ok_and(|now| entry.identity.is_same(&Identity::of(&now)));
        self.files.get(&id).is_some_and(|entry| !same(entry))
    }

    /// It will not be probed.
    pub(super) fn unwanted(&mut self, id: FileId) {
        if let Some(entry) = self.files.get_mut(&id) {
            entry.settled = true;
            entry.opened = None;
        }
    }

    /// Probes a file once.
    pub(super) fn probe(&mut self, id: FileId, probes: &Probes, kernel: &mut Kernel) -> Result<()> {
        let entry = self.files.get_mut(&id).context("the agent did not open that file")?;
        if std::mem::replace(&mut entry.asked, true) {
            bail!("it is probed already");
        }
        entry.settled = true;
        if entry.probes.is_some() {
            return Ok(()); // below an overlay
        }
        let file = entry.opened.take().context("it is closed already")?;
        let twin = self.twin(id);
        let entry = self.files.get_mut(&id).context("it is there")?;
        if let Some(twin) = twin {
            entry.probes = Some(twin);
            return Ok(());
        }
        let place = Place::of(&file).context("it cannot be reached")?;
        let len = file.metadata()?.len();
        let attached = kernel.probe(place.as_fd(), len, probes)?;
        entry.probes = Some(attached);
        let Some(below) =
            place.below().filter(|below| !self.files.contains_key(below) && self.has_room(&file))
        else {
            self.files.get_mut(&id).context("it is there")?.place = Some(place);
            return Ok(());
        };
        // It outlives the overlay: the next one that is mounted over it is probed from the start.
        self.insert_below(below, place, attached)
    }

    fn insert_below(&mut self, id: FileId, place: Place, attached: Attached) -> Result<()> {
        self.watch(id, place.as_fd());
        let metadata = place.metadata()?;
        self.count += 1;
        let entry = Entry {
            opened: None,
            identity: Identity::of(&metadata),
            is_overlay: false,
            uid: metadata.uid(),
            number: self.count,
            asked: false,
            settled: true,
            probes: Some(attached),
            place: Some(place),
            gone: false,
        };
        self.files.insert(id, entry);
        Ok(())
    }

    /// The probes of the same file below another overlay, or below none: the kernel puts them on what
    /// lies below, where two would report everything twice.
    fn twin(&self, id: FileId) -> Option<Attached> {
        let entry = self.files.get(&id)?;
        // Overlays pass on a file's number, size and times; of the number they may use the upper bits.
        let same_number = |other: &FileId| other.dev != id.dev && other.ino as u32 == id.ino as u32;
        let others = self.files.iter().filter(|(other, _)| same_number(other)).map(|(_, other)| other);
        let mut same = others.filter(|other| {
            (other.is_overlay || entry.is_overlay) && other.identity.is_below(&entry.identity)
        });
        same.find_map(|other| other.probes)
    }

    /// Readable when [`Self::changed`] is to be called.
    pub(super) fn changes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let places = self.files.values().filter_map(|entry| entry.place.as_ref()?.changes());
        self.changes.as_ref().map(AsFd::as_fd).into_iter().chain(places)
    }

    /// Has an exceptional condition when mounts of our own namespace have changed.
    pub(super) fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.as_ref().map(AsFd::as_fd)
    }

    /// Files since the last call that were written to, are there no longer, or lie on what was
    /// unmounted; that is looked for when `mounted`.
    pub(super) fn changed(&mut self, mounted: bool) -> HashSet<FileId> {
        let mut changed = HashSet::new();
        while let Some(events) = self.changes.as_ref().and_then(|changes| changes.read_events().ok()) {
            for event in events {
                let Some(id) = self.watches.get(&event.wd).copied() else { continue };
                changed.insert(id);
                if event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    changed.extend(self.probed_with(id));
                }
            }
        }
        if mounted || self.files.values().any(|entry| entry.place.as_ref().is_some_and(Place::has_news)) {
            changed.extend(self.unmounted());
        }
        changed
    }

    /// Files that are probed, run nowhere, and lie on what was unmounted.
    fn unmounted(&mut self) -> Vec<FileId> {
        let here = mounts::here();
        let entries = self.files.iter_mut().filter_map(|(id, entry)| Some((*id, entry.place.as_mut()?)));
        let unmounted = entries.filter_map(|(id, place)| place.is_unmounted(&here).then_some(id)).collect();
        self.unused(unmounted)
    }

    /// Files to let go of so that there is room for this one: that were deleted (their space is free
    /// only then) and run nowhere; else one of whoever has most: the oldest that is not probed, or
    /// that runs nowhere.
    pub(super) fn idle(&mut self, file: &File) -> Vec<FileId> {
        let gone = self.unused(self.deleted());
        if !gone.is_empty() {
            return gone;
        }
        if self.ran.as_ref().is_none_or(|(at, _)| at.elapsed() > RAN_FOR) {
            self.ran = Some((Instant::now(), running()));
        }
        let ran = self.ran.as_ref().map(|(_, ran)| ran);
        // One that is probed with it may run in its place.
        let runs =
            |id: &FileId| ran.is_some_and(|ran| self.probed_with(*id).iter().any(|id| ran.contains(id)));
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

    /// Files that are deleted and ran nowhere, neither now nor at the last call: what they reported is
    /// decoded by now.
    pub(super) fn stale(&mut self) -> Vec<FileId> {
        let unused: HashSet<FileId> = self.unused(self.deleted()).into_iter().collect();
        let mut stale = Vec::new();
        for (id, entry) in &mut self.files {
            let gone = unused.contains(id);
            if std::mem::replace(&mut entry.gone, gone) && gone {
                stale.push(*id);
            }
        }
        stale
    }

    /// Forgets a file; what is to be taken off it.
    pub(super) fn remove(&mut self, id: FileId) -> Option<Attached> {
        let entry = self.files.remove(&id)?;
        let watch = self.watches.iter().find(|(_, file)| **file == id).map(|(watch, _)| *watch);
        if let (Some(watch), Some(changes)) = (watch, &self.changes) {
            self.watches.remove(&watch);
            let _ = changes.rm_watch(watch); // it has gone with the file
        }
        entry.probes.filter(|probes| self.files.values().all(|other| other.probes != Some(*probes)))
    }

    /// The files that have the probes of this one; itself when it has some.
    fn probed_with(&self, id: FileId) -> Vec<FileId> {
        let Some(probes) = self.files.get(&id).and_then(|entry| entry.probes) else { return Vec::new() };
        let with = self.files.iter().filter(|(_, entry)| entry.probes == Some(probes));
        with.map(|(id, _)| *id).collect()
    }

    /// Probed files that were deleted. Of others their end is reported.
    fn deleted(&self) -> Vec<FileId> {
        let deleted = |entry: &Entry| entry.place.as_ref().is_some_and(Place::is_deleted);
        self.files.iter().filter(|(_, entry)| deleted(entry)).map(|(id, _)| *id).collect()
    }

    /// Of these, with all that are probed with them, those that no process runs.
    fn unused(&self, of: Vec<FileId>) -> Vec<FileId> {
        if of.is_empty() {
            return of;
        }
        let run = running();
        let all = |id| {
            let mut all = self.probed_with(id);
            all.push(id);
            all
        };
        of.into_iter().map(all).filter(|all| all.iter().all(|id| !run.contains(id))).flatten().collect()
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

/// What distinguishes a file from the next one of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Where the file system knows
    born: Option<SystemTime>,
}

impl Identity {
    /// From what the file system says of it.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            born: metadata.created().ok(),
        }
    }

    /// Whether it is the same file, unless it was written to; it may have got another mode or name.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let changed = self.born.is_some() || self.changed == other.changed;
        (self.len, self.modified, self.born) == (other.len, other.modified, other.born) && changed
    }

    /// Whether it may be the same file, one of them below an overlay.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        (self.len, self.modified, self.changed) == (other.len, other.modified, other.changed)
    }
}

fn is_overlay(file: &File) -> bool {
    nix::sys::statfs::fstatfs(file).is_ok_and(|status| status.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::agent::files::regular;

    /// Copies of `cat` in a folder of their own; `true` is one that is not to be probed.
    fn inserted(table: &mut Table, path: &Path, unwanted: bool) -> FileId {
        std::fs::copy("/bin/cat", path).unwrap();
        let (file, id) = regular(path).unwrap();
        let place = Place::of(&file).unwrap();
        assert!(table.insert(id, file));
        if unwanted {
            table.unwanted(id);
        } else {
            let entry = table.files.get_mut(&id).unwrap();
            (entry.opened, entry.settled, entry.place) = (None, true, Some(place));
        }
        id
    }

    /// Descriptors of this process that lead to that path, other than places of probes.
    fn open(path: &Path) -> usize {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|to| to == path)).count()
    }

    #[test]
    fn a_file_is_open_only_while_it_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat");
        std::fs::copy("/bin/cat", &path).unwrap();
        let mut table = Table::default();
        let (file, id) = regular(&path).unwrap();
        assert!(table.insert(id, file));
        assert_eq!((open(&path), table.settled(id)), (1, Some(false)));
        table.unwanted(id);
        assert_eq!((open(&path), table.settled(id)), (0, Some(true)));
    }

    #[test]
    fn a_probed_file_that_is_deleted_is_let_go_of_when_it_runs_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat");
        let mut table = Table::default();
        let id = inserted(&mut table, &path, false);
        assert!(table.stale().is_empty() && table.stale().is_empty(), "it is there");
        let mut running = Command::new(&path).stdin(Stdio::piped()).spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(table.stale().is_empty() && table.stale().is_empty(), "it runs");
        drop(running.stdin.take());
        running.wait().unwrap();
        assert!(table.stale().is_empty(), "its records may not be decoded yet");
        assert_eq!(table.stale(), [id]);
        assert_eq!(table.remove(id), None);
        assert_eq!(table.stale().len(), 0);
    }

    #[test]
    fn what_is_known_of_a_file_ends_with_it_and_when_it_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::default();
        let [deleted, written, left] = ["a", "b", "c"].map(|name| {
            let path = folder.path().join(name);
            (inserted(&mut table, &path, true), path)
        });
        assert!(table.changed(true).is_empty());
        std::fs::remove_file(&deleted.1).unwrap();
        std::fs::OpenOptions::new().append(true).open(&written.1).unwrap().set_len(1).unwrap();
        assert_eq!(table.changed(false), HashSet::from([deleted.0, written.0]));
        for id in [deleted.0, written.0] {
            assert_eq!(table.remove(id), None);
        }
        assert!(table.changed(false).is_empty());
        assert_eq!(table.settled(left.0), Some(true));
    }

    #[test]
    fn another_file_of_the_same_number_is_distinguished_from_the_former_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat");
        let mut table = Table::default();
        let id = inserted(&mut table, &path, true);
        assert!(!table.was_another(id, &File::open(&path).unwrap()));
        assert!(table.was_another(id, &File::open("/bin/true").unwrap()));
        let elsewhere = folder.path().join("dog");
        std::fs::rename(&path, &elsewhere).unwrap();
        assert!(!table.was_another(id, &File::open(&elsewhere).unwrap()), "it has another name");
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
