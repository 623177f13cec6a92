//! A command in the middle of its life: a test reads what it has printed so far, sends it
//! signals, and waits for its end.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::{lock, wait};

/// A command that runs in a process group of its own. Dropped before its end, the whole group
/// is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: Option<ExitStatus>,
    stdout: Stream,
    stderr: Stream,
}

/// What came through a pipe so far.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let shared = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(size @ 1..) = pipe.read(&mut buffer) {
                lock(&shared).extend_from_slice(&buffer[..size]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }
}

impl Lab {
    /// Starts the command where it sees the lab's network and name server, with no input.
    pub fn begin(&self, command: &mut Command) -> Result<Running> {
        Running::of(command, |command| self.spawn(command))
    }
}

impl Running {
    /// Starts the command where everybody is, with no input.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::of(command, |command| Ok(command.spawn()?))
    }

    fn of(command: &mut Command, spawn: impl FnOnce(&mut Command) -> Result<Child>) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = spawn(command)?;
        let stdout = child.stdout.take().context("no pipe from the command's stdout")?;
        let stderr = child.stderr.take().context("no pipe from the command's stderr")?;
        Ok(Self { child, ended: None, stdout: Stream::read(stdout), stderr: Stream::read(stderr) })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it and its children have printed on stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it and its children have printed on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal to this process, not to its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).context("send a signal")
    }

    /// Sends a signal to its whole group, as a terminal does for a key.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        killpg(Pid::from_raw(self.pid().cast_signed()), signal).context("send a signal to a group")
    }

    /// Whether it ends in that time. Its children may live on.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let child = &mut self.child;
        self.ended = wait::within(limit, || child.try_wait().ok().flatten());
        self.ended.is_some()
    }

    /// Waits for its end. Its children may live on.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn status(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait::until("the command's end", || child.try_wait().ok().flatten());
        self.ended = Some(status);
        status
    }

    /// Waits for its end, and for that of everything that holds its output open.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn end(mut self) -> Output {
        let status = self.status();
        wait::until("the end of the command's output", || {
            (self.stdout.reader.is_finished() && self.stderr.reader.is_finished()).then_some(())
        });
        let bytes = |stream: &Stream| std::mem::take(&mut *lock(&stream.bytes));
        Output { status, stdout: bytes(&self.stdout), stderr: bytes(&self.stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // The group's number is the child's, which is not reaped yet, so it is nobody else's.
            let _ = killpg(Pid::from_raw(self.pid().cast_signed()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
