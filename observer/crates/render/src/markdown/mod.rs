//! A report in, a page of GitHub's Markdown out, short enough for a step summary or an issue.

mod escape;

use std::cmp::Reverse;
use std::fmt::Write as _;

use escape::{block, code, prose};
use model::human::{bytes, count, duration, percent};
use model::id::CommandId;
use model::report::{Command, Report, Request, Severity, Stall};
use model::words;

use super::compiled;
use super::loss;
use super::result::{self, answer, sentence};

/// Commands with a chapter of their own, rows of a table, stalls of a command.
const COMMANDS: usize = 10;
const ROWS: usize = 5;
const STALLS: usize = 5;

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let mut commands: Vec<&Command> = report.commands.iter().collect();
    commands.sort_by_key(|command| {
        (Reverse((result::worst(command).map(|stall| stall.severity), command.wall_ns)), command.id)
    });
    match commands.len() {
        0 => out.push_str("### No go command was observed\n"),
        1 => {}
        n => {
            index(&mut out, n, &commands);
            missed(&mut out, report, None);
        }
    }
    for command in commands.iter().take(COMMANDS) {
        chapter(&mut out, report, command);
    }
    if let Some(lost) = loss::sentence(&report.loss) {
        let _ = writeln!(out, "⚠️ **Not everything was seen:** {lost}");
        report.commands.iter().filter_map(loss::gaps).for_each(|gaps| _ = writeln!(out, "{gaps}"));
    }
    let _ = writeln!(out, "\n<sub>{}</sub>", prose(&report.tool));
    out
}

fn index(out: &mut String, n: usize, commands: &[&Command]) {
    let _ = writeln!(out, "### {}\n", count(n as u64, "go command"));
    out.push_str("| | command | took | ended | most of it | worst stall |\n|---|---|--:|---|---|---|\n");
    for command in commands.iter().take(3 * COMMANDS) {
        let most = result::most(command).map_or_else(String::new, |(phase, ns)| {
            format!("{} {}", phase.name(), percent(ns, command.wall_ns))
        });
        let stall = result::worst(command).map_or_else(String::new, |stall| code(stall.kind.as_str()));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {most} | {stall} |",
            command.id,
            code(&words::argv(&command.argv)),
            duration(command.wall_ns),
            words::ending(command.ended, command.exit_code, command.signal),
        );
    }
    more(out, n, 3 * COMMANDS, "command");
    out.push('\n');
}

fn chapter(out: &mut String, report: &Report, command: &Command) {
    let ending = words::ending(command.ended, command.exit_code, command.signal);
    let (name, wall) = (code(&words::argv(&command.argv)), duration(command.wall_ns));
    let _ = writeln!(out, "### {name}: {wall}, {ending}\n");
    missed(out, report, Some(command.id));
    if let Some(service) = loss::service(command) {
        let _ = writeln!(out, "{}\n", prose(&service));
    }
    if let Some(why) = result::failure(command) {
        let _ = writeln!(out, "**{}**\n", prose(&sentence(&why)));
    }
    let answer = answer(command);
    let _ = write!(out, "**{}**", prose(&answer.time));
    match answer.worst {
        Some(_) => out.push('\n'),
        None => out.push_str(" No stall was found.\n"),
    }
    let mut stalls: Vec<&Stall> = command.stalls.iter().collect();
    stalls.sort_by_key(|stall| Reverse((stall.fatal, stall.severity, stall.cost_ns)));
    for stall in stalls.iter().take(STALLS) {
        self::stall(out, command, stall);
    }
    if stalls.len() > STALLS {
        let _ = writeln!(out, "\nand {}", count((stalls.len() - STALLS) as u64, "more stall"));
    }
    if !stalls.is_empty() {
        out.push_str("\nWhat each kind means, and what to do: `docs/stalls.md` of goobserve.\n");
    }
    phases(out, command);
    details(out, report, command);
}

/// Whoever reads on must know that what is below is not all.
fn missed(out: &mut String, report: &Report, command: Option<CommandId>) {
    if let Some(missed) = loss::missed(report, command) {
        let _ = writeln!(out, "⚠️ **{missed}**\n");
    }
}

