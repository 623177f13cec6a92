//! Which tests were skipped, and which may be: what cargo-nextest does not know, for a test decides itself
//! that it cannot run. In: the file tests write their skips to (`GOOBSERVE_SKIPS`), what ran,
//! tests/skips.toml. Out: the totals.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::count::Ran;

/// A test that did not run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    /// The test's name, as the test runner prints it
    pub test: String,
    /// Why it did not run
    pub reason: String,
}

/// Lines `name: reason`. A name's `::` is not followed by a space, so the first `: ` ends it.
pub(crate) fn notes(text: &str) -> Vec<Skip> {
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
pub(crate) struct Allowed {
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
    pub(crate) fn parse(text: &str) -> Result<Self> {
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
pub(crate) struct Totals {
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

/// Brings them together. A test that noted a skip returned in order, so nextest calls it passed.
/// With a list, what it does not name is refused.
pub(crate) fn totals(ran: &Ran, ignored: &[String], notes: Vec<Skip>, allowed: Option<&Allowed>) -> Totals {
    let noted = counted_once(ran, notes);
    let passed = ran.passes().saturating_sub(noted.len() as u32);
    let ignored = ignored.iter().map(|test| Skip { test: test.clone(), reason: "ignored".into() });
    let skips: Vec<_> = noted.into_iter().chain(ignored).collect();
    let refused: Vec<_> = allowed.map_or_else(Vec::new, |list| {
        skips.iter().filter(|skip| !list.allows(&skip.test)).cloned().collect()
    });
    let failed = (ran.failed.len() + refused.len()) as u32;
    Totals { passed, failed, skipped: (skips.len() - refused.len()) as u32, skips, refused }
}

/// A test may note more than one skip, and two suites may have a test of the same name: a name
/// counts as often as it passed. A name that only failed is no skip.
fn counted_once(ran: &Ran, notes: Vec<Skip>) -> Vec<Skip> {
    let mut left = ran.passed.clone();
    let mut counts = |skip: &Skip| match left.get_mut(&skip.test) {
        Some(0) | None => false,
        Some(passes) => {
            *passes -= 1;
            true
        }
    };
    notes.into_iter().filter(|skip| counts(skip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(passed: &[&str], failed: &[&str]) -> Ran {
        let mut ran = Ran::default();
        for name in passed {
            *ran.passed.entry((*name).to_owned()).or_default() += 1;
        }
        ran.failed = failed.iter().map(|name| (*name).to_owned()).collect();
        ran
    }

    fn two() -> Ran {
        ran(&["a", "b::c"], &[])
    }

    fn d() -> [String; 1] {
        ["d".to_owned()]
    }

    fn numbers(totals: &Totals) -> (u32, u32, u32) {
        (totals.passed, totals.failed, totals.skipped)
    }

    #[test]
    fn a_noted_skip_is_not_a_pass() {
        assert_eq!(numbers(&totals(&two(), &d(), notes("b::c: needs root\n"), None)), (1, 0, 2));
    }

    #[test]
    fn a_test_that_notes_two_skips_is_one() {
        assert_eq!(numbers(&totals(&two(), &d(), notes("a: no tmux\na: no root\n"), None)), (1, 0, 2));
    }

    #[test]
    fn one_name_in_two_suites_is_two() {
        let notes = notes("a: no root\na: no root\n");
        assert_eq!(numbers(&totals(&ran(&["a", "a"], &[]), &[], notes, None)), (0, 0, 2));
    }

    #[test]
    fn a_test_that_noted_a_skip_and_failed_has_failed() {
        let ran = ran(&["b"], &["a"]);
        assert_eq!(numbers(&totals(&ran, &[], notes("a: half of it\n"), None)), (1, 1, 0));
    }

    #[test]
    fn a_skip_that_the_list_does_not_name_fails() {
        let list = Allowed::parse("[[skip]]\ntest = 'd'\nreason = 'takes an hour'").unwrap();
        let totals = totals(&two(), &d(), notes("a: no root"), Some(&list));
        assert_eq!(numbers(&totals), (1, 1, 1));
        assert_eq!(totals.refused, [Skip { test: "a".into(), reason: "no root".into() }]);
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
