//! Names that were looked up, by the address that an answer gave: whom a connection is made for, before
//! it says so itself. In: answers of name servers. Out: the name that a command asked for last.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::id::CommandId;

/// Addresses remembered of all commands; when there are more, all are forgotten.
const NAMES_MAX: usize = 8192;

/// `AF_INET`
const INET: u16 = 2;

/// By command and address.
#[derive(Default)]
pub(super) struct Names(HashMap<(CommandId, IpAddr), String>);

impl Names {
    /// An answer gave these addresses to a name.
    pub(super) fn add(&mut self, command: CommandId, name: &str, addresses: &[IpAddr]) {
        for address in addresses {
            if self.0.len() >= NAMES_MAX {
                self.0.clear();
            }
            self.0.insert((command, address.to_canonical()), name.to_owned());
        }
    }

    /// The name of a connection's remote end, as the kernel side has it, with its port unless that is 443.
    pub(super) fn of(&self, command: CommandId, family: u16, bytes: &[u8; 16], port: u16) -> Option<String> {
        let ip = if family == INET {
            IpAddr::from(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
        } else {
            IpAddr::from(Ipv6Addr::from(*bytes)).to_canonical()
        };
        let name = self.0.get(&(command, ip))?;
        Some(if port == 443 { name.clone() } else { format!("{name}:{port}") })
    }

    pub(super) fn forget(&mut self, command: CommandId) {
        self.0.retain(|(of, _), _| *of != command);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_name_of_an_address_counts_and_is_the_commands_own() {
        let mut names = Names::default();
        let ip = IpAddr::from([192, 0, 2, 1]);
        names.add(CommandId(1), "a.test", &[ip]);
        names.add(CommandId(1), "b.test", &[ip]);
        let bytes = [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(names.of(CommandId(1), INET, &bytes, 443).as_deref(), Some("b.test"));
        assert_eq!(names.of(CommandId(1), INET, &bytes, 3128).as_deref(), Some("b.test:3128"));
        assert_eq!(names.of(CommandId(2), INET, &bytes, 443), None);
        names.forget(CommandId(1));
        assert!(names.is_empty());
    }
}
