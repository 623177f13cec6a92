//! For people: the answer in the first line, then why, then the figures in one table.

use stats::gate::verdict::Verdict;
use stats::gate::{FailOn, Outcome};

use super::{apart, placed, private_name, table, tiers};
use crate::page::{BAD, DIM, HEADING, Options, PLAIN, Page};
use crate::table::{Column, Table};

/// The page.
pub fn text(outcome: &Outcome, fail_on: FailOn, options: Options) -> String {
    let mut page = Page::new(options);
    let style = if fail_on.status(outcome) == 0 { HEADING } else { BAD };
    page.line(0, style, &fail_on.headline(outcome));
    if outcome.exact.is_some() {
        let named = tiers(outcome).map(|(tier, verdict)| {
            format!("{} {}", tier.name(), verdict.map_or(table::NOT_JUDGED, Verdict::name))
        });
        page.line(2, DIM, &named.join(", "));
    }
    for line in fail_on.notice(outcome).into_iter().chain(outcome.ended_early.clone()) {
        page.line(2, DIM, &line);
    }
    let mut section = |heading: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            page.heading(heading);
            lines.iter().for_each(|line| page.line(2, PLAIN, line));
        }
    };
    section("Private names that left", outcome.private_names.iter().map(private_name).collect());
    // The first is in the first line already.
    section("Also", outcome.reasons.iter().skip(1).map(placed).collect());
    section(
        "Not judged",
        outcome.unjudged.iter().map(|r| format!("{}: {}", r.tier.name(), r.text)).collect(),
    );
    section(
        "What was changed besides",
        outcome.causes.iter().map(stats::gate::causes::Change::text).collect(),
    );
    let stall = |finding: &stats::gate::baseline::Finding| {
        let host = finding.host.as_deref().map_or_else(String::new, |host| format!(" ({host})"));
        format!("{}{host}, in {} runs: {}", finding.kind, finding.runs, finding.summary)
    };
    section("Stalls that were not there before", outcome.evidence.iter().map(stall).collect());
    section("What differs and is not judged", apart(outcome));
    let rows = table::rows(outcome);
    if !rows.is_empty() {
        page.heading("Before and after");
        let mut table =
            Table::new(&[Column::Flexible, Column::Right, Column::Right, Column::Left, Column::Tail]);
        table.row(table::headings(outcome));
        let footnotes = table::footnotes(outcome, &rows);
        rows.into_iter().for_each(|row| table.row(row.cells));
        page.table(&table);
        footnotes.iter().for_each(|line| page.line(2, DIM, line));
    }
    page.finish()
}
