//! One dim line on the terminal while a command runs. In: a text, now and then. Out: the line,
//! from the first second on and then each second, with the cursor left in column 0, so that the
//! command's own output writes over it.
//!
//! It stays silent whenever it could be in the way: while the terminal's echo is off (a
//! password), while another process group is in the foreground (Ctrl-Z, `&`), while a process
//! of the command reads the terminal (a prompt), while the terminal takes no output (Ctrl-S).

use model::id::Pid;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{getpgrp, isatty, tcgetpgrp};

/// Time before the first line, and from line to line.
const EVERY: Duration = Duration::from_secs(1);
/// Columns of a terminal that does not report its width.
const USUAL_WIDTH: usize = 80;
/// Processes, and threads of each, that are looked at.
const THREADS_MAX: usize = 256;

/// The line. Dropping it clears it.
#[derive(Debug)]
pub struct Progress {
    tty: File,
    last: Instant,
    drawn: bool,
}

impl Progress {
    /// A progress line on `tty`; `None` when that is no terminal.
    pub fn new(tty: File) -> Option<Self> {
        isatty(&tty).is_ok_and(|is| is).then(|| Self { tty, last: Instant::now(), drawn: false })
    }

    /// Whether [`Progress::tick`] would look at its text.
    pub fn due(&self) -> bool {
        self.last.elapsed() >= EVERY
    }

    /// What is to be reported at once does not wait for its second.
    pub fn hurry(&mut self) {
        self.last = self.last.checked_sub(EVERY).unwrap_or(self.last);
    }

    /// Draws `text` when a second has passed and nothing forbids it. `pids` are the processes of
    /// the command. Never fails: a line that cannot be drawn is left out.
    pub fn tick(&mut self, text: &str, pids: &[Pid]) {
        self.tick_at(Instant::now(), text, pids);
    }

    /// [`Progress::tick`] at a moment that the caller knows.
    pub fn tick_at(&mut self, now: Instant, text: &str, pids: &[Pid]) {
        if now.saturating_duration_since(self.last) < EVERY {
            return;
        }
        self.last = now;
        if self.may_draw() && !any_reads_terminal(pids) {
            self.drawn = self.tty.write_all(line(text, self.columns()).as_bytes()).is_ok();
        }
    }

    /// Removes the line, before anything else is written and at the end. Does nothing when none
    /// was drawn.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) && self.may_draw() {
            let _ = self.tty.write_all(b"\r\x1b[K");
        }
    }

    fn may_draw(&self) -> bool {
        let ours = tcgetpgrp(&self.tty).is_ok_and(|foreground| foreground == getpgrp());
        let echo = || tcgetattr(&self.tty).is_ok_and(|modes| modes.local_flags.contains(LocalFlags::ECHO));
        let takes_output = || {
            let mut fds = [PollFd::new(self.tty.as_fd(), PollFlags::POLLOUT)];
            poll(&mut fds, PollTimeout::ZERO) == Ok(1)
        };
        ours && echo() && takes_output()
    }

    /// Columns of a line.
    pub fn columns(&self) -> usize {
        // Some terminals wrap at the last one.
        width(&self.tty).map_or(USUAL_WIDTH, usize::from).saturating_sub(1)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

nix::ioctl_read_bad!(
    /// Asks for the window's size.
    window_size,
    libc::TIOCGWINSZ,
    libc::winsize
);

/// Columns of a terminal; `None` when it is none, or does not know.
pub fn width(tty: &File) -> Option<u16> {
    size(tty).map(|size| size.ws_col).filter(|columns| *columns > 0)
}

/// Lines of a terminal; `None` when it is none, or does not know.
pub fn height(tty: &File) -> Option<u16> {
    size(tty).map(|size| size.ws_row).filter(|rows| *rows > 0)
}

fn size(tty: &File) -> Option<libc::winsize> {
    use std::os::fd::AsRawFd as _;
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    #[expect(unsafe_code, reason = "an ioctl has no safe form")]
    // SAFETY: TIOCGWINSZ writes one winsize, which this is.
    let asked = unsafe { window_size(tty.as_raw_fd(), &raw mut size) };
    asked.ok().map(|_| size)
}

/// One line of so many columns at most.
fn line(text: &str, columns: usize) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(columns).collect();
    format!("\r\x1b[2m{shown}\x1b[0m\x1b[K\r")
}

/// Whether one of the processes waits in a read of a terminal.
pub fn any_reads_terminal(pids: &[Pid]) -> bool {
    pids.iter().take(THREADS_MAX).any(|pid| reads_terminal(Path::new("/proc"), *pid))
}