fn stall(out: &mut String, command: &Command, stall: &Stall) {
    let sign = match stall.severity {
        Severity::Critical => "🔴",
        Severity::Warning => "🟠",
        Severity::Info => "🔵",
    };
    let cost = format!("cost {} ({})", duration(stall.cost_ns), percent(stall.cost_ns, command.wall_ns));
    let weight = match (stall.fatal, stall.cost_ns) {
        (true, 0) => "ended the command".to_owned(),
        (true, _) => format!("ended the command, and {cost}"),
        (false, _) => cost,
    };
    let _ = writeln!(
        out,
        "\n{sign} {} {weight}: {}",
        code(stall.kind.as_str()),
        prose(&sentence(&stall.summary))
    );
    if !stall.evidence.is_empty() {
        out.push('\n');
    }
    for piece in stall.evidence.iter().take(ROWS) {
        let _ = writeln!(out, "- {}", prose(&piece.to_string()));
    }
    if !stall.advice.is_empty() {
        let _ = write!(out, "\nDo: {}\n", prose(&sentence(&stall.advice)));
    }
    if let Some(remedy) = stall.remedies.first() {
        let _ = write!(out, "\nTry {}: {}\n\n", code(&remedy.name), prose(remedy.why.trim()));
        if !remedy.attempt.is_empty() {
            out.push_str(&block(&remedy.attempt));
        }
    }
}

fn phases(out: &mut String, command: &Command) {
    out.push_str("\n| phase | what | blocked | share | how many | failed | longest |\n");
    out.push_str("|---|---|--:|--:|--:|--:|--:|\n");
    for share in command.phases.iter().filter(|share| share.blocked_ns > 0 || share.count > 0) {
        let counted = |n: u64| if share.count == 0 { String::new() } else { n.to_string() };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            share.phase.name(),
            words::phase(share.phase),
            duration(share.blocked_ns),
            percent(share.blocked_ns, command.wall_ns),
            counted(share.count),
            counted(share.errors),
            share.max_ns.map_or_else(String::new, duration)
        );
    }
}

/// Folded: the slowest hosts and requests.
fn details(out: &mut String, report: &Report, command: &Command) {
    let end = command.start_ns.saturating_add(command.wall_ns);
    let took = |request: &Request| request.end_ns.unwrap_or(end).saturating_sub(request.start_ns);
    let mut requests: Vec<&Request> =
        report.requests.iter().filter(|request| request.command == command.id).collect();
    requests.sort_by_key(|request| (Reverse(took(request)), request.start_ns));
    let processes = compiled::longest(report, command);
    if command.waited_for().is_empty() && requests.is_empty() && processes.is_empty() {
        return;
    }
    out.push_str("\n<details><summary>Hosts, slowest requests and longest processes</summary>\n");
    if !command.waited_for().is_empty() {
        out.push_str("\n| host | blocked | share |\n|---|--:|--:|\n");
    }
    for host in command.waited_for().iter().take(ROWS) {
        let part = percent(host.blocked_ns, command.wall_ns);
        let _ = writeln!(out, "| {} | {} | {part} |", code(&host.host), duration(host.blocked_ns));
    }
    more(out, command.waited_for().len(), ROWS, "host");
    if !requests.is_empty() {
        out.push_str("\n| request | of what | took | status | bytes |\n|---|---|--:|---|--:|\n");
    }
    for request in requests.iter().take(ROWS) {
        let Request { module, version, authority, path, .. } = request;
        let subject =
            words::subject(module.as_deref(), version.as_deref(), authority.as_deref(), path.as_deref());
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            words::class(request.class),
            code(&subject),
            duration(took(request)),
            request.status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
            request.bytes.map_or_else(String::new, bytes)
        );
    }
    more(out, requests.len(), ROWS, "request");
    let packages = compiled::packages(report, command);
    if !packages.is_empty() {
        out.push_str("\n| step | package | took | CPU |\n|---|---|--:|--:|\n");
    }
    for work in packages.iter().take(ROWS) {
        let (took, cpu) = (duration(work.took_ns()), duration(work.cpu_ns));
        let _ = writeln!(out, "| {} | {} | {took} | {cpu} |", work.what, code(work.package));
    }
    more(out, packages.len(), ROWS, "step");
    if !processes.is_empty() {
        out.push_str("\n| process | took | ended |\n|---|--:|---|\n");
    }
    for process in processes.iter().take(ROWS) {
        let line = if process.args.is_empty() { process.comm.clone() } else { words::argv(&process.args) };
        let ended = words::process_ending(process, command);
        let took = duration(compiled::took(process, command));
        let _ = writeln!(out, "| {} | {took} | {ended} |", code(&line));
    }
    if processes.len() > ROWS {
        let _ = writeln!(out, "\nand {} more processes", processes.len() - ROWS);
    }
    out.push_str("\n</details>\n\n");
}

fn more(out: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(out, "\nand {}", count((all - shown) as u64, &format!("more {what}")));
    }
}
