//! Remedies that are a server beside the command: `gateway`. `dns-cache` and `deadline` are not in this
//! version, which says so.

use crate::user_error::UserError;

/// The error of a remedy that this version has not.
pub(super) fn not_here(name: &str) -> Option<UserError> {
    let instead = match name {
        "dns-cache" => "try --with resolv='nameserver ADDRESS' with a nearer name server",
        "deadline" => "try `timeout 60 CMD`",
        _ => return None,
    };
    Some(UserError::new(format!("{name} is not in this version"), instead))
}

/// A server that runs as long as the command does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Server {
    /// A module proxy on loopback, in front of the proxies that GOPROXY names
    Gateway,
}

impl Server {
    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        (name == Self::Gateway.name()).then_some(Self::Gateway)
    }

    /// Its name after `--with`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
        }
    }

    /// What makes it last.
    pub(super) const fn keeping(self) -> &'static str {
        match self {
            Self::Gateway => {
                "`goobserve serve gateway` kept running, and the GOPROXY that it prints set in its environment"
            }
        }
    }
}
