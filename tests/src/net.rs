//! Where a lab lives: addresses, listening sockets, and the name spaces its commands run in.
//! Nothing outlives a [`Net`]: a mount namespace ends with the command that runs in it, and the
//! network namespaces have no name, only descriptors.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::wire::{Wire, tun};

/// The kind of network a lab has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// Loopback addresses of its own, 127.77.N.0/24
    #[default]
    Loopback,
    /// A pair of network namespaces joined by a veth pair; needs the program `ip`
    Veth,
    /// The same, joined by a [`Wire`]: a way with a round-trip time and faults
    Wire,
}

/// Addresses and name spaces of a lab.
#[derive(Debug)]
pub struct Net {
    /// The name server
    pub dns: Ipv4Addr,
    /// The module proxy
    pub proxy: Ipv4Addr,
    /// The checksum database's own host
    pub sumdb: Ipv4Addr,
    /// The way between commands and servers, in a lab of that kind
    pub wire: Option<Wire>,
    resolv: PathBuf,
    /// Network namespaces of the servers and of the commands
    spaces: Option<(OwnedFd, OwnedFd)>,
}

/// Connects to servers of a lab from where they are.
#[derive(Clone, Debug)]
pub struct Connector(Option<Arc<OwnedFd>>);

impl Connector {
    /// A connection, blocking.
    pub fn connect(&self, address: Ipv4Addr, port: u16) -> Result<TcpStream> {
        let connect = || TcpStream::connect((address, port)).context("connect among the lab's servers");
        match &self.0 {
            None => connect(),
            Some(server) => on_a_thread(|| {
                setns(server, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
                connect()
            }),
        }
    }
}

/// The lab's listening sockets, non-blocking.
#[derive(Debug)]
pub struct Sockets {
    /// Name server
    pub dns_udp: UdpSocket,
    /// Name server
    pub dns_tcp: TcpListener,
    /// Module proxy
    pub proxy: TcpListener,
    /// Checksum database
    pub sumdb: TcpListener,
}

impl Net {
    /// Finds addresses nobody uses and listens on them. `dir` gets a resolv.conf.
    pub fn open(place: Place, dir: &Path) -> Result<(Self, Sockets)> {
        let (net, sockets) = match place {
            Place::Loopback => loopback(dir)?,
            Place::Veth | Place::Wire => apart(place, dir)?,
        };
        std::fs::write(&net.resolv, format!("nameserver {}\n", net.dns))
            .context("write the lab's resolv.conf")?;
        Ok((net, sockets))
    }

    fn at(prefix: [u8; 3], dir: &Path, spaces: Option<(OwnedFd, OwnedFd)>) -> Self {
        let [a, b, c] = prefix;
        let address = |host| Ipv4Addr::new(a, b, c, host);
        let resolv = dir.join("resolv.conf");
        Self { dns: address(1), proxy: address(2), sumdb: address(3), wire: None, resolv, spaces }
    }

