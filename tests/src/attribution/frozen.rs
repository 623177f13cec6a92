//! A file system that can be frozen: whoever writes to it then sleeps uninterruptibly, as for a
//! disk that does not answer. In goes a folder and a time.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Enough for the sample's modules.
const BYTES: u64 = 2 << 30;

/// Gives this process mounts of its own, which end with it. To be called before there is a second
/// thread.
pub fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make the mounts private")
}

/// A file system in a file, mounted at a folder.
#[derive(Debug)]
pub(super) struct Frozen(PathBuf);

impl Frozen {
    /// Mounts it there; the file is `image`.
    pub(super) fn mount(image: &Path, folder: &Path) -> Result<Self> {
        File::create(image)?.set_len(BYTES).context("make a file for a file system")?;
        let features = ["-q", "-O", "^has_journal", "-E", "lazy_itable_init=1"];
        run(Command::new("mkfs.ext4").args(features).arg(image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(folder))?;
        Ok(Self(folder.to_owned()))
    }

    /// Freezes it for so long from now on. What thaws it is a process of its own, which does so also
    /// when we are gone.
    pub(super) fn freeze(&self, time: Duration) -> Result<Thaw> {
        let script = "fsfreeze -f \"$1\" && echo frozen && sleep \"$2\"; fsfreeze -u \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&self.0).arg(time.as_secs_f64().to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().context("start what freezes")?;
        let mut said = [0; 6];
        let frozen = child.stdout.as_mut().context("no pipe")?.read_exact(&mut said);
        frozen.with_context(|| format!("freeze {}", self.0.display()))?;
        Ok(Thaw(child))
    }

    /// Freezes it half of the time, 10 ms each, until what is returned is dropped or we are gone.
    pub(super) fn freeze_often(&self) -> Result<Thaw> {
        let script = "while fsfreeze -f \"$1\" && sleep 0.01; fsfreeze -u \"$1\"
            do read -r -t 0.01; [ $? -gt 128 ] || exit 0; done";
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash"]).arg(&self.0).stdin(Stdio::piped());
        Ok(Thaw(command.spawn().context("start what freezes")?))
    }
}

/// What freezes a file system and thaws it.
pub(super) struct Thaw(Child);

impl Drop for Thaw {
    fn drop(&mut self) {
        // Who reads from us stops at the end of that.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Detached at once; the device and the file go with the last that has it open.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", command.get_program().display(), said.trim());
    Ok(())
}
