//! The waterfall. In: lanes and the part of the time that is looked at. Out: an axis, a row a
//! span, and a line about the span under the cursor.

pub(super) mod detail;
pub(super) mod lanes;

use lanes::{Bar, Lane, label};
use model::human::duration;
use model::record::Phase;
use model::state::CommandState;
use model::time::{Ns, SinceStart};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{below, line, put, put_right, words};
use super::theme::{Theme, fill, letter, short};
use super::view::{Focus, View};

/// The shortest time that is shown.
const LENGTH_MIN: Ns = 1_000_000;

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
        let length = view.timeline.length.unwrap_or(end.saturating_sub(begin)).max(LENGTH_MIN);
        let start = if view.timeline.length.is_none() { begin } else { end.earlier_by(length) };
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
) -> Chart {
    let theme = view.theme;
    if area.height < 3 {
        return Chart::default();
    }
    let gutter = (area.width / 4).clamp(18, 34);
    let plot = Rect { x: area.x + gutter, width: area.width - gutter, ..area };
    let window = Window::of(view, command, now, plot.width);
    axis(buffer, line(area, 0), gutter, window, command.wall(now).0, theme);
    let body = Rect { height: area.height - 2, ..below(area, 1) };
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
        side(buffer, Rect { width: gutter - 1, ..place }, lane, *row, is_chosen, theme);
        let place = place.intersection(plot);
        for bar in visible(lane.bars(*row), window) {
            paint(buffer, place, window, command, bar, now, theme);
        }
        if *row == 0 {
            marks(buffer, place, window, lane, theme);
        }
    }
    if rows.is_empty() {
        put(buffer, body, plot.x, body.y, nothing(view), theme.dim());
    }
    let left = rows.len().saturating_sub(first + usize::from(body.height));
    if left > 0 {
        let rows = if left == 1 { "row" } else { "rows" };
        let text = format!(" {left} more {rows} below ");
        put_right(buffer, body, body.bottom() - 1, &text, theme.chosen());
    }
    if let Some(at) = view.timeline.at {
        cursor(buffer, body.intersection(plot), window, at);
    }
    let foot = line(area, area.height - 1);
    let bar = chosen.and_then(|row| {
        let (lane, row) = rows.get(row)?;
        match view.timeline.at {
            Some(at) => under(lane.bars(*row), at, window.step()),
            None => lane.bars(*row).iter().filter(|bar| bar.end.is_none()).min_by_key(|bar| bar.start),
        }
    });
    match bar {
        Some(bar) => {
            let label = format!(" {} ", letter(bar.phase));
            let x = put(buffer, foot, foot.x, foot.y, &label, theme.on_phase(bar.phase));
            put(buffer, foot, x + 1, foot.y, &detail::detail(command, bar, now), Style::new());
        }
        None => legend(buffer, foot, lanes, theme),
    }
    Chart { area: body.intersection(plot), window, first, rows: rows.len() }
}

fn nothing(view: &View) -> &'static str {
    match view.timeline.focus {
        _ if !view.filter.is_empty() => "nothing matches the filter",
        Some(Focus::Dns) => "no query to a name server was seen",
        Some(Focus::Streams) => "no HTTP/2 was seen",
        Some(Focus::Sumdb) => "no request to the checksum database was seen",
        None => "nothing in flight yet",
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
    let mut step: Ns = 1_000_000;
    loop {
        for factor in [1, 2, 5] {
            if step * factor >= least {
                return step * factor;
            }
        }
        step *= 10;
    }
}

fn seconds(at: Ns, tick: Ns) -> String {
    let digits = match tick {
        ..10_000_000 => 3,
        10_000_000..100_000_000 => 2,
        100_000_000..1_000_000_000 => 1,
        _ => 0,
    };
    format!("{:.digits$}s", at as f64 / 1e9)
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

fn paint(
    buffer: &mut Buffer,
    place: Rect,
    window: Window,
    command: &CommandState,
    bar: &Bar,
    now: SinceStart,
    theme: Theme,
) {
    let last = i64::from(window.columns) - 1;
    let end = bar.end.unwrap_or(now);
    let (from, to) = (window.column(bar.start), window.column(end).max(window.column(bar.start)));
    if to < 0 || from > last {
        return;
    }
    let at = |column: i64| place.x + column.clamp(0, last) as u16;
    let (first, until) = (at(from), at(to));
    let answered = bar.answered.map_or(i64::MAX, |moment| window.column(moment));
    for x in first..=until {
        let column = i64::from(x - place.x);
        buffer[(x, place.y)]
            .set_symbol(fill(bar.phase, column >= answered))
            .set_style(theme.phase(bar.phase));
    }
    let on = theme.on_phase(bar.phase);
    if from >= 0 {
        let mut initial = [0; 4];
        buffer[(first, place.y)].set_symbol(letter(bar.phase).encode_utf8(&mut initial)).set_style(on);
    }
    // Of a span that is open the end shows that it goes on.
    let tip = u16::from(bar.end.is_none() || bar.failed);
    let room = (until + 1).saturating_sub(first + 1 + tip);
    if room >= 3 {
        let inside = Rect { x: first + 1, width: room, ..place };
        let gap = if from >= 0 { " " } else { "" };
        put(buffer, inside, inside.x, inside.y, &format!("{gap}{}", label(command, bar.id)), on);
    }
    if bar.end.is_none() && until > first {
        buffer[(until, place.y)].set_symbol("▶").set_style(theme.phase(bar.phase));
    }
    if bar.failed {
        buffer[(until, place.y)].set_symbol("✗").set_style(theme.bad());
    }
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

/// Phases of which most commands have nothing are named where they are drawn.
fn legend(buffer: &mut Buffer, place: Rect, lanes: &[Lane], theme: Theme) {
    let mut x = place.x;
    let drawn = |phase| lanes.iter().any(|lane| lane.has(phase));
    let named = |phase: &Phase| match phase {
        Phase::Local | Phase::Unexplained => false,
        Phase::Tunnel | Phase::Auth | Phase::Cache | Phase::Backoff | Phase::Child => drawn(*phase),
        _ => true,
    };
    for phase in Phase::ALL.into_iter().filter(named) {
        let sign = format!("{}{}", letter(phase), fill(phase, false));
        x = put(buffer, place, x, place.y, &sign, theme.phase(phase));
        x = put(buffer, place, x, place.y, &format!("{} ", short(phase)), theme.dim());
    }
    let marks = [" × retransmitted  ! reset  0 window closed", "×again !reset 0window"];
    let room = usize::from(place.right().saturating_sub(x));
    let marks = if marks[0].chars().count() <= room { marks[0] } else { marks[1] };
    put(buffer, place, x, place.y, marks, theme.dim());
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
        assert_eq!(nice(1_000_000, 100), 1_000_000);
        assert_eq!(nice(59_000_000_000, 6), 10_000_000_000);
        assert_eq!(seconds(2_500_000_000, 500_000_000), "2.5s");
    }
}
