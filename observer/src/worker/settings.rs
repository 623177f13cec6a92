//! A go command's binary and environment in, its settings out.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::binaries::{Binaries, Binary};
use crate::goenv;
use crate::model::record::Go;
use crate::seam::Task;
use crate::target::BuildInfo;

/// Longest environment that is read; Linux allows 2 MB with arguments, go looks at a dozen names.
const ENVIRON_MAX: u64 = 1 << 20;

/// A process's environment; empty when it has gone.
pub fn read_environ(descriptor: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A process that has gone has no environment: it is not known then.
    let _ = File::from(descriptor).take(ENVIRON_MAX).read_to_end(&mut bytes);
    bytes
}

/// What is known of CMD's go before it is looked at; `None` when it is no go command.
pub fn go_of_cmd(task: &Task, binaries: &Binaries) -> Option<Go> {
    let binary =
        binaries.first().filter(|binary| binary.build.as_ref().is_some_and(BuildInfo::is_go_command))?;
    Some(settings(task.environ.as_bytes(), binary, &binary.path, task.cpus, true))
}

/// What `go env` would say. `same_files`: the command sees the same files as this process.
pub fn settings(environ: &[u8], binary: &Binary, path: &str, cpus: Option<u32>, same_files: bool) -> Go {
    let source = goenv::Source { environ, binary: Some(Path::new(path)), cpus };
    let read = |path: &Path| {
        // The command chose the path: a pipe there must not hold this process up.
        let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        if let Err(error) = &file
            && same_files
            && error.kind() == std::io::ErrorKind::NotFound
        {
            return Some(Vec::new());
        }
        let file = file.ok()?;
        if !same_files || !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(goenv::FILE_LIMIT as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let mut go = goenv::settings(&source, read);
    if environ.is_empty() {
        // It could not be read: what $GOROOT says then is a default, not what is set.
        (go.goproxy, go.gosumdb, go.goflags) = (None, None, None);
    }
    let build = binary.build.as_ref();
    go.version = build.map(|build| build.go_version.clone());
    go.cgo = build.and_then(BuildInfo::cgo);
    go.binary = Some(path.to_owned());
    let folder = |path: Option<&String>| {
        let metadata = std::fs::metadata(path.filter(|_| same_files)?).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let caches = folder(go.gomodcache.as_ref()).zip(folder(go.gocache.as_ref()));
    go.caches_shared = caches.filter(|(modules, builds)| modules == builds).map(|_| true);
    go
}

/// The control group of cgroup v2, or else the longest of version 1's.
pub fn cgroup_of(text: &str) -> Option<String> {
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let unified = text.lines().find(|line| line.starts_with("0::")).and_then(path);
    let other = || text.lines().filter_map(path).max_by_key(String::len);
    unified.filter(|path| path != "/").or_else(other).or_else(|| Some("/".to_owned()))
}
