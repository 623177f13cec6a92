//! What resolv.conf says of name servers. In: the file's text. Out: whom to ask, and for how long.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// What resolvers take of the file (resolv.conf(5)).
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 6;

/// Whom to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Servers {
    /// In the file's order
    pub addresses: Vec<SocketAddr>,
    /// How long a resolver would wait in all: `timeout` times `attempts`
    pub patience: Duration,
    /// Servers that the file names beyond those that resolvers take
    pub ignored: usize,
    /// What is put behind a name that has too few dots
    pub search: Vec<String>,
    /// A name with fewer dots is tried with each of `search` first
    pub ndots: usize,
    /// The file names no server: it is this machine's own
    pub by_default: bool,
}

impl Servers {
    /// Reads a resolv.conf. Without a server it is this machine's own, as resolv.conf(5) says.
    pub fn parse(text: &str) -> Self {
        let (mut addresses, mut timeout, mut attempts) = (Vec::new(), 5, 2);
        let (mut ignored, mut search, mut ndots) = (0, Vec::new(), 1);
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if addresses.len() < SERVERS_MAX => {
                    addresses.extend(words.next().and_then(address));
                }
                Some("nameserver") => ignored += 1,
                Some("search" | "domain") => {
                    search = words.map(|word| word.trim_end_matches('.').to_owned()).collect();
                    search.truncate(SEARCH_MAX);
                }
                Some("options") => {
                    for option in words {
                        let number =
                            |name: &str| option.strip_prefix(name).and_then(|n| n.parse::<u64>().ok());
                        timeout = number("timeout:").unwrap_or(timeout);
                        attempts = number("attempts:").unwrap_or(attempts);
                        ndots = number("ndots:").unwrap_or(ndots).min(15);
                    }
                }
                _ => {}
            }
        }
        let by_default = addresses.is_empty();
        if by_default {
            addresses.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        let patience = Duration::from_secs(timeout.clamp(1, 30) * attempts.clamp(1, 5));
        let ndots = usize::try_from(ndots).unwrap_or(1);
        Self { addresses, patience, ignored, search, ndots, by_default }
    }
}

impl Servers {
    /// The names that a resolver asks for, one after the other, until there is one.
    pub fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(whole) = host.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let itself = if host.matches('.').count() >= self.ndots { 0 } else { names.len() };
        names.insert(itself, host.to_owned());
        names
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
    fn names_are_tried_with_the_search_list_in_its_place() {
        let servers = Servers::parse("search a.test b.test.\noptions ndots:2\nnameserver 10.0.0.1\n");
        assert_eq!(
            servers.candidates("proxy.test"),
            ["proxy.test.a.test", "proxy.test.b.test", "proxy.test"]
        );
        assert_eq!(servers.candidates("x.proxy.test")[0], "x.proxy.test");
        assert_eq!(servers.candidates("proxy.test."), ["proxy.test"]);
        let many = "nameserver 10.0.0.1\n".repeat(5);
        assert_eq!((Servers::parse(&many).ignored, Servers::parse(&many).by_default), (2, false));
    }

    #[test]
    fn without_a_server_it_is_this_machines() {
        let servers = Servers::parse("options timeout:0\n");
        assert_eq!(servers.addresses, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(servers.patience, Duration::from_secs(2));
    }
}
