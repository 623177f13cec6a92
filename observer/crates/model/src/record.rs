//! The records a report is made of; `goobserve.report/1` and `goobserve.recording/1` share them.
//! Times are nanoseconds from the start of the observation. `None` is "not known".

use crate::id::{CommandId, ConnectionId, DnsId, Pid, RequestId};
use crate::time::{Ns, SinceStart};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::ssh::Ssh;
use super::tunnel::{Tunnel, without_default_port};

/// What a nanosecond of wall time was spent on. The order is the table's order in every report,
/// and the order in which remainders of a division are given out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waiting for an answer of a name server
    Dns,
    /// A TCP handshake
    Connect,
    /// A TLS handshake
    Tls,
    /// A forward proxy, from connected to it until the tunnel stands or is refused
    Tunnel,
    /// Credentials: GOAUTH commands, credential helpers, askpass, ssh agents
    Auth,
    /// Module proxy requests
    Proxy,
    /// Checksum database requests
    Sumdb,
    /// Download of `golang.org/toolchain`
    Toolchain,
    /// git and its kin, their transports, `?go-get=1`
    Vcs,
    /// A GOCACHEPROG child and its network
    Cache,
    /// go waits by itself before it asks the same once more
    Backoff,
    /// Other children that go waits for: test binaries, generators, -toolexec
    Child,
    /// Another process's file lock
    Lock,
    /// Running, ready to run, or waiting for the disk
    Local,
    /// Nothing in flight, nothing running
    Unexplained,
}

impl Phase {
    /// Every phase, in table order.
    pub const ALL: [Self; 15] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Tunnel,
        Self::Auth,
        Self::Proxy,
        Self::Sumdb,
        Self::Toolchain,
        Self::Vcs,
        Self::Cache,
        Self::Backoff,
        Self::Child,
        Self::Lock,
        Self::Local,
        Self::Unexplained,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Tunnel => "tunnel",
            Self::Auth => "auth",
            Self::Proxy => "proxy",
            Self::Sumdb => "sumdb",
            Self::Toolchain => "toolchain",
            Self::Vcs => "vcs",
            Self::Cache => "cache",
            Self::Backoff => "backoff",
            Self::Child => "child",
            Self::Lock => "lock",
            Self::Local => "local",
            Self::Unexplained => "unexplained",
        }
    }
}

/// The machine that was observed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Kernel release
    pub kernel: String,
    /// `x86_64`, `aarch64`
    pub arch: String,
    /// CPUs online
    pub cpus: u32,
    /// What resolv.conf says
    pub resolver: Resolver,
    /// Its own name (`uname -n`); absent where that is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
}

/// The resolver's settings, from resolv.conf with its defaults filled in.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Resolver {
    /// Name servers, in order
    pub servers: Vec<String>,
    /// Search list
    pub search: Vec<String>,
    /// Seconds before a query is retried
    pub timeout_s: u32,
    /// Queries to each server
    pub attempts: u32,
}

/// What is known of the go command's binary and settings.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Go {
    /// `go1.26.8`, from the binary's build information
    pub version: Option<String>,
    /// Path of the binary
    pub binary: Option<String>,
    /// Built with cgo
    pub cgo: Option<bool>,
    /// Downloads at once; the CPUs it may use when the variable is not set
    pub gomaxprocs: Option<u32>,
    /// As the command sees it: variable, GOENV file or GOROOT's default
    pub goproxy: Option<String>,
    /// Likewise
    pub gosumdb: Option<String>,
    /// Likewise
    pub goflags: Option<String>,
    /// Likewise
    pub godebug: Option<String>,
    /// Likewise
    pub gomodcache: Option<String>,
    /// Likewise
    pub gocache: Option<String>,
    /// Both caches are one folder, by device and inode; absent when they are not, or it is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caches_shared: Option<bool>,
    /// GOPRIVATE; empty when it is not set, absent when that is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goprivate: Option<String>,
    /// GONOPROXY, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gonoproxy: Option<String>,
    /// GONOSUMDB, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gonosumdb: Option<String>,
    /// GOINSECURE, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goinsecure: Option<String>,
    /// GOVCS, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub govcs: Option<String>,
    /// Paths of the main module, of go.work's modules, and of what a folder replaces; absent when that is
    /// not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_modules: Option<Vec<String>>,
    /// `HTTPS_PROXY` or `HTTP_PROXY` is set, so that other hosts are reached the same way; absent when it
    /// is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_proxy: Option<bool>,
    /// `HTTPS_PROXY`, or in small letters; empty when it is not set, absent when that is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_proxy: Option<String>,
    /// `ALL_PROXY`, which git and curl know and go does not, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_proxy: Option<String>,
    /// `NO_PROXY`, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
    /// GOAUTH: each program without its arguments, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goauth: Option<String>,
    /// GOCACHEPROG: the program without its arguments, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gocacheprog: Option<String>,
    /// `SSL_CERT_FILE`, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_cert_file: Option<String>,
    /// `SSL_CERT_DIR`, likewise
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_cert_dir: Option<String>,
    /// Who ran it, as its environment says; absent when that says nothing
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Box<Caller>>,
    /// The command's netrc is there, by NETRC or in its HOME; absent when that is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netrc: Option<bool>,
}

