//! Runs of programs that the kernel skipped. In: a loaded program. Out: how many of its.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::Program;

/// `BPF_OBJ_GET_INFO_BY_FD`
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
/// Words of `struct bpf_prog_info` up to `recursion_misses`, which is the last of these (Linux 5.12; before
/// it nothing is counted, and the kernel leaves the word alone).
const WORDS: usize = 27;

/// `None` where it cannot be asked.
pub(super) fn of(program: &Program) -> Option<u64> {
    /// What `union bpf_attr` has for it
    #[repr(C)]
    struct Attributes {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = [0u64; WORDS];
    let fd = program.fd().ok()?.as_fd().as_raw_fd();
    let attributes =
        Attributes { fd: fd as u32, len: size_of_val(&info) as u32, info: info.as_mut_ptr() as u64 };
    #[expect(unsafe_code, reason = "aya does not report it")]
    // SAFETY: the kernel reads the attributes, whose size it is given, and writes at most that many bytes of
    // the program's facts; the lengths of arrays in them are zero, so it follows no pointer.
    let status = unsafe {
        libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<Attributes>())
    };
    (status == 0).then_some(info[WORDS - 1])
}
