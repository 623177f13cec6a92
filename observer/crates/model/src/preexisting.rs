//! A connection that was there before it could be seen, and what the kernel says of it: which
//! phase its time belongs to, how long nothing has happened, and what is waited for, in words. Its
//! requests are not known; a response that stopped and one that never began look the same.

use super::record::{Connection, Go, Phase, Preexisting, TcpState};
use crate::time::Ns;

/// Port of https.
const HTTPS: u16 = 443;
/// Port of http.
const HTTP: u16 = 80;
/// Port of name servers.
const DNS: u16 = 53;
/// A byte sent that much after the last one received is worth saying.
const APART_NS: Ns = 100_000_000;

/// How it is with such a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Case {
    /// What was sent is retransmitted and again, and nobody answers
    Dead,
    /// A SYN has no answer
    Syn,
    /// What was sent first, a hello or a request in plain text, has no answer
    First,
    /// All is acknowledged; a response has stopped, or has not begun
    Silent,
    /// It is being closed, or nothing was ever sent
    Idle,
}

/// What is known of a connection only from the outside; `None` for one whose TLS handshake or
/// requests were seen after all.
fn outside(connection: &Connection) -> Option<&Preexisting> {
    let seen = connection.tls_start_ns.is_some() || connection.requests > 0;
    connection.preexisting.as_ref().filter(|_| connection.joined_late && !seen)
}

fn case(connection: &Connection, preexisting: &Preexisting) -> Case {
    let sent = connection.bytes_sent != Some(0);
    match preexisting.state {
        TcpState::SynSent => Case::Syn,
        _ if preexisting.unacked_bytes > 0 && preexisting.retries > 0 => Case::Dead,
        TcpState::Established if connection.bytes_received == Some(0) && sent => Case::First,
        TcpState::Established if sent => Case::Silent,
        _ => Case::Idle,
    }
}

/// The phase that the connection's life belongs to, as far as it was not seen; `None` when nothing
/// is waited for. What was sent first nobody saw: the port, and what the command is set to, say what it
/// must have been.
pub(crate) fn phase(connection: &Connection, go: Option<&Go>) -> Option<Phase> {
    let preexisting = outside(connection)?;
    let port = connection.remote.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    let first = connection.bytes_received == Some(0);
    Some(match case(connection, preexisting) {
        Case::Idle => return None,
        Case::Syn => Phase::Connect,
        _ if port == DNS => Phase::Dns,
        Case::First | Case::Dead if first && port == HTTPS => Phase::Tls,
        Case::First | Case::Dead if first && !speaks_http(port, go) => {
            let by_proxy = go.is_some_and(|go| go.forward_proxy == Some(true));
            if by_proxy { Phase::Tunnel } else { Phase::Tls }
        }
        _ => Phase::Proxy,
    })
}

/// Whether who listens at that port is spoken to in plain text: a module proxy of GOPROXY by http.
fn speaks_http(port: u16, go: Option<&Go>) -> bool {
    let list = go.and_then(|go| go.goproxy.as_deref()).unwrap_or_default();
    let plain = list.split([',', '|']).filter_map(|item| item.trim().strip_prefix("http://"));
    let of = |rest: &str| {
        let authority = rest.split('/').next().unwrap_or_default();
        authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(HTTP)
    };
    port == HTTP || plain.map(of).any(|known: u16| known == port)
}

/// How much a connection says of why its command hangs; the smallest says most.
pub(crate) fn rank(connection: &Connection) -> Option<(u8, Ns)> {
    let preexisting = outside(connection)?;
    let silent = preexisting.since_received_ns.unwrap_or(0).min(preexisting.since_sent_ns.unwrap_or(0));
    Some((case(connection, preexisting) as u8, silent))
}

/// How long it has been waited for when the kernel was asked; `None` when the kernel does not know.
pub(crate) fn age(connection: &Connection) -> Option<Ns> {
    let preexisting = outside(connection)?;
    match case(connection, preexisting) {
        // The time of a retransmission is taken for the time of sending.
        Case::Syn => None,
        Case::Dead => preexisting.since_acked_ns,
        Case::First if connection.retransmits > 0 => None,
        Case::First => preexisting.since_sent_ns,
        Case::Silent | Case::Idle => match (preexisting.since_sent_ns, preexisting.since_received_ns) {
            (Some(sent), Some(received)) => Some(sent.min(received)),
            (sent, received) => sent.or(received),
        },
    }
}

/// In words.
pub(crate) fn summary(connection: &Connection) -> String {
    let host = connection.host().unwrap_or("an unknown host");
    let Some(preexisting) = outside(connection) else { return format!("the connection to {host}") };
    let rtt = connection.rtt_ns.map_or_else(String::new, |rtt| format!(" (RTT {})", time(rtt)));
    let for_ = |since: Option<Ns>| since.map_or_else(String::new, |since| format!(" for {}", time(since)));
    match case(connection, preexisting) {
        Case::Syn => handshake(host, connection.syn_retransmits),
        Case::Dead => {
            let times = if preexisting.retries == 1 {
                "once".to_owned()
            } else {
                format!("{} times", preexisting.retries)
            };
            format!(
                "{host}: {} sent and not acknowledged, retransmitted {times}, nothing heard of it{}{rtt}",
                amount(preexisting.unacked_bytes),
                for_(preexisting.since_acked_ns)
            )
        }
        Case::First => {
            let what = connection.bytes_sent.map_or_else(|| "something".to_owned(), amount);
            let acknowledged =
                if preexisting.unacked_bytes == 0 { "and acknowledged" } else { "and not yet acknowledged" };
            format!("{host}: {what} sent {acknowledged}, nothing received{}{rtt}", for_(age(connection)))
        }
        Case::Silent => {
            let acknowledged = if preexisting.unacked_bytes == 0 {
                "everything sent is acknowledged".to_owned()
            } else {
                format!("{} sent and not yet acknowledged", amount(preexisting.unacked_bytes))
            };
            let later = preexisting.since_received_ns.zip(preexisting.since_sent_ns);
            let later = later.filter(|(received, sent)| received.saturating_sub(*sent) > APART_NS);
            let sent = later.map_or_else(String::new, |(_, sent)| format!(", last sent {} ago", time(sent)));
            format!(
                "{host}: {acknowledged}, nothing received{}{sent}{rtt}",
                for_(preexisting.since_received_ns)
            )
        }
        Case::Idle => format!("the connection to {host}"),
    }
}

