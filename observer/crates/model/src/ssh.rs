//! How an ssh connection began: when its server greeted, answered the key exchange, and was trusted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::{Ns, SinceStart};

/// The first steps of an ssh connection (RFC 4253); each is absent until it was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Ssh {
    /// When the server's greeting had come
    pub greeting_ns: Option<SinceStart>,
    /// When the server's answer to the key exchange had come, its host key in it
    pub host_key_ns: Option<SinceStart>,
    /// When the client went on, which has accepted the host key
    pub accepted_ns: Option<SinceStart>,
}

/// A client that computes goes on sooner; one that has to ask somebody does not.
const ASKS_NS: Ns = 200_000_000;

impl Ssh {
    /// From the host key until it was accepted, or until `end`, where that is a wait for somebody.
    pub fn asks(&self, end: Option<SinceStart>) -> Option<(SinceStart, Option<SinceStart>)> {
        let from = self.host_key_ns?;
        let to = self.accepted_ns.or(end);
        to.is_none_or(|to| to.saturating_sub(from) >= ASKS_NS).then_some((from, to))
    }
}
