//! Events in, the same events out without credentials. Each record is taken apart field by field,
//! without `..`: a new field does not compile until somebody has decided how it is shown.

use super::shape::{self, FILE_MIN, HIDDEN, is_secret};
use super::text::text;
use super::{args, settings, url};
use crate::caller::{Caller, Job};
use crate::event::{
    Blocked, Body, CommandUpdate, DnsWait, Event, LockWait, RequestUpdate, Session, StallUpdate, Waiting,
};
use crate::evidence::Words;
use crate::record::{
    Class, Command, Connection, Container, Dns, Go, Machine, Process, Request, Resolver, Service,
};
use crate::report::{Remedy, Stall};
use crate::stall::StallName;
use crate::tunnel::{Tunnel, own_words};

/// An event as it may be shown. Applied twice it does what it does once.
pub fn event(event: Event) -> Event {
    let Event { at_ns, body } = event;
    let body = match body {
        Body::Session(one) => Body::Session(session(one)),
        Body::Command(one) => Body::Command(update(one)),
        Body::Process(one) => Body::Process(process(one)),
        Body::Dns(one) => Body::Dns(dns(one)),
        Body::Connection(one) => Body::Connection(connection(one)),
        Body::Request(one) => Body::Request(request(one)),
        Body::RequestUpdate(one) => Body::RequestUpdate(request_update(one)),
        Body::Lock(one) => Body::Lock(lock(one)),
        Body::DnsWait(one) => Body::DnsWait(dns_wait(one)),
        Body::Waiting(one) => Body::Waiting(waiting(one)),
        Body::Stall(one) => Body::Stall(stall_update(one)),
        Body::Blocked(one) => Body::Blocked(blocked(one)),
        // Numbers alone.
        same @ (Body::Idle(_)
        | Body::Retransmission(_)
        | Body::Reset(_)
        | Body::Window(_)
        | Body::Loss(_)
        | Body::End(_)) => same,
    };
    Event { at_ns, body }
}

/// A name of a protocol, a code, a method: one short word.
fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./…".contains(c);
    let fits = word.len() <= 40 && word.chars().all(plain) && !is_secret(word, FILE_MIN);
    if fits { word.to_owned() } else { HIDDEN.to_owned() }
}

fn is_short_number(text: &str) -> bool {
    text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A module's path or version.
fn module(module: &str) -> String {
    let commit = shape::is_commit(module);
    if commit { module.to_owned() } else { url::names(module, FILE_MIN) }
}

fn session(whole: Session) -> Session {
    let Session { schema, tool, started_unix_ns, recording_id, machine, remedies, redacted } = whole;
    Session {
        schema: text(&schema),
        tool: text(&tool),
        started_unix_ns,
        recording_id: recording_id.filter(|id| is_hex(id, 32)),
        machine: self::machine(machine),
        remedies: remedies.iter().map(|name| settings::remedy(name)).collect(),
        redacted,
    }
}

fn machine(whole: Machine) -> Machine {
    let Machine { kernel, arch, cpus, resolver, host_name } = whole;
    Machine {
        kernel: text(&kernel),
        arch: text(&arch),
        cpus,
        resolver: self::resolver(resolver),
        host_name: host_name.as_deref().map(url::host),
    }
}

fn resolver(whole: Resolver) -> Resolver {
    let Resolver { servers, search, timeout_s, attempts } = whole;
    Resolver {
        servers: servers.iter().map(|server| url::host(server)).collect(),
        search: search.iter().map(|name| url::host(name)).collect(),
        timeout_s,
        attempts,
    }
}

fn go(whole: Go) -> Go {
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
        goprivate,
        gonoproxy,
        gonosumdb,
        goinsecure,
        govcs,
        own_modules,
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
        version: version.as_deref().map(text),
        binary: binary.as_deref().map(url::file),
        cgo,
        gomaxprocs,
        goproxy: goproxy.as_deref().map(url::proxies),
        gosumdb: gosumdb.as_deref().map(url::sumdb),
        goflags: goflags.as_deref().map(settings::goflags),
        godebug: godebug.as_deref().map(settings::godebug),
        gomodcache: gomodcache.as_deref().map(url::file),
        gocache: gocache.as_deref().map(url::file),
        caches_shared,
        goprivate: goprivate.as_deref().map(url::patterns),
        gonoproxy: gonoproxy.as_deref().map(url::patterns),
        gonosumdb: gonosumdb.as_deref().map(url::patterns),
        goinsecure: goinsecure.as_deref().map(url::patterns),
        govcs: govcs.as_deref().map(url::govcs),
        own_modules: own_modules.map(|paths| paths.iter().map(|path| url::patterns(path)).collect()),
        forward_proxy,
        https_proxy: https_proxy.as_deref().map(url::proxies),
        http_proxy: http_proxy.as_deref().map(url::proxies),
        all_proxy: all_proxy.as_deref().map(url::proxies),
        no_proxy: no_proxy.as_deref().map(settings::hosts),
        goauth: goauth.as_deref().map(settings::programs),
        gocacheprog: gocacheprog.as_deref().map(settings::programs),
        ssl_cert_file: ssl_cert_file.as_deref().map(settings::folders),
        ssl_cert_dir: ssl_cert_dir.as_deref().map(settings::folders),
        caller: caller.map(|caller| Box::new(self::caller(*caller))),
        netrc,
    }
}

