//! `cargo xtask vm`. In: versions of kernels, a suite of the tests package. Out: the suite, run by each of
//! them in a virtual machine, the worst status, and on request the table of what was measured.
//!
//! The machine is qemu's without KVM, so that it runs wherever qemu does. It has no disk and no network:
//! all that the suite takes is in the initramfs, where it is outside. Kernels are Debian's.

mod cpio;
mod init;
mod packages;
mod table;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::workspace::Workspace;
use crate::{build, cmd};
use packages::Packages;
use table::Row;

/// What a machine cannot have: no qemu, no packages. The status of a command that says so.
const CANNOT: u8 = 77;
/// What the last line begins with that the machine prints.
const STATUS: &str = "vm-status ";
/// What a line begins with that is for the table.
const FACT: &str = "vm-fact ";
/// The kernels of the table: what distributions have today, and the newest.
const KERNELS: [&str; 7] = ["6.1", "6.12", "6.16", "6.18", "6.19", "7.2", "7.3"];

/// What is typed.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Beginnings of kernels' versions, of each the newest; without any those of the table
    kernels: Vec<String>,
    /// A file of tests/tests
    #[arg(long, default_value = "kernel")]
    suite: String,
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Write tests/kernels.md anew for these kernels
    #[arg(long)]
    table: bool,
    /// The machine's CPUs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// More of the kernel's command line, e.g. preempt=full
    #[arg(long)]
    append: Option<String>,
    /// Seconds after which a machine is taken to hang
    #[arg(long, default_value_t = 300)]
    limit: u32,
}

/// Runs the suite, or the tests of it whose names contain the filter, on each kernel.
pub(crate) fn vm(workspace: &Workspace, options: &Options) -> Result<u8> {
    let kernels: Vec<&str> = match &options.kernels[..] {
        [] => KERNELS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let needed = || -> Result<(PathBuf, Packages, PathBuf)> {
        ensure!(cfg!(target_arch = "x86_64"), "it is made for x86_64 only");
        let qemu = cmd::find("qemu-system-x86_64").context("qemu-system-x86_64 is not installed")?;
        let packages = Packages::open(workspace.target.join("vm"))?;
        let busybox = packages.busybox()?;
        Ok((qemu, packages, busybox))
    };
    let (qemu, packages, busybox) = match needed() {
        Ok(needed) => needed,
        Err(error) => {
            eprintln!("vm: Linux {} cannot be run here: {error:#}", kernels.join(", "));
            return Ok(CANNOT);
        }
    };
    let goobserve = match env::var_os("GOOBSERVE_BIN") {
        Some(path) => PathBuf::from(path),
        None => build::release(workspace)?,
    };
    let suite = suite_program(workspace, &options.suite)?;
    filled(workspace, &suite)?;
    let table = workspace.root.join("tests/kernels.md");
    let mut rows = table::read(&fs::read_to_string(&table).unwrap_or_default());
    let mut worst = 0;
    for version in kernels {
        let kernel = match packages.kernel(version) {
            Ok(kernel) => kernel,
            Err(error) => {
                eprintln!("vm: Linux {version} cannot be run here: {error:#}");
                worst = if worst == 0 { CANNOT } else { worst };
                continue;
            }
        };
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let initramfs = folder.path().join("initramfs");
        let init = init::Init {
            workspace,
            kernel: &kernel,
            busybox: &busybox,
            goobserve: &goobserve,
            suite: &suite,
            filter: options.filter.as_deref(),
        };
        init.write(File::create(&initramfs)?, folder.path())?;
        eprintln!("vm: Linux {}", kernel.release);
        let (status, facts) = match boot(&qemu, &kernel.image, &initramfs, options) {
            Ok(ended) => ended,
            Err(error) => {
                eprintln!("vm: Linux {}: {error:#}", kernel.release);
                (1, Vec::new())
            }
        };
        let row = Row::of(version, &kernel.release, status == 0, &facts);
        if status != 0 {
            eprintln!("vm: Linux {} failed", kernel.release);
            worst = status;
        } else if let Some(more) = rows.iter().find_map(|known| known.exceeded_by(&row)) {
            eprintln!("vm: Linux {}: {more}", kernel.release);
            worst = u8::from(!options.table);
        }
        rows.retain(|known| known.version != row.version);
        rows.push(row);
        if options.table {
            fs::write(&table, table::write(&mut rows)).context("cannot write tests/kernels.md")?;
        }
    }
    Ok(worst)
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

/// Boots and passes on what the machine prints; the status it ends with, and facts by name.
fn boot(
    qemu: &Path,
    kernel: &Path,
    initramfs: &Path,
    options: &Options,
) -> Result<(u8, Vec<(String, String)>)> {
    let more = options.append.as_deref().unwrap_or_default();
    let limit = options.limit;
    let mut machine = Command::new("timeout")
        .args(["--kill-after=5", &limit.to_string()])
        .arg(qemu)
        .args(["-accel", "tcg", "-cpu", "max", "-smp", &options.cpus.to_string(), "-m", "3G"])
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-append", &format!("console=ttyS0 edd=off panic=-1 quiet loglevel=3 {more}")])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu")?;
    let (mut status, mut facts) = (None, Vec::new());
    let mut output = BufReader::new(machine.stdout.take().context("qemu has no stdout")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let end = text.trim_end();
        if let Some(number) = end.strip_prefix(STATUS) {
            status = number.parse().ok();
        } else if let Some((name, value)) = end.strip_prefix(FACT).and_then(|fact| fact.split_once(": ")) {
            facts.push((name.to_owned(), value.to_owned()));
        } else if !text.contains("reboot: Power down") {
            io::stdout().write_all(text.replace('\r', "").as_bytes())?;
        }
        line.clear();
    }
    let ended = machine.wait()?;
    match status {
        Some(status) => Ok((status, facts)),
        None if ended.code() == Some(124) => bail!("the machine did not end within {limit} s"),
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
