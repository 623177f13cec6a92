//! The waterfall. In: lanes and the part of the time that is looked at. Out: an axis, a row a
//! span, and a line about the span under the cursor.

pub(super) mod detail;
pub(super) mod lanes;
pub(super) mod legend;
pub(super) mod paint;

use lanes::{Bar, Lane};
use model::human::duration;
use model::state::CommandState;
use model::time::{Ns, SinceStart};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{below, line, put, put_right, words};
use super::theme::{Theme, letter};
use super::view::{Focus, View};

/// Below so many columns names take less of them.
const NARROW: u16 = 60;

/// The shortest time that is shown: ten microseconds.
pub(super) const LENGTH_MIN: Ns = 10_000;

/// Which time is on which column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// Its begin
    pub start: SinceStart,
    /// Its length, not 0
    pub length: Ns,
    /// Columns, not 0
    pub columns: u16,
}

impl Window {
    /// What the view shows of a command.
    pub fn of(view: &View, command: &CommandState, now: SinceStart, columns: u16) -> Self {
        let (begin, until) = command.wall(now);
        let end = view.timeline.end.unwrap_or(until);
        let length = view.timeline.length.or(view.last);
        let start =
            if length.is_none() { begin } else { end.earlier_by(length.unwrap_or(0).max(LENGTH_MIN)) };
        let length = length.unwrap_or(end.saturating_sub(begin)).max(LENGTH_MIN);
        Self { start, length, columns: columns.max(1) }
    }

    /// The column of a moment; less than 0 or more than the last outside.
    pub fn column(&self, at: SinceStart) -> i64 {
        let from = i128::from(at.0) - i128::from(self.start.0);
        (from * i128::from(self.columns)).div_euclid(i128::from(self.length)) as i64
    }

    /// The moment in the middle of a column.
    pub fn moment(&self, column: u16) -> SinceStart {
        let half = u128::from(self.length) * (2 * u128::from(column) + 1) / (2 * u128::from(self.columns));
        self.start.saturating_add(half as Ns)
    }

    /// One column's time.
    pub fn step(&self) -> Ns {
        (self.length / Ns::from(self.columns)).max(1)
    }
}

/// Where things were drawn, for the mouse and the cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Chart {
    /// Place of the bars
    pub area: Rect,
    /// What is on its columns
    pub window: Window,
    /// The row on its first line
    pub first: usize,
    /// Rows there are
    pub rows: usize,
}

/// Draws it.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View,
    command: &CommandState,
    lanes: &[Lane],
    now: SinceStart,
) -> (Chart, Option<Bar>) {
    let theme = view.theme;
    let gutter =
        if area.width < NARROW { area.width * 3 / 10 } else { (area.width / 4).clamp(18, 34) }.max(1);
    let plot = Rect { x: area.x + gutter, width: area.width.saturating_sub(gutter), ..area };
    if area.height == 0 || plot.width == 0 {
        return (Chart::default(), None);
    }
    let window = Window::of(view, command, now, plot.width);
    // What is dispensable goes where lines are few: the legend, the line about the span, the axis.
    let (top, legend, foot) = (
        u16::from(area.height > 3),
        u16::from(area.height >= super::LEGEND_FROM),
        u16::from(area.height > 4),
    );
    if top == 1 {
        axis(buffer, line(area, 0), gutter, window, command.wall(now).0, theme);
    }
    let body = Rect { height: area.height - top - legend - foot, ..below(area, top) };
    let rows: Vec<(&Lane, usize)> =
        lanes.iter().flat_map(|lane| (0..lane.height()).map(move |row| (lane, row))).collect();
    let now = now.min(command.wall(now).1);
    let waited = oldest(&rows);
    let chosen = if view.timeline.at.is_some() { Some(view.timeline.row) } else { waited };
    let chosen = chosen.map(|row| row.min(rows.len().saturating_sub(1)));
    let first = chosen.unwrap_or(0).saturating_sub(usize::from(body.height).saturating_sub(2));
    let first = first.min(rows.len().saturating_sub(usize::from(body.height)));
    for (down, (lane, row)) in rows.iter().skip(first).take(usize::from(body.height)).enumerate() {
        let place = line(body, down as u16);
        let is_chosen = view.timeline.at.is_some() && chosen == Some(first + down);
        side(buffer, Rect { width: gutter.saturating_sub(1), ..place }, lane, *row, is_chosen, theme);
        let place = place.intersection(plot);
        paint::row(buffer, place, window, command, visible(lane.bars(*row), window), now, theme);
        if *row == 0 {
            marks(buffer, place, window, lane, theme);
        }
    }
    if rows.is_empty() {
        put(buffer, body, plot.x.min(body.x), body.y, nothing(view), theme.dim());
    }
    if let Some(at) = view.timeline.at {
        cursor(buffer, body.intersection(plot), window, at);
    }
    let left = rows.len().saturating_sub(first + usize::from(body.height));
    if left > 0 {
        let rows = if left == 1 { "row" } else { "rows" };
        let text =
            if area.width < NARROW { format!(" +{left} ") } else { format!(" {left} more {rows} below ") };
        put_right(buffer, body, body.bottom().saturating_sub(1), &text, theme.chosen());
    }
    if legend == 1 {
        legend::draw(buffer, line(area, area.height - 1 - foot), lanes, theme);
    }
    let bar = chosen.and_then(|row| {
        let (lane, row) = rows.get(row)?;
        match view.timeline.at {
            Some(at) => under(lane.bars(*row), at, window.step()),
            None => lane.bars(*row).iter().filter(|bar| bar.end.is_none()).min_by_key(|bar| bar.start),
        }
    });
    if let Some(bar) = bar.filter(|_| foot == 1) {
        let foot = line(area, area.height - 1);
        let label = format!(" {} ", letter(bar.phase));
        let x = put(buffer, foot, foot.x, foot.y, &label, theme.on_phase(bar.phase));
        put(buffer, foot, x + 1, foot.y, &detail::detail(command, bar, now), Style::new());
    }
    (Chart { area: body.intersection(plot), window, first, rows: rows.len() }, bar.copied())
}

