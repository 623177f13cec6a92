//! What a process and an account look like. In: pids, uids. Out: values. [`Live`] asks this
//! machine; tests bring a [`Machine`] of their own.

use model::id::Pid;
use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};

/// Bytes of an environment that are read: more than execve lets a process have.
const ENVIRON_LIMIT: u64 = 8 << 20;
/// Bytes of a status file that are read.
const STATUS_LIMIT: u64 = 1 << 20;

/// From `/proc/PID/status`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The kernel's name of the task
    pub name: String,
    /// Parent; 0 when there is none in this pid namespace
    pub ppid: Pid,
    /// Real user
    pub uid: u32,
    /// Effective user
    pub euid: u32,
    /// Real group
    pub gid: u32,
    /// Supplementary groups
    pub groups: Vec<u32>,
    /// File mode mask; `None` on kernels that do not report it
    pub umask: Option<u32>,
}

impl Status {
    /// Reads the file's text; `None` when one of the lines that every kernel writes is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let line = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let mut uids = line("Uid")?.split_ascii_whitespace();
        Some(Self {
            name: line("Name")?.to_owned(),
            ppid: Pid(line("PPid")?.parse().ok()?),
            uid: uids.next()?.parse().ok()?,
            euid: uids.next()?.parse().ok()?,
            gid: line("Gid")?.split_ascii_whitespace().next()?.parse().ok()?,
            groups: line("Groups")?.split_ascii_whitespace().map_while(|id| id.parse().ok()).collect(),
            umask: line("Umask").and_then(|octal| u32::from_str_radix(octal, 8).ok()),
        })
    }
}

/// From the user database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// Name
    pub name: String,
    /// User
    pub uid: u32,
    /// Primary group
    pub gid: u32,
    /// Home folder
    pub home: PathBuf,
    /// Login shell
    pub shell: PathBuf,
}

/// What is asked of a machine. `None`: it does not exist, or may not be seen.
pub trait Machine {
    /// A process's status
    fn status(&self, pid: Pid) -> Option<Status>;
    /// Its environment, as `/proc/PID/environ` has it
    fn environ(&self, pid: Pid) -> Option<Vec<u8>>;
    /// The path of its program and the user who owns that file
    fn exe(&self, pid: Pid) -> Option<(PathBuf, u32)>;
    /// The account of a user
    fn account(&self, uid: u32) -> Option<Account>;
    /// The account of a name
    fn account_named(&self, name: &str) -> Option<Account>;
    /// The groups of a user, the primary one among them
    fn groups(&self, name: &str, gid: u32) -> Option<Vec<u32>>;
    /// Our own real user
    fn uid(&self) -> u32;
    /// Our own real group
    fn gid(&self) -> u32;
}

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live;

impl Machine for Live {
    fn status(&self, pid: Pid) -> Option<Status> {
        Status::parse(&String::from_utf8_lossy(&read(&format!("/proc/{pid}/status"), STATUS_LIMIT)?))
    }

    fn environ(&self, pid: Pid) -> Option<Vec<u8>> {
        read(&format!("/proc/{pid}/environ"), ENVIRON_LIMIT)
    }

    fn exe(&self, pid: Pid) -> Option<(PathBuf, u32)> {
        let link = format!("/proc/{pid}/exe");
        let owner = std::fs::metadata(&link).ok()?.uid();
        Some((std::fs::read_link(&link).ok()?, owner))
    }

    fn account(&self, uid: u32) -> Option<Account> {
        User::from_uid(Uid::from_raw(uid)).ok().flatten().map(Account::from)
    }

    fn account_named(&self, name: &str) -> Option<Account> {
        User::from_name(name).ok().flatten().map(Account::from)
    }

    fn groups(&self, name: &str, gid: u32) -> Option<Vec<u32>> {
        let list = nix::unistd::getgrouplist(&CString::new(name).ok()?, Gid::from_raw(gid)).ok()?;
        Some(list.into_iter().map(Gid::as_raw).collect())
    }

    fn uid(&self) -> u32 {
        Uid::current().as_raw()
    }

    fn gid(&self) -> u32 {
        Gid::current().as_raw()
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        Self { name: user.name, uid, gid, home: user.dir, shell: user.shell }
    }
}

fn read(path: &str, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_is_read() {
        let text = "Name:\tbash\nUmask:\t0027\nState:\tS\nPPid:\t41\nUid:\t1000\t0\t0\t0\nGid:\t100\t0\t0\t0\nGroups:\t4 27 1000 \n";
        let status = Status::parse(text).unwrap();
        assert_eq!((status.ppid, status.uid, status.euid, status.gid), (Pid(41), 1000, 0, 100));
        assert_eq!(status.groups, [4, 27, 1000]);
        assert_eq!(status.umask, Some(0o27));
    }

    #[test]
    fn half_a_status_file_is_refused() {
        assert_eq!(Status::parse("Name:\tbash\nUid:\t1000\n"), None);
        assert_eq!(Status::parse(""), None);
    }

    #[test]
    fn our_own_process_can_be_seen() {
        let own = Live.status(Pid(std::process::id())).unwrap();
        assert_eq!(own.uid, Live.uid());
        assert!(Live.exe(Pid(std::process::id())).is_some());
    }
}
