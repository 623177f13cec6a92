//! A report and the state it was made of in, one self-contained page out: no other file, light and
//! dark, for a telephone, a screen and paper. Everything foreign is escaped. Without a script it is whole
//! text with a drawing; its script adds a list of every request that sorts, searches, filters and zooms.
//! Bounded: tables say how many rows they leave out, the waterfall joins what is too small.

mod data;
pub mod draw;
pub mod pair;
mod stalls;
pub mod style;
mod table;
mod tables;

use std::fmt::Write as _;

use model::human::{count, duration, percent};
use model::id::CommandId;
use model::report::{Command, Report};
use model::state::State;
use model::words;
use table::Table;

use crate::loss;
use crate::markup::escape;
use crate::result::{self, answer, sentence};
use crate::waterfall::{list, waterfall};

/// Bars of all waterfalls together, about: 200 bytes each.
const BARS: usize = 6_000;
/// Rows of one kind of table over all commands.
const ROWS: usize = 600;
/// Commands with a section of their own.
const SECTIONS: usize = 60;
/// Commands in the index.
const INDEX: usize = 300;
/// Spans of all lists together: 200 bytes each.
const SPANS: usize = 24_000;

/// How much each command may show.
#[derive(Clone, Copy)]
struct Room {
    bars: usize,
    rows: usize,
    spans: usize,
}

/// The report as a page.
pub fn html(report: &Report, state: &State) -> String {
    let mut commands: Vec<&Command> = report.commands.iter().collect();
    // What went wrong first, then what took longest.
    commands.sort_by_key(|command| {
        let worst = result::worst(command).map(|stall| stall.severity);
        (std::cmp::Reverse((worst, failed(command), command.wall_ns)), command.id)
    });
    let title = match commands.as_slice() {
        [] => "No go command was observed".to_owned(),
        [command] => words::argv(&command.argv),
        _ => count(commands.len() as u64, "go command"),
    };
    let mut out = head(&title);
    when_and_where(&mut out, report);
    if commands.len() != 1 {
        let _ = writeln!(out, "<h1>{}</h1>", escape(&title));
    }
    if commands.len() > 1 {
        missed(&mut out, report, None);
        index(&mut out, report, &commands);
    }
    let shown = commands.len().clamp(1, SECTIONS);
    let room =
        Room { bars: (BARS / shown).max(100), rows: (ROWS / shown).clamp(5, 40), spans: SPANS / shown };
    for command in commands.iter().take(SECTIONS) {
        section(&mut out, report, state, command, room);
    }
    if commands.len() > SECTIONS {
        let _ = writeln!(
            out,
            r#"<p class="soft">And {} without a section of their own.</p>"#,
            count((commands.len() - SECTIONS) as u64, "more command")
        );
    }
    let kinds = commands.iter().take(SECTIONS).flat_map(|command| &command.stalls);
    stalls::meanings(&mut out, &kinds.map(|stall| stall.kind.as_str().to_owned()).collect());
    foot(&mut out, report);
    out
}

