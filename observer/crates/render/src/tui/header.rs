//! The top of a command's screen. It always answers: what is it waiting for right now, since
//! when, why; where did its time go; what was found, and what can be tried.

use model::clean::{clean, fit, width};
use model::human::{count, duration, percent};
use model::id::CommandId;
use model::phases::Split;
use model::record::{Command, Loss, Phase};
use model::report::{Severity, Stall};
use model::state::{CommandState, State};
use model::time::{Ns, SinceStart};
use model::words as plain;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::{line, put, put_right, words, wrap};
use super::digest::Digest;
use super::tables::Subject;
use super::theme::{Theme, letter, short};
use super::view::View;

/// What failed for less than this did not wait: as short as a stall that is worth no warning.
const AT_ONCE_NS: Ns = 250_000_000;

/// A clock: `00:14.2`, `1:02:03.4`.
pub(super) fn clock(ns: Ns) -> String {
    let tenths = ns / 100_000_000;
    let (hours, minutes, seconds) = (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60);
    let rest = format!("{minutes:02}:{seconds:02}.{}", tenths % 10);
    if hours > 0 { format!("{hours}:{rest}") } else { rest }
}

/// Draws one line.
type Drawing<'a> = Box<dyn Fn(&mut Buffer, Rect) + 'a>;

/// A line of the header, or a sentence of several.
enum Block<'a> {
    /// A sentence: what stands before it and in which style, its columns, its style
    Text { sign: (String, Style), indent: u16, text: String, style: Style },
    /// A line of its own
    Line(Drawing<'a>),
}

/// A block with the rank of each line that it may take: the lowest ranks get the room.
type Ranked<'a> = (Block<'a>, Vec<u8>);

/// Draws as much of it as the area has lines for, the answer first; returns how many it took.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View,
    state: &State,
    command: &CommandState,
    digest: &Digest,
    now: SinceStart,
) -> u16 {
    let theme = view.theme;
    let mut blocks = status(view, command, digest, now);
    if let Some(stall) = digest.stalls.first() {
        let subject = Subject { command, now, theme };
        blocks.extend(finding(stall, digest.stalls.len(), subject));
    }
    let title = move |buffer: &mut Buffer, place: Rect| title(buffer, place, view, state, command, now);
    // That something was not seen must be known before anything is believed.
    let lost = state.loss() != Loss::default();
    blocks.push((Block::Line(Box::new(title)), vec![if lost { 1 } else { 3 }]));
    let bar = |buffer: &mut Buffer, place: Rect| bar(buffer, place, &digest.split, theme);
    blocks.push((Block::Line(Box::new(bar)), vec![5]));
    stack(buffer, area, &blocks)
}

