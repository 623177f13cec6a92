//! What can be slowed, the phase its time belongs to, and how the lab does it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::workload::{Scene, Workload};
use crate::dns::DnsFaults;
use crate::forward::ForwardFaults;
use crate::proxy::{BodyStall, Faults, HeadDelay, ending, paths};
use crate::wire::{LostSyns, WireFaults};

/// A way to lose time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Every DNS answer comes later
    Dns,
    /// Every SYN arrives later
    Connect,
    /// The first SYNs of each connection are lost, one for each second: they are retransmitted after a
    /// second, the first four times (Linux 6.5 on)
    LostSyn,
    /// A forward proxy answers every request for a tunnel later
    Tunnel,
    /// Every `ServerHello` comes later
    Tls,
    /// The command that GOAUTH names takes longer
    Goauth,
    /// The program that GOCACHEPROG names answers later
    Cacheprog,
    /// What `go generate` runs takes longer
    Generate,
    /// The program that `-toolexec` names takes longer
    Toolexec,
    /// A test takes longer
    Test,
    /// Every answer to a test's own requests comes later
    TestRequests,
    /// Every answer of the module proxy's own comes later
    Proxy,
    /// Every zip pauses after 100 bytes
    ProxyBody,
    /// Every lookup in the checksum database is answered later
    Lookups,
    /// Every tile comes later
    Tiles,
    /// The zip of a toolchain comes later
    Toolchain,
    /// The page that says where a module's repository is comes later
    GoGet,
    /// Every file of a git repository comes later
    GitFiles,
    /// The list of a git repository's references comes later
    References,
    /// An ssh server greets later
    Greeting,
    /// An ssh agent says later which keys it has
    Agent,
    /// Whoever ssh asks for a passphrase answers later
    Askpass,
    /// Another process holds a module's lock
    Lock,
    /// The file system of the module cache takes no writes for a while
    Disk,
    /// Two other processes compute on the only CPU that the command may use
    Cpu,
}

impl Fault {
    /// Where the time belongs.
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect | Self::LostSyn => "connect",
            Self::Tunnel => "tunnel",
            Self::Tls => "tls",
            Self::Goauth | Self::Agent | Self::Askpass => "auth",
            Self::Cacheprog => "cache",
            Self::Generate | Self::Toolexec | Self::Test | Self::TestRequests => "child",
            Self::Proxy | Self::ProxyBody => "proxy",
            Self::Lookups | Self::Tiles => "sumdb",
            Self::Toolchain => "toolchain",
            Self::GoGet | Self::GitFiles | Self::References | Self::Greeting => "vcs",
            Self::Lock => "lock",
            Self::Disk | Self::Cpu => "local",
        }
    }

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "answers",
            Self::Connect => "syns",
            Self::LostSyn => "lost-syns",
            Self::Tunnel => "tunnels",
            Self::Tls => "hellos",
            Self::Goauth => "goauth",
            Self::Cacheprog => "cacheprog",
            Self::Generate => "generate",
            Self::Toolexec => "toolexec",
            Self::Test => "test",
            Self::TestRequests => "test-requests",
            Self::Proxy => "heads",
            Self::ProxyBody => "zip-bodies",
            Self::Lookups => "lookups",
            Self::Tiles => "tiles",
            Self::Toolchain => "zip",
            Self::GoGet => "go-get",
            Self::GitFiles => "git-files",
            Self::References => "references",
            Self::Greeting => "greeting",
            Self::Agent => "agent",
            Self::Askpass => "askpass",
            Self::Lock => "held",
            Self::Disk => "frozen-disk",
            Self::Cpu => "cpu-shared",
        }
    }

    /// The place must have a wire.
    pub const fn is_of_the_wire(self) -> bool {
        matches!(self, Self::Connect | Self::LostSyn)
    }

    /// Has the servers and the way do it from now on; with `None` they do nothing wrong.
    pub(super) fn set(self, scene: &Scene, delay: Option<Duration>) -> Result<()> {
        let lab = &scene.lab;
        let (mut dns, mut proxy) = (DnsFaults::default(), Faults::default());
        let (mut git, mut wire) = (Faults::default(), WireFaults::default());
        let mut forward = ForwardFaults::default();
        if scene.workload == Workload::Tested {
            // As long as a name server takes on a network, for a program that nobody has seen before.
            dns.delay = Duration::from_millis(100);
        }
        if let Some(delay) = delay {
            let head = |is_slow: fn(&str) -> bool| vec![HeadDelay { matches: paths(is_slow), delay }];
            match self {
                Self::Dns => dns.delay = delay,
                Self::Connect => wire.delayed_syns = delay,
                Self::LostSyn => {
                    let first = u32::try_from(delay.as_secs()).ok();
                    wire.lost_syns = vec![LostSyns { to: lab.net.proxy.into(), first }];
                }
                Self::Tunnel => forward.delay = delay,
                Self::Tls => proxy.tls_delay = delay,
                Self::TestRequests => proxy.head_delays = head(|_| true),
                Self::Proxy => proxy.head_delays = head(|path| !path.starts_with("/sumdb/")),
                Self::ProxyBody => {
                    proxy.body_stalls = vec![BodyStall { matches: ending(".zip"), after_bytes: 100, delay }];
                }
                Self::Lookups => proxy.head_delays = head(|path| path.contains("/lookup/")),
                Self::Tiles => proxy.head_delays = head(|path| path.contains("/tile/")),
                Self::Toolchain => proxy.head_delays = head(is_of_toolchain),
                Self::GoGet => git.head_delays = head(|path| path.contains("go-get=1")),
                Self::GitFiles => git.head_delays = head(|path| !path.contains("go-get=1")),
                Self::References => git.head_delays = head(|path| path.contains("/info/refs")),
                Self::Lock | Self::Disk | Self::Cpu => {}
                Self::Greeting | Self::Agent | Self::Askpass => {}
                Self::Goauth | Self::Cacheprog | Self::Generate | Self::Toolexec | Self::Test => {}
            }
        }
        lab.dns.set_faults(dns);
        lab.proxy.set_faults(Faults { fakes: scene.fakes(), ..proxy });
        if let Some(host) = &scene.git {
            host.set_faults(git);
        }
        if let Some(proxy) = &scene.forward {
            proxy.set_faults(forward);
        }
        if let Some(ssh) = &scene.ssh {
            let of = |fault| delay.filter(|_| self == fault).unwrap_or_default();
            ssh.agent.set_delay(of(Self::Agent));
            ssh.greeting.set_delay(of(Self::Greeting));
        }
        if self.is_of_the_wire() {
            lab.net.wire.as_ref().context("a lab without a wire")?.set_faults(wire);
        }
        Ok(())
    }
}

/// Whether that is asked of a proxy for a toolchain.
pub(super) fn is_of_toolchain(path: &str) -> bool {
    path.starts_with("/golang.org/toolchain/")
}
