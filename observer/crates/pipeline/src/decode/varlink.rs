//! Calls of systemd-resolved over its unix socket and its replies (Varlink: JSON, each message ended by a
//! NUL): what the C library's `nss-resolve` asks. Bytes in, a [`Call`] or a [`Reply`] out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

/// Longest message that is put together, bytes: a reply has a few addresses.
const MESSAGE_MAX: usize = 64 * 1024;
/// Addresses kept of one reply.
const ADDRESSES_MAX: usize = 64;
/// Name of the method, and what its errors begin with.
const RESOLVE: &str = "io.systemd.Resolve.ResolveHostname";
const ERROR: &str = "io.systemd.Resolve.";
/// Linux's `AF_INET` and `AF_INET6`, as a call names them.
const INET: u64 = 2;
const INET6: u64 = 10;

/// A name that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The name, without the final dot
    pub name: String,
    /// `A`, `AAAA`, or `A/AAAA` for both
    pub qtype: &'static str,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// As a name server's code: `NOERROR`, `NXDOMAIN`, …, or what the error is called
    pub rcode: String,
    /// Addresses
    pub addresses: Vec<IpAddr>,
}

/// One direction, put together from any number of calls.
#[derive(Default, Debug)]
pub struct Messages {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Messages {
    /// Takes the next bytes; the message that is whole with them. `cut`: there were more than were copied.
    pub fn push(&mut self, bytes: &[u8], cut: bool) -> Option<Value> {
        let room = MESSAGE_MAX - self.bytes.len();
        self.too_long |= cut || bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let Some(end) = self.bytes.iter().position(|byte| *byte == 0) else {
            // The end of one that there was no room for; what follows is another.
            if self.too_long && bytes.contains(&0) {
                (self.bytes, self.too_long) = (Vec::new(), false);
            }
            return None;
        };
        let message = (!self.too_long).then(|| serde_json::from_slice(&self.bytes[..end]).ok()).flatten();
        // One message at a time: the next is asked for when this one is answered.
        (self.bytes, self.too_long) = (Vec::new(), false);
        message
    }
}

/// A call that asks for a host's addresses; `None` for any other.
pub fn call(message: &Value) -> Option<Call> {
    if message.get("method")?.as_str()? != RESOLVE {
        return None;
    }
    let parameters = message.get("parameters")?;
    let name = parameters.get("name")?.as_str()?;
    let qtype = match parameters.get("family").and_then(Value::as_u64) {
        Some(INET) => "A",
        Some(INET6) => "AAAA",
        _ => "A/AAAA",
    };
    Some(Call { name: name.trim_end_matches('.').to_owned(), qtype })
}

/// A reply.
pub fn reply(message: &Value) -> Reply {
    let parameters = message.get("parameters");
    let Some(error) = message.get("error").and_then(Value::as_str) else {
        let list = parameters.and_then(|parameters| parameters.get("addresses")).and_then(Value::as_array);
        let addresses = list.into_iter().flatten().take(ADDRESSES_MAX).filter_map(address).collect();
        return Reply { rcode: "NOERROR".to_owned(), addresses };
    };
    let code = parameters.and_then(|parameters| parameters.get("rcode")).and_then(Value::as_u64);
    let rcode = match (error.strip_prefix(ERROR), code) {
        (Some("DNSError"), Some(1)) => "FORMERR",
        (Some("DNSError"), Some(2)) => "SERVFAIL",
        (Some("DNSError"), Some(3)) => "NXDOMAIN",
        (Some("DNSError"), Some(5)) => "REFUSED",
        // The name is there and has no address.
        (Some("NoSuchResourceRecord"), _) => "NOERROR",
        // No server of its own answered it.
        (Some("QueryTimedOut" | "MaxAttemptsReached" | "NoNameServers" | "NetworkDown"), _) => "SERVFAIL",
        _ => "unknown error",
    };
    Reply { rcode: rcode.to_owned(), addresses: Vec::new() }
}

fn address(value: &Value) -> Option<IpAddr> {
    let bytes: Vec<u8> = value
        .get("address")?
        .as_array()?
        .iter()
        .take(16)
        .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
        .collect::<Option<_>>()?;
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Option<Value> {
        Messages::default().push(&[text.as_bytes(), b"\0"].concat(), false)
    }

    #[test]
    fn a_call_and_its_reply_in_pieces() {
        let text =
            r#"{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"name":"proxy.test","flags":0}}"#;
        let mut sent = Messages::default();
        assert_eq!(sent.push(&text.as_bytes()[..40], false), None);
        let message = sent.push(&[&text.as_bytes()[40..], b"\0"].concat(), false).unwrap();
        assert_eq!(call(&message), Some(Call { name: "proxy.test".into(), qtype: "A/AAAA" }));
        let text = r#"{"parameters":{"addresses":[{"ifindex":1,"family":2,"address":[127,0,0,1]},
            {"family":10,"address":[32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,1]},{"address":[1,2]}],"flags":1}}"#;
        let answer = reply(&whole(text).unwrap());
        assert_eq!(answer.rcode, "NOERROR");
        assert_eq!(
            answer.addresses,
            ["127.0.0.1", "2001:db8::1"].map(|address| address.parse::<IpAddr>().unwrap())
        );
    }

    #[test]
    fn errors_have_a_name_servers_codes() {
        let of = |text: &str| reply(&whole(text).unwrap()).rcode;
        let nxdomain = r#"{"error":"io.systemd.Resolve.DNSError","parameters":{"rcode":3}}"#;
        assert_eq!(of(nxdomain), "NXDOMAIN");
        assert_eq!(of(r#"{"error":"io.systemd.Resolve.NoSuchResourceRecord"}"#), "NOERROR");
        assert_eq!(of(r#"{"error":"io.systemd.Resolve.QueryTimedOut"}"#), "SERVFAIL");
        assert_eq!(of(r#"{"error":"x"}"#), "unknown error");
    }

    #[test]
    fn other_calls_and_cut_messages_are_none() {
        assert_eq!(call(&whole(r#"{"method":"io.systemd.Resolve.ResolveAddress"}"#).unwrap()), None);
        assert_eq!(whole("{"), None);
        let mut cut = Messages::default();
        assert_eq!(cut.push(b"{}\0", true), None);
        assert_eq!(cut.push(b"{}\0", false), Some(serde_json::json!({})));
    }

    #[test]
    fn what_follows_a_message_that_is_too_long_is_read() {
        let mut messages = Messages::default();
        for _ in 0..3 {
            assert_eq!(messages.push(&vec![b' '; MESSAGE_MAX / 2], false), None);
        }
        assert_eq!(messages.push(b"{}\0", false), None);
        assert_eq!(messages.push(b"{}\0", false), Some(serde_json::json!({})));
    }

    proptest! {
        #[test]
        fn no_input_panics(calls in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let mut messages = Messages::default();
            for bytes in calls {
                if let Some(message) = messages.push(&bytes, false) {
                    call(&message);
                    reply(&message);
                }
                prop_assert!(messages.bytes.len() <= MESSAGE_MAX);
            }
        }
    }
}
