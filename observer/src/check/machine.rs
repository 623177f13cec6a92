//! The checks themselves. In: a folder that is `/`, and what cannot be read from files. Out:
//! checks in the order in which they depend on each other.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::container::{Container, is_marked};
use super::{Check, OLDEST_KERNEL, State};
use crate::run::program;

/// Bits of `CapEff` in `/proc/self/status`.
pub(super) const CAPABILITIES: [(&str, u32, &str); 5] = [
    ("CAP_BPF", 39, "loading programs and maps"),
    ("CAP_PERFMON", 38, "attaching them"),
    ("CAP_SYS_ADMIN", 21, "probes in user programs"),
    ("CAP_SYS_PTRACE", 19, "looking at other users' processes"),
    ("CAP_DAC_READ_SEARCH", 2, "reading other users' binaries"),
];
pub(super) const NEEDS_ROOT: &str = "run it with sudo";
const TRACEFS: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];

/// Where and what to look at.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    /// The folder that is `/`
    pub root: &'a Path,
    /// The kernel's release, as `uname -r` says it
    pub release: &'a str,
    /// Tracepoints that are attached, `group:event`; those that the tool can do without are
    /// in `optional`
    pub tracepoints: &'a [&'a str],
    /// Tracepoints without which something is not seen
    pub optional: &'a [&'a str],
    /// PATH to look for go in: the calling user's
    pub path: Option<&'a OsStr>,
}

/// Looks whether a go binary can be probed: `Ok` says what it is (`go1.26.8`), `Err` why not.
pub type Plan<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// Checks everything. `plan` is `None` where the go command does not matter (`run` knows its
/// own program).
pub fn checks(at: &Root<'_>, plan: Option<Plan<'_>>) -> Vec<Check> {
    let mut all = vec![kernel(at)];
    let container = Container::of(at);
    match &container {
        Some(container) => all.push(container.check()),
        None => all.push(capabilities(at)),
    }
    all.push(lockdown(at));
    all.push(btf(at));
    let tracing = tracefs(at);
    all.push(match &tracing {
        Ok(path) => Check::ok("tracefs", format!("mounted at {}", shown(at, path))),
        Err(_) if container.is_some() || is_marked(at) => {
            Check::ok("tracefs", "not in this container, where nothing needs it")
        }
        Err(check) => check.clone(),
    });
    if let Ok(path) = &tracing {
        all.push(tracepoints(path, "tracepoints", at.tracepoints, State::Missing));
        if !at.optional.is_empty() {
            all.push(tracepoints(path, "optional tracepoints", at.optional, State::Degraded));
        }
    }
    if container.is_none() {
        all.push(Check::ok("pid namespace", "the host's"));
    }
    all.push(uprobes(at));
    if let Some(plan) = plan {
        all.push(go(at, plan));
    }
    all
}

fn shown(at: &Root<'_>, path: &Path) -> String {
    format!("/{}", path.strip_prefix(at.root).unwrap_or(path).display())
}

pub(super) fn read(at: &Root<'_>, path: &str) -> Option<String> {
    std::fs::read_to_string(at.root.join(path)).ok()
}

/// `5.18.0-rc1` is (5, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(at: &Root<'_>) -> Check {
    let (major, minor) = OLDEST_KERNEL;
    match version(at.release) {
        Some(found) if found >= OLDEST_KERNEL => {
            Check::ok("kernel", format!("{} (ring buffers, bpf_loop)", at.release))
        }
        Some(_) => Check::missing(
            "kernel",
            format!("{} is older than {major}.{minor}", at.release),
            format!("boot a kernel of {major}.{minor} or later"),
        ),
        None => Check::degraded(
            "kernel",
            format!("the release {:?} has no version number", at.release),
            format!("make sure that it is {major}.{minor} or later: uname -r"),
        ),
    }
}

/// A user's; of root that lacks some [`Container`] speaks.
fn capabilities(at: &Root<'_>) -> Check {
    let effective = read(at, "proc/self/status").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    let Some(effective) = effective else {
        let why = "/proc/self/status cannot be read";
        return Check::missing("privileges", why, "mount -t proc proc /proc");
    };
    let lacking: Vec<_> = CAPABILITIES.iter().filter(|(_, bit, _)| effective & (1 << bit) == 0).collect();
    if lacking.is_empty() {
        let names: Vec<_> = CAPABILITIES.iter().map(|(name, ..)| *name).collect();
        return Check::ok("privileges", names.join(", "));
    }
    if lacking.len() == CAPABILITIES.len() {
        return Check::missing("privileges", "not root, and no capabilities", NEEDS_ROOT);
    }
    let lacking: Vec<_> = lacking.iter().map(|(name, _, what)| format!("{name} ({what})")).collect();
    Check::missing("privileges", format!("not root, and without {}", lacking.join(", ")), NEEDS_ROOT)
}

