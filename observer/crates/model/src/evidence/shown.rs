//! What of a fact may be shown: facts in, the same with every foreign word as somebody decides it out. One
//! who decides redacts, another one anonymizes.

use super::{Evidence, RequestSeen};
use crate::record::Class;
use crate::stall::StallName;
use crate::tunnel::own_words;

/// What becomes of each sort of foreign word in evidence, where it is redacted or anonymized.
pub(crate) trait Words {
    /// A host, with or without port
    fn host(&mut self, host: &str) -> String;
    /// An address with port
    fn address(&mut self, address: &str) -> String;
    /// A file or folder
    fn path(&mut self, path: &str) -> String;
    /// The kernel's name of a program
    fn program(&mut self, comm: &str) -> String;
    /// A command line
    fn args(&mut self, args: &[String]) -> Vec<String>;
    /// A protocol's or code's name, of whatever protocol
    fn code(&mut self, code: &str) -> String;
    /// A protocol as ALPN names it
    fn protocol(&mut self, name: &str) -> String;
    /// A request's path, and the module and version in it
    fn target(
        &mut self,
        path: Option<&str>,
        class: Class,
        module: Option<&str>,
        version: Option<&str>,
    ) -> [Option<String>; 3];
    /// A stall's kind
    fn stall(&mut self, name: StallName) -> StallName;
    /// A sentence; `None` when no sentence may be shown
    fn sentence(&mut self, words: &str) -> Option<String>;
}

