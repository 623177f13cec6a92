//! Who holds a file lock, and which file it is: `/proc/locks` and the waiting process's
//! descriptors. What the user may not see stays unknown.

use model::id::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use observer_common::Lock;
use pipeline::correlate::LockFacts;

/// Longest `/proc/locks` that is read, bytes; a line is about 60.
const LOCKS_MAX: u64 = 1 << 20;
/// Descriptors looked at; go holds a lock's file among its first dozens.
const DESCRIPTORS_MAX: usize = 1024;

/// The locks of the machine at one moment: of any number of waits each file is looked for once.
#[derive(Default)]
pub(super) struct LockTable {
    locks: Option<String>,
    paths: HashMap<(Pid, u64), Option<String>>,
}

impl LockTable {
    /// What is known of a lock that a process waits for.
    pub(super) fn facts(&mut self, pid: Pid, lock: &Lock) -> LockFacts {
        let locks = self.locks.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            // Without it the holder is not known.
            let _ = File::open("/proc/locks").and_then(|file| file.take(LOCKS_MAX).read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let path = self.paths.entry((pid, lock.ino)).or_insert_with(|| path(pid, lock.ino));
        LockFacts { path: path.clone(), holder: holder(locks, lock) }
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
    fn a_file_of_this_process_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ino = file.as_file().metadata().unwrap().ino();
        let found = path(Pid(std::process::id()), ino).unwrap();
        assert_eq!(Path::new(&found), file.path());
    }
}
