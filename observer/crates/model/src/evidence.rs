//! What was seen of a stall: facts in, with their values and whom they are about, words out. Words are
//! made when a fact is shown, so that scripts have the values and people the sentence.
//!
//! In JSON a fact is an object: `text` is the sentence, `kind` the sort of fact, and the other fields are
//! its values, the unit at the end of the name (`_ns`, `_bytes`); `null` is "not known". Recordings of
//! earlier versions have the sentence alone, which is read as [`Evidence::Words`].

mod shown;
mod text;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::id::{ConnectionId, DnsId, Pid, RequestId};
use crate::record::{AnsweredIn, Class, NoWay, Request};
use crate::stall::StallName;
use crate::time::{Ns, SinceStart};
use crate::tunnel::{TunnelOutcome, TunnelProtocol};
pub(crate) use shown::Words;

/// One thing that was seen.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Evidence {
    /// A sentence of which nothing more is known: of an earlier version, or a sort of fact of a later one
    Words {
        /// The sentence
        #[serde(skip)]
        words: String,
    },
    /// Records of a part of the time were lost
    RecordsLost {
        /// How much of it
        lost_ns: Ns,
    },
    /// The wait is another stall's, too, and counted there
    CountedAs {
        /// The other one's kind
        stall: StallName,
    },
    /// One query to a name server
    Query {
        /// Its number in `dns`
        query: DnsId,
        /// The name
        name: String,
        /// The record's type
        qtype: String,
        /// From 1
        attempt: u32,
        /// Who was asked
        server: String,
        /// The answer's code; `null` without an answer
        rcode: Option<String>,
        /// Whether it was waited for no longer
        ended: bool,
        /// Until the answer, or for as long as it was waited for
        took_ns: Ns,
    },
    /// A local resolver passed a query on
    QueryForwarded {
        /// Its number in `dns`
        query: DnsId,
        /// The resolver's name
        comm: String,
        /// Whom it asked
        server: String,
        /// Until that server's answer
        took_ns: Option<Ns>,
    },
    /// A query that the server's machine refused (ICMP)
    QueryRefused {
        /// Its number in `dns`
        query: DnsId,
        /// The name
        name: String,
        /// The record's type
        qtype: String,
        /// Who was asked
        server: String,
    },
    /// Answers that were cut short, to be asked for over TCP
    AnswersTruncated {
        /// Who was asked
        server: String,
        /// How many
        answers: u64,
        /// Connections to it that it refused
        refused: u64,
    },
    /// The go command is built without cgo
    BuiltWithoutCgo {
        /// Its file
        path: Option<String>,
    },
    /// A TCP handshake
    TcpHandshake {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// SYNs that were retransmitted
        retransmits: u32,
        /// How it turned out
        end: HandshakeEnd,
        /// How long it took
        took_ns: Ns,
    },
    /// A forward proxy was asked for a tunnel
    Tunnel {
        /// Its number in `connections`
        connection: ConnectionId,
        /// The forward proxy's address
        remote: String,
        /// How it was asked
        protocol: TunnelProtocol,
        /// For what
        target: Option<String>,
        /// How it turned out
        outcome: TunnelOutcome,
        /// The answer's status
        status: Option<u16>,
        /// What was said to it where it was refused
        reason: Option<String>,
        /// Round trip to the proxy
        rtt_ns: Option<Ns>,
        /// Until the answer, or for how long there was none
        took_ns: Ns,
    },
    /// `connect` failed at once, for there is no way
    ConnectFailed {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// Why
        error: NoWay,
        /// After so long
        took_ns: Ns,
    },
    /// Of the answer to a `ClientHello` only later segments arrived
    AnswerWithGaps {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// The size of the hello
        hello_bytes: Option<u32>,
        /// Segments that came out of order
        out_of_order: u32,
        /// For how long nothing came in order
        waited_ns: Ns,
    },
    /// This side ended a handshake after the server's part of it
    CertificateRefused {
        /// Its number in `connections`
        connection: ConnectionId,
        /// With whom
        remote: String,
        /// The name in the hello
        server_name: Option<String>,
        /// How long after the server's hello
        after_ns: Option<Ns>,
    },
    /// The peer refused TLS
    TlsAlert {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Who
        remote: String,
        /// The alert, in the words of RFC 8446
        alert: String,
        /// The version that was agreed upon by then
        tls_version: Option<String>,
    },
    /// The peer answered in something else than it was asked in
    AnsweredIn {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Who
        remote: String,
        /// In what
        answered_in: AnsweredIn,
    },
    /// A connection was closed or reset with requests open
    ConnectionCut {
        /// Its number in `connections`
        connection: ConnectionId,
        /// By whom
        remote: String,
        /// Reset, not closed
        reset: bool,
        /// What had come in all
        received_bytes: Option<u64>,
        /// Requests that were open
        open: u64,
    },
    /// A response that was cut off
    ResponseCut {
        /// Its number in `requests`
        request: RequestId,
        /// Whom it was asked of
        host: Option<String>,
        /// Its path
        path: Option<String>,
        /// What it is for
        class: Class,
        /// Module path
        module: Option<String>,
        /// Module version
        version: Option<String>,
        /// What had come of its body
        body_bytes: Option<u64>,
        /// The code of the stream's reset; `null` where the connection ended
        code: Option<String>,
    },
    /// How often a host refused
    RequestsRefused {
        /// Who
        host: String,
        /// With that status
        status: u16,
        /// So many requests
        refused: u64,
        /// Of so many
        requests: u64,
        /// For so many modules
        modules: u64,
        /// Who sent them there
        redirected_by: Option<String>,
        /// How many seconds it asked to wait, at the most
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u32>,
    },
    /// A `ClientHello` without an answer
    ClientHelloUnanswered {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// The size of the hello
        hello_bytes: Option<u32>,
        /// Segments that were retransmitted; without any, the peer acknowledged the hello
        retransmits: u32,
        /// For how long nothing came
        waited_ns: Ns,
    },
    /// A reset after a `ClientHello`
    ResetAfterHello {
        /// Its number in `connections`
        connection: ConnectionId,
        /// From whom
        remote: String,
        /// The name in the hello
        server_name: Option<String>,
        /// How long after the hello
        after_ns: Ns,
    },
    /// A TLS handshake and its halves
    TlsHandshake {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// From the hello to the server's
        server_hello_ns: Option<Ns>,
        /// From there until it was done
        rest_ns: Option<Ns>,
        /// Round trip
        rtt_ns: Option<Ns>,
    },
    /// A protocol was offered and not chosen
    ProtocolDowngraded {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// What ALPN offered
        offered: Vec<String>,
        /// What was chosen
        spoken: String,
        /// `1.3`, …
        tls_version: Option<String>,
    },
    /// A handshake for nothing
    HandshakeUnused {
        /// Its number in `connections`
        connection: ConnectionId,
        /// From where
        local: String,
        /// How long it took
        took_ns: Ns,
    },
    /// A connection on which nothing comes
    ConnectionSilent {
        /// Its number in `connections`
        connection: ConnectionId,
        /// From where
        local: String,
        /// Where to
        remote: String,
        /// Segments that were retransmitted meanwhile
        retransmits: u64,
        /// Round trip
        rtt_ns: Option<Ns>,
        /// What had come in all
        received_bytes: Option<u64>,
    },
    /// A connection with loss
    ConnectionLossy {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// Segments that were retransmitted
        retransmits: u64,
        /// Segments that came out of order
        out_of_order: u32,
        /// Round trip
        rtt_ns: Option<Ns>,
    },
    /// A receive window was closed
    WindowClosed {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// Ours, not the peer's
        ours: bool,
        /// How often
        times: u64,
        /// The longest time
        longest_ns: Ns,
    },
    /// The peer ended a connection
    Goaway {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Who
        remote: String,
        /// The code's name
        code: String,
        /// Requests that the connection had carried
        requests: u32,
    },
    /// The peer's limit of streams
    StreamLimit {
        /// Its number in `connections`
        connection: ConnectionId,
        /// From where
        local: String,
        /// `SETTINGS_MAX_CONCURRENT_STREAMS`
        limit: u32,
        /// Requests that the connection carried
        requests: u32,
    },
    /// A round trip, beside what took longer
    RoundTrip {
        /// The longest of those that are known
        rtt_ns: Option<Ns>,
    },
    /// A request and how far it came
    Request(RequestSeen),
    /// A request that was answered with an error
    RequestRefused(RequestSeen),
    /// The body of a response
    ResponseBody {
        /// Its number in `requests`
        request: RequestId,
        /// Whom it was asked of
        host: Option<String>,
        /// Its path
        path: Option<String>,
        /// What it is for
        class: Class,
        /// Module path
        module: Option<String>,
        /// Module version
        version: Option<String>,
        /// Its size
        body_bytes: Option<u64>,
        /// From the head to the end
        took_ns: Ns,
    },
    /// Many requests
    Requests {
        /// Whom they were asked of
        host: String,
        /// How many
        requests: u64,
        /// Half of them took no longer
        median_ns: Option<Ns>,
    },
    /// Many queries of a name server
    Lookups {
        /// Whom they were asked of
        server: String,
        /// How many
        queries: u64,
        /// For how many names
        names: u64,
        /// Half of them took no longer
        median_ns: Option<Ns>,
    },
    /// Connections with a host that carried one request each
    ConnectionsUsedOnce {
        /// Whom with
        host: String,
        /// Requests
        requests: u64,
        /// Connections that carried them
        connections: u64,
        /// Queries for its name
        lookups: u64,
        /// TLS handshakes
        handshakes: u64,
        /// Half of them lasted no longer
        kept_ns: Option<Ns>,
    },
    /// Answers that came at once or in whole steps of a delay
    AnswersInSteps {
        /// Whom from, or through whom
        host: String,
        /// Answers in all
        answers: u64,
        /// Of them, those that waited
        delayed: u64,
        /// The step
        step_ns: Ns,
        /// Round trip
        rtt_ns: Option<Ns>,
    },
    /// A pause of go's own before it made a request once more
    RequestPaused {
        /// The number in `requests` of the one that was refused
        request: RequestId,
        /// Who refused it
        host: String,
        /// With which code
        code: Option<String>,
        /// The pause
        paused_ns: Ns,
    },
    /// A connection that ended without a word
    ConnectionDropped {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Who
        remote: String,
        /// Requests that it had carried
        requests: u32,
        /// Of them, those that were in flight
        cut: u64,
        /// How long it lasted
        lasted_ns: Ns,
    },
    /// An answer that names another host
    Redirected {
        /// The request's number in `requests`
        request: RequestId,
        /// Whom it was asked of
        host: String,
        /// Status code
        status: Option<u16>,
        /// Whom it led to
        target: String,
        /// The number of the request that followed
        target_request: RequestId,
        /// How long that one took
        took_ns: Ns,
    },
    /// What a repository's host was asked for
    RepositoryAsked {
        /// Whom
        host: String,
        /// For what
        what: VcsWork,
        /// How often
        times: u64,
        /// In all
        took_ns: Ns,
    },
    /// How an ssh connection began: each step from the one before
    SshBegan {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// From the connection to the server's greeting
        greeting_ns: Option<Ns>,
        /// From there to the server's host key
        host_key_ns: Option<Ns>,
        /// From there until that was accepted; `null` when it was not
        accepted_ns: Option<Ns>,
    },
    /// A private module's name was sent outside
    NameSent {
        /// To whom
        host: String,
        /// To the checksum database, not to the module proxy
        database: bool,
        /// The module, or a prefix of its path
        module: Option<String>,
        /// In so many requests
        requests: u64,
    },
    /// A handshake of TCP or TLS without an answer
    HandshakeUnanswered {
        /// Its number in `connections`
        connection: ConnectionId,
        /// Where to
        remote: String,
        /// A `ClientHello`, not a SYN
        tls: bool,
        /// SYNs and segments that were retransmitted
        retransmits: u32,
    },
    /// Handshakes with a host without an answer
    HandshakesUnanswered {
        /// Whom with
        host: String,
        /// How many
        handshakes: u64,
    },
    /// As many downloads at once as GOMAXPROCS allows
    DownloadsAllowed {
        /// GOMAXPROCS
        gomaxprocs: u64,
        /// Modules that were asked for
        modules: u64,
    },
    /// That many in flight, and this machine idle
    DownloadsFull {
        /// In in-flight operation
        in_flight: u64,
        /// With no thread at work
        idle_ns: Ns,
        /// Of so much
        wall_ns: Ns,
    },
    /// A wait for a file lock
    LockWait {
        /// Who waited
        pid: Pid,
        /// The file
        path: Option<String>,
        /// The repository that it guards, of the module cache's
        #[serde(default)]
        repository: Option<String>,
        /// Who held it
        holder_pid: Option<Pid>,
        /// How long
        waited_ns: Ns,
    },
    /// A setting that is a folder
    Folder {
        /// The variable
        name: Cache,
        /// The folder
        path: String,
    },
    /// A control group's limit of CPU time
    CpuLimit {
        /// The limit, thousandths of a CPU
        limit_millicpus: u32,
        /// Periods in which something ran
        periods: u64,
        /// Of them, those in which the limit was reached
        throttled_periods: u64,
        /// For how long it had to wait then
        throttled_ns: Ns,
        /// How many goroutines may run at once
        gomaxprocs: Option<u32>,
    },
    /// Time of this machine's own
    LocalTime {
        /// Spent on what
        part: LocalPart,
        /// How much
        took_ns: Ns,
        /// What it was for, where that was seen
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
    },
    /// A process without network or CPU
    ProcessIdle {
        /// The kernel's name of it
        comm: String,
        /// Pid
        pid: Pid,
    },
    /// A child: how long it ran, and how it ended
    ChildRan {
        /// Its program
        comm: String,
        /// Pid
        pid: Pid,
        /// Its arguments
        args: Vec<String>,
        /// Whether it has ended
        ended: bool,
        /// Exit code; 128+N when signal N ended it
        exit_code: Option<i32>,
        /// How long it ran, or has run
        took_ns: Ns,
    },
    /// With whom a child talked
    ChildTalked {
        /// Its program
        comm: String,
        /// Whom with
        host: String,
        /// Its connections and requests, overlap not taken out
        took_ns: Ns,
    },
    /// A process that outlived its parent: what read their output waited for it
    OutputHeld {
        /// Its program
        comm: String,
        /// Pid
        pid: Pid,
        /// How long
        held_ns: Ns,
    },
    /// The process that others wait for
    ProcessWaitedFor {
        /// Its arguments
        args: Vec<String>,
        /// Pid
        pid: Pid,
    },
}

