//! What a key or the mouse changes. In: the view, what was drawn where, an input. Out: the view
//! changed, and what the program is to do.

use model::time::{Ns, SinceStart};
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::{Position, Rect};

use super::Drawn;
use super::view::{Focus, ListView, Tab, View};

/// Longest filter, characters.
const FILTER_MAX: usize = 60;
/// The shortest time that can be zoomed to.
const LENGTH_MIN: Ns = 1_000_000;
/// How far a key seeks in a recording.
const SEEK_NS: i64 = 5_000_000_000;
/// Speeds of a recording.
const SPEEDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0];

/// What the program is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Draw again
    Draw,
    /// Nothing
    Nothing,
    /// Leave the dashboard
    Quit,
    /// As Ctrl-C without a dashboard
    Interrupt,
    /// As Ctrl-Z without a dashboard
    Suspend,
    /// Put this onto the clipboard
    Copy(String),
    /// Go to that moment of the recording
    Seek(SinceStart),
}

/// Takes an input.
pub fn input(view: &mut View, drawn: &Drawn, event: &Event) -> Act {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            view.note = None;
            self::key(view, drawn, *key)
        }
        Event::Mouse(mouse) => self::mouse(view, drawn, *mouse),
        Event::Resize(..) => Act::Draw,
        _ => Act::Nothing,
    }
}

fn key(view: &mut View, drawn: &Drawn, key: KeyEvent) -> Act {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Act::Interrupt,
            KeyCode::Char('z') => Act::Suspend,
            KeyCode::Char('l') => Act::Draw,
            _ => Act::Nothing,
        };
    }
    if view.typing {
        return typed(view, key.code);
    }
    match key.code {
        KeyCode::Char('q') => return Act::Quit,
        // For the test of what a panic leaves behind; a release has no such key.
        #[cfg(debug_assertions)]
        KeyCode::F(12) => panic!("F12 asked for a panic"),
        KeyCode::Char('?') | KeyCode::F(1) => view.help = !view.help,
        KeyCode::Esc | KeyCode::Backspace => back(view, drawn),
        _ if view.help => return Act::Nothing,
        KeyCode::Char('/') => {
            view.typing = true;
            view.filter.clear();
        }
        KeyCode::Char(' ') => hold(view, drawn),
        KeyCode::Char('y') => {
            let attempt = drawn.attempt.clone().filter(|attempt| !attempt.is_empty());
            return attempt.map_or(Act::Nothing, Act::Copy);
        }
        KeyCode::Char('s') => sort(view, drawn),
        KeyCode::Char('S') => {
            let list = list(view, drawn);
            list.reversed = !list.reversed;
        }
        KeyCode::Char('<') => speed(view, -1),
        KeyCode::Char('>') => speed(view, 1),
        KeyCode::Char(',') => return seek(view, -SEEK_NS),
        KeyCode::Char('.') => return seek(view, SEEK_NS),
        KeyCode::Enter if drawn.command.is_none() => open(view, drawn),
        _ if drawn.command.is_none() => return rows(view, drawn, key.code),
        KeyCode::Enter if view.tab != Tab::Stalls => view.tab = Tab::Stalls,
        KeyCode::Tab => view.tab = view.tab.step(1),
        KeyCode::BackTab => view.tab = view.tab.step(Tab::ALL.len() - 1),
        KeyCode::Char(digit @ '1'..='6') => view.tab = Tab::ALL[digit as usize - '1' as usize],
        KeyCode::Char('d') => single_out(view, Focus::Dns),
        KeyCode::Char('t') => single_out(view, Focus::Streams),
        KeyCode::Char('c') => single_out(view, Focus::Sumdb),
        _ if view.tab == Tab::Timeline => return timeline(view, drawn, key),
        _ => return rows(view, drawn, key.code),
    }
    Act::Draw
}

fn typed(view: &mut View, code: KeyCode) -> Act {
    match code {
        KeyCode::Enter => view.typing = false,
        KeyCode::Esc => {
            view.typing = false;
            view.filter.clear();
        }
        KeyCode::Backspace => _ = view.filter.pop(),
        KeyCode::Char(c) if view.filter.chars().count() < FILTER_MAX => view.filter.extend(c.to_lowercase()),
        _ => return Act::Nothing,
    }
    Act::Draw
}

