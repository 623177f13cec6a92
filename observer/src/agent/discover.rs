//! Go binaries that may be called soon. In go the users and processes of this machine, out come
//! opened files: where go is installed, where the folders of users and the variables of running
//! processes lead, and what runs.
//!
//! Whatever a user may have chosen is opened with that user's file rights. All of it is bounded:
//! what is not found beforehand is found when it runs.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files;
use crate::run::procfs::{Account, Live, Machine as _};
use crate::seam::FileId;
use model::id::Pid;

/// How long is searched.
const TIME_MAX: Duration = Duration::from_millis(300);
/// Processes that are looked at.
const PROCESSES_MAX: usize = 4096;
/// Users whose folders are looked at.
const USERS_MAX: usize = 256;
/// Files that are handed over.
const BINARIES_MAX: usize = 96;
/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 512;
/// Of an environment, bytes.
const ENVIRON_MAX: u64 = 64 << 10;

/// Where installers and packages put it. A `*` is anything in one name.
const SYSTEM: [&str; 15] = [
    "/usr/local/go*/bin/go",
    "/usr/bin/go",
    "/usr/local/bin/go",
    "/usr/lib/go-*/bin/go",   // Debian
    "/usr/lib/go/bin/go",     // Alpine, Arch
    "/usr/lib/golang/bin/go", // Fedora
    "/usr/lib64/go/*/bin/go", // openSUSE
    "/usr/share/go-*/bin/go",
    "/opt/go*/bin/go",
    "/opt/hostedtoolcache/go/*/*/bin/go",
    "/snap/go/*/bin/go",
    "/var/lib/snapd/snap/go/*/bin/go",
    "/home/linuxbrew/.linuxbrew/bin/go",
    "/nix/var/nix/profiles/default/bin/go",
    "/run/current-system/sw/bin/go",
];

/// Likewise below a home.
const HOME: [&str; 17] = [
    "bin/go",
    "go/bin/go",
    "go*/bin/go",
    ".local/bin/go",
    ".local/go*/bin/go",
    ".go/bin/go",
    "sdk/*/bin/go",
    "go/pkg/mod/golang.org/toolchain@*/bin/go",
    ".asdf/installs/golang/*/go/bin/go",
    ".gvm/gos/*/bin/go",
    ".goenv/versions/*/bin/go",
    ".local/share/mise/installs/go/*/bin/go",
    ".g/versions/*/bin/go",
    ".gobrew/versions/*/go/bin/go",
    "snap/go/*/bin/go",
    ".nix-profile/bin/go",
    ".linuxbrew/bin/go",
];

/// A binary.
pub struct Discovered {
    /// Opened for reading
    pub file: File,
    /// Its number
    pub id: FileId,
    /// Where it was found
    pub path: PathBuf,
}

/// Looks everywhere: first in that PATH of the user and group that called. `each` gets every file
/// once, the likeliest first.
pub(super) fn go_binaries(ours: (u32, u32), path: Option<&OsStr>, each: &mut dyn FnMut(Discovered)) {
    let accounts = accounts();
    let mut search = Search { seen: HashSet::new(), until: Instant::now() + TIME_MAX, each };
    if let Some(path) = path {
        search.path(ours, Path::new("/"), path);
    }
    for pattern in SYSTEM {
        search.pattern((0, 0), Path::new("/"), pattern);
    }
    search.processes();
    for account in accounts {
        for pattern in HOME {
            search.pattern((account.uid, account.gid), &account.home, pattern);
        }
    }
}

/// User and group.
type Owner = (u32, u32);

struct Search<'a> {
    seen: HashSet<FileId>,
    until: Instant,
    each: &'a mut dyn FnMut(Discovered),
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.seen.len() >= BINARIES_MAX || Instant::now() > self.until
    }

    fn open(&mut self, (uid, gid): Owner, path: PathBuf) {
        if self.is_over() {
            return;
        }
        if let Some((file, id)) = files::regular_as(uid, gid, &path)
            && self.seen.insert(id)
        {
            (self.each)(Discovered { file, id, path });
        }
    }

    fn pattern(&mut self, owner: Owner, root: &Path, pattern: &str) {
        let until = self.until;
        let paths = files::with_rights(owner.0, owner.1, || expand(root, pattern, until));
        paths.into_iter().for_each(|path| self.open(owner, path));
    }

    /// Every `go` in a PATH: another one than the first is called when a script changes PATH.
    fn path(&mut self, owner: Owner, root: &Path, path: &OsStr) {
        for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
            self.open(owner, below(root, &folder).join("go"));
        }
    }

    /// What runs, and where its variables lead.
    fn processes(&mut self) {
        let own_files = files::namespace_of("self");
        let mut known = HashSet::new();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids.take(PROCESSES_MAX) {
            if self.is_over() {
                return;
            }
            let of = PathBuf::from(format!("/proc/{pid}"));
            if std::fs::read_link(of.join("exe")).is_ok_and(|exe| is_go(&exe)) {
                self.open((0, 0), of.join("exe"));
            }
            let Some(status) = Live.status(Pid(pid)) else { continue };
            let files = files::namespace_of(&pid.to_string());
            let root = if files == own_files { PathBuf::from("/") } else { of.join("root") };
            // Not the effective one: of a program that is somebody else's by its set-user-ID bit the
            // variables are still the user's.
            let owner = (status.uid, status.gid);
            let mut environ = Vec::new();
            let opened = File::open(of.join("environ"));
            // A kernel thread has none; one that has gone needs none.
            let _ = opened.and_then(|file| file.take(ENVIRON_MAX).read_to_end(&mut environ));
            for (name, value) in environ.split(|byte| *byte == 0).filter_map(variable) {
                // The same shells have the same variables.
                if known.insert((files.clone(), owner, name, value.to_vec())) {
                    self.variable(owner, &root, name, OsStr::from_bytes(value));
                }
            }
        }
    }

    fn variable(&mut self, owner: Owner, root: &Path, name: &str, value: &OsStr) {
        let Some(first) = std::env::split_paths(value).next().filter(|path| path.is_absolute()) else {
            return;
        };
        let folder = below(root, &first);
        match name {
            "PATH" => self.path(owner, root, value),
            "GOROOT" => self.open(owner, folder.join("bin/go")),
            "GOMODCACHE" => self.pattern(owner, &folder, "golang.org/toolchain@*/bin/go"),
            // GOPATH
            _ => self.pattern(owner, &folder, "pkg/mod/golang.org/toolchain@*/bin/go"),
        }
    }
}