fn nothing(view: &View) -> &'static str {
    match view.timeline.focus {
        _ if !view.filter.is_empty() => "nothing matches the filter: esc clears it",
        Some(Focus::Dns) => "no query to a name server was seen",
        Some(Focus::Streams) => "no HTTP/2 was seen",
        Some(Focus::Sumdb) => "no request to the checksum database was seen",
        None => "nothing was in flight",
    }
}

/// The row with the span that is open longest.
fn oldest(rows: &[(&Lane, usize)]) -> Option<usize> {
    // An open bar is the last of its row, or among the few that lie over others.
    let open =
        |bars: &[Bar]| bars.iter().rev().take(64).filter(|bar| bar.end.is_none()).map(|bar| bar.start).min();
    let starts =
        rows.iter().enumerate().filter_map(|(index, (lane, row))| Some((open(lane.bars(*row))?, index)));
    starts.min().map(|(_, index)| index)
}

/// Bars of a row that reach into the window. Ends are in order but for spans that lie over others.
fn visible(bars: &[Bar], window: Window) -> impl Iterator<Item = &Bar> {
    let until = window.start.saturating_add(window.length);
    let from = bars.partition_point(|bar| bar.end.is_some_and(|end| end < window.start));
    bars[from..].iter().take_while(move |bar| bar.start <= until)
}

/// The bar at a moment, or the nearest within a column.
fn under(bars: &[Bar], at: SinceStart, step: Ns) -> Option<&Bar> {
    let distance = |bar: &Bar| {
        let end = bar.end.unwrap_or(SinceStart::MAX);
        if at < bar.start { bar.start - at } else { at.saturating_sub(end) }
    };
    let from = bars.partition_point(|bar| bar.end.is_some_and(|end| end.saturating_add(step) < at));
    let near = bars[from..].iter().take_while(|bar| bar.start <= at.saturating_add(step));
    near.min_by_key(|bar| (distance(bar), bar.start)).filter(|bar| distance(bar) <= step)
}

/// Round times since the command began.
fn axis(buffer: &mut Buffer, place: Rect, gutter: u16, window: Window, begin: SinceStart, theme: Theme) {
    let text = duration(window.length);
    put(buffer, Rect { width: gutter - 1, ..place }, place.x, place.y, &text, theme.dim());
    let tick = nice(window.length, u64::from(window.columns / 12).max(1));
    let mut at = begin + window.start.saturating_sub(begin).div_ceil(tick) * tick;
    let plot = Rect { x: place.x + gutter, width: window.columns, ..place };
    while at < window.start.saturating_add(window.length) {
        let x = plot.x + window.column(at).clamp(0, i64::from(u16::MAX)) as u16;
        let text = format!("╷{}", seconds(at - begin, tick));
        if usize::from(x) + text.chars().count() <= usize::from(plot.right()) {
            put(buffer, plot, x, plot.y, &text, theme.dim());
        }
        at += tick;
    }
}

/// A round time, so that no more than so many fit into the length.
fn nice(length: Ns, ticks: u64) -> Ns {
    let least = (length / ticks).max(1);
    let mut step: Ns = 1_000;
    loop {
        for factor in [1, 2, 5] {
            if step * factor >= least {
                return step * factor;
            }
        }
        step *= 10;
    }
}

/// In seconds, or milliseconds where the ticks are that close.
fn seconds(at: Ns, tick: Ns) -> String {
    let digits = |finest: Ns| (0..3).find(|n| tick >= finest / 10u64.pow(*n)).unwrap_or(3) as usize;
    if tick >= 10_000_000 {
        return format!("{:.*}s", digits(1_000_000_000), at as f64 / 1e9);
    }
    format!("{:.*}ms", digits(1_000_000), at as f64 / 1e6)
}