    fn listen(&self) -> io::Result<Sockets> {
        let tcp = |address, port| -> io::Result<TcpListener> {
            let listener = TcpListener::bind(SocketAddrV4::new(address, port))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let dns_udp = UdpSocket::bind(SocketAddrV4::new(self.dns, 53))?;
        dns_udp.set_nonblocking(true)?;
        Ok(Sockets {
            dns_udp,
            dns_tcp: tcp(self.dns, 53)?,
            proxy: tcp(self.proxy, 443)?,
            sumdb: tcp(self.sumdb, 443)?,
        })
    }

    /// An address of the lab's that none of its servers has, in a lab on loopback or on a wire;
    /// `host` from 4 to 9.
    pub const fn free(&self, host: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.dns.octets();
        Ipv4Addr::new(a, b, c, host)
    }

    /// Another listener among the servers, non-blocking.
    pub fn listener(&self, address: Ipv4Addr, port: u16) -> Result<TcpListener> {
        on_a_thread(|| {
            if let Some((server, _)) = &self.spaces {
                setns(server, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
            }
            let listener = TcpListener::bind((address, port)).context("listen among the lab's servers")?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
    }

    /// Where a stub resolver of the commands can listen: a loopback address that they see.
    pub const fn local_resolver(&self) -> Ipv4Addr {
        if self.spaces.is_some() { Ipv4Addr::new(127, 0, 0, 53) } else { self.free(4) }
    }

    /// Listens where the servers are, non-blocking.
    pub fn serve(&self, address: Ipv4Addr, port: u16) -> Result<TcpListener> {
        let listen = || -> Result<TcpListener> {
            let listener = TcpListener::bind(SocketAddrV4::new(address, port))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        match &self.spaces {
            None => listen(),
            Some((server, _)) => on_a_thread(|| {
                setns(server, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
                listen()
            }),
        }
        .with_context(|| format!("listen on {address}:{port}"))
    }

    /// What connects from where the servers are.
    pub fn connector(&self) -> Result<Connector> {
        let server = self.spaces.as_ref().map(|(server, _)| server.try_clone());
        Ok(Connector(server.transpose().context("keep a network namespace")?.map(Arc::new)))
    }

    /// Commands that are started from now on ask that name server.
    pub fn ask(&self, server: Ipv4Addr) -> Result<()> {
        self.resolve(&format!("nameserver {server}\n"))
    }

    /// Commands that are started from now on have that resolv.conf.
    pub fn resolve(&self, resolv_conf: &str) -> Result<()> {
        std::fs::write(&self.resolv, resolv_conf).context("write the lab's resolv.conf")
    }

    /// Runs `inside` on a thread that sees the lab's network and, at /etc/resolv.conf, the
    /// lab's. What it spawns sees the same; nobody else does. Needs root.
    pub fn inside<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        let client = self.spaces.as_ref().map(|(_, client)| client);
        on_a_thread(|| {
            if let Some(space) = client {
                setns(space, CloneFlags::CLONE_NEWNET).context("enter the lab's network namespace")?;
            }
            unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
            self.bind_resolv()?;
            Ok(inside())
        })
    }

    /// From now on the commands get nothing from that TCP port. Only with [`Place::Veth`], with
    /// whose network namespace it ends; needs the program `nft`.
    pub fn silence(&self, port: u16) -> Result<()> {
        let (_, client) = self.spaces.as_ref().context("a lab on loopback cannot lose packets")?;
        let rules = format!(
            "table inet lab {{ chain in {{ type filter hook input priority 0; tcp sport {port} drop; }}\n}}"
        );
        on_a_thread(|| {
            setns(client, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
            let output = Command::new("nft").arg(&rules).output().context("run nft")?;
            ensure!(output.status.success(), "nft {rules}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        })
    }

    /// Puts the lab's resolv.conf in place, in the mount namespace of this thread.
    pub(crate) fn bind_resolv(&self) -> Result<()> {
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("make the mounts private")?;
        mount(Some(&self.resolv), "/etc/resolv.conf", none, MsFlags::MS_BIND, none)
            .context("bind the lab's resolv.conf over /etc/resolv.conf")
    }

    /// Another network namespace from which the servers are reached, over a veth pair of its own:
    /// its address is 198.51.100.N at the end of a /30. Only with [`Place::Veth`].
    pub fn another(&self, number: u8) -> Result<OwnedFd> {
        let (server, _) = self.spaces.as_ref().context("a lab on loopback has no other networks")?;
        ensure!((1..=60).contains(&number), "there are 60 networks");
        let client = network_namespace()?;
        let path = format!("/proc/{}/fd/{}", process::id(), client.as_raw_fd());
        let (ours, theirs) = (4 * u32::from(number) + 1, 4 * u32::from(number) + 2);
        run(
            server,
            &[
                &format!("link add to{number} type veth peer name lab1 netns {path}"),
                &format!("addr add 198.51.100.{ours}/30 dev to{number}"),
                &format!("link set to{number} up"),
            ],
        )?;
        run(
            &client,
            &[
                &format!("addr add 198.51.100.{theirs}/30 dev lab1"),
                "link set lab1 up",
                "link set lo up",
                &format!("route add default via 198.51.100.{ours}"),
            ],
        )?;
        Ok(client)
    }
}

/// Runs `work` on a thread of its own, whose name spaces end with it.
pub(crate) fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow!("a thread of the lab panicked"))?
}

/// The first /24 whose addresses can all be listened on. The sockets are the lock: a lab that
/// has them keeps others away.
fn loopback(dir: &Path) -> Result<(Net, Sockets)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut last = None;
    for _ in 0..250 {
        let n = process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 250 + 1;
        let net = Net::at([127, 77, n as u8], dir, None);
        match net.listen() {
            Ok(sockets) => return Ok((net, sockets)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => return Err(error).context("listen on ports 53 and 443 of a loopback address"),
        }
    }
    Err(anyhow!("ports 53 and 443 are taken on all of 127.77.0.0/16: {last:?}"))
}

/// Two network namespaces. Only these see their addresses, so every lab can have the same.
fn apart(place: Place, dir: &Path) -> Result<(Net, Sockets)> {
    let server = network_namespace()?;
    let client = network_namespace()?;
    let wire = if place == Place::Wire {
        let device = |space: &OwnedFd, name| {
            on_a_thread(|| {
                setns(space, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
                tun(name)
            })
        };
        Some(Wire::join(&device(&client, "lab1")?, &device(&server, "lab0")?)?)
    } else {
        let path = format!("/proc/{}/fd/{}", process::id(), client.as_raw_fd());
        run(&server, &[&format!("link add lab0 type veth peer name lab1 netns {path}")])?;
        None
    };
    let served = if place == Place::Wire { 9 } else { 3 };
    let addresses: Vec<String> =
        (1..=served).map(|host| format!("addr add 192.0.2.{host}/24 dev lab0")).collect();
    run(&server, &addresses.iter().map(String::as_str).collect::<Vec<_>>())?;
    run(&server, &["link set lab0 up", "link set lo up"])?;
    run(&client, &["addr add 192.0.2.10/24 dev lab1", "link set lab1 up", "link set lo up"])?;
    if place == Place::Wire {
        // A way for IPv6 with nobody at its other end.
        run(&client, &["addr add 2001:db8::10/64 dev lab1 nodad"])?;
    }
    let net = Net { wire, ..Net::at([192, 0, 2], dir, Some((server, client))) };
    let sockets = on_a_thread(|| {
        if let Some((server, _)) = &net.spaces {
            setns(server, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        }
        net.listen().context("listen in the servers' network namespace")
    })?;
    Ok((net, sockets))
}

/// `ip` with each of these lines, in a network namespace.
fn run(space: &OwnedFd, lines: &[&str]) -> Result<()> {
    on_a_thread(|| {
        setns(space, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        lines.iter().try_for_each(|line| ip(line))
    })
}

fn network_namespace() -> Result<OwnedFd> {
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
        let file = std::fs::File::open("/proc/thread-self/ns/net").context("open a network namespace")?;
        Ok(file.into())
    })
}

fn ip(line: &str) -> Result<()> {
    let output = Command::new("ip").args(line.split(' ')).output().context("run ip")?;
    ensure!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
