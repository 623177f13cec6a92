//! Names of docs/contract.md in, plain words out.

use crate::record::{Class, ConnectionOutcome, Container, Go, Phase, Process, Protocol, RequestOutcome};
use crate::report::{Blame, Command, Connection, Severity};
use crate::tunnel::TunnelOutcome;

/// A container: `podman container web (0123456789ab), user 100000, inside 0`.
pub fn container(container: &Container, uid: Option<u32>) -> String {
    let Container { engine, id, name, user } = container;
    let what = if matches!(engine.as_str(), "buildah" | "buildkit") { "build" } else { "container" };
    let called = name.as_ref().map_or_else(|| id.clone(), |name| format!("{name} ({id})"));
    let user = match (uid, user) {
        (Some(uid), Some(inside)) => format!(", user {uid}, inside {inside}"),
        _ => String::new(),
    };
    format!("{engine} {what} {called}{user}")
}

/// Settings of a go command that are shown where they are set: what is private, what leads elsewhere, and what
/// it runs.
pub fn elsewhere(go: &Go) -> Vec<(&'static str, String)> {
    let set = [
        ("GOPRIVATE", &go.goprivate),
        ("GONOPROXY", &go.gonoproxy),
        ("GONOSUMDB", &go.gonosumdb),
        ("GOINSECURE", &go.goinsecure),
        ("GOVCS", &go.govcs),
        ("HTTPS_PROXY", &go.https_proxy),
        ("HTTP_PROXY", &go.http_proxy),
        ("ALL_PROXY", &go.all_proxy),
        ("NO_PROXY", &go.no_proxy),
        ("GOAUTH", &go.goauth),
        ("GOCACHEPROG", &go.gocacheprog),
        ("SSL_CERT_FILE", &go.ssl_cert_file),
        ("SSL_CERT_DIR", &go.ssl_cert_dir),
    ];
    let set = set.into_iter().filter_map(|(name, value)| {
        value.as_ref().filter(|value| !value.is_empty()).map(|value| (name, value.clone()))
    });
    set.chain(go.netrc.filter(|there| *there).map(|_| ("netrc", "present".to_owned()))).collect()
}

/// What a phase is, in at most 27 columns.
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "waiting for name servers",
        Phase::Connect => "opening TCP connections",
        Phase::Tls => "TLS handshakes",
        Phase::Tunnel => "forward proxy",
        Phase::Auth => "helpers for credentials",
        Phase::Proxy => "module proxy requests",
        Phase::Sumdb => "checksum database requests",
        Phase::Toolchain => "downloading a Go toolchain",
        Phase::Vcs => "git and other fetchers",
        Phase::Cache => "build cache program",
        Phase::Backoff => "pause before a retry",
        Phase::Child => "other programs go runs",
        Phase::Lock => "another process's file lock",
        Phase::Local => "this machine: CPU and disk",
        Phase::Unexplained => "nothing seen in flight",
    }
}

/// A phase's letter, which distinguishes it from the others beside its colour: its initial, or where two
/// begin alike the letter that stands out.
pub const fn letter(phase: Phase) -> char {
    match phase {
        Phase::Dns => 'D',
        Phase::Connect => 'C',
        Phase::Tls => 'T',
        Phase::Tunnel => 'F',
        Phase::Auth => 'A',
        Phase::Proxy => 'P',
        Phase::Sumdb => 'S',
        Phase::Toolchain => 'G',
        Phase::Vcs => 'V',
        Phase::Cache => 'B',
        Phase::Backoff => 'R',
        Phase::Child => 'H',
        Phase::Lock => 'K',
        Phase::Local => 'L',
        Phase::Unexplained => '?',
    }
}

/// What a request was about, as far as that is known.
pub fn subject(
    module: Option<&str>,
    version: Option<&str>,
    authority: Option<&str>,
    path: Option<&str>,
) -> String {
    match (module, version, path) {
        (Some(module), Some(version), _) => format!("{module}@{version}"),
        (Some(module), None, _) => module.to_owned(),
        (None, _, Some(path)) => format!("{}{path}", authority.unwrap_or_default()),
        (None, _, None) => "not known".to_owned(),
    }
}

/// What a request is for.
pub const fn class(class: Class) -> &'static str {
    match class {
        Class::List => "list",
        Class::Latest => "latest",
        Class::Info => "info",
        Class::Mod => "mod",
        Class::Zip => "zip",
        Class::SumdbSupported => "sumdb-supported",
        Class::SumdbLatest => "sumdb-latest",
        Class::SumdbLookup => "sumdb-lookup",
        Class::SumdbTile => "sumdb-tile",
        Class::Toolchain => "toolchain",
        Class::GoGet => "go-get",
        Class::Other => "other",
    }
}

/// How a connection turned out.
pub const fn outcome(outcome: ConnectionOutcome) -> &'static str {
    match outcome {
        ConnectionOutcome::Established => "closed in order",
        ConnectionOutcome::Refused => "refused",
        ConnectionOutcome::TimedOut => "no answer",
        ConnectionOutcome::Unreachable => "unreachable",
        ConnectionOutcome::Reset => "reset",
        ConnectionOutcome::Open => "still open",
        ConnectionOutcome::Unknown => "end not seen",
        ConnectionOutcome::Unused => "unused",
    }
}

