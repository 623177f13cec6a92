//! What the cursor was on, opened: a request, a connection, a query, a process, a host, a finding. In: the
//! command and what was opened. Out: lines, of which those that lead further can be chosen.

mod connection;
mod others;
mod request;

use model::clean::{clean, width};
use model::human::duration;
use model::record::Phase;
use model::report::Stall;
use model::state::CommandState;
use model::time::{Ns, SinceStart};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{line, put, put_right, words, wrap};
use super::tables::Subject;
use super::theme::{Theme, letter};
use super::view::{Opened, Target};

/// Columns of the names at the left, at most.
const NAMES: usize = 12;
/// Lines that lead to others of one sort.
const LINKS: usize = 200;

/// What is needed to describe something.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    /// The command
    pub command: &'a CommandState,
    /// What was found in it
    pub stalls: &'a [Stall],
    /// The present
    pub now: SinceStart,
    /// Colours
    pub theme: Theme,
}

impl Of<'_> {
    fn moment(&self, at: SinceStart) -> String {
        Subject { command: self.command, now: self.now, theme: self.theme }.moment(at)
    }

    fn took(&self, start: SinceStart, end: Option<SinceStart>) -> Ns {
        end.unwrap_or(self.now.min(self.command.wall(self.now).1)).saturating_sub(start)
    }

    /// How long, and that it goes on.
    fn lasted(&self, start: SinceStart, end: Option<SinceStart>) -> String {
        let took = duration(self.took(start, end));
        if end.is_some() { format!("took {took}") } else { format!("open since {took}") }
    }

    /// When, in seconds of the command.
    fn interval(&self, start: SinceStart, end: Option<SinceStart>) -> String {
        let end = end.map_or_else(|| "now".to_owned(), |end| self.moment(end));
        format!("{} to {end} s of the command", self.moment(start))
    }

    /// Findings that were going on then, with that host or of that phase.
    fn findings(&self, page: &mut Page, (start, end): (SinceStart, Option<SinceStart>), host: Option<&str>) {
        for (index, stall) in self.stalls.iter().enumerate() {
            let then = stall.start_ns <= end.unwrap_or(SinceStart::MAX) && stall.end_ns >= start;
            if then && stall.host.is_some() && stall.host.as_deref() == host {
                let text = format!("{}, cost {}", stall.kind, duration(stall.cost_ns));
                page.link("found", &text, self.theme.severity(stall.severity), Target::Stall(index));
            }
        }
    }
}

/// A line.
struct Entry {
    name: String,
    text: Vec<(String, Style)>,
    link: Option<Target>,
}

/// Lines about one thing.
#[derive(Default)]
pub(super) struct Page {
    room: usize,
    entries: Vec<Entry>,
    prev: Option<Target>,
    next: Option<Target>,
    longest: Option<Target>,
}

impl Page {
    /// A sentence, wrapped; empty ones are left out.
    fn say(&mut self, name: &str, text: &str, style: Style) {
        if text.is_empty() {
            return;
        }
        for (index, text) in wrap_hard(text, self.room).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            self.entries.push(Entry { name: name.to_owned(), text: vec![(text, style)], link: None });
        }
    }

    /// Parts with a style each, on as many lines as they take.
    fn parts(&mut self, name: &str, parts: Vec<(String, Style)>) {
        let mut lines: Vec<Vec<(String, Style)>> = vec![Vec::new()];
        let mut used = 0;
        for (text, style) in parts {
            let columns = width(&clean(&text)) + 1;
            if used > 0 && used + columns > self.room {
                lines.push(Vec::new());
                used = 0;
            }
            used += columns;
            lines.last_mut().expect("there is always a line").push((format!("{text} "), style));
        }
        for (index, text) in lines.into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            self.entries.push(Entry { name: name.to_owned(), text, link: None });
        }
    }

    /// A line that leads further. The same name is written once.
    fn link(&mut self, name: &str, text: &str, style: Style, target: Target) {
        let before = self.entries.iter().rev().find(|entry| !entry.name.is_empty());
        let again = before.is_some_and(|entry| entry.name == name && entry.link.is_some());
        let name = if again { "" } else { name }.to_owned();
        self.entries.push(Entry { name, text: vec![(text.to_owned(), style)], link: Some(target) });
    }
}

/// What was drawn.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Details {
    /// What each line that can be chosen leads to; `None` where it only scrolls
    pub lines: Vec<Option<Target>>,
    /// Where they are
    pub places: Vec<(Rect, usize)>,
    /// Those of the same sort before and after it, by start, and the longest
    pub prev: Option<Target>,
    /// Likewise
    pub next: Option<Target>,
    /// Likewise
    pub longest: Option<Target>,
}

