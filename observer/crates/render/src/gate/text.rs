//! For people: the answer in the first line, then why, then the figures.

use stats::gate::verdict::Verdict;
use stats::gate::{FailOn, Outcome};

use super::{apart, footnote, placed, private_name, rows, tiers};
use crate::page::{BAD, DIM, HEADING, Options, PLAIN, Page};
use crate::table::{Column, Table};

/// The page.
pub fn text(outcome: &Outcome, fail_on: FailOn, options: Options) -> String {
    let mut page = Page::new(options);
    let style = if fail_on.status(outcome) == 0 { HEADING } else { BAD };
    page.line(0, style, &outcome.headline());
    if outcome.exact.is_some() {
        let named = tiers(outcome).map(|(tier, verdict)| {
            format!("{} {}", tier.name(), verdict.map_or("not judged", Verdict::name))
        });
        page.line(2, DIM, &named.join(", "));
    }
    for line in fail_on.notice(outcome).into_iter().chain(outcome.ended_early.clone()) {
        page.line(2, DIM, &line);
    }
    if fail_on.fails_by_name(outcome) {
        page.line(0, BAD, "the name of a private module left, which fails the build");
    }
    let mut section = |heading: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            page.heading(heading);
            lines.iter().for_each(|line| page.line(2, PLAIN, line));
        }
    };
    section("Private names that left", outcome.private_names.iter().map(private_name).collect());
    section("Why", outcome.reasons.iter().map(placed).collect());
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
    if let Some(time) = &outcome.time {
        page.heading("Times");
        let mut table =
            Table::new(&[Column::Flexible, Column::Right, Column::Right, Column::Right, Column::Tail]);
        table.row(["", "before", "after", "shift", ""].map(Into::into));
        let rows = rows(time);
        let footnote = footnote(&rows);
        rows.into_iter().for_each(|row| table.row(row));
        page.table(&table);
        footnote.into_iter().for_each(|line| page.line(2, DIM, &line));
    }
    if let Some(bounded) = &outcome.bounded {
        page.heading("Counts");
        bounded.counts.iter().for_each(|count| page.line(2, PLAIN, &count.text()));
    }
    page.finish()
}
