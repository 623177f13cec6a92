//! The dashboard on a terminal: a state and a view of it in, frames out. It is the same over a
//! live observation and over a recording. Only this room knows ratatui.
//!
//! [`frame`] draws one picture; [`keys`] says what a key changes; [`screen`] takes a terminal and
//! gives it back; [`replay`] plays a recording; the worker drives it live.

mod background;
mod canvas;
mod commands;
mod details;
mod digest;
mod explain;
mod footer;
mod header;
mod help;
pub mod keys;
pub mod replay;
pub mod screen;
mod stalls;
mod table;
mod tables;
pub mod theme;
mod timeline;
pub mod view;

use std::rc::Rc;

use canvas::{below, line, put, put_right};
pub use details::Details;
pub use digest::Cache;
use digest::Digest;
use model::id::CommandId;
use model::state::{CommandState, State};
use model::time::SinceStart;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use table::ListPlace;
use theme::Theme;
pub use timeline::Chart;
pub use timeline::lanes::Lane;
pub use view::{Focus, Opened, Tab, Target, View};

/// Header and banners take at most one part in so many of the height.
const HEAD: u16 = 4;
/// Kinds of processes above the list of processes, and the part of its height they take at most.
const KINDS: u16 = 6;
/// From so many lines on there is one for the legend.
const LEGEND_FROM: u16 = 8;

/// What was drawn where, for keys and the mouse.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Drawn {
    /// The command that is shown; `None`: the list
    pub command: Option<CommandId>,
    /// There is a list to go back to
    pub many: bool,
    /// Commands of the list, in order
    pub ids: Vec<CommandId>,
    /// Titles of the tabs
    pub tabs: Vec<(Rect, Tab)>,
    /// Rows of the list or table
    pub rows: ListPlace,
    /// Columns that it can be sorted by
    pub columns: usize,
    /// Where their titles are
    pub titles: Vec<(Rect, usize)>,
    /// The column that says how long a row took
    pub took: Option<usize>,
    /// It is usually sorted by that, the longest first
    pub longest_first: bool,
    /// What the cursor is on
    pub cursor: Option<Target>,
    /// What was opened
    pub details: Option<Details>,
    /// The timeline
    pub chart: Chart,
    /// Its lanes
    pub lanes: Rc<Vec<Lane>>,
    /// Begin and present of the command
    pub wall: (SinceStart, SinceStart),
    /// When what was found in it began
    pub stalls: Vec<SinceStart>,
    /// The line to try
    pub attempt: Option<String>,
    /// The recording's bar
    pub seek: Rect,
    /// Lines that a page at its end has
    pub page: u16,
}

/// One picture of that size, made from nothing but its arguments.
pub fn frame(state: &State, view: &View, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(&mut buffer, state, view, &mut Cache::default());
    buffer
}

/// Draws a picture that fills the buffer, of whatever size that is.
pub fn draw(buffer: &mut Buffer, state: &State, view: &View, cache: &mut Cache) -> Drawn {
    let area = buffer.area;
    if area.is_empty() {
        return Drawn::default();
    }
    let now = view.now.unwrap_or_else(|| state.until());
    cache.begin(|id| state.command(id).is_some());
    let mut drawn = Drawn { many: state.commands().nth(1).is_some(), ..Drawn::default() };
    let foot = footer::height(view, area.height);
    let body = Rect { height: area.height - foot, ..area };
    drawn.page = body.height;
    let shown = shown(state, view);
    drawn.command = shown.map(|(id, _)| id);
    match shown {
        _ if view.help => help::draw(buffer, body, view),
        _ if view.reading => report(buffer, body, view),
        Some((id, command)) => {
            self::command(buffer, body, state, view, cache, (id, command, now), &mut drawn);
        }
        None => {
            let list = commands::draw(buffer, body, state, view, cache, now);
            (drawn.rows, drawn.ids, drawn.titles) = (list.place, list.ids, list.titles);
            drawn.columns = commands::SORTED;
        }
    }
    drawn.seek = footer::draw(buffer, below(area, body.height), view, &drawn, now);
    drawn
}