/// What went wrong on a connection, in words.
pub fn trouble(connection: &Connection) -> Vec<String> {
    let late = connection.received_out_of_order.unwrap_or(0);
    [
        (connection.syn_retransmits, "SYN", "retransmitted"),
        (connection.retransmits, "segment", "retransmitted"),
        (late, "segment", "received out of order"),
        (connection.resets, "reset", ""),
        (connection.zero_windows, "time", "a window was full"),
    ]
    .into_iter()
    .filter(|(n, ..)| *n > 0)
    .map(|(n, what, how)| format!("{} {how}", super::human::count(u64::from(n), what)).trim_end().to_owned())
    .collect()
}

/// A connection's other end: its address, and where that is a forward proxy its name and what it said.
pub fn remote(connection: &Connection) -> String {
    let Some(tunnel) = &connection.tunnel else { return connection.remote.clone() };
    let answer = match (tunnel.outcome, tunnel.status) {
        (TunnelOutcome::Established, _) => String::new(),
        (TunnelOutcome::Refused, Some(status)) => format!(", refused with {status}"),
        (TunnelOutcome::Refused, None) => ", refused".to_owned(),
        (TunnelOutcome::Open, _) => ", no answer".to_owned(),
    };
    let proxy = match &connection.remote_name {
        Some(name) => format!("{name}, {}", connection.remote),
        None => connection.remote.clone(),
    };
    format!("through {proxy}: {}{answer}", tunnel.protocol.name())
}

/// How a request turned out.
pub const fn request_outcome(outcome: RequestOutcome) -> &'static str {
    match outcome {
        RequestOutcome::Ok => "ok",
        RequestOutcome::Error => "failed",
        RequestOutcome::Reset => "reset",
        RequestOutcome::Cancelled => "cancelled",
        RequestOutcome::Open => "open",
        RequestOutcome::Unknown => "not seen",
    }
}

/// An application protocol.
pub const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::H2 => "h2",
        Protocol::Http1 => "http/1.1",
    }
}

/// How a command ended, if it did.
pub fn ending(ended: bool, exit_code: Option<i32>, signal: Option<i32>) -> String {
    match (exit_code, signal) {
        // SIGINT: Ctrl-C
        (_, Some(2)) => "interrupted (signal 2)".to_owned(),
        (_, Some(signal)) => format!("ended by signal {signal}"),
        (Some(code), None) => format!("exit {code}"),
        (None, None) if ended => "ended, how is not known".to_owned(),
        (None, None) => "still running".to_owned(),
    }
}

/// How a process of that command ended, if it did.
pub fn process_ending(process: &Process, command: &Command) -> String {
    match (process.exit_code, process.end_ns) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(_)) => "ended".to_owned(),
        (None, None) if command.may_miss_end(process.start_ns) => "end not seen".to_owned(),
        (None, None) => "still running".to_owned(),
    }
}

/// Arguments as a line, the program without its folder, quoted where a shell would need it.
pub fn argv(argv: &[String]) -> String {
    let mut words = Vec::with_capacity(argv.len());
    for (index, word) in argv.iter().enumerate() {
        let word = if index == 0 { word.rsplit('/').next().unwrap_or(word) } else { word };
        let plain = |c: char| c.is_alphanumeric() || "-_=./:@,+%^~!…".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            words.push(word.to_owned());
        } else {
            words.push(format!("'{}'", word.replace('\'', "'\\''")));
        }
    }
    words.join(" ")
}

/// How a failure is reported, by whom it is blamed on; the evidence follows.
pub const fn failed_because(blame: Blame) -> &'static str {
    match blame {
        Blame::Network => "Failed because of the network",
        Blame::Machine => "Failed because of this machine",
        Blame::Command => "Failed because of the command itself, not the network",
        Blame::Unknown => "Failed, and it is not known whether the network is to blame",
    }
}

/// How bad, in a word.
pub const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn names_are_those_of_the_recording() {
        use Class::{
            GoGet, Info, Latest, List, Mod, Other, SumdbLatest, SumdbLookup, SumdbSupported, SumdbTile,
            Toolchain, Zip,
        };
        for one in [
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
        ] {
            assert_eq!(json::line(&one).unwrap(), format!("\"{}\"", class(one)));
        }
        for one in [Protocol::H2, Protocol::Http1] {
            assert_eq!(json::line(&one).unwrap(), format!("\"{}\"", protocol(one)));
        }
    }

    #[test]
    fn a_command_line_reads_as_it_was_typed() {
        let line = |words: &[&str]| argv(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["/usr/local/go/bin/go", "mod", "download"]), "go mod download");
        assert_eq!(line(&["go", "a b", "", "it's"]), r"go 'a b' '' 'it'\''s'");
    }

    #[test]
    fn phases_have_letters_of_their_own() {
        let letters: std::collections::BTreeSet<char> = Phase::ALL.into_iter().map(letter).collect();
        assert_eq!(letters.len(), Phase::ALL.len());
    }

    #[test]
    fn every_phase_fits_its_column() {
        for one in Phase::ALL {
            assert!(phase(one).len() <= 27, "{}", phase(one));
        }
    }
}
