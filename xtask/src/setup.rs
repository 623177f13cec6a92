//! What building and testing take beyond rustup and Go. In: the machine as it is. Out: the
//! toolchain's parts, bpf-linker, packages, Perfetto's UI, axe-core, tracefs; a word only where something is done or
//! cannot be had. What a build needs is an error, what only tests need is a warning.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;
use crate::{cmd, packages, tools, wheels};

/// Later versions want LLVM's development packages; this one opens the LLVM of the rustc that it links
/// for, whichever that is (22 of Rust 1.95, 23 of 1.99).
const BPF_LINKER: &str = "0.10.4";
/// The target of the static binary.
pub(crate) const STATIC_TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-musl" } else { "x86_64-unknown-linux-musl" };

/// All of it.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    toolchain(workspace)?;
    packages::install();
    tools::get(workspace, "cargo-nextest")?;
    wheels::install(workspace);
    tracefs();
    Ok(())
}

/// What a build needs.
pub(crate) fn toolchain(workspace: &Workspace) -> Result<()> {
    rust_parts(workspace)?;
    c_compiler()?;
    bpf_linker(workspace)
}

/// The C compiler for the static binary: ring, of the gateway's TLS, is partly C.
fn c_compiler() -> Result<()> {
    let own = format!("CC_{}", STATIC_TARGET.replace('-', "_"));
    if std::env::var_os(&own).is_some() || cmd::find("musl-gcc").is_some() {
        return Ok(());
    }
    say("Debian package musl-tools: the C compiler for the static binary");
    packages::get("musl-tools").with_context(|| {
        format!("there is no musl-gcc; install Debian's musl-tools, or name a compiler for musl in {own}")
    })
}

fn rust_parts(workspace: &Workspace) -> Result<()> {
    let sysroot =
        cmd::stdout_of(Command::new("rustc").current_dir(&workspace.root).args(["--print", "sysroot"]))?;
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    if !rustlib.join("src/rust/library/core").exists() {
        say("rust-src: the BPF programs are built with their own core library");
        cmd::must(workspace.rustup().args(["component", "add", "rust-src"])).context(
            "the component rust-src cannot be had; run `rustup component add rust-src` with a network",
        )?;
    }
    if !rustlib.join(STATIC_TARGET).exists() {
        say(&format!("{STATIC_TARGET}: the program is one static binary"));
        cmd::must(workspace.rustup().args(["target", "add", STATIC_TARGET])).with_context(|| {
            format!("the target cannot be had; run `rustup target add {STATIC_TARGET}` with a network")
        })?;
    }
    Ok(())
}

fn bpf_linker(workspace: &Workspace) -> Result<()> {
    let tools = workspace.tools();
    let version = cmd::stdout_of(Command::new(tools.join("bin/bpf-linker")).arg("--version"));
    if version.is_ok_and(|text| text.split_whitespace().any(|word| word == BPF_LINKER)) {
        return Ok(());
    }
    say(&format!("bpf-linker {BPF_LINKER} into {} (a minute or two, once)", tools.display()));
    let mut install = workspace.cargo();
    // Not into the workspace's target folder: `cargo clean` and other profiles do not matter to it.
    install.env_remove("CARGO_TARGET_DIR");
    install.args([
        "install",
        "bpf-linker",
        "--quiet",
        "--version",
        BPF_LINKER,
        "--locked",
        "--force",
        "--root",
    ]);
    cmd::must(install.arg(&tools)).context("bpf-linker cannot be had; it needs the network and a C compiler")
}

/// Mounts tracefs where goobserve reads the tracepoints' formats.
pub(crate) fn tracefs() {
    let place = "/sys/kernel/tracing";
    // From the list of mounts: without root the folder itself cannot be looked into.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !Path::new(place).exists() || mounted_at(&mounts, place) {
        return;
    }
    say(&format!("tracefs at {place}"));
    let hint = "mount it as root: mount -t tracefs tracefs /sys/kernel/tracing";
    let Some(mut mount) = cmd::as_root("mount") else {
        return warn("tracefs", "mounting needs root, and there is no sudo", hint);
    };
    if let Err(error) = cmd::must(mount.args(["-t", "tracefs", "tracefs", place])) {
        warn("tracefs", &format!("{error:#}"), hint);
    }
}

/// Whether /proc/self/mounts lists something at that folder.
fn mounted_at(mounts: &str, place: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(place))
}

/// Says what is being installed.
pub(crate) fn say(what: &str) {
    eprintln!("setup: {what}");
}

/// Says what cannot be had, why, and what to do.
pub(crate) fn warn(what: &str, why: &str, hint: &str) {
    eprintln!("setup: no {what}: {why}\n       to fix it: {hint}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_known_by_its_whole_path() {
        let mounts = "sysfs /sys sysfs rw 0 0\ntracefs /sys/kernel/tracing tracefs rw 0 0\n";
        assert!(mounted_at(mounts, "/sys/kernel/tracing"));
        assert!(!mounted_at(mounts, "/sys/kernel/debug"));
        assert!(!mounted_at(mounts, "tracefs"));
    }
}
