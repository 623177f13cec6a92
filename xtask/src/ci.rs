//! `cargo xtask ci`. In: a step, or none. Out: its work. The workflows in .github/workflows call the same
//! steps, so that CI on another machine cannot drift from this one; a test here compares them.

use anyhow::Result;
use clap::ValueEnum;

use crate::test::{self, Options, Part};
use crate::workspace::Workspace;
use crate::{build, dist, lint, programs};

/// Seconds for each fuzz target.
const FUZZ_SECONDS: u32 = 60;

/// A job of the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// rustfmt, clippy, and cargo-deny without the network
    Lint,
    /// cargo-deny with advisories, which it fetches
    Deny,
    /// rustdoc with warnings denied
    Doc,
    /// Tests that need no privileges
    Unit,
    /// Tests that start the program: root, BPF, namespaces
    Privileged,
    /// Those and the slow ones
    Slow,
    /// Every fuzz target for a minute
    Fuzz,
    /// The static binary
    Build,
    /// The static binaries for every machine that releases are for
    Dist,
}

/// Runs the step. Without one: lint and doc, then all tests but the slow ones.
pub(crate) fn ci(workspace: &Workspace, step: Option<Step>) -> Result<u8> {
    let part = |part| test::test(workspace, Options { part, ..Options::default() });
    match step {
        Some(Step::Lint) => lint::lint(workspace),
        Some(Step::Deny) => lint::deny(workspace),
        Some(Step::Doc) => lint::doc(workspace),
        Some(Step::Unit) => part(Part::Unit),
        Some(Step::Privileged) => part(Part::EndToEnd),
        Some(Step::Slow) => {
            test::test(workspace, Options { part: Part::EndToEnd, all: true, ..Options::default() })
        }
        Some(Step::Fuzz) => programs::fuzz(workspace, None, FUZZ_SECONDS),
        Some(Step::Build) => build::build(workspace).map(|_| 0),
        Some(Step::Dist) => dist::dist(workspace, &[]),
        None => {
            for check in [lint::lint, lint::doc] {
                let status = check(workspace)?;
                if status != 0 {
                    return Ok(status);
                }
            }
            eprintln!(
                "ci: left to a machine with the network and the time: deny, fuzz (`cargo xtask ci STEP`)"
            );
            part(Part::All)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use yaml_rust2::{Yaml, YamlLoader};

    use super::*;

    const CI: &str = include_str!("../../.github/workflows/ci.yml");
    const RELEASE: &str = include_str!("../../.github/workflows/release.yml");
    const EXAMPLE: &str = include_str!("../../docs/ci/github.yml");
    const RUN: &str = include_str!("../../.ci/run");

    /// The steps of a workflow's jobs.
    fn steps(text: &str) -> Vec<Yaml> {
        let [workflow] = &YamlLoader::load_from_str(text).unwrap()[..] else { panic!("one document") };
        let jobs = workflow["jobs"].as_hash().unwrap().values();
        let each = |job: &Yaml| {
            assert!(job["runs-on"].as_str().is_some());
            job["steps"].as_vec().unwrap().clone()
        };
        jobs.flat_map(each).collect()
    }

    /// What `cargo xtask ci` is called with in its scripts.
    fn called(text: &str) -> BTreeSet<String> {
        let steps = steps(text);
        let scripts = steps.iter().filter_map(|step| step["run"].as_str());
        let calls = scripts.filter_map(|script| script.rsplit_once("cargo xtask ")?.1.strip_prefix("ci "));
        calls.map(|step| step.trim().to_owned()).collect()
    }

    #[test]
    fn the_workflows_call_every_step_and_no_other() {
        let known: BTreeSet<String> = Step::value_variants()
            .iter()
            .map(|step| step.to_possible_value().unwrap().get_name().to_owned())
            .collect();
        assert_eq!(called(CI).union(&called(RELEASE)).cloned().collect::<BTreeSet<_>>(), known);
        assert!(RUN.ends_with("\ncargo xtask ci\n"));
    }

    #[test]
    fn every_action_is_pinned_to_a_version() {
        for step in [CI, RELEASE].iter().flat_map(|text| steps(text)) {
            let Some(action) = step["uses"].as_str() else { continue };
            let (_, version) = action.rsplit_once("@v").unwrap();
            assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{action}");
        }
    }

    #[test]
    fn no_job_runs_without_a_limit_and_none_may_write_but_the_release() {
        let [workflow] = &YamlLoader::load_from_str(CI).unwrap()[..] else { panic!("one document") };
        assert_eq!(workflow["permissions"]["contents"].as_str(), Some("read"));
        for (name, job) in workflow["jobs"].as_hash().unwrap() {
            assert!(job["timeout-minutes"].as_i64().is_some(), "{name:?}");
            assert!(job["permissions"].is_badvalue(), "{name:?}");
        }
    }

    #[test]
    fn the_example_for_other_projects_can_be_read() {
        assert!(steps(EXAMPLE).len() > 1);
    }
}
