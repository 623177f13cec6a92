//! `cargo xtask test`. In: which tests. Out: the output of cargo-nextest and of the doctests as it
//! comes, a `JUnit` file (`target/nextest/default/junit.xml`), then every skip with its reason, what was left
//! out, and the count line; the status is 1 when anything failed. How tests run (what is alone, what is slow,
//! limits) is in .config/nextest.toml.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{Context as _, Result};

use crate::count::{Listed, Ran};
use crate::skips::{self, Allowed, Totals};
use crate::workspace::Workspace;
use crate::{build, cmd, setup, tools};

/// All but the BPF programs, which are compiled for another machine.
const PACKAGES: [&str; 2] = ["--workspace", "--exclude=observer-ebpf"];
/// nextest's expression for what starts the program: root, BPF, namespaces.
const END_TO_END: &str = "package(tests) & kind(test)";

/// Which tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Part {
    /// Each
    #[default]
    All,
    /// Those that need no privileges
    Unit,
    /// Those that start the program
    EndToEnd,
}

/// What `cargo xtask test` was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options<'a> {
    /// Only tests whose name contains this; slow ones, too
    pub filter: Option<&'a str>,
    /// Slow ones, too
    pub all: bool,
    /// Of which kind
    pub part: Part,
}

/// Runs them. What keeps tests from running at all is one failure.
pub(crate) fn test(workspace: &Workspace, options: Options<'_>) -> Result<u8> {
    let (totals, left_out) = run(workspace, options).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        let failed = Totals { passed: 0, failed: 1, skipped: 0, skips: Vec::new(), refused: Vec::new() };
        (failed, None)
    });
    show(&totals, left_out.as_deref())?;
    Ok(u8::from(totals.failed > 0))
}

fn run(workspace: &Workspace, options: Options<'_>) -> Result<(Totals, Option<String>)> {
    let allowed = if in_ci() { Some(list(&workspace.root.join("tests/skips.toml"))?) } else { None };
    if options.part == Part::Unit {
        setup::toolchain(workspace)?;
    } else {
        setup::everything(workspace)?;
    }
    tools::get(workspace, "cargo-nextest")?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let skips = folder.path().join("skips");
    File::create(&skips).with_context(|| format!("cannot make {}", skips.display()))?;
    let ready = |command: &mut Command| {
        command.args(PACKAGES).env("GOOBSERVE_SKIPS", &skips);
    };

    let mut found = nextest(workspace, "list", options);
    found.args(["--message-format", "json"]);
    ready(&mut found);
    let listed = Listed::parse(&stdout_of(&mut found)?)?;

    let junit = workspace.target.join("nextest/default/junit.xml");
    if junit.exists() {
        fs::remove_file(&junit).with_context(|| format!("cannot remove {}", junit.display()))?;
    }
    let mut tests = nextest(workspace, "run", options);
    ready(&mut tests);
    if options.part != Part::Unit {
        tests.env("GOOBSERVE_BIN", build::release(workspace)?);
    }
    let held = cmd::status_of(&mut tests)?.success();
    let text = fs::read_to_string(&junit).with_context(|| format!("cannot read {}", junit.display()))?;
    let mut ran = checked(Ran::junit(&text)?, &listed, held);

    if options.part != Part::EndToEnd {
        let mut doctests = workspace.cargo();
        doctests.args(["test", "--doc", "--no-fail-fast"]);
        ready(&mut doctests);
        doctests.args(options.filter);
        count_doctests(&mut doctests, &mut ran)?;
    }
    let noted = fs::read(&skips).with_context(|| format!("cannot read {}", skips.display()))?;
    let noted = skips::notes(&String::from_utf8_lossy(&noted));
    Ok((skips::totals(&ran, &listed.ignored, noted, allowed.as_ref()), listed.says()))
}

/// cargo-nextest's command of that name, for those tests.
fn nextest(workspace: &Workspace, command: &str, options: Options<'_>) -> Command {
    let mut cargo = tools::cargo(workspace);
    cargo.args(["nextest", command]);
    match options.part {
        Part::All => {}
        Part::Unit => drop(cargo.args(["-E", &format!("not ({END_TO_END})")])),
        Part::EndToEnd => drop(cargo.args(["-E", END_TO_END])),
    }
    if options.all || options.filter.is_some() {
        cargo.arg("--ignore-default-filter");
    }
    cargo.args(options.filter);
    cargo
}

