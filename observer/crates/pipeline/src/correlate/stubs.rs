//! Local stub resolvers: which processes they are, and which of the queries on their way
//! upstream belong to a command.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::Owner;
use super::preexisting::StubProcess;

/// Children of stubs that are remembered: dnsmasq forks for each TCP connection.
const CHILDREN_MAX: usize = 256;
/// Addresses remembered of one; a stub that is bound anew each time keeps the first.
const ADDRESSES_MAX: usize = 64;

/// The processes of stub resolvers.
#[derive(Default)]
pub(super) struct Stubs {
    /// By pid
    known: HashMap<u32, StubProcess>,
    /// Those of `known` that were forked, the oldest first
    children: VecDeque<u32>,
}

impl Stubs {
    /// The agent follows another one, or one is asked at another address.
    pub(super) fn add(&mut self, stub: StubProcess) {
        // It may have been forked by another one, and became a stub of its own.
        self.children.retain(|child| *child != stub.pid);
        match self.known.get_mut(&stub.pid).filter(|known| known.comm == stub.comm) {
            Some(known) => {
                known.addresses.extend(stub.addresses);
                known.addresses.truncate(ADDRESSES_MAX);
            }
            None => drop(self.known.insert(stub.pid, stub)),
        }
    }

    /// A stub forked: the child answers for it.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        let Some(stub) = self.known.get(&parent).cloned() else { return };
        self.children.retain(|known| *known != child);
        if self.children.len() == CHILDREN_MAX
            && let Some(oldest) = self.children.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.children.push_back(child);
        self.known.insert(child, StubProcess { pid: child, ..stub });
    }

    /// Whether that stub answers at a server's address: `exactly` there, or at any.
    pub(super) fn serves(&self, pid: u32, server: &str, exactly: bool) -> bool {
        let (Some(stub), Ok(server)) = (self.known.get(&pid), server.parse::<SocketAddr>()) else {
            return false;
        };
        let at = |address: &IpAddr| *address == server.ip() || !exactly && address.is_unspecified();
        stub.addresses.iter().any(at)
    }

    /// As whom that process asks, for the command that waits for it.
    pub(super) fn owner(&self, pid: u32, command: u32) -> Owner<'_> {
        let comm = self.known.get(&pid).map_or("", |stub| &stub.comm);
        Owner { command, pid, comm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dnsmasq() -> StubProcess {
        StubProcess { pid: 7, comm: "dnsmasq".into(), addresses: vec!["127.0.0.1".parse().unwrap()] }
    }

    #[test]
    fn a_stubs_child_has_its_name_and_others_have_none() {
        let mut stubs = Stubs::default();
        stubs.add(dnsmasq());
        stubs.fork(7, 8);
        stubs.fork(9, 10);
        assert_eq!((stubs.owner(8, 1).comm, stubs.owner(10, 1).comm), ("dnsmasq", ""));
    }

    #[test]
    fn a_day_of_children_does_not_grow_it() {
        let mut stubs = Stubs::default();
        stubs.add(dnsmasq());
        (0..10_000).for_each(|child| stubs.fork(7, 100 + child));
        assert!(stubs.known.len() <= CHILDREN_MAX + 1);
        assert_eq!(stubs.owner(7, 1).comm, "dnsmasq");
    }

    #[test]
    fn what_a_stub_forked_and_became_one_itself_is_not_forgotten_as_a_child() {
        let mut stubs = Stubs::default();
        stubs.add(StubProcess { pid: 6, comm: "init".into(), ..dnsmasq() });
        stubs.fork(6, 7);
        stubs.add(dnsmasq());
        (0..1_000).for_each(|child| stubs.fork(6, 100 + child));
        assert!(stubs.serves(7, "127.0.0.1:53", true));
        assert_eq!(stubs.owner(7, 1).comm, "dnsmasq");
    }

    #[test]
    fn a_stub_serves_where_it_is_bound_and_so_do_its_children() {
        let mut stubs = Stubs::default();
        stubs.add(dnsmasq());
        stubs.fork(7, 8);
        assert!(stubs.serves(7, "127.0.0.1:53", true) && stubs.serves(8, "127.0.0.1:53", true));
        for (pid, server) in [(7, "127.0.0.53:53"), (7, "[::1]:53"), (9, "127.0.0.1:53"), (7, "?")] {
            assert!(!stubs.serves(pid, server, false), "{pid} {server}");
        }
        // Bound once more, to any address.
        stubs.add(StubProcess { addresses: vec!["::".parse().unwrap()], ..dnsmasq() });
        assert!(stubs.serves(7, "127.0.0.53:53", false) && !stubs.serves(7, "127.0.0.53:53", true));
    }
}