/// A variable that leads to go binaries.
fn variable(entry: &[u8]) -> Option<(&'static str, &[u8])> {
    let at = entry.iter().position(|byte| *byte == b'=')?;
    let name = ["PATH", "GOROOT", "GOMODCACHE", "GOPATH"]
        .into_iter()
        .find(|name| name.as_bytes() == &entry[..at])?;
    Some((name, &entry[at + 1..]))
}

/// A path as a process means it whose root is `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a program has the name of the go command; the kernel adds a word to deleted ones.
fn is_go(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "go" || name == "go (deleted)")
}

/// The paths that a pattern stands for.
fn expand(root: &Path, pattern: &str, until: Instant) -> Vec<PathBuf> {
    let mut paths = vec![root.to_path_buf()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let Some((before, after)) = part.split_once('*') else {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let fits = |name: &OsStr| {
            let name = name.as_bytes();
            name.len() >= before.len() + after.len()
                && name.starts_with(before.as_bytes())
                && name.ends_with(after.as_bytes())
        };
        let mut next = Vec::new();
        for folder in paths {
            if Instant::now() > until {
                break;
            }
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(ENTRIES_MAX);
            next.extend(entries.filter(|entry| fits(&entry.file_name())).map(|entry| entry.path()));
        }
        paths = next;
    }
    paths
}

/// Users with a home of their own: those of the user database, and whoever has a folder in /home
/// (a directory service does not list its users).
fn accounts() -> Vec<Account> {
    use std::os::unix::fs::MetadataExt as _;
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let listed = text.lines().filter_map(account);
    let folders = std::fs::read_dir("/home").into_iter().flatten().flatten().filter_map(|entry| {
        let owner = entry.metadata().ok()?;
        Some(Account { uid: owner.uid(), gid: owner.gid(), home: entry.path(), ..Account::default() })
    });
    let mut homes = HashSet::new();
    let own = |account: &Account| account.home.is_dir() && homes.insert(account.home.clone());
    listed.chain(folders).filter(own).take(USERS_MAX).collect()
}

/// A line of /etc/passwd, `name:x:1000:1000:Real Name:/home/name:/bin/sh`; `None` when its home is
/// that of many, or none.
fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = PathBuf::from(fields.nth(1)?);
    let shared =
        ["/", "/bin", "/sbin", "/dev", "/usr/bin", "/usr/sbin", "/usr/games", "/proc", "/nonexistent"];
    if !home.is_absolute() || shared.iter().any(|path| home == Path::new(path)) {
        return None;
    }
    Some(Account { name, uid, gid, home, shell: fields.next().unwrap_or_default().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_star_is_anything_in_one_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sdk/go1.22/bin", "sdk/go1.23/bin", "sdk/other/bin", "sdk/go/1.24/bin"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let expanded = |pattern| {
            let mut paths = expand(folder.path(), pattern, soon());
            paths.sort();
            paths
        };
        let at = |name| folder.path().join(name);
        assert_eq!(expanded("sdk/go1*/bin/go"), [at("sdk/go1.22/bin/go"), at("sdk/go1.23/bin/go")]);
        assert_eq!(expanded("sdk/*/1.2*/bin"), [at("sdk/go/1.24/bin")]);
        assert_eq!(expanded("bin/go"), [at("bin/go")]);
        assert_eq!(expanded("nowhere/*/go").len(), 0);
    }

    #[test]
    fn a_user_without_a_home_of_its_own_is_left_out() {
        let user = account("ann:x:1000:1001:Ann,,:/home/ann:/bin/bash").unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_path()), (1000, 1001, Path::new("/home/ann")));
        for line in [
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
            "bin:x:2:2:bin:/bin:",
            "",
            "a:b",
            "+::::::",
        ] {
            assert!(account(line).is_none(), "{line}");
        }
    }

    #[test]
    fn the_variables_that_lead_to_go_are_known_by_their_whole_name() {
        assert_eq!(variable(b"PATH=/a:/b"), Some(("PATH", &b"/a:/b"[..])));
        assert_eq!(variable(b"GOROOT=/go"), Some(("GOROOT", &b"/go"[..])));
        for other in [&b"MANPATH=/a"[..], b"PATH", b"GOROOT_FINAL=/a", b""] {
            assert_eq!(variable(other), None);
        }
    }

    #[test]
    fn a_path_is_meant_below_the_root_of_its_process() {
        assert_eq!(
            below(Path::new("/proc/7/root"), Path::new("/usr/bin")),
            Path::new("/proc/7/root/usr/bin")
        );
        assert_eq!(below(Path::new("/"), Path::new("/usr/bin")), Path::new("/usr/bin"));
    }

    #[test]
    fn the_go_command_is_known_by_its_name_deleted_or_not() {
        assert!(is_go(Path::new("/usr/local/go/bin/go")) && is_go(Path::new("/tmp/go (deleted)")));
        assert!(!is_go(Path::new("/usr/bin/gofmt")) && !is_go(Path::new("/go/bin/x")));
    }
}
