//! What a forward proxy is asked for, and what it answers: the first bytes of both directions of a
//! connection in, a [`Step`] out. `CONNECT` (RFC 9110, 9.3.6) with any number of answers that ask for
//! credentials before it stands, and SOCKS5 (RFC 1928, RFC 1929). Of credentials nothing is kept.

use super::http1::{HEAD_MAX, request_head, response_head, status_of_cut};

/// What is spoken with the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP's `CONNECT`
    Connect,
    /// SOCKS5
    Socks5,
}

/// What has become known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Something was asked, for that target (`host:port`) where it was named
    Asked(Option<String>),
    /// The tunnel stands: what follows is between client and target
    Stands,
    /// It was refused; the client may ask once more
    Refused(Refused),
}

/// Why a tunnel does not stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refused {
    /// HTTP's status
    pub status: Option<u16>,
    /// What the proxy asked for, or a SOCKS reply in words: `Basic, Negotiate`, `host unreachable`
    pub reason: Option<String>,
}

/// Bytes of a SOCKS message that are put together: none is longer (RFC 1929: 1 + 1 + 255 + 1 + 255).
const SOCKS_MAX: usize = 513;
/// Schemes of RFC 9110, 11 that are named; of others only that there are some.
const SCHEMES: [&str; 6] = ["Basic", "Bearer", "Digest", "Kerberos", "Negotiate", "NTLM"];

/// Where the conversation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// CONNECT: a head is being written
    Request,
    /// CONNECT: its answer is being read
    Response,
    /// SOCKS: the greeting is being written, or its answer read
    Greeting,
    /// SOCKS: user and password
    Password,
    /// SOCKS: the request
    Target,
    /// Nothing more is read here
    Over,
}