impl Evidence {
    /// The same with every foreign word as `by` shows it; `None` when nothing is left. Each fact is taken
    /// apart without `..`: a new field does not compile until somebody has decided what becomes of it.
    pub(crate) fn shown(self, by: &mut impl Words) -> Option<Self> {
        Some(match self {
            Self::Words { words } => Self::Words { words: by.sentence(&words)? },
            Self::CountedAs { stall } => Self::CountedAs { stall: by.stall(stall) },
            Self::Query { query, name, qtype, attempt, server, rcode, ended, took_ns } => Self::Query {
                query,
                name: by.host(&name),
                qtype: by.code(&qtype),
                attempt,
                server: by.address(&server),
                rcode: rcode.map(|code| by.code(&code)),
                ended,
                took_ns,
            },
            Self::QueryForwarded { query, comm, server, took_ns } => {
                Self::QueryForwarded { query, comm: by.program(&comm), server: by.address(&server), took_ns }
            }
            Self::QueryRefused { query, name, qtype, server } => Self::QueryRefused {
                query,
                name: by.host(&name),
                qtype: by.code(&qtype),
                server: by.address(&server),
            },
            Self::AnswersTruncated { server, answers, refused } => {
                Self::AnswersTruncated { server: by.address(&server), answers, refused }
            }
            Self::ConnectFailed { connection, remote, error, took_ns } => {
                Self::ConnectFailed { connection, remote: by.address(&remote), error, took_ns }
            }
            Self::AnswerWithGaps { connection, remote, hello_bytes, out_of_order, waited_ns } => {
                let remote = by.address(&remote);
                Self::AnswerWithGaps { connection, remote, hello_bytes, out_of_order, waited_ns }
            }
            Self::CertificateRefused { connection, remote, server_name, after_ns } => {
                let server_name = server_name.map(|name| by.host(&name));
                Self::CertificateRefused { connection, remote: by.address(&remote), server_name, after_ns }
            }
            Self::TlsAlert { connection, remote, alert, tls_version } => {
                let (remote, alert) = (by.address(&remote), by.code(&alert));
                Self::TlsAlert {
                    connection,
                    remote,
                    alert,
                    tls_version: tls_version.map(|version| by.code(&version)),
                }
            }
            Self::AnsweredIn { connection, remote, answered_in } => {
                Self::AnsweredIn { connection, remote: by.address(&remote), answered_in }
            }
            Self::ConnectionCut { connection, remote, reset, received_bytes, open } => {
                Self::ConnectionCut { connection, remote: by.address(&remote), reset, received_bytes, open }
            }
            Self::ResponseCut { request, host, path, class, module, version, body_bytes, code } => {
                let (host, code) = (host.map(|host| by.host(&host)), code.map(|code| by.code(&code)));
                let [path, module, version] =
                    by.target(path.as_deref(), class, module.as_deref(), version.as_deref());
                Self::ResponseCut { request, host, path, class, module, version, body_bytes, code }
            }
            Self::RequestsRefused {
                host,
                status,
                refused,
                requests,
                modules,
                redirected_by,
                retry_after_s,
            } => {
                let redirected_by = redirected_by.map(|host| by.host(&host));
                Self::RequestsRefused {
                    host: by.host(&host),
                    status,
                    refused,
                    requests,
                    modules,
                    redirected_by,
                    retry_after_s,
                }
            }
            Self::BuiltWithoutCgo { path } => Self::BuiltWithoutCgo { path: path.map(|path| by.path(&path)) },
            Self::Tunnel {
                connection,
                remote,
                protocol,
                target,
                outcome,
                status,
                reason,
                rtt_ns,
                took_ns,
            } => Self::Tunnel {
                connection,
                remote: by.address(&remote),
                protocol,
                target: target.map(|target| by.host(&target)),
                outcome,
                status,
                reason: reason.and_then(own_words),
                rtt_ns,
                took_ns,
            },
            Self::TcpHandshake { connection, remote, retransmits, end, took_ns } => {
                Self::TcpHandshake { connection, remote: by.address(&remote), retransmits, end, took_ns }
            }
            Self::ClientHelloUnanswered { connection, remote, hello_bytes, retransmits, waited_ns } => {
                let remote = by.address(&remote);
                Self::ClientHelloUnanswered { connection, remote, hello_bytes, retransmits, waited_ns }
            }
            Self::ResetAfterHello { connection, remote, server_name, after_ns } => Self::ResetAfterHello {
                connection,
                remote: by.address(&remote),
                server_name: server_name.map(|name| by.host(&name)),
                after_ns,
            },
            Self::TlsHandshake { connection, remote, server_hello_ns, rest_ns, rtt_ns } => {
                let remote = by.address(&remote);
                Self::TlsHandshake { connection, remote, server_hello_ns, rest_ns, rtt_ns }
            }
            Self::ProtocolDowngraded { connection, remote, offered, spoken, tls_version } => {
                Self::ProtocolDowngraded {
                    connection,
                    remote: by.address(&remote),
                    offered: offered.iter().map(|name| by.protocol(name)).collect(),
                    spoken: by.protocol(&spoken),
                    tls_version: tls_version.map(|version| by.code(&version)),
                }
            }
            Self::HandshakeUnused { connection, local, took_ns } => {
                Self::HandshakeUnused { connection, local: by.address(&local), took_ns }
            }
            Self::ConnectionSilent { connection, local, remote, retransmits, rtt_ns, received_bytes } => {
                let (local, remote) = (by.address(&local), by.address(&remote));
                Self::ConnectionSilent { connection, local, remote, retransmits, rtt_ns, received_bytes }
            }
            Self::ConnectionLossy { connection, remote, retransmits, out_of_order, rtt_ns } => {
                let remote = by.address(&remote);
                Self::ConnectionLossy { connection, remote, retransmits, out_of_order, rtt_ns }
            }
            Self::WindowClosed { connection, remote, ours, times, longest_ns } => {
                Self::WindowClosed { connection, remote: by.address(&remote), ours, times, longest_ns }
            }
            Self::Goaway { connection, remote, code, requests } => {
                Self::Goaway { connection, remote: by.address(&remote), code: by.code(&code), requests }
            }
            Self::StreamLimit { connection, local, limit, requests } => {
                Self::StreamLimit { connection, local: by.address(&local), limit, requests }
            }
            Self::Request(request) => Self::Request(request.shown(by)),
            Self::RequestRefused(request) => Self::RequestRefused(request.shown(by)),
            Self::ResponseBody { request, host, path, class, module, version, body_bytes, took_ns } => {
                let host = host.map(|host| by.host(&host));
                let [path, module, version] =
                    by.target(path.as_deref(), class, module.as_deref(), version.as_deref());
                Self::ResponseBody { request, host, path, class, module, version, body_bytes, took_ns }
            }
            Self::Requests { host, requests, median_ns } => {
                Self::Requests { host: by.host(&host), requests, median_ns }
            }
            Self::Lookups { server, queries, names, median_ns } => {
                Self::Lookups { server: by.address(&server), queries, names, median_ns }
            }
            Self::ConnectionsUsedOnce { host, requests, connections, lookups, handshakes, kept_ns } => {
                let host = by.host(&host);
                Self::ConnectionsUsedOnce { host, requests, connections, lookups, handshakes, kept_ns }
            }
            Self::AnswersInSteps { host, answers, delayed, step_ns, rtt_ns } => {
                Self::AnswersInSteps { host: by.host(&host), answers, delayed, step_ns, rtt_ns }
            }
            Self::RequestPaused { request, host, code, paused_ns } => {
                let code = code.map(|code| by.code(&code));
                Self::RequestPaused { request, host: by.host(&host), code, paused_ns }
            }
            Self::ConnectionDropped { connection, remote, requests, cut, lasted_ns } => {
                let remote = by.address(&remote);
                Self::ConnectionDropped { connection, remote, requests, cut, lasted_ns }
            }
            Self::Redirected { request, host, status, target, target_request, took_ns } => {
                let (host, target) = (by.host(&host), by.host(&target));
                Self::Redirected { request, host, status, target, target_request, took_ns }
            }
            Self::RepositoryAsked { host, what, times, took_ns } => {
                Self::RepositoryAsked { host: by.host(&host), what, times, took_ns }
            }
            Self::SshBegan { connection, remote, greeting_ns, host_key_ns, accepted_ns } => {
                let remote = by.address(&remote);
                Self::SshBegan { connection, remote, greeting_ns, host_key_ns, accepted_ns }
            }
            Self::NameSent { host, database, module, requests } => {
                let [_, module, _] = by.target(None, Class::Other, module.as_deref(), None);
                Self::NameSent { host: by.host(&host), database, module, requests }
            }
            Self::HandshakeUnanswered { connection, remote, tls, retransmits } => {
                Self::HandshakeUnanswered { connection, remote: by.address(&remote), tls, retransmits }
            }
            Self::HandshakesUnanswered { host, handshakes } => {
                Self::HandshakesUnanswered { host: by.host(&host), handshakes }
            }
            Self::LockWait { pid, path, repository, holder_pid, waited_ns } => {
                let [_, repository, _] = by.target(None, Class::Other, repository.as_deref(), None);
                let path = path.map(|path| by.path(&path));
                Self::LockWait { pid, path, repository, holder_pid, waited_ns }
            }
            Self::Folder { name, path } => Self::Folder { name, path: by.path(&path) },
            Self::ProcessIdle { comm, pid } => Self::ProcessIdle { comm: by.program(&comm), pid },
            Self::ChildRan { comm, pid, args, ended, exit_code, took_ns } => {
                let (comm, args) = (by.program(&comm), by.args(&args));
                Self::ChildRan { comm, pid, args, ended, exit_code, took_ns }
            }
            Self::ChildTalked { comm, host, took_ns } => {
                Self::ChildTalked { comm: by.program(&comm), host: by.host(&host), took_ns }
            }
            Self::OutputHeld { comm, pid, held_ns } => {
                Self::OutputHeld { comm: by.program(&comm), pid, held_ns }
            }
            Self::ProcessWaitedFor { args, pid } => Self::ProcessWaitedFor { args: by.args(&args), pid },
            // Numbers alone.
            Self::RecordsLost { lost_ns } => Self::RecordsLost { lost_ns },
            Self::RoundTrip { rtt_ns } => Self::RoundTrip { rtt_ns },
            Self::DownloadsAllowed { gomaxprocs, modules } => Self::DownloadsAllowed { gomaxprocs, modules },
            Self::DownloadsFull { in_flight, idle_ns, wall_ns } => {
                Self::DownloadsFull { in_flight, idle_ns, wall_ns }
            }
            Self::CpuLimit { limit_millicpus, periods, throttled_periods, throttled_ns, gomaxprocs } => {
                Self::CpuLimit { limit_millicpus, periods, throttled_periods, throttled_ns, gomaxprocs }
            }
            Self::LocalTime { part, took_ns, work } => Self::LocalTime { part, took_ns, work },
        })
    }
}

impl RequestSeen {
    fn shown(self, by: &mut impl Words) -> Self {
        let Self { request, host, stream, path, class, module, version, status, head_ns, took_ns } = self;
        let host = host.map(|host| by.host(&host));
        let [path, module, version] =
            by.target(path.as_deref(), class, module.as_deref(), version.as_deref());
        Self { request, host, stream, path, class, module, version, status, head_ns, took_ns }
    }
}
