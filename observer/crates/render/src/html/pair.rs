//! Two reports and their states in, one page out with both side by side: what each took, by phase and by
//! request, and both waterfalls to the same scale.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use model::human::{count, duration, percent};
use model::record::Phase;
use model::report::{Command, Report};
use model::state::State;
use model::time::{Ns, SinceStart};
use model::words;

use super::draw::{self, swatch};
use super::table::Table;
use super::{drawing, foot, head, missed, stalls, when_and_where};
use crate::markup::escape;
use crate::result::{self, sentence};
use crate::waterfall::waterfall;

/// Bars of each waterfall.
const BARS: usize = 2_500;
/// Rows of the table of requests.
const ROWS: usize = 200;

/// One side.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it is called: its file
    pub name: &'a str,
    /// What was observed
    pub report: &'a Report,
    /// What it was made of
    pub state: &'a State,
}

/// The command that took longest: the one that is compared.
fn longest(report: &Report) -> Option<&Command> {
    report.commands.iter().max_by_key(|command| (command.wall_ns, Reverse(command.id)))
}

/// The page. Of each side its longest command is taken.
pub fn pair(a: Side<'_>, b: Side<'_>) -> String {
    let mut out = head(&format!("{} and {}", a.name, b.name));
    let _ = writeln!(out, "<h1>{} and {}</h1>", escape(a.name), escape(b.name));
    let sides = [("A", a), ("B", b)];
    let (Some(one), Some(other)) = (longest(a.report), longest(b.report)) else {
        out.push_str("<p class=\"answer\">In one of the recordings no go command was observed.</p>\n");
        foot(&mut out, b.report);
        return out;
    };
    let commands = [one, other];
    let _ = writeln!(out, "<p class=\"answer\">{}</p>", escape(&answer(one, other)));
    out.push_str("<div class=\"pair\">\n");
    for ((letter, side), command) in sides.into_iter().zip(commands) {
        let _ = writeln!(out, "<div>\n<h2><span class=\"lead\">{letter}</span> {}</h2>", escape(side.name));
        when_and_where(&mut out, side.report);
        let _ = writeln!(out, "<p><code>{}</code></p>", escape(&words::argv(&command.argv)));
        missed(&mut out, side.report, Some(command.id));
        let ended = words::ending(command.ended, command.exit_code, command.signal);
        let worst = result::answer(command).worst.map_or_else(
            || "No stall was detected.".to_owned(),
            |stall| {
                format!("{} {}", stalls::explained(stall.kind.as_str()), escape(&sentence(&stall.summary)))
            },
        );
        let _ = writeln!(out, "<p>{}, {}. {worst}</p>\n</div>", duration(command.wall_ns), escape(&ended));
    }
    out.push_str("</div>\n");
    phases(&mut out, one, other);
    waterfalls(&mut out, sides, commands);
    requests(&mut out, (a.report, one), (b.report, other));
    let kinds: BTreeSet<String> = commands
        .iter()
        .flat_map(|command| &command.stalls)
        .map(|stall| stall.kind.as_str().to_owned())
        .collect();
    stall_table(&mut out, commands, &kinds);
    stalls::meanings(&mut out, &kinds);
    foot(&mut out, b.report);
    out
}

/// Which took longer, by how much, and in which phases.
fn answer(a: &Command, b: &Command) -> String {
    let (slower, longer) = if b.wall_ns >= a.wall_ns { ("B", b) } else { ("A", a) };
    let shorter = a.wall_ns.min(b.wall_ns);
    let mut text = format!(
        "{slower} took {} longer: {} and {}.",
        duration(longer.wall_ns - shorter),
        duration(a.wall_ns),
        duration(b.wall_ns)
    );
    let mut moved: Vec<(Phase, i128)> =
        Phase::ALL.into_iter().map(|phase| (phase, change(blocked(a, phase), blocked(b, phase)))).collect();
    moved.sort_by_key(|(_, by)| Reverse(by.abs()));
    let most: Vec<String> = moved
        .iter()
        .filter(|(_, by)| *by != 0)
        .take(3)
        .map(|(phase, by)| format!("{} {}", phase.name(), signed(*by)))
        .collect();
    if !most.is_empty() {
        let _ = write!(text, " From A to B: {}.", most.join(", "));
    }
    text
}

fn blocked(command: &Command, phase: Phase) -> Ns {
    command.phases.iter().find(|share| share.phase == phase).map_or(0, |share| share.blocked_ns)
}

fn change(a: Ns, b: Ns) -> i128 {
    i128::from(b) - i128::from(a)
}

/// `+1.20 s`, `−340 µs`, `0`.
fn signed(by: i128) -> String {
    let size = duration(u64::try_from(by.unsigned_abs()).unwrap_or(u64::MAX));
    match by {
        0 => "0".to_owned(),
        1.. => format!("+{size}"),
        _ => format!("−{size}"),
    }
}

