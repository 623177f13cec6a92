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

use super::canvas::{below, line, put, put_right, words, wrap};
use super::digest::Digest;
use super::tables::Subject;
use super::theme::{Theme, letter, short};
use super::view::View;

/// What the top shows of a stall's sentence, and of each step against it; the whole is in the view
/// of the stalls.
const SUMMARY_LINES: usize = 2;
const STEP_LINES: usize = 2;
/// What failed for less than this did not wait: as short as a stall that is worth no warning.
const AT_ONCE_NS: Ns = 250_000_000;

/// A clock: `00:14.2`, `1:02:03.4`.
pub(super) fn clock(ns: Ns) -> String {
    let tenths = ns / 100_000_000;
    let (hours, minutes, seconds) = (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60);
    let rest = format!("{minutes:02}:{seconds:02}.{}", tenths % 10);
    if hours > 0 { format!("{hours}:{rest}") } else { rest }
}

/// Draws it; returns how many lines it took.
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
    title(buffer, line(area, 0), view, state, command, now);
    let mut used = 1 + status(buffer, below(area, 1), view, command, digest, now);
    bar(buffer, line(area, used), &digest.split, theme);
    used += 1;
    if let Some(stall) = digest.stalls.first() {
        used +=
            finding(buffer, below(area, used), stall, digest.stalls.len(), Subject { command, now, theme });
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

/// What is waited for, and what is known about it: two lines each where they are needed.
fn status(
    buffer: &mut Buffer,
    area: Rect,
    view: &View,
    command: &CommandState,
    digest: &Digest,
    now: SinceStart,
) -> u16 {
    let theme = view.theme;
    let (what, why) = sentence(view, command, digest, now);
    let (text, style) = match &what {
        Status::Waiting(phase, text) => {
            let sign = format!(" {} ", letter(*phase));
            put(buffer, area, area.x, area.y, &sign, theme.on_phase(*phase));
            (text, theme.bold())
        }
        Status::Failed(text) => (text, theme.bad()),
        Status::Calm(text) => (text, Style::new()),
    };
    let indent = if matches!(what, Status::Waiting(..)) { 4 } else { 0 };
    let used = wrapped(buffer, area, indent, text, style);
    used + wrapped(buffer, below(area, used), 4, &why, theme.dim())
}

/// A sentence on at most two lines; returns how many.
fn wrapped(buffer: &mut Buffer, area: Rect, indent: u16, text: &str, style: Style) -> u16 {
    let lines = wrap(text, usize::from(area.width.saturating_sub(indent)));
    // What is too long for two lines ends with the sign that it is.
    let rest = lines.get(1..).map(|rest| rest.join(" ")).filter(|rest| !rest.is_empty());
    let lines: Vec<String> = lines.first().cloned().into_iter().chain(rest).collect();
    for (down, text) in lines.iter().enumerate() {
        let place = line(area, down as u16);
        put(buffer, place, place.x + indent, place.y, text, style);
    }
    lines.len() as u16
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
fn finding(buffer: &mut Buffer, area: Rect, stall: &Stall, of: usize, subject: Subject<'_>) -> u16 {
    let theme = subject.theme;
    let style = theme.severity(stall.severity);
    let sign = match stall.severity {
        Severity::Critical => "▲ ",
        Severity::Warning => "△ ",
        Severity::Info => "· ",
    };
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
    let first = line(area, 0);
    let x = words(buffer, first, first.x, first.y, &[(sign, style), (stall.kind.as_str(), style)]);
    let x = put(buffer, first, x, first.y, &format!("  {}", facts.join(" · ")), Style::new());
    // The tabs below say how many there are, too.
    if of > 1 {
        let room = usize::from(first.right().saturating_sub(x));
        let mut more = [format!("  +{} more", of - 1), format!(" +{}", of - 1)].into_iter();
        let more = more.find(|more| width(more) <= room).unwrap_or_default();
        put_right(buffer, first, first.y, &more, theme.dim());
    }
    let mut used = 1;
    for text in wrap(&stall.summary, usize::from(area.width).saturating_sub(2)).iter().take(SUMMARY_LINES) {
        let place = line(area, used);
        put(buffer, place, place.x + 2, place.y, text, theme.dim());
        used += 1;
    }
    // Of what cost next to nothing only what can be tried.
    if stall.severity != Severity::Info {
        used += step(buffer, below(area, used), "do", &stall.advice, Style::new(), theme);
    }
    if let Some(remedy) = stall.remedies.first() {
        let what = format!("{}: {}", remedy.name, remedy.why);
        used += step(buffer, below(area, used), "try", &what, Style::new(), theme);
        used += step(buffer, below(area, used), "", &remedy.attempt, theme.command(), theme);
    }
    used
}

/// What can be done, on as many lines as there are for it; of a command the end says that it is longer.
fn step(buffer: &mut Buffer, area: Rect, how: &str, text: &str, style: Style, theme: Theme) -> u16 {
    let lines = wrap(text, usize::from(area.width).saturating_sub(7));
    let shown = if text.is_empty() { 0 } else { lines.len() };
    let shown = shown.min(STEP_LINES).min(usize::from(area.height));
    for (down, text) in lines.iter().take(shown).enumerate() {
        let place = line(area, down as u16);
        if down == 0 {
            put(buffer, place, place.x + 2, place.y, how, theme.bold());
        }
        put(buffer, place, place.x + 7, place.y, text, style);
        if down + 1 == shown && lines.len() > shown && how.is_empty() {
            put_right(buffer, place, place.y, "… y copies it whole", theme.dim());
        }
    }
    shown as u16
}

#[cfg(test)]
mod tests {
    use model::phases::{Input, split};
    use model::stall::StallKind;

    use super::*;

    #[test]
    fn a_clock_counts_hours_when_there_are_some() {
        assert_eq!(clock(14_290_000_000), "00:14.2");
        assert_eq!(clock(3_723_400_000_000), "1:02:03.4");
    }

    #[test]
    fn the_parts_of_the_bar_fill_the_line() {
        let operations = [];
        let input = Input {
            wall: (SinceStart(0), SinceStart(1000)),
            idle: &[(SinceStart(0), SinceStart(900))],
            local: None,
            operations: &operations,
            ..Input::default()
        };
        let split = split(&input);
        for columns in [2, 10, 79, 80, 200] {
            let parts = parts(&split, columns);
            assert_eq!(parts.iter().map(|(_, _, width)| width).sum::<u16>(), columns);
        }
    }

    #[test]
    fn a_finding_names_host_phase_since_when_and_the_line_to_try() {
        let remedy = model::report::Remedy {
            name: "dns-cache".into(),
            why: "answers from memory".into(),
            attempt:
                "goobserve compare --with dns-cache --with resolv=options\\ timeout:1 -- go mod download"
                    .into(),
        };
        let stall = Stall {
            kind: StallKind::DnsTimeout.into(),
            phase: Phase::Dns,
            host: Some("127.77.1.1:53".into()),
            severity: Severity::Critical,
            start_ns: SinceStart(6_000_000),
            end_ns: SinceStart(5_006_000_000),
            cost_ns: 4_980_000_000,
            summary: "a query was not answered for 5 s and retried".into(),
            evidence: Vec::new(),
            advice: String::new(),
            fatal: false,
            remedies: vec![remedy.clone()],
        };
        let area = Rect::new(0, 0, 80, 9);
        let mut buffer = Buffer::empty(area);
        let subject = Subject {
            command: &CommandState::default(),
            now: SinceStart(9_000_000_000),
            theme: Theme::default(),
        };
        let used = finding(&mut buffer, area, &stall, 3, subject);
        let row = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let shown = (0..used).map(row).collect::<Vec<_>>().join(" ");
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["dns-timeout", "cost 4.98 s", "dns ·", "127.77.1.1:53", "0.006 to 5.006 s", "+2 more"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let tried = format!("try dns-cache: answers from memory {}", remedy.attempt);
        assert!(shown.contains(&tried), "{shown}");
        assert!(!shown.contains("y copies it whole"), "{shown}");
    }

    #[test]
    fn only_what_likely_made_a_command_fail_is_said_to() {
        let mut stall = Stall {
            kind: StallKind::DnsError.into(),
            phase: Phase::Dns,
            host: None,
            severity: Severity::Critical,
            start_ns: SinceStart(5_000_000),
            end_ns: SinceStart(8_000_000),
            cost_ns: 2_000_000,
            summary: "it answered SERVFAIL".into(),
            evidence: Vec::new(),
            advice: "ask its owner".into(),
            fatal: true,
            remedies: Vec::new(),
        };
        let area = Rect::new(0, 0, 80, 5);
        let shown = |stall: &Stall| {
            let mut buffer = Buffer::empty(area);
            let subject = Subject {
                command: &CommandState::default(),
                now: SinceStart(9_000_000),
                theme: Theme::default(),
            };
            finding(&mut buffer, area, stall, 1, subject);
            buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
        };
        let failed = shown(&stall);
        assert!(failed.contains("likely why it failed · dns · at 0.005 s"), "{failed}");
        assert!(failed.contains("do   ask its owner"), "{failed}");
        // A large part of a short run is critical, and no reason to fail.
        stall.fatal = false;
        let large = shown(&stall);
        assert!(large.contains("cost 2.00 ms · dns · 0.005 to 0.008 s"), "{large}");
    }

    #[test]
    fn a_command_that_is_shown_in_part_says_so() {
        let area = Rect::new(0, 0, 80, 9);
        let attempt =
            format!("goobserve compare --with http1 -- go mod download{}", " a.test/m@v1.0.0".repeat(20));
        let remedy = model::report::Remedy { name: "http1".into(), why: "a connection each".into(), attempt };
        let stall = Stall {
            kind: StallKind::H2LossBlocksAll.into(),
            phase: Phase::Proxy,
            host: None,
            severity: Severity::Warning,
            start_ns: SinceStart(0),
            end_ns: SinceStart(1),
            cost_ns: 1,
            summary: "segments were lost".into(),
            evidence: Vec::new(),
            advice: String::new(),
            fatal: false,
            remedies: vec![remedy],
        };
        let mut buffer = Buffer::empty(area);
        let subject =
            Subject { command: &CommandState::default(), now: SinceStart(9), theme: Theme::default() };
        let used = finding(&mut buffer, area, &stall, 1, subject);
        let last = (0..80).map(|x| buffer[(x, used - 1)].symbol()).collect::<String>();
        assert!(last.ends_with("… y copies it whole"), "{last}");
    }
}
