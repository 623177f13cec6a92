//! Where things are: the build's output folder, the sample module, memory-backed temporary
//! folders.

use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// The tests package's own folder.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The build's output folder: `CARGO_TARGET_DIR` or the workspace's `target`.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| package().join("..").join("target"), |dir| package().join("..").join(dir))
}

/// Where `cargo xtask setup` puts what no package manager of the machine has.
pub fn tools() -> PathBuf {
    package().join("..").join("target").join("tools")
}

/// The folder of the sample module.
pub fn sample() -> PathBuf {
    package().join("sample")
}

/// The folder of goobserve's published JSON schemas.
pub fn schemas() -> PathBuf {
    package().join("..").join("observer").join("schema")
}

/// A temporary folder, removed when dropped; in memory where there is `/dev/shm`, for timings
/// steadier than a disk's.
pub fn temp(prefix: &str) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir())
}

/// A program of `PATH`, as an absolute path.
pub fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Copies a program, into the same file when there is one. In a process of its own: what another
/// thread starts meanwhile would inherit the file that is written to, and who runs the program then
/// is reported that it is busy. It can be run even if nobody has run the other yet: of a toolchain from the
/// module cache, go itself makes the programs executable when it first runs them.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg(from).arg(to).status().context("run cp")?;
    ensure!(status.success(), "cp {} {} ended with {status}", from.display(), to.display());
    fs::set_permissions(to, Permissions::from_mode(0o755)).context("make a program executable")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_gone_when_dropped() {
        let dir = temp("goobserve-lab-").unwrap();
        let path = dir.path().to_owned();
        assert!(path.is_dir());
        drop(dir);
        assert!(!path.exists());
    }
}
