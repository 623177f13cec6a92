//! For people: the answer in the first line, then why, then the figures.

use super::{placed, rows, tiers};
use crate::gate::Outcome;
use crate::gate::verdict::Verdict;
use crate::view::page::{BAD, DIM, HEADING, Options, PLAIN, Page};
use crate::view::table::{Column, Table};

/// The page.
pub fn text(outcome: &Outcome, options: Options) -> String {
    let mut page = Page::new(options);
    let style = if outcome.verdict == Verdict::Passed { HEADING } else { BAD };
    page.line(0, style, &outcome.headline());
    if outcome.exact.is_some() {
        let named = tiers(outcome).map(|(tier, verdict)| {
            format!("{} {}", tier.name(), verdict.map_or("not judged", Verdict::name))
        });
        page.line(2, DIM, &named.join(", "));
    }
    let mut section = |heading: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            page.heading(heading);
            lines.iter().for_each(|line| page.line(2, PLAIN, line));
        }
    };
    section("Why", outcome.reasons.iter().map(placed).collect());
    section(
        "Not judged",
        outcome.unjudged.iter().map(|r| format!("{}: {}", r.tier.name(), r.text)).collect(),
    );
    section(
        "What was changed besides",
        outcome.causes.iter().map(crate::gate::causes::Change::text).collect(),
    );
    let stall = |finding: &crate::gate::baseline::Finding| {
        let host = finding.host.as_deref().map_or_else(String::new, |host| format!(" ({host})"));
        format!("{}{host}, in {} runs: {}", finding.kind, finding.runs, finding.summary)
    };
    section("Stalls that were not there before", outcome.evidence.iter().map(stall).collect());
    if let Some(exact) = &outcome.exact {
        let names = |what: &str, modules: &[String]| match modules {
            [] => None,
            modules => Some(format!("{what}: {}", modules.join(", "))),
        };
        let added = names("added", &exact.modules_added);
        let removed = names("removed", &exact.modules_removed);
        section("Modules that do not count", added.into_iter().chain(removed).collect());
    }
    if let Some(time) = &outcome.time {
        page.heading("Times");
        let mut table =
            Table::new(&[Column::Flexible, Column::Right, Column::Right, Column::Right, Column::Tail]);
        table.row(["", "before", "after", "shift", ""].map(Into::into));
        rows(time).into_iter().for_each(|row| table.row(row));
        page.table(&table);
    }
    if let Some(bounded) = &outcome.bounded {
        page.heading("Counts");
        bounded.counts.iter().for_each(|count| page.line(2, PLAIN, &count.text()));
    }
    page.finish()
}
