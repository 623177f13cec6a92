//! The files that a command's paths mean. In go a path, and the root that the command has where that is
//! not ours (a container's, a chroot's), out come small files: read with this process's rights, whoever's
//! they are, and without leaving that root.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fstat};

/// Links that are followed on one path, as the kernel does (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS_MAX: usize = 40;

/// Which files a path means.
pub(super) enum Rooted {
    /// The same as here
    Ours,
    /// Those below that folder
    Below(OwnedFd),
}

impl Rooted {
    /// The beginning of a regular file, `limit` bytes at most.
    pub(super) fn read(&self, path: &Path, limit: u64) -> Option<Vec<u8>> {
        let place = self.place(path).ok()?;
        place.metadata().ok().filter(Metadata::is_file)?;
        let same = format!("/proc/self/fd/{}", place.as_raw_fd());
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(same).ok()?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Whether there is such a file; `None` when nobody may look.
    pub(super) fn exists(&self, path: &Path) -> Option<bool> {
        match self.place(path) {
            Ok(_) => Some(true),
            Err(error) => (error.kind() == io::ErrorKind::NotFound).then_some(false),
        }
    }

    /// Device and inode of what is there.
    pub(super) fn number(&self, path: &Path) -> Option<(u64, u64)> {
        let metadata = self.place(path).ok()?.metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    /// What is there, looked at and not opened.
    fn place(&self, path: &Path) -> io::Result<File> {
        let opened = match self {
            Self::Ours => openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?,
            Self::Below(root) => below(root, path)?,
        };
        Ok(opened.into())
    }
}

/// What a path means below that root, whatever its links say: what openat2 finds with `RESOLVE_IN_ROOT`, whose
/// arguments no filter of system calls can look at.
fn below(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut way = vec![root.try_clone()?];
    let mut rest: VecDeque<PathBuf> = path.iter().map(PathBuf::from).collect();
    let mut links = LINKS_MAX;
    while let Some(name) = rest.pop_front() {
        match name.components().next() {
            Some(Component::RootDir) => way.truncate(1),
            Some(Component::ParentDir) => way.truncate((way.len() - 1).max(1)),
            Some(Component::Normal(name)) => {
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let here = way.last().ok_or(Errno::ENOENT)?;
                let there = openat(here, name, flags, Mode::empty())?;
                if SFlag::from_bits_truncate(fstat(&there)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
                    way.push(there);
                    continue;
                }
                links = links.checked_sub(1).ok_or(Errno::ELOOP)?;
                let to = PathBuf::from(readlinkat(&there, "")?);
                to.iter().rev().for_each(|name| rest.push_front(name.into()));
            }
            _ => {}
        }
    }
    Ok(way.pop().ok_or(Errno::ENOENT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_the_file_below_the_commands_root_and_no_link_leads_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(folder.path().join("outside"), "outside").unwrap();
        std::fs::write(root.join("etc/inside"), "inside").unwrap();
        let links = [("etc/abs", "/etc/inside"), ("etc/out", "../../../outside"), ("etc/round", "round")];
        for (link, to) in links {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        let opened = File::open(&root).unwrap().into();
        let files = Rooted::Below(opened);
        let read = |path: &str| files.read(Path::new(path), 100);
        assert_eq!(read("/etc/inside"), Some(b"inside".to_vec()));
        assert_eq!(read("/etc/abs"), Some(b"inside".to_vec()));
        assert_eq!(read("/etc/../etc/./abs"), Some(b"inside".to_vec()));
        assert_eq!(read("/etc/inside/further"), None, "no folder");
        assert_eq!(read("/etc/out"), None);
        assert_eq!(read("/etc/round"), None);
        assert_eq!(read("/etc"), None, "no file");
        assert_eq!(
            (files.exists(Path::new("/etc/none")), files.exists(Path::new("/etc"))),
            (Some(false), Some(true))
        );
        assert_eq!(Rooted::Ours.read(&root.join("etc/inside"), 2), Some(b"in".to_vec()));
    }
}
