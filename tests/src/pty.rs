//! A pseudo terminal with a job-controlling shell on it. In go a script and keys, out comes what
//! the terminal shows.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::tcgetpgrp;

use crate::wait;

/// The key that ends the foreground job.
pub const CTRL_C: &str = "\x03";
/// The key that stops it.
pub const CTRL_Z: &str = "\x1a";

/// A terminal with a shell. Dropped, it hangs up.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    name: PathBuf,
    shell: Child,
    seen: String,
}

impl Terminal {
    /// Runs the script in a shell with job control, whose words after the script are `$1`, `$2`
    /// …, on a terminal of 33 rows and 100 columns. `prepare` may change the command further.
    pub fn run(script: &str, words: &[&OsStr], prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        // No child may hold the master: the terminal would never hang up.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).context("make a pseudo terminal")?;
        grantpt(&master).and_then(|()| unlockpt(&master)).context("unlock the terminal")?;
        let name: PathBuf = ptsname_r(&master).context("ask the terminal's name")?.into();
        let slave = File::options().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&name);
        let slave = slave.context("open the terminal")?;
        let mut command = Command::new("setsid");
        command.args(["--ctty", "sh", "-m", "-c", script, "sh"]).args(words).env("TERM", "xterm");
        prepare(&mut command);
        resize(&name, 33, 100)?;
        let end = || slave.try_clone().map(Stdio::from);
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let shell = command.spawn().context("start a shell on a terminal")?;
        let master = File::from(OwnedFd::from(master));
        Ok(Self { master, name, shell, seen: String::new() })
    }

    /// The shell's process.
    pub fn shell(&self) -> u32 {
        self.shell.id()
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) -> Result<()> {
        self.master.write_all(keys.as_bytes()).context("type on the terminal")
    }

    /// The process group that the keys reach.
    pub fn foreground(&self) -> Option<u32> {
        tcgetpgrp(&self.master).ok().map(|group| group.as_raw().cast_unsigned())
    }

    /// Gives the window another size.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        resize(&self.name, rows, columns)
    }

    /// Waits until `text` is shown and returns what came before it; the rest stays for later.
    ///
    /// # Panics
    /// When it is not shown.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let at = wait::within(Duration::from_secs(30), || {
            self.more();
            self.seen.find(text)
        });
        let at = at.unwrap_or_else(|| panic!("no {text:?} on the terminal: {:?}", self.seen));
        let rest = self.seen.split_off(at + text.len());
        let mut before = std::mem::replace(&mut self.seen, rest);
        before.truncate(at);
        before
    }

    /// What is shown within that time, and was not asked for yet.
    pub fn during(&mut self, time: Duration) -> String {
        wait::within(time, || {
            self.more();
            None::<()>
        });
        std::mem::take(&mut self.seen)
    }

    /// The shell's end, and what was shown until then.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(&mut self) -> String {
        wait::until("the end of the shell on the terminal", || {
            self.more();
            self.shell.try_wait().ok().flatten()
        });
        self.more();
        std::mem::take(&mut self.seen)
    }

    /// The terminal goes away, as when its window is closed or the network breaks; the shell is left
    /// to the kernel. Its process.
    pub fn hang_up(&mut self) -> Result<&mut Child> {
        self.master = File::open("/dev/null").context("close the terminal")?;
        Ok(&mut self.shell)
    }

    fn more(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.master.read(&mut buffer) {
                Ok(size @ 1..) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..size])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing yet; or nobody has the terminal open any more.
                Ok(0) | Err(_) => return,
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.shell.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.shell.kill();
            let _ = self.shell.wait();
        }
    }
}

fn resize(terminal: &Path, rows: u16, columns: u16) -> Result<()> {
    let status = Command::new("stty")
        .arg("-F")
        .arg(terminal)
        .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
        .status()
        .context("run stty")?;
    ensure!(status.success(), "stty ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_stopped_and_continued_by_keys() {
        // No loop of commands: one that is stopped between fork and exec stops its shell for good.
        let script = "sh -c 'echo ready; exec cat'; echo stopped $?; fg; echo ended $?";
        let mut terminal = Terminal::run(script, &[], |_| {}).unwrap();
        terminal.until("ready");
        let job = terminal.foreground().unwrap();
        terminal.keys(CTRL_Z).unwrap();
        terminal.until("stopped 14");
        wait::until("the job in the foreground", || {
            let runs = crate::procs::state(job).is_some_and(|state| state != "T");
            (runs && terminal.foreground() == Some(job)).then_some(())
        });
        terminal.keys("\x04").unwrap();
        terminal.until("ended 0");
        terminal.end();
    }

    #[test]
    fn the_window_has_the_size_it_was_given() {
        let mut terminal = Terminal::run("stty size; read x; stty size", &[], |_| {}).unwrap();
        terminal.until("33 100");
        terminal.resize(20, 50).unwrap();
        terminal.keys("\n").unwrap();
        terminal.until("20 50");
    }
}