/// One step back: out of the help, the filter, what is singled out, the cursor, the command.
fn back(view: &mut View, drawn: &Drawn) {
    if view.help {
        view.help = false;
    } else if !view.filter.is_empty() {
        view.filter.clear();
    } else if view.tab == Tab::Timeline && view.timeline.focus.is_some() {
        view.timeline.focus = None;
    } else if view.tab == Tab::Timeline && view.timeline.at.is_some() {
        view.timeline.at = None;
    } else if drawn.many {
        view.command = None;
        view.timeline = super::view::TimelineView::default();
    }
}

fn open(view: &mut View, drawn: &Drawn) {
    let row = view.commands.row.min(drawn.ids.len().saturating_sub(1));
    view.command = drawn.ids.get(row).copied();
    view.timeline = super::view::TimelineView::default();
    view.filter.clear();
}

fn single_out(view: &mut View, focus: Focus) {
    let same = view.tab == Tab::Timeline && view.timeline.focus == Some(focus);
    view.tab = Tab::Timeline;
    view.timeline.focus = (!same).then_some(focus);
    view.timeline.row = 0;
}

fn hold(view: &mut View, drawn: &Drawn) {
    match &mut view.playing {
        Some(playing) => playing.runs = !playing.runs,
        None => {
            view.paused = !view.paused;
            view.timeline.end = view.paused.then_some(drawn.wall.1);
        }
    }
}

fn speed(view: &mut View, by: i64) {
    if let Some(playing) = &mut view.playing {
        let at = SPEEDS.iter().position(|speed| *speed >= playing.speed).unwrap_or(SPEEDS.len() - 1);
        let at = (at as i64 + by).clamp(0, SPEEDS.len() as i64 - 1);
        playing.speed = SPEEDS[at as usize];
    }
}

fn seek(view: &View, by: i64) -> Act {
    let (Some(playing), Some(now)) = (&view.playing, view.now) else { return Act::Nothing };
    Act::Seek(now.saturating_add_signed(by).min(playing.end))
}

fn list<'a>(view: &'a mut View, drawn: &Drawn) -> &'a mut ListView {
    match drawn.command {
        Some(_) => &mut view.lists[view.tab as usize],
        None => &mut view.commands,
    }
}

fn sort(view: &mut View, drawn: &Drawn) {
    let columns = drawn.columns;
    let list = list(view, drawn);
    list.reversed = false;
    list.sort = match list.sort {
        None => (columns > 0).then_some(0),
        Some(column) => (column + 1 < columns).then_some(column + 1),
    };
}

fn rows(view: &mut View, drawn: &Drawn, code: KeyCode) -> Act {
    let page = usize::from(drawn.rows.area.height).max(2) - 1;
    let last = drawn.rows.rows.saturating_sub(1);
    let list = list(view, drawn);
    let row = list.row.min(last);
    list.row = match code {
        KeyCode::Up | KeyCode::Char('k') => row.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => row + 1,
        KeyCode::PageUp => row.saturating_sub(page),
        KeyCode::PageDown => row + page,
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        KeyCode::Right | KeyCode::Char('l') if drawn.command.is_none() => {
            open(view, drawn);
            return Act::Draw;
        }
        KeyCode::Left | KeyCode::Char('h') if drawn.command.is_some() && drawn.many => {
            view.command = None;
            return Act::Draw;
        }
        _ => return Act::Nothing,
    }
    .min(last);
    Act::Draw
}

fn timeline(view: &mut View, drawn: &Drawn, key: KeyEvent) -> Act {
    let window = drawn.chart.window;
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let last = drawn.chart.rows.saturating_sub(1);
    let timeline = &mut view.timeline;
    match key.code {
        KeyCode::Left if shift => pan(view, drawn, -1),
        KeyCode::Right if shift => pan(view, drawn, 1),
        KeyCode::Char('[' | 'H') => pan(view, drawn, -1),
        KeyCode::Char(']' | 'L') => pan(view, drawn, 1),
        KeyCode::Left | KeyCode::Char('h') => step(view, drawn, -1),
        KeyCode::Right | KeyCode::Char('l') => step(view, drawn, 1),
        KeyCode::Up | KeyCode::Char('k') if timeline.at.is_some() => {
            timeline.row = timeline.row.min(last).saturating_sub(1);
        }
        KeyCode::Down | KeyCode::Char('j') if timeline.at.is_some() => {
            timeline.row = (timeline.row + 1).min(last);
        }
        KeyCode::PageUp => timeline.row = timeline.row.saturating_sub(10),
        KeyCode::PageDown => timeline.row = (timeline.row + 10).min(last),
        KeyCode::Char('g') | KeyCode::Home => timeline.row = 0,
        KeyCode::Char('G') | KeyCode::End => timeline.row = last,
        KeyCode::Up | KeyCode::Down | KeyCode::Char('j' | 'k') => {
            // The cursor begins where one looks: at the present.
            timeline.at = Some(window.start.saturating_add(window.length).earlier_by(window.step()));
            timeline.row = drawn.chart.first;
        }
        KeyCode::Char('+' | '=') => zoom(view, drawn, true, None),
        KeyCode::Char('-' | '_') => zoom(view, drawn, false, None),
        KeyCode::Char('0') => (timeline.length, timeline.end) = (None, None),
        KeyCode::Char('f') => timeline.end = None,
        _ => return Act::Nothing,
    }
    Act::Draw
}

