//! `goobserve serve dns`: a caching name server that stays. In: where to listen, whom to ask. Out: the line for
//! resolv.conf, on stdout; the status when it was asked to end.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::Path;

use gateway::gomod::{self, GoMod, Versioned};
use gateway::goproxy::List;
use gateway::patterns::Patterns;
use model::user_error::UserError;
use resolver::forwarder::Forwarder;
use resolver::resolv_conf::Servers;
use resolver::server;

use super::output::{refused, write_out};
use super::serve::{end, own};
use super::{as_caller, caller};
use crate::cli::options::DnsOptions;
use crate::experiment::go_env;
use crate::goenv::GoEnv;
use crate::run::{Invoker, regular};
use crate::say;

/// Names that are asked for before anybody asks.
const NAMES_MAX: usize = 64;

/// Serves until it is asked to end.
pub(super) fn execute(options: &DnsOptions) -> i32 {
    if !options.listen.ip().is_loopback() {
        let error = UserError::new(
            format!("{} is reached by other machines", options.listen),
            "a name server for all is not what this is: listen on a loopback address, 127.0.0.1:53",
        );
        return refused(options.common, &error, 2);
    }
    match serve(options) {
        Ok(()) => 0,
        Err(error) => refused(options.common, &error, 1),
    }
}

fn serve(options: &DnsOptions) -> Result<(), UserError> {
    let invoker = if options.for_command { own() } else { caller() };
    let (udp, tcp) = match options.sockets[..] {
        [udp, tcp] => handed_over(udp, tcp),
        // Port 53 is root's: before the user's rights are taken.
        _ => UdpSocket::bind(options.listen).and_then(|udp| {
            let tcp = TcpListener::bind(udp.local_addr()?)?;
            Ok((udp, tcp))
        }),
    }
    .map_err(|error| {
        UserError::new(
            format!("cannot listen on {}: {error}", options.listen),
            "name another address: --listen 127.0.0.54:53; ports below 1024 take root",
        )
    })?;
    as_caller()?;
    let at = udp.local_addr().unwrap_or(options.listen);
    let servers = servers(options, at)?;
    let names = names(options, &invoker, &go_env(None, &invoker));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| UserError::new(format!("cannot wait for anything: {error}"), "check ulimit -n"))?;
    runtime.block_on(async {
        let no_sockets = |error: io::Error| {
            UserError::new(format!("cannot serve at these sockets: {error}"), "check ulimit -n")
        };
        udp.set_nonblocking(true).map_err(no_sockets)?;
        tcp.set_nonblocking(true).map_err(no_sockets)?;
        let udp = tokio::net::UdpSocket::from_std(udp).map_err(no_sockets)?;
        let tcp = tokio::net::TcpListener::from_std(tcp).map_err(no_sockets)?;
        let forwarder = Forwarder::new(&servers);
        let line = match at.port() {
            53 => format!("nameserver {}\n", at.ip()),
            _ => format!("listening on {at}\n"),
        };
        write_out(line.as_bytes()).map_err(|error| {
            UserError::new(format!("cannot write to stdout: {error}"), "check where stdout leads")
        })?;
        let filled = std::sync::Arc::clone(&forwarder);
        tokio::spawn(async move { filled.fill(&names).await });
        let end = end(options.for_command).map_err(no_sockets)?;
        tokio::select! {
            () = server::serve(std::sync::Arc::clone(&forwarder), udp, tcp) => {}
            () = end => {}
        }
        if !options.common.quiet {
            say::line(&forwarder.metrics().to_string());
        }
        Ok(())
    })
}

/// Sockets that who started this process had open for it.
fn handed_over(udp: i32, tcp: i32) -> io::Result<(UdpSocket, TcpListener)> {
    let is_socket = |socket: i32| {
        std::fs::read_link(format!("/proc/self/fd/{socket}"))
            .is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    };
    if udp == tcp || udp < 3 || tcp < 3 || !is_socket(udp) || !is_socket(tcp) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    #[expect(unsafe_code, reason = "descriptors come as numbers")]
    // SAFETY: both are open sockets, and nothing else in this process has them: it has just begun.
    let (udp, tcp) = unsafe { (OwnedFd::from_raw_fd(udp), OwnedFd::from_raw_fd(tcp)) };
    Ok((udp.into(), tcp.into()))
}

/// Whom to ask.
fn servers(options: &DnsOptions, at: SocketAddr) -> Result<Servers, UserError> {
    let mut servers = Servers::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    if !options.servers.is_empty() {
        servers.addresses.clone_from(&options.servers);
    }
    // Asked by itself, it would ask itself.
    servers.addresses.retain(|address| *address != at);
    if servers.addresses.is_empty() {
        return Err(UserError::new(
            format!("the only name server to ask is {at} itself"),
            "name one: --server 10.0.0.2:53",
        ));
    }
    Ok(servers)
}

/// Hosts that go is likely to ask for: proxies, the checksum database, and where private modules are.
fn names(options: &DnsOptions, invoker: &Invoker, go: &GoEnv) -> Vec<String> {
    let mut names: BTreeSet<String> = options.names.iter().cloned().collect();
    let of_url = |url: &str| host(url.split_once("://").map_or(url, |(_, rest)| rest));
    if let Ok(list) = go.get("GOPROXY").map(List::parse).transpose() {
        names.extend(
            list.into_iter().flat_map(|list| list.entries).filter_map(|entry| host(entry.url.host()?)),
        );
    }
    match go.get("GOSUMDB").unwrap_or("sum.golang.org") {
        "off" => {}
        database => {
            names.extend(database.split_whitespace().filter_map(|word| of_url(word.split('+').next()?)));
        }
    }
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        names.extend(invoker.var(name).and_then(|url| of_url(url.to_str()?)));
    }
    let private = go.get("GONOPROXY").or_else(|| go.get("GOPRIVATE")).unwrap_or_default();
    names.extend(private.split(',').filter_map(host));
    let patterns = Patterns::parse(private);
    let modules = std::env::current_dir().map(|dir| requires(&dir)).unwrap_or_default();
    let modules = modules.iter().map(|(module, _)| module);
    names.extend(modules.filter(|module| patterns.cover(module)).filter_map(|module| host(module)));
    names.into_iter().take(NAMES_MAX).collect()
}

/// Modules that the main module of a folder requires.
pub(super) fn requires(dir: &Path) -> Vec<Versioned> {
    let file = dir.ancestors().map(|dir| dir.join("go.mod")).find(|file| file.is_file());
    let text = file.and_then(|file| regular::read(&file, gomod::FILE_MAX)).unwrap_or_default();
    GoMod::parse(&String::from_utf8_lossy(&text)).requires
}

/// The host in `user@host:port/path`, where it is a name that a name server may know.
fn host(text: &str) -> Option<String> {
    let authority = text.trim().split('/').next()?.rsplit('@').next()?;
    let host = authority.split(':').next()?;
    let is_name = host.contains('.')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && host.parse::<IpAddr>().is_err();
    is_name.then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_nothing_else() {
        for (text, expected) in [
            ("proxy.test/go", Some("proxy.test")),
            ("u:hunter2@proxy.test:3128", Some("proxy.test")),
            ("git.corp.test/team/*", Some("git.corp.test")),
            ("*.corp.test", None),
            ("127.0.0.1:8080", None),
            ("[::1]:80", None),
            ("localhost", None),
            ("direct", None),
            ("", None),
        ] {
            assert_eq!(host(text).as_deref(), expected, "{text}");
        }
    }
}
