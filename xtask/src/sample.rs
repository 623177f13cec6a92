//! `cargo xtask run`. In: options of `goobserve run`. Out: the report of a cold
//! `go mod download` in a copy of tests/sample; nothing is left behind.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::SIGINT;

use crate::workspace::Workspace;
use crate::{build, cmd, setup};

/// Builds, runs, cleans up; the status is goobserve's.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<u8> {
    if cmd::find("go").is_none() {
        bail!("go is not on PATH: install Go 1.21 or later");
    }
    setup::tracefs();
    let binary = build::release(workspace)?;
    // Caught here, Ctrl-C ends the download and goobserve, and the folders still go.
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false))).context("cannot catch Ctrl-C")?;
    let folder = tempfile::Builder::new().prefix("goobserve-").tempdir().context("no temporary folder")?;
    let status = observe(&binary, &workspace.root.join("tests/sample"), folder.path(), args);
    // GOFLAGS=-modcacherw keeps the module cache deletable.
    let left = folder.path().to_path_buf();
    folder.close().with_context(|| format!("cannot remove {}", left.display()))?;
    status
}

fn observe(binary: &Path, sample: &Path, folder: &Path, args: &[OsString]) -> Result<u8> {
    let module = folder.join("sample");
    copy_module(sample, &module)?;
    let mut run = cmd::as_root(binary).context("observing needs root, and there is no sudo")?;
    run.arg("run").args(command_line(args)).current_dir(&module);
    cold(&mut run, folder);
    Ok(cmd::code(cmd::status_of(&mut run)?))
}

/// Options for goobserve, then the command: `go mod download` unless one is given.
fn command_line(args: &[OsString]) -> Vec<OsString> {
    let mut line = args.to_vec();
    if !line.iter().any(|arg| arg == "--") {
        line.extend(["--", "go", "mod", "download"].map(OsString::from));
    }
    line
}

/// Fresh caches: also GOPATH, for the checksum database's latest tree head lies outside the
/// module cache. goobserve hands the variables on through sudo.
fn cold(command: &mut Command, folder: &Path) {
    command
        .env("GOPATH", folder.join("gopath"))
        .env("GOMODCACHE", folder.join("modcache"))
        .env("GOFLAGS", goflags(env::var_os("GOFLAGS")));
}

fn goflags(given: Option<OsString>) -> OsString {
    let mut flags = given.unwrap_or_default();
    if !flags.is_empty() {
        flags.push(" ");
    }
    flags.push("-modcacherw");
    flags
}

/// Copies the module's own files, without go.sum: the checksum database then takes part.
fn copy_module(from: &Path, to: &Path) -> Result<()> {
    let files = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    for file in files {
        let file = file.with_context(|| format!("cannot read {}", from.display()))?.path();
        let Some(name) = file.file_name().filter(|name| *name != OsStr::new("go.sum")) else { continue };
        if file.is_file() {
            fs::copy(&file, to.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn options_come_before_the_usual_command() {
        assert_eq!(command_line(&words("--report markdown")), words("--report markdown -- go mod download"));
    }

    #[test]
    fn a_command_of_ones_own_replaces_it() {
        assert_eq!(command_line(&words("-- go build ./...")), words("-- go build ./..."));
    }

    #[test]
    fn the_users_goflags_stay() {
        assert_eq!(goflags(Some("-mod=mod".into())), "-mod=mod -modcacherw");
        assert_eq!(goflags(None), "-modcacherw");
    }

    #[test]
    fn the_copy_has_no_go_sum() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir(&from).unwrap();
        for name in ["go.mod", "go.sum", "main.go"] {
            fs::write(from.join(name), name).unwrap();
        }
        let to = folder.path().join("to");
        copy_module(&from, &to).unwrap();
        assert!(to.join("go.mod").exists() && to.join("main.go").exists() && !to.join("go.sum").exists());
    }
}
