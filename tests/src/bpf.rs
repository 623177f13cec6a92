//! Which BPF objects the kernel still has. In goes the process that holds them, out come their
//! numbers, and later those of them that are left.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Result, ensure};
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

/// How many entries of the process's hash tables (not those that forget by themselves) name that
/// process in their key or their value: its tree, itself, its threads, its sockets. Needs root.
pub fn entries(holder: u32, pid: u32) -> Result<usize> {
    let mut count = 0;
    for number in Objects::of(holder).maps {
        let Some(map) = Table::open(number) else { continue };
        let mut key = None;
        while let Some(next) = map.next(key.as_deref()) {
            let value = map.value(&next).unwrap_or_default();
            let names = |bytes: &[u8]| bytes.as_chunks().0.contains(&pid.to_ne_bytes());
            count += usize::from(names(&next) || names(&value));
            ensure!(count < 1 << 20, "the table of map {number} does not end");
            key = Some(next);
        }
    }
    Ok(count)
}

/// `bpf(2)` commands and the type of plain hash tables.
const LOOKUP_ELEM: libc::c_long = 1;
const GET_NEXT_KEY: libc::c_long = 4;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const HASH: u32 = 1;

/// A hash table.
struct Table {
    map: OwnedFd,
    key: usize,
    value: usize,
}

impl Table {
    /// `None` when it is another kind of map, or gone.
    fn open(number: u32) -> Option<Self> {
        let mut by_id = [number, 0, 0];
        let fd = bpf(MAP_GET_FD_BY_ID, &mut by_id);
        if fd < 0 {
            return None;
        }
        #[expect(unsafe_code, reason = "a new descriptor comes as a number")]
        // SAFETY: the kernel has just made it.
        let map = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        // The beginning of bpf_map_info: type, id, key_size, value_size.
        let mut info = [0u32; 4];
        let fd_and_len = [map.as_raw_fd() as u32, size_of_val(&info) as u32];
        let mut attr = [u64::from(fd_and_len[0]) | u64::from(fd_and_len[1]) << 32, info.as_mut_ptr() as u64];
        let known = bpf(OBJ_GET_INFO_BY_FD, &mut attr) == 0 && info[0] == HASH;
        known.then_some(Self { map, key: info[2] as usize, value: info[3] as usize })
    }

    fn next(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut next = vec![0; self.key];
        self.ask(GET_NEXT_KEY, key.map_or(0, |key| key.as_ptr() as u64), &mut next).then_some(next)
    }

    fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut value = vec![0; self.value];
        self.ask(LOOKUP_ELEM, key.as_ptr() as u64, &mut value).then_some(value)
    }

    fn ask(&self, command: libc::c_long, key: u64, into: &mut [u8]) -> bool {
        let mut attr = [self.map.as_raw_fd() as u64, key, into.as_mut_ptr() as u64, 0];
        bpf(command, &mut attr) == 0
    }
}

/// One call; `T` is the beginning of `bpf_attr` for that command.
fn bpf<T>(command: libc::c_long, attr: &mut T) -> libc::c_long {
    #[expect(unsafe_code, reason = "bpf(2) has no safe form here")]
    // SAFETY: the callers' attributes, whose pointers lead to as much memory as the kernel writes.
    unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>())
    }
}