/// The report of a command that has ended.
fn report(buffer: &mut Buffer, area: Rect, view: &View) {
    let Some((lines, first)) = &view.report else { return };
    let height = usize::from(area.height);
    let first = (*first).min(lines.len().saturating_sub(height));
    for (down, text) in lines.iter().skip(first).take(height).enumerate() {
        let place = line(area, down as u16);
        let style = if text.starts_with(' ') { Style::new() } else { view.theme.bold() };
        put(buffer, place, place.x, place.y, text, style);
    }
    let left = lines.len().saturating_sub(first + height);
    if left > 0 {
        put_right(buffer, area, area.bottom() - 1, &format!(" {left} more below "), view.theme.chosen());
    }
}

/// The command that is looked at: the one that was opened, or the only one.
fn shown<'a>(state: &'a State, view: &View) -> Option<(CommandId, &'a CommandState)> {
    let opened = view.command.and_then(|id| Some((id, state.command(id)?)));
    opened.or_else(|| {
        let mut all = state.commands();
        let first = all.next()?;
        all.next().is_none().then_some(first)
    })
}

fn command(
    buffer: &mut Buffer,
    area: Rect,
    state: &State,
    view: &View,
    cache: &mut Cache,
    (id, command, now): (CommandId, &CommandState, SinceStart),
    drawn: &mut Drawn,
) {
    let digest = cache.digest(command, id, now, view);
    drawn.wall = command.wall(now);
    let stalls = &digest.stalls;
    drawn.stalls = stalls.iter().map(|stall| stall.start_ns).collect();
    let chosen = if view.tab == Tab::Stalls { view.lists[Tab::Stalls as usize].row } else { 0 };
    let chosen = match view.open.last() {
        Some(Opened { target: Target::Stall(index), .. }) => *index,
        _ => chosen,
    };
    let stall = stalls.get(chosen.min(stalls.len().saturating_sub(1)));
    drawn.attempt = stall.and_then(|stall| stall.remedies.first()).map(|remedy| remedy.attempt.clone());
    let most = (area.height + footer::height(view, buffer.area.height)) / HEAD;
    let head = Rect { height: most.saturating_sub(1).max(1).min(area.height), ..area };
    let used = header::draw(buffer, head, view, state, command, &digest, now);
    tabs(buffer, line(area, used), view, command, stalls.len(), drawn);
    let area = below(area, used + 1);
    let theme = view.theme;
    let subject = tables::Subject { command, now, theme };
    if let Some(opened) = view.open.last() {
        let of = details::Of { command, stalls, now, theme };
        drawn.details = Some(details::draw(buffer, area, of, opened));
        return;
    }
    let area = if view.tab == Tab::Processes { kinds(buffer, area, &digest, theme) } else { area };
    match tables::source(view.tab, subject) {
        Some(source) => {
            let list = view.lists[view.tab as usize];
            let of = (id, command.changes);
            let narrow = view.narrow(now);
            let known = cache.order.take().filter(|(tab, _)| *tab == view.tab).map(|(_, order)| order);
            let beside = cache.is_in_background(command);
            let order = known.filter(|order| order.serves(of, now, &list, narrow, (beside, view.stands())));
            let order = order.unwrap_or_else(|| table::Order::new(source.as_ref(), of, now, &list, narrow));
            let table = table::draw(buffer, area, source.as_ref(), &order, &list, theme);
            (drawn.rows, drawn.titles, drawn.cursor) = (table.place, table.titles, table.cursor);
            (drawn.columns, drawn.took) = (source.columns().len(), Some(source.took()));
            drawn.longest_first = source.usual() == (source.took(), true);
            cache.order = Some((view.tab, order));
        }
        None if view.tab == Tab::Stalls => {
            drawn.rows = stalls::draw(buffer, area, stalls, &view.lists[Tab::Stalls as usize], subject);
            drawn.cursor = stalls.len().checked_sub(1).map(|last| Target::Stall(chosen.min(last)));
        }
        None => {
            let lanes = cache.lanes(command, id, now, view);
            let output = output(buffer, area, view);
            let area = Rect { height: area.height - output, ..area };
            let (chart, bar) = timeline::draw(buffer, area, view, command, &lanes, now);
            drawn.chart = chart;
            drawn.rows.rows = drawn.chart.rows;
            drawn.cursor = bar.and_then(|bar| bar.id.target());
            if view.timeline.at.is_none() && !stalls.is_empty() {
                drawn.cursor = Some(Target::Stall(0));
            }
            drawn.lanes = lanes;
        }
    }
}

