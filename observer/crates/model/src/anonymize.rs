//! Events in, the same events without names that belong to a company or a person out. The same
//! name becomes the same pseudonym throughout one [`Anonymizer`], so what belongs together still
//! can be seen to.
//!
//! Retained: times, sizes, statuses, classes, versions, well-known public hosts, loopback addresses,
//! names of well-known programs, the go command's own words. Everything else is replaced; what
//! cannot be distinguished is taken as private.

mod names;

use names::Names;

use super::caller::{Caller, Job};
use super::event::{
    Blocked, Body, CommandUpdate, DnsWait, Event, LockWait, RequestUpdate, Session, StallUpdate, Waiting,
};
use super::evidence::Words;
use super::record::{
    Class, Command, Connection, Container, Dns, Go, Machine, Phase, Process, Request, Resolver, Service,
};
use super::report::{Remedy, Stall};
use super::stall::{StallKind, StallName};
use super::tunnel::{Tunnel, own_words};
use crate::redact;

/// Replaces names, consistently. Each record is taken apart field by field, without `..`: a new
/// field does not compile until somebody has decided what becomes of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Anonymizer {
    names: Names,
}

impl Anonymizer {
    /// Knows no name yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `event` without private names.
    pub fn event(&mut self, event: &Event) -> Event {
        let body = match &event.body {
            Body::Session(session) => Body::Session(self.session(session)),
            Body::Command(update) => Body::Command(self.update(update)),
            Body::Process(process) => Body::Process(self.process(process)),
            Body::Dns(dns) => Body::Dns(self.dns(dns)),
            Body::Connection(connection) => Body::Connection(self.connection(connection)),
            Body::Request(request) => Body::Request(self.request(request)),
            Body::RequestUpdate(update) => Body::RequestUpdate(request_update(update)),
            Body::Lock(wait) => Body::Lock(self.lock(wait)),
            Body::DnsWait(wait) => Body::DnsWait(self.dns_wait(wait)),
            Body::Waiting(waiting) => Body::Waiting(self.waiting(waiting)),
            Body::Stall(update) => Body::Stall(self.stall_update(update)),
            Body::Blocked(blocked) => Body::Blocked(self.blocked(blocked)),
            same @ (Body::Idle(_)
            | Body::Retransmission(_)
            | Body::Reset(_)
            | Body::Window(_)
            | Body::Loss(_)
            | Body::End(_)) => same.clone(),
        };
        Event { at_ns: event.at_ns, body }
    }

    fn session(&mut self, whole: &Session) -> Session {
        let Session { schema, tool, started_unix_ns, recording_id, machine, remedies, redacted } =
            whole.clone();
        Session {
            schema,
            tool,
            started_unix_ns,
            recording_id,
            machine: self.machine(machine),
            remedies: remedies.iter().map(|name| remedy(name)).collect(),
            redacted,
        }
    }

    fn machine(&mut self, whole: Machine) -> Machine {
        let Machine { kernel, arch, cpus, resolver, host_name } = whole;
        let Resolver { servers, search, timeout_s, attempts } = resolver;
        let resolver = Resolver {
            servers: servers.iter().map(|server| self.names.address(server)).collect(),
            search: search.iter().map(|name| self.names.host(name)).collect(),
            timeout_s,
            attempts,
        };
        Machine { kernel, arch, cpus, resolver, host_name: host_name.map(|name| self.names.host(&name)) }
    }

    fn update(&mut self, whole: &CommandUpdate) -> CommandUpdate {
        let CommandUpdate { command, idle, gaps } = whole.clone();
        CommandUpdate { command: self.command(&command), idle, gaps }
    }

