//! Files that never change, on disk. In: bodies as they come. Out: bodies whose size and SHA-256 are what
//! they were when they were received.
//!
//! # One file an entry
//!
//! `DIR/v1/ab/abcd…` holds the body, then a note (key, size, hash, content type), then the note's length and
//! a mark. It is written under `DIR/v1/tmp` and renamed when it is whole: whoever is killed leaves nothing
//! that has an entry's name. What a file system that lost its power leaves is found by size and hash, which
//! are checked when a process first serves an entry and whenever its inode, size or times are others than
//! then. So several gateways may share a folder. Only bodies that no credentials were sent for are kept,
//! unless the gateway is one command's own.

mod entry;
mod index;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;

pub use entry::Note;
use index::Index;

use crate::dirhash::Sum;
use crate::metrics::Metrics;

/// Bytes up to which a body is held in memory, whole.
pub const SMALL: u64 = 64 * 1024;
/// How long nothing is written after writing failed.
const REST: Duration = Duration::from_secs(10);
/// What a temporary file of this age was left by somebody who is gone.
const TEMPORARY_MAX: Duration = Duration::from_hours(1);

/// Writes bytes at an offset: a seam for tests of full disks.
pub type WriteAt = fn(&File, &[u8], u64) -> io::Result<()>;

/// How a body is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// What it is found by
    pub key: String,
    /// What go.sum has of it: another body is not kept
    pub sum: Option<Sum>,
}

/// Where files are kept, and how much.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// The folder; `None`: memory alone, for small files
    pub dir: Option<PathBuf>,
    /// Bytes of all files; the least recently used go first
    pub max_bytes: u64,
    /// How bytes are written
    pub write: WriteAt,
}

impl CacheConfig {
    /// In that folder.
    pub fn in_dir(dir: Option<PathBuf>, max_bytes: u64) -> Self {
        Self { dir, max_bytes, write: |file, bytes, at| file.write_all_at(bytes, at) }
    }
}

/// A kept body.
#[derive(Clone, Debug)]
pub enum Stored {
    /// A small one
    Memory(Note, Bytes),
    /// A large one: the body is the file's beginning
    File(Note, Arc<File>),
}

/// The files.
#[derive(Debug)]
pub struct Store {
    config: CacheConfig,
    index: Mutex<Index>,
    rest_until: Mutex<Option<Instant>>,
    next: AtomicU64,
    metrics: Arc<Metrics>,
}

/// A file that is being written; removed when it is dropped before it was kept.
#[derive(Debug)]
pub struct Temporary {
    /// Open for reading and writing
    pub file: Arc<File>,
    path: PathBuf,
    kept: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// Opens the folder, makes it where it is not, removes what killed writers left.
    pub fn open(config: CacheConfig, metrics: Arc<Metrics>) -> io::Result<Self> {
        let mut index = Index::default();
        if let Some(root) = config.dir.as_deref().map(root) {
            fs::create_dir_all(root.join("tmp"))?;
            for left in fs::read_dir(root.join("tmp"))?.flatten() {
                let age = left
                    .metadata()
                    .and_then(|data| data.modified())
                    .map(|at| at.elapsed().unwrap_or_default());
                if age.is_ok_and(|age| age > TEMPORARY_MAX) {
                    let _ = fs::remove_file(left.path());
                }
            }
            index.scan(&root);
        }
        metrics.cache_bytes.set(index.bytes());
        let (index, rest_until) = (Mutex::new(index), Mutex::default());
        Ok(Self { config, index, rest_until, next: AtomicU64::new(fastrand::u64(..)), metrics })
    }

    /// Whether large bodies can be kept now.
    pub fn can_write(&self) -> bool {
        let rest = *lock(&self.rest_until);
        self.config.dir.is_some() && rest.is_none_or(|until| Instant::now() >= until)
    }

    /// A small body that is in memory.
    pub fn in_memory(&self, key: &str) -> Option<(Note, Bytes)> {
        lock(&self.index).small(key)
    }

    /// Whether a body was there when last looked.
    pub fn has(&self, key: &str) -> bool {
        let mut index = lock(&self.index);
        let on_disk = self.config.dir.as_deref().map(|dir| entry::path(&root(dir), key));
        index.small(key).is_some() || on_disk.is_some_and(|path| index.has(&path))
    }

