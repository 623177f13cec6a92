//! The dashboard over a live observation. In: the state, the trees' states, the terminal's keys,
//! what the command prints. Out: frames; when it is left, the command's output and a summary.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use diagnose::Seen;
use model::State;
use model::id::CommandId;
use model::time::SinceStart;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{dup, dup2_stdin, dup2_stdout};
use render::lines::Lines;
use render::tui::View;
use render::tui::keys::{self, Act};
use render::tui::screen::Screen;
use render::tui::theme::Theme;

use super::observe::line_columns;
use crate::opener::{Opener, Request, Tty};
use crate::seam::{Seam, ToAgent};

/// From frame to frame at least, when something is new: with the time that records are held back an
/// event is on the screen well within a tenth of a second.
const FRAME: Duration = Duration::from_millis(40);
/// The same when only clocks go on.
const CLOCK: Duration = Duration::from_millis(95);
/// The same when nothing runs.
const IDLE: Duration = Duration::from_secs(1);
/// So often the agent is informed that somebody still reads.
const READ: Duration = Duration::from_secs(2);
/// Of the time at most one part in so many is spent on drawing.
const SHARE: u32 = 10;
/// Output that is kept until the dashboard is left, bytes.
const OUTPUT_MAX: u64 = 16 << 20;
/// Lines of it that are shown, and bytes of one.
const SHOWN_LINES: usize = 100;
const SHOWN_LINE: usize = 400;
/// Commands in the summary.
const SUMMED_UP: usize = 20;

/// What the keys ask of the observation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Nothing
    GoOn,
    /// The dashboard was left
    Leave,
}

/// A screen and what is looked at.
pub(super) struct Dashboard {
    /// `None` once it was left
    screen: Option<Screen>,
    /// Standard output, where that is no terminal: the terminal has its number until it is left
    stdout: Option<OwnedFd>,
    view: View,
    output: Option<Output>,
    drawn_at: Instant,
    /// The last frame took that long
    took: Duration,
    dirty: bool,
    /// Of the terminal, for what is printed after it was left
    columns: usize,
}

impl Dashboard {
    /// Takes the terminal.
    pub(super) fn new(color: bool, opener: &Opener) -> io::Result<Self> {
        // What takes a terminal opens it by name, and this process soon may not: it is standard input and output.
        let nowhere = || io::Error::new(io::ErrorKind::NotFound, "there is none");
        let tty = opener.terminal(Tty::Controlling).ok_or_else(nowhere)?;
        dup2_stdin(&tty)?;
        let stdout = (!io::stdout().is_terminal()).then(|| dup(io::stdout())).transpose()?;
        if stdout.is_some() {
            dup2_stdout(&tty)?;
        }
        Self::take(color, stdout)
    }

    fn take(color: bool, stdout: Option<OwnedFd>) -> io::Result<Self> {
        let taken = Screen::take_live();
        if let (Err(_), Some(stdout)) = (&taken, &stdout) {
            dup2_stdout(stdout)?;
        }
        let screen = taken?;
        let theme = Theme::of_this_terminal(color, screen.is_light());
        let screen = Some(screen);
        let drawn_at = Instant::now().checked_sub(FRAME).unwrap_or_else(Instant::now);
        let view = View { theme, starting: true, ..View::default() };
        Ok(Self {
            screen,
            stdout,
            view,
            output: None,
            drawn_at,
            took: Duration::ZERO,
            dirty: true,
            columns: line_columns(),
        })
    }

    /// None, but what the command prints is passed on.
    pub(super) fn left(file: File) -> Self {
        let view = View::default();
        let (drawn_at, took) = (Instant::now(), Duration::ZERO);
        let mut left = Self {
            screen: None,
            stdout: None,
            view,
            output: None,
            drawn_at,
            took,
            dirty: false,
            columns: line_columns(),
        };
        left.output(file);
        left
    }

    /// The command prints into that file.
    pub(super) fn output(&mut self, file: File) {
        self.output = Some(Output { file, read: 0, kept_from: 0, lines: vec![String::new()] });
    }

    /// From now on everything is seen.
    pub(super) fn ready(&mut self) {
        self.view.starting = false;
        self.dirty = true;
    }

    /// The latest look at that command, as it was drawn.
    pub(super) fn seen(&self, command: CommandId) -> Option<Seen> {
        self.screen.as_ref()?.seen(command).cloned()
    }

    /// Something is new.
    pub(super) fn dirty(&mut self) {
        self.dirty = true;
    }

