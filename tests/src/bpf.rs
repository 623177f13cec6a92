//! Which BPF objects the kernel still has. In goes the process that holds them, out come their
//! numbers, and later those of them that are left.

use nix::libc;

use crate::procs::fdinfo;

/// BPF objects by the kernel's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Programs
    pub programs: Vec<u32>,
    /// Maps
    pub maps: Vec<u32>,
    /// Links: what attaches a program
    pub links: Vec<u32>,
}

/// `bpf(2)` commands that answer with the next number after one.
const PROG_GET_NEXT_ID: libc::c_long = 11;
const MAP_GET_NEXT_ID: libc::c_long = 12;
const LINK_GET_NEXT_ID: libc::c_long = 31;

impl Objects {
    /// What the process holds open.
    pub fn of(pid: u32) -> Self {
        let numbers = |field| {
            let mut numbers = fdinfo(pid, field);
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        Self { programs: numbers("prog_id"), maps: numbers("map_id"), links: numbers("link_id") }
    }

    /// Those that the kernel still has. Needs root.
    #[must_use]
    pub fn left(&self) -> Self {
        let left = |command, numbers: &[u32]| {
            numbers.iter().copied().filter(|number| exists(command, *number)).collect()
        };
        Self {
            programs: left(PROG_GET_NEXT_ID, &self.programs),
            maps: left(MAP_GET_NEXT_ID, &self.maps),
            links: left(LINK_GET_NEXT_ID, &self.links),
        }
    }
}

fn exists(command: libc::c_long, number: u32) -> bool {
    // The beginning of bpf_attr: start_id, next_id, open_flags.
    let mut attr = [number.saturating_sub(1), 0u32, 0];
    #[expect(unsafe_code, reason = "bpf(2) has no safe form here")]
    // SAFETY: the three commands read the first and write the second of these numbers.
    let status = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(&attr)) };
    status == 0 && attr[1] == number
}
