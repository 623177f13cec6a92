//! What a key or the mouse changes. In: the view, what was drawn where, an input. Out: the view
//! changed, and what the program is to do.

use model::time::{Ns, SinceStart};
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::{Position, Rect};

use super::Drawn;
use super::timeline::{self, LENGTH_MIN, lanes::Bar};
use super::view::{Focus, ListView, Opened, Tab, Target, View};

/// Longest filter, characters.
const FILTER_MAX: usize = 60;
/// Things opened one from the other.
const OPEN_MAX: usize = 64;
/// The last so long, one after the other.
const LAST: [Ns; 4] = [60_000_000_000, 10_000_000_000, 1_000_000_000, 100_000_000];
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
        KeyCode::Char('?') | KeyCode::F(1) => (view.help, view.help_line) = (!view.help, 0),
        KeyCode::Esc | KeyCode::Backspace => back(view, drawn),
        code if view.help => view.help_line = scrolled(view.help_line, usize::MAX, drawn.page, code),
        KeyCode::Char('r') if view.report.is_some() => view.reading = !view.reading,
        code if view.reading => read(view, drawn, code),
        KeyCode::Char('/') => {
            view.typing = true;
            view.filter.clear();
        }
        KeyCode::Char(' ') => hold(view, drawn),
        KeyCode::Char('y') => {
            let attempt = drawn.attempt.clone().filter(|attempt| !attempt.is_empty());
            return attempt.map_or(Act::Nothing, Act::Copy);
        }
        KeyCode::Char('T') => view.theme.light = !view.theme.light,
        KeyCode::Char('e') => view.hide_ended = !view.hide_ended,
        KeyCode::Char('w') => last(view),
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
        KeyCode::Tab => tab(view, view.tab.step(1)),
        KeyCode::BackTab => tab(view, view.tab.step(Tab::ALL.len() - 1)),
        KeyCode::Char(digit @ '1'..='6') => tab(view, Tab::ALL[digit as usize - '1' as usize]),
        KeyCode::Char('d') => single_out(view, Focus::Dns),
        KeyCode::Char('t') => single_out(view, Focus::Streams),
        KeyCode::Char('c') => single_out(view, Focus::Sumdb),
        KeyCode::Char('x') => stall(view, drawn, true),
        KeyCode::Char('X') => stall(view, drawn, false),
        _ if !view.open.is_empty() => return details(view, drawn, key.code),
        KeyCode::Enter => match &drawn.cursor {
            Some(target) => view.open.push(Opened::new(target.clone())),
            None => return Act::Nothing,
        },
        _ if view.tab == Tab::Timeline => return timeline(view, drawn, key),
        KeyCode::Char('n') => return rows(view, drawn, KeyCode::Down),
        KeyCode::Char('p') => return rows(view, drawn, KeyCode::Up),
        KeyCode::Char('L') => {
            let Some(took) = drawn.took else { return Act::Nothing };
            // Numbers begin with the smallest, unless the column is what it is usually sorted by.
            let usual = drawn.longest_first;
            *list(view, drawn) = ListView { row: 0, sort: (!usual).then_some(took), reversed: !usual };
        }
        _ => return rows(view, drawn, key.code),
    }
    Act::Draw
}

fn tab(view: &mut View, tab: Tab) {
    view.tab = tab;
    view.open.clear();
}

/// What was opened: its lines are chosen and lead further.
fn details(view: &mut View, drawn: &Drawn, code: KeyCode) -> Act {
    let (Some(details), Some(opened)) = (&drawn.details, view.open.last_mut()) else { return Act::Nothing };
    let other = match code {
        KeyCode::Char('n') => &details.next,
        KeyCode::Char('p') => &details.prev,
        KeyCode::Char('L') => &details.longest,
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => {
            if let Some(Some(target)) =
                details.lines.get(opened.line.min(details.lines.len().saturating_sub(1)))
            {
                let target = target.clone();
                // Whoever goes round in a circle has not come from endlessly far.
                if view.open.len() >= OPEN_MAX {
                    view.open.remove(0);
                }
                view.open.push(Opened::new(target));
                return Act::Draw;
            }
            return Act::Nothing;
        }
        KeyCode::Left | KeyCode::Char('h') => {
            view.open.pop();
            return Act::Draw;
        }
        code => {
            opened.line = scrolled(opened.line, details.lines.len(), drawn.page, code);
            return Act::Draw;
        }
    };
    match other {
        Some(target) => *opened = Opened::new(target.clone()),
        None => view.note = Some("there is none further".to_owned()),
    }
    Act::Draw
}

/// The report at the end: it is read line by line.
fn read(view: &mut View, drawn: &Drawn, code: KeyCode) {
    if let Some((lines, first)) = &mut view.report {
        let most = (lines.len() + 1).saturating_sub(usize::from(drawn.page));
        *first = scrolled(*first, most, drawn.page, code);
    }
}

/// A line further, or a page.
fn scrolled(at: usize, of: usize, page: u16, code: KeyCode) -> usize {
    let (last, page) = (of.saturating_sub(1), usize::from(page.max(2)) - 1);
    let at = at.min(last);
    match code {
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => at + 1,
        KeyCode::PageUp => at.saturating_sub(page),
        KeyCode::PageDown | KeyCode::Char(' ') => at + page,
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') if of < usize::MAX => last,
        _ => at,
    }
    .min(last)
}

/// The last minute, ten seconds, second, tenth of one, and all.
fn last(view: &mut View) {
    let at = view.last.and_then(|last| LAST.iter().position(|of| *of == last));
    view.last = LAST.get(at.map_or(0, |at| at + 1)).copied();
    (view.timeline.length, view.timeline.end) = (None, None);
}

