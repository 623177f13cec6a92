//! The calls of bpf(2) that aya has no way to say, or says with more work than they need:
//! structures in, descriptors out. Layouts and numbers: Linux, include/uapi/linux/bpf.h (`enum
//! bpf_cmd`, `union bpf_attr`) and `perf_event.h` beside it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_insn, bpf_prog_type};

/// `BPF_F_RDONLY`
const RDONLY: u32 = 1 << 3;
/// `PERF_FLAG_FD_CLOEXEC`
const PERF_CLOEXEC: u64 = 1 << 3;
/// Where the kernel tells the type of uprobes as perf events.
const PERF_UPROBES: &str = "/sys/bus/event_source/devices/uprobe/type";

/// One call.
///
/// # Safety
/// `T` is the part of `union bpf_attr` for `command`, without padding; every pointer in it leads
/// to as much memory as the fields beside it say.
#[expect(unsafe_code, reason = "bpf(2) has no wrapper")]
unsafe fn bpf<T>(command: bpf_cmd, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads the attributes, whose size it is told; the rest is the caller's.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, command as i32, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

/// A call whose result is a new descriptor.
///
/// # Safety
/// As for [`bpf`]; the command returns a descriptor.
#[expect(unsafe_code, reason = "bpf(2) has no wrapper")]
unsafe fn bpf_fd<T>(command: bpf_cmd, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's; a new descriptor is nobody else's.
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn address<T>(of: &[T]) -> u64 {
    if of.is_empty() { 0 } else { of.as_ptr() as u64 }
}

/// Sets the one value of an array, the bytes of a section of the object.
pub fn fill(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        map_fd: u32,
        _pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let key = 0u32;
    let attributes =
        Attributes { map_fd: raw(map), _pad: 0, key: &raw const key as u64, value: address(value), flags: 0 };
    #[expect(unsafe_code, reason = "aya keeps this to itself")]
    // SAFETY: key and value live until it returns; the map was made with the section's size.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

/// Lets nobody change a map any more through a system call; the verifier takes its values for
/// constants.
pub fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = raw(map);
    #[expect(unsafe_code, reason = "aya keeps this to itself")]
    // SAFETY: the attributes are a descriptor.
    unsafe { bpf(bpf_cmd::BPF_MAP_FREEZE, &attributes) }.map(drop)
}

/// A second descriptor of a map, through which it cannot be changed.
pub fn read_only(map: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        id: u32,
        next: u32,
        flags: u32,
    }
    let attributes = Attributes { id: map, next: 0, flags: RDONLY };
    #[expect(unsafe_code, reason = "aya has no way to open a map read-only")]
    // SAFETY: no pointers; the result is a new descriptor.
    unsafe {
        bpf_fd(bpf_cmd::BPF_MAP_GET_FD_BY_ID, &attributes)
    }
}

/// Gives the kernel the types of the object.
pub fn load_btf(btf: &[u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        btf: u64,
        log: u64,
        btf_size: u32,
        log_size: u32,
        log_level: u32,
        _pad: u32,
    }
    let attributes = Attributes {
        btf: address(btf),
        log: 0,
        btf_size: btf.len() as u32,
        log_size: 0,
        log_level: 0,
        _pad: 0,
    };
    #[expect(unsafe_code, reason = "aya keeps this to itself")]
    // SAFETY: the bytes live until it returns; the result is a new descriptor.
    unsafe {
        bpf_fd(bpf_cmd::BPF_BTF_LOAD, &attributes)
    }
}

/// A program as the kernel takes it.
pub struct Code<'a> {
    /// Its name; the kernel keeps 15 bytes
    pub name: &'a str,
    /// What it may be attached to
    pub kind: bpf_prog_type,
    /// `Some` for links of that kind only
    pub attach: Option<bpf_attach_type>,
    /// Relocated instructions, those of the functions it calls included
    pub instructions: &'a [bpf_insn],
    /// As in the object
    pub license: &'a CStr,
    /// The object's types
    pub btf: Option<BorrowedFd<'a>>,
    /// Which of them its functions are: bytes, and bytes a record. Callbacks of `bpf_loop` must
    /// have them
    pub functions: (&'a [u8], usize),
    /// Its lines, for the log: bytes, and bytes a record
    pub lines: (&'a [u8], usize),
}

/// Has the kernel verify a program. `log` is written when it is not empty.
pub fn load_program(code: &Code<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
        prog_ifindex: u32,
        expected_attach_type: u32,
        prog_btf_fd: u32,
        func_info_rec_size: u32,
        func_info: u64,
        func_info_cnt: u32,
        line_info_rec_size: u32,
        line_info: u64,
        line_info_cnt: u32,
        attach_btf_id: u32,
    }
    let mut prog_name = [0; 16];
    for (to, from) in prog_name.iter_mut().take(15).zip(code.name.bytes()) {
        *to = from;
    }
    // Nothing about lines where nobody reads them: the kernel checks and keeps each.
    let [functions, lines] =
        [(true, code.functions), (!log.is_empty(), code.lines)].map(|(wanted, given)| {
            if wanted && code.btf.is_some() && !given.0.is_empty() { given } else { (&[][..], 0) }
        });
    let count = |(bytes, record): (&[u8], usize)| bytes.len().checked_div(record).unwrap_or(0) as u32;
    let attributes = Attributes {
        prog_type: code.kind as u32,
        insn_cnt: code.instructions.len() as u32,
        insns: address(code.instructions),
        license: code.license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name,
        prog_ifindex: 0,
        expected_attach_type: code.attach.map_or(0, |attach| attach as u32),
        prog_btf_fd: code.btf.map_or(0, raw),
        func_info_rec_size: functions.1 as u32,
        func_info: address(functions.0),
        func_info_cnt: count(functions),
        line_info_rec_size: lines.1 as u32,
        line_info: address(lines.0),
        line_info_cnt: count(lines),
        attach_btf_id: 0,
    };
    #[expect(unsafe_code, reason = "aya does not know multi uprobes")]
    // SAFETY: every pointer is of a slice that lives until it returns, with its own length; the
    // licence ends with a nul; the result is a new descriptor.
    unsafe {
        bpf_fd(bpf_cmd::BPF_PROG_LOAD, &attributes)
    }
}

/// Runs a program of a raw tracepoint once, with these arguments; what it returns.
pub fn run(program: BorrowedFd<'_>, arguments: &[u64]) -> io::Result<u32> {
    #[repr(C)]
    struct Attributes {
        prog_fd: u32,
        retval: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        ctx_size_in: u32,
        ctx_size_out: u32,
        ctx_in: u64,
        ctx_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        _pad: u32,
    }
    let mut attributes = Attributes {
        prog_fd: raw(program),
        retval: 0,
        data_size_in: 0,
        data_size_out: 0,
        data_in: 0,
        data_out: 0,
        repeat: 0,
        duration: 0,
        ctx_size_in: size_of_val(arguments) as u32,
        ctx_size_out: 0,
        ctx_in: address(arguments),
        ctx_out: 0,
        flags: 0,
        cpu: 0,
        batch_size: 0,
        _pad: 0,
    };
    #[expect(unsafe_code, reason = "aya cannot run programs of raw tracepoints")]
    // SAFETY: the kernel reads the attributes and the arguments, whose sizes it is told, and writes
    // the result into the attributes.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            bpf_cmd::BPF_PROG_TEST_RUN as i32,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes.retval) }
}

/// Attaches to a raw tracepoint, until the link is closed.
pub fn attach_tracepoint(program: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        name: u64,
        prog_fd: u32,
        _pad: u32,
    }
    let name = CString::new(name)?;
    let attributes = Attributes { name: name.as_ptr() as u64, prog_fd: raw(program), _pad: 0 };
    #[expect(unsafe_code, reason = "aya would have to load the program as well")]
    // SAFETY: the name lives until it returns; the result is a new descriptor.
    unsafe {
        bpf_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &attributes)
    }
}

