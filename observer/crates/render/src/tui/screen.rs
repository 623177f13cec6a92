//! Takes a terminal for the dashboard and gives it back, whatever happens: at its end, on a
//! panic, when it is dropped. In: frames. Out: bytes on the terminal, and its keys.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diagnose::Seen;
use model::State;
use model::id::CommandId;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyModifiers,
};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};

use super::{Cache, Drawn, View, draw, theme};

/// How long a terminal is waited for that is asked for its ground; nearly all answer within a round trip.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Longest answer, bytes.
const ANSWER_MAX: usize = 256;
/// For so long after that the rest of a late answer is not taken for keys.
const REST_WITHIN: Duration = Duration::from_secs(3);

/// A terminal is taken, and which: what a panic must give back.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Bytes to the terminal: stdout where that is it, else the controlling terminal.
enum Tty {
    Stdout(io::Stdout),
    Controlling(File),
}

impl Tty {
    fn open() -> io::Result<Self> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Ok(Self::Stdout(stdout));
        }
        File::options().read(true).write(true).open("/dev/tty").map(Self::Controlling)
    }
}

impl Write for Tty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::Controlling(file) => file.write(bytes),
        };
        gone_takes_all(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::Controlling(file) => file.flush(),
        };
        gone_takes_all(flushed, ())
    }
}

/// A terminal that has gone takes everything: ratatui would complain on stderr, which has gone with
/// it, and panic; that it has gone the keys say.
fn gone_takes_all<T>(done: io::Result<T>, all: T) -> io::Result<T> {
    match done {
        Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(all),
        other => other,
    }
}

/// Where keys come from: what crossterm reads.
fn keys() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return stdin.as_fd().try_clone_to_owned();
    }
    Ok(File::options().read(true).write(true).open("/dev/tty")?.into())
}

/// A terminal that shows the dashboard.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<io::BufWriter<Tty>>>,
    keys: OwnedFd,
    cache: Cache,
    drawn: Drawn,
    light: Option<bool>,
    rest: Rest,
}

/// An answer of the terminal that comes too late, and looks like keys.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Rest {
    /// It may still come, until then
    Until(Instant),
    /// Its rest comes
    Comes(Instant),
    /// No more
    Over,
}

impl Rest {
    /// Whether that input is part of it.
    fn is_it(&mut self, event: &Event) -> bool {
        let (Self::Until(until) | Self::Comes(until)) = *self else { return false };
        if Instant::now() > until {
            *self = Self::Over;
            return false;
        }
        let Event::Key(key) = event else { return false };
        let with = |modifier| key.modifiers.contains(modifier);
        match (*self, key.code) {
            (Self::Until(_), KeyCode::Char(']')) if with(KeyModifiers::ALT) => *self = Self::Comes(until),
            (Self::Until(_), _) => return false,
            // How it ends: BEL, or ESC with a backslash.
            (_, KeyCode::Char('g')) if with(KeyModifiers::CONTROL) => *self = Self::Over,
            (_, KeyCode::Char('\\')) if with(KeyModifiers::ALT) => *self = Self::Over,
            _ => {}
        }
        true
    }
}