/// Moves the cursor by a column; at the edge the time moves.
fn step(view: &mut View, drawn: &Drawn, by: i64) {
    let window = drawn.chart.window;
    let step = window.step() as i64;
    let until = window.start.saturating_add(window.length);
    let at = view.timeline.at.unwrap_or(until.earlier_by(window.step() * 2));
    let at = at.saturating_add_signed(by * step).clamp(drawn.wall.0, drawn.wall.1.max(drawn.wall.0));
    view.timeline.at = Some(at);
    if at < window.start || at > until {
        pan(view, drawn, by);
    }
}

/// Moves by a quarter of what is shown, never beyond what there is.
fn pan(view: &mut View, drawn: &Drawn, by: i64) {
    let window = drawn.chart.window;
    let end = window.start.saturating_add(window.length);
    let moved = end.saturating_add_signed(by * (window.length / 4) as i64);
    let (begin, until) = drawn.wall;
    view.timeline.length = Some(window.length);
    view.timeline.end = (moved < until).then(|| moved.max(begin.saturating_add(window.length)));
}

/// Twice as near, or as far, around `at`: the cursor, or else the middle, or the present where
/// that is followed.
fn zoom(view: &mut View, drawn: &Drawn, nearer: bool, at: Option<SinceStart>) {
    let window = drawn.chart.window;
    let (begin, until) = drawn.wall;
    let whole = until.saturating_sub(begin).max(LENGTH_MIN);
    let length = if nearer { window.length / 2 } else { window.length.saturating_mul(2) };
    if length >= whole {
        (view.timeline.length, view.timeline.end) = (None, None);
        return;
    }
    let length = length.max(LENGTH_MIN);
    view.timeline.length = Some(length);
    if let Some(at) = at.or(view.timeline.at) {
        let before = at.saturating_sub(window.start).min(window.length);
        let before = (u128::from(before) * u128::from(length) / u128::from(window.length)) as Ns;
        let end = at.earlier_by(before).saturating_add(length);
        view.timeline.end = (end < until).then_some(end.max(begin.saturating_add(length)));
    }
}

fn mouse(view: &mut View, drawn: &Drawn, mouse: MouseEvent) -> Act {
    let at = Position { x: mouse.column, y: mouse.row };
    let inside = |area: Rect| area.contains(at);
    let chart = drawn.chart.area;
    match mouse.kind {
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            let up = mouse.kind == MouseEventKind::ScrollUp;
            if inside(chart) {
                let moment = drawn.chart.window.moment(at.x - chart.x);
                zoom(view, drawn, up, Some(moment));
                return Act::Draw;
            }
            rows(view, drawn, if up { KeyCode::Up } else { KeyCode::Down })
        }
        MouseEventKind::Down(MouseButton::Left) | MouseEventKind::Drag(MouseButton::Left) => {
            if let Some((_, tab)) = drawn.tabs.iter().find(|(area, _)| inside(*area)) {
                view.tab = *tab;
            } else if inside(drawn.seek) {
                let length = view.playing.map_or(0, |playing| playing.end - SinceStart::ZERO);
                let part = u128::from(at.x - drawn.seek.x) * u128::from(length);
                let whole = u128::from(drawn.seek.width.saturating_sub(1).max(1));
                return Act::Seek(SinceStart((part / whole) as u64));
            } else if inside(chart) {
                view.timeline.at = Some(drawn.chart.window.moment(at.x - chart.x));
                view.timeline.row = drawn.chart.first + usize::from(at.y - chart.y);
            } else if inside(drawn.rows.area) {
                let row = drawn.rows.first + usize::from(at.y - drawn.rows.area.y);
                let list = list(view, drawn);
                let again = list.row == row && matches!(mouse.kind, MouseEventKind::Down(_));
                list.row = row;
                if again && drawn.command.is_none() {
                    open(view, drawn);
                }
            } else {
                return Act::Nothing;
            }
            Act::Draw
        }
        _ => Act::Nothing,
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
