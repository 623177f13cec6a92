//! Time spent in the BPF programs of a process. In goes the process, out come the run times of
//! its programs, even after it has detached them: a descriptor of our own keeps their counters.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use aya::programs::{ProgramFd, loaded_programs};

/// Programs that a process holds.
#[derive(Debug)]
pub struct Programs(Vec<(String, ProgramFd)>);

impl Programs {
    /// Finds the programs by the numbers that the process's descriptors show.
    pub fn of(pid: u32) -> Result<Self> {
        let mut wanted = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).context("list goobserve's descriptors")? {
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            wanted.extend(field(&text, "prog_id").map(|id| id as u32));
        }
        let mut programs = Vec::new();
        for info in loaded_programs() {
            let info = info.context("list the BPF programs")?;
            if wanted.contains(&info.id()) {
                let name = info.name_as_str().unwrap_or_default().to_owned();
                programs.push((name, info.fd().context("open a BPF program")?));
            }
        }
        Ok(Self(programs))
    }

    /// Nanoseconds and runs by name. All 0 unless statistics are enabled (`aya::sys::enable_stats`).
    pub fn run_times(&self) -> HashMap<String, (u64, u64)> {
        let mut times = HashMap::new();
        for (name, program) in &self.0 {
            let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
            let text = fs::read_to_string(path).unwrap_or_default();
            let counted = |name| field(&text, name).unwrap_or(0);
            let sum: &mut (u64, u64) = times.entry(name.clone()).or_default();
            *sum = (sum.0 + counted("run_time_ns"), sum.1 + counted("run_cnt"));
        }
        times
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `name:<tab>number`
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_fdinfo_is_found_by_its_whole_name() {
        let text = "pos:\t0\nprog_id:\t17\nrun_time_ns:\t1234\n";
        assert_eq!(field(text, "prog_id"), Some(17));
        assert_eq!(field(text, "run_time_ns"), Some(1234));
        assert_eq!(field(text, "run_time"), None);
    }
}
