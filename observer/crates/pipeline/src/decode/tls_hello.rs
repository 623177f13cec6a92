//! TLS hellos: the first bytes of one direction of a connection in, a [`Hello`] out. Only plain
//! text is read: what comes after the hellos is encrypted, and of no use here.

use tls_parser::{
    SNIType, TlsExtension, parse_tls_extension_alpn_content, parse_tls_extension_sni_content,
    parse_tls_handshake_client_hello, parse_tls_handshake_server_hello,
};

/// Longest hello that is put together, bytes.
pub const HELLO_MAX: usize = 16_384;
/// A record holds no more than this (RFC 8446, 5.1 and 5.2).
const RECORD_MAX: usize = 16_384 + 256;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

/// What the beginning of a direction was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hello {
    /// The client's first message
    Client(ClientHello),
    /// The server's first message
    Server(ServerHello),
    /// An alert came instead
    Alert(Alert),
}

/// What is kept of a `ClientHello`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientHello {
    /// The SNI; `None` when there is none, or it is no host name
    pub server_name: Option<String>,
    /// Protocols offered
    pub alpn: Vec<String>,
    /// The whole message with its own header (4 bytes), without record headers (5 bytes each)
    pub size: usize,
    /// Groups of the key shares (IANA's numbers), GREASE left out
    pub key_shares: Vec<u16>,
    /// `supported_versions`, GREASE left out; empty before TLS 1.3
    pub versions: Vec<u16>,
    /// A key share is post-quantum: the hello does not fit one packet
    pub ml_kem: bool,
}

/// What is kept of a `ServerHello`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerHello {
    /// `1.3`, `1.2`, …; `0x0305` for a version that has no name here
    pub version: String,
    /// Protocol chosen; `None` in TLS 1.3, where it is encrypted
    pub alpn: Option<String>,
    /// It is a `HelloRetryRequest`: a round trip more
    pub retry: bool,
}

/// An alert in plain text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alert {
    /// 1 warning, 2 fatal
    pub level: u8,
    /// IANA's number
    pub description: u8,
}

impl Alert {
    /// The name of the description, `unknown` when it has none here.
    pub const fn name(self) -> &'static str {
        match self.description {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => "unknown",
        }
    }
}

/// Where the reading of a direction stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The hello is not whole yet
    NeedMore,
    /// It is
    Done(Hello),
    /// These bytes are not the beginning of a TLS connection
    NotTls,
    /// The hello is longer than [`HELLO_MAX`]
    TooLong,
}

/// Puts the hello of one direction together from any number of reads or writes. Holds at most
/// [`HELLO_MAX`] bytes and a record.
#[derive(Debug)]
pub struct HelloBuffer {
    record_header: Vec<u8>,
    /// Bytes of the current record still to come
    record_left: usize,
    record_type: u8,
    message: Vec<u8>,
    progress: Progress,
}

impl Default for HelloBuffer {
    fn default() -> Self {
        Self {
            record_header: Vec::with_capacity(5),
            record_left: 0,
            record_type: 0,
            message: Vec::new(),
            progress: Progress::NeedMore,
        }
    }
}

impl HelloBuffer {
    /// Nothing was given to it.
    pub const fn is_empty(&self) -> bool {
        self.record_header.is_empty() && self.record_type == 0 && self.message.is_empty()
    }

    /// Takes the next bytes. Once the answer is another than [`Progress::NeedMore`], it stays.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        let mut rest = bytes;
        while !rest.is_empty() && self.progress == Progress::NeedMore {
            rest = self.step(rest);
        }
        if self.progress != Progress::NeedMore {
            self.message = Vec::new();
        }
        self.progress.clone()
    }

    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.record_left == 0 {
            self.record_header.push(bytes[0]);
            self.header();
            return &bytes[1..];
        }
        let (now, rest) = bytes.split_at(self.record_left.min(bytes.len()));
        self.record_left -= now.len();
        self.message.extend_from_slice(now);
        self.progress = if self.record_type == ALERT { self.alert() } else { self.handshake() };
        rest
    }

    fn header(&mut self) {
        let follows = !self.message.is_empty();
        self.progress = match self.record_header[..] {
            [HANDSHAKE] | [_, 3] => Progress::NeedMore,
            [ALERT] if !follows => Progress::NeedMore,
            [_] | [_, _] => Progress::NotTls,
            [kind, _, _, high, low] => {
                self.record_header.clear();
                self.record_type = kind;
                self.record_left = usize::from(u16::from_be_bytes([high, low]));
                match self.record_left {
                    1..=RECORD_MAX => Progress::NeedMore,
                    _ => Progress::NotTls,
                }
            }
            _ => Progress::NeedMore,
        };
    }

    fn alert(&self) -> Progress {
        match self.message[..] {
            [level @ 1..=2, description] if self.record_left == 0 => {
                Progress::Done(Hello::Alert(Alert { level, description }))
            }
            [1..=2] | [] if self.record_left == 1 => Progress::NeedMore,
            _ => Progress::NotTls,
        }
    }

    fn handshake(&self) -> Progress {
        match self.message[..] {
            [1 | 2] | [1 | 2, _] | [1 | 2, _, _] => Progress::NeedMore,
            [kind @ (1 | 2), a, b, c, ref body @ ..] => {
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                if len + 4 > HELLO_MAX {
                    return Progress::TooLong;
                }
                match body.get(..len) {
                    None => Progress::NeedMore,
                    Some(body) if kind == 1 => client(body).map_or(Progress::NotTls, Progress::Done),
                    Some(body) => server(body).map_or(Progress::NotTls, Progress::Done),
                }
            }
            _ => Progress::NotTls,
        }
    }
}

