//! `cargo xtask ci`. In: a step, or none. Out: its work. The workflows in .github/workflows call the same
//! steps, so that CI on another machine cannot drift from this one; a test here compares them.

use anyhow::Result;
use clap::ValueEnum;

use crate::test::{self, Options, Part};
use crate::workspace::Workspace;
use crate::{build, lint, programs};

/// Seconds for each fuzz target.
const FUZZ_SECONDS: u32 = 60;

/// A job of the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
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
}

/// Runs the step. Without one: lint and doc, then all tests but the slow ones.
pub fn ci(workspace: &Workspace, step: Option<Step>) -> Result<u8> {
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
            part(Part::Whole)
        }
    }
}
