//! For a pull request's or a job's page.

use stats::gate::verdict::Verdict;
use stats::gate::{FailOn, Outcome};

use super::{apart, footnote, placed, private_name, rows, tiers};
use crate::compare::escaped;

/// The Markdown.
pub fn markdown(outcome: &Outcome, fail_on: FailOn) -> String {
    let mut out = format!("### goobserve gate: {}\n\n", escaped(&outcome.headline()));
    for line in fail_on.notice(outcome).into_iter().chain(outcome.ended_early.clone()) {
        out += &format!("{}.\n\n", escaped(&line));
    }
    if fail_on.fails_by_name(outcome) {
        out += "**The name of a private module left, which fails the build.**\n\n";
    }
    if outcome.exact.is_some() {
        out += "| tier | verdict |\n|---|---|\n";
        for (tier, verdict) in tiers(outcome) {
            out += &format!("| {} | {} |\n", tier.name(), verdict.map_or("not judged", Verdict::name));
        }
        out.push('\n');
    }
    let mut list = |heading: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            out += &format!("{heading}\n\n");
            lines.iter().for_each(|line| out += &format!("- {}\n", escaped(line)));
            out.push('\n');
        }
    };
    list("Private names that left:", outcome.private_names.iter().map(private_name).collect());
    list("Why:", outcome.reasons.iter().map(placed).collect());
    list("Not judged:", outcome.unjudged.iter().map(|r| format!("{}: {}", r.tier.name(), r.text)).collect());
    list("Changed besides:", outcome.causes.iter().map(stats::gate::causes::Change::text).collect());
    list("What differs and is not judged:", apart(outcome));
    let stall = |finding: &stats::gate::baseline::Finding| format!("{}: {}", finding.kind, finding.summary);
    list("Stalls that were not there before:", outcome.evidence.iter().map(stall).collect());
    if let Some(time) = &outcome.time {
        out += "| | before | after | shift | |\n|---|---:|---:|---:|---|\n";
        let rows = rows(time);
        let footnote = footnote(&rows);
        for row in rows {
            out += &format!("| {} |\n", row.map(|cell| escaped(&cell)).join(" | "));
        }
        out += &footnote.map_or_else(String::new, |line| format!("\n{}\n", escaped(&line)));
        out.push('\n');
    }
    if let Some(bounded) = &outcome.bounded {
        bounded.counts.iter().for_each(|count| out += &format!("- {}\n", escaped(&count.text())));
        out.push('\n');
    }
    out.trim_end().to_owned() + "\n"
}