    /// Looks for a body; blocks. One that is damaged is removed and not found.
    pub fn find(&self, key: &str) -> Option<Stored> {
        if let Some((note, bytes)) = self.in_memory(key) {
            return Some(Stored::Memory(note, bytes));
        }
        let path = entry::path(&root(self.config.dir.as_deref()?), key);
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(&path).ok()?;
        let stamp = entry::Stamp::of(&file).ok()?;
        let read = match lock(&self.index).verified(&path, stamp) {
            Some(note) => Ok(note),
            None => entry::verify(&file, key),
        };
        let Ok(note) = read else {
            self.metrics.cache_damaged_total.one();
            let _ = fs::remove_file(&path);
            self.removed(&path);
            return None;
        };
        if stamp.modified.elapsed().is_ok_and(|age| age > TEMPORARY_MAX) {
            let _ = file.set_modified(SystemTime::now());
        }
        let stamp = entry::Stamp::of(&file).ok()?;
        lock(&self.index).used(&path, stamp, &note);
        if note.size > SMALL {
            return Some(Stored::File(note, Arc::new(file)));
        }
        let mut bytes = vec![0; note.size as usize];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let bytes = Bytes::from(bytes);
        lock(&self.index).remember(key, &note, &bytes);
        Some(Stored::Memory(note, bytes))
    }

    /// Begins a file; blocks.
    pub fn begin(&self) -> io::Result<Temporary> {
        let root = self.config.dir.as_deref().map(root).ok_or(io::ErrorKind::Unsupported)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = root.join("tmp").join(format!("{}-{number:x}", std::process::id()));
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.inspect_err(|_| self.write_failed())?;
        Ok(Temporary { file: Arc::new(file), path, kept: false })
    }

    /// Writes bytes to a file; blocks.
    pub fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        (self.config.write)(file, bytes, at).inspect_err(|_| self.write_failed())
    }

    /// Gives a whole file its name; blocks. When that fails, the file is still there for those who read it.
    pub fn keep(&self, temporary: &mut Temporary, key: &str, note: &Note) -> io::Result<()> {
        let root = self.config.dir.as_deref().map(root).ok_or(io::ErrorKind::Unsupported)?;
        self.write(&temporary.file, &note.trailer(key), note.size)?;
        let path = entry::path(&root, key);
        let folder = path.parent().unwrap_or(&root);
        let renamed = fs::create_dir_all(folder).and_then(|()| fs::rename(&temporary.path, &path));
        renamed.inspect_err(|_| self.write_failed())?;
        temporary.kept = true;
        let stamp = entry::Stamp::of(&temporary.file)?;
        let removed = {
            let mut index = lock(&self.index);
            // Not yet verified: what the disk has is another thing than what was written to it.
            index.written(&path, stamp);
            index.shrink(self.config.max_bytes, &root)
        };
        self.metrics.cache_evicted_total.add(removed);
        self.metrics.cache_bytes.set(lock(&self.index).bytes());
        Ok(())
    }

    /// Counts one that is not kept.
    pub fn refused(&self) {
        self.metrics.cache_refused_total.one();
    }

    /// Keeps a small body in memory, for this process.
    pub fn remember(&self, key: &str, note: &Note, bytes: &Bytes) {
        lock(&self.index).remember(key, note, bytes);
    }

    /// Keeps a small body on disk; blocks.
    pub fn put(&self, key: &str, note: &Note, bytes: &Bytes) {
        let written = self.begin().and_then(|mut temporary| {
            self.write(&temporary.file, bytes, 0)?;
            self.keep(&mut temporary, key, note)
        });
        // Counted already; the gateway serves on without.
        drop(written);
    }

    fn write_failed(&self) {
        self.metrics.cache_write_errors_total.one();
        *lock(&self.rest_until) = Some(Instant::now() + REST);
    }

    fn removed(&self, path: &Path) {
        lock(&self.index).removed(path);
        self.metrics.cache_bytes.set(lock(&self.index).bytes());
    }
}

/// A new format gets a new folder.
fn root(dir: &Path) -> PathBuf {
    dir.join("v1")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
