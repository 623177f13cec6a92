//! Open questions about go's module download, each answered by a table that is measured here. In
//! goes a number of runs, out come tables in Markdown: what `docs/findings` holds.

mod caches;
mod filters;
mod http2_off;
mod programs;
mod resolvers;
mod timeouts;
mod tls_storm;

use std::fmt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::stats::{median, quantile};

/// A table by its name, measured with so many runs.
pub type Part = (&'static str, fn(usize) -> Result<Table>);

/// A question: its name, how many runs it takes by itself, and the tables that answer it.
pub type Study = (&'static str, usize, &'static [Part]);

/// All there are.
pub const STUDIES: [Study; 6] = [
    ("resolvers", 20, resolvers::PARTS),
    ("tls-storm", 5, &[("all", tls_storm::table)]),
    ("timeouts", 10, timeouts::PARTS),
    ("caches", 1, &[("all", caches::table)]),
    ("filters", 1, &[("all", filters::table)]),
    ("http2-off", 10, http2_off::PARTS),
];

/// A table in Markdown.
#[derive(Clone, Debug, Default)]
pub struct Table {
    title: String,
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: impl Into<String>, head: &'static [&'static str]) -> Self {
        Self { title: title.into(), head, rows: Vec::new() }
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        eprintln!("{}", cells.join("  "));
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |cells: &[&str]| format!("| {} |", cells.join(" | "));
        writeln!(f, "{}\n\n{}", self.title, line(self.head))?;
        writeln!(f, "|{}", "---|".repeat(self.head.len()))?;
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            writeln!(f, "{}", line(&cells.iter().map(String::as_str).collect::<Vec<_>>()))?;
        }
        Ok(())
    }
}

/// Wall times of the same thing, seconds.
#[derive(Clone, Debug, Default)]
struct Times(Vec<f64>);

impl Times {
    fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    fn median(&self) -> String {
        seconds(median(&self.0))
    }

    fn mean(&self) -> String {
        seconds(self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    fn longest(&self) -> String {
        seconds(self.0.iter().copied().fold(0.0, f64::max))
    }

    fn p95(&self) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        seconds(quantile(&sorted, 0.95))
    }
}

fn seconds(value: f64) -> String {
    let digits = if value < 1.0 { 3 } else { 2 };
    format!("{value:.digits$} s")
}

/// Runs a command in the lab to its end; how long it took.
fn timed(lab: &Lab, command: &mut Command) -> Result<(Duration, Output)> {
    let begun = Instant::now();
    let output = lab.output(command)?;
    Ok((begun.elapsed(), output))
}

/// The last line a command printed as an error: go's reason.
fn reason(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned()
}

/// Fails with what the command said when it failed.
fn succeeded(output: &Output) -> Result<()> {
    output.status.success().then_some(()).with_context(|| format!("{}: {}", output.status, reason(output)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_with_its_bars_escaped() {
        let mut table = Table::new("Two by one:", &["what", "how long"]);
        table.row(["a|b".into(), seconds(1.0)]);
        assert_eq!(table.to_string(), "Two by one:\n\n| what | how long |\n|---|---|\n| a\\|b | 1.00 s |\n");
    }

    #[test]
    fn each_study_has_its_page_with_the_command_that_makes_it() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings");
        for (name, ..) in STUDIES {
            let text = std::fs::read_to_string(folder.join(name).with_extension("md")).expect(name);
            assert!(text.contains("`cargo xtask bench findings "), "{name}");
            assert!(text.contains(&format!("--study {name}`")), "{name}");
        }
    }

    #[test]
    fn times_are_summed_up_by_median_mean_and_tail() {
        let mut times = Times::default();
        (1..=20).for_each(|n| times.push(Duration::from_secs(n)));
        assert_eq!(
            [times.median(), times.mean(), times.p95(), times.longest()],
            ["10.50 s", "10.50 s", "19.00 s", "20.00 s"]
        );
    }
}
