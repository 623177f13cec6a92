//! Which file systems programs may be on. In go the mount tables of all mount namespaces, out come
//! descriptors of mount points, each file system once.
//!
//! A file system is marked as a whole, wherever else it is mounted. Those over a network or served
//! by a process are left out: a look-up there may hang.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::makedev;

use super::files::namespace_of;
use model::id::Pid;

/// Lines of a mount table that are read.
const LINES_MAX: usize = 16_384;
/// Mount namespaces that are looked at.
const SPACES_MAX: usize = 1024;
/// Processes that are asked for their mount namespace.
const PROCESSES_MAX: usize = 16_384;
/// File systems that hold programs. Others hold none, or may hang.
const KINDS: [&str; 14] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay", "zfs", "squashfs", "erofs",
    "bcachefs", "vfat", "ramfs",
];

/// A mount of any kind.
pub(super) struct Line {
    /// What of the file system is mounted
    pub root: PathBuf,
    /// Where
    pub point: PathBuf,
    /// The kind of file system
    pub kind: String,
    /// Its options, as the file system reports them, escaped
    pub options: Vec<u8>,
}

/// The mount of that number in the mount table of a process (`self` is ours); `None` when it is not there.
pub(super) fn line_of(pid: &str, id: u64) -> Option<Line> {
    let text = std::fs::read(Path::new("/proc").join(pid).join("mountinfo")).ok()?;
    text.split(|byte| *byte == b'\n').take(LINES_MAX).find_map(|line| whole(line, id))
}

/// The numbers of all mounts of our own namespace.
pub(super) fn here() -> HashSet<u64> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(number).collect()
}

/// The oldest process in whose mount namespace that mount is.
pub(super) fn process_with(id: u64) -> Option<Pid> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<Pid> = pids.filter_map(|pid| pid.file_name().to_str()?.parse().ok().map(Pid)).collect();
    pids.sort_unstable();
    let mut seen = HashSet::new();
    pids.into_iter().take(PROCESSES_MAX).find(|pid| {
        let pid = pid.to_string();
        let new = namespace_of(&pid).is_some_and(|space| seen.len() < SPACES_MAX && seen.insert(space));
        new && line_of(&pid, id).is_some()
    })
}

/// What was looked at already.
pub(super) struct Mounts {
    /// Readable when mounts of our own namespace have changed
    own: Option<File>,
    devices: HashSet<u64>,
}

impl Mounts {
    /// Begins; everything is new.
    pub(super) fn new() -> Self {
        Self { own: File::open("/proc/self/mountinfo").ok(), devices: HashSet::new() }
    }

    /// Has an exceptional condition when there are new mounts here.
    pub(super) fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.own.as_ref().map(AsFd::as_fd)
    }

    /// Mount points of file systems of our own namespace that are new.
    pub(super) fn here(&mut self) -> Vec<OwnedFd> {
        self.of("self")
    }

    /// Likewise of all other namespaces: what is mounted there later nobody reports.
    pub(super) fn elsewhere(&mut self) -> Vec<OwnedFd> {
        let mut seen = HashSet::new();
        seen.extend(namespace_of("self"));
        let mut found = Vec::new();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        for pid in pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).take(PROCESSES_MAX) {
            let Some(space) = namespace_of(&pid) else { continue };
            if seen.len() < SPACES_MAX && seen.insert(space) {
                found.extend(self.of(&pid));
            }
        }
        found
    }

    fn of(&mut self, pid: &str) -> Vec<OwnedFd> {
        let of = Path::new("/proc").join(pid);
        let text = std::fs::read(of.join("mountinfo")).unwrap_or_default();
        let Ok(root) = File::open(of.join("root")) else { return Vec::new() };
        let mut found = Vec::new();
        for mount in text.split(|byte| *byte == b'\n').take(LINES_MAX).filter_map(mount) {
            if self.devices.contains(&mount.device) {
                continue;
            }
            // Only what is mounted there, whatever a user of that namespace puts in the way.
            let flags = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
            let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(flags);
            let Ok(opened) = openat2(&root, &mount.point, how) else { continue };
            // Another file system may be mounted over it; of btrfs the numbers differ always.
            if nix::sys::stat::fstat(&opened).is_ok_and(|status| status.st_dev == mount.device) {
                self.devices.insert(mount.device);
            }
            found.push(opened);
        }
        found
    }
}

