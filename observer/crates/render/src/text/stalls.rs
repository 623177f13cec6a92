//! What slowed a command down: findings with their evidence, and what to try.

use model::human::{duration, percent};
use model::report::{Command, Severity, Stall};

use crate::page::{BAD, BAR, DIM, PLAIN, Page};

/// Findings shown with their evidence.
const MOST: usize = 5;
/// Lines of evidence of each.
const MOST_EVIDENCE: usize = 4;

pub(super) fn stalls(page: &mut Page, command: &Command) {
    let (notes, found): (Vec<&Stall>, Vec<&Stall>) =
        command.stalls.iter().partition(|stall| stall.severity == Severity::Info);
    if !found.is_empty() {
        page.heading("What slowed it down");
    }
    for stall in found.iter().take(MOST) {
        let style = if stall.severity == Severity::Critical { BAD } else { PLAIN };
        let line = format!("{}  {}  {}", stall.kind, weight(stall, command), stall.summary);
        page.line(2, style, &line);
        for fact in stall.evidence.iter().take(MOST_EVIDENCE) {
            page.line(4, DIM, &fact.to_string());
        }
        if !stall.advice.is_empty() {
            page.line(4, PLAIN, &format!("do: {}", stall.advice));
        }
        for remedy in &stall.remedies {
            page.line(4, PLAIN, &format!("try {}: {}", remedy.name, remedy.why));
            page.command(6, BAR, &remedy.attempt);
        }
    }
    super::rest(page, found.len(), MOST, "finding", "findings");
    if !notes.is_empty() {
        page.heading("Worth knowing");
    }
    for note in notes.iter().take(MOST) {
        page.line(2, PLAIN, &format!("{}  {}", note.kind, note.summary));
    }
    super::rest(page, notes.len(), MOST, "note", "notes");
}

/// What a finding is worth: that it ended the command, and what it cost. What failed at once cost nothing.
fn weight(stall: &Stall, command: &Command) -> String {
    let cost = format!("{}, {}", duration(stall.cost_ns), percent(stall.cost_ns, command.wall_ns));
    match (stall.fatal, stall.cost_ns) {
        (true, 0) => "ended the command".to_owned(),
        (true, _) => format!("ended the command, {cost}"),
        (false, _) => cost,
    }
}