/// When it was observed, and on which machine.
fn when_and_where(out: &mut String, report: &Report) {
    let at = jiff::Timestamp::from_nanosecond(i128::from(report.started_unix_ns));
    let at = at.ok().filter(|_| report.started_unix_ns > 0);
    let machine = &report.machine;
    let parts = [
        at.map(|at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        Some(format!("Linux {} {}", machine.kernel, machine.arch)),
        Some(count(u64::from(machine.cpus), "CPU")),
        Some(report.tool.clone()),
    ];
    let _ = write!(out, r#"<p class="when-where">"#);
    for part in parts.into_iter().flatten() {
        let _ = write!(out, "<span>{}</span>", escape(&part));
    }
    out.push_str("</p>\n");
}

fn head(title: &str) -> String {
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src '{}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{} · goobserve</title>
<style>
{}{}{}{}{}</style>
</head>
<body>
<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
{}</defs></svg>
<main>
"#,
        style::SCRIPT_HASH,
        escape(title),
        style::TONES,
        style::chosen(),
        style::PAGE,
        draw::STYLE,
        style::EXPLORE,
        draw::FILLS
    )
}

fn failed(command: &Command) -> bool {
    command.signal.is_some() || command.exit_code.is_some_and(|code| code != 0)
}

/// A row a command, and the line for what was worst in many.
fn index(out: &mut String, report: &Report, commands: &[&Command]) {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for stall in commands.iter().filter_map(|command| result::worst(command)) {
        match kinds.iter_mut().find(|known| known.0 == stall.kind.as_str()) {
            Some(known) => known.1 += 1,
            None => kinds.push((stall.kind.as_str(), 1)),
        }
    }
    kinds.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let all = commands.len();
    let parts: Vec<String> =
        kinds.iter().take(5).map(|(kind, n)| format!("{n} of {all}: <b>{}</b>", escape(kind))).collect();
    let _ = writeln!(
        out,
        r#"<p class="answer">{}</p>"#,
        if parts.is_empty() { "No stall was found in any of them.".to_owned() } else { parts.join(", ") }
    );
    let mut table = Table::new(&["no", "command", "#took", "worst stall", "most of it", "ended"]);
    for (place, command) in commands.iter().take(INDEX).enumerate() {
        let ended = words::ending(command.ended, command.exit_code, command.signal);
        let number = escape(&format!("#{}", command.id));
        let number = if place < SECTIONS {
            format!("<a href=\"#command-{}\">{number}</a>", command.id)
        } else {
            number
        };
        table
            .raw(&number)
            .text(&words::argv(&command.argv))
            .cell(&duration(command.wall_ns))
            .cell(result::worst(command).map_or("none", |stall| stall.kind.as_str()));
        match result::most(command) {
            Some((phase, ns)) => table.raw(&format!(
                "{}{} {}",
                draw::swatch(phase),
                phase.name(),
                escape(&percent(ns, command.wall_ns))
            )),
            None => table.cell(""),
        };
        table.marked(&ended, failed(command));
    }
    table.write(out, report.commands.len(), "command", "commands");
}

fn section(out: &mut String, report: &Report, state: &State, command: &Command, room: Room) {
    let name = escape(&words::argv(&command.argv));
    let _ = writeln!(out, r#"<section id="command-{}">"#, command.id);
    let many = report.commands.len() > 1;
    let (number, level) = if many { (format!("#{} ", command.id), 2) } else { (String::new(), 1) };
    let _ = writeln!(out, "<h{level}>{number}<code>{name}</code></h{level}>");
    missed(out, report, Some(command.id));
    if let Some(service) = loss::service(command) {
        let _ = writeln!(out, "<p>{}</p>", escape(&service));
    }
    let answer = answer(command);
    let _ = write!(out, r#"<p class="answer">"#);
    if failed(command) {
        let ending = words::ending(command.ended, command.exit_code, command.signal);
        let why = result::failure(command).map_or_else(String::new, |why| format!(" {}", sentence(&why)));
        let _ = write!(out, r#"<span class="bad">It failed: {}.{}</span> "#, escape(&ending), escape(&why));
    }
    let _ = write!(out, "{}", escape(&answer.time));
    match answer.worst {
        Some(stall) => {
            let cost = duration(stall.cost_ns);
            let _ = write!(
                out,
                " {} <span class=\"soft\">(cost {cost})</span>",
                escape(&sentence(&stall.summary))
            );
        }
        None => out.push_str(" No stall was found."),
    }
    out.push_str("</p>\n");
    if let Some(remedy) = answer.remedy().filter(|remedy| !remedy.attempt.is_empty()) {
        let _ = writeln!(out, "<p>Try:</p>\n<pre>{}</pre>", escape(&remedy.attempt));
    }
    tables::settings(out, command);
    tables::phases(out, command);
    if let Some(of) = state.command(command.id) {
        drawing(out, command, &waterfall(of, state.until(), room.bars), "What happened when");
        let list = list::list(of, state.until(), room.spans);
        if !list.rows.is_empty() {
            let (id, block) = (command.id, data::block(&list));
            let _ = writeln!(
                out,
                "<div class=\"explore\" id=\"explore-{id}\" hidden></div>\n<script type=\"application/json\" id=\"data-{id}\">{block}</script>"
            );
        }
    }
    stalls::stalls(out, command);
    tables::hosts(out, command, room.rows);
    tables::requests(out, report, command, room.rows);
    tables::dns(out, report, command, room.rows);
    tables::connections(out, report, command, room.rows);
    tables::packages(out, report, command, room.rows);
    tables::processes(out, report, command, room.rows);
    out.push_str("</section>\n");
}

/// Whoever reads on must know that what is below is not all.
fn missed(out: &mut String, report: &Report, command: Option<CommandId>) {
    if let Some(missed) = loss::missed(report, command) {
        let _ = writeln!(out, r#"<p class="bad">{missed}</p>"#);
    }
}

fn drawing(out: &mut String, command: &Command, waterfall: &crate::waterfall::Waterfall, title: &str) {
    if waterfall.groups.is_empty() {
        return;
    }
    let _ = write!(out, "<h2>{title}</h2>\n<div class=\"key\">");
    let shown = |phase| {
        waterfall.groups.iter().flat_map(|group| group.rows.iter().flatten()).any(|bar| bar.phase == phase)
    };
    for phase in model::record::Phase::ALL.into_iter().filter(|phase| shown(*phase)) {
        let _ = write!(out, "<span>{}{}</span>", draw::swatch(phase), phase.name());
    }
    out.push_str(
        "<span>paler: no byte of the answer yet</span><span>red below: failed or unfinished</span>\
         <span>△ retransmitted</span><span>✕ reset</span><span>□ window closed</span></div>\n",
    );
    let _ = writeln!(
        out,
        r#"<svg class="draw" height="{}" role="img" aria-label="Waterfall of connections and requests">"#,
        draw::height(waterfall)
    );
    draw::waterfall(out, waterfall, &command.stalls);
    out.push_str("</svg>\n");
    if waterfall.more > 0 {
        let more = waterfall.more as u64;
        let _ = writeln!(
            out,
            r#"<p class="soft">and {}, less busy, not drawn</p>"#,
            count(more, "more connection")
        );
    }
}

fn foot(out: &mut String, report: &Report) {
    let lost = loss::sentence(&report.loss);
    let (class, text) = match &lost {
        Some(text) => ("bad", text.as_str()),
        None => ("soft", "Nothing was lost."),
    };
    let _ = writeln!(out, "<h2>Not observed</h2>\n<p class=\"{class}\">{text}</p>");
    for gaps in report.commands.iter().filter_map(loss::gaps) {
        let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape(&gaps));
    }
    out.push_str("</main>\n<footer>\n");
    let machine = &report.machine;
    let mut parts = vec![
        report.tool.clone(),
        format!("{} s observed", model::human::moment(report.duration_ns)),
        format!("Linux {} {}", machine.kernel, machine.arch),
        count(u64::from(machine.cpus), "CPU"),
    ];
    if !machine.resolver.servers.is_empty() {
        let resolver = &machine.resolver;
        parts.push(format!(
            "name servers {} ({} s × {})",
            resolver.servers.join(", "),
            resolver.timeout_s,
            resolver.attempts
        ));
    }
    let _ = writeln!(
        out,
        "{}\n</footer>\n<script>{}</script>\n</body>\n</html>",
        escape(&parts.join(" · ")),
        style::SCRIPT
    );
}
