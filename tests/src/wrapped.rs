//! The go command behind something: a version manager's script that is the first `go` on PATH and calls a
//! binary that lies where nobody looks, and that nobody has ever run; what calls it in turn.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::complete::Download;
use crate::go_env::GoOptions;
use crate::lab::Lab;
use crate::paths;
use crate::starts::Fresh;
use crate::toolchains::{OWN, Toolchain};

/// A script in the project's folder that calls others, as make does.
const NESTED: &str = "set -e\nfor step in download; do\n  sh -ec \"true; go mod $step -x\"\ndone\n";
/// The same by make.
const MAKEFILE: &str = "all:\n\t@true\n\tgo mod download -x\n";

/// Ways to call it: a name, and the command.
pub const WAYS: [(&str, &[&str]); 6] = [
    ("script named go", &["go", "mod", "download", "-x"]),
    ("sh -c", &["sh", "-c", "go mod download -x"]),
    ("sh -c, twice", &["sh", "-c", "sh -c 'go mod download -x'; true"]),
    ("env", &["env", "go", "mod", "download", "-x"]),
    ("script of scripts", &["sh", "build.sh"]),
    ("make", &["make", "--no-print-directory"]),
];

/// Has that command call go through a script, which calls a binary that is new.
///
/// # Errors
/// When the script, the binary or the project cannot be made.
///
/// # Panics
/// When the download fails.
#[track_caller]
pub fn download(lab: &Lab, command: &[&str]) -> Result<Download> {
    let fresh = Fresh::new()?;
    let (shims, script) = (fresh.neighbour("shims"), fresh.neighbour("script"));
    fs::create_dir(&shims)?;
    fs::write(&script, format!("#!/bin/sh\nset -e\nexec {} \"$@\"\n", fresh.binary().display()))?;
    paths::copy_program(&script, &shims.join("go"))?;
    let rest = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(shims).chain(env::split_paths(&rest)))?;
    let goroot: PathBuf = Toolchain::get(OWN)?.root;
    let env = [("PATH", path), ("GOROOT", goroot.into())];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned())).into();
    let run = lab.go_run(&GoOptions { env, ..GoOptions::default() })?;
    fs::write(run.project().join("build.sh"), NESTED)?;
    fs::write(run.project().join("Makefile"), MAKEFILE)?;
    Ok(Download::of(lab, &run, command))
}
