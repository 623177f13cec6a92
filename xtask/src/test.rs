//! `cargo xtask test`. In: a filter. Out: the suites' output as it comes, then every skip with
//! its reason, then the count line; the status is 1 when anything failed.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{Context as _, Result};

use crate::count::Counter;
use crate::skips::{self, Allowed, Totals};
use crate::workspace::Workspace;
use crate::{build, cmd, setup};

/// Runs them. What keeps tests from running at all is one failure.
pub fn test(workspace: &Workspace, filter: Option<&str>) -> Result<u8> {
    let totals = run(workspace, filter).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Totals { passed: 0, failed: 1, skipped: 0, skips: Vec::new(), refused: Vec::new() }
    });
    show(&totals)?;
    Ok(u8::from(totals.failed > 0))
}

fn run(workspace: &Workspace, filter: Option<&str>) -> Result<Totals> {
    let allowed = if in_ci() { Some(list(&workspace.root.join("tests/skips.toml"))?) } else { None };
    setup::everything(workspace)?;
    let binary = build::release(workspace)?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let skips = folder.path().join("skips");
    File::create(&skips).with_context(|| format!("cannot make {}", skips.display()))?;
    let mut cargo = workspace.cargo();
    cargo
        .args(["test", "--workspace", "--exclude=observer-ebpf", "--no-fail-fast"])
        .args(filter)
        .env("GOOBSERVE_BIN", &binary)
        .env("GOOBSERVE_SKIPS", &skips);
    let counter = counted(&mut cargo)?;
    let noted = fs::read(&skips).with_context(|| format!("cannot read {}", skips.display()))?;
    Ok(skips::totals(&counter, skips::notes(&String::from_utf8_lossy(&noted)), allowed.as_ref()))
}

/// Runs cargo test, passes its output on and counts it. Cargo's status has the last word: a
/// failure that shows in no count (a compile error) is one.
fn counted(cargo: &mut Command) -> Result<Counter> {
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", cmd::shown(cargo)))?;
    let mut counter = Counter::default();
    if let Some(output) = child.stdout.take() {
        pass_on(output, &mut counter).context("cannot pass the tests' output on")?;
    }
    counter.end();
    let status = child.wait().context("cannot wait for cargo test")?;
    if !status.success() {
        counter.failed = counter.failed.max(1);
    }
    Ok(counter)
}

fn pass_on(output: impl Read, counter: &mut Counter) -> io::Result<()> {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        io::stdout().write_all(&line)?;
        counter.line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(())
}

fn show(totals: &Totals) -> Result<()> {
    let mut out = io::stdout().lock();
    for skip in &totals.skips {
        let word = if totals.refused.contains(skip) { "skipped, which CI does not allow" } else { "skipped" };
        writeln!(out, "{word}: {}: {}", skip.test, skip.reason)?;
    }
    if !totals.refused.is_empty() {
        writeln!(out, "tests/skips.toml lists the tests that CI may skip, each with its reason")?;
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
        let counter = counted(Command::new("sh").args(["-c", "exit 101"])).unwrap();
        assert_eq!((counter.passed, counter.failed), (0, 1));
    }

    #[test]
    fn the_count_line_is_exactly_this() {
        let totals = Totals { passed: 12, failed: 0, skipped: 3, skips: Vec::new(), refused: Vec::new() };
        assert_eq!(count_line(&totals), "12 passed, 0 failed, 3 skipped");
    }
}