    fn command(&mut self, whole: &Command) -> Command {
        let Command {
            id,
            pid,
            argv,
            uid,
            cwd,
            cgroup,
            start_ns,
            age_ns,
            wall_ns,
            exit_code,
            signal,
            go,
            local,
            cpu_quota,
            container,
            service,
        } = whole.clone();
        Command {
            id,
            pid,
            argv: self.names.argv(&argv),
            uid: uid.filter(|uid| *uid == 0),
            cwd: cwd.map(|path| self.names.path(&path)),
            cgroup: cgroup.map(|path| self.names.path(&path)),
            start_ns,
            age_ns,
            wall_ns,
            exit_code,
            signal,
            go: self.go(go),
            local,
            cpu_quota,
            container: container.map(|container| {
                Box::new(Container {
                    name: container.name.map(|name| self.names.program(&name)),
                    ..*container
                })
            }),
            service: service.map(|service| {
                Box::new(Service {
                    client: self.names.program(&service.client),
                    pids: service.pids,
                    name: service.name.map(|name| self.names.program(&name)),
                })
            }),
        }
    }

    /// The numbers of the trace that it belongs to are random, and its owner's alone; of its job the system is
    /// all that says nothing of anybody.
    fn caller(&mut self, whole: Caller) -> Caller {
        let Caller { trace_id, parent_span_id, trace_flags, trace_state: _, job } = whole;
        let job = job.map(|job| {
            let Job { system, pipeline, run: _, task, task_run: _, worker, url: _ } = job;
            Job {
                system,
                pipeline: pipeline.map(|name| self.names.program(&name)),
                run: None,
                task: task.map(|name| self.names.program(&name)),
                task_run: None,
                worker: worker.map(|name| self.names.host(&name)),
                url: None,
            }
        });
        Caller { trace_id, parent_span_id, trace_flags, trace_state: None, job }
    }

    fn blocked(&mut self, whole: &Blocked) -> Blocked {
        let Blocked { command, phase, host, blocked_ns } = whole.clone();
        // As of a connection or a query: an address, or a name.
        Blocked { command, phase, host: host.map(|host| self.names.host(&host)), blocked_ns }
    }

    fn go(&mut self, whole: Go) -> Go {
        let Go {
            version,
            binary,
            cgo,
            gomaxprocs,
            goproxy,
            gosumdb,
            goflags,
            godebug,
            gomodcache,
            gocache,
            caches_shared,
            // Patterns of private names: a pseudonym would not say what they cover.
            goprivate: _,
            gonoproxy: _,
            gonosumdb: _,
            goinsecure: _,
            govcs: _,
            own_modules: _,
            forward_proxy,
            https_proxy,
            http_proxy,
            all_proxy,
            no_proxy,
            goauth,
            gocacheprog,
            ssl_cert_file,
            ssl_cert_dir,
            caller,
            netrc,
        } = whole;
        Go {
            version,
            binary: binary.map(|path| self.names.path(&path)),
            cgo,
            gomaxprocs,
            goproxy: goproxy.map(|list| self.names.proxies(&list)),
            gosumdb: gosumdb.map(|value| self.names.sumdb(&value)),
            goflags: goflags.map(|flags| self.names.words(&flags)),
            godebug: godebug.as_deref().map(redact::godebug),
            gomodcache: gomodcache.map(|path| self.names.path(&path)),
            gocache: gocache.map(|path| self.names.path(&path)),
            caches_shared,
            goprivate: None,
            gonoproxy: None,
            gonosumdb: None,
            goinsecure: None,
            govcs: None,
            own_modules: None,
            forward_proxy,
            https_proxy: https_proxy.map(|list| self.names.proxies(&list)),
            http_proxy: http_proxy.map(|list| self.names.proxies(&list)),
            all_proxy: all_proxy.map(|list| self.names.proxies(&list)),
            // A list of private names, as GOPRIVATE.
            no_proxy: no_proxy.filter(String::is_empty),
            goauth: goauth.map(|programs| self.names.words(&programs)),
            gocacheprog: gocacheprog.map(|programs| self.names.words(&programs)),
            ssl_cert_file: ssl_cert_file.map(|path| self.names.path(&path)),
            ssl_cert_dir: ssl_cert_dir.map(|path| self.names.path(&path)),
            caller: caller.map(|caller| Box::new(self.caller(*caller))),
            netrc,
        }
    }

