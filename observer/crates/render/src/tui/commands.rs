//! Every command, longest stuck first, and what many wait for together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use diagnose::advice::next_step;
use model::clean::{clean, fit, fit_middle, width};
use model::human::{count, duration};
use model::id::CommandId;
use model::record::{Command, Phase};
use model::state::{CommandState, State};
use model::time::{Ns, SinceStart};
use model::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{below, line, put, put_right};
use super::digest::{Cache, Digest};
use super::header::{Status, clock, loss, parts, sentence};
use super::table::{Column, ListPlace, number, text};
use super::theme::{Theme, letter};
use super::view::View;

const COLUMNS: [Column; 7] = [
    text("user", 5, 70),
    text("folder", 13, 70),
    number("age", 7, 0),
    text("command", 15, 0),
    text("time went to", 20, 120),
    number("since", 7, 0),
    text("waiting for", 0, 0),
];

/// A row.
struct Row<'a> {
    id: CommandId,
    command: &'a CommandState,
    digest: Rc<Digest>,
    /// Since when it waits, once that is worth reporting
    stuck: Option<SinceStart>,
}

/// Where rows were drawn, and which commands they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Drawn {
    /// The place of the rows
    pub place: ListPlace,
    /// Commands in order
    pub ids: Vec<CommandId>,
    /// Where the titles are that it can be sorted by
    pub titles: Vec<(Rect, usize)>,
}

/// Columns that it can be sorted by: the first ones. Usually it is by how long they wait.
pub(super) const SORTED: usize = 4;
/// The column that it is usually sorted by.
const USUAL: usize = 5;
/// The title takes at most one part in so many of the height.
const HEAD: u16 = 4;

/// Draws the list.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    state: &State,
    view: &View,
    cache: &mut Cache,
    now: SinceStart,
) -> Drawn {
    let theme = view.theme;
    let mut rows: Vec<Row<'_>> = state
        .commands()
        .filter(|(_, command)| {
            let end = ended(command).then(|| command.wall(now).1);
            view.narrow(now).time(end)
        })
        .map(|(id, command)| {
            let digest = cache.glance(command, id, now, view);
            let wait = digest.wait.as_ref().filter(|wait| wait.reports(now));
            let stuck = wait.map(|wait| wait.waiting.since_ns).filter(|_| !ended(command));
            Row { id, command, digest, stuck }
        })
        .filter(|row| view.narrow(now).text(|| haystack(row, view)))
        .collect();
    sort(&mut rows, view, now);
    let most = (buffer.area.height / HEAD).clamp(1, area.height);
    let used = head(buffer, Rect { height: most, ..area }, state, &rows, view, now);
    let above = Rect { height: most - used, ..below(area, used) };
    let used = used + shared(buffer, above, &rows, theme, now);
    let table = below(area, used);
    let widths = widths(table.width);
    let sorted = view.commands.sort.unwrap_or(USUAL);
    let marker = if view.commands.reversed { "▴" } else { "▾" };
    let titles = COLUMNS.iter().enumerate().map(|(index, column)| {
        if index == sorted {
            (format!("{}{marker}", column.title), theme.bold())
        } else {
            (column.title.to_owned(), theme.dim())
        }
    });
    let titles = cells(buffer, line(table, 0), &widths, &titles.collect::<Vec<_>>());
    let legend_at = u16::from(table.height > super::LEGEND_FROM);
    let body = Rect { height: table.height.saturating_sub(1 + legend_at), ..below(table, 1) };
    if legend_at == 1 {
        let phases = rows.iter().take(usize::from(body.height)).flat_map(|row| {
            Phase::ALL.into_iter().filter(|phase| row.digest.split.phase(*phase).blocked_ns > 0)
        });
        let phases: BTreeSet<Phase> = phases.collect();
        super::timeline::legend::phases(buffer, line(table, table.height - 1), phases, theme);
    }
    let chosen = view.commands.row.min(rows.len().saturating_sub(1));
    let first = chosen.saturating_sub(usize::from(body.height).saturating_sub(1));
    for (down, row) in rows.iter().skip(first).take(usize::from(body.height)).enumerate() {
        let place = line(body, down as u16);
        cells(buffer, place, &widths, &of(row, view, now));
        if first + down == chosen {
            buffer.set_style(place, theme.chosen());
        }
        strip(buffer, place, &widths, &row.digest, theme);
    }
    if rows.is_empty() {
        let text = if view.starting {
            "getting ready: what starts now is not seen yet"
        } else if state.commands().next().is_none() {
            "no go command runs: start one in another terminal, for example `go mod download`"
        } else {
            "nothing is left: esc clears the filter, e and w what has ended"
        };
        put(buffer, body, body.x, body.y, text, theme.dim());
    }
    let left = rows.len().saturating_sub(first + usize::from(body.height));
    if left > 0 {
        put_right(buffer, body, body.bottom() - 1, &format!(" {left} more below "), theme.chosen());
    }
    let place = ListPlace { area: body, first, rows: rows.len() };
    let titles = titles.into_iter().filter(|(_, column)| *column < SORTED || *column == USUAL).collect();
    Drawn { place, ids: rows.iter().map(|row| row.id).collect(), titles }
}

