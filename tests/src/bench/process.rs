//! What the kernel says of a process: children, CPU time, peak memory. In goes a pid; `None`
//! comes out when it has gone.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU of all children that were waited for, and of theirs.
pub fn children_cpu_ns() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    Ok((micros(usage.user_time()) + micros(usage.system_time())) * 1000)
}

/// CPU of all threads, those that ended included; also of a process that ended and was not yet
/// waited for.
pub fn cpu_ns(pid: u32) -> Option<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).ok()?;
    let time = clock_gettime(clock).ok()?;
    Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Peak of the resident memory, bytes; `None` for a process that has ended.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Children of the process's first thread.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Path of its program.
pub fn program(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Its arguments, NUL-separated.
pub fn arguments(pid: u32) -> String {
    fs::read(format!("/proc/{pid}/cmdline"))
        .map_or_else(|_| String::new(), |a| String::from_utf8_lossy(&a).into())
}

/// The load average over the last minute.
pub fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_takes_cpu_and_memory() {
        let me = std::process::id();
        let before = cpu_ns(me).unwrap();
        while cpu_ns(me).unwrap() == before {}
        assert!(peak_memory(me).unwrap() > 100_000);
        assert_eq!(program(me), std::env::current_exe().ok());
        assert!(arguments(me).contains("tests"));
    }

    #[test]
    fn nothing_is_known_of_a_process_that_was_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!((cpu_ns(pid), peak_memory(pid), program(pid)), (None, None, None));
    }
}