fn lockdown(at: &Root<'_>) -> Check {
    let text = read(at, "sys/kernel/security/lockdown").unwrap_or_default();
    let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(mode, _)| mode);
    match mode {
        Some("confidentiality") => Check::missing(
            "lockdown",
            "confidentiality forbids BPF programs to read memory",
            "boot with lockdown=integrity or without lockdown",
        ),
        Some(mode) => Check::ok("lockdown", mode),
        None => Check::ok("lockdown", "not in this kernel, or not shown"),
    }
}

fn btf(at: &Root<'_>) -> Check {
    if at.root.join("sys/kernel/btf/vmlinux").is_file() {
        return Check::ok("BTF", "/sys/kernel/btf/vmlinux");
    }
    Check::missing(
        "BTF",
        "/sys/kernel/btf/vmlinux does not exist",
        "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (every distribution's is), with /sys mounted",
    )
}

/// The mounted tracefs.
fn tracefs(at: &Root<'_>) -> Result<PathBuf, Check> {
    let mut forbidden = None;
    for path in TRACEFS.map(|path| at.root.join(path)) {
        match std::fs::read_dir(path.join("events")) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                forbidden = forbidden.or(Some(path));
            }
            Err(_) => {}
        }
    }
    // Raw tracepoints are attached without it: it only reports beforehand which there are.
    Err(match forbidden {
        Some(path) => Check::degraded("tracefs", format!("{} may not be read", shown(at, &path)), NEEDS_ROOT),
        None if at.root.join(TRACEFS[0]).is_dir() => Check::degraded(
            "tracefs",
            "not mounted at /sys/kernel/tracing; observing goes on, but which tracepoints there are is not known",
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
        None => Check::degraded(
            "tracefs",
            "/sys/kernel/tracing does not exist",
            "boot a kernel built with CONFIG_FTRACE=y, with /sys mounted",
        ),
    })
}

fn tracepoints(tracefs: &Path, name: &str, needed: &[&str], without: State) -> Check {
    let exists = |event: &str| {
        let path = event.replacen(':', "/", 1);
        tracefs.join("events").join(path).join("format").exists()
    };
    let lacking: Vec<&str> = needed.iter().copied().filter(|event| !exists(event)).collect();
    if lacking.is_empty() {
        return Check::ok(name, format!("all {}", needed.len()));
    }
    let hint = if lacking.iter().any(|event| event.starts_with("raw_syscalls:")) {
        "boot a kernel built with CONFIG_FTRACE_SYSCALLS=y (every distribution's is)"
    } else {
        "boot a newer kernel, or one of a distribution"
    };
    Check::bad(without, name, format!("{} not in this kernel", lacking.join(", ")), hint)
}

/// The kernel's process numbers are those of the initial namespace
/// (`PROC_PID_INIT_INO` of `include/linux/proc_ns.h`).
pub(super) fn is_initial_pid_namespace(at: &Root<'_>) -> bool {
    let link = std::fs::read_link(at.root.join("proc/self/ns/pid"));
    link.is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

fn uprobes(at: &Root<'_>) -> Check {
    if at.root.join("sys/bus/event_source/devices/uprobe").exists() {
        return Check::ok("uprobes", "in this kernel");
    }
    Check::missing(
        "uprobes",
        "not in this kernel",
        "boot a kernel built with CONFIG_UPROBE_EVENTS=y (every distribution's is)",
    )
}

fn go(at: &Root<'_>, plan: Plan<'_>) -> Check {
    let presence = |path: &Path| match path.strip_prefix("/") {
        Ok(inside) => program::presence(&at.root.join(inside)),
        Err(_) => program::presence(path),
    };
    let path = match program::resolve(OsStr::new("go"), at.path, presence) {
        Ok(path) => path,
        Err(error) => {
            return Check::degraded("go", format!("{error} in PATH"), "put the folder of go into PATH");
        }
    };
    let inside = path.strip_prefix("/").map_or_else(|_| path.clone(), |inside| at.root.join(inside));
    match plan(&inside) {
        Ok(what) => Check::ok("go", format!("{} is {what}", path.display())),
        Err(why) => Check::degraded(
            "go",
            format!("{}: {why}; its requests will not be seen", path.display()),
            "use an official go distribution for linux",
        ),
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
