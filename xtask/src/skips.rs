//! Which tests were skipped, and which may be. In: the file tests write their skips to
//! (`GOOBSERVE_SKIPS`), the counted output, tests/skips.toml. Out: the totals.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::count::Counter;

/// A test that did not run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The test's name, as libtest prints it
    pub test: String,
    /// Why it did not run
    pub reason: String,
}

/// Lines `name: reason`. A name's `::` is not followed by a space, so the first `: ` ends it.
pub fn notes(text: &str) -> Vec<Skip> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (test, reason) = line.split_once(": ").unwrap_or((line, "no reason given"));
            Skip { test: test.to_owned(), reason: reason.to_owned() }
        })
        .collect()
}

/// Tests that may be skipped in CI.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    #[serde(default)]
    skip: Vec<AllowedSkip>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct AllowedSkip {
    test: String,
    reason: String,
}

impl Allowed {
    /// Reads tests/skips.toml: tables `[[skip]]` with `test` and `reason`, both required.
    pub fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text).context("the list of skips is not understood")?;
        if let Some(bare) = list.skip.iter().find(|skip| skip.reason.trim().is_empty()) {
            bail!("the list of skips gives no reason for {}", bare.test);
        }
        Ok(list)
    }

    fn allows(&self, test: &str) -> bool {
        self.skip.iter().any(|skip| skip.test == test)
    }
}

/// What the last line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Totals {
    /// Ran and held
    pub passed: u32,
    /// Ran and did not hold, died, or was skipped where that is not allowed
    pub failed: u32,
    /// Did not run
    pub skipped: u32,
    /// All skips, to be shown
    pub skips: Vec<Skip>,
    /// Those of them that count as failed
    pub refused: Vec<Skip>,
}

/// Brings them together. A test that noted a skip returned in order, so libtest calls it passed.
/// With a list, what it does not name is refused.
pub fn totals(counter: &Counter, notes: Vec<Skip>, allowed: Option<&Allowed>) -> Totals {
    let noted = counted_once(counter, notes);
    let unnamed = counter.ignored.saturating_sub(counter.ignored_names.len() as u32);
    let ignored = counter
        .ignored_names
        .iter()
        .map(|(test, reason)| Skip { test: test.clone(), reason: reason.clone() })
        .chain((0..unnamed).map(|_| Skip { test: "(unknown)".into(), reason: "ignored".into() }));
    let passed = counter.passed.saturating_sub(noted.len() as u32);
    let skips: Vec<_> = noted.into_iter().chain(ignored).collect();
    let refused: Vec<_> = allowed.map_or_else(Vec::new, |list| {
        skips.iter().filter(|skip| !list.allows(&skip.test)).cloned().collect()
    });
    let failed = counter.failed + refused.len() as u32;
    Totals { passed, failed, skipped: (skips.len() - refused.len()) as u32, skips, refused }
}

/// A test may note more than one skip, and two suites may have a test of the same name: a name
/// counts as often as it passed (once, when its line could not be read). A name that only
/// failed is no skip.
fn counted_once(counter: &Counter, notes: Vec<Skip>) -> Vec<Skip> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut kept = Vec::new();
    let failed: BTreeSet<_> = counter.failed_names.iter().map(String::as_str).collect();
    for skip in notes {
        let passes = match counter.passed_names.get(&skip.test) {
            Some(passes) => *passes,
            None => u32::from(!failed.contains(skip.test.as_str())),
        };
        let times = seen.entry(skip.test.clone()).or_default();
        if *times < passes {
            *times += 1;
            kept.push(skip);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(output: &str) -> Counter {
        let mut counter = Counter::default();
        output.lines().for_each(|line| counter.line(line));
        counter.end();
        counter
    }

    fn suite(lines: &str, result: &str) -> Counter {
        counter(&format!("running 9 tests\n{lines}\ntest result: ok. {result}; 0 measured; 0 filtered out\n"))
    }

    fn three() -> Counter {
        suite("test a ... ok\ntest b::c ... ok\ntest d ... ignored, by hand", "2 passed; 0 failed; 1 ignored")
    }

    fn numbers(totals: &Totals) -> (u32, u32, u32) {
        (totals.passed, totals.failed, totals.skipped)
    }

    #[test]
    fn a_noted_skip_is_not_a_pass() {
        assert_eq!(numbers(&totals(&three(), notes("b::c: needs root\n"), None)), (1, 0, 2));
    }

    #[test]
    fn a_test_that_notes_two_skips_is_one() {
        assert_eq!(numbers(&totals(&three(), notes("a: no tmux\na: no root\n"), None)), (1, 0, 2));
    }

    #[test]
    fn one_name_in_two_suites_is_two() {
        let mut twice = suite("test a ... ok", "1 passed; 0 failed; 0 ignored");
        for line in
            ["running 1 test", "test a ... ok", "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured"]
        {
            twice.line(line);
        }
        assert_eq!(numbers(&totals(&twice, notes("a: no root\na: no root\n"), None)), (0, 0, 2));
    }

    #[test]
    fn a_test_that_noted_a_skip_and_failed_has_failed() {
        let failed = suite("test a ... FAILED\ntest b ... ok", "1 passed; 1 failed; 0 ignored");
        assert_eq!(numbers(&totals(&failed, notes("a: half of it\n"), None)), (1, 1, 0));
    }

    #[test]
    fn a_skip_that_the_list_does_not_name_fails() {
        let list = Allowed::parse("[[skip]]\ntest = 'd'\nreason = 'takes an hour'").unwrap();
        let totals = totals(&three(), notes("a: no root"), Some(&list));
        assert_eq!(numbers(&totals), (1, 1, 1));
        assert_eq!(totals.refused, [Skip { test: "a".into(), reason: "no root".into() }]);
    }

    #[test]
    fn an_ignored_test_whose_name_was_torn_is_refused() {
        let torn = suite("", "0 passed; 0 failed; 1 ignored");
        assert_eq!(numbers(&totals(&torn, Vec::new(), Some(&Allowed::default()))), (0, 1, 0));
    }

    #[test]
    fn a_list_without_reasons_is_refused() {
        assert!(Allowed::parse("[[skip]]\ntest = 'd'\nreason = ' '").is_err());
        assert!(Allowed::parse("[[skip]]\ntest = 'd'").is_err());
    }

    #[test]
    fn the_repositorys_own_list_can_be_read() {
        Allowed::parse(include_str!("../../tests/skips.toml")).unwrap();
    }

    #[test]
    fn a_note_is_split_at_the_first_colon_and_space() {
        let read = notes("lab::dns: no nft: install it\n\nbare\n");
        assert_eq!(read[0], Skip { test: "lab::dns".into(), reason: "no nft: install it".into() });
        assert_eq!(read[1].reason, "no reason given");
    }
}