    fn process(&mut self, whole: &Process) -> Process {
        let Process {
            command,
            pid,
            ppid,
            comm,
            args,
            start_ns,
            end_ns,
            exit_code,
            cpu_ns,
            terminal_ns,
            agent_waits,
        } = whole.clone();
        Process {
            command,
            pid,
            ppid,
            comm: self.names.program(&comm),
            args: self.names.argv(&args),
            start_ns,
            end_ns,
            exit_code,
            cpu_ns,
            terminal_ns,
            agent_waits,
        }
    }

    fn dns(&mut self, whole: &Dns) -> Dns {
        let Dns {
            command,
            id,
            on_behalf_of,
            pid,
            comm,
            server,
            transport,
            name,
            qtype,
            attempt,
            rcode,
            answers,
            start_ns,
            end_ns,
            timed_out,
            refused,
            truncated,
            unusable,
        } = whole.clone();
        Dns {
            command,
            id,
            on_behalf_of,
            pid,
            comm: self.names.program(&comm),
            server: self.names.address(&server),
            transport,
            name: self.names.host(&name),
            qtype,
            attempt,
            rcode,
            answers,
            start_ns,
            end_ns,
            timed_out,
            refused,
            truncated,
            unusable,
        }
    }

    fn connection(&mut self, whole: &Connection) -> Connection {
        let Connection {
            command,
            id,
            pid,
            comm,
            local,
            remote,
            remote_name,
            server_name,
            tunnel,
            alpn,
            tls_version,
            start_ns,
            connect_ns,
            tls_ns,
            end_ns,
            outcome,
            syn_retransmits,
            retransmits,
            spurious_retransmits,
            received_out_of_order,
            resets,
            zero_windows,
            rtt_ns,
            bytes_sent,
            bytes_received,
            requests,
            tls_start_ns,
            tls_failed,
            joined_late,
            requests_missed,
            hello_bytes,
            alpn_offered,
            server_hello_ns,
            received_ns,
            stream_limit,
            goaway,
            ssh,
            no_way,
            answered_in,
            alert,
            closed_by,
            preexisting,
        } = whole.clone();
        Connection {
            command,
            id,
            pid,
            comm: self.names.program(&comm),
            local: self.names.address(&local),
            remote: self.names.address(&remote),
            remote_name: remote_name.map(|name| self.names.host(&name)),
            tunnel: tunnel.map(|tunnel| self.tunnel(tunnel)),
            server_name: server_name.map(|name| self.names.host(&name)),
            alpn: alpn.map(|name| protocol(&name)),
            tls_version,
            start_ns,
            connect_ns,
            tls_ns,
            end_ns,
            outcome,
            syn_retransmits,
            retransmits,
            spurious_retransmits,
            received_out_of_order,
            resets,
            zero_windows,
            rtt_ns,
            bytes_sent,
            bytes_received,
            requests,
            tls_start_ns,
            tls_failed,
            joined_late,
            requests_missed,
            hello_bytes,
            alpn_offered: alpn_offered.map(|all| all.iter().map(|name| protocol(name)).collect()),
            server_hello_ns,
            received_ns,
            stream_limit,
            goaway,
            ssh,
            no_way,
            answered_in,
            alert,
            closed_by,
            preexisting,
        }
    }

    fn tunnel(&mut self, whole: Tunnel) -> Tunnel {
        let Tunnel {
            protocol,
            target,
            start_ns,
            end_ns,
            outcome,
            status,
            reason,
            attempts,
            proxy_name,
            proxy_tls_ns,
        } = whole;
        Tunnel {
            protocol,
            target: target.map(|name| self.names.host(&name)),
            start_ns,
            end_ns,
            outcome,
            status,
            reason: reason.and_then(own_words),
            attempts,
            proxy_name: proxy_name.map(|name| self.names.host(&name)),
            proxy_tls_ns,
        }
    }