impl Go {
    /// Whether anything but the binary is known: the environment could be read.
    pub const fn has_settings(&self) -> bool {
        self.gomaxprocs.is_some()
            || self.goproxy.is_some()
            || self.gosumdb.is_some()
            || self.goflags.is_some()
            || self.godebug.is_some()
            || self.gomodcache.is_some()
            || self.gocache.is_some()
    }
}

/// A go command (with `run`: CMD), as its events report it. An event holds the whole record; a
/// later one replaces it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Number of the command in this observation, from 1
    #[serde(rename = "command")]
    pub id: CommandId,
    /// Pid of its topmost process
    pub pid: Pid,
    /// Arguments, the program first
    pub argv: Vec<String>,
    /// User
    pub uid: Option<u32>,
    /// Working folder
    pub cwd: Option<String>,
    /// Control group
    pub cgroup: Option<String>,
    /// When it began, or was found
    pub start_ns: SinceStart,
    /// How long it ran already when it was found; `None` for one whose beginning was seen
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ns: Option<Ns>,
    /// How long it took from `start_ns` on; `None` while it runs
    pub wall_ns: Option<Ns>,
    /// Exit code of the topmost process
    pub exit_code: Option<i32>,
    /// Signal that ended it
    pub signal: Option<i32>,
    /// Binary and settings
    pub go: Go,
    /// Kernel's accounts of busy time; final once `wall_ns` is known. `None` when the scheduler
    /// was not observed
    #[serde(rename = "local_parts", alias = "local")]
    pub local: Option<Local>,
    /// How a limit of its control group held it up; absent where none did, or that is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<CpuQuota>,
    /// The container that it is in; absent of one in none, or in the same as goobserve
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Box<Container>>,
    /// The service that it has run its containers; absent of one that needs none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<Service>>,
}

/// A container, as far as it is known outside.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// What made it: `podman`, `docker`, `containerd`, `cri-o`, `buildah`, `buildkit`, `lxc`
    pub engine: String,
    /// Its number there, as that shows it
    pub id: String,
    /// Its name, where that is known
    pub name: Option<String>,
    /// Who the command's user is inside; `None` when the same as outside, or not known
    pub user: Option<u32>,
}

impl Container {
    /// What to call it for its engine: its name, or else its number.
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}

/// A command that has a service run its containers (docker, `podman --remote`): they are no children of
/// its own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The program that asked: `docker`
    pub client: String,
    /// Processes of the service that were found: what they started meanwhile is counted to the command.
    /// Empty when none was found, so that nothing of it was seen
    pub pids: Vec<Pid>,
    /// The name of the first of them: `dockerd`
    pub name: Option<String>,
}

/// What a control group's limit of CPU time did to a command, by the group's own counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CpuQuota {
    /// The limit, thousandths of a CPU
    pub limit_millicpus: u32,
    /// Periods in which something of the group ran
    pub periods: u64,
    /// Of them, those in which it used up its share and had to wait for the next
    pub throttled_periods: u64,
    /// For how long, all its CPUs together (version 1) or by the clock (version 2)
    pub throttled_ns: Ns,
}

/// Time in which the command was not waiting for the network, by what its threads did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Local {
    /// At least one thread on a CPU
    pub cpu_ns: Ns,
    /// None on a CPU, one ready
    pub runqueue_ns: Ns,
    /// Neither, one in uninterruptible sleep
    pub disk_ns: Ns,
}

/// A process of a command. `pid` and `start_ns` identify it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// The command it belongs to
    pub command: CommandId,
    /// Pid
    pub pid: Pid,
    /// Parent
    pub ppid: Pid,
    /// The kernel's name of it
    pub comm: String,
    /// Arguments of its latest exec
    pub args: Vec<String>,
    /// When it was forked, or found
    pub start_ns: SinceStart,
    /// When its last thread ended
    pub end_ns: Option<SinceStart>,
    /// Exit code; 128+N when signal N ended it
    pub exit_code: Option<i32>,
    /// CPU time of all threads
    pub cpu_ns: Option<Ns>,
    /// Since when the command slept, each time that this process was then seen to read a terminal
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terminal_ns: Vec<SinceStart>,
    /// When it waited for its ssh agent
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_waits: Vec<AgentWait>,
}