/// One mount.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: u64,
    point: PathBuf,
}

/// A line of mountinfo, when programs may be there:
/// `36 35 98:0 /root /mnt/a\040b rw,noatime shared:1 - ext4 /dev/sda1 rw`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let point = words.nth(1)?;
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    if !KINDS.iter().any(|known| known.as_bytes() == kind) {
        return None;
    }
    let device = makedev(major.parse().ok()?, minor.parse().ok()?);
    Some(Mount { device, point: OsString::from_vec(unescaped(point)).into() })
}

fn number(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok()
}

/// A line of mountinfo whose mount has that number.
fn whole(line: &[u8], id: u64) -> Option<Line> {
    if number(line)? != id {
        return None;
    }
    let mut words = line.split(|byte| *byte == b' ').skip(1);
    let (root, point) = (words.nth(2)?, words.next()?);
    let mut rest = words.skip_while(|word| *word != b"-").skip(1);
    let kind = String::from_utf8_lossy(rest.next()?).into_owned();
    let options = rest.nth(1)?.to_vec();
    let path = |word| PathBuf::from(OsString::from_vec(unescaped(word)));
    Some(Line { root: path(root), point: path(point), kind, options })
}

/// The kernel writes a blank, a tab, a line's end and a backslash as `\` and three octal digits.
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        if let (b'\\', Some(digits)) = (first, digits) {
            bytes.push(
                digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
            );
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_where_programs_may_be_has_its_device_and_place() {
        let line =
            br"36 35 98:3 /root /mnt/a\040b rw,noatime shared:1 master:2 - ext4 /dev/sda1 rw,errors=continue";
        assert_eq!(mount(line), Some(Mount { device: makedev(98, 3), point: "/mnt/a b".into() }));
        assert_eq!(mount(b"1 2 0:5 / / rw - tmpfs none rw").map(|mount| mount.point), Some("/".into()));
    }

    #[test]
    fn a_mount_without_programs_or_that_may_hang_is_left_out() {
        for line in [
            &b"36 35 0:22 / /proc rw - proc proc rw"[..],
            b"36 35 0:50 / /home rw shared:5 - nfs4 server:/home rw",
            b"36 35 0:51 / /mnt rw - fuse.sshfs there rw",
            b"36 35 0:51 / /mnt",
            b"36 35 x / /mnt rw - ext4 a rw",
            b"",
        ] {
            assert_eq!(mount(line), None);
        }
    }

    #[test]
    fn a_mount_is_found_by_its_number() {
        let line =
            br"36 35 0:51 / /mnt/a\040b rw shared:1 - overlay over\040lay rw,lowerdir=/a\054b,upperdir=/c";
        let found = whole(line, 36).unwrap();
        assert_eq!((found.root, found.point, &*found.kind), ("/".into(), "/mnt/a b".into(), "overlay"));
        assert_eq!(found.options, br"rw,lowerdir=/a\054b,upperdir=/c");
        assert!(whole(line, 35).is_none() && whole(b"36 35", 36).is_none() && whole(b"", 0).is_none());
    }

    #[test]
    fn only_whole_escapes_are_taken_back() {
        assert_eq!(unescaped(br"a\011b\134\04\999"), b"a\tb\\\\04\\999");
    }

    #[test]
    fn a_namespace_is_looked_at_once() {
        let mut mounts = Mounts::new();
        assert!(!mounts.here().is_empty(), "there is a root");
        let again = mounts.here().len();
        assert!(again <= 2, "{again} mounts whose numbers are not their device's");
    }
}
