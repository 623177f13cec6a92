//! Programs of the repository that are neither the binary nor tests: benches, fuzz targets, what
//! renders the pictures. In: a name. Out: its run.

use std::ffi::OsString;

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use crate::{build, cmd, setup, tools};

/// Runs the tests package's program of that name, in release.
pub(crate) fn bench(workspace: &Workspace, name: &str, args: &[OsString]) -> Result<u8> {
    setup::everything(workspace)?;
    let binary = build::release(workspace)?;
    let mut run = workspace.cargo();
    run.args(["run", "--quiet", "--release", "--package=tests", "--bin", name, "--"]).args(args);
    Ok(cmd::code(cmd::status_of(run.env("GOOBSERVE_BIN", binary))?))
}

/// Renders README's pictures by the test that compares them.
pub(crate) fn pictures(workspace: &Workspace) -> Result<u8> {
    let mut run = workspace.cargo();
    run.args(["test", "--quiet", "--package=render", "--test=pictures"]).env("UPDATE_PICTURES", "1");
    Ok(cmd::code(cmd::status_of(&mut run)?))
}

/// Fuzzes one target, or all, each for so many seconds; stops at the first finding.
pub(crate) fn fuzz(workspace: &Workspace, target: Option<&str>, seconds: u32) -> Result<u8> {
    if !workspace.root.join("tests/fuzz/Cargo.toml").exists() {
        bail!("there are no fuzz targets: tests/fuzz/Cargo.toml is missing");
    }
    setup::toolchain(workspace)?;
    tools::get(workspace, "cargo-fuzz")?;
    // Sanitizers and coverage are options of nightly compilers; the pinned one takes them when asked so,
    // and nothing else has to be installed.
    let cargo_fuzz = |command: &str| {
        let mut cargo = workspace.cargo();
        cargo.env("PATH", tools::path_with(workspace)).env("RUSTC_BOOTSTRAP", "1");
        cargo.args(["fuzz", command, "--fuzz-dir", "tests/fuzz"]);
        cargo
    };
    let targets = cmd::stdout_of(&mut cargo_fuzz("list")).context("cannot list the fuzz targets")?;
    let chosen: Vec<_> = targets.lines().filter(|name| target.is_none_or(|wanted| wanted == *name)).collect();
    if chosen.is_empty() {
        bail!("no fuzz target of that name; there are: {}", targets.lines().collect::<Vec<_>>().join(", "));
    }
    for name in chosen {
        eprintln!("fuzz: {name}, {seconds} s");
        let limit = format!("-max_total_time={seconds}");
        let status = cmd::status_of(cargo_fuzz("run").args([name, "--", &limit]))?;
        if !status.success() {
            return Ok(cmd::code(status));
        }
    }
    Ok(0)
}

/// Bytes as a person reads them.
pub(crate) fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_megabytes() {
        assert_eq!(size(8_249_000), "8.2 MB");
    }
}
