//! Numbers that name something: one type each, so that none is taken for another. In files they are plain
//! integers.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])+ $name:ident;)+) => {
        $(
            $(#[$doc])+
            #[derive(
                Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
            )]
            #[serde(transparent)]
            pub struct $name(pub u32);

            plain!($name, u32);

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }

            impl From<$name> for u64 {
                fn from(id: $name) -> Self {
                    Self::from(id.0)
                }
            }
        )+
    };
}

macro_rules! numbers {
    ($($name:ident)+) => {
        $(
            impl $name {
                /// The first number.
                pub const FIRST: Self = Self(1);

                /// Gives this number out: it is the next one from then on.
                #[must_use]
                pub fn give(&mut self) -> Self {
                    let given = *self;
                    self.0 += 1;
                    given
                }
            }
        )+
    };
}

ids! {
    /// Number of a command in an observation, from 1.
    CommandId;
    /// Number of a TCP connection in an observation, from 1.
    ConnectionId;
    /// Number of a DNS query in an observation, from 1.
    DnsId;
    /// Number of a wait for a name server whose query was not seen, in an observation, from 1.
    DnsWaitId;
    /// Number of a request in an observation, from 1.
    RequestId;
    /// Number of a wait for a file lock in an observation, from 1.
    LockId;
    /// Number of a stall in an observation, from 1.
    StallId;
    /// Pid of a process, in the observer's namespace: what the kernel calls a thread group.
    Pid;
    /// A thread, by the number that the kernel calls its pid.
    Tid;
    /// Number that the kernel side gives to a tree of processes, a command's or that of the stub resolvers.
    TreeId;
}

numbers! { CommandId ConnectionId DnsId DnsWaitId RequestId LockId StallId }