/// Draws blocks below one another; what has no room is left out, and a sentence that has not all of its own ends
/// with the sign of that.
fn stack(buffer: &mut Buffer, area: Rect, blocks: &[Ranked<'_>]) -> u16 {
    let lines: Vec<Vec<String>> = blocks
        .iter()
        .map(|(block, _)| match block {
            Block::Text { indent, text, .. } => {
                wrap(text, usize::from(area.width.saturating_sub(*indent)).max(1))
            }
            Block::Line(_) => vec![String::new()],
        })
        .collect();
    let mut wanted: Vec<(u8, usize)> = Vec::new();
    for (index, (_, ranks)) in blocks.iter().enumerate() {
        wanted.extend(ranks.iter().take(lines[index].len()).map(|rank| (*rank, index)));
    }
    wanted.sort_unstable();
    wanted.truncate(usize::from(area.height));
    let mut used = 0;
    for (index, (block, _)) in blocks.iter().enumerate() {
        let own = wanted.iter().filter(|(_, of)| *of == index).count();
        match block {
            Block::Line(draw) if own > 0 => draw(buffer, line(area, used)),
            Block::Text { sign, indent, style, .. } if own > 0 => {
                put(buffer, line(area, used), area.x, area.y + used, &sign.0, sign.1);
                for (down, text) in lines[index].iter().take(own).enumerate() {
                    let place = line(area, used + down as u16);
                    // What is too long ends with the sign that it is.
                    let rest = (down + 1 == own).then(|| lines[index][down..].join(" "));
                    put(buffer, place, place.x + indent, place.y, rest.as_ref().unwrap_or(text), *style);
                }
            }
            _ => {}
        }
        used += own as u16;
    }
    used
}

/// What is lost of an observation, in red when something is.
pub(super) fn loss(buffer: &mut Buffer, place: Rect, loss: &Loss, theme: Theme) -> u16 {
    let lost = loss.kernel_events_lost + loss.events_undecoded;
    let parts = [
        (lost, format!("UNSEEN {lost} events")),
        (loss.connections_joined_late, format!("{} joined late", loss.connections_joined_late)),
        (loss.programs_unexamined, format!("{} not examined", loss.programs_unexamined)),
        (loss.program_runs_skipped, format!("{} skipped", loss.program_runs_skipped)),
        (loss.tracepoints_unattached, format!("{} not attached", loss.tracepoints_unattached)),
        (loss.socket_lookups_failed, "open sockets unknown".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(_, text)| text).collect();
    let (text, style) = if parts.is_empty() {
        ("unseen 0".to_owned(), theme.dim())
    } else {
        (format!(" {} ", parts.join(", ")), theme.alarm())
    };
    put_right(buffer, place, place.y, &text, style);
    width(&text) as u16
}

fn title(
    buffer: &mut Buffer,
    place: Rect,
    view: &View,
    state: &State,
    command: &CommandState,
    now: SinceStart,
) {
    let theme = view.theme;
    let taken = loss(buffer, place, &state.loss(), theme);
    let place = Rect { width: place.width.saturating_sub(taken + 1), ..place };
    let record = command.record.as_ref();
    let (start, until) = command.wall(now);
    let others = command.processes.values().filter(|process| process.end_ns.is_none()).count();
    let name = record.map_or_else(|| "command not seen".to_owned(), |record| plain::argv(&record.argv));
    let mut facts = vec![clock(until.saturating_sub(start))];
    facts.insert(0, record.map_or_else(String::new, |record| format!("pid {}", record.pid)));
    if others > 1 {
        facts[0].push_str(&format!(" +{}", others - 1));
    }
    facts.push(count(command.requests.len() as u64, "request"));
    facts.push(count(command.connections.len() as u64, "connection"));
    facts.push(format!("{} dns", command.dns.len()));
    // The rightmost facts go first where the line is short, then the end of the command.
    let room = usize::from(place.width);
    let needed = |facts: &[String]| facts.iter().map(|fact| fact.len() + 2).sum::<usize>();
    while facts.len() > 2 && needed(&facts) + width(&clean(&name)).min(30) > room {
        facts.pop();
    }
    let name = clean(&name);
    let name = fit(&name, room.saturating_sub(needed(&facts)));
    let mut x = put(buffer, place, place.x, place.y, &name, theme.bold());
    for (index, fact) in facts.iter().enumerate() {
        let style = if index == 1 { theme.bold() } else { theme.dim() };
        x = put(buffer, place, x, place.y, "  ", Style::new());
        x = put(buffer, place, x, place.y, fact, style);
    }
}

/// What is waited for, and what is known about it.
fn status<'a>(view: &View, command: &CommandState, digest: &Digest, now: SinceStart) -> Vec<Ranked<'a>> {
    let theme = view.theme;
    let (what, why) = sentence(view, command, digest, now);
    let (sign, text, style) = match what {
        Status::Waiting(phase, text) => {
            ((format!(" {} ", letter(phase)), theme.on_phase(phase)), text, theme.bold())
        }
        Status::Failed(text) => ((String::new(), Style::new()), text, theme.bad()),
        Status::Calm(text) => ((String::new(), Style::new()), text, theme.bold()),
    };
    let indent = if sign.0.is_empty() { 0 } else { 4 };
    let mut blocks = vec![(Block::Text { sign, indent, text, style }, vec![0, 6])];
    if !why.is_empty() {
        let none = (String::new(), Style::new());
        blocks.push((Block::Text { sign: none, indent: 4, text: why, style: theme.dim() }, vec![4, 9]));
    }
    blocks
}

/// What the first line says.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Status {
    /// It waits
    Waiting(Phase, String),
    /// It has ended, and not well
    Failed(String),
    /// Nothing to worry about
    Calm(String),
}

/// What is waited for, and why.
pub(super) fn sentence(
    view: &View,
    command: &CommandState,
    digest: &Digest,
    now: SinceStart,
) -> (Status, String) {
    if let Some(record) = command.record.as_ref().filter(|record| record.wall_ns.is_some()) {
        return over(record, digest);
    }
    let awake =
        view.asleep.get(&command.record.as_ref().map_or(CommandId(0), |record| record.id)) == Some(&None);
    match &digest.wait {
        Some(wait) if wait.reports(now) => {
            let waiting = &wait.waiting;
            let because = waiting.because.as_deref().map(|why| format!(", because {why}"));
            let so_far = duration(now.saturating_sub(waiting.since_ns));
            let text = format!("waiting {so_far} for {}{}", waiting.summary, because.unwrap_or_default());
            let host = waiting.host.clone().into_iter();
            let since =
                format!("since {} s", Subject { command, now, theme: view.theme }.moment(waiting.since_ns));
            let parts: Vec<String> = [waiting.phase.name().to_owned()]
                .into_iter()
                .chain(host)
                .chain([since])
                .chain(wait.why.iter().cloned())
                .collect();
            (Status::Waiting(waiting.phase, text), parts.join(" · "))
        }
        Some(wait) => {
            let host = wait.waiting.host.as_deref().unwrap_or("an unknown host");
            let text = format!(
                "moving: {} in flight, none waiting for a second yet",
                count(digest.in_flight as u64, "operation")
            );
            let why =
                format!("{} · {host} · {} requests done", wait.waiting.phase.name(), digest.requests_done);
            (Status::Calm(text), why)
        }
        None if awake => {
            let local = digest.split.phase(Phase::Local).blocked_ns;
            let share = percent(local, digest.split.wall_ns);
            let text = "working on this machine, not waiting for the network".to_owned();
            (Status::Calm(text), format!("local · CPU and disk are {share} of its time so far"))
        }
        None => {
            let text = "nothing in flight: not waiting for anything that can be seen".to_owned();
            (Status::Calm(text), String::new())
        }
    }
}

fn over(record: &Command, digest: &Digest) -> (Status, String) {
    let wall = digest.split.wall_ns;
    let well = record.exit_code == Some(0) && record.signal.is_none();
    let ended = if well || record.signal.is_some() { "ended" } else { "failed" };
    let mut text =
        format!("{ended} after {}, {}", duration(wall), plain::ending(true, record.exit_code, record.signal));
    let fatal = digest.stalls.iter().find(|stall| stall.fatal).filter(|_| ended == "failed");
    match fatal {
        Some(stall) => text.push_str(&format!(", likely because of {}", stall.kind)),
        // Who looks is not to take what cost time for the reason.
        None if ended == "failed" => text.push_str("; why is in what go printed"),
        None => {}
    }
    // Where the time of what failed at once went is beside the point.
    if fatal.is_some_and(is_at_once) {
        return (Status::Failed(text), String::new());
    }
    let waited = Phase::ALL.into_iter().filter(|phase| *phase != Phase::Local);
    let most = waited.max_by_key(|phase| (digest.split.phase(*phase).blocked_ns, std::cmp::Reverse(*phase)));
    let why = most.map_or_else(String::new, |phase| {
        let blocked = digest.split.phase(phase).blocked_ns;
        if blocked == 0 {
            return "it waited for nothing".to_owned();
        }
        let local = digest.split.phase(Phase::Local).blocked_ns;
        let machine = format!("this machine {}", percent(local, wall));
        let (took, share) = (duration(blocked), percent(blocked, wall));
        if phase == Phase::Unexplained {
            return format!("nothing was seen in flight for {took}, {share} of the time; {machine}");
        }
        let what = plain::phase(phase).trim_start_matches("waiting for ");
        if local > blocked {
            return format!("{machine} of the time; waiting most for {what}: {took}, {share}");
        }
        format!("waiting most for {what}: {took}, {share} of the time; {machine}")
    });
    (if well { Status::Calm(text) } else { Status::Failed(text) }, why)
}

/// The phases as parts of one line, named where there is room.
pub(super) fn bar(buffer: &mut Buffer, place: Rect, split: &Split, theme: Theme) {
    for (phase, from, columns) in parts(split, place.width) {
        let inside = Rect { x: place.x + from, width: columns, ..place };
        let on = theme.on_phase(phase);
        buffer.set_style(inside, on);
        let share = percent(split.phase(phase).blocked_ns, split.wall_ns);
        let whole = format!("{} {share}", short(phase));
        let initial = letter(phase).to_string();
        let text =
            [&whole, short(phase), &initial].into_iter().find(|text| width(text) <= usize::from(columns));
        put(buffer, inside, inside.x, inside.y, text.unwrap_or_default(), on);
        // The edge between two parts, for eyes and terminals that see no colours.
        if columns > 1 {
            buffer[(inside.right() - 1, inside.y)].set_symbol("▕").set_style(on);
        }
    }
}

/// Phases with their first column and how many they have; together all, the least at least one.
pub(super) fn parts(split: &Split, columns: u16) -> Vec<(Phase, u16, u16)> {
    let some: Vec<(Phase, Ns)> = Phase::ALL
        .into_iter()
        .map(|phase| (phase, split.phase(phase).blocked_ns))
        .filter(|(_, blocked)| *blocked > split.wall_ns / 1000)
        .collect();
    let whole: Ns = some.iter().map(|(_, blocked)| *blocked).sum();
    if whole == 0 || usize::from(columns) < some.len() {
        return Vec::new();
    }
    let free = u128::from(columns) - some.len() as u128;
    let (mut before, mut parts, mut x) = (0u128, Vec::new(), 0u16);
    for (phase, blocked) in some {
        let from = before * free / u128::from(whole);
        before += u128::from(blocked);
        let width = (before * free / u128::from(whole) - from) as u16 + 1;
        parts.push((phase, x, width));
        x += width;
    }
    parts
}

/// What ends a command at once costs it little time, and everything.
fn is_at_once(stall: &Stall) -> bool {
    stall.fatal && stall.cost_ns < AT_ONCE_NS
}

/// The worst that was found, what to do, and the command to try.
fn finding<'a>(stall: &'a Stall, of: usize, subject: Subject<'a>) -> Vec<Ranked<'a>> {
    let theme = subject.theme;
    let style = theme.severity(stall.severity);
    let facts = facts(stall, subject);
    let first = move |buffer: &mut Buffer, first: Rect| {
        let sign = match stall.severity {
            Severity::Critical => "▲ ",
            Severity::Warning => "△ ",
            Severity::Info => "· ",
        };
        let x = words(buffer, first, first.x, first.y, &[(sign, style), (stall.kind.as_str(), style)]);
        let x = put(buffer, first, x, first.y, &format!("  {facts}"), Style::new());
        // The tabs below say how many there are, too.
        if of > 1 {
            let room = usize::from(first.right().saturating_sub(x));
            let mut more = [format!("  +{} more", of - 1), format!(" +{}", of - 1)].into_iter();
            let more = more.find(|more| width(more) <= room).unwrap_or_default();
            put_right(buffer, first, first.y, &more, theme.dim());
        }
    };
    let text = |how: &str, indent: u16, text: &str, style: Style| Block::Text {
        sign: (format!("  {how}"), theme.bold()),
        indent,
        text: text.to_owned(),
        style,
    };
    let remedy = stall.remedies.first();
    let mut blocks: Vec<Ranked<'a>> = vec![
        (Block::Line(Box::new(first)), vec![1]),
        (text("", 2, &stall.summary, theme.dim()), vec![7, 10]),
    ];
    // Of what cost next to nothing only what can be tried.
    if stall.severity != Severity::Info && !stall.advice.is_empty() {
        let ranks = if remedy.is_none() { vec![2, 8, 11] } else { vec![8, 12] };
        blocks.push((text("do", 7, &stall.advice, Style::new()), ranks));
    }
    if let Some(remedy) = remedy {
        blocks.push((text("", 7, &format!("{}: {}", remedy.name, remedy.why), Style::new()), vec![7, 11]));
        blocks.push((text("try", 7, &remedy.attempt, theme.command()), vec![2, 9, 13]));
    }
    blocks
}

/// What it cost, of whom, and when.
fn facts(stall: &Stall, subject: Subject<'_>) -> String {
    let at_once = is_at_once(stall);
    let cost = (stall.cost_ns > 0).then(|| format!("cost {}", duration(stall.cost_ns)));
    let cost = if at_once { Some("likely why it failed".to_owned()) } else { cost };
    let mut facts: Vec<String> = cost.into_iter().chain([stall.phase.name().to_owned()]).collect();
    facts.extend(stall.host.clone());
    facts.push(if at_once {
        format!("at {} s", subject.moment(stall.start_ns))
    } else if stall.end_ns >= subject.now {
        format!("since {} s", subject.moment(stall.start_ns))
    } else {
        format!("{} to {} s", subject.moment(stall.start_ns), subject.moment(stall.end_ns))
    });
    facts.join(" · ")
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
