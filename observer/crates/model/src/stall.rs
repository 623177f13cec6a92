//! The catalogue of stalls: every kind with all that is decided about it. A kind in; its name, the
//! phases that it is reported in, what to do about it, and where `docs/stalls.md` explains it, out.
//!
//! Each property is a `match` without `_`: a new kind does not compile until somebody has decided.

mod name;

use std::fmt;

pub use name::StallName;

use super::record::Phase;
use super::report::Blame;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What kind of stall it is.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum StallKind {
            $($(#[$doc])* $kind,)*
        }

        impl StallKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name, as scripts see it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The section of `docs/stalls.md` about it.
            pub const fn anchor(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!("docs/stalls.md#", $name),)*
                }
            }
        }
    };
}

kinds! {
    /// A name server left queries unanswered
    DnsTimeout = "dns-timeout",
    /// A name server answers A and never AAAA
    DnsAaaaSilent = "dns-aaaa-silent",
    /// A name server answered slowly
    DnsSlow = "dns-slow",
    /// Names with a suffix of the search list were asked for first
    DnsSearch = "dns-search",
    /// A name server answered with an error, or with a truncated answer
    DnsError = "dns-error",
    /// A name server says that a name does not exist, or has no address
    DnsNxdomain = "dns-nxdomain",
    /// Nothing listens where the name server should be
    DnsRefused = "dns-refused",
    /// `GODEBUG=netdns=cgo` with a go command without cgo
    NetdnsIgnored = "netdns-ignored",
    /// Many answers of name servers, none of them slow, are much of the time
    DnsShare = "dns-share",
    /// SYNs were lost or dropped
    SynLost = "syn-lost",
    /// A connection was refused
    ConnectRefused = "connect-refused",
    /// There is no way to an address
    Unreachable = "unreachable",
    /// Nothing comes back over IPv6
    Ipv6Blackhole = "ipv6-blackhole",
    /// A `ClientHello` was not answered
    TlsHelloUnanswered = "tls-hello-unanswered",
    /// A connection was reset right after its `ClientHello`
    TlsResetBySni = "tls-reset-by-sni",
    /// Segments of full size do not arrive
    MtuBlackhole = "mtu-blackhole",
    /// This side did not accept the server's certificate
    TlsUntrusted = "tls-untrusted",
    /// The peer refused TLS by an alert
    TlsRefused = "tls-refused",
    /// The peer speaks TLS where it was asked in plain text, or the other way around
    WrongScheme = "wrong-scheme",
    /// A TLS handshake took many round trips
    TlsSlow = "tls-slow",
    /// HTTP/2 was offered and HTTP/1.1 chosen
    TlsIntercepted = "tls-intercepted",
    /// A forward proxy took long before a tunnel stood
    TunnelSlow = "tunnel-slow",
    /// A forward proxy did not answer
    TunnelUnanswered = "tunnel-unanswered",
    /// A forward proxy refused a tunnel, or ended the connection instead of an answer
    TunnelRefused = "tunnel-refused",
    /// A connection shook hands and carried no request
    HandshakeWasted = "handshake-wasted",
    /// The peer closes each connection after one request
    ConnectionPerRequest = "connection-per-request",
    /// Loss on one connection held up several streams
    H2LossBlocksAll = "h2-loss-blocks-all",
    /// Requests without a byte of an answer on a connection that is alive
    H2Silent = "h2-silent",
    /// Nothing that is sent is acknowledged any more
    PathDead = "path-dead",
    /// The peer allows few streams on a connection
    H2StreamLimit = "h2-stream-limit",
    /// The peer ended a connection with GOAWAY
    H2Goaway = "h2-goaway",
    /// The peer reset streams
    H2StreamReset = "h2-stream-reset",
    /// Streams were refused, and go pauses before it asks once more
    RetryBackoff = "retry-backoff",
    /// An HTTP/2 connection ended without GOAWAY while requests were in flight
    ConnectionDropped = "connection-dropped",
    /// One request was made again and again
    RequestRepeated = "request-repeated",
    /// Answers wait for this machine's delayed acknowledgement
    SmallSegmentsDelayed = "small-segments-delayed",
    /// One side did not read what it was sent
    ZeroWindow = "zero-window",
    /// A server refused requests
    RequestRefused = "request-refused",
    /// A server was asked too much
    RateLimited = "rate-limited",
    /// Responses were cut off
    TransferCut = "transfer-cut",
    /// The module proxy took long before it answered
    ProxySlow = "proxy-slow",
    /// A body came slowly
    TransferSlow = "transfer-slow",
    /// Many answers of the module proxy, none of them slow, are much of the time
    ProxyShare = "proxy-share",
    /// A host answers with the address of another one
    Redirect = "redirect",
    /// Redirects lead around in a circle
    RedirectLoop = "redirect-loop",
    /// A web page came instead of what was asked for
    PageAnswered = "page-answered",
    /// Prefixes of import paths were asked for
    PathProbing = "path-probing",
    /// Another Go was downloaded
    ToolchainDownload = "toolchain-download",
    /// A proxy does not have a module, and its own host was asked
    ProxyFallbackDirect = "proxy-fallback-direct",
    /// A proxy or checksum database was asked for what may be private
    MirrorPrivate = "mirror-private",
    /// A private module's name was sent to a proxy or checksum database outside
    PrivateNameLeft = "private-name-left",
    /// The same URL was requested more than once
    DuplicateRequest = "duplicate-request",
    /// The checksum database took long before it answered
    SumdbSlow = "sumdb-slow",
    /// Many answers of the checksum database, none of them slow, are much of the time
    SumdbShare = "sumdb-share",
    /// The checksum database cannot be reached
    SumdbUnreachable = "sumdb-unreachable",
    /// A proxy says that it serves the checksum database, and fails to
    SumdbProxyBroken = "sumdb-proxy-broken",
    /// Proxy and checksum database timed out one after the other
    StackedTimeouts = "stacked-timeouts",
    /// Fewer downloads at once than the path would carry
    ConcurrencyLimited = "concurrency-limited",
    /// Another process held a file lock
    CacheLockWait = "cache-lock-wait",
    /// GOCACHE and GOMODCACHE are one folder
    CacheShared = "cache-shared",
    /// A control group's limit of CPU time held the command up
    CpuQuota = "cpu-quota",
    /// Most of the time was this machine's own work
    LocalBound = "local-bound",
    /// git or a helper of its waits without any traffic
    VcsWaiting = "vcs-waiting",
    /// go got a module's page and started nothing to fetch it with
    RepositoryUnusable = "repository-unusable",
    /// Version control took much of the time
    VcsSlow = "vcs-slow",
    /// A helper for credentials, or another that go runs, took long
    HelperWaiting = "helper-waiting",
    /// What outlived the child that go started held its output
    PipeHeld = "pipe-held",
    /// A child failed, and the command with it
    ChildFailed = "child-failed",
    /// A test or another program that go runs waited
    ChildSlow = "child-slow",
    /// The build cache of GOCACHEPROG took long
    CacheprogSlow = "cacheprog-slow",
}

