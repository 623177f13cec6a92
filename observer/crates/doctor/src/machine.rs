//! What of this machine go's downloads take: CPUs, the module cache, git. In: settings. Out: checks, from files
//! alone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use model::doctor::Check;
use model::human;
use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use crate::settings::Settings;

/// Less free space is too little for a download of any size.
const SPACE_MIN: u64 = 100 << 20;
/// Less may be.
const SPACE_FEW: u64 = 1 << 30;
/// Bytes of `/proc/locks` that are read.
const LOCKS_MAX: u64 = 1 << 20;

/// What is to be looked at.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The module cache; `None` when it is not known
    pub modcache: Option<PathBuf>,
    /// `go1.26.8`; `None` when it is not known
    pub go_version: Option<String>,
    /// git is in PATH
    pub has_git: bool,
}

/// All checks of the machine.
pub fn check(settings: &Settings, machine: &Machine) -> Vec<Check> {
    let mut all = vec![downloads(settings, machine)];
    all.extend(cache(machine.modcache.as_deref()));
    let list = settings.go("GOPROXY").unwrap_or_default();
    let has_direct = list.split([',', '|']).any(|item| item.trim() == "direct");
    if !machine.has_git && (has_direct && list.trim() == "direct" || settings.go("GOPRIVATE").is_some()) {
        all.push(
            Check::wrong(
                "git-missing",
                "git",
                "not in PATH, and modules are to be cloned: GOPROXY or GOPRIVATE says so",
            )
            .proof("go runs git for what it does not ask a proxy for")
            .fix("install git"),
        );
    }
    all
}

fn downloads(settings: &Settings, machine: &Machine) -> Check {
    let name = "downloads at once";
    // By a control group's limit too, which go knows from 1.25 on.
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if let Some(set) = settings.env("GOMAXPROCS").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n > 0) {
        return Check::good(name, format!("{set}, by GOMAXPROCS"));
    }
    let cpus = cpus().unwrap_or(allowed);
    let minor = machine
        .go_version
        .as_deref()
        .and_then(|version| version.strip_prefix("go1.")?.split('.').next()?.parse::<u32>().ok());
    if allowed < cpus && minor.is_some_and(|minor| minor < 25) {
        return Check::notice(
            "cpu-quota",
            name,
            format!("{cpus}, one a CPU, and the control group has {allowed}: go is stopped in between"),
        )
        .proof("go up to 1.24 does not know of the limit")
        .fix(format!("GOMAXPROCS={allowed} in its environment, or go 1.25"));
    }
    Check::good(name, format!("{allowed}, one a CPU"))
}

fn cpus() -> Option<usize> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok()?;
    Some((0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count())
}