/// A question of ssh's to its agent (`SSH_AUTH_SOCK`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct AgentWait {
    /// When it was asked
    pub start_ns: SinceStart,
    /// When the answer began to come; `None` without one
    pub end_ns: Option<SinceStart>,
}

/// UDP or TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams
    #[default]
    Udp,
    /// A connection
    Tcp,
    /// systemd-resolved's unix socket
    Unix,
}

/// One query to one name server.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Dns {
    /// The command
    pub command: CommandId,
    /// Number of the query in this observation, from 1
    pub id: DnsId,
    /// Number of the command's query that a local stub resolver passed on by this one; `None`
    /// for the command's own
    #[serde(default)]
    pub on_behalf_of: Option<DnsId>,
    /// The process that asked
    pub pid: Pid,
    /// Its name
    pub comm: String,
    /// `address:port` of the server
    pub server: String,
    /// How it was asked
    pub transport: Transport,
    /// The name, without the final dot
    pub name: String,
    /// `A`, `AAAA`, …
    pub qtype: String,
    /// 1 for the first query of this name and type by this process, 2 for its repetition …
    pub attempt: u32,
    /// `NOERROR`, `NXDOMAIN`, …; `None` without an answer
    pub rcode: Option<String>,
    /// Addresses or names in the answer
    pub answers: Option<u32>,
    /// When the query was sent
    pub start_ns: SinceStart,
    /// When the answer was read
    pub end_ns: Option<SinceStart>,
    /// The process gave the query up without an answer
    pub timed_out: bool,
    /// The server refused the datagram (ICMP: nothing listens there), or its connection
    #[serde(default, skip_serializing_if = "is_false")]
    pub refused: bool,
    /// An answer came that does not repeat the query, with that code: Go's resolver does not take it for one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// The answer was cut short, to be asked for over TCP
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// For fields that are absent when they are not set.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}

/// How a TCP connection turned out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionOutcome {
    /// Established, later closed in order
    Established,
    /// A reset answered the SYN
    Refused,
    /// Nothing answered
    TimedOut,
    /// This machine, or a router, said that there is no way
    Unreachable,
    /// A reset ended it
    Reset,
    /// Still there when the observation ended
    #[default]
    Open,
    /// Its end may be among records that were lost
    Unknown,
    /// Shook hands and carried no request
    Unused,
}

/// Why there is no way to an address, by what the kernel said to `connect`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoWay {
    /// `ENETUNREACH`: no route, or a router has none
    Network,
    /// `EHOSTUNREACH`: the host does not answer on its own network, or a firewall says so
    Host,
    /// `EPERM`, `EACCES`: a rule of this machine forbids it
    Permission,
    /// `EADDRNOTAVAIL`: no address of this machine's leads there, or no port is left
    Address,
}

impl NoWay {
    /// What it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Network => "network is unreachable",
            Self::Host => "no route to host",
            Self::Permission => "operation not permitted",
            Self::Address => "cannot assign requested address",
        }
    }
}

/// One of the two ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The observed process
    Here,
    /// Whom it is connected to
    Peer,
}

/// What a peer answered in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnsweredIn {
    /// HTTP in plain text
    Http,
    /// A TLS record
    Tls,
    /// Plain text of some other kind
    Other,
}

impl AnsweredIn {
    /// In what, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Http => "in plain HTTP",
            Self::Tls => "in TLS",
            Self::Other => "in plain text",
        }
    }
}