    fn request(&mut self, whole: &Request) -> Request {
        let Request {
            command,
            id,
            pid,
            connection,
            protocol,
            stream,
            method,
            authority,
            path,
            class,
            module,
            version,
            status,
            start_ns,
            first_byte_ns,
            end_ns,
            bytes,
            outcome,
            reset_code,
            retry_after_s,
            page,
        } = whole.clone();
        let shown =
            path.map(|path| self.names.request_path(&path, class, module.as_deref(), version.as_deref()));
        Request {
            command,
            id,
            pid,
            connection,
            protocol,
            stream,
            method: method.map(|name| method_name(&name)),
            authority: authority.map(|name| self.names.host(&name)),
            path: shown,
            class,
            module: module.map(|module| self.names.module(&module)),
            version: version.map(|version| self.names.version(&version)),
            status,
            start_ns,
            first_byte_ns,
            end_ns,
            bytes,
            outcome,
            reset_code,
            retry_after_s,
            page,
        }
    }

    fn lock(&mut self, whole: &LockWait) -> LockWait {
        let LockWait { command, id, pid, path, repository, holder, start_ns, end_ns, joined_late } =
            whole.clone();
        LockWait {
            command,
            id,
            pid,
            path: path.map(|path| self.names.path(&path)),
            repository: repository.map(|path| self.names.module(&path)),
            holder,
            start_ns,
            end_ns,
            joined_late,
        }
    }

    fn dns_wait(&mut self, whole: &DnsWait) -> DnsWait {
        let DnsWait { command, id, pid, comm, server, start_ns, end_ns } = whole.clone();
        DnsWait {
            command,
            id,
            pid,
            comm: self.names.program(&comm),
            server: self.names.address(&server),
            start_ns,
            end_ns,
        }
    }

    /// The words hold names; they are said anew from what is left.
    fn waiting(&mut self, whole: &Waiting) -> Waiting {
        let Waiting { command, phase, host, since_ns, earlier, summary: _, because: _ } = whole.clone();
        let host = host.map(|host| self.names.host(&host));
        let what = match phase {
            Phase::Dns => "an answer of the name server",
            Phase::Connect => "a TCP handshake with",
            Phase::Tls => "a TLS handshake with",
            Phase::Tunnel => "a tunnel through",
            Phase::Auth => "credentials for",
            Phase::Proxy => "an answer of the module proxy",
            Phase::Sumdb => "the checksum database at",
            Phase::Toolchain => "a toolchain of",
            Phase::Vcs => "a version control server:",
            Phase::Cache => "a build cache program and",
            Phase::Backoff => "a pause before a retry at",
            Phase::Child => "a program that go runs and",
            Phase::Lock => "a file lock",
            Phase::Local => "this machine",
            Phase::Unexplained => "something not seen",
        };
        let summary = match (&host, phase) {
            (Some(host), _) => format!("{what} {host}"),
            (None, Phase::Lock | Phase::Local | Phase::Unexplained) => what.to_owned(),
            (None, _) => format!("{what} an unknown host"),
        };
        Waiting { command, phase, host, since_ns, earlier, summary, because: None }
    }