fn cache(folder: Option<&Path>) -> Vec<Check> {
    let name = "module cache";
    let Some(folder) = folder else {
        return vec![
            Check::unknown(name, "where it is is not known: neither GOMODCACHE, GOPATH nor HOME says")
                .fix("set HOME"),
        ];
    };
    let shown = folder.display().to_string();
    let Some(there) = folder.ancestors().find(|path| path.is_dir()) else {
        return vec![Check::unknown(name, format!("{shown} cannot be looked at")).fix("check GOMODCACHE")];
    };
    if access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return vec![
            Check::wrong("cache-not-writable", name, format!("{shown} may not be written to"))
                .proof(format!(
                    "{} is of user {}, and this is user {}",
                    there.display(),
                    owner(there),
                    nix::unistd::geteuid()
                ))
                .fix("name a folder of your own: go env -w GOMODCACHE=DIR"),
        ];
    }
    let mut all = Vec::new();
    let space = statvfs(there).ok().map(|of| of.blocks_available().saturating_mul(of.fragment_size()));
    let free = space
        .map_or_else(|| "free space not known".to_owned(), |bytes| format!("{} free", human::bytes(bytes)));
    let on = statfs(there).ok().and_then(|of| network_name(of.filesystem_type()));
    if space.is_some_and(|bytes| bytes < SPACE_MIN) {
        all.push(
            Check::wrong("disk-full", name, format!("{shown}: {free}"))
                .proof(format!("less than {}", human::bytes(SPACE_MIN)))
                .fix("go clean -modcache, or name a folder with room: go env -w GOMODCACHE=DIR"),
        );
    } else if space.is_some_and(|bytes| bytes < SPACE_FEW) {
        all.push(
            Check::notice("disk-full", name, format!("{shown}: {free}"))
                .fix("go clean -modcache, when it is not enough"),
        );
    }
    if let Some(on) = on {
        all.push(
            Check::notice(
                "network-cache",
                name,
                format!("{shown} is on {on}: each file and each lock crosses the network"),
            )
            .fix("name a local folder: go env -w GOMODCACHE=DIR"),
        );
    }
    if let Some(pid) = holder(&folder.join("cache/lock")) {
        all.push(
            Check::notice(
                "cache-lock-wait",
                name,
                format!("process {pid} holds its lock: go commands that download wait"),
            )
            .proof("/proc/locks")
            .fix(format!("see what it does: sudo goobserve watch --pid {pid}")),
        );
    }
    if all.is_empty() {
        all.push(Check::good(name, format!("{shown}, {free}")));
    }
    all
}

fn owner(path: &Path) -> String {
    fs::metadata(path).map_or_else(|_| "somebody".to_owned(), |about| about.uid().to_string())
}

/// By the numbers of `linux/magic.h`.
fn network_name(kind: FsType) -> Option<&'static str> {
    // Signed or not, by the C library.
    Some(match kind.0 as u32 {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9p",
        _ => return None,
    })
}

/// The process that holds a lock on that file: `1: FLOCK  ADVISORY  WRITE 4121 fe:01:131 0 EOF`.
fn holder(file: &Path) -> Option<u32> {
    use std::io::Read as _;
    let about = fs::symlink_metadata(file).ok()?;
    let mut text = Vec::new();
    fs::File::open("/proc/locks").ok()?.take(LOCKS_MAX).read_to_end(&mut text).ok()?;
    let (major, minor) = (nix::sys::stat::major(about.dev()), nix::sys::stat::minor(about.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", about.ino());
    String::from_utf8_lossy(&text).lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, of, ..] if of == wanted => pid.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    fn findings(checks: &[Check]) -> Vec<&str> {
        checks.iter().filter_map(|check| check.finding.as_deref()).collect()
    }

    #[test]
    fn a_cache_that_is_not_there_yet_is_good_and_a_held_one_names_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("pkg/mod");
        assert_eq!(findings(&cache(Some(&folder))), Vec::<&str>::new());
        assert_eq!(cache(None)[0].state, model::doctor::State::Unknown);
        fs::create_dir_all(folder.join("cache")).unwrap();
        let lock = fs::File::create(folder.join("cache/lock")).unwrap();
        let held = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
        let found = cache(Some(&folder));
        assert_eq!(findings(&found), ["cache-lock-wait"]);
        assert!(found[0].what.contains(&std::process::id().to_string()), "{found:?}");
        drop(held);
        assert_eq!(findings(&cache(Some(&folder))), Vec::<&str>::new());
    }

    #[test]
    fn git_is_missed_only_where_go_would_run_it() {
        let settings = |env: &[(&str, &str)]| Settings {
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Settings::default()
        };
        let missed = |env: &[(&str, &str)]| {
            findings(&check(&settings(env), &Machine::default())).contains(&"git-missing")
        };
        assert!(!missed(&[("GOPROXY", "https://proxy.test,direct")]));
        assert!(missed(&[("GOPROXY", "direct")]));
        assert!(missed(&[("GOPROXY", "https://proxy.test"), ("GOPRIVATE", "git.corp.test")]));
    }
}