fn phases(out: &mut String, a: &Command, b: &Command) {
    out.push_str("<h2>Where the time went</h2>\n");
    for (letter, command) in [("A", a), ("B", b)] {
        // Both to the same scale.
        let width = command.wall_ns as f64 * 96.0 / a.wall_ns.max(b.wall_ns).max(1) as f64;
        let _ = writeln!(
            out,
            "<svg class=\"draw\" height=\"34\" role=\"img\" aria-label=\"Phases of {letter}\"><text x=\"0\" y=\"20\" font-weight=\"700\">{letter}</text><svg x=\"2%\" y=\"0\" width=\"{width:.2}%\" height=\"30\">"
        );
        draw::phases(out, command);
        out.push_str("</svg></svg>\n");
    }
    let mut table = Table::new(&["phase", "what", "#A", "#of A", "#B", "#of B", "#change"]);
    for phase in Phase::ALL {
        let (of_a, of_b) = (blocked(a, phase), blocked(b, phase));
        if of_a == 0 && of_b == 0 {
            continue;
        }
        table
            .raw(&format!("{}{}", swatch(phase), phase.name()))
            .cell(words::phase(phase))
            .cell(&duration(of_a))
            .cell(&percent(of_a, a.wall_ns))
            .cell(&duration(of_b))
            .cell(&percent(of_b, b.wall_ns))
            .cell(&signed(change(of_a, of_b)));
    }
    table.write(out, 0, "", "");
}

fn waterfalls(out: &mut String, sides: [(&str, Side<'_>); 2], commands: [&Command; 2]) {
    let states = [0, 1].map(|at| sides[at].1.state.command(commands[at].id));
    let span = commands.iter().map(|command| command.wall_ns).max().unwrap_or_default();
    out.push_str("<div class=\"pair\">\n");
    for (((letter, side), command), state) in sides.into_iter().zip(commands).zip(states) {
        out.push_str("<div>\n");
        if let Some(of) = state {
            let mut waterfall = waterfall(of, side.state.until(), BARS);
            waterfall.end_ns = SinceStart(waterfall.start_ns.0.saturating_add(span));
            drawing(out, command, &waterfall, &format!("{letter}: what happened when"));
        }
        out.push_str("</div>\n");
    }
    out.push_str("</div>\n");
}

/// Requests for the same thing, by class, host and subject: how long all of them took.
fn by_subject(report: &Report, command: &Command) -> BTreeMap<(&'static str, String), (usize, Ns)> {
    let end = command.start_ns.saturating_add(command.wall_ns);
    let mut of: BTreeMap<_, (usize, Ns)> = BTreeMap::new();
    for request in report.requests.iter().filter(|request| request.command == command.id) {
        let subject = words::subject(
            request.module.as_deref(),
            request.version.as_deref(),
            request.authority.as_deref(),
            request.path.as_deref(),
        );
        let entry = of.entry((words::class(request.class), subject)).or_default();
        entry.0 += 1;
        entry.1 += request.end_ns.unwrap_or(end).saturating_sub(request.start_ns);
    }
    of
}

fn requests(out: &mut String, a: (&Report, &Command), b: (&Report, &Command)) {
    let (of_a, of_b) = (by_subject(a.0, a.1), by_subject(b.0, b.1));
    let all: BTreeSet<_> = of_a.keys().chain(of_b.keys()).collect();
    if all.is_empty() {
        return;
    }
    let alone = |one: &BTreeMap<_, _>, other: &BTreeMap<_, _>| {
        one.keys().filter(|key| !other.contains_key(*key)).count() as u64
    };
    let (only_a, only_b) = (alone(&of_a, &of_b), alone(&of_b, &of_a));
    let both = all.len() as u64 - only_a - only_b;
    let _ = writeln!(
        out,
        "<h2>Requests</h2>\n<p>{} in both, {only_a} in A alone, {only_b} in B alone. By how far they moved:</p>",
        count(both, "subject")
    );
    let mut rows: Vec<_> = all.into_iter().map(|key| (key, of_a.get(key), of_b.get(key))).collect();
    let took = |side: Option<&(usize, Ns)>| side.map_or(0, |(_, took)| *took);
    rows.sort_by_key(|(key, a, b)| (Reverse(change(took(*a), took(*b)).abs()), *key));
    let mut table = Table::new(&["kind", "of what", "#A", "#B", "#change"]);
    let shown = |side: Option<&(usize, Ns)>| match side {
        None => "none".to_owned(),
        Some((1, took)) => duration(*took),
        Some((n, took)) => format!("{} in {n}", duration(*took)),
    };
    let total = rows.len();
    for (key, a, b) in rows.into_iter().take(ROWS) {
        let by = match (a, b) {
            (None, _) => "only B".to_owned(),
            (_, None) => "only A".to_owned(),
            _ => signed(change(took(a), took(b))),
        };
        table.cell(key.0).text(&key.1).cell(&shown(a)).cell(&shown(b)).cell(&by);
    }
    table.write(out, total, "subject", "subjects");
}

fn stall_table(out: &mut String, commands: [&Command; 2], kinds: &BTreeSet<String>) {
    if kinds.is_empty() {
        return;
    }
    out.push_str("<h2>Stalls</h2>\n");
    let mut table = Table::new(&["kind", "#A", "#B"]);
    for kind in kinds {
        table.raw(&stalls::explained(kind));
        for command in commands {
            let of: Vec<Ns> = command
                .stalls
                .iter()
                .filter(|stall| stall.kind.as_str() == kind)
                .map(|stall| stall.cost_ns)
                .collect();
            let text = match of.as_slice() {
                [] => "none".to_owned(),
                [cost] => duration(*cost),
                many => format!("{} in {}", duration(many.iter().sum()), many.len()),
            };
            table.cell(&text);
        }
    }
    table.write(out, 0, "", "");
}
