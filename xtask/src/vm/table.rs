//! `tests/kernels.md`. In: what a suite measured on a kernel. Out: its row, and the table with all rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Columns beside the kernel: names of facts.
const COLUMNS: [&str; 9] =
    ["check", "HTTP/2", "HTTP/1.1", "plain", "watch", "lookups", "skipped", "start", "end"];
/// What a fact is that was not measured.
const NONE: &str = "failed";

const HEAD: &str = "# Kernels

Written by `cargo xtask vm --table`: `tests/tests/kernel.rs`, run by Debian's kernels in virtual machines
without KVM, on two virtual CPUs. Under a protocol stand the requests and the queries of a download, all of
which were reported and equal the servers' logs, with no loss; a test fails otherwise. Under lookups stand the
queries that were reported, of those that the name server logged, when several names at once are looked up that
have no address. Skipped are runs of goobserve's programs, whosever, that the kernel left out during the first two
downloads. Start and end are goobserve's own, before and after the command; an emulated machine is slower than a
real one, the more so where something else runs beside it.

";

/// What was measured on one kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// As it was asked for: `6.1`
    pub version: String,
    release: String,
    green: bool,
    /// By column
    facts: BTreeMap<String, String>,
    /// Instructions that the verifier goes through, by program
    programs: BTreeMap<String, u64>,
}

impl Row {
    /// From what the suite wrote down; `green`: nothing failed.
    pub(super) fn of(version: &str, release: &str, green: bool, facts: &[(String, String)]) -> Self {
        let programs = facts.iter().filter(|(name, _)| name == "program");
        let programs = programs.filter_map(|(_, value)| {
            let (program, count) = value.split_once(' ')?;
            Some((program.to_owned(), count.parse::<u64>().ok()?))
        });
        // The kernel has 15 bytes of a name, which two programs can share.
        let programs = programs.fold(BTreeMap::new(), |mut all: BTreeMap<_, _>, (program, count)| {
            *all.entry(program).or_default() += count;
            all
        });
        Self {
            version: numbers(version).iter().map(u32::to_string).collect::<Vec<_>>().join("."),
            release: release.to_owned(),
            green,
            facts: facts.iter().filter(|(name, _)| COLUMNS.contains(&&**name)).cloned().collect(),
            programs,
        }
    }

    /// What is more in the other row of the same kernel than this one allows: a tenth.
    pub(super) fn exceeded_by(&self, now: &Self) -> Option<String> {
        let verified = |row: &Self| row.programs.values().sum::<u64>();
        let (before, now_verified) = (verified(self), verified(now));
        let more = self.version == now.version && before > 0 && now_verified > before + before / 10;
        more.then(|| {
            format!(
                "the verifier goes through {now_verified} instructions, a tenth more than the {before} of \
                 tests/kernels.md"
            )
        })
    }
}

/// The table, oldest kernel first.
pub(super) fn write(rows: &mut [Row]) -> String {
    rows.sort_by_key(|row| numbers(&row.version));
    let mut text = format!("{HEAD}| kernel | release | {} |\n|---", COLUMNS.join(" | "));
    text += &"|---".repeat(COLUMNS.len() + 1);
    text += "|\n";
    for row in &*rows {
        let facts = COLUMNS.map(|column| row.facts.get(column).map_or(NONE, String::as_str));
        let green = if row.green { "" } else { " (failed)" };
        let _ = writeln!(text, "| {}{green} | {} | {} |", row.version, row.release, facts.join(" | "));
    }
    let names: std::collections::BTreeSet<&String> =
        rows.iter().flat_map(|row| row.programs.keys()).collect();
    let versions: Vec<&str> = rows.iter().map(|row| &*row.version).collect();
    let _ = write!(
        text,
        "\n## Instructions that the verifier goes through\n\nBy the 15 bytes that the kernel has of a program's name; \
         `sched_process_e` is two, exec and exit.\n\n| program | {} |\n|---",
        versions.join(" | ")
    );
    text += &"|---:".repeat(versions.len());
    text += "|\n";
    let mut line = |name: &str, count: &dyn Fn(&Row) -> Option<u64>| {
        let counts = rows.iter().map(|row| count(row).map_or_else(String::new, |count| count.to_string()));
        let _ = writeln!(text, "| {name} | {} |", counts.collect::<Vec<_>>().join(" | "));
    };
    for name in names {
        line(name, &|row| row.programs.get(name).copied());
    }
    line("all", &|row| (!row.programs.is_empty()).then(|| row.programs.values().sum()));
    text
}

/// The rows of such a table.
pub(super) fn read(text: &str) -> Vec<Row> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let line = line.strip_prefix("| ")?.strip_suffix('|')?;
        Some(line.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let mut rows: Vec<Row> = Vec::new();
    let lines: Vec<Vec<String>> = text.lines().filter_map(cells).collect();
    for line in lines.iter().filter(|line| line.len() == COLUMNS.len() + 2 && line[0] != "kernel") {
        if !line[0].starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let facts = COLUMNS.iter().zip(&line[2..]).filter(|(_, value)| *value != NONE);
        rows.push(Row {
            version: line[0].trim_end_matches(" (failed)").to_owned(),
            release: line[1].clone(),
            green: !line[0].ends_with(')'),
            facts: facts.map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            programs: BTreeMap::new(),
        });
    }
    let Some(head) = lines.iter().position(|line| line[0] == "program") else { return rows };
    for line in lines[head + 1..].iter().filter(|line| line[0] != "all") {
        for (version, count) in lines[head][1..].iter().zip(&line[1..]) {
            let row = rows.iter_mut().find(|row| row.version == *version);
            if let (Some(row), Ok(count)) = (row, count.parse()) {
                row.programs.insert(line[0].clone(), count);
            }
        }
    }
    rows
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: &str, green: bool, verified: u64) -> Row {
        let facts = [("check", "ok".to_owned()), ("program", format!("go_tls {verified}"))];
        let facts = facts.map(|(name, value)| (name.to_owned(), value));
        Row::of(version, &format!("{version}.1-cloud-amd64"), green, &facts)
    }

    #[test]
    fn a_table_that_is_read_is_what_was_written_oldest_first() {
        let mut rows = vec![row("6.12", true, 100), row("6.1", false, 90)];
        let text = write(&mut rows);
        assert!(text.contains("| 6.1 (failed) | 6.1.1-cloud-amd64 | ok | failed |"), "{text}");
        assert!(text.contains("| all | 90 | 100 |"), "{text}");
        assert_eq!(read(&text), rows);
        assert_eq!(rows[0].version, "6.1");
    }

    #[test]
    fn programs_that_share_what_the_kernel_has_of_their_names_are_added_up() {
        let facts = [("program", "sched_process_e 3"), ("program", "sched_process_e 4")];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = write(&mut [Row::of("6.1", "6.1.0-50-cloud-amd64", true, &facts)]);
        assert!(text.contains("| sched_process_e | 7 |") && text.contains("| all | 7 |"), "{text}");
    }

    #[test]
    fn a_tenth_more_to_verify_is_reported() {
        assert_eq!(row("6.1", true, 100).exceeded_by(&row("6.1", true, 110)), None);
        assert_eq!(row("6.12", true, 100).exceeded_by(&row("6.1", true, 200)), None);
        assert!(row("6.1", true, 100).exceeded_by(&row("6.1", true, 111)).unwrap().contains("111"));
    }
}