/// A TCP connection.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The command
    pub command: CommandId,
    /// Number of the connection in this observation, from 1
    pub id: ConnectionId,
    /// The process that connected
    pub pid: Pid,
    /// Its name
    pub comm: String,
    /// Local `address:port`; empty, and `null` where it is written, when that is not known
    #[serde(with = "super::plain::empty_is_null")]
    #[schemars(with = "Option<String>")]
    pub local: String,
    /// Remote `address:port`
    pub remote: String,
    /// The name whose lookup by this command gave the remote address, with the port unless it is 443
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<String>,
    /// SNI of the `ClientHello`; through a tunnel that of the hello inside it
    pub server_name: Option<String>,
    /// What its process asked a forward proxy for, which the remote end then is
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// What was spoken: `h2`, `http/1.1`, `ssh`
    pub alpn: Option<String>,
    /// `1.2`, `1.3`
    pub tls_version: Option<String>,
    /// When the SYN was sent
    pub start_ns: SinceStart,
    /// How long the TCP handshake took (until it failed, when it did)
    pub connect_ns: Option<Ns>,
    /// How long the TLS handshake took
    pub tls_ns: Option<Ns>,
    /// When it was closed
    pub end_ns: Option<SinceStart>,
    /// How it turned out
    pub outcome: ConnectionOutcome,
    /// SYNs retransmitted
    pub syn_retransmits: u32,
    /// Segments retransmitted, SYNs not counted
    pub retransmits: u32,
    /// Of them, those that had arrived: the peer said that it had them already (RFC 2883)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spurious_retransmits: Option<u32>,
    /// Segments received out of order
    pub received_out_of_order: Option<u32>,
    /// Resets, sent or received
    pub resets: u32,
    /// Times a window, ours or the peer's, closed
    pub zero_windows: u32,
    /// Smoothed round-trip time
    pub rtt_ns: Option<Ns>,
    /// Payload bytes sent
    pub bytes_sent: Option<u64>,
    /// Payload bytes received
    pub bytes_received: Option<u64>,
    /// Requests it carried
    pub requests: u32,
    /// When its TLS handshake began
    pub tls_start_ns: Option<SinceStart>,
    /// The TLS handshake failed
    pub tls_failed: bool,
    /// Its beginning was not seen
    pub joined_late: bool,
    /// How many requests were made on it before it was joined, by the number that HTTP/2 gave the first
    /// one that was seen; `None` when that is not known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_missed: Option<u32>,
    /// Size of the `ClientHello` with its record headers, bytes
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello_bytes: Option<u32>,
    /// Protocols that the `ClientHello` offered
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn_offered: Option<Vec<String>>,
    /// When the `ServerHello` was read
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_hello_ns: Option<SinceStart>,
    /// When payload last came in, to the second
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_ns: Option<SinceStart>,
    /// HTTP/2: streams that the peer allows at once (`SETTINGS_MAX_CONCURRENT_STREAMS`)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_limit: Option<u32>,
    /// HTTP/2: the peer sent GOAWAY, with this code
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goaway: Option<String>,
    /// How it began, where ssh is spoken
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// Why there was no way to that address, when it is unreachable
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_way: Option<NoWay>,
    /// What the peer answered in, where that is not what it was asked in: a `ClientHello` in plain text, or a
    /// request in plain text by TLS
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_in: Option<AnsweredIn>,
    /// The alert by which the peer refused TLS, in the words of RFC 8446 (`certificate_required`)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// Who ended it first, by closing or resetting it; absent when it did not end, or that was not seen
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Side>,
    /// How the kernel had it, when it was there before it could be seen; the latest look
    #[serde(default, alias = "found", skip_serializing_if = "Option::is_none")]
    pub preexisting: Option<Preexisting>,
}

impl Connection {
    /// Whom it is for: the name in its hello, the target of its tunnel, the name that was looked up for
    /// it, or else the address. `None` when nothing is known.
    pub fn host(&self) -> Option<&str> {
        let target = self.tunnel.as_ref().and_then(|tunnel| tunnel.target.as_deref());
        let known = |text: &&str| !text.is_empty();
        self.server_name
            .as_deref()
            .filter(known)
            .or_else(|| target.map(without_default_port).filter(known))
            .or_else(|| self.remote_name.as_deref().filter(known))
            .or_else(|| Some(self.remote.as_str()).filter(known))
    }

    /// The machine at its other end, a forward proxy where there is a tunnel: its name, or its address.
    pub fn remote_host(&self) -> Option<&str> {
        let known = |text: &&str| !text.is_empty();
        self.remote_name.as_deref().filter(known).or_else(|| Some(self.remote.as_str()).filter(known))
    }
}

/// A TCP state, by the kernel's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names of RFC 9293, 3.3.2")]
pub enum TcpState {
    #[default]
    Established,
    SynSent,
    FinWait1,
    FinWait2,
    CloseWait,
    LastAck,
    Closing,
}

/// What the kernel said of a connection at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Preexisting {
    /// When it was asked
    pub at_ns: SinceStart,
    /// The connection's state
    pub state: TcpState,
    /// Bytes that the peer had not acknowledged
    pub unacked_bytes: u64,
    /// How often the oldest of them had been retransmitted
    pub retries: u32,
    /// How long ago the last byte had been sent; `None` when none was
    pub since_sent_ns: Option<Ns>,
    /// How long ago the last byte had been received; `None` when none was
    pub since_received_ns: Option<Ns>,
    /// How long ago the peer had acknowledged anything, a keepalive included
    pub since_acked_ns: Option<Ns>,
}

