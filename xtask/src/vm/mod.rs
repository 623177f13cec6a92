//! `cargo xtask vm`. In: a kernel's version, a suite of the tests package. Out: the suite, run by that
//! kernel in a virtual machine, and its status.
//!
//! The machine is qemu's without KVM, so that it runs wherever qemu does. It has no disk and no network:
//! all that the suite takes is in the initramfs, where it is outside. Kernels are Debian's.

mod cpio;
mod init;
mod packages;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::workspace::Workspace;
use crate::{build, cmd};
use packages::{Kernel, Packages};

/// What a machine cannot have: no qemu, no packages. The status of a command that says so.
const CANNOT: u8 = 77;
/// Seconds after which the machine is taken to hang.
const LIMIT: u32 = 300;
/// What the last line begins with that the machine prints.
const STATUS: &str = "vm-status ";

/// Runs the suite, or the tests of it whose names contain `filter`; the status is the suite's.
pub(crate) fn vm(workspace: &Workspace, kernel: &str, suite: &str, filter: Option<&str>) -> Result<u8> {
    let needed = || -> Result<(PathBuf, Kernel, PathBuf)> {
        ensure!(cfg!(target_arch = "x86_64"), "it is made for x86_64 only");
        let qemu = cmd::find("qemu-system-x86_64").context("qemu-system-x86_64 is not installed")?;
        let packages = Packages::open(workspace.target.join("vm"))?;
        Ok((qemu, packages.kernel(kernel)?, packages.busybox()?))
    };
    let (qemu, kernel, busybox) = match needed() {
        Ok(needed) => needed,
        Err(error) => {
            eprintln!("vm: Linux {kernel} cannot be run here: {error:#}");
            return Ok(CANNOT);
        }
    };
    let goobserve = match env::var_os("GOOBSERVE_BIN") {
        Some(path) => PathBuf::from(path),
        None => build::release(workspace)?,
    };
    let suite = suite_program(workspace, suite)?;
    filled(workspace, &suite)?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let initramfs = folder.path().join("initramfs");
    let init = init::Init {
        workspace,
        kernel: &kernel,
        busybox: &busybox,
        goobserve: &goobserve,
        suite: &suite,
        filter,
    };
    init.write(File::create(&initramfs)?, folder.path())?;
    eprintln!("vm: Linux {}", kernel.release);
    boot(&qemu, &kernel.image, &initramfs)
}

/// Builds a suite of the tests package; where its program is.
fn suite_program(workspace: &Workspace, suite: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        executable: Option<PathBuf>,
    }
    let mut cargo = workspace.cargo();
    // Of all packages, so that it is what `cargo xtask test` built: alone it has dependencies with other features.
    cargo.args(["test", "--quiet", "--workspace", "--exclude=observer-ebpf", "--no-run"]);
    cargo.args(["--message-format=json", "--test", suite]);
    let messages = cmd::stdout_of(&mut cargo)?;
    // The package's programs are built along with it.
    let mut built = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let built = built.find(|built| built.target.name == suite && built.executable.is_some());
    built
        .and_then(|built| built.executable)
        .with_context(|| format!("the tests package has no suite {suite}"))
}

/// The modules that the lab serves come from the network, so they are there before the machine is.
fn filled(workspace: &Workspace, suite: &Path) -> Result<()> {
    if workspace.target.join("lab/filled").exists() {
        return Ok(());
    }
    let mut fill = Command::new(suite);
    fill.args(["the_lab_has_modules_to_serve", "--exact"]).current_dir(workspace.root.join("tests"));
    cmd::must(fill.env("CARGO_TARGET_DIR", &workspace.target))
}

/// Boots, passes on what the machine prints, and gives back the status it ends with.
fn boot(qemu: &Path, kernel: &Path, initramfs: &Path) -> Result<u8> {
    let mut machine = Command::new("timeout")
        .args(["--kill-after=5", &LIMIT.to_string()])
        .arg(qemu)
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "3G"])
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-append", "console=ttyS0 edd=off panic=-1 quiet loglevel=3"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu")?;
    let mut status = None;
    let mut output = BufReader::new(machine.stdout.take().context("qemu has no stdout")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        match text.trim_end().strip_prefix(STATUS) {
            Some(number) => status = number.parse().ok(),
            None if text.contains("reboot: Power down") => {}
            None => io::stdout().write_all(text.replace('\r', "").as_bytes())?,
        }
        line.clear();
    }
    let ended = machine.wait()?;
    match status {
        Some(status) => Ok(status),
        None if ended.code() == Some(124) => bail!("the machine did not end within {LIMIT} s"),
        None => bail!("the machine ended without a status: a panic? ({ended})"),
    }
}

/// The files of a folder, as deep as it goes.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
