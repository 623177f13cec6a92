//! For a pull request's or a job's page: the answer, the rows that decide, and the rest folded away.

use stats::gate::{FailOn, Outcome};

use super::table::Row;
use super::{apart, placed, private_name, table};
use crate::compare::escaped;

/// Lines of a list that stand open; the others are folded away with the whole table.
const OPEN: usize = 3;
/// Lines of a list that are written at all: GitHub takes a page of 1 MiB.
const MOST: usize = 200;

/// The Markdown.
pub fn markdown(outcome: &Outcome, fail_on: FailOn) -> String {
    let mut out = format!("### goobserve gate: {}\n\n", escaped(&fail_on.headline(outcome)));
    for line in fail_on.notice(outcome).into_iter().chain(outcome.ended_early.clone()) {
        out += &format!("{}.\n\n", escaped(&line));
    }
    let rows = table::rows(outcome);
    let weighty: Vec<&Row> = rows.iter().filter(|row| row.weighty).collect();
    out += &tabled(outcome, &weighty);
    let stall = |finding: &stats::gate::baseline::Finding| format!("{}: {}", finding.kind, finding.summary);
    let lists = [
        ("Private names that left", outcome.private_names.iter().map(private_name).collect::<Vec<_>>()),
        // The first is in the heading already.
        ("Also", outcome.reasons.iter().skip(1).map(placed).collect()),
        ("Not judged", outcome.unjudged.iter().map(|r| format!("{}: {}", r.tier.name(), r.text)).collect()),
        ("Changed besides", outcome.causes.iter().map(stats::gate::causes::Change::text).collect()),
        ("Stalls that were not there before", outcome.evidence.iter().map(stall).collect()),
        ("What differs and is not judged", apart(outcome)),
    ];
    let mut folded = String::new();
    for (heading, lines) in lists {
        let (open, rest) = lines.split_at(lines.len().min(OPEN));
        if open.is_empty() {
            continue;
        }
        out += &format!("{heading}:\n\n{}", items(open));
        if rest.is_empty() {
            out.push('\n');
        } else {
            out += &format!("- and {} more, below\n\n", rest.len());
            folded += &format!("{heading}, the rest:\n\n{}\n", items(&rest[..rest.len().min(MOST)]));
        }
    }
    if weighty.len() < rows.len() {
        folded += &tabled(outcome, &rows.iter().collect::<Vec<_>>());
    }
    for line in table::footnotes(outcome, &rows) {
        folded += &format!("{}\n\n", escaped(&line));
    }
    if !folded.is_empty() {
        let summary = "Every phase, host and count";
        out += &format!("<details><summary>{summary}</summary>\n\n{}\n\n</details>\n", folded.trim_end());
    }
    out.trim_end().to_owned() + "\n"
}

fn items(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |all, line| all + "- " + &escaped(line) + "\n")
}

fn tabled(outcome: &Outcome, rows: &[&Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let row = |cells: &[String; 5]| format!("| {} |\n", cells.clone().map(|cell| escaped(&cell)).join(" | "));
    let head = row(&table::headings(outcome)) + "|---|---:|---:|---|---|\n";
    head + &rows.iter().map(|one| row(&one.cells)).collect::<String>() + "\n"
}
