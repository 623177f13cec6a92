//! Facts in, sentences out.

use std::fmt;

use super::{Evidence, HandshakeEnd, LocalPart, RequestSeen, VcsWork, Work};
use crate::human::{bytes, count, duration, duration_or_unknown, percent};
use crate::record::AnsweredIn;
use crate::time::Ns;
use crate::tunnel::TunnelOutcome;

impl fmt::Display for RequestSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stream) = self.stream {
            write!(f, "stream {stream}, ")?;
        }
        write!(f, "{}: ", self.path.as_deref().unwrap_or("a path that is not known"))?;
        match self.head_ns {
            Some(head) => write!(f, "head after {}, ", duration(head))?,
            None => f.write_str("no head, ")?,
        }
        match self.took_ns {
            Some(took) => write!(f, "ended after {}", duration(took)),
            None => f.write_str("not ended"),
        }
    }
}

/// The sentence.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words { words } => f.write_str(words),
            Self::RecordsLost { lost_ns } => {
                write!(f, "records of {} of this time were lost", duration(*lost_ns))
            }
            Self::CountedAs { stall } => write!(f, "its time is counted as {stall}"),
            Self::Query { query: _, name, qtype, attempt, server, rcode, ended, took_ns } => {
                let took = duration(*took_ns);
                write!(f, "{name} ({qtype}), attempt {attempt}, asked {server}: ")?;
                match (rcode, ended) {
                    (Some(rcode), _) => write!(f, "{rcode} after {took}"),
                    (None, true) => write!(f, "no answer, given up after {took}"),
                    (None, false) => write!(f, "no answer for {took}"),
                }
            }
            Self::QueryForwarded { query: _, comm, server, took_ns } => {
                write!(f, "{comm} passed it on to {server}, which ")?;
                match took_ns {
                    Some(took) => write!(f, "answered after {}", duration(*took)),
                    None => f.write_str("did not answer"),
                }
            }
            Self::QueryRefused { query: _, name, qtype, server } => {
                write!(f, "{name} ({qtype}), asked {server}: port unreachable, nothing listens there")
            }
            Self::AnswersTruncated { server, answers, refused } => {
                write!(f, "{server} cut {} short", count(*answers, "answer"))?;
                match refused {
                    0 => Ok(()),
                    n => write!(f, ", and refused {} over TCP", count(*n, "connection")),
                }
            }
            Self::ConnectFailed { connection: _, remote, error, took_ns } => {
                write!(f, "connect to {remote}: {} after {}", error.words(), duration(*took_ns))
            }
            Self::AnswerWithGaps { connection: _, remote, hello_bytes, out_of_order, waited_ns } => {
                match hello_bytes {
                    Some(bytes) => write!(f, "ClientHello of {bytes} bytes to {remote}, acknowledged; ")?,
                    None => write!(f, "ClientHello to {remote}, acknowledged; ")?,
                }
                let segments = count(u64::from(*out_of_order), "segment");
                write!(f, "{segments} came out of order, and nothing in order for {}", duration(*waited_ns))
            }
            Self::CertificateRefused { connection: _, remote, server_name, after_ns } => {
                let name = server_name.as_deref().unwrap_or("no name");
                let after = duration_or_unknown(*after_ns);
                write!(f, "{remote} as {name}: this side ended the handshake {after} after the ServerHello")
            }
            Self::TlsAlert { connection: _, remote, alert, tls_version } => {
                let version =
                    tls_version.as_deref().map_or_else(String::new, |version| format!(" (TLS {version})"));
                write!(f, "{remote} sent the alert {alert}{version}")
            }
            Self::AnsweredIn { connection: _, remote, answered_in } => write!(
                f,
                "{remote} was {}, and answered {}",
                if *answered_in == AnsweredIn::Tls { "asked in plain text" } else { "sent a ClientHello" },
                answered_in.words()
            ),
            Self::ConnectionCut { connection: _, remote, reset, received_bytes, open } => write!(
                f,
                "{remote} {} the connection after {}, with {} open",
                if *reset { "reset" } else { "closed" },
                received_bytes.map_or_else(|| "?".to_owned(), bytes),
                count(*open, "request")
            ),
            Self::ResponseCut {
                request: _,
                host: _,
                path,
                class: _,
                module: _,
                version: _,
                body_bytes,
                code,
            } => {
                let path = path.as_deref().unwrap_or("a path that is not known");
                match body_bytes {
                    Some(bytes) => write!(f, "{path}: {} of the body came, then ", self::bytes(*bytes))?,
                    None => write!(f, "{path}: not whole, ")?,
                }
                match code {
                    Some(code) => write!(f, "RST_STREAM {code}"),
                    None => f.write_str("the connection ended"),
                }
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
                write!(f, "{host}: {status} to {refused} of {}", count(*requests, "request"))?;
                if *modules > 0 {
                    write!(f, ", {}", count(*modules, "module"))?;
                }
                if let Some(other) = redirected_by {
                    write!(f, ", sent there by {other}")?;
                }
                match retry_after_s {
                    Some(seconds) => write!(f, ", Retry-After up to {seconds} s"),
                    None => Ok(()),
                }
            }
            Self::BuiltWithoutCgo { path } => {
                let path = path.as_deref().unwrap_or("the binary");
                write!(f, "{path} is built with CGO_ENABLED=0 and has its own resolver only")
            }
            Self::TcpHandshake { connection: _, remote, retransmits, end, took_ns } => {
                let how = match end {
                    HandshakeEnd::Refused => "reset after",
                    HandshakeEnd::GivenUp => "given up after",
                    HandshakeEnd::Established => "established after",
                    HandshakeEnd::Unanswered => "unanswered for",
                };
                write!(f, "SYN to {remote}")?;
                match retransmits {
                    0 => {}
                    1 => f.write_str(", retransmitted once")?,
                    n => write!(f, ", retransmitted {n} times")?,
                }
                write!(f, ": {how} {}", duration(*took_ns))
            }
            Self::Tunnel {
                connection: _,
                remote,
                protocol,
                target,
                outcome,
                status,
                reason,
                rtt_ns,
                took_ns,
            } => {
                write!(f, "{}", protocol.name())?;
                if let Some(target) = target {
                    write!(f, " {target}")?;
                }
                write!(f, " to {remote}: ")?;
                let took = duration(*took_ns);
                match (outcome, status, reason) {
                    (TunnelOutcome::Established, ..) => write!(f, "stood after {took}")?,
                    (TunnelOutcome::Refused, Some(status), _) => write!(f, "{status} after {took}")?,
                    (TunnelOutcome::Refused, None, Some(reason)) => write!(f, "{reason}, after {took}")?,
                    (TunnelOutcome::Refused, None, None) => write!(f, "refused after {took}")?,
                    (TunnelOutcome::Open, ..) => write!(f, "no answer for {took}")?,
                }
                match rtt_ns {
                    Some(rtt) => write!(f, ", round trip {}", duration(*rtt)),
                    None => Ok(()),
                }
            }
            Self::ClientHelloUnanswered { connection: _, remote, hello_bytes, retransmits, waited_ns } => {
                match hello_bytes {
                    Some(bytes) => write!(f, "ClientHello of {bytes} bytes to {remote}, ")?,
                    None => write!(f, "ClientHello of unknown size to {remote}, ")?,
                }
                match retransmits {
                    0 => f.write_str("not retransmitted: the peer acknowledged it")?,
                    n => {
                        let segments = count(u64::from(*n), "segment");
                        write!(f, "{segments} retransmitted: nothing acknowledged it")?;
                    }
                }
                write!(f, "; no ServerHello for {}", duration(*waited_ns))
            }
            Self::ResetAfterHello { connection: _, remote, server_name, after_ns } => {
                let name = server_name.as_deref().unwrap_or("no name");
                write!(f, "RST from {remote} {} after the ClientHello for {name}", duration(*after_ns))
            }
            Self::TlsHandshake { connection: _, remote, server_hello_ns, rest_ns, rtt_ns } => write!(
                f,
                "{remote}: ServerHello after {}, {} until the handshake was done; RTT {}",
                duration_or_unknown(*server_hello_ns),
                duration_or_unknown(*rest_ns),
                duration_or_unknown(*rtt_ns)
            ),
            Self::ProtocolDowngraded { connection: _, remote, offered, spoken, tls_version } => {
                let version = tls_version.as_deref().unwrap_or("of unknown version");
                write!(f, "{remote}: offered {}, spoken {spoken}, TLS {version}", offered.join(", "))
            }
            Self::HandshakeUnused { connection: _, local, took_ns } => {
                write!(f, "{local}: {} of handshake", duration(*took_ns))
            }
            Self::ConnectionSilent { connection: _, local, remote, retransmits, rtt_ns, received_bytes } => {
                write!(
                    f,
                    "{local} to {remote}: {retransmits} retransmissions meanwhile, RTT {}, {} received in all",
                    duration_or_unknown(*rtt_ns),
                    received_bytes.map_or_else(|| "?".to_owned(), bytes)
                )
            }
            Self::ConnectionLossy { connection: _, remote, retransmits, out_of_order, rtt_ns } => write!(
                f,
                "{remote}: {} retransmitted, {out_of_order} received out of order, RTT {}",
                count(*retransmits, "segment"),
                duration_or_unknown(*rtt_ns)
            ),
            Self::WindowClosed { connection: _, remote, ours, times, longest_ns } => write!(
                f,
                "{remote}: {} window was 0 {}, the longest {}",
                if *ours { "our" } else { "the peer's" },
                count(*times, "time"),
                duration(*longest_ns)
            ),
            Self::Goaway { connection: _, remote, code, requests } => {
                write!(f, "{remote}: GOAWAY {code} after {}", count(u64::from(*requests), "request"))
            }
            Self::StreamLimit { connection: _, local, limit, requests } => write!(
                f,
                "{local}: SETTINGS_MAX_CONCURRENT_STREAMS {limit}, {}",
                count(u64::from(*requests), "request")
            ),
            Self::RoundTrip { rtt_ns } => write!(f, "RTT {}", duration_or_unknown(*rtt_ns)),
            Self::Request(request) => request.fmt(f),
            Self::RequestRefused(request) => {
                write!(f, "{} {request}", request.status.unwrap_or_default())
            }
            Self::ResponseBody {
                request: _,
                host: _,
                path,
                class: _,
                module: _,
                version: _,
                body_bytes,
                took_ns,
            } => {
                let size = body_bytes.map_or_else(|| "?".to_owned(), bytes);
                write!(f, "{}: {size} in {}", path.as_deref().unwrap_or("?"), duration(*took_ns))
            }
            Self::Requests { host, requests, median_ns } => write!(
                f,
                "{} to {host}, median {}",
                count(*requests, "request"),
                median_ns.map_or_else(|| "?".to_owned(), duration)
            ),
            Self::Lookups { server, queries, names, median_ns } => write!(
                f,
                "{} for {} to {server}, median {}",
                count(*queries, "query"),
                count(*names, "name"),
                duration_or_unknown(*median_ns)
            ),
            Self::ConnectionsUsedOnce { host, requests, connections, lookups, handshakes, kept_ns } => {
                write!(
                    f,
                    "{host}: {} on {}, {} for its name, {}, half of the connections kept for no longer than {}",
                    count(*requests, "request"),
                    count(*connections, "connection"),
                    count(*lookups, "query"),
                    count(*handshakes, "TLS handshake"),
                    duration_or_unknown(*kept_ns)
                )
            }
            Self::AnswersInSteps { host, answers, delayed, step_ns, rtt_ns } => write!(
                f,
                "{host}: {delayed} of {} after {} or a multiple of it, the others at once; RTT {}",
                count(*answers, "answer"),
                duration(*step_ns),
                duration_or_unknown(*rtt_ns)
            ),
            Self::RequestPaused { request: _, host, code, paused_ns } => {
                write!(f, "{host} refused the stream")?;
                if let Some(code) = code {
                    write!(f, " ({code})")?;
                }
                write!(f, ": asked once more after {}", duration(*paused_ns))
            }
            Self::ConnectionDropped { connection: _, remote, requests, cut, lasted_ns } => write!(
                f,
                "{remote}: closed after {} and {}, {} of them in flight, no GOAWAY",
                duration(*lasted_ns),
                count(u64::from(*requests), "request"),
                cut
            ),
            Self::Redirected { request: _, host, status, target, target_request: _, took_ns } => {
                let status = status.map_or_else(|| "?".to_owned(), |status| status.to_string());
                write!(f, "{host} answered {status}, then {target} took {}", duration(*took_ns))
            }
            Self::RepositoryAsked { host, what, times, took_ns } => {
                write!(f, "{host}: {} {} in {}", what.words(), count(*times, "time"), duration(*took_ns))
            }
            Self::SshBegan { connection: _, remote, greeting_ns, host_key_ns, accepted_ns } => {
                let after = |step: &Option<Ns>, what: &str| match step {
                    Some(took) => format!("{what} after {}", duration(*took)),
                    None => format!("no {what}"),
                };
                let greeting = after(greeting_ns, "greeting");
                let key = after(host_key_ns, "host key");
                let accepted = match accepted_ns {
                    Some(took) => format!("accepted after {}", duration(*took)),
                    None => "not accepted".to_owned(),
                };
                match (greeting_ns, host_key_ns) {
                    (None, _) => write!(f, "ssh to {remote}: {greeting}"),
                    (_, None) => write!(f, "ssh to {remote}: {greeting}, {key}"),
                    _ => write!(f, "ssh to {remote}: {greeting}, {key}, {accepted}"),
                }
            }
            Self::NameSent { host, database, module, requests } => {
                let asked = if *database { "checksum database" } else { "module proxy" };
                let module = module.as_deref().unwrap_or("?");
                write!(f, "{module} in {} to the {asked}, {host}", count(*requests, "request"))
            }
            Self::HandshakeUnanswered { connection: _, remote, tls, retransmits } => {
                let what = if *tls { "ClientHello" } else { "SYN" };
                write!(f, "{what} to {remote} unanswered, {retransmits} retransmitted")
            }
            Self::HandshakesUnanswered { host, handshakes } => {
                write!(f, "{host}: {} unanswered", count(*handshakes, "handshake"))
            }
            Self::DownloadsAllowed { gomaxprocs, modules } => write!(
                f,
                "GOMAXPROCS {gomaxprocs}: that many downloads at once, {} asked for",
                count(*modules, "module")
            ),
            Self::DownloadsFull { in_flight, idle_ns, wall_ns } => write!(
                f,
                "{} ({}) with {in_flight} in flight and no thread at work",
                duration(*idle_ns),
                percent(*idle_ns, *wall_ns)
            ),
            Self::LockWait { pid, path, repository, holder_pid, waited_ns } => {
                let path = match (repository, path) {
                    (Some(repository), _) => format!("the lock of the repository {repository}"),
                    (None, Some(path)) => path.clone(),
                    (None, None) => "?".to_owned(),
                };
                write!(f, "pid {pid} waited {} for {path}, ", duration(*waited_ns))?;
                match holder_pid {
                    Some(holder) => write!(f, "held by pid {holder}"),
                    None => f.write_str("holder unknown"),
                }
            }
            Self::Folder { name, path } => write!(f, "{}={path}", name.variable()),
            Self::CpuLimit { limit_millicpus, periods, throttled_periods, throttled_ns, gomaxprocs } => {
                let limit = f64::from(*limit_millicpus) / 1000.0;
                write!(
                    f,
                    "limit of {limit} CPU, reached in {throttled_periods} of {periods} periods: {} of waiting",
                    duration(*throttled_ns)
                )?;
                match gomaxprocs {
                    Some(n) => write!(f, ", GOMAXPROCS {n}"),
                    None => Ok(()),
                }
            }
            Self::LocalTime { part, took_ns, work } => {
                write!(f, "{} {}", duration(*took_ns), part.words(*work))
            }
            Self::ProcessIdle { comm, pid } => {
                write!(f, "{comm} (pid {pid}), no query, no connection and no CPU in use")
            }
            Self::ChildRan { comm, pid, args, ended, exit_code, took_ns } => {
                write!(f, "{comm} (pid {pid}): {}, ", args.join(" "))?;
                match (ended, exit_code) {
                    (false, _) => write!(f, "runs since {}", duration(*took_ns)),
                    (true, Some(code)) => write!(f, "ended with status {code} after {}", duration(*took_ns)),
                    (true, None) => write!(f, "ended after {}", duration(*took_ns)),
                }
            }
            Self::ChildTalked { comm, host, took_ns } => {
                write!(f, "{comm} and {host}: {} of connections and requests", duration(*took_ns))
            }
            Self::OutputHeld { comm, pid, held_ns } => {
                write!(f, "{comm} (pid {pid}) ran on for {} and held the output open", duration(*held_ns))
            }
            Self::ProcessWaitedFor { args, pid } => {
                write!(f, "waits for: {} (pid {pid})", args.join(" "))
            }
        }
    }
}

impl VcsWork {
    /// What it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::GoGet => "the repository of an import path (go-get)",
            Self::References => "references",
            Self::Pack => "commits and files",
            Self::LargeFiles => "large files (git-lfs)",
            Self::Other => "something that is not known",
        }
    }
}

impl LocalPart {
    /// What it is, in words.
    pub const fn words(self, work: Option<Work>) -> &'static str {
        match (self, work) {
            (Self::Cpu, Some(Work::Unpacking)) => "on a CPU: unpacking and hashing",
            (Self::Cpu, Some(Work::Compiling)) => "on a CPU: compiling and linking",
            (Self::Cpu, Some(Work::Both)) => "on a CPU: unpacking, compiling and linking",
            (Self::Cpu, None) => "on a CPU",
            (Self::Runqueue, _) => "waiting for a CPU: too few, or taken by others",
            (Self::Disk, _) => "waiting for the disk",
        }
    }
}
