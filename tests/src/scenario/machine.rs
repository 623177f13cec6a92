//! Faults of the machine: what computes, writes, holds locks or stops the command beside it. Each
//! ends when its guard is dropped.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::lab::Lab;
use crate::proxy::ending;
use crate::{paths, procs, wait};

/// Bytes that a writer writes before it waits for the disk; the same ones again and again.
const WRITTEN: usize = 256 * 1024;

/// Processes that only compute.
pub(crate) struct Hogs(Vec<Child>);

impl Hogs {
    pub(crate) fn start(number: u32) -> Result<Self> {
        Self::start_as(number, &["sh"])
    }

    /// On those CPUs only, a list as `taskset` reads it.
    pub(crate) fn start_on(number: u32, cpus: &str) -> Result<Self> {
        Self::start_as(number, &["taskset", "-c", cpus, "sh"])
    }

    fn start_as(number: u32, shell: &[&str]) -> Result<Self> {
        let mut hogs = Self(Vec::new());
        for _ in 0..number {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            hogs.0.push(command.spawn().context("start a CPU hog")?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

/// Threads that write to the disk, and a folder on it.
pub(crate) struct Writers {
    dir: TempDir,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) fn start(number: u32) -> Result<Self> {
        let on_disk = paths::target().join("tmp");
        fs::create_dir_all(&on_disk)?;
        let dir = tempfile::Builder::new().prefix("goobserve-disk-").tempdir_in(&on_disk)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for number in 0..number {
            let mut file = File::create(dir.path().join(number.to_string()))?;
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || {
                let bytes = vec![1; WRITTEN];
                // A full disk ends it; the scenario then finds too little time on the disk.
                while !stop.load(Ordering::Relaxed)
                    && file
                        .rewind()
                        .and_then(|()| file.write_all(&bytes))
                        .and_then(|()| file.sync_all())
                        .is_ok()
                {}
            }));
        }
        Ok(Self { dir, stop, threads })
    }

    /// An empty folder for a module cache; it goes with the writers.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        let dir = self.dir.path().canonicalize()?;
        Ok(tempfile::Builder::new().prefix("modcache").tempdir_in(dir)?.keep())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The lock of a module's version, which another go command would hold while it downloads it.
pub(crate) struct HeldLock(File);

impl HeldLock {
    /// Takes the lock of `module@version` in that module cache.
    pub(crate) fn take(modcache: &Path, module: &str) -> Result<Self> {
        let (path, version) = module.split_once('@').context("a module without its version")?;
        let folder = modcache.join("cache/download").join(path).join("@v");
        fs::create_dir_all(&folder)?;
        let file = File::create(folder.join(format!("{version}.lock"))).context("create a module's lock")?;
        file.lock().context("lock a module")?;
        Ok(Self(file))
    }

    /// Holds it until somebody has waited for it that long, and lets go; `false` when nobody did.
    pub(crate) fn hold(self, time: Duration) -> bool {
        let Ok(inode) = self.0.metadata().map(|metadata| metadata.ino()) else { return false };
        let waited = wait::within(wait::LIMIT, || {
            let locks = fs::read_to_string("/proc/locks").ok()?;
            let of_it = |line: &&str| line.contains(" -> ") && line.contains(&format!(":{inode} "));
            locks.lines().find(of_it).map(drop)
        });
        thread::sleep(time);
        waited.is_some()
    }
}

/// Stops the go command below that process for so long when the proxy is in the middle of a zip;
/// `false` when there was none.
pub(super) fn pause(lab: &Lab, below: u32, time: Duration) -> bool {
    let is_zip = ending(".zip");
    let in_the_middle = wait::within(wait::LIMIT, || {
        let requests = lab.proxy.log().requests();
        let zip = requests.iter().find(|r| is_zip.is_for(&r.path) && r.bytes > 0 && r.end_ns.is_none())?;
        procs::descendants(below)
            .into_iter()
            .find(|pid| procs::argv(*pid).first().is_some_and(|go| go == "go"))
            .map(|pid| (pid, zip.bytes))
    });
    let Some((pid, _)) = in_the_middle else { return false };
    let pid = Pid::from_raw(pid.cast_signed());
    let stopped = kill(pid, Signal::SIGSTOP).is_ok();
    thread::sleep(time);
    // Gone is as good as continued.
    let _ = kill(pid, Signal::SIGCONT);
    stopped
}
