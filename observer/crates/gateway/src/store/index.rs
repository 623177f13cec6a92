//! Which entries there are, how large, and which were used last; and small bodies in memory. The folder is
//! the truth, for others may write to it: before anything is removed it is read anew.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hyper::body::Bytes;

use super::entry::{Note, Stamp};

/// Bytes of small bodies in memory.
const MEMORY_MAX: usize = 16 << 20;
/// What is left after making room, of a hundred.
const LEFT_PERCENT: u64 = 90;

#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<PathBuf, Entry>,
    bytes: u64,
    small: HashMap<String, Small>,
    small_bytes: usize,
    tick: u64,
}

#[derive(Debug)]
struct Entry {
    length: u64,
    used: SystemTime,
    /// As it was when size and hash were checked
    verified: Option<(Stamp, Note)>,
}

#[derive(Debug)]
struct Small {
    note: Note,
    bytes: Bytes,
    used: u64,
}

impl Index {
    /// Reads the folder; what was verified stays so.
    pub(super) fn scan(&mut self, root: &Path) {
        let mut old = std::mem::take(&mut self.entries);
        self.bytes = 0;
        let folders = fs::read_dir(root).into_iter().flatten().flatten();
        for folder in folders.filter(|folder| folder.file_name().len() == 2) {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let Ok(data) = file.metadata() else { continue };
                let path = file.path();
                let before = old.remove(&path);
                let used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let used = before.as_ref().map_or(used, |before| before.used.max(used));
                let verified = before.and_then(|before| before.verified);
                self.bytes += data.len();
                self.entries.insert(path, Entry { length: data.len(), used, verified });
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        self.entries.contains_key(path)
    }

    /// The note, when the file is still what was verified.
    pub(super) fn verified(&self, path: &Path, stamp: Stamp) -> Option<Note> {
        let (verified, note) = self.entries.get(path)?.verified.as_ref()?;
        (*verified == stamp).then(|| note.clone())
    }

    /// An entry was read, and is what its note says.
    pub(super) fn used(&mut self, path: &Path, stamp: Stamp, note: &Note) {
        self.insert(path, stamp, Some((stamp, note.clone())));
    }

    /// An entry was written.
    pub(super) fn written(&mut self, path: &Path, stamp: Stamp) {
        self.insert(path, stamp, None);
    }

    fn insert(&mut self, path: &Path, stamp: Stamp, verified: Option<(Stamp, Note)>) {
        let entry = Entry { length: stamp.length, used: SystemTime::now(), verified };
        let before = self.entries.insert(path.to_owned(), entry).map_or(0, |before| before.length);
        self.bytes = self.bytes + stamp.length - before;
    }

    pub(super) fn removed(&mut self, path: &Path) {
        self.bytes -= self.entries.remove(path).map_or(0, |entry| entry.length);
    }

    /// Removes those used longest ago when there are more bytes than that: how many.
    pub(super) fn shrink(&mut self, max_bytes: u64, root: &Path) -> u64 {
        if self.bytes <= max_bytes {
            return 0;
        }
        self.scan(root);
        let mut oldest: Vec<(SystemTime, PathBuf)> =
            self.entries.iter().map(|(path, entry)| (entry.used, path.clone())).collect();
        oldest.sort_unstable();
        let (mut removed, left) = (0, max_bytes / 100 * LEFT_PERCENT);
        for (_, path) in oldest {
            if self.bytes <= left {
                break;
            }
            let _ = fs::remove_file(&path);
            self.removed(&path);
            removed += 1;
        }
        removed
    }

    pub(super) fn small(&mut self, key: &str) -> Option<(Note, Bytes)> {
        self.tick += 1;
        let small = self.small.get_mut(key)?;
        small.used = self.tick;
        Some((small.note.clone(), small.bytes.clone()))
    }

    pub(super) fn remember(&mut self, key: &str, note: &Note, bytes: &Bytes) {
        self.tick += 1;
        // A part of a larger buffer would hold all of it.
        let small = Small { note: note.clone(), bytes: Bytes::copy_from_slice(bytes), used: self.tick };
        let before = self.small.insert(key.to_owned(), small).map_or(0, |before| before.bytes.len());
        self.small_bytes = self.small_bytes + bytes.len() - before;
        if self.small_bytes > MEMORY_MAX {
            let mut oldest: Vec<(u64, String)> =
                self.small.iter().map(|(key, small)| (small.used, key.clone())).collect();
            oldest.sort_unstable();
            for (_, key) in oldest {
                if self.small_bytes <= MEMORY_MAX / 2 {
                    break;
                }
                self.small_bytes -= self.small.remove(&key).map_or(0, |small| small.bytes.len());
            }
        }
    }
}
