//! Which container a command is in. In go its control group and its process, out comes the container, with the
//! name that its monitor (podman's and cri-o's conmon) knows, and who the command's user is inside.

use std::collections::HashMap;

use model::container::Group;
use model::id::Pid;
use model::record::Container;

/// Names remembered; beyond it all are forgotten, and looked for once more.
const NAMES_MAX: usize = 1024;
/// Processes looked at for a monitor.
const PROCESSES_MAX: usize = 16_384;

/// The containers that were looked at.
pub(super) struct Containers {
    /// This process's own control group: what shares its container is not in another one
    own: Option<String>,
    names: HashMap<String, Option<String>>,
}

impl Default for Containers {
    fn default() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok();
        Self { own: own.as_deref().and_then(crate::worker::cgroup_of), names: HashMap::new() }
    }
}

impl Containers {
    /// The container of a control group, when it is another one than ours.
    pub(super) fn of(&mut self, cgroup: Option<&str>, pid: Pid) -> Option<Container> {
        let group = Group::of(cgroup?).filter(Group::is_container)?;
        let own = self.own.as_deref().and_then(Group::of);
        if own == Some(group) {
            return None;
        }
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        let name = self.names.entry(group.id.to_owned()).or_insert_with(|| name_of(group.id)).clone();
        Some(Container {
            engine: group.engine.to_owned(),
            id: group.short().to_owned(),
            name,
            user: user_inside(pid),
        })
    }
}

/// The name that a monitor was given for the container of that number: `conmon -c NUMBER … -n NAME`.
fn name_of(id: &str) -> Option<String> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX);
    let lines = entries.filter_map(|entry| {
        let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let line = (comm.trim_end() == "conmon").then(|| std::fs::read(entry.path().join("cmdline")))?;
        line.ok()
    });
    lines.into_iter().find_map(|line| named(&line, id))
}

/// What a monitor's arguments call the container of that number.
fn named(line: &[u8], id: &str) -> Option<String> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let value = |flags: [&str; 2]| {
        let is = |pair: &&[&[u8]]| flags.iter().any(|flag| flag.as_bytes() == pair[0]);
        words.windows(2).find(is).map(|pair| String::from_utf8_lossy(pair[1]).into_owned())
    };
    (value(["-c", "--cid"])? == id).then(|| value(["-n", "--name"])).flatten().filter(|name| !name.is_empty())
}

/// The user that a process's user is in its user namespace; `None` when it is the same, or not known.
fn user_inside(pid: Pid) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let outside = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
    mapped(&map, outside).filter(|inside| *inside != outside)
}

/// A user of ours in a namespace whose map that is: lines of `inside outside count`.
fn mapped(map: &str, outside: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, from, count) = (words.next()??, words.next()??, words.next()??);
        outside.checked_sub(from).filter(|nth| *nth < count)?.checked_add(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_names_its_container_and_no_other() {
        let line = b"/usr/bin/conmon\0--api-version\x001\0-c\0abc\0-u\0abc\0-n\0web\0--exit-dir\0/x\0";
        assert_eq!(named(line, "abc").as_deref(), Some("web"));
        assert_eq!(named(line, "ab"), None);
        assert_eq!(named(b"conmon\0-c\0abc\0", "abc"), None);
    }

    #[test]
    fn a_user_has_another_number_inside() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(mapped(map, 1000), Some(0));
        assert_eq!(mapped(map, 100_999), Some(1000));
        assert_eq!(mapped(map, 0), None);
        assert_eq!(mapped("0 0 4294967295\n", 1000), Some(1000));
    }
}