fn client(body: &[u8]) -> Option<Hello> {
    let (_, hello) = parse_tls_handshake_client_hello(body).ok()?;
    let mut out = ClientHello { size: body.len() + 4, ..ClientHello::default() };
    for (kind, data) in extensions(hello.ext.unwrap_or_default()) {
        match kind {
            0 => out.server_name = server_name(data),
            16 => out.alpn = alpn(data),
            43 => out.versions = data.get(1..).map(u16s).unwrap_or_default(),
            51 => out.key_shares = key_shares(data),
            _ => {}
        }
    }
    out.versions.retain(|version| !is_grease(*version));
    out.key_shares.retain(|group| !is_grease(*group));
    out.ml_kem = out.key_shares.iter().any(|group| is_ml_kem(*group));
    Some(Hello::Client(out))
}

fn server(body: &[u8]) -> Option<Hello> {
    /// The `random` that makes a `ServerHello` a `HelloRetryRequest` (RFC 8446, 4.1.3)
    const RETRY: [u8; 32] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
        0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    let (_, hello) = parse_tls_handshake_server_hello(body).ok()?;
    let mut version = hello.version.0;
    let mut protocol = None;
    for (kind, data) in extensions(hello.ext.unwrap_or_default()) {
        match (kind, data) {
            (16, _) => protocol = alpn(data).into_iter().next(),
            (43, [high, low]) => version = u16::from_be_bytes([*high, *low]),
            _ => {}
        }
    }
    let version = match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "1.0".to_owned(),
        0x0302 => "1.1".to_owned(),
        0x0303 => "1.2".to_owned(),
        0x0304 => "1.3".to_owned(),
        other => format!("{other:#06x}"),
    };
    Some(Hello::Server(ServerHello { version, alpn: protocol, retry: hello.random == RETRY }))
}

/// Cut by hand, for one extension that a parser refuses must not hide those after it.
fn extensions(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, rest) = u16_first(bytes)?;
        let (data, rest) = sized(rest)?;
        bytes = rest;
        Some((kind, data))
    })
}

fn server_name(data: &[u8]) -> Option<String> {
    let Ok((_, TlsExtension::SNI(names))) = parse_tls_extension_sni_content(data) else { return None };
    let (_, name) = names.into_iter().find(|(kind, _)| *kind == SNIType::HostName)?;
    let valid = name.len() <= 255
        && name.split(|byte| *byte == b'.').all(|label| {
            (1..=63).contains(&label.len())
                && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
    valid.then(|| String::from_utf8_lossy(name).into_owned())
}

fn alpn(data: &[u8]) -> Vec<String> {
    let Ok((_, TlsExtension::ALPN(names))) = parse_tls_extension_alpn_content(data) else {
        return Vec::new();
    };
    names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

fn key_shares(data: &[u8]) -> Vec<u16> {
    let Some((mut entries, _)) = sized(data) else { return Vec::new() };
    std::iter::from_fn(|| {
        let (group, rest) = u16_first(entries)?;
        entries = sized(rest)?.1;
        Some(group)
    })
    .collect()
}

fn u16s(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

fn u16_first(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk().map(|(first, rest)| (u16::from_be_bytes(*first), rest))
}

/// A length in two bytes, and that many bytes after it.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = u16_first(bytes)?;
    rest.split_at_checked(len.into())
}

/// Values that clients send so that servers stay used to unknown ones (RFC 8701).
const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// ML-KEM, alone or with a curve, and the draft that browsers shipped before it.
const fn is_ml_kem(group: u16) -> bool {
    matches!(group, 0x0200..=0x0202 | 0x11eb..=0x11ed | 0x6399 | 0x639a)
}

#[cfg(test)]
mod tests;
