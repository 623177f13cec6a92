//! The dashboard on a terminal: a state and a view of it in, frames out. It is the same over a
//! live observation and over a recording. Only this room knows ratatui.
//!
//! [`frame`] draws one picture; [`keys`] says what a key changes; [`screen`] takes a terminal and
//! gives it back; [`replay`] plays a recording; the worker drives it live.

mod background;
mod canvas;
mod commands;
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

use canvas::{below, line, put};
pub use digest::Cache;
use model::id::CommandId;
use model::state::{CommandState, State};
use model::time::SinceStart;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use table::ListPlace;
pub use timeline::Chart;
pub use view::{Focus, Tab, View};

/// The smallest terminal.
pub const SMALLEST: (u16, u16) = (80, 24);

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
    /// The timeline
    pub chart: Chart,
    /// Begin and present of the command
    pub wall: (SinceStart, SinceStart),
    /// The line to try
    pub attempt: Option<String>,
    /// The recording's bar
    pub seek: Rect,
}

/// One picture of that size, made from nothing but its arguments.
pub fn frame(state: &State, view: &View, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(&mut buffer, state, view, &mut Cache::default());
    buffer
}

/// Draws a picture that fills the buffer.
pub fn draw(buffer: &mut Buffer, state: &State, view: &View, cache: &mut Cache) -> Drawn {
    let area = buffer.area;
    let now = view.now.unwrap_or_else(|| state.until());
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!(
            "goobserve: {}×{} is too small, it takes {}×{}; q ends",
            area.width, area.height, SMALLEST.0, SMALLEST.1
        );
        put(buffer, area, area.x, area.y, &text, Style::new());
        return Drawn::default();
    }
    cache.begin(|id| state.command(id).is_some());
    let mut drawn = Drawn { many: state.commands().nth(1).is_some(), ..Drawn::default() };
    let foot = footer::height(view);
    let body = Rect { height: area.height - foot, ..area };
    let shown = shown(state, view);
    drawn.command = shown.map(|(id, _)| id);
    match shown {
        _ if view.help => help::draw(buffer, body, view.theme),
        Some((id, command)) => {
            self::command(buffer, body, state, view, cache, (id, command, now), &mut drawn);
        }
        None => {
            let list = commands::draw(buffer, body, state, view, cache, now);
            (drawn.rows, drawn.ids, drawn.columns) = (list.place, list.ids, 4);
        }
    }
    drawn.seek = footer::draw(buffer, below(area, body.height), view, &drawn, now);
    drawn
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
    let chosen = if view.tab == Tab::Stalls { view.lists[Tab::Stalls as usize].row } else { 0 };
    let stall = stalls.get(chosen.min(stalls.len().saturating_sub(1)));
    drawn.attempt = stall.and_then(|stall| stall.remedies.first()).map(|remedy| remedy.attempt.clone());
    let used = header::draw(buffer, area, view, state, command, &digest, now);
    tabs(buffer, line(area, used), view, command, stalls.len(), drawn);
    let area = below(area, used + 1);
    let theme = view.theme;
    let subject = tables::Subject { command, now, theme };
    match tables::source(view.tab, subject) {
        Some(source) => {
            let list = view.lists[view.tab as usize];
            let of = (id, command.changes);
            let known = cache.order.take().filter(|(tab, _)| *tab == view.tab).map(|(_, order)| order);
            let beside = cache.is_in_background(command);
            let order = known.filter(|order| order.serves(of, now, &list, &view.filter, beside));
            let order =
                order.unwrap_or_else(|| table::Order::new(source.as_ref(), of, now, &list, &view.filter));
            drawn.rows = table::draw(buffer, area, source.as_ref(), &order, &list, theme);
            drawn.columns = source.columns().len();
            cache.order = Some((view.tab, order));
        }
        None if view.tab == Tab::Stalls => {
            drawn.rows = stalls::draw(buffer, area, stalls, &view.lists[Tab::Stalls as usize], subject);
        }
        None => {
            let lanes = cache.lanes(command, id, now, view);
            let output = output(buffer, area, view);
            let area = Rect { height: area.height - output, ..area };
            drawn.chart = timeline::draw(buffer, area, view, command, &lanes, now);
            drawn.rows.rows = drawn.chart.rows;
        }
    }
}

/// What the command printed last, below the timeline; returns the lines it took.
fn output(buffer: &mut Buffer, area: Rect, view: &View) -> u16 {
    let Some(lines) = view.output.as_ref().filter(|lines| !lines.is_empty()) else { return 0 };
    let height = (lines.len() as u16).min((area.height / 3).min(8));
    let place = below(area, area.height - height);
    for (down, text) in lines.iter().rev().take(usize::from(height)).rev().enumerate() {
        let place = line(place, down as u16);
        let x = put(buffer, place, place.x, place.y, "│ ", view.theme.dim());
        put(buffer, place, x, place.y, text, Style::new());
    }
    height
}

fn tabs(
    buffer: &mut Buffer,
    place: Rect,
    view: &View,
    command: &CommandState,
    stalls: usize,
    drawn: &mut Drawn,
) {
    let theme = view.theme;
    let mut x = place.x;
    for (index, tab) in Tab::ALL.into_iter().enumerate() {
        let number = match tab {
            Tab::Timeline => None,
            Tab::Requests => Some(command.requests.len()),
            Tab::Dns => Some(command.dns.len()),
            Tab::Connections => Some(command.connections.len()),
            Tab::Processes => Some(command.processes.len()),
            Tab::Stalls => Some(stalls),
        };
        let number = number.map_or_else(String::new, |number| format!(" {number}"));
        let text = format!(" {} {}{number} ", index + 1, tab.title());
        let style = match tab {
            _ if tab == view.tab => theme.chosen(),
            Tab::Stalls if stalls > 0 => theme.bad(),
            _ => theme.dim(),
        };
        let end = put(buffer, place, x, place.y, &text, style);
        drawn.tabs.push((Rect { x, width: end - x, ..place }, tab));
        x = end;
    }
    let focus = match view.timeline.focus {
        Some(Focus::Dns) => "DNS alone",
        Some(Focus::Streams) => "HTTP/2 alone",
        Some(Focus::Sumdb) => "sumdb alone",
        None => "",
    };
    if view.tab == Tab::Timeline && !focus.is_empty() {
        put(buffer, place, x + 1, place.y, focus, theme.bold());
    }
}
