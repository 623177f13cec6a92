//! A tunnel through a forward proxy: what was asked of it, and what it answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::{Ns, SinceStart};

/// What is spoken with a forward proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TunnelProtocol {
    /// HTTP's `CONNECT`
    #[default]
    Connect,
    /// SOCKS5
    Socks5,
}

impl TunnelProtocol {
    /// What the client sends, in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Socks5 => "SOCKS5",
        }
    }
}

/// How a tunnel turned out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TunnelOutcome {
    /// No answer yet, or the connection ended without one
    #[default]
    Open,
    /// It stands
    Established,
    /// The proxy said no
    Refused,
}

/// What a connection's process asked a forward proxy for. [`super::record::Connection::remote`] is the proxy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Tunnel {
    /// How it was asked
    pub protocol: TunnelProtocol,
    /// `host:port` that was asked for; `None` where that was not said, or could not be read
    pub target: Option<String>,
    /// When it was asked first
    pub start_ns: SinceStart,
    /// When it stood, or was refused
    pub end_ns: Option<SinceStart>,
    /// How it turned out
    pub outcome: TunnelOutcome,
    /// HTTP status of the latest answer
    pub status: Option<u16>,
    /// Where it was refused: schemes that `Proxy-Authenticate` named, or what a SOCKS reply means
    pub reason: Option<String>,
    /// How often it was asked on this connection
    pub attempts: u32,
    /// The proxy is spoken to over TLS: the name in that hello
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_name: Option<String>,
    /// How long the TLS handshake with the proxy took
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_tls_ns: Option<Ns>,
}

/// A host as people write it: `host:port` without the port that https has anyway.
pub fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

/// A tunnel's reason, when it is made of the words that a decoder has for one, and so no name of anybody's.
pub(crate) fn own_words(reason: String) -> Option<String> {
    let plain = reason.chars().all(|c| c.is_ascii_alphanumeric() || " ,".contains(c));
    plain.then_some(reason)
}