/// Each is what a CI system calls things; numbers of a trace are numbers and nothing else.
fn caller(whole: Caller) -> Caller {
    let Caller { trace_id, parent_span_id, trace_flags, trace_state, job } = whole;
    let job = job.map(|job| {
        let Job { system, pipeline, run, task, task_run, worker, url } = job;
        Job {
            system,
            pipeline: pipeline.as_deref().map(text),
            run: run.as_deref().map(word),
            task: task.as_deref().map(text),
            task_run: task_run.as_deref().map(word),
            worker: worker.as_deref().map(text),
            url: url.as_deref().map(url::url),
        }
    });
    Caller {
        trace_id: trace_id.filter(|id| is_hex(id, 32)),
        parent_span_id: parent_span_id.filter(|id| is_hex(id, 16)),
        trace_flags,
        trace_state: trace_state.as_deref().map(text),
        job,
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn blocked(whole: Blocked) -> Blocked {
    let Blocked { command, phase, host, blocked_ns } = whole;
    Blocked { command, phase, host: host.as_deref().map(url::host), blocked_ns }
}

fn command(whole: Command) -> Command {
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
    } = whole;
    Command {
        id,
        pid,
        argv: args::shown(&argv),
        uid,
        cwd: cwd.as_deref().map(url::file),
        cgroup: cgroup.as_deref().map(url::file),
        start_ns,
        age_ns,
        wall_ns,
        exit_code,
        signal,
        go: self::go(go),
        local,
        cpu_quota,
        container: container.map(|container| {
            Box::new(Container {
                engine: word(&container.engine),
                // So much of a container's number is no credential, and what engines show of it.
                id: if is_short_number(&container.id) { container.id } else { word(&container.id) },
                name: container.name.as_deref().map(args::program_name),
                user: container.user,
            })
        }),
        service: service.map(|service| {
            Box::new(Service {
                client: args::program_name(&service.client),
                pids: service.pids,
                name: service.name.as_deref().map(args::program_name),
            })
        }),
    }
}

fn update(whole: CommandUpdate) -> CommandUpdate {
    let CommandUpdate { command, idle, gaps } = whole;
    CommandUpdate { command: self::command(command), idle, gaps }
}

fn process(whole: Process) -> Process {
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
    } = whole;
    Process {
        command,
        pid,
        ppid,
        comm: args::program_name(&comm),
        args: args::shown(&args),
        start_ns,
        end_ns,
        exit_code,
        cpu_ns,
        terminal_ns,
        agent_waits,
    }
}

fn dns(whole: Dns) -> Dns {
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
    } = whole;
    Dns {
        command,
        id,
        on_behalf_of,
        pid,
        comm: args::program_name(&comm),
        server: url::host(&server),
        transport,
        name: url::host(&name),
        qtype: word(&qtype),
        attempt,
        rcode: rcode.as_deref().map(word),
        answers,
        start_ns,
        end_ns,
        timed_out,
        refused,
        truncated,
        unusable: unusable.as_deref().map(word),
    }
}

fn connection(whole: Connection) -> Connection {
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
    } = whole;
    Connection {
        command,
        id,
        pid,
        comm: args::program_name(&comm),
        local: url::host(&local),
        remote: url::host(&remote),
        remote_name: remote_name.as_deref().map(url::host),
        tunnel: tunnel.map(self::tunnel),
        server_name: server_name.as_deref().map(url::host),
        alpn: alpn.as_deref().map(word),
        tls_version: tls_version.as_deref().map(word),
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
        alpn_offered: alpn_offered.map(|all| all.iter().map(|one| word(one)).collect()),
        server_hello_ns,
        received_ns,
        stream_limit,
        goaway: goaway.as_deref().map(word),
        ssh,
        no_way,
        answered_in,
        alert: alert.as_deref().map(word),
        closed_by,
        preexisting,
    }
}

fn tunnel(whole: Tunnel) -> Tunnel {
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
        target: target.as_deref().map(url::host),
        start_ns,
        end_ns,
        outcome,
        status,
        reason: reason.and_then(own_words),
        attempts,
        proxy_name: proxy_name.as_deref().map(url::host),
        proxy_tls_ns,
    }
}