/// What it prints to stdout; what it says meanwhile is seen.
fn stdout_of(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let done = done.with_context(|| format!("cannot start `{}`", cmd::shown(command)))?;
    anyhow::ensure!(done.status.success(), "`{}` failed: {}", cmd::shown(command), done.status);
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Tests of the list that are not in the file did not run, and nextest's status has the last word: a
/// failure that shows in no count is one.
fn checked(mut ran: Ran, listed: &Listed, held: bool) -> Ran {
    let known = ran.passes() as usize + ran.failed.len();
    ran.failed.extend((known..listed.chosen).map(|_| "a test that did not run".to_owned()));
    if !held && ran.failed.is_empty() {
        ran.failed.push("cargo nextest".to_owned());
    }
    ran
}

/// Runs cargo test, passes its output on and counts it. A failure that shows in no count (a compile
/// error) is one.
fn count_doctests(cargo: &mut Command, ran: &mut Ran) -> Result<()> {
    let shown = cmd::shown(cargo);
    let mut child =
        cargo.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let before = ran.failed.len();
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            io::stdout().write_all(&line)?;
            ran.doctests(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
    let status = child.wait().context("cannot wait for the doctests")?;
    if !status.success() && ran.failed.len() == before {
        ran.failed.push("cargo test --doc".to_owned());
    }
    Ok(())
}

fn show(totals: &Totals, left_out: Option<&str>) -> Result<()> {
    let mut out = io::stdout().lock();
    for skip in &totals.skips {
        let word = if totals.refused.contains(skip) { "skipped, which CI does not allow" } else { "skipped" };
        writeln!(out, "{word}: {}: {}", skip.test, skip.reason)?;
    }
    if !totals.refused.is_empty() {
        writeln!(out, "tests/skips.toml lists the tests that CI may skip, each with its reason")?;
    }
    if let Some(left_out) = left_out {
        writeln!(out, "{left_out}")?;
    }
    writeln!(out, "{}", count_line(totals))?;
    Ok(out.flush()?)
}

/// The last line; CI reads it.
fn count_line(totals: &Totals) -> String {
    format!("{} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.skipped)
}

fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn list(path: &Path) -> Result<Allowed> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Allowed::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_without_a_count_is_one() {
        let mut ran = Ran::default();
        count_doctests(Command::new("sh").args(["-c", "exit 101"]), &mut ran).unwrap();
        assert_eq!(ran.failed.len(), 1);
        assert_eq!(checked(Ran::default(), &Listed::default(), false).failed.len(), 1);
        assert_eq!(checked(Ran::default(), &Listed::default(), true).failed.len(), 0);
    }

    #[test]
    fn a_test_of_the_list_that_has_no_result_failed() {
        let listed = Listed { chosen: 2, ..Listed::default() };
        let ran = Ran { unnamed: 1, ..Ran::default() };
        assert_eq!(checked(ran, &listed, true).failed.len(), 1);
    }

    /// A test of another name would run in every build again, and nobody would know why it is slow.
    #[test]
    fn every_test_that_the_default_filter_names_is_there() {
        let config = include_str!("../../.config/nextest.toml");
        let names: Vec<_> = config
            .split("test(=")
            .skip(1)
            .filter_map(|rest| rest.split_once(')')?.0.rsplit("::").next())
            .collect();
        assert!(names.len() > 3);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut text = String::new();
        let mut open: Vec<_> = ["tests/tests", "observer"].map(|folder| root.join(folder)).into();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
        for name in names {
            assert!(text.contains(&format!("fn {name}(")), "{name}");
        }
    }

    #[test]
    fn the_count_line_is_exactly_this() {
        let totals = Totals { passed: 12, failed: 0, skipped: 3, skips: Vec::new(), refused: Vec::new() };
        assert_eq!(count_line(&totals), "12 passed, 0 failed, 3 skipped");
    }
}
