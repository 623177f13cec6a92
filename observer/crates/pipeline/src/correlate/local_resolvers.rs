//! Local stub resolvers: which processes they are, and which of the queries on their way
//! upstream belong to a command.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::Owner;
use super::preexisting::LocalResolver;
use model::id::{CommandId, Pid};

/// Children of local resolvers that are remembered: dnsmasq forks for each TCP connection.
const CHILDREN_MAX: usize = 256;
/// Addresses remembered of one; a local resolver that is bound anew each time keeps the first.
const ADDRESSES_MAX: usize = 64;

/// The processes of stub resolvers.
#[derive(Default)]
pub(super) struct LocalResolvers {
    /// By pid
    known: HashMap<Pid, LocalResolver>,
    /// Those of `known` that were forked, the oldest first
    children: VecDeque<Pid>,
}

impl LocalResolvers {
    /// The agent follows another one, or one is asked at another address.
    pub(super) fn add(&mut self, local_resolver: LocalResolver) {
        // It may have been forked by another one, and became a local resolver of its own.
        self.children.retain(|child| *child != local_resolver.pid);
        match self.known.get_mut(&local_resolver.pid).filter(|known| known.comm == local_resolver.comm) {
            Some(known) => {
                known.addresses.extend(local_resolver.addresses);
                known.addresses.truncate(ADDRESSES_MAX);
            }
            None => drop(self.known.insert(local_resolver.pid, local_resolver)),
        }
    }

    /// A local resolver forked: the child answers for it.
    pub(super) fn fork(&mut self, parent: Pid, child: Pid) {
        let Some(local_resolver) = self.known.get(&parent).cloned() else { return };
        self.children.retain(|known| *known != child);
        if self.children.len() == CHILDREN_MAX
            && let Some(oldest) = self.children.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.children.push_back(child);
        self.known.insert(child, LocalResolver { pid: child, ..local_resolver });
    }

    /// Whether that local resolver answers at a server's address: `exactly` there, or at any.
    pub(super) fn serves(&self, pid: Pid, server: &str, exactly: bool) -> bool {
        let (Some(local_resolver), Ok(server)) = (self.known.get(&pid), server.parse::<SocketAddr>()) else {
            return false;
        };
        let at = |address: &IpAddr| *address == server.ip() || !exactly && address.is_unspecified();
        local_resolver.addresses.iter().any(at)
    }

    /// Whether that process is one.
    pub(super) fn is(&self, process: Owner<'_>) -> bool {
        self.known.get(&process.pid).is_some_and(|known| known.comm == process.comm)
    }

    /// Whether that is systemd-resolved, which answers over a unix socket, too.
    pub(super) fn is_resolved(&self, pid: Pid) -> bool {
        self.known.get(&pid).is_some_and(|known| known.comm.starts_with("systemd-resolve"))
    }

    /// As whom that process asks, for the command that waits for it.
    pub(super) fn owner(&self, pid: Pid, command: CommandId) -> Owner<'_> {
        let comm = self.known.get(&pid).map_or("", |local_resolver| &local_resolver.comm);
        // The kernel cuts a name at 15 bytes.
        let comm = if comm == "systemd-resolve" { "systemd-resolved" } else { comm };
        Owner { command, pid, comm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dnsmasq() -> LocalResolver {
        LocalResolver { pid: Pid(7), comm: "dnsmasq".into(), addresses: vec!["127.0.0.1".parse().unwrap()] }
    }

    #[test]
    fn a_local_resolvers_child_has_its_name_and_others_have_none() {
        let mut local_resolvers = LocalResolvers::default();
        local_resolvers.add(dnsmasq());
        local_resolvers.fork(Pid(7), Pid(8));
        local_resolvers.fork(Pid(9), Pid(10));
        assert_eq!(
            (
                local_resolvers.owner(Pid(8), CommandId(1)).comm,
                local_resolvers.owner(Pid(10), CommandId(1)).comm
            ),
            ("dnsmasq", "")
        );
    }

    #[test]
    fn a_day_of_children_does_not_grow_it() {
        let mut local_resolvers = LocalResolvers::default();
        local_resolvers.add(dnsmasq());
        (0..10_000).for_each(|child| local_resolvers.fork(Pid(7), Pid(100 + child)));
        assert!(local_resolvers.known.len() <= CHILDREN_MAX + 1);
        assert_eq!(local_resolvers.owner(Pid(7), CommandId(1)).comm, "dnsmasq");
    }

    #[test]
    fn what_a_local_resolver_forked_and_became_one_itself_is_not_forgotten_as_a_child() {
        let mut local_resolvers = LocalResolvers::default();
        local_resolvers.add(LocalResolver { pid: Pid(6), comm: "init".into(), ..dnsmasq() });
        local_resolvers.fork(Pid(6), Pid(7));
        local_resolvers.add(dnsmasq());
        (0..1_000).for_each(|child| local_resolvers.fork(Pid(6), Pid(100 + child)));
        assert!(local_resolvers.serves(Pid(7), "127.0.0.1:53", true));
        assert_eq!(local_resolvers.owner(Pid(7), CommandId(1)).comm, "dnsmasq");
    }

    #[test]
    fn a_local_resolver_serves_where_it_is_bound_and_so_do_its_children() {
        let mut local_resolvers = LocalResolvers::default();
        local_resolvers.add(dnsmasq());
        local_resolvers.fork(Pid(7), Pid(8));
        assert!(
            local_resolvers.serves(Pid(7), "127.0.0.1:53", true)
                && local_resolvers.serves(Pid(8), "127.0.0.1:53", true)
        );
        for (pid, server) in [(7, "127.0.0.53:53"), (7, "[::1]:53"), (9, "127.0.0.1:53"), (7, "?")] {
            assert!(!local_resolvers.serves(Pid(pid), server, false), "{pid} {server}");
        }
        // Bound once more, to any address.
        local_resolvers.add(LocalResolver { addresses: vec!["::".parse().unwrap()], ..dnsmasq() });
        assert!(
            local_resolvers.serves(Pid(7), "127.0.0.53:53", false)
                && !local_resolvers.serves(Pid(7), "127.0.0.53:53", true)
        );
    }
}
