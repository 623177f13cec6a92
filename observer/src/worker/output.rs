//! Files that goobserve writes: 0600, never through a symbolic link, whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// A file that is there when it is finished: until then its bytes go to another name beside it.
pub struct Whole {
    file: File,
    temporary: Option<PathBuf>,
    path: PathBuf,
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options
}

/// What went wrong, and what root may not expect.
fn cannot(path: &Path) -> String {
    let note = match std::env::var_os("SUDO_UID") {
        None if nix::unistd::geteuid().is_root() => {
            " (files are written as the calling user without special rights: root's, here)"
        }
        _ => "",
    };
    format!("cannot write {}{note}", path.display())
}

fn refuse_link(path: &Path) -> Result<Option<std::fs::FileType>> {
    let kind = std::fs::symlink_metadata(path).ok().map(|metadata| metadata.file_type());
    if kind.is_some_and(|kind| kind.is_symlink()) {
        bail!(
            "{} is a symbolic link, and goobserve writes through none; name the file itself",
            path.display()
        );
    }
    Ok(kind)
}

/// A file that grows while it is written: a recording.
pub fn growing(path: &Path) -> Result<File> {
    refuse_link(path)?;
    options().create(true).truncate(true).open(path).with_context(|| cannot(path))
}

impl Whole {
    /// Opens it, so that a folder that cannot be written is known before anything is done.
    pub fn create(path: &Path) -> Result<Self> {
        let cannot = || cannot(path);
        let special = refuse_link(path)?.is_some_and(|kind| kind.is_char_device() || kind.is_fifo());
        if special {
            let file = options().open(path).with_context(cannot)?;
            return Ok(Self { file, temporary: None, path: path.to_path_buf() });
        }
        if path.is_dir() {
            bail!("cannot write {}: it is a folder", path.display());
        }
        let name = path.file_name().with_context(cannot)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = options().create_new(true).open(&temporary).with_context(cannot)?;
        Ok(Self { file, temporary: Some(temporary), path: path.to_path_buf() })
    }

    /// Writes all of it and gives it its name.
    pub fn finish(mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| match &self.temporary {
            Some(temporary) => std::fs::rename(temporary, &self.path),
            None => Ok(()),
        });
        if written.is_ok() {
            self.temporary = None;
        }
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = std::fs::remove_file(temporary); // nothing half-written is left
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_appears_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let file = Whole::create(&path).unwrap();
        assert!(!path.exists());
        file.finish(b"{}").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_left_when_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        drop(Whole::create(&folder.path().join("x")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_and_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
        assert!(Whole::create(&link).is_err());
        assert!(growing(&link).is_err());
        assert!(Whole::create(folder.path()).is_err());
        assert!(!folder.path().join("target").exists());
    }
}
