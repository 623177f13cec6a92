//! The kernel's socket diagnostics (Linux: `sock_diag.h`, `inet_diag.h` and `tcp.h` of
//! `include/uapi/linux`). In: a process, whose network namespace is asked, and the inodes of
//! sockets; out: those sockets that are connected, or are connecting. The answers are the kernel's own words, no process's.

use model::id::Pid;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use pipeline::correlate::preexisting::Tcp;

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
/// `NLMSG_ERROR`
const ERROR: u16 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// `INET_DIAG_INFO`
const INFO: u16 = 2;
/// `TCP_ESTABLISHED`; a UDP socket that is connected says so too
const ESTABLISHED: u32 = 1;
/// TCP states that a process's socket can be in after `connect`: not `TIME_WAIT`, `CLOSE`,
/// `LISTEN`, nor those of requests that nobody has accepted.
const STATES: u32 = 1 << ESTABLISHED | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// Header of a message, and of the answer about one socket.
const HEADER: usize = 16;
const ANSWER: usize = 72;
/// The kernel fills pages of 32 KB at most.
const BUFFER: usize = 64 << 10;
/// The kernel answers at once; whatever keeps it, goobserve goes on without.
const PATIENCE_S: i64 = 2;

/// A socket as the kernel has it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Socket {
    /// Its number: no other socket has it until the machine is started again
    pub cookie: u64,
    /// UDP, not TCP
    pub udp: bool,
    /// The kernel's `TCP_*` number
    pub state: u8,
    /// Local address
    pub local: SocketAddr,
    /// Remote address
    pub remote: SocketAddr,
    /// What TCP knows
    pub tcp: Tcp,
}

/// The sockets with these inodes in the network namespace of that process.
pub(super) fn of<T: Copy + Send + Sync>(pid: Pid, inodes: &HashMap<u32, T>) -> io::Result<Vec<(T, Socket)>> {
    let space = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    // The namespace is the thread's, and ends with it.
    std::thread::scope(|scope| {
        let asking = std::thread::Builder::new().spawn_scoped(scope, || {
            setns(&space, CloneFlags::CLONE_NEWNET)?;
            let link = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkSockDiag,
            )?;
            setsockopt(&link, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE_S, 0))?;
            let mut found = Vec::new();
            for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
                for family in [libc::AF_INET, libc::AF_INET6] {
                    dump(&link, family as u8, protocol as u8, inodes, &mut found)?;
                }
            }
            Ok(found)
        })?;
        asking.join().unwrap_or_else(|_| Err(io::Error::other("a thread has failed")))
    })
}

