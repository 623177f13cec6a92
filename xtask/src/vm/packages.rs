//! Debian's packages of any suite, from the mirror that this machine's apt uses. In: the beginning of a
//! kernel's version. Out: the kernel and its modules, unpacked once into `target/vm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::files_below;
use crate::cmd;

/// Suites with kernels, oldest first.
const SUITES: [&str; 7] =
    ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "sid"];
/// Debian's small kernels, for machines like these.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel that is unpacked.
pub(super) struct Kernel {
    /// As `uname -r` says it
    pub release: String,
    /// What boots
    pub image: PathBuf,
    /// Its modules, compressed or not
    pub modules: Vec<PathBuf>,
}

/// An apt of its own, which knows all suites and installs nothing.
pub(super) struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// Reads the lists of packages, the first time.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        let packages = Self { folder };
        let ready = packages.folder.join("ready");
        if ready.exists() {
            return Ok(packages);
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(packages.folder.join(part))
                .with_context(|| format!("cannot create {}", packages.folder.display()))?;
        }
        let targets = cmd::stdout_of(Command::new("apt-get").args(["indextargets", "--format=$(REPO_URI)"]))?;
        let mirror = targets.lines().find(|uri| uri.ends_with("/debian/"));
        let mirror = mirror.context("this machine's apt has no Debian mirror; try apt-get update")?;
        // The lists' signatures are checked by the keys of this machine's Debian, which may not know a
        // later suite's; what is fetched runs in the virtual machine alone.
        let sources: Vec<String> =
            SUITES.iter().map(|suite| format!("deb [trusted=yes] {mirror} {suite} main\n")).collect();
        fs::write(packages.folder.join("sources.list"), sources.concat())?;
        let at = packages.folder.display();
        let config = format!(
            "Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::State::lists \"{at}/lists\";\nDir::Cache \"{at}/cache\";\nDir::State::status \"/dev/null\";\n\
             APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"false\";\n"
        );
        fs::write(packages.folder.join("apt.conf"), config)?;
        cmd::stdout_of(packages.apt("apt-get").args(["-qq", "update"]))?;
        fs::write(ready, "")?;
        Ok(packages)
    }

    /// The newest kernel whose version begins like that (`6.1`, `6.12.43`), of those that the mirror
    /// still has.
    pub(super) fn kernel(&self, version: &str) -> Result<Kernel> {
        let known = cmd::stdout_of(self.apt("apt-cache").args(["pkgnames", "linux-image-"]))?;
        let mut why = None;
        for release in releases(&known, version) {
            match self.unpacked_kernel(&release) {
                Ok(kernel) => return Ok(kernel),
                Err(error) => why = why.or(Some(error)),
            }
        }
        Err(why.unwrap_or_else(|| anyhow::anyhow!("Debian has no such kernel")))
    }

    fn unpacked_kernel(&self, release: &str) -> Result<Kernel> {
        let folder = self.folder.join(release);
        if !folder.join("ready").exists() {
            self.unpack(&format!("linux-image-{release}"), &folder)?;
            // Since 6.19 that package is empty, and what was in it is in two.
            if !folder.join("boot").exists() {
                self.unpack(&format!("linux-binary-{release}"), &folder)?;
                self.unpack(&format!("linux-modules-{release}"), &folder)?;
            }
            fs::write(folder.join("ready"), "")?;
        }
        let files = files_below(&folder)?;
        let is_image = |file: &&PathBuf| {
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        };
        let image = files.iter().find(is_image).context("the package has no kernel")?.clone();
        let is_module = |file: &PathBuf| file.to_string_lossy().contains(".ko");
        Ok(Kernel {
            release: release.to_owned(),
            image,
            modules: files.into_iter().filter(is_module).collect(),
        })
    }

    /// A static busybox.
    pub(super) fn busybox(&self) -> Result<PathBuf> {
        let folder = self.folder.join("busybox-static");
        if !folder.exists() {
            self.unpack("busybox-static", &folder)?;
        }
        let files = files_below(&folder)?;
        files.into_iter().find(|file| file.ends_with("bin/busybox")).context("the package has no busybox")
    }

    /// Fetches a package and unpacks it into a folder.
    fn unpack(&self, package: &str, to: &Path) -> Result<()> {
        let fetched = tempfile::tempdir_in(&self.folder)?;
        cmd::stdout_of(self.apt("apt-get").args(["-qq", "download", package]).current_dir(fetched.path()))?;
        let [file] = &files_below(fetched.path())?[..] else { bail!("apt-get fetched no {package}") };
        cmd::stdout_of(Command::new("dpkg-deb").arg("-x").arg(file).arg(to)).map(drop)
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.env("APT_CONFIG", self.folder.join("apt.conf"));
        apt
    }
}

/// Releases of that version among names of packages, newest first.
fn releases(packages: &str, version: &str) -> Vec<String> {
    let fits = |release: &&str| {
        let rest = release.strip_prefix(version).filter(|rest| rest.starts_with(['.', '+', '-']));
        rest.is_some_and(|rest| rest.ends_with(FLAVOUR) && !rest.contains("-rt-"))
    };
    let names = packages.lines().filter_map(|name| name.strip_prefix("linux-image-"));
    let mut releases: Vec<String> = names.filter(fits).map(str::to_owned).collect();
    releases.sort_by_key(|release| std::cmp::Reverse(numbers(release)));
    releases
}

fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_version_comes_first_and_6_1_is_not_6_12() {
        let names = "linux-image-6.1.0-9-cloud-amd64\nlinux-image-6.12.43+deb13-cloud-amd64\n\
                     linux-image-6.1.0-50-cloud-amd64\nlinux-image-6.1.0-51-amd64\n\
                     linux-image-6.1.0-52-cloud-amd64-unsigned\nlinux-image-cloud-amd64\n";
        assert_eq!(releases(names, "6.1"), ["6.1.0-50-cloud-amd64", "6.1.0-9-cloud-amd64"]);
        assert_eq!(releases(names, "6.12"), ["6.12.43+deb13-cloud-amd64"]);
        assert_eq!(releases(names, "5.10"), [""; 0]);
    }
}