fn ended(command: &CommandState) -> bool {
    command.record.as_ref().is_some_and(|record| record.wall_ns.is_some())
}

/// What the filter is matched with: words, and what has a name.
fn haystack(row: &Row<'_>, view: &View) -> String {
    let Some(record) = &row.command.record else { return String::new() };
    let cwd = record.cwd.as_deref().unwrap_or_default();
    let user = user(record, view);
    let mut words = format!("{} {cwd} folder:{cwd} user:{user} {}", words::argv(&record.argv), record.pid);
    if let Some(wait) = &row.digest.wait {
        let host = wait.waiting.host.as_deref().unwrap_or_default();
        words.push_str(&format!(" host:{host} phase:{}", wait.waiting.phase.name()));
    }
    if let Some(code) = record.exit_code {
        words.push_str(&format!(" status:{code}"));
    }
    words
}

fn user(record: &Command, view: &View) -> String {
    record.uid.map_or_else(
        || "?".to_owned(),
        |uid| view.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
    )
}

/// Stuck ones first, the longest of them on top; then those that run; then the ended, latest first.
fn sort(rows: &mut [Row<'_>], view: &View, now: SinceStart) {
    let age = |row: &Row<'_>| {
        let (start, until) = row.command.wall(now);
        until.saturating_sub(start)
    };
    match view.commands.sort {
        None => rows.sort_by_key(|row| {
            let over = ended(row.command);
            let when = if over { SinceStart::MAX - row.command.wall(now).1 } else { Ns::MAX - age(row) };
            (row.stuck.unwrap_or(SinceStart::MAX), over, when)
        }),
        Some(0) => rows.sort_by_key(|row| row.command.record.as_ref().and_then(|record| record.uid)),
        Some(1) => rows.sort_by_key(|row| row.command.record.as_ref().and_then(|record| record.cwd.clone())),
        Some(2) => rows.sort_by_key(|row| Reverse(age(row))),
        Some(_) => {
            rows.sort_by_key(|row| row.command.record.as_ref().map(|record| words::argv(&record.argv)));
        }
    }
    if view.commands.reversed {
        rows.reverse();
    }
}

