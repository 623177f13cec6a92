//! The release binary. Out: target/release/goobserve, static; and its copy in /usr/local/bin.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::setup::{self, STATIC_TARGET};
use crate::workspace::Workspace;
use crate::{cmd, programs};

/// Builds and says where the binary is and how big.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let binary = release(workspace)?;
    let bytes = fs::metadata(&binary).with_context(|| format!("cannot look at {}", binary.display()))?.len();
    println!("{} ({})", binary.display(), programs::size(bytes));
    Ok(binary)
}

/// Builds and gives back the binary's path.
pub(crate) fn release(workspace: &Workspace) -> Result<PathBuf> {
    setup::toolchain(workspace)?;
    cmd::must(workspace.cargo().args([
        "build",
        "--release",
        "--package=observer",
        "--bin=goobserve",
        "--target",
        STATIC_TARGET,
    ]))?;
    // Cargo keeps another target's programs apart; users look where they always are.
    let built = workspace.target.join(STATIC_TARGET).join("release/goobserve");
    let binary = workspace.target.join("release/goobserve");
    place(&built, &binary)
        .with_context(|| format!("cannot copy {} to {}", built.display(), binary.display()))?;
    Ok(binary)
}

/// Replaces the file by name: a goobserve that runs keeps its own, and no one sees half of it.
fn place(from: &PathBuf, to: &PathBuf) -> std::io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let whole = to.with_extension("new");
    fs::copy(from, &whole)?;
    fs::rename(&whole, to)
}

/// Builds and copies to /usr/local/bin.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let binary = build(workspace)?;
    let to = "/usr/local/bin/goobserve";
    let mut install = cmd::as_root("install")
        .with_context(|| format!("copying to {to} needs root, and there is no sudo; copy it yourself"))?;
    cmd::must(install.args(["-D", "-m", "0755"]).arg(binary).arg(to))?;
    println!("{to}");
    Ok(())
}
