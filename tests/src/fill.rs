//! A module cache filled from the network, once for all tests: `target/lab`. In goes the sample
//! module, out comes the `cache/download` folder that the lab's proxy serves.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::paths;

/// Returns the `cache/download` folder, which it fills first unless an earlier call has. A file
/// lock lets one process fill while others wait. Needs the network only when it fills.
pub fn download_cache() -> Result<PathBuf> {
    let lab = paths::target().join("lab");
    fs::create_dir_all(&lab).with_context(|| format!("create {}", lab.display()))?;
    let lab = fs::canonicalize(&lab).with_context(|| format!("find {}", lab.display()))?;
    let lock = File::create(lab.join("lock")).context("create the lab's lock file")?;
    lock.lock().context("lock the lab's module cache")?;

    let wanted = fs::read(paths::sample().join("go.mod")).context("read the sample's go.mod")?;
    let marker = lab.join("filled");
    if fs::read(&marker).ok().as_deref() != Some(&wanted) {
        fill(&lab)?;
        fs::write(&marker, wanted).context("mark the lab's module cache as filled")?;
    }
    Ok(lab.join("modcache").join("cache").join("download"))
}

fn fill(lab: &Path) -> Result<()> {
    let (modcache, gopath) = (lab.join("modcache"), lab.join("gopath"));
    for dir in [&modcache, &gopath] {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        }
    }
    // Without go.sum, so that the checksum database is asked, and its answers are stored too.
    let project = paths::temp("goobserve-fill-")?;
    for name in ["go.mod", "main.go"] {
        fs::copy(paths::sample().join(name), project.path().join(name)).context("copy the sample")?;
    }
    let output = Command::new("go")
        .args(["mod", "download"])
        .current_dir(project.path())
        .env("GOMODCACHE", &modcache)
        .env("GOPATH", &gopath)
        .env("GOFLAGS", "-modcacherw")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .output()
        .context("run go mod download to fill the lab's module cache")?;
    ensure!(
        output.status.success(),
        "go mod download, to fill the lab's module cache from the network, ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    unpacked_removed(&modcache)
}

/// Only `cache` is served; what go unpacked beside it is as large again.
fn unpacked_removed(modcache: &Path) -> Result<()> {
    for entry in fs::read_dir(modcache).context("list the lab's module cache")? {
        let path = entry?.path();
        if path.is_dir() && path.file_name() != Some(OsStr::new("cache")) {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}
