//! Who holds a file lock, and which file it is: `/proc/locks` and the waiting process's
//! descriptors. What the user may not see stays unknown.

use model::id::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use observer_common::Lock;
use pipeline::correlate::LockFacts;

use crate::run::regular;

/// Longest `/proc/locks` that is read, bytes; a line is about 60.
const LOCKS_MAX: u64 = 1 << 20;
/// Descriptors looked at; go holds a lock's file among its first dozens.
const DESCRIPTORS_MAX: usize = 1024;
/// Locks of repositories that are looked at in a module cache.
const REPOSITORIES_MAX: usize = 4096;
/// Bytes of a repository's address.
const INFO_MAX: u64 = 4096;

/// The locks of the machine at one moment: of any number of waits each file is looked for once.
#[derive(Default)]
pub(super) struct LockTable {
    locks: Option<String>,
    paths: HashMap<(Pid, u64), Option<String>>,
}

impl LockTable {
    /// What is known of a lock that a process waits for.
    /// `modules`: the module cache of the command that waits.
    pub(super) fn facts(&mut self, pid: Pid, lock: &Lock, modules: Option<&Path>) -> LockFacts {
        let locks = self.locks.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            // Without it the holder is not known.
            let _ = File::open("/proc/locks").and_then(|file| file.take(LOCKS_MAX).read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        });
        // Into a process of root's nobody may look without capabilities; a module cache has few locks.
        let of_cache = || of_modules(modules?, lock.ino);
        let path = self
            .paths
            .entry((pid, lock.ino))
            .or_insert_with(|| path(pid, lock.ino).or_else(of_cache))
            .clone();
        let repository = path.as_deref().and_then(|path| repository(Path::new(path)));
        LockFacts { path, repository, holder: holder(locks, lock) }
    }
}

/// The process that holds it: `1: FLOCK  ADVISORY  WRITE 4121 fe:01:131 0 EOF`; those that wait
/// have an arrow behind the number.
fn holder(locks: &str, lock: &Lock) -> Option<Pid> {
    let file = format!("{:02x}:{:02x}:{}", lock.dev >> 20, lock.dev & 0xf_ffff, lock.ino);
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, of, ..] if of == file => pid.parse().ok().map(Pid),
            _ => None,
        }
    })
}

fn path(pid: Pid, ino: u64) -> Option<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let named = |entry: &Path| std::fs::metadata(entry).is_ok_and(|file| file.ino() == ino);
    let found = entries.flatten().take(DESCRIPTORS_MAX).map(|entry| entry.path()).find(|path| named(path))?;
    Some(std::fs::read_link(found).ok()?.to_string_lossy().into_owned())
}

/// The lock of a module cache with that inode: its own, or one of a repository in it.
fn of_modules(modules: &Path, ino: u64) -> Option<String> {
    let cache = modules.join("cache");
    let repositories = std::fs::read_dir(cache.join("vcs")).into_iter().flatten().flatten();
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lock");
    let locks = repositories.map(|entry| entry.path()).filter(is_lock).take(REPOSITORIES_MAX);
    let is_it = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.ino() == ino);
    let found = std::iter::once(cache.join("lock")).chain(locks).find(is_it)?;
    Some(found.to_string_lossy().into_owned())
}

/// The repository that a lock `cache/vcs/HASH.lock` guards: go has its address in a file beside it,
/// `git3:https://HOST/PATH`. Without scheme, user and password.
fn repository(lock: &Path) -> Option<String> {
    let folder = lock.parent()?;
    if lock.extension()? != "lock" || !folder.ends_with("cache/vcs") {
        return None;
    }
    let info = regular::read(&lock.with_extension("info"), INFO_MAX)?;
    let text = String::from_utf8(info).ok()?;
    let (_, address) = text.trim().split_once(':')?;
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, path) = rest.split_once('/')?;
    let host = host.rsplit('@').next()?;
    let path = path.split(['?', '#']).next()?;
    (!host.is_empty()).then(|| format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_and_waiters_are_not_taken_for_it() {
        let locks = "1: FLOCK  ADVISORY  WRITE 77 fe:01:131 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 88 fe:01:131 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 99 fe:01:132 0 EOF\n";
        let lock = |ino| Lock { ino, dev: 0xfe << 20 | 1, pad: 0 };
        assert_eq!(holder(locks, &lock(131)), Some(Pid(77)));
        assert_eq!(holder(locks, &lock(132)), None);
        assert_eq!(holder("nonsense", &lock(131)), None);
    }

    #[test]
    fn a_repositorys_lock_is_found_in_the_module_cache_and_named() {
        let cache = tempfile::tempdir().unwrap();
        let vcs = cache.path().join("cache/vcs");
        std::fs::create_dir_all(&vcs).unwrap();
        std::fs::write(vcs.join("ab.info"), "git3:https://u:p@git.test/team/lib.git").unwrap();
        std::fs::write(vcs.join("ab.lock"), "").unwrap();
        let ino = std::fs::metadata(vcs.join("ab.lock")).unwrap().ino();
        let found = of_modules(cache.path(), ino).unwrap();
        assert_eq!(Path::new(&found), vcs.join("ab.lock"));
        assert_eq!(repository(Path::new(&found)).as_deref(), Some("git.test/team/lib.git"));
        assert_eq!(of_modules(cache.path(), 1), None);
        assert_eq!(repository(&cache.path().join("cache/lock")), None);
    }

    #[test]
    fn a_file_of_this_process_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ino = file.as_file().metadata().unwrap().ino();
        let found = path(Pid(std::process::id()), ino).unwrap();
        assert_eq!(Path::new(&found), file.path());
    }
}