    /// Words hold names: of those only what was seen is left, said anew from its values.
    fn stall(&mut self, whole: Stall) -> Stall {
        let Stall {
            kind,
            phase,
            host,
            severity,
            start_ns,
            end_ns,
            cost_ns,
            summary: _,
            evidence,
            advice,
            fatal,
            remedies,
        } = whole;
        let host = host.map(|host| match host.parse::<std::net::SocketAddr>() {
            Ok(_) => self.names.address(&host),
            Err(_) => self.names.host(&host),
        });
        let kind = stall_name(kind);
        // What is to be set, or typed, has names of this run in it.
        let advice = match kind.kind() {
            Some(known @ (StallKind::PrivateNameLeft | StallKind::ConcurrencyLimited)) => {
                known.advice().to_owned()
            }
            _ => advice,
        };
        let summary = match &host {
            Some(host) => format!("{kind} of {host}"),
            None => kind.to_string(),
        };
        let remedies = remedies.into_iter().map(|Remedy { name, why, attempt: _ }| Remedy {
            name: remedy(&name),
            // What a variable holds now follows, which may be names.
            why: why.split("; ").next().unwrap_or_default().to_owned(),
            attempt: String::new(),
        });
        Stall {
            kind,
            phase,
            host,
            severity,
            start_ns,
            end_ns,
            cost_ns,
            summary,
            evidence: evidence.into_iter().filter_map(|fact| fact.shown(&mut self.names)).collect(),
            advice,
            fatal,
            remedies: remedies.collect(),
        }
    }

    fn stall_update(&mut self, whole: &StallUpdate) -> StallUpdate {
        let StallUpdate { command, id, state, stall } = whole.clone();
        StallUpdate { command, id, state, stall: self.stall(stall) }
    }
}

/// A kind that this version does not know is another's word.
fn stall_name(name: StallName) -> StallName {
    match name {
        known @ StallName::Known(_) => known,
        StallName::Unknown(_) => StallName::Unknown(redact::HIDDEN.to_owned()),
    }
}

/// The words of evidence, as those of the records that they are made of.
impl Words for Names {
    fn host(&mut self, host: &str) -> String {
        Self::host(self, host)
    }

    fn address(&mut self, address: &str) -> String {
        Self::address(self, address)
    }

    fn path(&mut self, path: &str) -> String {
        Self::path(self, path)
    }

    fn program(&mut self, comm: &str) -> String {
        Self::program(self, comm)
    }

    fn args(&mut self, args: &[String]) -> Vec<String> {
        self.argv(args)
    }

    fn code(&mut self, code: &str) -> String {
        code.to_owned()
    }

    fn protocol(&mut self, name: &str) -> String {
        protocol(name)
    }

    fn target(
        &mut self,
        path: Option<&str>,
        class: Class,
        module: Option<&str>,
        version: Option<&str>,
    ) -> [Option<String>; 3] {
        let path = path.map(|path| self.request_path(path, class, module, version));
        [path, module.map(|module| self.module(module)), version.map(|version| self.version(version))]
    }

    fn stall(&mut self, name: StallName) -> StallName {
        stall_name(name)
    }

    /// It may hold any name.
    fn sentence(&mut self, _: &str) -> Option<String> {
        None
    }
}

/// A protocol as ALPN names it, when everybody knows it.
fn protocol(name: &str) -> String {
    const KNOWN: [&str; 9] =
        ["ssh", "h2", "h2c", "h3", "http/1.0", "http/1.1", "acme-tls/1", "dot", "grpc-exp"];
    if KNOWN.contains(&name) { name.to_owned() } else { redact::HIDDEN.to_owned() }
}

/// A request's method, when it is one of HTTP's own.
fn method_name(name: &str) -> String {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH"];
    if KNOWN.contains(&name) { name.to_owned() } else { redact::HIDDEN.to_owned() }
}

/// A remedy's name; its value only where it is a number.
fn remedy(remedy: &str) -> String {
    match remedy.split_once('=') {
        Some((name, value)) if value.parse::<u32>().is_err() => format!("{name}=…"),
        _ => remedy.to_owned(),
    }
}

/// Numbers, and a code that a protocol names.
fn request_update(whole: &RequestUpdate) -> RequestUpdate {
    let RequestUpdate {
        command,
        id,
        status,
        first_byte_ns,
        end_ns,
        bytes,
        outcome,
        reset_code,
        retry_after_s,
        page,
    } = whole.clone();
    RequestUpdate {
        command,
        id,
        status,
        first_byte_ns,
        end_ns,
        bytes,
        outcome,
        reset_code,
        retry_after_s,
        page,
    }
}

#[cfg(test)]
mod tests;