fn dump<T: Copy>(
    link: &OwnedFd,
    family: u8,
    protocol: u8,
    inodes: &HashMap<u32, T>,
    found: &mut Vec<(T, Socket)>,
) -> io::Result<()> {
    let udp = i32::from(protocol) == libc::IPPROTO_UDP;
    sendto(link.as_raw_fd(), &request(family, protocol, udp), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = recv(link.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if !messages(&buffer[..len], udp, inodes, found)? {
            return Ok(());
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(family: u8, protocol: u8, udp: bool) -> Vec<u8> {
    const LEN: u32 = 72;
    let states = if udp { 1 << ESTABLISHED } else { STATES };
    let mut bytes = LEN.to_ne_bytes().to_vec();
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, protocol, 1 << (INFO - 1), 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.resize(LEN as usize, 0);
    bytes
}

/// One datagram of answers; false after the last one.
fn messages<T: Copy>(
    mut bytes: &[u8],
    udp: bool,
    inodes: &HashMap<u32, T>,
    found: &mut Vec<(T, Socket)>,
) -> io::Result<bool> {
    while let (Some(len), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        match kind {
            DONE => return Ok(false),
            ERROR => {
                // A kernel without that protocol's diagnostics has no socket to report.
                let errno = u32_at(bytes, HEADER).map_or(0, |code| code.cast_signed().wrapping_neg());
                return if errno == libc::ENOENT {
                    Ok(false)
                } else {
                    Err(io::Error::from_raw_os_error(errno))
                };
            }
            _ => {}
        }
        let len = len as usize;
        let Some(message) = bytes.get(HEADER..len) else { break };
        if let Some((inode, socket)) = answer(message, udp)
            && let Some(whose) = inodes.get(&inode)
        {
            found.push((*whose, socket));
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// `struct inet_diag_msg` and its attributes: the socket and its inode.
fn answer(bytes: &[u8], udp: bool) -> Option<(u32, Socket)> {
    let family = *bytes.first()?;
    let end = |port: usize, address: usize| -> Option<SocketAddr> {
        let port = u16::from_be_bytes(bytes.get(port..port + 2)?.try_into().ok()?);
        let ip = if i32::from(family) == libc::AF_INET {
            IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(address..address + 4)?).ok()?))
        } else {
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(address..address + 16)?).ok()?).to_canonical()
        };
        Some(SocketAddr::new(ip, port))
    };
    let (local, remote) = (end(4, 8)?, end(6, 24)?);
    let cookie = u64::from(u32_at(bytes, 44)?) | u64::from(u32_at(bytes, 48)?) << 32;
    let mut tcp = Tcp { unacked_bytes: u64::from(u32_at(bytes, 60)?), ..Tcp::default() };
    let mut attributes = bytes.get(ANSWER..)?;
    while let (Some(len), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let len = usize::from(len);
        let Some(value) = attributes.get(4..len) else { break };
        if kind == INFO {
            info(value, &mut tcp);
        }
        attributes = attributes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some((u32_at(bytes, 68)?, Socket { cookie, udp, state: *bytes.get(1)?, local, remote, tcp }))
}

/// `struct tcp_info`; an older kernel's is shorter.
fn info(bytes: &[u8], tcp: &mut Tcp) {
    tcp.retries = bytes.get(2).map_or(0, |retries| u32::from(*retries));
    let ms = |at| u32_at(bytes, at).map(|ms| u64::from(ms) * 1_000_000);
    tcp.since_sent_ns = ms(44);
    tcp.since_received_ns = ms(52);
    tcp.since_acked_ns = ms(56);
    tcp.rtt_ns = u32_at(bytes, 68).filter(|rtt| *rtt > 0).map(|rtt| u64::from(rtt) * 1000);
    tcp.retransmits = u32_at(bytes, 100).unwrap_or(0);
    tcp.bytes_received = u64_at(bytes, 128);
    tcp.bytes_sent = u64_at(bytes, 200);
    tcp.out_of_order = u32_at(bytes, 224);
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn inode(fd: i32) -> u32 {
        std::fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().ino() as u32
    }

    #[test]
    fn own_sockets_are_found_with_peer_and_bytes() {
        if !nix::unistd::geteuid().is_root() {
            return; // setns takes root; the end-to-end tests run with it
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"hello").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect("127.0.0.1:53").unwrap();
        let wanted = HashMap::from([(inode(stream.as_raw_fd()), 'a'), (inode(udp.as_raw_fd()), 'b')]);
        let mut found = of(Pid(std::process::id()), &wanted).unwrap();
        found.sort_by_key(|(whose, _)| *whose);
        let [('a', tcp), ('b', udp)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((tcp.remote, tcp.udp, u32::from(tcp.state)), (address, false, ESTABLISHED));
        assert_eq!((tcp.tcp.bytes_sent, tcp.tcp.bytes_received), (Some(5), Some(0)));
        assert_eq!((udp.remote.port(), udp.udp), (53, true));
        assert_ne!(tcp.cookie, udp.cookie);
        assert_eq!(of(Pid(std::process::id()), &wanted).unwrap().len(), 2, "the same once more");
    }

    #[test]
    fn answers_that_are_cut_are_no_sockets() {
        let mut message = [0; HEADER + ANSWER];
        message[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        message[HEADER] = libc::AF_INET as u8;
        message[HEADER + 68] = 7;
        let inodes = HashMap::from([(7, 'a')]);
        for len in 0..=message.len() {
            let mut cut = message[..len].to_vec();
            if let Some(head) = cut.get_mut(..4) {
                head.copy_from_slice(&(len as u32).to_ne_bytes());
            }
            let mut found = Vec::new();
            assert!(messages(&cut, false, &inodes, &mut found).unwrap());
            assert_eq!(found.len(), usize::from(len == message.len()), "{len}");
        }
    }

    #[test]
    fn the_last_answer_and_an_error_end_it() {
        let message = |kind: u16, code: i32| {
            let mut bytes = 20_u32.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        let read = |bytes: Vec<u8>| messages::<char>(&bytes, false, &HashMap::new(), &mut Vec::new());
        assert!(!read(message(DONE, 0)).unwrap());
        assert!(!read(message(ERROR, -libc::ENOENT)).unwrap());
        assert_eq!(read(message(ERROR, -libc::EPERM)).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}
