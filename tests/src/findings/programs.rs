//! Go programs of the studies, built with the machine's own go.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::paths;

/// A program and the folder it lives in.
#[derive(Debug)]
pub(super) struct Program {
    _dir: TempDir,
    /// The executable
    pub path: PathBuf,
}

/// Builds a program of one file, of the standard library alone.
pub(super) fn build(source: &str) -> Result<Program> {
    let dir = paths::temp("goobserve-program-").context("make a folder for a program")?;
    fs::write(dir.path().join("main.go"), source)?;
    fs::write(dir.path().join("go.mod"), "module program.test/p\n\ngo 1.25\n")?;
    let path = dir.path().join("program");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&path).current_dir(dir.path());
    go.envs([("GOFLAGS", ""), ("GOWORK", "off"), ("GOTOOLCHAIN", "local"), ("CGO_ENABLED", "0")]);
    super::succeeded(&go.output().context("run go build")?)?;
    Ok(Program { _dir: dir, path })
}
