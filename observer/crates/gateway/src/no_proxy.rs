//! `NO_PROXY` as go reads it (`golang.org/x/net/http/httpproxy`): hosts that are reached without a forward proxy.
//! In: the list. Out: whether it covers a host and a port.
//!
//! An item is `*`, an address, a block of addresses (`10.0.0.0/8`), `host.test` with all below it, or
//! `.host.test` for those below it alone; an address and a name may have a port, for that port alone.

use std::net::IpAddr;

/// A list of hosts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NoProxy(Vec<Item>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Item {
    All,
    Block(IpAddr, u32),
    Address(IpAddr, Option<u16>),
    Name(Name),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Name {
    /// With a dot in front
    below: String,
    itself: bool,
    port: Option<u16>,
}

impl NoProxy {
    /// Reads a list; an item that is none covers nothing.
    pub fn parse(list: &str) -> Self {
        Self(list.split(',').filter_map(|item| Item::parse(&item.trim().to_lowercase())).collect())
    }

    /// Whether it covers that host, as a URL has it.
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).to_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        self.0.iter().any(|item| match (item, address) {
            (Item::All, _) => true,
            (Item::Block(first, bits), Some(address)) => is_in(address, *first, *bits),
            (Item::Address(one, of), Some(address)) => *one == address && of.is_none_or(|of| of == port),
            (Item::Name(name), _) => name.is(&host) && name.port.is_none_or(|of| of == port),
            _ => false,
        })
    }
}

impl Item {
    fn parse(item: &str) -> Option<Self> {
        if item.is_empty() || item == "*" {
            return (!item.is_empty()).then_some(Self::All);
        }
        if let Some((address, bits)) = item.split_once('/')
            && let Ok(address) = address.parse::<IpAddr>()
        {
            let bits = bits.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Self::Block(address, bits));
        }
        if let Ok(address) = item.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), None));
        }
        let (host, port) = match item.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (item, None),
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let itself = !host.starts_with('.');
        Some(Self::Name(Name { below: format!(".{}", host.trim_start_matches('.')), itself, port }))
    }
}

impl Name {
    fn is(&self, host: &str) -> bool {
        host.ends_with(&self.below) || self.itself && *host == self.below[1..]
    }
}

/// Whether an address begins with so many bits of another.
fn is_in(address: IpAddr, first: IpAddr, bits: u32) -> bool {
    let (differ, width) = match (address, first) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits() ^ other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits(), 128),
        _ => return false,
    };
    differ.checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_covered_as_go_does() {
        for (list, host, port, covered) in [
            ("corp.test", "corp.test", 443, true),
            ("corp.test", "git.corp.test", 443, true),
            ("corp.test", "xcorp.test", 443, false),
            (".corp.test", "corp.test", 443, false),
            (".corp.test", "git.corp.test", 443, true),
            ("*.corp.test", "git.corp.test", 443, true),
            ("*.corp.test", "corp.test", 443, false),
            ("x.test, CORP.test:8443", "Corp.Test", 8443, true),
            ("corp.test:8443", "git.corp.test", 8443, true),
            ("corp.test:8443", "corp.test", 443, false),
            ("corp.test:port", "corp.test", 443, false),
            ("127.0.0.2", "127.0.0.2", 80, true),
            ("10.1.2.3:8080", "10.1.2.3", 8080, true),
            ("10.1.2.3:8080", "10.1.2.3", 80, false),
            ("10.0.0.0/8", "10.200.0.1", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("0.0.0.0/0", "11.0.0.1", 443, true),
            ("10.0.0.0/33", "10.0.0.1", 443, false),
            ("2001:db8::/32", "[2001:db8:1::1]", 443, true),
            ("2001:db8::/32", "10.0.0.1", 443, false),
            ("[2001:db8::1]:443", "[2001:db8::1]", 443, true),
            ("[2001:db8::1]:443", "[2001:db8::1]", 80, false),
            ("2001:db8::1", "[2001:db8::1]", 80, true),
            ("*", "proxy.test", 443, true),
            ("a.test,*", "10.0.0.1", 443, true),
            ("", "proxy.test", 443, false),
            (",:443,.,", "proxy.test", 443, false),
        ] {
            assert_eq!(NoProxy::parse(list).covers(host, port), covered, "{list} {host}:{port}");
        }
    }
}
