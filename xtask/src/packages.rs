//! The programs that tests use and Debian packages. In: PATH. Out: apt-get install of what is
//! missing, or a warning that names it: tests without it report themselves as skipped.

use std::process::Stdio;

use anyhow::Result;

use crate::cmd;
use crate::setup::{say, warn};

/// A program and the package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("tmux", "tmux"),
    ("tshark", "tshark"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("strace", "strace"),
    ("strip", "binutils"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("sudo", "sudo"),
    ("dnsmasq", "dnsmasq-base"),
    ("git", "git"),
    ("sshd", "openssh-server"),
    ("chromium", "chromium"),
    ("pip3", "python3-pip"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("xz", "xz-utils"),
    ("make", "make"),
];

/// Installs the packages of the programs that are missing.
pub(crate) fn install() {
    let missing = missing(|program| cmd::find(program).is_some());
    if missing.is_empty() {
        return;
    }
    let names = missing.join(" ");
    if cmd::find("apt-get").is_none() {
        warn(&names, "this machine has no apt-get", "install them with its own package manager");
        return;
    }
    say(&format!("Debian packages {names}, which tests use"));
    if let Err(error) = apt(&missing) {
        warn(&names, &format!("{error:#}"), &format!("apt-get update && apt-get install {names}, as root"));
    }
}

/// Installs pip where it is missing: ready-made tools come by it.
pub(crate) fn pip() {
    if cmd::find("pip3").is_none() && cmd::find("apt-get").is_some() {
        say("Debian package python3-pip, by which ready-made tools come");
        if let Err(error) = apt(&["python3-pip"]) {
            warn(
                "python3-pip",
                &format!("{error:#}"),
                "apt-get update && apt-get install python3-pip, as root",
            );
        }
    }
}

/// Installs a package that a build needs.
pub(crate) fn get(package: &str) -> Result<()> {
    anyhow::ensure!(cmd::find("apt-get").is_some(), "this machine has no apt-get");
    apt(&[package])
}

/// Packages to install, each once, in the table's order.
fn missing(there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        NEEDED.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn apt(packages: &[&str]) -> Result<()> {
    let run = |args: &[&str]| -> Result<()> {
        // `env` because sudo drops variables; noninteractive because tshark asks who may capture.
        let Some(mut apt) = cmd::as_root("env") else {
            anyhow::bail!("installing needs root, and there is no sudo");
        };
        apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]);
        apt.args(["-o", "Dpkg::Use-Pty=0"]).args(args);
        // What it unpacks interests nobody; what goes wrong is on stderr.
        cmd::must(apt.stdout(Stdio::null()))
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    run(&["update"])?;
    run(&install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_two_programs_is_installed_once() {
        assert_eq!(
            missing(|program| !["nft", "unshare", "nsenter"].contains(&program)),
            ["nftables", "util-linux"]
        );
    }

    #[test]
    fn nothing_is_installed_when_every_program_is_there() {
        assert_eq!(missing(|_| true), [""; 0]);
    }
}