/// The phases of requests.
const REQUESTS: &[Phase] = &[Phase::Proxy, Phase::Sumdb, Phase::Toolchain, Phase::Vcs];

impl StallKind {
    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The phases in which it is reported.
    pub const fn phases(self) -> &'static [Phase] {
        match self {
            Self::DnsTimeout
            | Self::DnsAaaaSilent
            | Self::DnsSlow
            | Self::DnsSearch
            | Self::DnsError
            | Self::DnsNxdomain
            | Self::DnsRefused
            | Self::NetdnsIgnored
            | Self::DnsShare => &[Phase::Dns],
            Self::ConnectionPerRequest => &[Phase::Dns, Phase::Connect, Phase::Tls],
            Self::RetryBackoff => &[Phase::Backoff],
            Self::SynLost | Self::ConnectRefused | Self::Unreachable | Self::Ipv6Blackhole => {
                &[Phase::Connect]
            }
            Self::TunnelSlow | Self::TunnelUnanswered | Self::TunnelRefused => &[Phase::Tunnel],
            Self::TlsHelloUnanswered
            | Self::TlsResetBySni
            | Self::MtuBlackhole
            | Self::TlsUntrusted
            | Self::TlsRefused
            | Self::TlsSlow
            | Self::TlsIntercepted
            | Self::HandshakeWasted
            | Self::StackedTimeouts => &[Phase::Tls],
            Self::H2LossBlocksAll
            | Self::H2Silent
            | Self::PathDead
            | Self::H2Goaway
            | Self::H2StreamReset
            | Self::ZeroWindow
            | Self::TransferSlow
            | Self::RateLimited
            | Self::TransferCut
            | Self::DuplicateRequest
            | Self::ConnectionDropped
            | Self::RequestRepeated
            | Self::SmallSegmentsDelayed
            | Self::RedirectLoop
            | Self::Redirect => REQUESTS,
            Self::RequestRefused => &[Phase::Proxy, Phase::Sumdb, Phase::Vcs],
            Self::WrongScheme => {
                &[Phase::Tls, Phase::Tunnel, Phase::Proxy, Phase::Sumdb, Phase::Toolchain, Phase::Vcs]
            }
            Self::PageAnswered => &[Phase::Proxy, Phase::Sumdb, Phase::Toolchain],
            Self::H2StreamLimit
            | Self::ProxySlow
            | Self::ProxyShare
            | Self::PathProbing
            | Self::ConcurrencyLimited => &[Phase::Proxy],
            Self::MirrorPrivate | Self::PrivateNameLeft => &[Phase::Proxy, Phase::Sumdb],
            Self::SumdbSlow | Self::SumdbShare | Self::SumdbProxyBroken => &[Phase::Sumdb],
            Self::SumdbUnreachable => &[Phase::Connect, Phase::Tls],
            Self::ToolchainDownload => &[Phase::Toolchain],
            Self::ProxyFallbackDirect | Self::VcsWaiting | Self::VcsSlow | Self::RepositoryUnusable => {
                &[Phase::Vcs]
            }
            Self::HelperWaiting => &[Phase::Auth, Phase::Child],
            Self::PipeHeld | Self::ChildFailed => &[Phase::Auth, Phase::Vcs, Phase::Child],
            Self::ChildSlow => &[Phase::Child],
            Self::CacheprogSlow => &[Phase::Cache],
            Self::CacheLockWait => &[Phase::Lock],
            Self::CacheShared | Self::LocalBound | Self::CpuQuota => &[Phase::Local],
        }
    }

    /// What a person can do about it, in a sentence: the short form of what `docs/stalls.md` says,
    /// where its detector has none that fits the case better.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::DnsTimeout => {
                "if it happens again, take that server out of /etc/resolv.conf, or fix the way to it"
            }
            Self::DnsAaaaSilent => "fix the device that drops AAAA queries, or use another name server",
            Self::DnsSlow => {
                "use a faster name server, or a cache on this machine: go asks again in each command"
            }
            Self::DnsSearch => "set ndots:1 where the command runs (in Kubernetes: dnsConfig)",
            Self::DnsError => "report it to the owner of that name server, or use another one",
            Self::NetdnsIgnored => "take netdns out of GODEBUG",
            Self::DnsNxdomain => {
                "see whether GOPROXY or GOSUMDB has that name right, and whether it is one that only a VPN's name server knows"
            }
            Self::DnsRefused => {
                "start that name server, or take it out of /etc/resolv.conf; in a container, give it one (--dns)"
            }
            Self::DnsShare => "use a cache for names on this machine: go itself keeps no answer",
            Self::ConnectionPerRequest => {
                "have keep-alive or HTTP/2 switched on at that server (or at the proxy in front of it)"
            }
            Self::RetryBackoff => "raise the limit of streams at that server, or ask it for fewer at once",
            Self::ConnectionDropped => {
                "look at what ends connections on the way: a balancer, a NAT or the server's restart; go retried by itself"
            }
            Self::RequestRepeated => {
                "use go 1.27 or newer, which gives up at once, and look into the server's log"
            }
            Self::SmallSegmentsDelayed => "have TCP_NODELAY set at that server (Nagle's algorithm off)",
            Self::ProxyShare => "keep the module cache between runs, or use a module proxy that is nearer",
            Self::Redirect => {
                "ask the owner of the host that redirects to serve the files itself, or from near here"
            }
            Self::RedirectLoop => {
                "ask that host's owner where it should lead: a login, or http and https, in front of it send each other on"
            }
            Self::PageAnswered => {
                "open that address in a browser: a login or a network's start page answers it, or GOPROXY has a wrong path"
            }
            Self::PathProbing => {
                "name the module and its version (go get MODULE@VERSION, require), or list private ones in GOPRIVATE"
            }
            Self::SumdbShare => "commit a complete go.sum (go mod tidy): the database is then asked nothing",
            Self::VcsSlow => {
                "ask for a tag, not a branch or commit, or have a module proxy serve it: git then is not needed"
            }
            Self::SynLost => {
                "see whether that host is up and the firewall open for it, or use one that can be reached"
            }
            Self::ConnectRefused => "fix GOPROXY or GOSUMDB, whichever names it, or start the server",
            Self::Unreachable => {
                "see whether the network or VPN is up, and has a route to that address (ip route get ADDRESS)"
            }
            Self::Ipv6Blackhole => {
                "fix IPv6 on this network or switch it off: go has no setting to prefer IPv4"
            }
            Self::TlsHelloUnanswered | Self::TlsResetBySni => {
                "have the host let through, or use a mirror that is"
            }
            Self::TunnelSlow | Self::TunnelUnanswered => {
                "ask the forward proxy's owner; if this machine may reach the host by itself, name it in NO_PROXY"
            }
            Self::TunnelRefused => "ask the forward proxy's owner to let that host through",
            Self::MtuBlackhole => {
                "lower the MTU of this machine's interface (ip link set dev eth0 mtu 1400), or clamp the MSS at the router or VPN"
            }
            Self::TlsUntrusted => {
                "goobserve doctor URL says which of name, date and CA it is; an unknown CA: SSL_CERT_FILE, SSL_CERT_DIR, or install it"
            }
            Self::TlsRefused => "ask that server's owner what it wants of a client, or use another one",
            Self::WrongScheme => {
                "write http:// or https:// as that port speaks it, where GOPROXY, GOSUMDB or HTTPS_PROXY names it"
            }
            Self::TlsSlow => "ask the server's owner why it answers slowly",
            Self::TlsIntercepted => {
                "nothing, unless downloads are slow: each at once needs a connection of its own"
            }
            Self::HandshakeWasted => "nothing: it cost one handshake beside another",
            Self::H2LossBlocksAll => "fix the loss on the way to that host",
            Self::H2Silent => {
                "use another proxy that may see your modules; in scripts set a limit: timeout 300 go mod download"
            }
            Self::PathDead => {
                "run it again; if it happens again, look for a NAT, firewall or VPN that drops connections"
            }
            Self::H2StreamLimit => "raise the limit at the proxy",
            Self::H2Goaway => "raise the limit (nginx: keepalive_requests), or use another proxy",
            Self::H2StreamReset => "look into the server's log at that time, or use another proxy",
            Self::ZeroWindow => "report it to the owner of that server: it reads too slowly",
            Self::RequestRefused => "look into that server's log for why it refused",
            Self::RateLimited => {
                "wait before you run it again; fewer jobs at once, a module cache kept between runs, or a proxy of your own"
            }
            Self::TransferCut => {
                "run it again: that is the network, not your code; if it happens again, see what stands between (limits, time-outs)"
            }
            Self::ProxySlow => "use another proxy, or ask its owner why it answers slowly",
            Self::TransferSlow => "use another proxy, or ask its owner whether it limits the rate",
            Self::ToolchainDownload => {
                "install that Go beforehand, in CI in the image; GOTOOLCHAIN=local helps if go.mod needs no newer one"
            }
            Self::ProxyFallbackDirect => {
                "append private modules to GOPRIVATE, and GONOPROXY and GONOSUMDB where set; a wrong version: fix go.mod"
            }
            Self::MirrorPrivate => {
                "append your modules' prefix to GOPRIVATE, and to GONOPROXY and GONOSUMDB where set: they win over it"
            }
            Self::PrivateNameLeft => {
                "set GOPRIVATE to cover your modules (go env -w), and GONOPROXY and GONOSUMDB where set: they win over it"
            }
            Self::DuplicateRequest => "add what is missing there, if it should not be",
            Self::SumdbSlow => "commit a complete go.sum (go mod tidy): the database is then asked nothing",
            Self::SumdbUnreachable => "commit a complete go.sum, or use a proxy that serves the database",
            Self::SumdbProxyBroken => {
                "have the proxy fixed: it must answer /supported with 404, or serve the database"
            }
            Self::StackedTimeouts => "fix one of the two, and the time halves",
            Self::ConcurrencyLimited => "set GOMAXPROCS=16 for this command",
            Self::CacheLockWait => {
                "wait for that process, or end it if it hangs; in CI give jobs that run at once a GOMODCACHE each"
            }
            Self::CacheShared => "give GOCACHE and GOMODCACHE a folder each",
            Self::CpuQuota => {
                "raise the CPU limit of the container or unit (Kubernetes: resources.limits.cpu, docker: --cpus)"
            }
            Self::LocalBound => {
                "CPU: keep the module cache between runs; disk: a faster one for GOMODCACHE; waiting \
                 for a CPU: fewer jobs beside it"
            }
            Self::HelperWaiting => {
                "run that helper by hand as the same user; a token in .netrc spares GOAUTH and git a helper"
            }
            Self::PipeHeld => {
                "have what is left behind close its output, or start it beforehand; to go on now, end that process"
            }
            Self::ChildFailed => "run that command by hand as the same user: what it prints says why",
            Self::ChildSlow => {
                "look into that program: its waits are its own, and no setting of go's or module proxy changes them"
            }
            Self::CacheprogSlow => {
                "see whether the cache's server is far or slow; without GOCACHEPROG go builds from its own cache"
            }
            Self::RepositoryUnusable => {
                "see what the page names: curl 'https://MODULE?go-get=1'; then GOVCS (go help vcs), GOPRIVATE for your own modules, or the path"
            }
            Self::VcsWaiting => "see what the process at the end of the chain waits for",
        }
    }

    /// Whom to blame for a command that failed because of it: those who have to do something about it,
    /// unless it goes away by itself.
    pub const fn blame(self) -> Blame {
        match self {
            Self::DnsTimeout
            | Self::DnsAaaaSilent
            | Self::DnsSlow
            | Self::DnsError
            | Self::DnsNxdomain
            | Self::DnsRefused
            | Self::SynLost
            | Self::ConnectRefused
            | Self::Unreachable
            | Self::Ipv6Blackhole
            | Self::TlsHelloUnanswered
            | Self::TlsResetBySni
            | Self::MtuBlackhole
            | Self::TlsSlow
            | Self::TlsIntercepted
            | Self::HandshakeWasted
            | Self::H2LossBlocksAll
            | Self::H2Silent
            | Self::PathDead
            | Self::H2StreamLimit
            | Self::H2Goaway
            | Self::H2StreamReset
            | Self::ZeroWindow
            | Self::RequestRefused
            | Self::RateLimited
            | Self::TransferCut
            | Self::ProxySlow
            | Self::TransferSlow
            | Self::SumdbSlow
            | Self::SumdbUnreachable
            | Self::SumdbProxyBroken
            | Self::StackedTimeouts
            | Self::DnsShare
            | Self::ConnectionPerRequest
            | Self::RetryBackoff
            | Self::ConnectionDropped
            | Self::RequestRepeated
            | Self::SmallSegmentsDelayed
            | Self::ProxyShare
            | Self::SumdbShare
            | Self::Redirect
            | Self::RedirectLoop
            | Self::PageAnswered
            | Self::TlsRefused
            | Self::VcsSlow
            | Self::CacheprogSlow
            | Self::TunnelSlow
            | Self::TunnelUnanswered
            | Self::TunnelRefused => Blame::Network,
            Self::DnsSearch
            | Self::TlsUntrusted
            | Self::CacheLockWait
            | Self::CacheShared
            | Self::PipeHeld
            | Self::HelperWaiting
            | Self::CpuQuota
            | Self::LocalBound => Blame::Machine,
            Self::NetdnsIgnored
            | Self::WrongScheme
            | Self::ToolchainDownload
            | Self::ProxyFallbackDirect
            | Self::MirrorPrivate
            | Self::PrivateNameLeft
            | Self::DuplicateRequest
            | Self::ConcurrencyLimited
            | Self::PathProbing
            | Self::ChildFailed
            | Self::ChildSlow
            | Self::RepositoryUnusable
            | Self::VcsWaiting => Blame::Command,
        }
    }

    /// What else is to be known of it, but for its words.
    const fn traits(self) -> Traits {
        const PLAIN: Traits = Traits {
            hangs: false,
            over_others: false,
            of_failure: false,
            of_the_whole: false,
            across: false,
        };
        match self {
            Self::H2Silent | Self::PathDead => Traits { hangs: true, ..PLAIN },
            // Who answers late and with an error is slow, too.
            Self::RedirectLoop
            | Self::PageAnswered
            | Self::ChildFailed
            | Self::RequestRefused
            | Self::RateLimited => Traits { over_others: true, of_failure: true, ..PLAIN },
            Self::StackedTimeouts | Self::ToolchainDownload | Self::Redirect => {
                Traits { over_others: true, ..PLAIN }
            }
            Self::ConnectionPerRequest | Self::SmallSegmentsDelayed => Traits { across: true, ..PLAIN },
            Self::ConcurrencyLimited => {
                Traits { over_others: true, of_the_whole: true, across: true, ..PLAIN }
            }
            Self::DnsTimeout
            | Self::DnsAaaaSilent
            | Self::DnsSlow
            | Self::DnsSearch
            | Self::DnsError
            | Self::DnsNxdomain
            | Self::DnsRefused
            | Self::NetdnsIgnored
            | Self::SynLost
            | Self::ConnectRefused
            | Self::Unreachable
            | Self::MtuBlackhole
            | Self::TlsUntrusted
            | Self::TlsRefused
            | Self::WrongScheme
            | Self::TransferCut
            | Self::Ipv6Blackhole
            | Self::TlsHelloUnanswered
            | Self::TlsResetBySni
            | Self::TlsSlow
            | Self::TlsIntercepted
            | Self::HandshakeWasted
            | Self::H2LossBlocksAll
            | Self::H2StreamLimit
            | Self::H2Goaway
            | Self::H2StreamReset
            | Self::ZeroWindow
            | Self::ProxySlow
            | Self::TransferSlow
            | Self::ProxyFallbackDirect
            | Self::MirrorPrivate
            | Self::PrivateNameLeft
            | Self::DuplicateRequest
            | Self::SumdbSlow
            | Self::SumdbUnreachable
            | Self::SumdbProxyBroken
            | Self::CacheLockWait
            | Self::CacheShared
            | Self::LocalBound
            | Self::TunnelSlow
            | Self::TunnelUnanswered
            | Self::TunnelRefused
            | Self::CpuQuota
            | Self::VcsWaiting
            | Self::DnsShare
            | Self::ProxyShare
            | Self::SumdbShare
            | Self::RetryBackoff
            | Self::ConnectionDropped
            | Self::RequestRepeated
            | Self::PathProbing
            | Self::VcsSlow
            | Self::RepositoryUnusable
            | Self::HelperWaiting
            | Self::PipeHeld
            | Self::ChildSlow
            | Self::CacheprogSlow => PLAIN,
        }
    }

    /// go waits for it without a time-out of its own: an attempt is not to hang, too.
    pub const fn hangs(self) -> bool {
        self.traits().hangs
    }

    /// It says what others cost together, or what would be saved of it: its cost is not added to theirs.
    pub const fn over_others(self) -> bool {
        self.traits().over_others
    }

    /// It says why something failed. Why that took its time is another's to say, which then counts it.
    pub const fn of_failure(self) -> bool {
        self.traits().of_failure
    }

    /// Its time lies in several phases, whichever it is reported in: no one phase bounds its cost.
    pub const fn across(self) -> bool {
        self.traits().across
    }

    /// A prediction over the whole command: reported when it has ended, for until then it comes and goes.
    pub const fn of_the_whole(self) -> bool {
        self.traits().of_the_whole
    }
}

struct Traits {
    hangs: bool,
    over_others: bool,
    of_failure: bool,
    of_the_whole: bool,
    across: bool,
}

impl fmt::Display for StallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_its_kind_and_one_of_another_version_stays_as_it_is() {
        for kind in StallKind::ALL {
            let text = format!("\"{}\"", kind.name());
            let name: StallName = serde_json::from_str(&text).unwrap();
            assert_eq!(name, *kind);
            assert_eq!(serde_json::to_string(&name).unwrap(), text);
            assert!(!kind.phases().is_empty() && !kind.advice().is_empty(), "{kind}");
        }
        let name: StallName = serde_json::from_str("\"quantum-slow\"").unwrap();
        assert_eq!((name.as_str(), name.kind()), ("quantum-slow", None));
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"quantum-slow\"");
    }
}