/// Draws what was opened.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, of: Of<'_>, opened: &Opened) -> Details {
    let names = NAMES.min(usize::from(area.width) / 4);
    let mut page = Page { room: usize::from(area.width).saturating_sub(names + 2).max(8), ..Page::default() };
    match &opened.target {
        Target::Request(id) => request::describe(&mut page, of, *id),
        Target::Connection(id) => connection::describe(&mut page, of, *id),
        Target::Query(id) => others::query(&mut page, of, *id),
        Target::Process(start, pid) => others::process(&mut page, of, (*start, *pid)),
        Target::Stall(index) => others::stall(&mut page, of, *index),
        Target::Host(host) => connection::host(&mut page, of, host),
    }
    if page.entries.is_empty() {
        page.say("", "it is not known any more: esc goes back", of.theme.dim());
    }
    let height = usize::from(area.height);
    let stops = stops(&page.entries, height.max(1));
    let chosen = stops[opened.line.min(stops.len() - 1)];
    let last = opened.line + 1 >= stops.len();
    let seen = if last { page.entries.len() - 1 } else { chosen };
    let first = (seen + 1).saturating_sub(height).min(page.entries.len().saturating_sub(height)).min(chosen);
    let mut places = Vec::new();
    for (down, at) in (first..page.entries.len()).take(height).enumerate() {
        let (entry, place) = (&page.entries[at], line(area, down as u16));
        let name = Rect { width: names as u16 + 1, ..place };
        put(buffer, name, name.x, name.y, &entry.name, of.theme.dim());
        let x = place.x + names as u16;
        let sign = if entry.link.is_some() { "›" } else { " " };
        let x = put(buffer, place, x, place.y, sign, of.theme.bold()) + 1;
        words(buffer, place, x, place.y, &entry.text);
        if let Some(stop) = stops.iter().position(|stop| *stop == at) {
            places.push((place, stop));
        }
        if at == chosen && entry.link.is_some() {
            buffer.set_style(
                Rect { x: x - 2, width: place.right().saturating_sub(x - 2), ..place },
                of.theme.chosen(),
            );
        }
    }
    let left = page.entries.len().saturating_sub(first + height);
    if left > 0 && height > 0 {
        put_right(buffer, area, area.bottom() - 1, &format!(" {left} more below "), of.theme.chosen());
    }
    let lines = stops.iter().map(|at| page.entries[*at].link.clone()).collect();
    Details { lines, places, prev: page.prev, next: page.next, longest: page.longest }
}

/// Lines that the cursor goes to: those that lead further, and between them as many as it takes to have every
/// line on the screen once, from the first on.
fn stops(entries: &[Entry], height: usize) -> Vec<usize> {
    let first = entries.iter().position(|entry| entry.link.is_some());
    let mut stops = if first.is_some_and(|first| first < height) { Vec::new() } else { vec![0] };
    let mut shown = height;
    for (at, entry) in entries.iter().enumerate().skip(stops.len()) {
        if entry.link.is_some() || at + 1 >= shown + height.saturating_sub(1).max(1) {
            stops.push(at);
            shown = shown.max(at + 1);
        }
    }
    stops
}

/// As [`wrap`], and words that are longer than a line are broken, so that nothing is lost.
fn wrap_hard(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for text in wrap(text, room) {
        let mut current = String::new();
        for letter in text.chars() {
            if width(&current) >= room {
                lines.push(std::mem::take(&mut current));
            }
            current.push(letter);
        }
        lines.push(current);
    }
    lines
}

/// A step with its phase's letter and how long it took.
fn step(theme: Theme, phase: Phase, what: &str, took: Ns) -> (String, Style) {
    (format!(" {} {what} {} ", letter(phase), duration(took)), theme.on_phase(phase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_on_the_screen_at_one_stop_or_another_from_the_first_on() {
        for (links, lines) in [(vec![], 30), (vec![1, 2], 4), (vec![6, 7, 20], 40), (vec![39], 40)] {
            let link = |at| links.contains(&at).then(|| Target::Host("proxy.test".into()));
            let entries =
                (0..lines).map(|at| Entry { name: String::new(), text: Vec::new(), link: link(at) });
            let entries: Vec<Entry> = entries.collect();
            for height in [1, 2, 5, 12] {
                let stops = stops(&entries, height);
                assert!(links.iter().all(|at| stops.contains(at)), "{stops:?}");
                let mut seen = height; // from the top on
                for stop in &stops {
                    assert!(*stop < seen + height, "{height} lines, {links:?}: {stops:?}");
                    seen = seen.max(stop + 1);
                }
                assert!(stops[0] < height, "{stops:?}");
                assert!(lines <= seen + height, "{height} lines, {links:?}: {stops:?}");
            }
        }
    }
}