/// What version control is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VcsWork {
    /// Where the repository of an import path is (`?go-get=1`)
    GoGet,
    /// Branches and tags (git's `ls-remote`)
    References,
    /// Commits and files (git's `fetch`)
    Pack,
    /// Files that git-lfs keeps beside the repository
    LargeFiles,
    /// Not known
    Other,
}

/// How a TCP handshake turned out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HandshakeEnd {
    /// A reset answered it
    Refused,
    /// Nobody waits any longer
    GivenUp,
    /// It came through
    Established,
    /// Not yet answered
    Unanswered,
}

/// A cache of go's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Cache {
    /// Of modules
    #[serde(rename = "GOMODCACHE")]
    Modules,
    /// Of builds
    #[serde(rename = "GOCACHE")]
    Builds,
}

impl Cache {
    /// The variable that names its folder.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Modules => "GOMODCACHE",
            Self::Builds => "GOCACHE",
        }
    }
}

/// What this machine spends time on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LocalPart {
    /// On a CPU
    Cpu,
    /// Waiting for one
    Runqueue,
    /// Waiting for the disk
    Disk,
}

/// What a go command does with a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Downloads that came are unpacked
    Unpacking,
    /// Packages are compiled, programs linked
    Compiling,
    /// Both of them
    Both,
}