fn side(buffer: &mut Buffer, place: Rect, lane: &Lane, row: usize, chosen: bool, theme: Theme) {
    let marker = if chosen { ("▸", theme.bold()) } else { (" ", Style::new()) };
    let lost = lane.note.contains('×') || lane.note.contains("late");
    let note = if lost { theme.bad() } else { theme.dim() };
    let text = match (row, lane.names.get(row)) {
        (_, Some(name)) => (name.as_str(), Style::new()),
        (0, None) => (lane.title.as_str(), theme.bold()),
        (1, None) => (lane.note.as_str(), note),
        _ => ("", Style::new()),
    };
    words(buffer, place, place.x, place.y, &[marker, text]);
}

fn marks(buffer: &mut Buffer, place: Rect, window: Window, lane: &Lane, theme: Theme) {
    let from = lane.marks.partition_point(|(at, _)| *at < window.start);
    let until = window.start.saturating_add(window.length);
    let mut seen: Vec<Option<lanes::Mark>> = vec![None; usize::from(window.columns)];
    for (at, mark) in lane.marks[from..].iter().take_while(|(at, _)| *at <= until) {
        let column = window.column(*at).clamp(0, i64::from(window.columns) - 1) as usize;
        seen[column] = seen[column].max(Some(*mark));
    }
    for (column, mark) in seen.into_iter().enumerate() {
        if let Some(mark) = mark {
            buffer[(place.x + column as u16, place.y)].set_symbol(mark.sign()).set_style(theme.alarm());
        }
    }
}

fn cursor(buffer: &mut Buffer, place: Rect, window: Window, at: SinceStart) {
    let column = window.column(at);
    if (0..i64::from(window.columns)).contains(&column) {
        let x = place.x + column as u16;
        for y in place.top()..place.bottom() {
            let cell = &mut buffer[(x, y)];
            if cell.symbol() == " " {
                cell.set_symbol("│");
            } else {
                cell.modifier.toggle(ratatui::style::Modifier::REVERSED);
            }
        }
    }
}

/// Every span with the row that it is drawn on, by its begin.
fn spans(lanes: &[Lane]) -> Vec<(usize, Bar)> {
    let rows = lanes.iter().flat_map(|lane| (0..lane.height()).map(move |row| lane.bars(row)));
    let mut all: Vec<(usize, Bar)> =
        rows.enumerate().flat_map(|(row, bars)| bars.iter().map(move |bar| (row, *bar))).collect();
    all.sort_by_key(|(row, bar)| (bar.start, *row));
    all
}

/// The span after, or before, the one under the cursor; the first or last where there is no cursor.
pub(super) fn neighbour(lanes: &[Lane], at: Option<(SinceStart, usize)>, next: bool) -> Option<(usize, Bar)> {
    let all = spans(lanes);
    let place = at.map(|(at, row)| all.partition_point(|(of, bar)| (bar.start, *of) < (at, row)));
    let there = place.filter(|place| all.get(*place).is_some_and(|(row, bar)| Some((bar.start, *row)) == at));
    let index = match (next, place) {
        (true, None) => 0,
        (false, None) => all.len().checked_sub(1)?,
        (true, Some(place)) => place + usize::from(there.is_some()),
        (false, Some(place)) => place.checked_sub(1)?,
    };
    all.get(index).copied()
}

/// The longest of all, up to that moment where it is open.
pub(super) fn longest(lanes: &[Lane], now: SinceStart) -> Option<(usize, Bar)> {
    let took = |bar: &Bar| bar.end.unwrap_or(now).saturating_sub(bar.start);
    spans(lanes).into_iter().reduce(|most, other| if took(&other.1) > took(&most.1) { other } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_maps_moments_and_columns() {
        let window = Window { start: SinceStart(1_000), length: 1_000, columns: 10 };
        assert_eq!(
            (
                window.column(SinceStart(1_000)),
                window.column(SinceStart(1_999)),
                window.column(SinceStart(2_000))
            ),
            (0, 9, 10)
        );
        assert_eq!(window.column(SinceStart(0)), -10);
        for column in 0..10 {
            assert_eq!(window.column(window.moment(column)), i64::from(column));
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(nice(10_000_000_000, 5), 2_000_000_000);
        assert_eq!(nice(1_000_000, 100), 10_000);
        assert_eq!(nice(59_000_000_000, 6), 10_000_000_000);
        assert_eq!(seconds(2_500_000_000, 500_000_000), "2.5s");
        assert_eq!(seconds(2_500_000_000, 2_000_000_000), "2s");
        assert_eq!(seconds(20_000_000, 10_000_000), "0.02s");
        assert_eq!(seconds(12_345_000, 5_000), "12.345ms");
        assert_eq!(seconds(12_000_000, 2_000_000), "12ms");
    }
}
