//! What ran and how it ended. In: the `JUnit` file and the list of cargo-nextest, and the output of
//! `cargo test --doc`. Out: numbers and names.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use roxmltree::Document;
use serde::Deserialize;

/// What was counted.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// How often each name passed: two suites may have a test of the same name
    pub passed: BTreeMap<String, u32>,
    /// Names that failed, or whose failure has no name
    pub failed: Vec<String>,
    /// Doctests, which have no names here
    pub unnamed: u32,
}

impl Ran {
    /// Reads a `JUnit` file.
    pub(crate) fn junit(text: &str) -> Result<Self> {
        let document = Document::parse(text).context("the JUnit file is not understood")?;
        let mut ran = Self::default();
        for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
            let name = case.attribute("name").context("a test case without a name")?.to_owned();
            let is_failure = |tag: &str| tag == "failure" || tag == "error";
            if case.children().any(|child| is_failure(child.tag_name().name())) {
                ran.failed.push(name);
            } else {
                *ran.passed.entry(name).or_default() += 1;
            }
        }
        Ok(ran)
    }

    /// All that passed.
    pub(crate) fn passes(&self) -> u32 {
        self.passed.values().sum::<u32>() + self.unnamed
    }

    /// Adds a line of `cargo test --doc`: `test result: ok. 3 passed; 0 failed; …`. Doctests that
    /// are ignored are examples that are not meant to run.
    pub(crate) fn doctests(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        let count = |what: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim_end().parse::<u32>().ok())
        };
        self.unnamed += count("passed").unwrap_or_default();
        self.failed.extend((0..count("failed").unwrap_or_default()).map(|_| "a doctest".to_owned()));
    }
}

/// What cargo-nextest found, before it runs any.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// How many run
    pub chosen: usize,
    /// Tests marked `#[ignore]`
    pub ignored: Vec<String>,
    /// Tests that the default filter leaves out, by suite
    pub left_out: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Output {
    rust_suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
struct Suite {
    testcases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Case {
    filter_match: Match,
}

#[derive(Deserialize)]
struct Match {
    status: String,
    reason: Option<String>,
}

impl Listed {
    /// Reads what `cargo nextest list --message-format json` prints.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let output: Output = serde_json::from_str(json).context("nextest's list is not understood")?;
        let mut listed = Self::default();
        for (suite, tests) in output.rust_suites {
            for (name, case) in tests.testcases {
                match (&*case.filter_match.status, case.filter_match.reason.as_deref()) {
                    ("matches", _) => listed.chosen += 1,
                    (_, Some("ignored")) => listed.ignored.push(name),
                    (_, Some("default-filter")) => {
                        let suite = suite.rsplit("::").next().unwrap_or(&suite);
                        *listed.left_out.entry(suite.to_owned()).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
        Ok(listed)
    }

    /// A line that says what was left out, and how to run it.
    pub(crate) fn says(&self) -> Option<String> {
        let all: u32 = self.left_out.values().sum();
        let suites: Vec<_> =
            self.left_out.iter().map(|(suite, count)| format!("{count} of {suite}")).collect();
        (all > 0).then(|| {
            let tests = if all == 1 { "test" } else { "tests" };
            format!("left out: {all} slow {tests} ({}); `cargo xtask test --all` runs all", suites.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" skipped="0" failures="1" errors="0" time="3.2">
  <testsuite name="one" tests="2">
    <testcase name="a::holds" classname="one" time="0.1"/>
    <testcase name="b" classname="one" time="0.1"><failure message="&lt;no&gt;" type="test failure">said</failure>
      <system-out>it said &#27;[1m</system-out></testcase>
  </testsuite>
  <testsuite name="two" tests="1"><testcase name="a::holds" classname="two" time="3"><system-out>x</system-out></testcase></testsuite>
</testsuites>"#;

    #[test]
    fn passes_and_failures_are_distinguished() {
        let ran = Ran::junit(&JUNIT.replace("&#27;", "")).unwrap();
        assert_eq!((ran.passes(), &*ran.failed), (2, &["b".to_owned()][..]));
        assert_eq!(ran.passed["a::holds"], 2);
    }

    #[test]
    fn what_is_no_junit_is_an_error() {
        assert!(Ran::junit("").is_err());
        assert!(Ran::junit("<testsuites><testsuite><testcase/></testsuite></testsuites>").is_err());
    }

    #[test]
    fn doctests_are_counted_by_their_result_line() {
        let mut ran = Ran::default();
        ran.doctests("running 4 tests");
        ran.doctests("test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out");
        ran.doctests("the test result: ok. 9 passed");
        assert_eq!((ran.passes(), ran.failed.len()), (2, 1));
    }

    #[test]
    fn a_list_says_what_is_left_out() {
        let case =
            |name: &str, rest: &str| format!(r#""{name}":{{"ignored":false,"filter-match":{{{rest}}}}}"#);
        let cases = [
            case("a", r#""status":"matches""#),
            case("b", r#""status":"mismatch","reason":"ignored""#),
            case("c", r#""status":"mismatch","reason":"default-filter""#),
            case("d", r#""status":"mismatch","reason":"expression""#),
        ];
        let json = format!(
            r#"{{"test-count":4,"rust-suites":{{"tests::vm":{{"testcases":{{{}}}}}}}}}"#,
            cases.join(",")
        );
        let listed = Listed::parse(&json).unwrap();
        assert_eq!((listed.chosen, &*listed.ignored), (1, &["b".to_owned()][..]));
        let says = listed.says().unwrap();
        assert_eq!(says, "left out: 1 slow test (1 of vm); `cargo xtask test --all` runs all");
        assert_eq!(Listed::default().says(), None);
    }
}
