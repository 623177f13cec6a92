//! The number of a control group of version 2 in, its path out.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::throttle::{MOUNT, UNIFIED};

/// Groups looked at in one search; what lies behind stays unknown.
const SEARCHED_MAX: usize = 4096;
/// Groups remembered; beyond it all are forgotten, and searched for once more.
const KNOWN_MAX: usize = 4 * SEARCHED_MAX;

/// Paths by number; `None` for one that was not found.
#[derive(Default)]
pub(super) struct Cgroups(HashMap<u64, Option<String>>);

impl Cgroups {
    /// Its path from the mount on, as `/proc/PID/cgroup` says it. `None` when it has gone, and for the
    /// topmost one, in which processes of version 1's groups are as well.
    pub(super) fn path(&mut self, number: u64) -> Option<String> {
        if !self.0.contains_key(&number) {
            if self.0.len() >= KNOWN_MAX {
                self.0.clear();
            }
            self.search();
        }
        self.0.entry(number).or_default().clone()
    }

    /// Looks at all groups, those that lie higher first.
    fn search(&mut self) {
        let Some(mount) = mount() else { return };
        let mut folders = VecDeque::from([mount.clone()]);
        let mut searched = 0;
        while let Some(folder) = folders.pop_front() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                searched += 1;
                if searched > SEARCHED_MAX {
                    return;
                }
                let path = entry.path();
                let below = path.strip_prefix(&mount).unwrap_or(&path);
                self.0.insert(entry.ino(), Some(format!("/{}", below.display())));
                folders.push_back(path);
            }
        }
    }
}

/// Where version 2 is mounted.
fn mount() -> Option<PathBuf> {
    let is_it =
        |path: &PathBuf| statfs(path).is_ok_and(|status| status.filesystem_type() == CGROUP2_SUPER_MAGIC);
    UNIFIED.iter().map(|place| Path::new(MOUNT).join(place)).find(is_it)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_group_is_found_by_its_number_when_it_is_there() {
        let Some(mount) = mount() else { return };
        let own = mount.join(format!("goobserve-test-{}", std::process::id()));
        if std::fs::create_dir(&own).is_err() {
            return; // not root's test
        }
        let number = std::fs::metadata(&own).unwrap().ino();
        let mut cgroups = Cgroups::default();
        let found = cgroups.path(number);
        std::fs::remove_dir(&own).unwrap();
        assert_eq!(found, Some(format!("/{}", own.file_name().unwrap().display())));
        assert_eq!(cgroups.path(number), found, "it has gone, and its name is known");
        assert_eq!(Cgroups::default().path(number), None);
    }
}