    /// Reads keys and draws, when there is something to draw. `asleep` is asked only then; `runs`:
    /// a clock is to go on.
    pub(super) fn turn(
        &mut self,
        state: &State,
        now: SinceStart,
        runs: bool,
        asleep: impl FnOnce() -> BTreeMap<CommandId, Option<SinceStart>>,
        opener: &Opener,
    ) -> Action {
        if let Some(output) = &mut self.output {
            let new = output.read(self.screen.is_none());
            if new && self.screen.is_some() {
                self.view.output = Some(output.shown());
                self.dirty = true;
            }
        }
        let Some(screen) = &mut self.screen else { return Action::GoOn };
        let mut key = false;
        loop {
            let event = match screen.input(Duration::ZERO) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => {
                    // A terminal that has gone: nobody looks any more.
                    self.leave();
                    return Action::Leave;
                }
            };
            key = true;
            match keys::input(&mut self.view, screen.drawn(), &event) {
                Act::Quit | Act::Interrupt => {
                    self.leave();
                    return Action::Leave;
                }
                Act::Copy(text) => {
                    let _ = screen.copy(&text);
                    self.view.note = Some("copied, where the terminal allows it".to_owned());
                }
                Act::Suspend => self.view.note = Some("Ctrl-Z does nothing here; q leaves".to_owned()),
                Act::Draw | Act::Nothing | Act::Seek(_) => {}
            }
        }
        let pause = if self.dirty {
            Some(FRAME)
        } else {
            let clock = if runs || screen.busy() { CLOCK } else { IDLE };
            (!self.view.paused || screen.busy()).then_some(clock)
        };
        let due = pause.is_some_and(|pause| self.drawn_at.elapsed() >= pause.max(self.took * SHARE));
        if key || due {
            (self.dirty, self.drawn_at) = (false, Instant::now());
            self.view.now = Some(now);
            name_users(&mut self.view.users, state, opener);
            self.view.asleep = asleep();
            let _ = screen.draw(state, &self.view);
            self.took = self.drawn_at.elapsed();
        }
        Action::GoOn
    }

    /// The command has ended: its report is on the screen until that is left. False when it was left before.
    pub(super) fn read(&mut self, state: &State, now: SinceStart, report: &str, seam: &Seam) -> bool {
        let Some(screen) = &mut self.screen else { return false };
        if screen.alone().is_err() {
            return false; // Ctrl-C would end whoever writes the report
        }
        self.view.report = Some((report.lines().map(str::to_owned).collect(), 0));
        self.view.reading = true;
        (self.view.now, self.view.asleep) = (Some(now), BTreeMap::new());
        (self.view.paused, self.view.timeline.end) = (false, None);
        if let Some(output) = &mut self.output {
            output.read(false);
            self.view.output = Some(output.shown());
        }
        loop {
            // Nobody waits for a terminal that has gone, nor an agent that has.
            if screen.draw(state, &self.view).is_err() || seam.send(&ToAgent::Read, &[]).is_err() {
                return true;
            }
            let pause = if screen.busy() { CLOCK } else { READ };
            let Ok(mut event) = screen.input(pause) else { return true };
            while let Some(input) = event {
                match keys::input(&mut self.view, screen.drawn(), &input) {
                    Act::Quit | Act::Interrupt => return true,
                    Act::Copy(text) => {
                        let _ = screen.copy(&text);
                        self.view.note = Some("copied, where the terminal allows it".to_owned());
                    }
                    Act::Suspend | Act::Draw | Act::Nothing | Act::Seek(_) => {}
                }
                event = screen.input(Duration::ZERO).ok().flatten();
            }
        }
    }

    /// Gives the terminal back and prints what the command printed meanwhile.
    pub(super) fn leave(&mut self) {
        if self.screen.take().is_none() {
            return;
        }
        if let Some(stdout) = self.stdout.take() {
            let _ = io::stdout().flush();
            let _ = dup2_stdout(stdout);
        }
        if let Some(output) = &mut self.output {
            output.print_retained();
        }
    }

    /// After the end: a line a command, in the scrollback.
    pub(super) fn summary(&mut self, state: &State) {
        self.leave();
        if let Some(output) = &mut self.output {
            output.read(true);
            return; // the report follows
        }
        let records: Vec<_> = state.commands().filter_map(|(_, command)| command.record.as_ref()).collect();
        let lines = Lines::new(self.columns);
        for record in records.iter().skip(records.len().saturating_sub(SUMMED_UP)) {
            let _ = writeln!(io::stdout(), "{}", lines.ended(state, record));
        }
    }
}

