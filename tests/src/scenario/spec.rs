//! The format of a scenario file. What it does not know it refuses.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What is wrong, in a line
    pub title: String,
    /// Why only the bench runs it: it takes too long for every build
    pub bench_only: Option<String>,
    /// Why there is no recording of it: it would be too large
    pub not_recorded: Option<String>,
    /// Round-trip times it is run with, milliseconds, the first in every build
    #[serde(default = "usual_rtts")]
    pub rtts_ms: Vec<u64>,
    /// What runs
    #[serde(default)]
    pub command: CommandSpec,
    /// The stalls that must be reported
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// Kinds that may be reported beside them, because the fault causes them too; any other warning
    /// or critical stall is wrong
    #[serde(default)]
    pub also: Vec<String>,
    /// The name server and the resolver's settings
    #[serde(default)]
    pub dns: DnsSpec,
    /// The module proxy and checksum database
    #[serde(default)]
    pub proxy: ProxySpec,
    /// The forward proxy that everything goes through, which is there only when this is
    pub forward: Option<ForwardSpec>,
    /// The host of git repositories, which is there only when this is
    pub git: Option<ProxySpec>,
    /// What go runs itself and waits for
    #[serde(default)]
    pub helpers: HelperSpec,
    /// The way between
    #[serde(default)]
    pub wire: WireSpec,
    /// The machine the command runs on
    #[serde(default)]
    pub machine: MachineSpec,
}

fn usual_rtts() -> Vec<u64> {
    vec![0, 20, 200]
}

/// A stall.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Its name in the catalogue
    pub kind: String,
    /// Where its time is booked
    pub phase: String,
    /// Whose fault; `null` in the report when it is not here
    pub host: Option<String>,
    /// `info`, `warning` or `critical`; any without it
    pub severity: Option<String>,
    /// What was injected, milliseconds; the cost of the stalls of that kind, phase and host must
    /// be within 10 %
    pub cost_ms: Option<f64>,
    /// What comes on top (or goes off), in round-trip times
    #[serde(default)]
    pub cost_rtts: f64,
    /// The injected time is the command's whole, for it never ends by itself
    #[serde(default)]
    pub until_end: bool,
    /// What another fault takes of that, milliseconds
    #[serde(default)]
    pub less_ms: f64,
}

/// What runs; without anything, `go mod download` of the smallest module.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandSpec {
    /// The command line
    pub argv: Option<Vec<String>>,
    /// Else: so many of the smallest modules are downloaded by name
    pub modules: usize,
    /// The project requires them, and they are downloaded without being named
    pub required: bool,
    /// These are downloaded instead, as `module@version`
    pub named: Vec<String>,
    /// The project's requirements, as `module version`; then they are downloaded, none by name
    pub requires: Vec<String>,
    /// A line of its go.mod
    pub toolchain: Option<String>,
    /// The project has the complete go.sum
    pub go_sum: bool,
    /// HTTP/1.1
    pub http1: bool,
    /// The checksum database is asked at its own host
    pub sumdb_direct: bool,
    /// GOMAXPROCS
    pub gomaxprocs: Option<u32>,
    /// Files of the project, by name, beside or instead of those it has
    pub files: BTreeMap<String, String>,
    /// Go's own packages were compiled before, for they are many
    pub compiled: bool,
    /// Other variables
    pub env: BTreeMap<String, String>,
    /// It is interrupted after so many seconds, for it would hang for longer or for ever
    pub give_up_s: Option<f64>,
    /// It is meant to fail
    pub fails: bool,
}

impl Default for CommandSpec {
    fn default() -> Self {
        Self {
            argv: None,
            modules: 1,
            required: false,
            named: Vec::new(),
            requires: Vec::new(),
            toolchain: None,
            go_sum: true,
            http1: false,
            sumdb_direct: false,
            gomaxprocs: None,
            files: BTreeMap::new(),
            compiled: false,
            env: BTreeMap::new(),
            give_up_s: None,
            fails: false,
        }
    }
}

/// See [`DnsFaults`](crate::dns::DnsFaults).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsSpec {
    pub(super) delay_ms: u64,
    pub(super) delay_a_ms: u64,
    pub(super) delay_aaaa_ms: u64,
    pub(super) delay_unknown_ms: u64,
    pub(super) drop_first: u32,
    pub(super) silent_aaaa: bool,
    pub(super) aaaa: bool,
    pub(super) servfail: bool,
    pub(super) servfail_first: u32,
    pub(super) truncate: bool,
    /// Domains of resolv.conf's `search`
    pub(super) search: Vec<String>,
    /// Its `options`
    pub(super) options: Option<String>,
    /// The name server that the command asks is not there: nothing listens at its address
    pub(super) nobody: bool,
    /// dnsmasq stands between, at 127.0.0.53
    pub(super) local_resolver: bool,
}

/// See [`Faults`](crate::proxy::Faults).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxySpec {
    pub(super) tls_delay_ms: u64,
    /// Its certificate takes more than a packet
    pub(super) large_certificate: bool,
    /// The module proxy that GOPROXY names speaks plain http
    pub(super) plain_http: bool,
    pub(super) http1_only: bool,
    pub(super) one_request_each: bool,
    pub(super) max_streams: Option<u32>,
    pub(super) goaway_after: Option<u32>,
    pub(super) reset_sni: Option<String>,
    pub(super) head: Vec<HeadSpec>,
    pub(super) body: Vec<BodySpec>,
    pub(super) answer: Vec<AnswerSpec>,
    pub(super) cut: Vec<CutSpec>,
    pub(super) redirect: Vec<RedirectSpec>,
    pub(super) fake: Vec<FakeSpec>,
    pub(super) reset: Vec<ResetSpec>,
}

