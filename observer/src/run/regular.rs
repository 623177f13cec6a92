//! Opening a file that somebody else named. In go a path, out comes the file when it is a regular
//! one: opening anything else may wait for ever (a pipe) or do something (a device).

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

/// Opens a regular file for reading. What it is is looked at before it is opened.
pub fn open(path: &Path) -> Option<(File, Metadata)> {
    let place = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).ok()?;
    let metadata = place.metadata().ok().filter(Metadata::is_file)?;
    let same = format!("/proc/self/fd/{}", place.as_raw_fd());
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(same).ok()?;
    Some((file, metadata))
}

/// The beginning of a regular file, `limit` bytes at most.
pub fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.0.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_only_so_much_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!(read(&at("link"), 3), Some(b"tex".to_vec()));
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for other in [at("pipe"), at("nothing"), folder.path().to_owned(), "/dev/zero".into()] {
            assert!(read(&other, 3).is_none(), "{}", other.display());
        }
    }

    #[test]
    fn a_deleted_program_that_runs_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sleep");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let mut child = std::process::Command::new(&path).arg("1000").spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        let opened = open(Path::new(&format!("/proc/{}/exe", child.id())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(opened.is_some());
    }
}
