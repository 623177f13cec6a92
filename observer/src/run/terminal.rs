//! The terminal as it was before the dashboard, kept by the agent: a worker that was killed cannot
//! give it back. In: the controlling terminal. Out: its settings again, and the ordinary screen.

use std::fs::File;
use std::io::Write as _;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

/// No mouse, the ordinary screen, a cursor.
const ORDINARY: &str = "\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";

/// A terminal's settings.
#[derive(Debug)]
pub struct Terminal {
    tty: File,
    settings: Termios,
}

impl Terminal {
    /// Remembers the controlling terminal's; `None` when there is none.
    pub fn keep() -> Option<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let settings = tcgetattr(&tty).ok()?;
        Some(Self { tty, settings })
    }

    /// Makes it what it was.
    pub fn hint(mut self) {
        // A worker that could still give it back did, and what it said then is not to be written over.
        if tcgetattr(&self.tty).is_ok_and(|now| now == self.settings) {
            return;
        }
        // Nothing more can be done about a terminal that takes neither.
        let _ = self.tty.write_all(ORDINARY.as_bytes());
        let _ = tcsetattr(&self.tty, SetArg::TCSADRAIN, &self.settings);
    }
}
