//! Local stub resolvers (systemd-resolved, dnsmasq, unbound): the processes that have a socket at
//! port 53 of a network namespace. What they ask their own servers is asked on behalf of somebody.
//!
//! The name server of a container lies in another namespace than the container as a rule: aardvark-dns at
//! the other end of a bridge, a cluster's `CoreDNS` in a pod; of a container's process all namespaces are
//! looked at. Docker's has a socket in the container, at an address of its own (127.0.0.11). And what
//! carries a container's packets (slirp4netns, pasta) answers itself, without a socket that says so.

use model::id::Pid;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use observer_common::is_containers_resolver;
use pipeline::correlate::preexisting::LocalResolver;

/// Of `/proc/net/udp` that much is read, bytes; a line is 128.
const TABLE_MAX: u64 = 1 << 20;
/// Descriptors looked at in one search, over all processes.
const DESCRIPTORS_MAX: usize = 500_000;
/// Processes taken as local resolvers in one search; a resolver has one or one a CPU.
const PROCESSES_MAX: usize = 256;
/// Addresses reported of one process; one with more may be asked at any.
const ADDRESSES_MAX: usize = 8;
/// Network namespaces remembered.
const SPACES_MAX: usize = 1024;
/// Processes that wait for the end of a pause.
const WAITING_MAX: usize = 1024;
/// A search goes over every process: the next one waits that long.
const PAUSE: Duration = Duration::from_millis(200);
/// Port of name servers, as `/proc/net/udp` writes it.
const PORT: &str = "0035";
/// Where docker's name server is in each container, at any port: a rule leads port 53 there.
const DOCKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// What was searched already.
#[derive(Default)]
pub(super) struct LocalResolvers {
    /// By network namespace, inodes of the sockets that were there at the last look
    spaces: HashMap<u64, HashSet<u64>>,
    searched: Option<Instant>,
    /// Processes whose namespace is looked at after the pause
    waiting: BTreeSet<Pid>,
}

impl LocalResolvers {
    /// The local resolvers of this process's namespace that were not there at the last look.
    pub(super) fn search(&mut self, pid: Pid) -> Vec<LocalResolver> {
        let of = format!("/proc/{pid}");
        let Some(space) = space_of(&of) else { return Vec::new() };
        if self.pauses() {
            // Whoever searches all the time must not keep others from being found.
            if self.waiting.len() < WAITING_MAX {
                self.waiting.insert(pid);
            }
            return Vec::new();
        }
        let mut new = self.new_sockets(space, &of);
        let mut found = Vec::new();
        if space_of("/proc/self").is_some_and(|own| own != space) {
            self.searched = Some(Instant::now());
            for (space, of) in spaces() {
                new.extend(self.new_sockets(space, &of));
            }
            found = of_containers();
        }
        if !new.is_empty() {
            self.searched = Some(Instant::now());
            found.extend(owners(&new));
        }
        found
    }

    /// Name servers' sockets of a network namespace that were not there at the last look. `of`: a process
    /// that is in there.
    fn new_sockets(&mut self, space: u64, of: &str) -> HashMap<u64, IpAddr> {
        let now = sockets(Path::new(of));
        let before = self.spaces.get(&space);
        let is_new = |inode: &u64| before.is_none_or(|before| !before.contains(inode));
        let new = now.iter().map(|(inode, address)| (*inode, *address)).filter(|(inode, _)| is_new(inode));
        let new = new.collect();
        if self.spaces.len() < SPACES_MAX || before.is_some() {
            self.spaces.insert(space, now.into_keys().collect());
        }
        new
    }

    fn pauses(&self) -> bool {
        self.searched.is_some_and(|at| at.elapsed() < PAUSE)
    }

    /// A process that [`LocalResolvers::search`] was to look at during a pause that is over.
    pub(super) fn due(&mut self) -> Option<Pid> {
        (!self.pauses()).then(|| self.waiting.pop_first()).flatten()
    }
}

/// A first look at the agent's own namespace, beside the loading of the programs.
pub(super) struct Search(Option<JoinHandle<(LocalResolvers, Vec<LocalResolver>)>>);

impl Search {
    /// Begins to look.
    pub(super) fn begin() -> Self {
        let search = || {
            let mut local_resolvers = LocalResolvers::default();
            let mut found = local_resolvers.search(Pid(std::process::id()));
            found.extend(of_containers());
            (local_resolvers, found)
        };
        // Without a thread nothing is known; a query makes the agent look.
        Self(std::thread::Builder::new().spawn(search).ok())
    }

    /// What was found.
    pub(super) fn finish(self) -> (LocalResolvers, Vec<LocalResolver>) {
        self.0.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// The network namespace of a process, by its number.
fn space_of(of: &str) -> Option<u64> {
    std::fs::metadata(format!("{of}/ns/net")).map(|space| space.ino()).ok()
}

/// Whether a process has another network namespace than this one.
pub(super) fn is_elsewhere(pid: Pid) -> bool {
    let own = space_of("/proc/self");
    space_of(&format!("/proc/{pid}")).is_some_and(|space| own.is_some_and(|own| own != space))
}

/// The processes of this machine, as folders.
fn processes() -> impl Iterator<Item = (Pid, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid));
    pids.map(|pid| (pid, format!("/proc/{pid}")))
}

/// All network namespaces, each with a process that is in there.
fn spaces() -> HashMap<u64, String> {
    let mut spaces = HashMap::new();
    for (_, of) in processes() {
        if let Some(space) = space_of(&of).filter(|_| spaces.len() < SPACES_MAX) {
            spaces.entry(space).or_insert(of);
        }
    }
    spaces
}

