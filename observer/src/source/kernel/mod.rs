//! The live kernel: loads the BPF object, attaches it, names the trees to follow. Belongs to the
//! agent; it parses nothing that comes from an observed process.

mod btf;
mod mapped;
pub mod ring;

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::maps::{HashMap, Map, MapData};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeScope};
use aya::programs::{Program, RawTracePoint, UProbe};
use aya::{Ebpf, EbpfLoader};
use observer_common::{PROCESS_HELD, Process, SINCE_SHIFT, Thread, Tree};
use zerocopy::IntoBytes as _;

use mapped::Mapped;

/// The BPF object; aligned, because its ELF headers are read in place.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/goobserve.bpf.o"));

/// The number of the tree of `run`; the BPF side counts from 2.
const RUN: u32 = 1;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PIDS: &str = "pid:[4026531836]";

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Raw tracepoints, `group:name`; a program has its tracepoint's name. They need no tracefs, and
/// unlike tracepoints through perf they are detached without waiting for every CPU.
const TRACEPOINTS: [&str; 14] = [
    "sched:sched_switch",
    "sched:sched_wakeup",
    "sched:sched_wakeup_new",
    "sched:sched_process_fork",
    "sched:sched_process_exec",
    "sched:sched_process_exit",
    "sock:inet_sock_set_state",
    "tcp:tcp_retransmit_skb",
    "tcp:tcp_receive_reset",
    "tcp:tcp_send_reset",
    "tcp:tcp_probe",
    "filelock:flock_lock_inode",
    "raw_syscalls:sys_enter",
    "raw_syscalls:sys_exit",
];

/// Programs on functions of crypto/tls.
const UPROBES: [&str; 5] =
    ["handshake_enter", "handshake_return", "write_enter", "read_enter", "read_return"];

/// Every tracepoint that is attached, `group:name`: those that must be there, and those that may
/// be missing.
pub const fn tracepoints() -> (&'static [&'static str], &'static [&'static str]) {
    (&TRACEPOINTS, &[])
}

/// File offsets of the probes of one binary.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Probes {
    /// `clientHandshake`: entry and returns
    pub handshake: (u64, Vec<u64>),
    /// `Write`: entry
    pub write: u64,
    /// `Read`: entry and returns
    pub read: (u64, Vec<u64>),
}

/// The loaded and attached object. Dropping it detaches everything.
pub struct Kernel {
    bpf: Ebpf,
    #[cfg(feature = "log")]
    _log: Option<aya_log::EbpfLogger>,
}

/// Descriptors for the worker.
pub struct Shared {
    /// The ring; its reader must be able to write the consumer's place
    pub ring: OwnedFd,
    /// Trees, read-only
    pub trees: OwnedFd,
    /// Counters of lost events, read-only
    pub lost: OwnedFd,
}

impl Kernel {
    /// Loads and attaches the tracepoints. `follow_go`: every `go` that execs begins a tree.
    pub fn load(follow_go: bool) -> Result<Self> {
        let namespace = std::fs::read_link("/proc/self/ns/pid").context("cannot read /proc/self/ns/pid")?;
        if namespace.as_os_str() != INITIAL_PIDS {
            bail!(
                "goobserve runs in a pid namespace of its own, where the kernel's process numbers mean others; run it on the host, or in a container with the host's (--pid=host)"
            );
        }
        let offsets = {
            let data = Mapped::open(BTF).with_context(|| format!("cannot read {BTF}"))?;
            btf::offsets(&data)?
        };
        let follow = u32::from(follow_go);
        let mut bpf = EbpfLoader::new()
            .btf(None)
            .override_global("OFFSETS", offsets.as_bytes(), true)
            .override_global("FOLLOW_GO", &follow, true)
            .load(OBJECT)
            .context("cannot load the BPF object")?;
        for name in UPROBES {
            program::<UProbe>(&mut bpf, name)?
                .load()
                .with_context(|| format!("the kernel refuses program {name}"))?;
        }
        for tracepoint in TRACEPOINTS {
            let name = tracepoint.split(':').next_back().unwrap_or(tracepoint);
            let program = program::<RawTracePoint>(&mut bpf, name)?;
            program.load().with_context(|| format!("the kernel refuses program {name}"))?;
            program.attach(name).with_context(|| format!("cannot attach to {tracepoint}"))?;
        }
        Ok(Self {
            #[cfg(feature = "log")]
            _log: aya_log::EbpfLogger::init(&mut bpf).ok(),
            bpf,
        })
    }

    /// Descriptors for the worker.
    pub fn share(&self) -> Result<Shared> {
        let Some(Map::RingBuf(ring)) = self.bpf.map("RING") else {
            return Err(anyhow!("the object has no RING"));
        };
        let map = |name: &str| match self.bpf.map(name) {
            Some(Map::HashMap(map) | Map::PerCpuArray(map)) => read_only(map),
            _ => Err(anyhow!("the object has no map {name}")),
        };
        Ok(Shared { ring: ring.fd().as_fd().try_clone_to_owned()?, trees: map("TREES")?, lost: map("LOST")? })
    }