/// A request as evidence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestSeen {
    /// Its number in `requests`
    pub request: RequestId,
    /// Whom it was asked of
    pub host: Option<String>,
    /// HTTP/2 stream
    pub stream: Option<u32>,
    /// Its path
    pub path: Option<String>,
    /// What it is for
    pub class: Class,
    /// Module path
    pub module: Option<String>,
    /// Module version
    pub version: Option<String>,
    /// Status code
    pub status: Option<u16>,
    /// From its start to the response's head
    pub head_ns: Option<Ns>,
    /// From its start to its end
    pub took_ns: Option<Ns>,
}

impl From<&Request> for RequestSeen {
    fn from(request: &Request) -> Self {
        let after = |at: SinceStart| at.saturating_sub(request.start_ns);
        Self {
            request: request.id,
            host: request.authority.clone(),
            stream: request.stream,
            path: request.path.clone(),
            class: request.class,
            module: request.module.clone(),
            version: request.version.clone(),
            status: request.status,
            head_ns: request.first_byte_ns.map(after),
            took_ns: request.end_ns.map(after),
        }
    }
}

/// What was seen: a fact in a sentence, its sort, and its values.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Evidence")]
pub(crate) struct Entry<'a> {
    /// The fact in a sentence
    text: String,
    #[serde(flatten)]
    fact: &'a Evidence,
}

