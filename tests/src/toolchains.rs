//! Go toolchains of other versions than the machine's, which come as modules. In goes a version,
//! out comes the folder that is its GOROOT: the machine's own module cache when it has it, else
//! `target/lab/toolchains`, filled from the network once.

use std::env::consts::ARCH;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::go_env::GoRun;
use crate::{paths, skip};

/// The oldest Go that is understood, in its last release.
pub const OLDEST: &str = "1.21.13";
/// The newest Go that is understood.
pub const NEWEST: &str = "1.27.1";
/// The machine's own Go, whatever it is.
pub const OWN: &str = "own";
/// From the oldest to the newest.
pub const VERSIONS: [&str; 5] = [OLDEST, "1.22.12", "1.24.6", OWN, NEWEST];

/// Modules of the sample that go1.21 refuses: they require a newer Go.
const NOT_FOR_1_21: [&str; 1] = ["go.etcd.io/bbolt"];

/// A Go toolchain that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// `1.21.13`
    pub version: String,
    /// Its GOROOT; nothing is ever written there
    pub root: PathBuf,
}

impl Toolchain {
    /// The toolchain of that version ([`OWN`]: the machine's), fetched if it is not there. Fails
    /// without a network.
    pub fn get(version: &str) -> Result<Self> {
        if version == OWN {
            let version = go_env("GOVERSION")?;
            let version = version.strip_prefix("go").context("GOVERSION is no release")?.to_owned();
            return Ok(Self { version, root: go_env("GOROOT")?.into() });
        }
        let folder = format!("golang.org/toolchain@v0.0.1-go{version}.linux-{}", go_arch()?);
        let own = Path::new(&go_env("GOMODCACHE")?).join(&folder);
        let lab = folder_of_lab()?;
        let root = if is_goroot(&own) { own } else { lab.join("modcache").join(&folder) };
        if !is_goroot(&root) {
            let _lock = locked(&lab)?;
            // Another process may have fetched it meanwhile.
            if !is_goroot(&root) {
                fetch(version, &lab)?;
            }
            ensure!(is_goroot(&root), "go{version} was fetched, and {} has no bin/go", root.display());
        }
        Ok(Self { version: version.to_owned(), root })
    }

    /// As [`Self::get`]; `None`, and the test is reported as skipped, when it cannot be had.
    pub fn for_test(test: &str, version: &str) -> Option<Self> {
        Self::get(version)
            .inspect_err(|error| skip::skipped(test, &format!("go{version} cannot be had: {error:#}")))
            .ok()
    }

    /// The minor version: 21 of 1.21.13.
    pub fn minor(&self) -> Option<u32> {
        self.version.split('.').nth(1)?.parse().ok()
    }

    /// Takes from the project what this go refuses for its age: one module of the sample's eighty
    /// for go1.21, nothing for the others.
    pub fn fit(&self, run: &GoRun) -> Result<()> {
        if self.minor() != Some(21) {
            return Ok(());
        }
        let file = run.project().join("go.mod");
        let text = fs::read_to_string(&file).context("read the project's go.mod")?;
        let refused =
            |line: &str| line.split_whitespace().next().is_some_and(|module| NOT_FOR_1_21.contains(&module));
        let fitting = text
            .lines()
            .filter(|line| !refused(line))
            .map(|line| if line.starts_with("go ") { "go 1.21\n".to_owned() } else { format!("{line}\n") });
        fs::write(&file, fitting.collect::<String>()).context("write the project's go.mod")
    }
}

/// The folder of everything about toolchains, made if needed: `target/lab/toolchains`.
pub(crate) fn folder_of_lab() -> Result<PathBuf> {
    let folder = paths::target().join("lab").join("toolchains");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    fs::canonicalize(&folder).with_context(|| format!("find {}", folder.display()))
}

/// Held by the one process and thread that fills the folder.
pub(crate) fn locked(folder: &Path) -> Result<File> {
    let lock = File::create(folder.join("lock")).context("create the toolchains' lock file")?;
    lock.lock().context("lock the toolchains")?;
    Ok(lock)
}

fn fetch(version: &str, lab: &Path) -> Result<()> {
    let modcache = lab.join("modcache");
    let output = Command::new("go")
        .arg("version")
        .current_dir(lab)
        .env("GOTOOLCHAIN", format!("go{version}"))
        .env("GOMODCACHE", &modcache)
        .env("GOFLAGS", "-modcacherw")
        .env("GOWORK", "off")
        .output()
        .with_context(|| format!("run go to fetch go{version}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // The reason is in the last line; those before it say what is being fetched.
    let reason = said.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "go ended with {}: {reason}", output.status);
    // What was unpacked is all that is used.
    let packed = modcache.join("cache");
    fs::remove_dir_all(&packed).with_context(|| format!("remove {}", packed.display()))
}

fn is_goroot(folder: &Path) -> bool {
    folder.join("bin/go").is_file()
}

fn go_arch() -> Result<&'static str> {
    Ok(match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => anyhow::bail!("there is no name for {other} here"),
    })
}

/// What the machine's own `go env` says.
fn go_env(name: &str) -> Result<String> {
    let output = Command::new("go")
        .args(["env", name])
        .env("GOTOOLCHAIN", "local")
        .output()
        .with_context(|| format!("run go env {name}"))?;
    ensure!(output.status.success(), "go env {name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