/// Looks up, once each, whose commands there are; who has no name keeps the number.
fn name_users(users: &mut BTreeMap<u32, String>, state: &State, opener: &Opener) {
    let uids = state.commands().filter_map(|(_, command)| command.record.as_ref()?.uid);
    for uid in uids {
        let name = || opener.text(&Request::User(uid)).unwrap_or_else(|| uid.to_string());
        users.entry(uid).or_insert_with(name);
    }
}

/// What the command prints.
struct Output {
    file: File,
    /// How far it was looked at
    read: u64,
    /// Before that it is forgotten
    kept_from: u64,
    lines: Vec<String>,
}

impl Output {
    /// Looks at what is new; `print`: and prints it. False when nothing is.
    fn read(&mut self, print: bool) -> bool {
        let mut buffer = vec![0; 1 << 16];
        let before = self.read;
        while let Ok(length @ 1..) = self.file.read_at(&mut buffer, self.read) {
            self.read += length as u64;
            if print {
                let _ = io::stdout().write_all(&buffer[..length]);
                self.forget(self.read);
            } else {
                self.show(&buffer[..length]);
                self.forget(self.read.saturating_sub(OUTPUT_MAX));
            }
        }
        if print && self.read > before {
            let _ = io::stdout().flush();
        }
        self.read > before
    }

    fn show(&mut self, bytes: &[u8]) {
        for (index, part) in String::from_utf8_lossy(bytes).split('\n').enumerate() {
            if index > 0 {
                self.lines.push(String::new());
            }
            let last = self.lines.last_mut().expect("there is always a line");
            let room = SHOWN_LINE.saturating_sub(last.len());
            last.push_str(&part[..part.floor_char_boundary(room.min(part.len()))]);
        }
        let surplus = self.lines.len().saturating_sub(SHOWN_LINES);
        self.lines.drain(..surplus);
    }

    fn shown(&self) -> Vec<String> {
        self.lines.iter().filter(|line| !line.is_empty()).cloned().collect()
    }

    /// Frees the memory of what nobody will ask for.
    fn forget(&mut self, until: u64) {
        // In large steps: a call for each line would cost more than it frees.
        if until > self.kept_from + (1 << 20) {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let (from, length) = (self.kept_from as i64, (until - self.kept_from) as i64);
            if fallocate(&self.file, flags, from, length).is_ok() {
                self.kept_from = until;
            }
        }
    }

    fn print_retained(&mut self) {
        if self.kept_from > 0 {
            crate::say::line(&format!("the first {} bytes of the output are left out", self.kept_from));
        }
        self.read = self.kept_from;
        self.read(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> Output {
        let file = tempfile::tempfile().unwrap();
        Output { file, read: 0, kept_from: 0, lines: vec![String::new()] }
    }

    #[test]
    fn the_last_lines_are_shown_and_a_long_line_is_cut() {
        let mut output = output();
        let long = "x".repeat(1000);
        output.file.write_all(format!("go: downloading example.com/a\n{long}\nend").as_bytes()).unwrap();
        assert!(output.read(false));
        assert!(!output.read(false));
        let shown = output.shown();
        assert_eq!(
            (shown[0].as_str(), shown[1].len(), shown[2].as_str()),
            ("go: downloading example.com/a", SHOWN_LINE, "end")
        );
    }

    #[test]
    fn users_have_their_names_and_strangers_their_numbers() {
        use model::event::{Body, CommandUpdate, Event};
        use model::record::Command;
        let mut state = State::new();
        for (id, uid) in [(1, Some(0)), (2, Some(4_000_000_001)), (3, None)] {
            let command = Command { id: CommandId(id), uid, ..Command::default() };
            let body = Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() });
            state.apply(&Event { at_ns: SinceStart(0), body });
        }
        let mut users = BTreeMap::new();
        name_users(&mut users, &state, &Opener::here());
        let named = [(0, "root".to_owned()), (4_000_000_001, "4000000001".to_owned())];
        assert_eq!(users, BTreeMap::from(named));
    }

    #[test]
    fn lines_are_bounded() {
        let mut output = output();
        output.file.write_all("line\n".repeat(5000).as_bytes()).unwrap();
        output.read(false);
        assert!(output.lines.len() <= SHOWN_LINES);
    }
}