/// Attaches to offsets of a file, in every process that maps it, until the link is closed. From
/// Linux 6.6 on.
pub fn attach_uprobes(program: BorrowedFd<'_>, path: &CStr, offsets: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        prog_fd: u32,
        target_fd: u32,
        attach_type: u32,
        flags: u32,
        path: u64,
        offsets: u64,
        ref_ctr_offsets: u64,
        cookies: u64,
        cnt: u32,
        multi_flags: u32,
        pid: u32,
        _pad: u32,
    }
    let attributes = Attributes {
        prog_fd: raw(program),
        target_fd: 0,
        attach_type: bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
        flags: 0,
        path: path.as_ptr() as u64,
        offsets: address(offsets),
        ref_ctr_offsets: 0,
        cookies: 0,
        cnt: offsets.len() as u32,
        multi_flags: 0,
        pid: 0,
        _pad: 0,
    };
    #[expect(unsafe_code, reason = "aya does not know multi uprobes")]
    // SAFETY: path and offsets live until it returns; the result is a new descriptor.
    unsafe {
        bpf_fd(bpf_cmd::BPF_LINK_CREATE, &attributes)
    }
}

/// Attaches to one offset of a file by way of a perf event, until the link is closed: before
/// Linux 6.6.
pub fn attach_uprobe(program: BorrowedFd<'_>, path: &CStr, offset: u64) -> io::Result<OwnedFd> {
    /// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER1`
    #[repr(C)]
    struct Event {
        kind: u32,
        size: u32,
        config: u64,
        sample_period: u64,
        sample_type: u64,
        read_format: u64,
        flags: u64,
        wakeup_events: u32,
        bp_type: u32,
        path: u64,
        offset: u64,
    }
    #[repr(C)]
    struct Attributes {
        prog_fd: u32,
        target_fd: u32,
        attach_type: u32,
        flags: u32,
    }
    let kind = std::fs::read_to_string(PERF_UPROBES)?.trim().parse().map_err(io::Error::other)?;
    let event = Event {
        kind,
        size: size_of::<Event>() as u32,
        config: 0,
        sample_period: 1,
        sample_type: 0,
        read_format: 0,
        flags: 0,
        wakeup_events: 1,
        bp_type: 0,
        path: path.as_ptr() as u64,
        offset,
    };
    #[expect(unsafe_code, reason = "perf_event_open(2) has no wrapper")]
    // SAFETY: the kernel reads the event, whose size it is told, and the path it points to; the
    // result is a new descriptor. A program of a uprobe runs on every CPU, whichever is named.
    let event = unsafe {
        let fd = libc::syscall(libc::SYS_perf_event_open, &raw const event, -1, 0, -1, PERF_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd as i32)
    };
    let attributes = Attributes {
        prog_fd: raw(program),
        target_fd: event.as_raw_fd() as u32,
        attach_type: bpf_attach_type::BPF_PERF_EVENT as u32,
        flags: 0,
    };
    #[expect(unsafe_code, reason = "aya would have to load the program as well")]
    // SAFETY: no pointers; the result is a new descriptor, which keeps the event.
    unsafe {
        bpf_fd(bpf_cmd::BPF_LINK_CREATE, &attributes)
    }
}