/// The next finding: opened where one is open, else the row or the moment where it began.
fn stall(view: &mut View, drawn: &Drawn, next: bool) {
    let Some(last) = drawn.stalls.len().checked_sub(1) else {
        view.note = Some("nothing was found that cost time".to_owned());
        return;
    };
    let round =
        |at: usize| if next { if at < last { at + 1 } else { 0 } } else { at.checked_sub(1).unwrap_or(last) };
    match view.open.last_mut() {
        Some(opened) => {
            let at = if let Target::Stall(at) = opened.target { round(at) } else { 0 };
            *opened = Opened::new(Target::Stall(at));
        }
        None if view.tab == Tab::Timeline => {
            let mut begins = drawn.stalls.clone();
            begins.sort();
            let at = view.timeline.at.unwrap_or(if next { SinceStart::ZERO } else { SinceStart::MAX });
            let begin = if next {
                begins.iter().find(|begin| **begin > at).or_else(|| begins.first())
            } else {
                begins.iter().rfind(|begin| **begin < at).or_else(|| begins.last())
            };
            if let Some(begin) = begin.copied() {
                view.timeline.at = Some(begin);
                reveal(view, drawn, begin);
            }
        }
        None if view.tab == Tab::Stalls => {
            let list = &mut view.lists[Tab::Stalls as usize];
            list.row = round(list.row.min(last));
        }
        None => view.open.push(Opened::new(Target::Stall(0))),
    }
}

/// Moves what is shown so that a moment is in it.
fn reveal(view: &mut View, drawn: &Drawn, at: SinceStart) {
    let window = drawn.chart.window;
    if window.columns == 0 {
        return;
    }
    let until = window.start.saturating_add(window.length);
    if at < window.start || at >= until {
        view.timeline.length = Some(window.length);
        let end = at.saturating_add(window.length * 3 / 4).min(drawn.wall.1);
        view.timeline.end = Some(end.max(drawn.wall.0.saturating_add(window.length)));
    }
}

/// Puts the cursor onto the begin of a span.
fn jump(view: &mut View, drawn: &Drawn, to: Option<(usize, Bar)>) -> Act {
    match to {
        Some((row, bar)) => {
            (view.timeline.at, view.timeline.row) = (Some(bar.start), row);
            reveal(view, drawn, bar.start);
        }
        None => view.note = Some("there is none further".to_owned()),
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
    } else if view.reading {
        view.reading = false;
    } else if view.open.pop().is_some() {
        // One step back.
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
    view.open.clear();
    view.timeline = super::view::TimelineView::default();
    view.filter.clear();
}

fn single_out(view: &mut View, focus: Focus) {
    let same = view.tab == Tab::Timeline && view.timeline.focus == Some(focus);
    tab(view, Tab::Timeline);
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
    if window.columns == 0 {
        return Act::Nothing; // there was no room for it
    }
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let last = drawn.chart.rows.saturating_sub(1);
    let at = view.timeline.at.map(|at| (at, view.timeline.row));
    let timeline = &mut view.timeline;
    match key.code {
        KeyCode::Char('n') => return jump(view, drawn, timeline::neighbour(&drawn.lanes, at, true)),
        KeyCode::Char('p') => return jump(view, drawn, timeline::neighbour(&drawn.lanes, at, false)),
        KeyCode::Char('L') => return jump(view, drawn, timeline::longest(&drawn.lanes, drawn.wall.1)),
        KeyCode::Left if shift => pan(view, drawn, -1),
        KeyCode::Right if shift => pan(view, drawn, 1),
        KeyCode::Char('[') => pan(view, drawn, -1),
        KeyCode::Char(']') => pan(view, drawn, 1),
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
            let code = if up { KeyCode::Up } else { KeyCode::Down };
            if view.reading {
                read(view, drawn, code);
                return Act::Draw;
            }
            if drawn.details.is_some() {
                return details(view, drawn, code);
            }
            if inside(chart) {
                let moment = drawn.chart.window.moment(at.x - chart.x);
                zoom(view, drawn, up, Some(moment));
                return Act::Draw;
            }
            rows(view, drawn, code)
        }
        MouseEventKind::Down(MouseButton::Left) | MouseEventKind::Drag(MouseButton::Left) => {
            if let Some((_, of)) = drawn.tabs.iter().find(|(area, _)| inside(*area)) {
                tab(view, *of);
            } else if let Some(details) = &drawn.details {
                let Some((_, stop)) = details.places.iter().find(|(area, _)| inside(*area)) else {
                    return Act::Nothing;
                };
                let Some(opened) = view.open.last_mut() else { return Act::Nothing };
                let again = opened.line == *stop && matches!(mouse.kind, MouseEventKind::Down(_));
                opened.line = *stop;
                if again {
                    return self::details(view, drawn, KeyCode::Enter);
                }
            } else if let Some((_, column)) = drawn.titles.iter().find(|(area, _)| inside(*area)) {
                if matches!(mouse.kind, MouseEventKind::Drag(_)) {
                    return Act::Nothing;
                }
                // Commands are usually sorted by a column that no key reaches.
                let column = (*column < drawn.columns).then_some(*column);
                let list = list(view, drawn);
                if list.sort == column {
                    list.reversed = !list.reversed;
                } else {
                    (list.sort, list.reversed) = (column, false);
                }
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
                } else if again && let Some(target) = &drawn.cursor {
                    view.open.push(Opened::new(target.clone()));
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
