//! Local stub resolvers: which processes they are, and which of the questions on their way
//! upstream belong to a command.

use std::collections::{HashMap, VecDeque};

use super::Owner;

/// Children of stubs that are remembered: dnsmasq forks for each TCP connection.
const CHILDREN_MAX: usize = 256;

/// The processes of stub resolvers.
#[derive(Default)]
pub(super) struct Stubs {
    /// Names by pid
    comms: HashMap<u32, String>,
    /// Those of `comms` that were forked, the oldest first
    children: VecDeque<u32>,
}

impl Stubs {
    /// The agent follows another one.
    pub(super) fn add(&mut self, pid: u32, comm: String) {
        self.comms.insert(pid, comm);
    }

    /// A stub forked: the child answers for it.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        let Some(comm) = self.comms.get(&parent).cloned() else { return };
        if self.children.len() == CHILDREN_MAX
            && let Some(oldest) = self.children.pop_front()
        {
            self.comms.remove(&oldest);
        }
        self.children.push_back(child);
        self.comms.insert(child, comm);
    }

    /// As whom that process asks, for the command that waits for it.
    pub(super) fn owner(&self, pid: u32, command: u32) -> Owner {
        Owner { command, pid, comm: self.comms.get(&pid).cloned().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stubs_child_has_its_name_and_others_have_none() {
        let mut stubs = Stubs::default();
        stubs.add(7, "dnsmasq".into());
        stubs.fork(7, 8);
        stubs.fork(9, 10);
        assert_eq!((stubs.owner(8, 1).comm.as_str(), stubs.owner(10, 1).comm.as_str()), ("dnsmasq", ""));
    }

    #[test]
    fn a_day_of_children_does_not_grow_it() {
        let mut stubs = Stubs::default();
        stubs.add(7, "dnsmasq".into());
        (0..10_000).for_each(|child| stubs.fork(7, 100 + child));
        assert!(stubs.comms.len() <= CHILDREN_MAX + 1);
        assert_eq!(stubs.owner(7, 1).comm, "dnsmasq");
    }
}