/// For `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(evidence: &[Evidence], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(evidence.iter().map(|fact| Entry { text: fact.to_string(), fact }))
}

/// For `#[serde(with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Evidence>, D::Error> {
    let entries = Vec::<Value>::deserialize(from)?;
    entries
        .into_iter()
        .map(|entry| read(entry).ok_or_else(|| D::Error::custom("evidence without text")))
        .collect()
}

/// A sentence alone, a fact, or the sentence of a fact that this version does not know.
fn read(entry: Value) -> Option<Evidence> {
    let words = match &entry {
        Value::String(words) => return Some(Evidence::Words { words: words.clone() }),
        entry => entry.get("text")?.as_str()?.to_owned(),
    };
    match serde_json::from_value(entry) {
        Ok(Evidence::Words { .. }) | Err(_) => Some(Evidence::Words { words }),
        Ok(fact) => Some(fact),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_all(entries: Value) -> Vec<Evidence> {
        deserialize(entries).unwrap()
    }

    fn written(evidence: &[Evidence]) -> Value {
        serialize(evidence, serde_json::value::Serializer).unwrap()
    }

    #[test]
    fn a_fact_is_written_with_its_sentence_its_sort_and_its_values() {
        let fact = Evidence::TcpHandshake {
            connection: ConnectionId(4),
            remote: "192.0.2.1:443".into(),
            retransmits: 2,
            end: HandshakeEnd::Established,
            took_ns: 3_000_000_000,
        };
        let entry = json!([{
            "text": "SYN to 192.0.2.1:443, retransmitted 2 times: established after 3.00 s",
            "kind": "tcp-handshake", "connection": 4, "remote": "192.0.2.1:443", "retransmits": 2,
            "end": "established", "took_ns": 3_000_000_000_u64,
        }]);
        assert_eq!(written(std::slice::from_ref(&fact)), entry);
        assert_eq!(read_all(entry), [fact]);
    }

    #[test]
    fn sentences_of_other_versions_stay_sentences() {
        let earlier = json!(["SYN to 192.0.2.1:443, retransmitted once: unanswered for 1.00 s"]);
        let [Evidence::Words { words }] = &read_all(earlier)[..] else { panic!() };
        assert!(words.starts_with("SYN to"), "{words}");
        let later = json!([{"text": "all is well", "kind": "weather", "sky": "blue"}]);
        let later = read_all(later);
        assert_eq!(written(&later), json!([{"text": "all is well", "kind": "words"}]));
        assert_eq!(read_all(written(&later)), later);
    }
}
