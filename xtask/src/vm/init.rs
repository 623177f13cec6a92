//! The machine's first root. In: a kernel's modules, busybox, goobserve, a suite. Out: an archive that
//! has them, go and the lab's modules, and a first program that runs the suite. What the suite looks for
//! at a path outside lies at the same path inside.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::cpio::Archive;
use super::packages::Kernel;
use super::{FACT, STATUS, files_below};
use crate::cmd;
use crate::workspace::Workspace;

/// Modules that goobserve asks for sockets that are there already, in the order of loading.
const MODULES: [&str; 4] = ["inet_diag", "tcp_diag", "udp_diag", "unix_diag"];

/// Where goobserve is inside.
const GOOBSERVE: &str = "/bin/goobserve";

/// What goes in.
pub(super) struct Init<'a> {
    /// The workspace the suite is of
    pub workspace: &'a Workspace,
    /// The kernel that will run it
    pub kernel: &'a Kernel,
    /// A static busybox
    pub busybox: &'a Path,
    /// goobserve
    pub goobserve: &'a Path,
    /// The suite
    pub suite: &'a Path,
    /// Part of the names of the tests that run
    pub filter: Option<&'a str>,
}

impl Init<'_> {
    /// Writes the archive; `scratch` is a folder for what is left out of it.
    pub(super) fn write(&self, to: File, scratch: &Path) -> Result<()> {
        let mut archive = Archive::new(BufWriter::new(to));
        for folder in ["/bin", "/dev", "/proc", "/sys", "/etc", "/root", "/tmp", "/usr"] {
            archive.folder(Path::new(folder))?;
        }
        archive.file(Path::new("/etc/passwd"), b"root:x:0:0:root:/root:/bin/sh\n")?;
        archive.file(Path::new("/etc/resolv.conf"), b"")?;
        archive.file(Path::new("/bin/busybox"), &read(self.busybox)?)?;
        let suite = scratch.join("suite");
        // Its debugging information is larger than all the rest.
        cmd::must(Command::new("strip").arg("-o").arg(&suite).arg(self.suite))?;
        archive.file(self.suite, &read(&suite)?)?;
        archive.file(Path::new(GOOBSERVE), &read(self.goobserve)?)?;
        for program in [self.suite, self.goobserve] {
            for library in libraries(program)? {
                archive.file(&library, &read(&library)?)?;
            }
        }
        for (n, name) in MODULES.iter().enumerate() {
            if let Some(module) = self.module(name)? {
                archive.file(&PathBuf::from(format!("/modules/{n}.ko")), &module)?;
            }
        }
        let go = go_root()?;
        // By this folder go knows where it is.
        archive.folder(&go.join("pkg/tool"))?;
        for file in ["bin/go", "VERSION", "go.env"].map(|file| go.join(file)) {
            archive.file(&file, &read(&file)?)?;
        }
        let tests = self.workspace.root.join("tests");
        let lab = self.workspace.target.join("lab");
        let served = files_below(&lab.join("modcache/cache/download"))?;
        for file in served.into_iter().chain([lab.join("filled")]).chain(files_below(&tests.join("sample"))?)
        {
            archive.file(&file, &read(&file)?)?;
        }
        archive.file(Path::new("/init"), self.script(&go, &tests).as_bytes())?;
        Ok(archive.end()?)
    }

    /// The first program. A test that was skipped is one that did not run.
    fn script(&self, go: &Path, tests: &Path) -> String {
        format!(
            "#!/bin/busybox sh\n\
             /bin/busybox --install -s /bin\n\
             mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
             mkdir -p /dev/shm\n\
             mount -t tracefs tracefs /sys/kernel/tracing; mount -t cgroup2 cgroup /sys/fs/cgroup\n\
             for module in /modules/*; do insmod $module; done\n\
             ip link set lo up\n\
             export PATH=/bin:{go}/bin HOME=/root GOOBSERVE_BIN={GOOBSERVE} GOOBSERVE_SKIPS=/tmp/skips GOOBSERVE_FACTS=/tmp/facts\n\
             export CARGO_TARGET_DIR={target} RUST_BACKTRACE=0\n\
             cd {tests}; {suite} --test-threads=1 --nocapture {filter}; status=$?\n\
             [ -e /tmp/skips ] && {{ cat /tmp/skips; status=1; }}\n\
             [ -e /tmp/facts ] && sed 's/^/{FACT}/' /tmp/facts\n\
             echo \"{STATUS}$status\"\n\
             poweroff -f\n",
            go = go.display(),
            target = self.workspace.target.display(),
            tests = tests.display(),
            suite = self.suite.display(),
            filter = self.filter.unwrap_or_default(),
        )
    }

    /// A module of the kernel as it is loaded; `None` where it is built in.
    fn module(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let file_name = |file: &&PathBuf| {
            let file = file.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
            file.strip_prefix(name).is_some_and(|rest| rest.starts_with(".ko"))
        };
        let Some(file) = self.kernel.modules.iter().find(file_name) else { return Ok(None) };
        let mut unpack = match file.extension().and_then(|extension| extension.to_str()) {
            Some("ko") => return read(file).map(Some),
            Some("xz") => Command::new("xz"),
            Some("zst") => Command::new("zstd"),
            _ => bail!("{} is packed in an unknown way", file.display()),
        };
        let done = unpack
            .arg("-dc")
            .arg(file)
            .output()
            .with_context(|| format!("{} cannot be unpacked", file.display()))?;
        Ok(Some(done.stdout))
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The libraries that a program is linked to, the loader included; none of a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let done = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&done.stdout);
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// Where the go toolchain is.
fn go_root() -> Result<PathBuf> {
    Ok(PathBuf::from(cmd::stdout_of(Command::new("go").args(["env", "GOROOT"]))?.trim()))
}
