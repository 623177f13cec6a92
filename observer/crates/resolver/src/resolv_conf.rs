//! What resolv.conf says of name servers. In: the file's text. Out: whom to ask, and for how long.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// What resolvers take of the file (resolv.conf(5)).
const SERVERS_MAX: usize = 3;

/// Whom to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Servers {
    /// In the file's order
    pub addresses: Vec<SocketAddr>,
    /// How long a resolver would wait in all: `timeout` times `attempts`
    pub patience: Duration,
}

impl Servers {
    /// Reads a resolv.conf. Without a server it is this machine's own, as resolv.conf(5) says.
    pub fn parse(text: &str) -> Self {
        let (mut addresses, mut timeout, mut attempts) = (Vec::new(), 5, 2);
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if addresses.len() < SERVERS_MAX => {
                    addresses.extend(words.next().and_then(address));
                }
                Some("options") => {
                    for option in words {
                        let number =
                            |name: &str| option.strip_prefix(name).and_then(|n| n.parse::<u64>().ok());
                        timeout = number("timeout:").unwrap_or(timeout);
                        attempts = number("attempts:").unwrap_or(attempts);
                    }
                }
                _ => {}
            }
        }
        if addresses.is_empty() {
            addresses.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        let patience = Duration::from_secs(timeout.clamp(1, 30) * attempts.clamp(1, 5));
        Self { addresses, patience }
    }
}

/// An address, perhaps with a zone's number: `fe80::1%2`.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    match (address.parse().ok()?, zone) {
        (IpAddr::V6(address), Some(zone)) => {
            Some(SocketAddrV6::new(address, 53, 0, zone.parse().ok()?).into())
        }
        (address, None) => Some((address, 53).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_patience_are_read() {
        let text = "# nameserver 1.1.1.1\nsearch a.test\nnameserver 127.77.0.2\noptions timeout:2 attempts:3 x\n\
                    nameserver fe80::1%2\nnameserver x\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n";
        let servers = Servers::parse(text);
        let shown: Vec<String> = servers.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.77.0.2:53", "[fe80::1%2]:53", "10.0.0.1:53"]);
        assert_eq!(servers.patience, Duration::from_secs(6));
    }

    #[test]
    fn without_a_server_it_is_this_machines() {
        let servers = Servers::parse("options timeout:0\n");
        assert_eq!(servers.addresses, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(servers.patience, Duration::from_secs(2));
    }
}
