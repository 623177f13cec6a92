//! The live kernel: loads the BPF object, attaches it, names the trees to follow. Belongs to the
//! agent; it parses nothing that comes from an observed process.

mod btf;
mod diagnostics;
mod hastening;
mod load;
mod mapped;
mod preexisting;
mod proof;
pub mod ring;
mod skipped;

use model::id::Pid;
use model::time::Monotonic;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, anyhow};
use aya::Ebpf;
use aya::maps::{HashMap as BpfHashMap, Map, MapData};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya::programs::{ProbeKind, Program, RawTracePoint, UProbe};
use diagnostics::Diagnostics;
use hastening::Hastening;
use mapped::Mapped;
use observer_common::{
    AT_STACK_CHECK, LOCAL_RESOLVERS, PLACE_CLOSE, PLACE_HANDSHAKE, PLACE_HANDSHAKE_RETURN, PLACE_READ,
    PLACE_READ_RETURN, PLACE_RECORD, PLACE_WRITE, PROCESS_HELD, Process, SINCE_SHIFT, Thread, Tree,
    UNKNOWN32,
};
pub use preexisting::PreexistingTask;
pub use proof::prove;
use zerocopy::IntoBytes as _;

/// The BPF object; aligned, because its ELF headers are read in place.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/goobserve.bpf.o"));

/// The number of the tree of `run`; the BPF side counts from 2.
pub const RUN: u32 = 1;

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Raw tracepoints, `group:name`; a program has its tracepoint's name. They need no tracefs, and
/// unlike tracepoints through perf they are detached without waiting for every CPU.
const TRACEPOINTS: [&str; 13] = [
    "sched:sched_switch",
    "sched:sched_wakeup",
    "sched:sched_wakeup_new",
    "sched:sched_process_fork",
    "sched:sched_process_exec",
    "sched:sched_process_exit",
    "sock:inet_sock_set_state",
    "tcp:tcp_destroy_sock",
    "tcp:tcp_retransmit_skb",
    "tcp:tcp_receive_reset",
    "tcp:tcp_send_reset",
    "tcp:tcp_probe",
    "filelock:flock_lock_inode",
];

/// Where a route is looked up, so that a `connect` is seen that fails before it sends anything. Without them it
/// is not: the second is not there where a kernel has no IPv6.
const OPTIONAL: [&str; 2] = ["fib:fib_table_lookup", "fib6:fib6_table_lookup"];

/// Where bytes are seen that cross a socket. Unlike the system calls' tracepoints these cost
/// nothing but where a socket is used.
const LENGTHS: [&str; 2] = ["sock:sock_send_length", "sock:sock_recv_length"];

/// In their place before Linux 6.3.
const CALLS: [&str; 1] = ["raw_syscalls:sys_exit"];

/// The program that handles what the one at [`LENGTHS`] was skipped for.
const TWIN: &str = "sock_length_twin";

/// The program on functions of crypto/tls.
const GO_TLS: &str = "go_tls";

/// Every tracepoint that is attached, `group:name`: those that must be there, and those that may
/// be missing.
pub const fn tracepoints() -> (&'static [&'static str], &'static [&'static str]) {
    (&TRACEPOINTS, &OPTIONAL)
}

/// File offsets of the probes of one binary.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Probes {
    /// `clientHandshake`: entry and returns
    pub handshake: (Entry, Vec<u64>),
    /// `Write`: entry
    pub write: Entry,
    /// What was received
    pub received: Received,
}

/// Where a function begins, as its probe has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// File offset
    pub at: u64,
    /// It lies on the jump of the stack check; see [`goelf::EntryPlace::Jump`]
    pub at_stack_check: bool,
}

/// Where plain text is seen that was received; see [`goelf::Received`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Received {
    /// Behind `decrypt`
    Records {
        /// The jump
        decrypted: u64,
        /// The connection, from the stack pointer
        connection: u32,
        /// `Close`: entry
        close: Entry,
    },
    /// `Read`: entry and returns
    Calls(Entry, Vec<u64>),
}

