//! The files that a command's paths mean, by way of the opener. In go a path, and the root that the command has
//! where that is not ours (a container's, a chroot's), out comes what the opener says of the file.

use std::borrow::Cow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::opener::{Opener, Reply, Request, What};
use crate::seam::Root;

/// Which files a command's paths mean.
pub(super) enum Files<'a> {
    /// The same as the opener's
    Ours(&'a Opener),
    /// Those below that folder; paths that the kernel gives begin with this
    Below(&'a Opener, OwnedFd, PathBuf),
    /// Nobody knows
    Unknown,
}

impl<'a> Files<'a> {
    /// From what the agent says, and the descriptor that came with it.
    pub(super) fn new(root: Root, descriptor: Option<OwnedFd>, opener: &'a Opener) -> Self {
        match (root, descriptor) {
            (Root::Ours, _) => Self::Ours(opener),
            (Root::Own(prefix), Some(descriptor)) => Self::Below(opener, descriptor, prefix.into()),
            _ => Self::Unknown,
        }
    }

    /// A path that the kernel gave, as the command would say it.
    pub(super) fn inside<'b>(&self, path: &'b Path) -> Cow<'b, Path> {
        match self {
            Self::Below(_, _, prefix) if prefix != Path::new("/") => match path.strip_prefix(prefix) {
                Ok(rest) => Path::new("/").join(rest).into(),
                Err(_) => path.into(),
            },
            _ => path.into(),
        }
    }

    /// What a settings file of go's sets, as far as it is go's; an empty text where there is no file.
    pub(super) fn variables(&self, path: &Path) -> Option<Vec<u8>> {
        let text = self.text(path, What::Variables).map(String::into_bytes);
        text.or_else(|| (self.exists(path) == Some(false)).then(Vec::new))
    }

    /// What a go.mod or go.work says of modules of one's own.
    pub(super) fn modules(&self, path: &Path) -> Option<String> {
        self.text(path, What::Modules)
    }

    /// Whether there is such a file; `None` when nobody may look.
    pub(super) fn exists(&self, path: &Path) -> Option<bool> {
        match self.ask(path, What::Exists)? {
            Reply::Yes => Some(true),
            Reply::No => Some(false),
            _ => None,
        }
    }

    /// Device and inode of what is there.
    pub(super) fn number(&self, path: &Path) -> Option<(u64, u64)> {
        match self.ask(path, What::Number)? {
            Reply::Number(dev, ino) => Some((dev, ino)),
            _ => None,
        }
    }

    fn text(&self, path: &Path, what: What) -> Option<String> {
        match self.ask(path, what)? {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    fn ask(&self, path: &Path, what: What) -> Option<Reply> {
        let (opener, root): (_, Option<BorrowedFd<'_>>) = match self {
            Self::Unknown => return None,
            Self::Ours(opener) => (opener, None),
            Self::Below(opener, root, _) => (opener, Some(root.as_fd())),
        };
        Some(opener.ask(&Request::File(path.as_os_str().as_bytes().to_vec(), what), root).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_said_as_the_command_says_it_and_read_where_that_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/go.env"), "GOPROXY=off\nOTHER=x\n").unwrap();
        let opener = Opener::here();
        let root = std::fs::File::open(folder.path()).unwrap().into();
        let files = Files::Below(&opener, root, folder.path().to_owned());
        assert_eq!(files.inside(&folder.path().join("etc/go.env")), Path::new("/etc/go.env"));
        assert_eq!(files.inside(Path::new("/etc/go.env")), Path::new("/etc/go.env"));
        assert_eq!(files.variables(Path::new("/etc/go.env")).as_deref(), Some(&b"GOPROXY=off\n"[..]));
        assert_eq!(files.variables(Path::new("/etc/none")).as_deref(), Some(&b""[..]));
        assert_eq!(files.exists(Path::new("/etc")), Some(true));
        assert_eq!(Files::Unknown.exists(Path::new("/etc")), None);
        let ours = Files::Ours(&opener);
        assert_eq!(ours.number(folder.path()), ours.number(&folder.path().join("etc/..")));
    }
}
