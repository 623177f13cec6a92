//! `cargo xtask dist`. In: machines that releases are for. Out: target/dist/goobserve-ARCH, static, each built
//! here; for a machine that is not this one, with Debian's C compiler for it.
//!
//! The C compiler is another system's by its library (glibc, not musl), which is of no consequence: what it
//! compiles, of ring, calls nothing but memcpy and the like, and what is linked is Rust's own musl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::setup::{self, say};
use crate::workspace::Workspace;
use crate::{cmd, packages, programs};

/// Machines that goobserve is built for, as Rust names them.
pub(crate) const ARCHS: [&str; 2] = ["x86_64", "aarch64"];

/// Builds for each of them, or for those named.
pub(crate) fn dist(workspace: &Workspace, named: &[String]) -> Result<u8> {
    setup::toolchain(workspace)?;
    for arch in ARCHS.iter().filter(|arch| named.is_empty() || named.iter().any(|name| name == *arch)) {
        let built = binary(workspace, arch, true)?;
        let place = workspace.target.join("dist").join(format!("goobserve-{arch}"));
        fs::create_dir_all(place.parent().unwrap_or(&workspace.target))?;
        fs::copy(&built, &place).with_context(|| format!("cannot copy to {}", place.display()))?;
        println!("{} ({})", place.display(), programs::size(fs::metadata(&place)?.len()));
    }
    Ok(0)
}

/// Builds the static binary of a machine; where it is.
pub(crate) fn binary(workspace: &Workspace, arch: &str, release: bool) -> Result<PathBuf> {
    let target = format!("{arch}-unknown-linux-musl");
    let mut build = workspace.cargo();
    build.args(["build", "--package=observer", "--bin=goobserve", "--target", &target]);
    build.args(release.then_some("--release"));
    if arch != std::env::consts::ARCH {
        let compiler = cross(workspace, arch, &target)?;
        let name = target.replace('-', "_");
        build.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), &compiler);
        build.env(format!("CC_{name}"), &compiler);
    }
    cmd::must(&mut build)?;
    let profile = if release { "release" } else { "debug" };
    let built = workspace.target.join(&target).join(profile).join("goobserve");
    let header = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let is = Elf::of(&header).with_context(|| format!("{} is no ELF file", built.display()))?;
    ensure!(Some(is.machine) == machine(arch), "{} is for ELF machine {}", built.display(), is.machine);
    ensure!(!is.interpreted, "{} is not static", built.display());
    Ok(built)
}

/// What building for another machine takes; the name of its C compiler, which links as well.
fn cross(workspace: &Workspace, arch: &str, target: &str) -> Result<String> {
    let sysroot =
        cmd::stdout_of(Command::new("rustc").current_dir(&workspace.root).args(["--print", "sysroot"]))?;
    if !Path::new(sysroot.trim()).join("lib/rustlib").join(target).exists() {
        say(&format!("{target}: the static binary for {arch}"));
        cmd::must(workspace.rustup().args(["target", "add", target])).with_context(|| {
            format!("the target cannot be had; run `rustup target add {target}` with a network")
        })?;
    }
    let compiler = format!("{arch}-linux-gnu-gcc");
    if cmd::find(&compiler).is_none() {
        let (package, library) = match arch {
            "aarch64" => ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
            _ => ("gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"),
        };
        say(&format!("Debian packages {package} and {library}: C compiler and linker for {arch}"));
        for package in [package, library] {
            packages::get(package).with_context(|| {
                format!("there is no {compiler}; install Debian's {package} and {library}")
            })?;
        }
    }
    Ok(compiler)
}

/// What an ELF file's headers say.
struct Elf {
    machine: u16,
    /// It needs a loader: it is not static
    interpreted: bool,
}

impl Elf {
    /// Reads the headers of a 64-bit file of the little-endian kind.
    fn of(file: &[u8]) -> Option<Self> {
        const INTERP: u32 = 3;
        let half = |at: usize| file.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
        let word = |at: usize| file.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        file.strip_prefix(b"\x7fELF\x02\x01")?;
        let headers: usize = u64::from_le_bytes(file.get(32..40)?.try_into().ok()?).try_into().ok()?;
        let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
        let kinds: Option<Vec<u32>> = (0..count).map(|n| word(headers.checked_add(n * size)?)).collect();
        Some(Self { machine: half(18)?, interpreted: kinds?.contains(&INTERP) })
    }
}

/// The number of a machine (`e_machine`) of the System V ABI.
fn machine(arch: &str) -> Option<u16> {
    match arch {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_for_which_machine_it_is_and_whether_it_is_static() {
        // This test is linked to the C library.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let own = Elf::of(&own).unwrap();
        assert_eq!(Some(own.machine), machine(std::env::consts::ARCH));
        assert!(own.interpreted);
        assert!(Elf::of(b"#!/bin/sh\n").is_none());
        assert!(Elf::of(b"\x7fELF\x02\x01 and then too little").is_none());
    }
}