/// What ran, by kind, the costliest first, above the list of processes; returns what is left below.
fn kinds(buffer: &mut Buffer, area: Rect, digest: &Digest, theme: Theme) -> Rect {
    let rows = (digest.kinds.len() as u16).min(KINDS).min(area.height / 3);
    if digest.kinds.len() < 2 {
        return area;
    }
    for (down, (words, packages)) in digest.kinds.iter().take(usize::from(rows)).enumerate() {
        let place = line(area, down as u16);
        let left = digest.kinds.len() - usize::from(rows);
        let more =
            if down + 1 == usize::from(rows) && left > 0 { format!(" +{left} kinds") } else { String::new() };
        put_right(buffer, place, place.y, &more, theme.dim());
        let place = Rect { width: place.width.saturating_sub(more.len() as u16), ..place };
        let x = put(buffer, place, place.x, place.y, words, theme.bold());
        put(buffer, place, x, place.y, &format!("  {packages}"), theme.dim());
    }
    below(area, rows)
}

/// What the command printed last, below the timeline; returns the lines it took.
fn output(buffer: &mut Buffer, area: Rect, view: &View) -> u16 {
    let Some(lines) = view.output.as_ref().filter(|lines| !lines.is_empty()) else { return 0 };
    let height = (lines.len() as u16).min((area.height / 4).min(8));
    let place = below(area, area.height - height);
    for (down, text) in lines.iter().rev().take(usize::from(height)).rev().enumerate() {
        let place = line(place, down as u16);
        let x = put(buffer, place, place.x, place.y, "│ ", view.theme.dim());
        put(buffer, place, x, place.y, text, Style::new());
    }
    height
}

/// The names of the views, as short as there is room for; of the narrowest terminals only the one that is shown.
fn tabs(
    buffer: &mut Buffer,
    place: Rect,
    view: &View,
    command: &CommandState,
    stalls: usize,
    drawn: &mut Drawn,
) {
    let theme = view.theme;
    let number = |tab: Tab| match tab {
        Tab::Timeline => String::new(),
        Tab::Requests => format!(" {}", command.requests.len()),
        Tab::Dns => format!(" {}", command.dns.len()),
        Tab::Connections => format!(" {}", command.connections.len()),
        Tab::Processes => format!(" {}", command.processes.len()),
        Tab::Stalls => format!(" {stalls}"),
    };
    let index = |tab: Tab| tab as usize + 1;
    let whole = |tab: Tab| format!(" {} {}{} ", index(tab), tab.title(), number(tab));
    let name = |tab: Tab| format!(" {} {} ", index(tab), tab.title());
    let short = |tab: Tab| format!(" {} {} ", index(tab), tab.title().get(..3).unwrap_or_default());
    let one = |tab: Tab| if tab == view.tab { name(tab) } else { format!(" {} ", index(tab)) };
    let narrowed = narrowed(view);
    let room = usize::from(place.width);
    let forms: [&dyn Fn(Tab) -> String; 4] = [&whole, &name, &short, &one];
    let needed = |form: &dyn Fn(Tab) -> String| -> usize {
        Tab::ALL.into_iter().map(|tab| model::clean::width(&form(tab))).sum()
    };
    let form = forms.into_iter().find(|form| needed(form) + narrowed.len() <= room);
    let form = form.or_else(|| forms.into_iter().find(|form| needed(form) <= room)).unwrap_or(&one);
    let mut x = place.x;
    for tab in Tab::ALL {
        let style = match tab {
            _ if tab == view.tab => theme.chosen(),
            Tab::Stalls if stalls > 0 => theme.bad(),
            _ => theme.dim(),
        };
        let end = put(buffer, place, x, place.y, &form(tab), style);
        drawn.tabs.push((Rect { x, width: end - x, ..place }, tab));
        x = end;
    }
    put(buffer, place, x, place.y, &narrowed, theme.bold());
}

/// What makes that not all is shown.
fn narrowed(view: &View) -> String {
    let focus = view.timeline.focus.filter(|_| view.tab == Tab::Timeline).map(|focus| match focus {
        Focus::Dns => "DNS alone".to_owned(),
        Focus::Streams => "HTTP/2 alone".to_owned(),
        Focus::Sumdb => "sumdb alone".to_owned(),
    });
    let last = view.last.map(|last| format!("last {}", model::human::duration(last)));
    let ended = view.hide_ended.then(|| "ended hidden".to_owned());
    let all: Vec<String> = [focus, last, ended].into_iter().flatten().collect();
    if all.is_empty() { String::new() } else { format!(" {}", all.join(", ")) }
}