/// The probes of one binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attached(u64);

/// What the kernel's verifier made of the programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// How many there are
    pub programs: usize,
    /// Instructions that it went through for all of them, what nearly all of a start is spent on; `None`
    /// where it does not say so (before Linux 5.16)
    pub instructions: Option<u64>,
}

/// Has the kernel verify every program, with all that `watch --all-go` takes, and attaches none.
pub fn verify() -> Result<Verified> {
    let (ebpf, _) = load(true, Some(0))?;
    let loaded: Vec<_> = ebpf.programs().filter_map(|(_, program)| program.info().ok()).collect();
    let counts = loaded.iter().map(|info| info.verified_instruction_count().map(u64::from));
    Ok(Verified { programs: loaded.len(), instructions: counts.sum() })
}

/// Loads the programs that this kernel has a use for, and says which tracepoints bytes are seen at.
fn load(follow_go: bool, all_go: Option<u32>) -> Result<(Ebpf, &'static [&'static str])> {
    let layout = {
        let data = Mapped::open(BTF).with_context(|| format!("cannot read {BTF}"))?;
        btf::layout(&data)?
    };
    let (bytes, unused): (&'static [_], &[_]) =
        if layout.lengths { (&LENGTHS, &CALLS) } else { (&CALLS, &LENGTHS) };
    let follow = u32::from(follow_go);
    let twin = layout.lengths && tracepoints_are_preempted();
    let twin_word = u32::from(twin);
    let all_go = all_go.unwrap_or(UNKNOWN32);
    let globals = HashMap::from([
        ("OFFSETS", layout.offsets.as_bytes()),
        ("TWIN", twin_word.as_bytes()),
        ("FOLLOW_GO", follow.as_bytes()),
        ("ALL_GO_UID", all_go.as_bytes()),
    ]);
    let unused = |name: &str| match name {
        "sock_length" => !layout.lengths,
        TWIN => !twin,
        name => unused.iter().any(|tracepoint| tracepoint.ends_with(name)),
    };
    Ok((load::load(OBJECT, &globals, &unused)?, bytes))
}

/// The loaded and attached object. Dropping it detaches everything.
pub struct Kernel {
    /// Maps, and programs with their links to tracepoints
    ebpf: Ebpf,
    /// The program on Go binaries
    go_tls: UProbe,
    /// Where it is attached, a number a binary
    probes: HashMap<Attached, UProbeLink>,
    /// The next such number
    next: u64,
    hastening: Hastening,
    /// Tracepoints that are not there to attach to
    unattached: u64,
    /// Diagnostics of the BPF programs, in a debug build
    log: Option<Diagnostics>,
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
    /// Loads and attaches the tracepoints. `follow_go`: every `go` that execs begins a tree;
    /// `all_go`: so does every Go program of that user.
    pub fn load(follow_go: bool, all_go: Option<u32>) -> Result<Self> {
        let (mut ebpf, bytes) = load(follow_go, all_go)?;
        let go_tls = uprobe(&ebpf, GO_TLS)?;
        for tracepoint in TRACEPOINTS.iter().chain(bytes) {
            attach(&mut ebpf, tracepoint)?;
        }
        // Behind the other at the same tracepoints: the kernel runs them in the order of attaching.
        if bytes == LENGTHS && tracepoints_are_preempted() {
            for tracepoint in bytes {
                attach_program(&mut ebpf, TWIN, tracepoint)?;
            }
        }
        let mut unattached = 0;
        for tracepoint in OPTIONAL {
            // `goobserve check` says what is then not seen.
            unattached += u64::from(attach(&mut ebpf, tracepoint).is_err());
        }
        let log = diagnostics::of(&mut ebpf);
        Ok(Self {
            ebpf,
            go_tls,
            probes: HashMap::new(),
            next: 0,
            hastening: Hastening::default(),
            unattached,
            log,
        })
    }

    /// Descriptors for the worker.
    pub fn share(&self) -> Result<Shared> {
        let Some(Map::RingBuf(ring)) = self.ebpf.map("RING") else {
            return Err(anyhow!("the object has no RING"));
        };
        let map = |name: &str| match self.ebpf.map(name) {
            Some(Map::HashMap(map) | Map::PerCpuArray(map)) => read_only(map),
            _ => Err(anyhow!("the object has no map {name}")),
        };
        Ok(Shared { ring: ring.fd().as_fd().try_clone_to_owned()?, trees: map("TREES")?, lost: map("LOST")? })
    }

    /// The processes that are followed, for another process to look up in; read-only.
    pub fn followed_processes(&self) -> Result<OwnedFd> {
        match self.ebpf.map("PROCESSES") {
            Some(Map::HashMap(map)) => read_only(map),
            _ => Err(anyhow!("the object has no map PROCESSES")),
        }
    }

    /// Runs of programs that the kernel skipped so far, whosever they were.
    pub fn runs_skipped(&self) -> u64 {
        let of = |name| self.ebpf.program(name).and_then(skipped::of);
        let others = self.ebpf.programs().filter(|(name, _)| !["sock_length", TWIN].contains(name));
        let others: u64 = others.filter_map(|(_, program)| skipped::of(program)).sum();
        // Of these two, one does for the other.
        others + of("sock_length").map_or(0, |first| first.min(of(TWIN).unwrap_or(first)))
    }

    /// Tracepoints that could not be attached to.
    pub const fn unattached(&self) -> u64 {
        self.unattached
    }

    /// Says what the BPF programs had to say.
    pub fn diagnose(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Follows a process that is held before its exec, and all that it starts.
    pub fn follow_held(&mut self, pid: Pid) -> Result<()> {
        let since_ns = monotonic_ns();
        let tree = Tree { since: since_ns.0 << SINCE_SHIFT, pid: u64::from(pid), ..Tree::default() };
        let process = Process { root: RUN, flags: PROCESS_HELD, since_ns: since_ns.0, threads: 1, cpu_ns: 0 };
        let thread = Thread { root: RUN, pid: pid.0, ..Thread::default() };
        self.put("TREES", RUN, tree.as_bytes())?;
        self.put("THREADS", pid.0, thread.as_bytes())?;
        self.put("PROCESSES", pid.0, process.as_bytes())
    }

    /// Forgets a process that turned out to be no go command. Its threads' entries go when they
    /// end.
    pub fn unfollow(&mut self, pid: Pid) {
        let root = self.process(pid).map(|process| process.root);
        for (name, key) in [("PROCESSES", Some(pid.0)), ("TREES", root)] {
            if let (Some(map), Some(key)) = (self.ebpf.map_mut(name), key) {
                let gone = match name {
                    "TREES" => remove::<{ size_of::<Tree>() }>(map, key),
                    _ => remove::<{ size_of::<Process>() }>(map, key),
                };
                drop(gone); // a process that ended meanwhile took its entry along
            }
        }
    }

    /// What that process starts from now on belongs to that tree; false when there is no room.
    pub fn lend(&mut self, service: Pid, root: u32) -> bool {
        let map = self.ebpf.map_mut("SERVICES");
        let map = map.and_then(|map| BpfHashMap::<_, u32, u32>::try_from(map).ok());
        map.is_some_and(|mut map| map.insert(&service.0, &root, 0).is_ok())
    }

    /// Follows what a local stub resolver asks. False when that process is followed already, as
    /// whatever it is, or there is no room.
    pub fn follow_local_resolver(&mut self, pid: Pid) -> bool {
        /// `BPF_NOEXIST`: only what is not there
        const NEW: u64 = 1;
        let process = Process { root: LOCAL_RESOLVERS, since_ns: monotonic_ns().0, ..Process::default() };
        let map = self.ebpf.map_mut("PROCESSES");
        let map = map.and_then(|map| BpfHashMap::<_, u32, [u8; size_of::<Process>()]>::try_from(map).ok());
        let value: Option<[u8; size_of::<Process>()]> = process.as_bytes().try_into().ok();
        map.zip(value).is_some_and(|(mut map, value)| map.insert(&pid.0, &value, NEW).is_ok())
    }

    /// A process that is followed as a stub resolver.
    pub fn is_local_resolver(&self, pid: Pid) -> bool {
        self.followed(pid).is_some_and(|process| process.root == LOCAL_RESOLVERS)
    }

    /// A process that is followed, stub resolvers excepted.
    pub fn process(&self, pid: Pid) -> Option<Process> {
        self.followed(pid).filter(|process| process.root != LOCAL_RESOLVERS)
    }

    fn followed(&self, pid: Pid) -> Option<Process> {
        let map =
            BpfHashMap::<_, u32, [u8; size_of::<Process>()]>::try_from(self.ebpf.map("PROCESSES")?).ok()?;
        let value = map.get(&pid.0, 0).ok()?;
        zerocopy::FromBytes::read_from_bytes(&value).ok()
    }

    fn put(&mut self, name: &str, key: u32, value: &[u8]) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("the object has no map {name}"))?;
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
    pub fn probe(&mut self, file: BorrowedFd<'_>, len: u64, probes: &Probes) -> Result<Attached> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Returns first where the kernel takes one after another: an entry without its return would wait in
        // the map for ever.
        let mut points: Vec<_> =
            probes.handshake.1.iter().map(|at| point(*at, PLACE_HANDSHAKE_RETURN, 0)).collect();
        points.push(entry(probes.handshake.0, PLACE_HANDSHAKE));
        points.push(entry(probes.write, PLACE_WRITE));
        match &probes.received {
            Received::Records { decrypted, connection, close } => {
                points.push(point(*decrypted, PLACE_RECORD, *connection));
                points.push(entry(*close, PLACE_CLOSE));
            }
            Received::Calls(read, returns) => {
                points.extend(returns.iter().map(|at| point(*at, PLACE_READ_RETURN, 0)));
                points.push(entry(*read, PLACE_READ));
            }
        }
        let inside = |point: &UProbeAttachPoint<'_>| matches!(point.location, UProbeAttachLocation::AbsoluteOffset(at) if at < len);
        if let Some(outside) = points.iter().find(|point| !inside(point)) {
            return Err(anyhow!("{:x?} lies outside the file", outside.location));
        }
        let program = &mut self.go_tls;
        let link = program
            .attach(&points, &path, UProbeScope::AllProcesses)
            .and_then(|link| program.take_link(link))
            .with_context(|| format!("cannot attach {GO_TLS} at {points:x?}"))?;
        self.next += 1;
        let attached = Attached(self.next);
        self.probes.insert(attached, link);
        Ok(attached)
    }

    /// Has the kernel begin what an attachment waits for; see [`Hastening`].
    pub fn hasten(&self) {
        if let Ok(program) = uprobe(&self.ebpf, GO_TLS) {
            self.hastening.begin(program, point(0, 0, 0));
        }
    }

    /// Takes the probes off a binary. Does not wait for it.
    pub fn unprobe(&mut self, attached: Attached) {
        if let Some(link) = self.probes.remove(&attached) {
            // Where there is no thread, the closure is dropped, and the link with it.
            let _ = std::thread::Builder::new().spawn(move || drop(link));
        }
    }
}

impl Drop for Kernel {
    /// Closes all links of uprobes at the same time: the kernel takes a grace period for each, and
    /// those that wait together share one. Perf events do not wait together: two seconds.
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            for (_, link) in self.probes.drain() {
                // Where there is no thread, the closure is dropped, and the link with it.
                let _ = std::thread::Builder::new().spawn_scoped(scope, move || drop(link));
            }
        });
    }
}

