//! goobserve's dashboard on a pseudo terminal. In go its arguments and keys, out come what the
//! terminal shows, since when, and the processes behind it.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context as _, Result};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::monotonic_ns;
use crate::go_env::GoRun;
use crate::lab::Lab;
use crate::procs::{argv, descendants};
use crate::{lock, wait};

/// The terminal's size.
const ROWS: NonZeroU16 = NonZeroU16::new(40).expect("not 0");
const COLUMNS: NonZeroU16 = NonZeroU16::new(120).expect("not 0");

/// A terminal that shows the dashboard. Dropped before its end, goobserve is killed.
pub struct Screen {
    keys: File,
    child: Child,
    shown: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    /// Starts goobserve with these arguments where `run` is. `seen` is reported the time of everything
    /// that the terminal is sent (`CLOCK_MONOTONIC`, nanoseconds), and what is then on it.
    pub fn start(
        lab: &Lab,
        run: &GoRun,
        args: &[&str],
        seen: impl FnMut(u64, &str) + Send + 'static,
    ) -> Result<Self> {
        let size = Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 };
        let ends = openpty(Some(&size), None).context("make a pseudo terminal")?;
        let slave = || ends.slave.try_clone().map(Stdio::from);
        let mut command = run.command("setsid");
        command.arg("--ctty").arg(crate::goobserve::binary()?).args(args).env("TERM", "xterm-256color");
        command.stdin(slave()?).stdout(slave()?).stderr(slave()?);
        let child = lab.spawn(&mut command)?;
        // The command holds the terminal's other end too: without it the end would not be seen.
        drop((command, ends.slave));
        let master = File::from(ends.master);
        let shown = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let (keys, to) = (master.try_clone()?, Arc::clone(&shown));
        thread::spawn(move || read(master, &to, seen));
        Ok(Self { keys, child, shown })
    }

    /// What is on it.
    pub fn text(&self) -> String {
        lock(&self.shown).screen().contents()
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes()).context("type on the terminal")
    }

    /// Waits until it shows that.
    ///
    /// # Panics
    /// When it does not within half a minute.
    #[track_caller]
    pub fn until(&self, text: &str) {
        let seen = wait::within(wait::LIMIT, || self.text().contains(text).then_some(()));
        assert!(seen.is_some(), "no {text:?} on the terminal:\n{}", self.text());
    }

    /// Agent, worker and whatever else goobserve is made of.
    pub fn pids(&self) -> Vec<u32> {
        let is_ours = |pid: &u32| argv(*pid).first().is_some_and(|name| name.ends_with("goobserve"));
        let all = [self.child.id()].into_iter().chain(descendants(self.child.id()));
        all.filter(is_ours).collect()
    }

    /// Its end, when it has been asked to end.
    pub fn end(mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        wait::within(wait::LIMIT, || child.try_wait().ok().flatten()).context("goobserve does not end")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // It has a session of its own; the worker ends with the agent.
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Until nobody has the terminal open any more.
fn read(mut master: File, shown: &Mutex<vt100::Parser>, mut seen: impl FnMut(u64, &str)) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match master.read(&mut buffer) {
            Ok(length @ 1..) => {
                let at = monotonic_ns();
                let mut parser = lock(shown);
                parser.process(&buffer[..length]);
                seen(at, &parser.screen().contents());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}