/// A delay before heads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadSpec {
    pub(super) class: Class,
    pub(super) delay_ms: u64,
}

/// A pause in bodies, or their rate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BodySpec {
    pub(super) class: Class,
    #[serde(default)]
    pub(super) after_bytes: u64,
    /// Without it and without a rate, an hour
    pub(super) delay_ms: Option<u64>,
    pub(super) bytes_per_s: Option<u64>,
}

/// A status instead of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerSpec {
    pub(super) class: Class,
    pub(super) status: u16,
    /// Only for paths with this in them
    pub(super) containing: Option<String>,
    pub(super) retry_after_s: Option<u32>,
}

/// A connection that is reset in the middle of a body.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CutSpec {
    pub(super) class: Class,
    pub(super) after_bytes: u64,
}

/// A redirect.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedirectSpec {
    pub(super) class: Class,
    /// The host that has the file
    pub(super) to: String,
}

/// See [`ForwardOptions`](crate::forward::ForwardOptions) and
/// [`ForwardFaults`](crate::forward::ForwardFaults).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardSpec {
    pub(super) protocol: Spoken,
    pub(super) over_tls: bool,
    /// It asks for a password, and is given it
    pub(super) password: bool,
    pub(super) delay_ms: u64,
    /// It never answers
    pub(super) silent: bool,
    /// It answers with this status or reply
    pub(super) refuse: Option<u16>,
    /// It resets instead of an answer
    pub(super) reset: bool,
    /// It leaves Nagle's algorithm on
    pub(super) nagle: bool,
}

/// What is spoken with a forward proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Spoken {
    #[default]
    Connect,
    Socks5,
}

/// A file of zeros.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FakeSpec {
    pub(super) class: Class,
    pub(super) bytes: usize,
}

/// `RST_STREAM`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetSpec {
    pub(super) class: Class,
    pub(super) code: u32,
    pub(super) times: u32,
}

/// The class of a request, as the report names it; or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Class {
    Any,
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
    Other,
}

/// See [`Helper`](crate::helpers::Helper): how long each takes; without a time it is not there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HelperSpec {
    /// The command that GOAUTH names
    pub(super) goauth_ms: Option<u64>,
    /// It leaves a process behind that holds its output for so long
    pub(super) goauth_leaves_ms: Option<u64>,
    /// Each answer of the program that GOCACHEPROG names
    pub(super) cacheprog_ms: Option<u64>,
    /// The program that `-toolexec` names, for each tool
    pub(super) toolexec_ms: Option<u64>,
    /// The program that `GIT_ASKPASS` names
    pub(super) askpass_ms: Option<u64>,
}

/// See [`WireFaults`](crate::wire::WireFaults).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WireSpec {
    pub(super) lost_syn: Vec<LostSynSpec>,
    pub(super) lost_hello: Vec<LostHelloSpec>,
    /// Hellos that take more than a packet never arrive whole
    pub(super) large_hellos_lost: bool,
    /// Packets to the client with more payload than this never arrive
    pub(super) large_lost: Option<usize>,
    pub(super) loss: Vec<LossSpec>,
    pub(super) death: Vec<DeathSpec>,
    pub(super) zero_window: Vec<ZeroWindowSpec>,
}

/// SYNs that never arrive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LostSynSpec {
    pub(super) host: String,
    /// To its IPv6 address
    #[serde(default)]
    pub(super) v6: bool,
    /// All without it
    pub(super) first: Option<u32>,
}

/// Hellos that never arrive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LostHelloSpec {
    pub(super) naming: String,
}

/// Random loss.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LossSpec {
    pub(super) direction: DirectionSpec,
    pub(super) percent: u8,
    pub(super) after_bytes: u64,
}

/// Where packets go.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DirectionSpec {
    ToServer,
    ToClient,
}

/// A connection that ends without a word.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeathSpec {
    pub(super) host: String,
    pub(super) after_bytes: u64,
    /// All without it
    pub(super) times: Option<u32>,
}

/// A receive window that is closed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZeroWindowSpec {
    pub(super) host: String,
    pub(super) after_bytes: u64,
    pub(super) lasts_ms: u64,
}

/// The machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineSpec {
    /// Cores the command may use; what computes beside it is on the same ones
    pub(super) cores: Option<u32>,
    /// The lock of the first module is held for so long once the command waits for it
    pub(super) lock_ms: Option<u64>,
    /// How GOCACHE is GOMODCACHE
    pub(super) shared_cache: Option<SharedCache>,
    /// Processes that only compute
    pub(super) hogs: u32,
    /// Threads that write to the disk and wait for it; the module cache is on that disk then
    pub(super) disk_writers: u32,
    /// The command is stopped for so long in the middle of its first zip
    pub(super) pause_ms: Option<u64>,
}

impl MachineSpec {
    /// The command's CPUs as `taskset` reads them; any without a limit.
    pub(super) fn cpus(&self) -> Option<String> {
        self.cores.map(|cores| format!("0-{}", cores.saturating_sub(1)))
    }
}

/// How two folders are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SharedCache {
    Path,
    Link,
    Mount,
}