fn request(whole: Request) -> Request {
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
    } = whole;
    Request {
        command,
        id,
        pid,
        connection,
        protocol,
        stream,
        method: method.as_deref().map(word),
        authority: authority.as_deref().map(url::host),
        path: path.as_deref().map(url::target),
        class,
        module: module.as_deref().map(self::module),
        version: version.as_deref().map(self::module),
        status,
        start_ns,
        first_byte_ns,
        end_ns,
        bytes,
        outcome,
        reset_code: reset_code.as_deref().map(word),
        retry_after_s,
        page,
    }
}

fn request_update(whole: RequestUpdate) -> RequestUpdate {
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
    } = whole;
    let reset_code = reset_code.as_deref().map(word);
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

fn lock(whole: LockWait) -> LockWait {
    let LockWait { command, id, pid, path, repository, holder, start_ns, end_ns, joined_late } = whole;
    LockWait {
        command,
        id,
        pid,
        path: path.as_deref().map(url::file),
        repository: repository.as_deref().map(module),
        holder,
        start_ns,
        end_ns,
        joined_late,
    }
}

fn dns_wait(whole: DnsWait) -> DnsWait {
    let DnsWait { command, id, pid, comm, server, start_ns, end_ns } = whole;
    DnsWait {
        command,
        id,
        pid,
        comm: args::program_name(&comm),
        server: url::host(&server),
        start_ns,
        end_ns,
    }
}

fn waiting(whole: Waiting) -> Waiting {
    let Waiting { command, phase, host, since_ns, earlier, summary, because } = whole;
    Waiting {
        command,
        phase,
        host: host.as_deref().map(url::host),
        since_ns,
        earlier,
        summary: text(&summary),
        because: because.as_deref().map(text),
    }
}

fn stall(whole: Stall) -> Stall {
    let Stall {
        kind,
        phase,
        host,
        severity,
        start_ns,
        end_ns,
        cost_ns,
        summary,
        evidence,
        advice,
        fatal,
        remedies,
    } = whole;
    Stall {
        kind: stall_name(kind),
        phase,
        host: host.as_deref().map(url::host),
        severity,
        start_ns,
        end_ns,
        cost_ns,
        summary: text(&summary),
        evidence: evidence.into_iter().filter_map(|fact| fact.shown(&mut Shown)).collect(),
        advice: text(&advice),
        fatal,
        remedies: remedies.into_iter().map(stall_remedy).collect(),
    }
}

/// A kind that this version does not know is another's word.
fn stall_name(name: StallName) -> StallName {
    match name {
        known @ StallName::Known(_) => known,
        StallName::Unknown(other) => StallName::Unknown(text(&other)),
    }
}

/// The rule for the words of evidence: that of the records that they are made of.
struct Shown;

impl Words for Shown {
    fn host(&mut self, host: &str) -> String {
        url::host(host)
    }

    fn address(&mut self, address: &str) -> String {
        url::host(address)
    }

    fn path(&mut self, path: &str) -> String {
        url::file(path)
    }

    fn program(&mut self, comm: &str) -> String {
        args::program_name(comm)
    }

    fn args(&mut self, args: &[String]) -> Vec<String> {
        args::shown(args)
    }

    fn code(&mut self, code: &str) -> String {
        word(code)
    }

    fn protocol(&mut self, name: &str) -> String {
        word(name)
    }

    fn target(
        &mut self,
        path: Option<&str>,
        _: Class,
        module: Option<&str>,
        version: Option<&str>,
    ) -> [Option<String>; 3] {
        [path.map(url::target), module.map(self::module), version.map(self::module)]
    }

    fn stall(&mut self, name: StallName) -> StallName {
        stall_name(name)
    }

    fn sentence(&mut self, words: &str) -> Option<String> {
        Some(text(words))
    }
}

fn stall_remedy(whole: Remedy) -> Remedy {
    let Remedy { name, why, attempt } = whole;
    // Those that only help together have a plus between.
    let names: Vec<String> = name.split(" + ").map(settings::remedy).collect();
    Remedy { name: names.join(" + "), why: text(&why), attempt: text(&attempt) }
}

fn stall_update(whole: StallUpdate) -> StallUpdate {
    let StallUpdate { command, id, state, stall } = whole;
    StallUpdate { command, id, state, stall: self::stall(stall) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_that_help_together_stay_but_for_credentials() {
        let of = |name: &str| {
            let remedy = Remedy { name: name.into(), why: String::new(), attempt: String::new() };
            stall_remedy(remedy).name
        };
        let both = "env=GOPRIVATE=git.test/a + env=GONOSUMDB=b.test,git.test/a";
        assert_eq!(of(both), both);
        let shown = "proxy=https://…@proxy.test + sumdb=off";
        assert_eq!(of("proxy=https://u:hunter2@proxy.test + sumdb=off"), shown);
        assert_eq!(of(shown), shown);
    }
}
