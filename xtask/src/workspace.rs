//! Where things are. Out: the workspace's root and target folder, and a cargo that works there.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::cmd;

/// The folders of this workspace.
pub(crate) struct Workspace {
    /// Folder of the workspace's Cargo.toml
    pub root: PathBuf,
    /// Where cargo builds, whatever settings say so
    pub target: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo, from the folder of the xtask package.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let mut ask = cargo_command();
        ask.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]);
        ask.arg(here.join("Cargo.toml"));
        let answer = cmd::stdout_of(&mut ask)?;
        let found: Metadata =
            serde_json::from_str(&answer).context("cargo metadata's answer is not understood")?;
        Ok(Self { root: found.workspace_root, target: found.target_directory })
    }

    /// A cargo command in the root, with the same target folder as the caller's.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo_command();
        // A relative CARGO_TARGET_DIR would mean another folder in the root than where we are.
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    /// A rustup command in the root, so that rust-toolchain.toml decides.
    pub(crate) fn rustup(&self) -> Command {
        let mut rustup = Command::new("rustup");
        rustup.current_dir(&self.root);
        rustup
    }

    /// Tools that `setup` installs for this workspace; observer/build.rs looks there.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }
}

/// The cargo that runs us, without what it says of our own package: build scripts that
/// watch those variables (ring's) would run again at every change between cargo and xtask.
fn cargo_command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(describes_a_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn describes_a_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stay_and_descriptions_go() {
        assert!(describes_a_package("CARGO_PKG_NAME"));
        assert!(describes_a_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_a_package("CARGO_TARGET_DIR"));
        assert!(!describes_a_package("CARGO_HOME"));
    }

    #[test]
    fn the_root_holds_this_package() {
        let workspace = Workspace::find().unwrap();
        assert!(workspace.root.join("xtask/src/workspace.rs").exists());
    }
}