/// Application protocol of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/2
    #[default]
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1 (and 1.0)
    #[serde(rename = "http/1.1")]
    Http1,
}

/// What a request is for.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names of the module proxy's and checksum database's protocols")]
pub enum Class {
    List,
    Latest,
    Info,
    Mod,
    Zip,
    SumdbSupported,
    SumdbLatest,
    SumdbLookup,
    SumdbTile,
    Toolchain,
    GoGet,
    #[default]
    Other,
}

impl Class {
    /// The phase its time belongs to. `Other` requests of a go command are booked as proxy
    /// work: they are answered by the host the command asked.
    pub const fn phase(self) -> Phase {
        match self {
            Self::List | Self::Latest | Self::Info | Self::Mod | Self::Zip | Self::Other => Phase::Proxy,
            Self::SumdbSupported | Self::SumdbLatest | Self::SumdbLookup | Self::SumdbTile => Phase::Sumdb,
            Self::Toolchain => Phase::Toolchain,
            Self::GoGet => Phase::Vcs,
        }
    }
}

/// How a request turned out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestOutcome {
    /// A whole response with a status below 400
    Ok,
    /// A whole response with a status of 400 or more, or none (connection closed)
    Error,
    /// `RST_STREAM` from the server, or the connection was reset
    Reset,
    /// `RST_STREAM` from the client
    Cancelled,
    /// Not ended when the observation did
    #[default]
    Open,
    /// Its end, or its answer, may be among records that were lost
    Unknown,
}

/// A request and its response.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The command
    pub command: CommandId,
    /// Number of the request in this observation, from 1
    pub id: RequestId,
    /// The process
    pub pid: Pid,
    /// [`Connection::id`]; `None` when the socket was not seen
    pub connection: Option<ConnectionId>,
    /// What was spoken
    pub protocol: Protocol,
    /// HTTP/2 stream
    pub stream: Option<u32>,
    /// `GET`, …; `None` when the header table was lost
    pub method: Option<String>,
    /// Host the request is for
    pub authority: Option<String>,
    /// Path; a query value is replaced by `…`
    pub path: Option<String>,
    /// What it is for
    pub class: Class,
    /// Module path, unescaped
    pub module: Option<String>,
    /// Module version
    pub version: Option<String>,
    /// Status code
    pub status: Option<u16>,
    /// When its first byte was written
    pub start_ns: SinceStart,
    /// When the response's head was read
    pub first_byte_ns: Option<SinceStart>,
    /// When the response's last byte was read
    pub end_ns: Option<SinceStart>,
    /// Bytes of the response's body; `None` until it ended, and when it was cut off uncounted
    pub bytes: Option<u64>,
    /// How it turned out
    pub outcome: RequestOutcome,
    /// The code of its `RST_STREAM`, whoever sent it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_code: Option<String>,
    /// How many seconds its answer asked to wait (`Retry-After`, a date measured by the answer's own `Date`)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
    /// Its answer was a page (`Content-Type: text/html`)
    #[serde(default, skip_serializing_if = "is_false")]
    pub page: bool,
}

/// A gap in what is known of a command: the kernel could not hand over what happened in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// When the command was last seen to run before records were lost
    pub start_ns: SinceStart,
    /// From when on every record is there again
    pub end_ns: SinceStart,
    /// How much of it, beside the idle intervals that are known, every thread slept, by the kernel's
    /// accounts; `None` while they are not known
    pub idle_ns: Option<Ns>,
}

/// What was not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Events the kernel could not hand over, by any cause
    pub kernel_events_lost: u64,
    /// Events that could not be understood
    pub events_undecoded: u64,
    /// Connections whose beginning was not seen
    pub connections_joined_late: u64,
    /// Programs that were not looked at, because there were too many of them or they were too large:
    /// requests that they made inside TLS were not seen
    #[serde(default)]
    pub programs_unexamined: u64,
    /// Runs of goobserve's BPF programs that the kernel skipped, because the same program was in the middle of
    /// a run on that CPU (Linux 7.0 on): at most so many events were not seen. Whose they were is not known
    #[serde(default)]
    pub program_runs_skipped: u64,
    /// Tracepoints that this kernel does not have or did not let be attached to
    #[serde(default)]
    pub tracepoints_unattached: u64,
    /// Times that the kernel's socket diagnostics could not be asked: of sockets that were open before the
    /// observation nothing is known then
    #[serde(default)]
    pub socket_lookups_failed: u64,
}