    /// Follows a process that is held before its exec, and all that it starts.
    pub fn follow_held(&mut self, pid: u32) -> Result<()> {
        let since_ns = monotonic_ns();
        let tree = Tree { since: since_ns << SINCE_SHIFT, pid: u64::from(pid), ..Tree::default() };
        let process = Process { root: RUN, flags: PROCESS_HELD, since_ns, threads: 1, cpu_ns: 0 };
        let thread = Thread { root: RUN, pid, ..Thread::default() };
        self.put("TREES", RUN, tree.as_bytes())?;
        self.put("THREADS", pid, thread.as_bytes())?;
        self.put("PROCESSES", pid, process.as_bytes())
    }

    /// Forgets a process that turned out to be no go command. Its threads' entries go when they
    /// end.
    pub fn unfollow(&mut self, pid: u32) {
        let root = self.process(pid).map(|process| process.root);
        for (name, key) in [("PROCESSES", Some(pid)), ("TREES", root)] {
            if let (Some(map), Some(key)) = (self.bpf.map_mut(name), key) {
                let gone = match name {
                    "TREES" => remove::<{ size_of::<Tree>() }>(map, key),
                    _ => remove::<{ size_of::<Process>() }>(map, key),
                };
                drop(gone); // a process that ended meanwhile took its entry along
            }
        }
    }

    /// A process that is followed.
    pub fn process(&self, pid: u32) -> Option<Process> {
        let map = HashMap::<_, u32, [u8; size_of::<Process>()]>::try_from(self.bpf.map("PROCESSES")?).ok()?;
        let value = map.get(&pid, 0).ok()?;
        zerocopy::FromBytes::read_from_bytes(&value).ok()
    }

    fn put(&mut self, name: &str, key: u32, value: &[u8]) -> Result<()> {
        let map = self.bpf.map_mut(name).with_context(|| format!("the object has no map {name}"))?;
        match value.len() {
            n if n == size_of::<Tree>() && name == "TREES" => {
                insert::<{ size_of::<Tree>() }>(map, key, value)
            }
            n if n == size_of::<Thread>() && name == "THREADS" => {
                insert::<{ size_of::<Thread>() }>(map, key, value)
            }
            _ => insert::<{ size_of::<Process>() }>(map, key, value),
        }
        .with_context(|| format!("cannot write map {name}"))
    }

    /// Probes a Go binary. Offsets beyond its end are refused.
    pub fn probe(&mut self, file: BorrowedFd<'_>, len: u64, probes: &Probes) -> Result<()> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut points = vec![
            ("handshake_enter", probes.handshake.0),
            ("write_enter", probes.write),
            ("read_enter", probes.read.0),
        ];
        points.extend(probes.handshake.1.iter().map(|&at| ("handshake_return", at)));
        points.extend(probes.read.1.iter().map(|&at| ("read_return", at)));
        if let Some((name, at)) = points.iter().find(|(_, at)| *at >= len) {
            return Err(anyhow!("offset {at:#x} for {name} lies outside the file"));
        }
        // Returns first: an entry without its return would wait in the map for ever.
        for (name, at) in points.into_iter().rev() {
            program::<UProbe>(&mut self.bpf, name)?
                .attach(UProbeAttachLocation::AbsoluteOffset(at), &path, UProbeScope::AllProcesses)
                .with_context(|| format!("cannot attach {name} at {at:#x}"))?;
        }
        Ok(())
    }
}

fn program<'a, P>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program>,
    <&'a mut P as TryFrom<&'a mut Program>>::Error: std::error::Error + Send + Sync + 'static,
{
    let program = bpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

fn insert<const N: usize>(map: &mut Map, key: u32, value: &[u8]) -> Result<()> {
    let value: [u8; N] = value.try_into().context("a value of another size")?;
    Ok(HashMap::<_, u32, [u8; N]>::try_from(map)?.insert(key, value, 0)?)
}

fn remove<const N: usize>(map: &mut Map, key: u32) -> Result<()> {
    Ok(HashMap::<_, u32, [u8; N]>::try_from(map)?.remove(&key)?)
}

/// `CLOCK_MONOTONIC`, nanoseconds: the clock of every event.
pub fn monotonic_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// A second descriptor of a map, through which it cannot be changed.
fn read_only(map: &MapData) -> Result<OwnedFd> {
    /// `BPF_MAP_GET_FD_BY_ID` and `BPF_F_RDONLY` (include/uapi/linux/bpf.h)
    const GET_FD_BY_ID: i32 = 14;
    const RDONLY: u32 = 1 << 3;
    /// The part of `union bpf_attr` for this command.
    #[repr(C)]
    struct Attributes {
        id: u32,
        next: u32,
        flags: u32,
    }
    let attributes = Attributes { id: map.info()?.id(), next: 0, flags: RDONLY };
    #[expect(unsafe_code, reason = "aya has no way to open a map read-only")]
    // SAFETY: the kernel reads the attributes, whose size it is told; the result is a new
    // descriptor that nobody else owns.
    let fd = unsafe {
        let fd = libc::syscall(libc::SYS_bpf, GET_FD_BY_ID, &raw const attributes, size_of::<Attributes>());
        if fd < 0 {
            return Err(std::io::Error::last_os_error()).context("cannot open a map read-only");
        }
        <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32)
    };
    Ok(fd)
}