/// `12.4 s`, `21 ms`, `80 µs`
fn time(ns: Ns) -> String {
    match ns {
        1_000_000_000.. => format!("{:.1} s", ns as f64 / 1e9),
        1_000_000.. => format!("{} ms", ns / 1_000_000),
        _ => format!("{} µs", ns / 1000),
    }
}

fn amount(bytes: u64) -> String {
    if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") }
}

/// A TCP handshake that waits for its answer.
pub(crate) fn handshake(host: &str, syn_retransmits: u32) -> String {
    match syn_retransmits {
        0 => format!("a TCP handshake with {host}"),
        1 => format!("a TCP handshake with {host}, SYN retransmitted once"),
        n => format!("a TCP handshake with {host}, SYN retransmitted {n} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SinceStart;

    const S: Ns = 1_000_000_000;

    fn preexisting(bytes: (u64, u64), preexisting: Preexisting) -> Connection {
        Connection {
            remote: "192.0.2.9:443".into(),
            joined_late: true,
            bytes_sent: Some(bytes.0),
            bytes_received: Some(bytes.1),
            rtt_ns: Some(21_000_000),
            preexisting: Some(preexisting),
            ..Connection::default()
        }
    }

    #[test]
    fn each_case_has_its_phase_its_words_and_its_age() {
        let syn = Connection {
            syn_retransmits: 3,
            rtt_ns: None,
            ..preexisting((0, 0), Preexisting { state: TcpState::SynSent, ..Preexisting::default() })
        };
        assert_eq!((phase(&syn, None), age(&syn)), (Some(Phase::Connect), None));
        assert_eq!(summary(&syn), "a TCP handshake with 192.0.2.9:443, SYN retransmitted 3 times");

        let hello =
            preexisting((1500, 0), Preexisting { since_sent_ns: Some(3 * S), ..Preexisting::default() });
        assert_eq!((phase(&hello, None), age(&hello)), (Some(Phase::Tls), Some(3 * S)));
        assert_eq!(
            summary(&hello),
            "192.0.2.9:443: 1500 bytes sent and acknowledged, nothing received for 3.0 s (RTT 21 ms)"
        );

        let silent =
            Preexisting { since_sent_ns: Some(S), since_received_ns: Some(12 * S), ..Preexisting::default() };
        let silent = preexisting((1500, 1500), silent);
        assert_eq!((phase(&silent, None), age(&silent)), (Some(Phase::Proxy), Some(S)));
        assert_eq!(
            summary(&silent),
            "192.0.2.9:443: everything sent is acknowledged, nothing received for 12.0 s, last sent 1.0 s ago \
             (RTT 21 ms)"
        );

        let dead = Preexisting {
            unacked_bytes: 90,
            retries: 4,
            since_acked_ns: Some(9 * S),
            ..Preexisting::default()
        };
        let dead = preexisting((1500, 1500), dead);
        assert_eq!((phase(&dead, None), age(&dead)), (Some(Phase::Proxy), Some(9 * S)));
        assert_eq!(
            summary(&dead),
            "192.0.2.9:443: 90 bytes sent and not acknowledged, retransmitted 4 times, nothing heard of it for 9.0 s \
             (RTT 21 ms)"
        );
        assert!(rank(&dead) < rank(&syn) && rank(&hello) < rank(&silent));
    }

    #[test]
    fn what_was_seen_after_all_is_not_distinguished_from_the_outside() {
        let seen =
            Connection { tls_start_ns: Some(SinceStart(1)), ..preexisting((1, 1), Preexisting::default()) };
        assert_eq!((phase(&seen, None), age(&seen), rank(&seen)), (None, None, None));
    }

    #[test]
    fn a_hello_that_was_retransmitted_has_no_age() {
        let again = preexisting((1500, 0), Preexisting { since_sent_ns: Some(S), ..Preexisting::default() });
        assert_eq!(age(&Connection { retransmits: 1, ..again }), None);
    }

    #[test]
    fn plain_text_and_name_servers_are_no_tls() {
        let with = |remote: &str, go: Option<&Go>| {
            phase(&Connection { remote: remote.into(), ..preexisting((9, 0), Preexisting::default()) }, go)
        };
        let at = |remote: &str| with(remote, None);
        assert_eq!(at("192.0.2.9:80"), Some(Phase::Proxy));
        assert_eq!(at("192.0.2.9:53"), Some(Phase::Dns));
        assert_eq!(at("192.0.2.9:8443"), Some(Phase::Tls));
        let go = Go {
            goproxy: Some("https://a.test,http://b.test:8081/go|http://c.test,direct".into()),
            forward_proxy: Some(true),
            ..Go::default()
        };
        let set = |port: u16| with(&format!("192.0.2.9:{port}"), Some(&go));
        assert_eq!(
            [443, 8081, 80, 3128].map(set),
            [Phase::Tls, Phase::Proxy, Phase::Proxy, Phase::Tunnel].map(Some)
        );
    }
}
