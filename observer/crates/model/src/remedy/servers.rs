//! Remedies that are a server beside the command: `gateway`, `dns-cache`.

/// A server that runs as long as the command does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Server {
    /// A module proxy on loopback, in front of the proxies that GOPROXY names
    Gateway,
    /// A caching name server on loopback, in front of those that resolv.conf names
    DnsCache,
}

impl Server {
    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Gateway, Self::DnsCache].into_iter().find(|server| server.name() == name)
    }

    /// Its name after `--with`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::DnsCache => "dns-cache",
        }
    }

    /// What makes it last.
    pub(super) const fn keeping(self) -> &'static str {
        match self {
            Self::Gateway => {
                "`goobserve serve gateway` kept running, and the GOPROXY that it prints set in its environment"
            }
            Self::DnsCache => {
                "`goobserve serve dns` kept running, and the nameserver that it prints in /etc/resolv.conf"
            }
        }
    }
}