/// Attaches the program of a tracepoint.
fn attach(ebpf: &mut Ebpf, tracepoint: &str) -> Result<()> {
    let name = tracepoint.split(':').next_back().unwrap_or(tracepoint);
    // One program for two: what it is reported is the same.
    let program = match name {
        "sched_wakeup_new" => "sched_wakeup",
        "sock_send_length" | "sock_recv_length" => "sock_length",
        name => name,
    };
    attach_program(ebpf, program, tracepoint)
}

fn attach_program(ebpf: &mut Ebpf, program: &str, tracepoint: &str) -> Result<()> {
    let name = tracepoint.split(':').next_back().unwrap_or(tracepoint);
    let program = ebpf.program_mut(program).context("the object lacks a program")?;
    let program: &mut RawTracePoint = program.try_into()?;
    program.attach(name).with_context(|| format!("cannot attach to {tracepoint}"))?;
    Ok(())
}

/// The kernel preempts programs of raw tracepoints (Linux 7.0 on), and skips one for all other threads of that CPU
/// meanwhile.
fn tracepoints_are_preempted() -> bool {
    let release = nix::sys::utsname::uname().map(|uname| uname.release().to_string_lossy().into_owned());
    let major = release.ok().and_then(|release| release.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 7)
}

fn insert<const N: usize>(map: &mut Map, key: u32, value: &[u8]) -> Result<()> {
    let value: [u8; N] = value.try_into().context("a value of another size")?;
    Ok(BpfHashMap::<_, u32, [u8; N]>::try_from(map)?.insert(&key, &value, 0)?)
}

