//! Checks that run no test: formatting, clippy, licences and sources, rustdoc, macOS. Each check says its
//! name; the status is 1 when one of them found something.

use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{cmd, dist, setup, tools};

const MACOS: &str = "aarch64-apple-darwin";

/// rustfmt, clippy, and cargo-deny without its advisories.
pub(crate) fn lint(workspace: &Workspace) -> Result<u8> {
    setup::toolchain(workspace)?;
    let mut fmt = workspace.cargo();
    fmt.args(["fmt", "--all", "--check"]);
    let mut clippy = workspace.cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--exclude=observer-ebpf", "--", "-Dwarnings"]);
    // Advisories are fetched, and a new one is no fault of the change at hand: `deny` has them.
    let deny = cargo_deny(workspace, &["bans", "licenses", "sources"])?;
    let [bpf, other_bpf] = dist::ARCHS.map(|arch| bpf_clippy(workspace, arch));
    all(vec![fmt, clippy, bpf, other_bpf, deny])
}

/// Everything cargo-deny checks; with the network, for it fetches the advisories.
pub(crate) fn deny(workspace: &Workspace) -> Result<u8> {
    all(vec![cargo_deny(workspace, &[])?])
}

fn cargo_deny(workspace: &Workspace, checks: &[&str]) -> Result<Command> {
    tools::get(workspace, "cargo-deny")?;
    let mut deny = tools::cargo(workspace);
    // Two versions of a crate are reported when somebody asks: without a word a tree each.
    deny.args(["deny", "--log-level", "error", "check"]).args(checks);
    Ok(deny)
}

/// The pages of the code, with every warning an error.
pub(crate) fn doc(workspace: &Workspace) -> Result<u8> {
    setup::toolchain(workspace)?;
    let mut doc = workspace.cargo();
    doc.args(["doc", "--workspace", "--exclude=observer-ebpf", "--no-deps", "--document-private-items"]);
    // A page of a crate may lead to what only its own developers see.
    doc.env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private_intra_doc_links");
    all(vec![doc])
}

/// `cargo check` of the library for macOS, where it replays and reports.
pub(crate) fn macos(workspace: &Workspace) -> Result<u8> {
    if !cmd::status_of(workspace.rustup().args(["target", "add", MACOS]))?.success() {
        println!("macos: SKIPPED: the standard library of {MACOS} cannot be had here; nothing is checked");
        return Ok(0);
    }
    let mut check = workspace.cargo();
    check.args(["check", "--package=observer", "--lib", "--target", MACOS]);
    all(vec![check])
}

/// The BPF programs, as observer/build.rs compiles them for that machine: registers and system calls differ.
/// Nothing is linked.
fn bpf_clippy(workspace: &Workspace, arch: &str) -> Command {
    let flags = format!("--cfg=bpf_target_arch=\"{arch}\"\x1f-Ctarget-cpu=v3");
    let folder = if arch == std::env::consts::ARCH { "bpf".to_owned() } else { format!("bpf-{arch}") };
    let mut clippy = workspace.cargo();
    clippy
        .args(["clippy", "--package=observer-ebpf", "--release", "--target=bpfel-unknown-none"])
        .args(["-Zbuild-std=core", "--target-dir"])
        .arg(workspace.root.join("target").join(folder))
        .args(["--", "-Dwarnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    clippy
}

/// Runs each, whatever the others found.
fn all(checks: Vec<Command>) -> Result<u8> {
    let mut failed = Vec::new();
    for mut check in checks {
        eprintln!("lint: {}", cmd::shown(&check));
        if !cmd::status_of(&mut check)?.success() {
            failed.push(cmd::shown(&check));
        }
    }
    for check in &failed {
        eprintln!("lint: failed: {check}");
    }
    Ok(u8::from(!failed.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_finding_is_enough_and_the_rest_still_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("ran");
        let mut touch = Command::new("touch");
        touch.arg(&mark);
        assert_eq!(all(vec![Command::new("false"), touch]).unwrap(), 1);
        assert!(mark.exists());
        assert_eq!(all(vec![Command::new("true")]).unwrap(), 0);
    }
}