/// The answer first: how many wait, and how long the longest; then how many there are. Returns its lines.
fn head(
    buffer: &mut Buffer,
    area: Rect,
    state: &State,
    rows: &[Row<'_>],
    view: &View,
    now: SinceStart,
) -> u16 {
    let theme = view.theme;
    let stuck: Vec<SinceStart> = rows.iter().filter_map(|row| row.stuck).collect();
    let text = match stuck.iter().min() {
        Some(since) => {
            let longest = duration(now.saturating_sub(*since));
            format!("{} waiting longer than a second, the longest {longest}", stuck.len())
        }
        None => "none is waiting for anything longer than a second".to_owned(),
    };
    put(buffer, area, area.x, area.y, &text, if stuck.is_empty() { Style::new() } else { theme.bold() });
    if area.height < 2 {
        return 1;
    }
    let place = line(area, 1);
    let taken = loss(buffer, place, &state.loss(), theme);
    let place = Rect { width: place.width.saturating_sub(taken + 1), ..place };
    let running = rows.iter().filter(|row| !ended(row.command)).count();
    let x = put(buffer, place, place.x, place.y, &count(rows.len() as u64, "command"), theme.bold());
    let mut text = format!("  {running} running  {}", clock(now - SinceStart::ZERO));
    if view.hide_ended {
        text.push_str("  ended hidden");
    }
    if let Some(last) = view.last {
        text.push_str(&format!("  last {}", duration(last)));
    }
    put(buffer, place, x, place.y, &text, theme.dim());
    2
}

/// A line for each host that several wait for, at most two; and what to try about the first.
fn shared(buffer: &mut Buffer, area: Rect, rows: &[Row<'_>], theme: Theme, now: SinceStart) -> u16 {
    if area.height == 0 {
        return 0;
    }
    let running = rows.iter().filter(|row| !ended(row.command)).count();
    let mut hosts: BTreeMap<(String, Phase), Vec<&Row<'_>>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.stuck.is_some()) {
        if let Some(wait) = &row.digest.wait {
            let host = wait.waiting.host.clone().unwrap_or_else(|| "an unknown host".to_owned());
            hosts.entry((host, wait.waiting.phase)).or_default().push(row);
        }
    }
    let mut hosts: Vec<_> = hosts.into_iter().filter(|(_, rows)| rows.len() > 1).collect();
    hosts.sort_by_key(|(_, rows)| Reverse(rows.len()));
    let mut used = 0;
    for ((host, phase), together) in hosts.iter().take(usize::from(area.height.min(2))) {
        let place = line(area, used);
        let sign = format!(" {} ", letter(*phase));
        let x = put(buffer, place, place.x, place.y, &sign, theme.on_phase(*phase));
        let since = together.iter().filter_map(|row| row.stuck).min().unwrap_or(now);
        let waits = if *phase == Phase::Lock { "a file lock".to_owned() } else { host.clone() };
        let text = format!(
            " {} of {running} wait for {waits} ({}), the first since {}",
            together.len(),
            phase.name(),
            duration(now.saturating_sub(since))
        );
        put(buffer, place, x, place.y, &text, theme.bold());
        used += 1;
    }
    let stall = rows.iter().find_map(|row| row.digest.stalls.first().filter(|_| row.stuck.is_some()));
    if let Some((how, step)) = stall.and_then(next_step).filter(|_| used < area.height) {
        let place = line(area, used);
        let x = put(buffer, place, place.x, place.y, &format!("{how:<5}"), theme.bold());
        put(buffer, place, x, place.y, step, if how == "try" { theme.command() } else { Style::new() });
        used += 1;
    }
    used
}

fn of(row: &Row<'_>, view: &View, now: SinceStart) -> Vec<(String, Style)> {
    let theme = view.theme;
    let record = row.command.record.as_ref();
    let (start, until) = row.command.wall(now);
    let user = record.map_or_else(|| "?".to_owned(), |record| user(record, view));
    let folder = record.and_then(|record| record.cwd.clone()).unwrap_or_else(|| "?".to_owned());
    let argv = record.map_or_else(|| "not seen".to_owned(), |record| words::argv(&record.argv));
    let (since, what, style) = match (&row.digest.wait, row.stuck) {
        (Some(wait), Some(stuck)) => (
            duration(now.saturating_sub(stuck)),
            wait.waiting.summary.clone(),
            theme.phase(wait.waiting.phase),
        ),
        _ => match sentence(view, row.command, &row.digest, now).0 {
            Status::Waiting(phase, text) => (String::new(), text, theme.phase(phase)),
            Status::Failed(text) => (String::new(), text, theme.bad()),
            Status::Calm(text) => (String::new(), text, theme.dim()),
        },
    };
    vec![
        (user, theme.dim()),
        (folder, Style::new()),
        (duration(until.saturating_sub(start)), Style::new()),
        (argv, theme.bold()),
        (String::new(), Style::new()),
        (since, theme.bold()),
        (what, style),
    ]
}

fn widths(room: u16) -> [u16; COLUMNS.len()] {
    let mut widths = COLUMNS.map(|column| if column.from <= room { column.width } else { 0 });
    if room >= 110 {
        widths[1] += 14;
        widths[3] += 6;
    }
    let used: u16 = widths.iter().filter(|width| **width > 0).map(|width| width + 1).sum();
    widths[COLUMNS.len() - 1] = room.saturating_sub(used);
    widths
}

fn cells(buffer: &mut Buffer, place: Rect, widths: &[u16], cells: &[(String, Style)]) -> Vec<(Rect, usize)> {
    let mut x = place.x;
    let mut places = Vec::new();
    for (index, ((column, room), (text, style))) in COLUMNS.iter().zip(widths).zip(cells).enumerate() {
        if *room == 0 {
            continue;
        }
        let inside = Rect { x, width: *room, ..place }.intersection(place);
        let text = clean(text);
        let middle = matches!(column.title, "folder");
        let text =
            if middle { fit_middle(&text, usize::from(*room)) } else { fit(&text, usize::from(*room)) };
        let indent = if column.right { usize::from(*room).saturating_sub(width(&text)) as u16 } else { 0 };
        put(buffer, inside, inside.x + indent, inside.y, &text, *style);
        places.push((inside, index));
        x += room + 1;
    }
    places
}

/// Where its time went, as letters in the phases' colours.
fn strip(buffer: &mut Buffer, place: Rect, widths: &[u16], digest: &Digest, theme: Theme) {
    if widths[4] == 0 {
        return;
    }
    let x: u16 = widths[..4].iter().filter(|width| **width > 0).map(|width| width + 1).sum();
    for (phase, from, columns) in parts(&digest.split, widths[4]) {
        let text = letter(phase).to_string().repeat(usize::from(columns));
        put(buffer, place, place.x + x + from, place.y, &text, theme.on_phase(phase));
    }
}