/// Those of the processes that wait in a read of a terminal.
pub fn reading_terminal(pids: &[Pid]) -> Vec<Pid> {
    let reads = |pid: &&Pid| reads_terminal(Path::new("/proc"), **pid);
    pids.iter().take(THREADS_MAX).filter(reads).copied().collect()
}

/// Whether a thread of the process waits in a read of a terminal.
///
/// `/proc/PID/syscall` says it exactly, but may be shown to ancestors only (Yama); then a
/// thread that waits where terminal reads wait, in a process whose input is a terminal, counts.
fn reads_terminal(proc: &Path, pid: Pid) -> bool {
    let process = proc.join(pid.to_string());
    let is_terminal = |fd: u64| {
        std::fs::read_link(process.join("fd").join(fd.to_string())).is_ok_and(|file| {
            let file = file.to_string_lossy();
            file.starts_with("/dev/pts/") || file.starts_with("/dev/tty") || file == "/dev/console"
        })
    };
    let Ok(tasks) = std::fs::read_dir(process.join("task")) else { return false };
    tasks.flatten().take(THREADS_MAX).any(|task| match std::fs::read_to_string(task.path().join("syscall")) {
        Ok(text) => read_of(&text).is_some_and(is_terminal),
        Err(_) => {
            let waits_in = std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
            matches!(waits_in.trim(), "n_tty_read" | "wait_woken") && is_terminal(0)
        }
    })
}

/// The descriptor of a read in progress: the file's text is the call's number and its arguments
/// in hexadecimal, or a word.
fn read_of(text: &str) -> Option<u64> {
    let mut words = text.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    if number != libc::SYS_read && number != libc::SYS_readv {
        return None;
    }
    u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_line_is_one_line_and_ends_in_column_0() {
        assert_eq!(line("abc", 80), "\r\x1b[2mabc\x1b[0m\x1b[K\r");
        assert_eq!(line("abc\ndef\x1b[2J", 80), "\r\x1b[2mabcdef[2J\x1b[0m\x1b[K\r");
        assert_eq!(line("äöüß", 3), "\r\x1b[2mäöü\x1b[0m\x1b[K\r");
        assert_eq!(line("abc", 0), "\r\x1b[2m\x1b[0m\x1b[K\r");
    }

    #[test]
    fn a_file_is_no_terminal() {
        assert!(Progress::new(File::open("/dev/null").unwrap()).is_none());
    }

    #[test]
    fn a_read_in_progress_is_reported_by_number_and_descriptor() {
        let read = libc::SYS_read;
        assert_eq!(read_of(&format!("{read} 0x1f 0x7ffd 0x400 0x0 0x0 0x0 0x1 0x2")), Some(0x1f));
        assert_eq!(read_of("running\n"), None);
        assert_eq!(read_of("-1 0x7ffd 0x1\n"), None);
        assert_eq!(read_of("999 0x0\n"), None);
        assert_eq!(read_of(&read.to_string()), None);
        assert_eq!(read_of(""), None);
    }

    /// A made-up /proc with process 5, one thread, and descriptor 3.
    fn process(file: &str, syscall: Option<&str>, wchan: &str) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        let task = proc.path().join("5/task/6");
        std::fs::create_dir_all(&task).unwrap();
        std::fs::create_dir_all(proc.path().join("5/fd")).unwrap();
        symlink(file, proc.path().join("5/fd/3")).unwrap();
        symlink(file, proc.path().join("5/fd/0")).unwrap();
        if let Some(text) = syscall {
            std::fs::write(task.join("syscall"), text).unwrap();
        }
        std::fs::write(task.join("wchan"), wchan).unwrap();
        proc
    }

    #[test]
    fn only_a_read_of_a_terminal_counts() {
        let read = format!("{} 0x3 0x1 0x1", libc::SYS_read);
        let asks = |proc: &tempfile::TempDir| reads_terminal(proc.path(), Pid(5));
        assert!(asks(&process("/dev/pts/4", Some(&read), "")));
        assert!(asks(&process("/dev/tty", Some(&read), "")));
        assert!(!asks(&process("/dev/null", Some(&read), "")));
        assert!(!asks(&process("/dev/pts/4", Some("running"), "wait_woken")));
        assert!(!reads_terminal(Path::new("/nothing"), Pid(5)));
    }

    #[test]
    fn where_the_system_call_is_hidden_the_place_of_waiting_counts() {
        assert!(reads_terminal(process("/dev/pts/4", None, "wait_woken").path(), Pid(5)));
        assert!(!reads_terminal(process("/dev/pts/4", None, "futex_wait").path(), Pid(5)));
        assert!(!reads_terminal(process("socket:[7]", None, "wait_woken").path(), Pid(5)));
    }
}
