//! How often a control group's CPU limit held a command up: `/proc/PID/cgroup` in, what its groups' counters
//! say by now and how much of that came since out. Version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`);
//! a limit may be set on any group above, so each of them is looked at.

use std::path::{Path, PathBuf};

use model::record::CpuQuota;

use crate::run::regular;

/// Where the hierarchies are mounted, and within it version 2's beside version 1's.
pub(super) const MOUNT: &str = "/sys/fs/cgroup";
pub(super) const UNIFIED: [&str; 2] = ["", "unified"];
/// Groups looked at, a group's own and those above it.
const GROUPS_MAX: usize = 16;
/// Longest file that is read, bytes; cpu.stat has a dozen lines.
const FILE_MAX: u64 = 4096;

/// A group's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Counters {
    periods: u64,
    throttled: u64,
    throttled_ns: u64,
    /// Thousandths of a CPU
    limit: Option<u32>,
}

/// The groups of a process that have a limit, and what their counters said at first.
#[derive(Debug)]
pub(super) struct Throttle(Vec<(PathBuf, Counters)>);

impl Throttle {
    /// Of a process with that `/proc/PID/cgroup`; `None` when no group of it has a limit that can be read.
    pub(super) fn begin(cgroup: &str) -> Option<Self> {
        Self::below(Path::new(MOUNT), cgroup)
    }

    fn below(mount: &Path, cgroup: &str) -> Option<Self> {
        let groups = folders(mount, cgroup).into_iter().take(GROUPS_MAX);
        let limited: Vec<_> = groups
            .filter_map(|folder| counters(&folder).map(|counters| (folder, counters)))
            .filter(|(_, counters)| counters.limit.is_some())
            .collect();
        (!limited.is_empty()).then_some(Self(limited))
    }

    /// Since then, of the group that was held up longest; `None` when none can be read any more.
    pub(super) fn since(&self) -> Option<CpuQuota> {
        let held_up = self.0.iter().filter_map(|(folder, before)| {
            let now = counters(folder)?;
            Some(CpuQuota {
                limit_millicpus: now.limit.or(before.limit)?,
                periods: now.periods.checked_sub(before.periods)?,
                throttled_periods: now.throttled.checked_sub(before.throttled)?,
                throttled_ns: now.throttled_ns.checked_sub(before.throttled_ns)?,
            })
        });
        held_up.max_by_key(|quota| quota.throttled_ns)
    }
}

/// A process's group with the CPU controller, and those above it.
fn folders(mount: &Path, cgroup: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // The path is a process's; it is only looked at below the mount.
        if path.split('/').any(|part| part == "..") {
            continue;
        }
        let places: Vec<PathBuf> = match controllers {
            "" => UNIFIED.iter().map(|place| mount.join(place)).collect(),
            _ if controllers.split(',').any(|one| one == "cpu") => vec![mount.join(controllers)],
            _ => continue,
        };
        for place in places {
            let group = place.join(path.trim_start_matches('/'));
            found.extend(
                group.ancestors().take_while(|above| above.starts_with(&place)).map(Path::to_path_buf),
            );
        }
    }
    found
}

fn read(path: &Path) -> Option<String> {
    String::from_utf8(regular::read(path, FILE_MAX)?).ok()
}

fn counters(folder: &Path) -> Option<Counters> {
    let stat = read(&folder.join("cpu.stat"))?;
    let value = |name: &str| {
        let of = |line: &str| line.strip_prefix(name)?.trim().parse::<u64>().ok();
        stat.lines().find_map(of)
    };
    let micros = value("throttled_usec ").map(|micros| micros.saturating_mul(1000));
    Some(Counters {
        periods: value("nr_periods ")?,
        throttled: value("nr_throttled ")?,
        throttled_ns: micros.or_else(|| value("throttled_time "))?,
        limit: limit(folder),
    })
}

/// Thousandths of a CPU that a group may use; `None` when it has no limit.
fn limit(folder: &Path) -> Option<u32> {
    let (quota, period) = if let Some(max) = read(&folder.join("cpu.max")) {
        let mut words = max.split_ascii_whitespace();
        (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?)
    } else {
        let of = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
        (of("cpu.cfs_quota_us")?, of("cpu.cfs_period_us")?)
    };
    u32::try_from(quota.saturating_mul(1000).checked_div(period)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn what_a_limit_above_held_up_is_counted_since_then() {
        let mount = tempfile::tempdir().unwrap();
        let pod = mount.path().join("pod");
        write(&pod, "cpu.max", "50000 100000\n");
        write(&pod, "cpu.stat", "usage_usec 9\nnr_periods 10\nnr_throttled 4\nthrottled_usec 70\n");
        write(&pod.join("c"), "cpu.max", "max 100000\n");
        write(&pod.join("c"), "cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_usec 0\n");
        let throttle = Throttle::below(mount.path(), "0::/pod/c\n").unwrap();
        write(&pod, "cpu.stat", "usage_usec 9\nnr_periods 30\nnr_throttled 20\nthrottled_usec 1070\n");
        let since = throttle.since().unwrap();
        assert_eq!((since.limit_millicpus, since.periods, since.throttled_periods), (500, 20, 16));
        assert_eq!(since.throttled_ns, 1_000_000);
        std::fs::remove_dir_all(&pod).unwrap();
        assert_eq!(throttle.since(), None);
    }

    #[test]
    fn version_1_has_other_files_and_no_limit_is_none() {
        let mount = tempfile::tempdir().unwrap();
        let group = mount.path().join("cpu,cpuacct/ci");
        write(&group, "cpu.cfs_quota_us", "10000\n");
        write(&group, "cpu.cfs_period_us", "100000\n");
        write(&group, "cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 500\n");
        let text = "3:cpuset:/\n2:cpu,cpuacct:/ci\n0::/\n";
        let throttle = Throttle::below(mount.path(), text).unwrap();
        assert_eq!(throttle.since().unwrap().limit_millicpus, 100);
        write(&group, "cpu.cfs_quota_us", "-1\n");
        assert!(Throttle::below(mount.path(), text).is_none());
        assert!(Throttle::below(mount.path(), "0::/../../etc\n").is_none());
        assert!(Throttle::below(mount.path(), "").is_none());
    }
}
