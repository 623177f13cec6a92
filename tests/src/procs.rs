//! What `/proc` says about other processes. In goes a pid, out comes what is there now.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

fn file(pid: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

/// Arguments, the program's name first; empty when the process is gone.
pub fn argv(pid: u32) -> Vec<String> {
    let bytes = fs::read(file(pid, "cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split_terminator('\0').map(ToOwned::to_owned).collect()
}

/// A field of `/proc/PID/status`, its words; `None` when the process is gone.
pub fn status(pid: u32, field: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(file(pid, "status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.split_whitespace().map(ToOwned::to_owned).collect())
}

/// `R`, `S`, `T` …; `None` when the process is gone. A zombie counts as gone.
pub fn state(pid: u32) -> Option<String> {
    status(pid, "State")?.into_iter().next().filter(|state| state != "Z")
}

/// Every process there is.
pub fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Children, grandchildren and so on.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parent = |pid| status(pid, "PPid")?.first()?.parse::<u32>().ok();
    let parents: Vec<(u32, u32)> = all().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let of = found[next];
        found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// goobserve's unprivileged half, somewhere below that process.
pub fn worker_below(pid: u32) -> Option<u32> {
    descendants(pid).into_iter().find(|pid| argv(*pid) == ["goobserve", "__worker"])
}

/// goobserve's part that opens files for it, likewise.
pub fn opener_below(pid: u32) -> Option<u32> {
    descendants(pid).into_iter().find(|pid| argv(*pid) == ["goobserve", "__opener"])
}

/// goobserve's part that holds programs, likewise.
pub fn holder_below(pid: u32) -> Option<u32> {
    descendants(pid).into_iter().find(|pid| argv(*pid) == ["goobserve", "__hold"])
}

/// Values of a field in the process's `fdinfo` files, such as `prog_id`.
pub fn fdinfo(pid: u32, field: &str) -> Vec<u32> {
    let entries = fs::read_dir(file(pid, "fdinfo")).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let value = |text: String| {
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok())
    };
    texts.filter_map(value).collect()
}

/// Whether a fanotify group of the process has marked the file system with that device number.
pub fn marks(pid: u32, device: u64) -> bool {
    // As the kernel has it: twenty bits of minor number.
    let wanted = format!("fanotify sdev:{:x} ", major(device) << 20 | minor(device));
    let entries = fs::read_dir(file(pid, "fdinfo")).into_iter().flatten().flatten();
    let mut texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.any(|text| text.lines().any(|line| line.starts_with(&wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_seen_with_its_arguments_until_it_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id();
        crate::wait::until("sleep's exec", || (argv(pid) == ["sleep", "1000"]).then_some(()));
        assert!(descendants(std::process::id()).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((argv(pid), state(pid)), (vec![], None));
    }
}