fn remove<const N: usize>(map: &mut Map, key: u32) -> Result<()> {
    Ok(BpfHashMap::<_, u32, [u8; N]>::try_from(map)?.remove(&key)?)
}

/// `CLOCK_MONOTONIC`, nanoseconds: the clock of every event.
pub fn monotonic_ns() -> Monotonic {
    let ns = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64);
    Monotonic(ns)
}

/// One place of a binary: an offset, which place it is, and what else its program has to know.
fn point(at: u64, place: u32, more: u32) -> UProbeAttachPoint<'static> {
    let cookie = Some(u64::from(place) << 32 | u64::from(more));
    UProbeAttachPoint { cookie, ..UProbeAttachPoint::from(at) }
}

/// A place where a function begins.
fn entry(entry: Entry, place: u32) -> UProbeAttachPoint<'static> {
    point(entry.at, place, if entry.at_stack_check { AT_STACK_CHECK } else { 0 })
}

/// A loaded program for uprobes, to attach by a multi link where the kernel has them (Linux 6.6), else by
/// perf events.
///
/// aya chooses that by the section that a program is from, so an object is for one of them. What it knows
/// of a loaded program only, it attaches as the kernel can: all are loaded as those for multi links, which
/// kernels before 6.6 take as any other.
fn uprobe(ebpf: &Ebpf, name: &'static str) -> Result<UProbe> {
    let program = ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
    let Program::UProbe(program) = program else { return Err(anyhow!("{name} is no program for uprobes")) };
    #[expect(unsafe_code, reason = "the kernel has one type for kprobes and uprobes")]
    // SAFETY: a program for uprobes, as its section says; at entries, not returns.
    let program = unsafe { UProbe::from_program_info(program.info()?, name.into(), ProbeKind::Entry) };
    Ok(program?)
}

/// A second descriptor of a map, through which it cannot be changed: what the worker gets. aya opens maps
/// for both only.
fn read_only(map: &MapData) -> Result<OwnedFd> {
    /// What `union bpf_attr` has for `BPF_MAP_GET_FD_BY_ID` (include/uapi/linux/bpf.h)
    #[repr(C)]
    struct Attributes {
        id: u32,
        next: u32,
        flags: u32,
    }
    const BPF_MAP_GET_FD_BY_ID: i32 = 14;
    const BPF_F_RDONLY: u32 = 1 << 3;
    let attributes = Attributes { id: map.info()?.id(), next: 0, flags: BPF_F_RDONLY };
    #[expect(unsafe_code, reason = "aya has no way to open a map read-only")]
    // SAFETY: the kernel reads the attributes, whose size it is reported; they have no pointers. The result is
    // a new descriptor, nobody else's.
    unsafe {
        let (at, size) = (&raw const attributes, size_of::<Attributes>());
        let fd = libc::syscall(libc::SYS_bpf, BPF_MAP_GET_FD_BY_ID, at, size);
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("cannot open a map read-only");
        }
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}
