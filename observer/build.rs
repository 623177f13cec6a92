//! Compiles `observer-ebpf` for the BPF target and leaves the object in `OUT_DIR`, where
//! `source/kernel` embeds it. Nothing is built when the program itself is not for Linux.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../observer-ebpf");
    println!("cargo:rerun-if-changed=../observer-common");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return Ok(());
    }
    // Read when it runs: a target folder that is moved keeps the build script, with its paths.
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let root = manifest.parent().context("the workspace folder")?;
    // The linker that `cargo xtask` installs; a bpf-linker on PATH does as well.
    let installed = root.join("target/tools/bin/bpf-linker");
    println!("cargo:rerun-if-changed={}", installed.display());
    let linker = if installed.exists() { installed } else { PathBuf::from("bpf-linker") };
    // aya-build (0.2.1) has no way to say target-cpu, and atomics with a result need v3.
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", env::var("CARGO_CFG_TARGET_ARCH")?),
        "-Ctarget-cpu=v3".into(),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        // Without it LLVM calls loops over bytes for what it fills or copies, which the verifier goes through
        // step by step: a quarter of all that it looks at.
        "-Clink-arg=--disable-expand-memcpy-in-order".into(),
        format!("-Clinker={}", linker.display()),
    ];
    // Diagnostics of the BPF programs, for developers; the verifier goes through ten times as much for them.
    println!("cargo:rerun-if-env-changed=GOOBSERVE_BPF_LOG");
    let silent = env::var_os("GOOBSERVE_BPF_LOG").is_some_and(|wanted| wanted == "0");
    let debug = !silent && env::var("PROFILE").as_deref() == Ok("debug");
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    // Another machine's has a folder of its own: flags that change to and fro build everything anew.
    let folder = if arch == env::consts::ARCH { "bpf".to_owned() } else { format!("bpf-{arch}") };
    let target_dir = root.join("target").join(folder);
    let mut cargo = Command::new(env::var_os("CARGO").context("CARGO is not set")?);
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--package=observer-ebpf",
            "--release",
            "--target=bpfel-unknown-none",
            "-Zbuild-std=core",
        ])
        .args(debug.then_some("--features=log"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    for inherited in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
        cargo.env_remove(inherited);
    }
    // A profile that is set for the program alone: BPF programs link only when they are optimized.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PROFILE_")) {
        cargo.env_remove(name);
    }
    let done = cargo.output().with_context(|| format!("cannot start {cargo:?}"))?;
    if !done.status.success() {
        bail!(
            "the BPF programs do not build (run `cargo xtask build`, which installs what they need)\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    fs::copy(target_dir.join("bpfel-unknown-none/release/goobserve-ebpf"), out.join("goobserve.bpf.o"))?;
    Ok(())
}