impl Screen {
    /// Takes the terminal: raw, on the alternate screen, with the mouse.
    pub fn take() -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        let tty = io::BufWriter::with_capacity(1 << 16, Tty::open()?);
        let keys = keys()?;
        enter()?;
        let answer = ground(&keys);
        let rest =
            if answer.ends_with(b"c") { Rest::Over } else { Rest::Until(Instant::now() + REST_WITHIN) };
        let light = theme::is_light(&answer);
        let terminal = Terminal::new(CrosstermBackend::new(tty)).inspect_err(|_| give_back())?;
        Ok(Self { terminal, keys, cache: Cache::with_background(), drawn: Drawn::default(), light, rest })
    }

    /// The same beside a command that Ctrl-C is to reach as ever: the terminal still makes that a
    /// signal. Ctrl-Z would leave a terminal that nobody serves; it stays a key.
    #[cfg(target_os = "linux")]
    pub fn take_live() -> io::Result<Self> {
        use nix::sys::termios::{
            _POSIX_VDISABLE, LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr,
        };
        let screen = Self::take()?;
        let tty = &screen.keys;
        let mut settings = tcgetattr(tty)?;
        settings.local_flags |= LocalFlags::ISIG;
        settings.control_chars[SpecialCharacterIndices::VSUSP as usize] = _POSIX_VDISABLE;
        tcsetattr(tty, SetArg::TCSANOW, &settings)?;
        Ok(screen)
    }

    /// Whether the terminal's ground is light; `None` when it did not say.
    pub fn is_light(&self) -> Option<bool> {
        self.light
    }

    /// Of a screen from [`Screen::take_live`]: there is no command any more that Ctrl-C is to reach, so it is
    /// a key from now on.
    #[cfg(target_os = "linux")]
    pub fn alone(&self) -> io::Result<()> {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let mut settings = tcgetattr(&self.keys)?;
        settings.local_flags -= LocalFlags::ISIG;
        Ok(tcsetattr(&self.keys, SetArg::TCSANOW, &settings)?)
    }

    /// Draws one frame.
    pub fn draw(&mut self, state: &State, view: &View) -> io::Result<()> {
        let (cache, drawn) = (&mut self.cache, &mut self.drawn);
        self.terminal.draw(|frame| *drawn = draw(frame.buffer_mut(), state, view, cache))?;
        Ok(())
    }

    /// The next frame will show more, whether or not something happens.
    pub fn busy(&self) -> bool {
        self.cache.busy()
    }

    /// The latest look at that command, as it was drawn.
    pub fn seen(&self, command: CommandId) -> Option<&Seen> {
        self.cache.seen(command)
    }

    /// What the last frame showed where.
    pub fn drawn(&self) -> &Drawn {
        &self.drawn
    }

    /// The next key or the like, waited for at most so long; an error when the terminal has gone.
    pub fn input(&mut self, at_most: Duration) -> io::Result<Option<Event>> {
        let ready = self.ready(Duration::ZERO)? || !at_most.is_zero() && self.ready(at_most)?;
        if !ready {
            return Ok(None);
        }
        let event = event::read()?;
        // A resize is no key: nothing else has come of it.
        Ok(Some(if self.rest.is_it(&event) { Event::FocusGained } else { event }))
    }

    /// Whether there is something to read. It is waited for here: of a terminal that has hung up
    /// crossterm would read nothing for ever, and take a whole CPU for it.
    fn ready(&self, at_most: Duration) -> io::Result<bool> {
        if self.has_gone(at_most)? {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal has gone"));
        }
        event::poll(Duration::ZERO)
    }

    /// Whether the terminal has hung up, also when it does within that time, unless there is something
    /// to read before.
    fn has_gone(&self, at_most: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.keys.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {} // a signal: another size, perhaps
            Err(errno) => return Err(errno.into()),
        }
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        Ok(fds[0].revents().is_some_and(|is| is.intersects(gone)))
    }

    /// Whether the terminal has hung up.
    pub fn gone(&self) -> bool {
        self.has_gone(Duration::ZERO).unwrap_or(true)
    }

    /// Puts a text onto the terminal's clipboard, where the terminal lets programs do that.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        let writer = self.terminal.backend_mut();
        write!(writer, "\x1b]52;c;{}\x07", base64(text.as_bytes()))?;
        Write::flush(writer)
    }

    /// Gives the terminal back for a while; [`Screen::resume`] takes it again.
    pub fn leave(&mut self) {
        give_back();
    }

    /// Takes the terminal again; everything is drawn anew.
    pub fn resume(&mut self) -> io::Result<()> {
        enter()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    let entered = enable_raw_mode()
        .and_then(|()| execute!(Tty::open()?, EnterAlternateScreen, EnableMouseCapture, cursor::Hide));
    entered.inspect_err(|_| give_back())
}

/// What the terminal answers when it is asked for its ground, as far as it does in time; nothing where it is
/// unlikely to know the question.
fn ground(keys: &OwnedFd) -> Vec<u8> {
    let mut answer = Vec::new();
    let term = std::env::var("TERM").unwrap_or_default();
    if matches!(term.as_str(), "" | "dumb" | "linux") {
        answer.push(b'c');
        return answer;
    }
    let asked = Tty::open().and_then(|mut tty| tty.write_all(theme::ASK_GROUND).and_then(|()| tty.flush()));
    let until = Instant::now() + ANSWER_WITHIN;
    while asked.is_ok() && answer.len() < ANSWER_MAX && !answer.ends_with(b"c") {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(keys.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(1) => {}
            _ => break,
        }
        let mut bytes = [0; ANSWER_MAX];
        match nix::unistd::read(keys, &mut bytes) {
            Ok(length @ 1..) => answer.extend_from_slice(&bytes[..length]),
            _ => break,
        }
    }
    answer
}

/// Undoes [`enter`], once.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that has gone cannot be given back.
        if let Ok(mut tty) = Tty::open() {
            let _ = execute!(tty, DisableMouseCapture, LeaveAlternateScreen, cursor::Show);
        }
        let _ = disable_raw_mode();
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let whole = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..4 {
            let value = (whole >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clipboard_gets_base64() {
        let texts = ["", "f", "fo", "foo", "goobserve"];
        let coded = texts.map(|text| base64(text.as_bytes()));
        assert_eq!(coded, ["", "Zg==", "Zm8=", "Zm9v", "Z29vYnNlcnZl"]);
    }
}