/// Those that answer queries of containers. Which of them answers whose is not known: a query is theirs when
/// they ask for the same at the same time.
fn of_containers() -> Vec<LocalResolver> {
    let resolver = |(pid, of): (Pid, String)| {
        let comm = comm(&of);
        let mut padded = [0; 16];
        padded.iter_mut().zip(comm.bytes().take(15)).for_each(|(to, byte)| *to = byte);
        let is = is_containers_resolver(&padded);
        is.then(|| LocalResolver { pid, comm, addresses: vec![Ipv4Addr::UNSPECIFIED.into()] })
    };
    processes().filter_map(resolver).take(PROCESSES_MAX).collect()
}

/// The kernel's name of a process.
fn comm(of: &str) -> String {
    let comm = std::fs::read(format!("{of}/comm")).unwrap_or_default();
    String::from_utf8_lossy(comm.trim_ascii_end()).into_owned()
}

/// The UDP sockets that are bound to port 53 where that process is: inodes and addresses.
fn sockets(of: &Path) -> HashMap<u64, IpAddr> {
    let mut found = HashMap::new();
    for name in ["net/udp", "net/udp6"] {
        let mut text = String::new();
        // Without IPv6 there is no second table.
        if let Ok(file) = std::fs::File::open(of.join(name))
            && file.take(TABLE_MAX).read_to_string(&mut text).is_ok()
        {
            found.extend(text.lines().skip(1).filter_map(bound));
        }
    }
    found
}

/// Inode and address of a table's line when its socket is bound to port 53:
/// `1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 101 0 20555 …`
fn bound(line: &str) -> Option<(u64, IpAddr)> {
    let mut words = line.split_ascii_whitespace();
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    let address = address(host)?;
    if port != PORT && address != DOCKER {
        return None;
    }
    Some((words.nth(7)?.parse().ok()?, address))
}

/// An address as the kernel writes it: words of 32 bits, each in the machine's order.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical())
        }
        _ => None,
    }
}

/// Every process that has one of these sockets open, and where they are bound.
fn owners(sockets: &HashMap<u64, IpAddr>) -> Vec<LocalResolver> {
    let mut found = Vec::new();
    let mut left = DESCRIPTORS_MAX;
    let own = Pid(std::process::id());
    for (pid, of) in processes() {
        if pid == own || found.len() >= PROCESSES_MAX {
            continue;
        }
        let entries = std::fs::read_dir(format!("{of}/fd")).into_iter().flatten().flatten();
        let entries = entries.take(left).inspect(|_| left -= 1);
        let bound = entries.filter_map(|entry| sockets.get(&socket(&entry.path())?).copied());
        let mut addresses: Vec<IpAddr> = bound.take(ADDRESSES_MAX + 1).collect();
        if addresses.len() > ADDRESSES_MAX {
            addresses = vec![Ipv4Addr::UNSPECIFIED.into()];
        }
        if !addresses.is_empty() {
            found.push(LocalResolver { pid, comm: comm(&of), addresses });
        }
    }
    found
}

/// The inode of a descriptor that is a socket: `socket:[20555]`.
fn socket(descriptor: &Path) -> Option<u64> {
    let link = std::fs::read_link(descriptor).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_port_53_gives_inode_and_address_and_no_other_line_does() {
        let line = |local: &str| {
            format!(
                "  83: {local} 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 20555 2 0 0"
            )
        };
        let at = |address: &str| Some((20_555, address.parse().unwrap()));
        // As a machine with the low byte first writes them.
        if cfg!(target_endian = "little") {
            assert_eq!(bound(&line("3500007F:0035")), at("127.0.0.53"));
            assert_eq!(bound(&line("00000000000000000000000001000000:0035")), at("::1"));
            assert_eq!(bound(&line("0000000000000000FFFF00000100007F:0035")), at("127.0.0.1"));
        }
        assert_eq!(bound(&line("00000000:0035")), at("0.0.0.0"));
        assert_eq!(bound(&line("0100007:0035")), None);
        assert_eq!(bound(&line("0100007F:14E9")), None);
        assert_eq!(bound("sl local_address"), None);
        assert_eq!(bound(""), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found_by_its_inode() {
        let socket_ = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket_);
        let inode = socket(Path::new(&format!("/proc/self/fd/{fd}"))).unwrap();
        assert_eq!(socket_.local_addr().is_ok(), inode > 0);
        assert_eq!(socket(Path::new("/proc/self/exe")), None);
    }

    #[test]
    fn a_search_that_comes_during_a_pause_is_made_up_for() {
        let mut local_resolvers =
            LocalResolvers { searched: Some(Instant::now() + PAUSE), ..LocalResolvers::default() };
        let pid = Pid(std::process::id());
        assert_eq!(local_resolvers.search(pid).len(), 0);
        assert_eq!(local_resolvers.due(), None, "it pauses");
        local_resolvers.searched = None;
        assert_eq!((local_resolvers.due(), local_resolvers.due()), (Some(pid), None));
    }

    #[test]
    fn the_second_search_of_a_namespace_finds_nothing_new() {
        let mut local_resolvers = LocalResolvers::default();
        let pid = Pid(std::process::id());
        local_resolvers.search(pid);
        local_resolvers.searched = None;
        assert_eq!(local_resolvers.search(pid).len(), 0);
    }
}