/// The conversation with a forward proxy, put together from any number of reads and writes.
#[derive(Debug)]
pub struct Tunnel {
    protocol: Protocol,
    state: State,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Tunnel {
    /// One that begins with these bytes of the client; `None` when they begin something else.
    pub fn begins(bytes: &[u8]) -> Option<Self> {
        let (protocol, state) = match bytes {
            [b'C', b'O', b'N', b'N', ..] => (Protocol::Connect, State::Request),
            // A version, how many methods, the methods.
            [5, methods, rest @ ..] if *methods > 0 && rest.len() <= usize::from(*methods) => {
                (Protocol::Socks5, State::Greeting)
            }
            _ => return None,
        };
        Some(Self { protocol, state, sent: Vec::new(), received: Vec::new() })
    }

    /// What is spoken.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether what follows is none of the proxy's.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Bytes that the client sent.
    pub fn sent(&mut self, bytes: &[u8]) -> Option<Step> {
        match self.protocol {
            Protocol::Connect => self.request(bytes),
            Protocol::Socks5 => self.socks_sent(bytes),
        }
    }

    /// Bytes that the proxy sent.
    pub fn received(&mut self, bytes: &[u8]) -> Option<Step> {
        match self.protocol {
            Protocol::Connect => self.response(bytes),
            Protocol::Socks5 => self.socks_received(bytes),
        }
    }

    fn request(&mut self, bytes: &[u8]) -> Option<Step> {
        if self.state == State::Response && bytes.starts_with(b"CONNECT ") {
            // Asked once more, with credentials now.
            (self.state, self.sent) = (State::Request, Vec::new());
        }
        if self.state != State::Request {
            return None;
        }
        push(&mut self.sent, bytes, HEAD_MAX);
        let end = head_end(&self.sent);
        if end.is_none() && self.sent.len() < HEAD_MAX {
            return None;
        }
        let head = end.and_then(|end| request_head(&self.sent[..end]).ok());
        (self.state, self.sent, self.received) = (State::Response, Vec::new(), Vec::new());
        Some(Step::Asked(head.map(|head| head.target).filter(|target| !target.is_empty())))
    }

    fn response(&mut self, bytes: &[u8]) -> Option<Step> {
        if self.state != State::Response {
            return None;
        }
        push(&mut self.received, bytes, HEAD_MAX);
        loop {
            let end = head_end(&self.received);
            if end.is_none() && self.received.len() < HEAD_MAX {
                return None;
            }
            let head = &self.received[..end.unwrap_or(self.received.len())];
            let status = response_head(head).map(|head| head.status).ok().or_else(|| status_of_cut(head));
            match (status, end) {
                // An interim answer; the final one follows.
                (Some(100..200), Some(end)) => drop(self.received.drain(..end)),
                (Some(200..300), _) => {
                    self.over();
                    return Some(Step::Stands);
                }
                (status, _) => {
                    let reason = schemes(head);
                    // Its body, and whatever else comes before it is asked once more, is not read.
                    self.received = Vec::new();
                    self.state = State::Response;
                    return status.map(|status| Step::Refused(Refused { status: Some(status), reason }));
                }
            }
        }
    }

    fn socks_sent(&mut self, bytes: &[u8]) -> Option<Step> {
        push(&mut self.sent, bytes, SOCKS_MAX);
        match self.state {
            State::Greeting => {
                let [_, methods, rest @ ..] = &self.sent[..] else { return None };
                if rest.len() < usize::from(*methods) {
                    return None;
                }
                self.sent.clear();
                Some(Step::Asked(None))
            }
            State::Target => {
                let target = socks_target(&self.sent)?;
                self.sent.clear();
                Some(Step::Asked(target))
            }
            State::Password | State::Over | State::Request | State::Response => {
                self.sent.clear();
                None
            }
        }
    }

    fn socks_received(&mut self, bytes: &[u8]) -> Option<Step> {
        push(&mut self.received, bytes, SOCKS_MAX);
        loop {
            match (self.state, &self.received[..]) {
                (State::Greeting, [5, method, ..]) => {
                    self.state = match method {
                        0 => State::Target,
                        2 => State::Password,
                        0xff => return self.refused("none of the ways to authenticate is accepted"),
                        _ => return self.refused("a way to authenticate that is not known here"),
                    };
                    self.received.drain(..2);
                }
                (State::Password, [_, 0, ..]) => {
                    self.state = State::Target;
                    self.received.drain(..2);
                }
                (State::Password, [_, _, ..]) => return self.refused("user and password are refused"),
                (State::Target, [5, 0, ..]) => {
                    // The address in the reply is read in a call of its own: it is not the target's first words.
                    if !socks_reply_is_whole(&self.received) {
                        return None;
                    }
                    self.over();
                    return Some(Step::Stands);
                }
                (State::Target, [5, reply, ..]) => return self.refused(reply_name(*reply)),
                (State::Greeting | State::Target, [first, ..]) if *first != 5 => {
                    return self.refused("an answer that is not SOCKS5");
                }
                _ => return None,
            }
        }
    }

    fn refused(&mut self, reason: &str) -> Option<Step> {
        self.over();
        Some(Step::Refused(Refused { status: None, reason: Some(reason.to_owned()) }))
    }

    fn over(&mut self) {
        (self.state, self.sent, self.received) = (State::Over, Vec::new(), Vec::new());
    }
}

fn push(to: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let room = max.saturating_sub(to.len());
    to.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Where a head ends, its empty line included.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The schemes of `Proxy-Authenticate`, in the order of [`SCHEMES`].
fn schemes(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let values: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .map(|(_, value)| value.trim())
        .collect();
    let asks = |scheme: &&str| {
        let words =
            |value: &&str| value.split([',', ' ']).any(|word| word.trim().eq_ignore_ascii_case(scheme));
        values.iter().any(words)
    };
    let named: Vec<&str> = SCHEMES.into_iter().filter(asks).collect();
    match (values.is_empty(), named.is_empty()) {
        (true, _) => None,
        (false, true) => Some("another scheme".to_owned()),
        (false, false) => Some(named.join(", ")),
    }
}

/// Whether all of a SOCKS5 reply has come, or its address is of a kind whose length is not known.
fn socks_reply_is_whole(reply: &[u8]) -> bool {
    let Some(kind) = reply.get(3) else { return false };
    let address = match kind {
        1 => 4,
        3 => match reply.get(4) {
            Some(name) => 1 + usize::from(*name),
            None => return false,
        },
        4 => 16,
        _ => 0,
    };
    reply.len() >= 4 + address + 2 || address == 0
}

/// Whom a SOCKS5 request names; `None` while it is not whole, `Some(None)` when it cannot be read.
#[expect(clippy::option_option, reason = "not yet, and never")]
fn socks_target(bytes: &[u8]) -> Option<Option<String>> {
    let [version, _command, _reserved, kind, rest @ ..] = bytes else { return None };
    if *version != 5 {
        return Some(None);
    }
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    match kind {
        1 => {
            let port = port(4)?;
            let four: [u8; 4] = rest[..4].try_into().ok()?;
            Some(Some(format!("{}:{port}", std::net::Ipv4Addr::from(four))))
        }
        3 => {
            let len = usize::from(*rest.first()?);
            let port = port(1 + len)?;
            let name = String::from_utf8_lossy(&rest[1..=len]).into_owned();
            Some(Some(format!("{name}:{port}")))
        }
        4 => {
            let port = port(16)?;
            let sixteen: [u8; 16] = rest[..16].try_into().ok()?;
            Some(Some(format!("[{}]:{port}", std::net::Ipv6Addr::from(sixteen))))
        }
        _ => Some(None),
    }
}

/// The replies of RFC 1928, 6.
const fn reply_name(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "an unknown reply",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONNECT: &[u8] = b"CONNECT proxy.test:443 HTTP/1.1\r\nHost: proxy.test:443\r\n\
        Proxy-Authorization: Basic c2VjcmV0\r\n\r\n";

    #[test]
    fn a_tunnel_stands_after_a_200_whatever_it_is_cut_into() {
        for cut in 1..CONNECT.len() {
            let mut tunnel = Tunnel::begins(&CONNECT[..cut.max(4)]).unwrap();
            let (first, second) = CONNECT.split_at(cut.max(4));
            let asked = tunnel.sent(first).or_else(|| tunnel.sent(second));
            assert_eq!(asked, Some(Step::Asked(Some("proxy.test:443".into()))), "{cut}");
            assert_eq!(tunnel.received(b"HTTP/1.1 200 Connection "), None);
            assert_eq!(tunnel.received(b"established\r\n\r\n"), Some(Step::Stands));
            assert!(tunnel.is_over());
        }
    }

    #[test]
    fn a_refused_tunnel_has_its_status_and_schemes_and_may_be_followed_by_a_second_try() {
        let mut tunnel = Tunnel::begins(CONNECT).unwrap();
        tunnel.sent(CONNECT).unwrap();
        let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\n\
            Proxy-Authenticate: Basic realm=\"secret\"\r\nContent-Length: 3\r\n\r\nno!";
        let refused = Refused { status: Some(407), reason: Some("Basic, Negotiate".into()) };
        assert_eq!(tunnel.received(answer), Some(Step::Refused(refused)));
        assert_eq!(tunnel.received(b"more of a body"), None);
        assert!(matches!(tunnel.sent(CONNECT), Some(Step::Asked(Some(_)))));
        assert_eq!(
            tunnel.received(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n"),
            Some(Step::Stands)
        );
    }

    #[test]
    fn socks_with_a_password_names_its_target_and_forgets_the_password() {
        let mut tunnel = Tunnel::begins(&[5, 2, 0, 2]).unwrap();
        assert_eq!(tunnel.sent(&[5, 2, 0, 2]), Some(Step::Asked(None)));
        assert_eq!(tunnel.received(&[5, 2]), None);
        assert_eq!(tunnel.sent(b"\x01\x04user\x06secret"), None);
        assert!(!format!("{tunnel:?}").contains("secret"));
        assert_eq!(tunnel.received(&[1, 0]), None);
        let request = b"\x05\x01\x00\x03\x0aproxy.test\x01\xbb";
        assert_eq!(tunnel.sent(request), Some(Step::Asked(Some("proxy.test:443".into()))));
        assert_eq!(tunnel.received(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]), Some(Step::Stands));
    }

    #[test]
    fn a_refused_socks_request_says_why() {
        let refused = |answers: &[&[u8]]| {
            let mut tunnel = Tunnel::begins(&[5, 1, 2]).unwrap();
            tunnel.sent(&[5, 1, 2]);
            let steps = answers.iter().filter_map(|bytes| tunnel.received(bytes));
            match steps.last().unwrap() {
                Step::Refused(refused) => refused.reason.unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(&[&[5, 2], &[1, 1]]), "user and password are refused");
        assert_eq!(refused(&[&[5, 0], &[5, 4, 0, 1]]), "host unreachable");
        assert_eq!(refused(&[&[5, 0xff]]), "none of the ways to authenticate is accepted");
        assert_eq!(refused(&[b"HTTP/1.1 400 Bad Request"]), "an answer that is not SOCKS5");
    }

    #[test]
    fn other_beginnings_are_none() {
        for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"GET / HTTP/1.1", b"", b"\x05", b"\x05\x01\x00\x00\x00"]
        {
            assert!(Tunnel::begins(bytes).is_none(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_and_little_is_held(
            first in prop::sample::select(vec![CONNECT.to_vec(), vec![5, 1, 0], vec![5, 2, 0, 2]]),
            calls in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..600)), 0..40),
        ) {
            let mut tunnel = Tunnel::begins(&first).unwrap();
            tunnel.sent(&first);
            for (sent, bytes) in calls {
                if sent { tunnel.sent(&bytes) } else { tunnel.received(&bytes) };
                prop_assert!(tunnel.sent.len() <= HEAD_MAX && tunnel.received.len() <= HEAD_MAX);
            }
        }
    }
}
