//! Counts what libtest prints. In: the output of `cargo test`, a line at a time. Out: how many
//! passed, failed and were ignored, and the names of those that passed or were ignored.
//!
//! The numbers are those of the `test result:` lines: output of a test's own can tear the line
//! of its name apart, never those. A suite without such a line has died and counts as a failure.

use std::collections::BTreeMap;

/// What was counted so far.
#[derive(Default, Debug)]
pub struct Counter {
    /// Tests that passed
    pub passed: u32,
    /// Tests that failed, and suites that ended without a result
    pub failed: u32,
    /// Tests marked `#[ignore]`
    pub ignored: u32,
    /// How often each name passed, where it could be read
    pub passed_names: BTreeMap<String, u32>,
    /// Names that failed, where they could be read
    pub failed_names: Vec<String>,
    /// Names of ignored tests with their reasons, where they could be read
    pub ignored_names: Vec<(String, String)>,
    /// The suite whose result has not come, as far as its lines tell
    open: Option<Tally>,
}

#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Counter {
    /// Takes a line, with or without its end.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(result) = line.strip_prefix("test result: ") {
            if let Some(tally) = result_line(result) {
                self.add(tally);
                self.open = None;
            }
        } else if is_suite_start(line) {
            self.close();
            self.open = Some(Tally::default());
        } else if let Some((name, outcome)) = test_line(line) {
            self.test(name, outcome);
        }
    }

    /// The output has ended.
    pub fn end(&mut self) {
        self.close();
    }

    fn test(&mut self, name: &str, outcome: &str) {
        let Some(open) = &mut self.open else { return };
        let word = outcome.split([' ', ',']).next().unwrap_or_default();
        match word {
            "ok" => {
                open.passed += 1;
                *self.passed_names.entry(name.to_owned()).or_default() += 1;
            }
            "FAILED" => {
                open.failed += 1;
                self.failed_names.push(name.to_owned());
            }
            "ignored" => {
                open.ignored += 1;
                let reason = outcome.split_once(", ").map_or("ignored", |(_, reason)| reason);
                self.ignored_names.push((name.to_owned(), reason.to_owned()));
            }
            _ => {}
        }
    }

    /// A suite that gave no result: what its lines told, and a failure more.
    fn close(&mut self) {
        if let Some(tally) = self.open.take() {
            self.add(Tally { failed: tally.failed + 1, ..tally });
        }
    }

    fn add(&mut self, tally: Tally) {
        self.passed += tally.passed;
        self.failed += tally.failed;
        self.ignored += tally.ignored;
    }
}

/// `running 3 tests`
fn is_suite_start(line: &str) -> bool {
    let words: Vec<_> = line.split(' ').collect();
    matches!(words[..], ["running", count, "test" | "tests"] if count.parse::<u32>().is_ok())
}

/// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`
fn result_line(result: &str) -> Option<Tally> {
    let (_, counts) = result.split_once(". ")?;
    let count = |what: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim_end().parse::<u32>().ok())
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

/// `test a::b ... ok`, `test a::b - should panic ... FAILED`, `test c ... ignored, reason`
fn test_line(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.strip_suffix(" - should panic").unwrap_or(name), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(output: &str) -> Counter {
        let mut counter = Counter::default();
        output.lines().for_each(|line| counter.line(line));
        counter.end();
        counter
    }

    fn numbers(output: &str) -> (u32, u32, u32) {
        let counter = counted(output);
        (counter.passed, counter.failed, counter.ignored)
    }

    const SUITE: &str = "
running 4 tests
test a::first ... ok
test a::second - should panic ... ok
test a::third ... FAILED
test slow ... ignored, takes an hour

failures:

---- a::third stdout ----
thread 'a::third' panicked

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s
";

    #[test]
    fn a_suite_is_counted_by_its_result_line() {
        assert_eq!(numbers(SUITE), (2, 1, 1));
    }

    #[test]
    fn names_and_reasons_are_kept() {
        let counter = counted(SUITE);
        assert_eq!(counter.passed_names.keys().collect::<Vec<_>>(), ["a::first", "a::second"]);
        assert_eq!(counter.ignored_names, [("slow".to_owned(), "takes an hour".to_owned())]);
    }

    #[test]
    fn suites_add_up_and_equal_names_are_told_apart() {
        let counter = counted(&SUITE.repeat(2));
        assert_eq!((counter.passed, counter.failed, counter.ignored), (4, 2, 2));
        assert_eq!(counter.passed_names["a::first"], 2);
    }

    #[test]
    fn a_suite_that_dies_is_a_failure() {
        assert_eq!(numbers("running 2 tests\ntest one ... ok\n"), (1, 1, 0));
        assert_eq!(numbers(&format!("running 2 tests\ntest one ... ok\n{SUITE}")), (3, 2, 1));
    }

    #[test]
    fn a_torn_line_costs_a_name_but_no_count() {
        let counter = counted(
            "running 1 test\ntest torn ... noise\nok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!((counter.passed, counter.passed_names.len()), (1, 0));
    }

    #[test]
    fn prose_is_not_counted() {
        assert_eq!(numbers("running tests\ntest the water ... ok\ntest result: fine\nnothing"), (0, 0, 0));
    }
}
